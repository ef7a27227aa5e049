// Whether a text of a record is all that was sent: where a secret was masked in it, or its end was cut, it is not. Pure:
// the page and the terminal ask it, too.

/** Masks, the marks that stand for ids of channels, and the mark of a cut. */
const NOT_WHOLE = /\[redacted(?:~[A-Z2-9]{10})?\]|~[0-9a-f]{12}(?![0-9a-f])| \[cut at \d+ [^\]]*\]$/;

/** Whether something of what was sent is missing in what is shown. */
export function isMasked(shown: string): boolean {
  return NOT_WHOLE.test(shown);
}
