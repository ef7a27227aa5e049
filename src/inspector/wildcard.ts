// Patterns with `*`, matched in time that grows with the text: no expression of a user's becomes a regular expression.

/** Whether a whole text is like the pattern, in which `*` stands for any characters or none. */
export function isLike(pattern: string, text: string): boolean {
  const pieces = pattern.split('*');
  const first = pieces[0] as string;
  if (pieces.length === 1) return text === pattern;
  const last = pieces.at(-1) as string;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
  const end = text.length - last.length;
  let from = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const at = text.indexOf(piece, from);
    if (at === -1 || at + piece.length > end) return false;
    from = at + piece.length;
  }
  return true;
}

/**
 * Whether a path is like the pattern, piece by piece between slashes: `*` stands for characters of one piece, a piece
 * `**` for any number of pieces. Each piece of the path is compared once with each of the pattern's, at most. Without
 * `wild`, every character stands for itself.
 */
export function isPathLike(pattern: readonly string[], path: readonly string[], wild: boolean): boolean {
  if (!wild) return pattern.length === path.length && pattern.every((piece, index) => piece === path[index]);
  let inPattern = 0;
  let inPath = 0;
  // Where the last `**` stands, and how much of the path it covers so far.
  let star = -1;
  let covered = 0;
  while (inPath < path.length) {
    const piece = pattern[inPattern];
    if (piece === '**') {
      star = inPattern++;
      covered = inPath;
    } else if (piece !== undefined && isLike(piece, path[inPath] as string)) {
      inPattern++;
      inPath++;
    } else if (star !== -1) {
      inPattern = star + 1;
      inPath = ++covered;
    } else return false;
  }
  while (pattern[inPattern] === '**') inPattern++;
  return inPattern === pattern.length;
}
