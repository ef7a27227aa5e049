// Redacts bodies by their content type; one that was cut in the middle is read as far as it goes.

import { redactParams } from './redact.ts';
import { redactText } from './text.ts';
import { redactValue } from './value.ts';

export type BodyKind = 'json' | 'form' | 'text';

/** A whole body. */
export function redactBody(text: string, kind: BodyKind): string | object {
  const parsed = parseJson(text, kind);
  if (parsed === undefined) return redactPlainBody(text, kind);
  const redacted = redactValue(parsed);
  return typeof redacted === 'object' && redacted !== null ? redacted : JSON.stringify(redacted);
}

/**
 * The beginning of a longer body: what the cut went through is left out, so that no half secret slips by unrecognised.
 */
export function redactCutBody(text: string, kind: BodyKind): string {
  if (looksLikeJson(text)) {
    const closed = closeCutJson(text);
    const parsed = closed === null ? undefined : parseJson(closed, kind);
    if (parsed !== undefined)
      return trimEnd(JSON.stringify(redactValue(parsed)), (char) => char === '}' || char === ']');
  }
  const whole =
    kind === 'form' ? text.slice(0, text.lastIndexOf('&') + 1) : trimEnd(text, (char) => !/[\s,;&<>]/.test(char));
  return redactPlainBody(whole, kind);
}

/** By hand: the regular expression for it would be quadratic. */
function trimEnd(text: string, isTrimmed: (char: string) => boolean): string {
  let end = text.length;
  while (end > 0 && isTrimmed(text[end - 1] as string)) end--;
  return text.slice(0, end);
}

function redactPlainBody(text: string, kind: BodyKind): string {
  return redactText(kind === 'form' ? redactParams(text) : text);
}

function looksLikeJson(text: string): boolean {
  return /^[\s\ufeff]*["[{]/.test(text);
}

function parseJson(text: string, kind: BodyKind): unknown {
  if (kind !== 'json' && !looksLikeJson(text)) return undefined;
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''));
  } catch {
    return undefined;
  }
}

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
