// Makes a JSON document that was cut short parsable again, so that it is redacted by structure like a whole one. Does not validate.

/**
 * The text up to its last complete value, with what was open closed; null when nothing complete was seen.
 * The value the cut went through is gone: half a token is never kept.
 */
export function closeCutJson(text: string): string | null {
  const closers: string[] = [];
  let complete = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (isInString) {
      if (char === '\\') at++;
      else if (char === '"') isInString = false;
      continue;
    }
    if (char === '"') isInString = true;
    else if (char === ',') complete = at;
    else if (char === '{' || char === '[') {
      closers.push(char === '{' ? '}' : ']');
      complete = at + 1;
    } else if (char === '}' || char === ']') {
      closers.pop();
      complete = at + 1;
    }
  }
  return complete === 0 ? null : text.slice(0, complete) + closers.reverse().join('');
}
