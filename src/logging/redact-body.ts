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
    if (parsed !== undefined) return JSON.stringify(redactValue(parsed)).replace(/[\]}]+$/, '');
  }
  const lastWhole = kind === 'form' ? text.lastIndexOf('&') + 1 : text.length - (/[^\s,;&<>]*$/.exec(text.slice(-MAX_TAIL))?.[0].length ?? 0);
  const whole = lastWhole > text.length - MAX_TAIL || kind === 'form' ? text.slice(0, lastWhole) : '';
  return redactPlainBody(whole, kind);
}

/** No secret of ours is longer; a longer run without a break at the cut hides the text. */
const MAX_TAIL = 16 * 1024;

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
