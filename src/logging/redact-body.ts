// Turns a captured body into something fit for a log: JSON as an object, everything else as text, secrets masked. Pure.
// The content type is a hint only: a JSON body with a lying type is still read as JSON.

import { closeCutJson } from './cut-json.ts';
import { redactParams } from './redact.ts';
import { redactText } from './redact-text.ts';
import { redactValue } from './redact-value.ts';

export type BodyKind = 'json' | 'form' | 'text';

/** A whole body. */
export function redactBody(text: string, kind: BodyKind): string | object {
  const parsed = parseJson(text, kind);
  if (parsed === undefined) return redactPlainBody(text, kind);
  const redacted = redactValue(parsed);
  return typeof redacted === 'object' && redacted !== null ? redacted : JSON.stringify(redacted);
}

/** The beginning of a longer body: what the cut went through is left out, so that no half secret slips by unrecognised. */
export function redactCutBody(text: string, kind: BodyKind): string {
  if (looksLikeJson(text)) {
    const closed = closeCutJson(text);
    const parsed = closed === null ? undefined : parseJson(closed, kind);
    if (parsed !== undefined) return trimEnd(JSON.stringify(redactValue(parsed)), (char) => char === '}' || char === ']');
  }
  const whole = kind === 'form' ? text.slice(0, text.lastIndexOf('&') + 1) : trimEnd(text, (char) => !/[\s,;&<>]/.test(char));
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
