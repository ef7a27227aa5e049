// Masks secrets in structures: parsed JSON bodies, the fields of log records, errors. Returns copies; never changes
// what it is given.

import { isFingerprinting, maskOf } from './mask.ts';
import { cutLong } from './redact.ts';
import { isHarmlessCode, isSecretName, isTokenState } from './secret-names.ts';
import { fingerprintOf, redactText, redactWords } from './text.ts';

/** Deeper than any body of the platform; JSON.stringify would overflow the stack on a hostile one. */
const MAX_DEPTH = 64;
const TOO_DEEP = '[nested too deep to log]';
const LONGEST_MESSAGE = 4096;

/**
 * A copy fit for a log: secret fields masked at any depth, also inside strings that hold JSON or URLs. Values that JSON
 * cannot carry become text.
 */
export function redactValue(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactString(value, depth);
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
  if (typeof value === 'function') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return TOO_DEEP;
  if (value instanceof Error) return redactError(value, depth);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1));
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function')
    return redactValue((value as { toJSON(): unknown }).toJSON(), depth + 1);
  return redactObject(value as Record<string, unknown>, depth);
}

/**
 * Fields of records that hold sentences of ours, or lists of them. In them a label (`secret.ini:6:`) is no sign of a
 * secret.
 */
const WORDS: ReadonlySet<string> = new Set(['advice', 'error', 'problems', 'try', 'warning']);

/** A copy of the fields of one record, fit for a log. */
export function redactFields(fields: Record<string, unknown>): Record<string, unknown> {
  const out = redactObject(fields, 0);
  for (const name in fields) {
    const value = fields[name];
    if (!WORDS.has(name)) continue;
    if (typeof value === 'string') out[name] = cutLong(value, redactWords, LONGEST_MESSAGE);
    else if (Array.isArray(value) && value.every((one) => typeof one === 'string'))
      out[name] = value.map((one) => cutLong(one, redactWords, LONGEST_MESSAGE));
  }
  return out;
}

function redactObject(object: Record<string, unknown>, depth: number): Record<string, unknown> {
  const out: Record<string, unknown> = Object.create(null);
  // {"name": "Authorization", "value": "…"}: the label is a value itself.
  const label = object.name ?? object.key ?? object.header;
  const isLabelSecret = typeof label === 'string' && isSecretName(label, 'header');
  const isChannel = typeof object.connectUri === 'string';
  for (const [name, value] of Object.entries(object)) {
    const shownName = name.length > 8 ? redactText(name) : name;
    if (isChannel && name === 'id' && typeof value === 'string') out[shownName] = fingerprintOf(value);
    else if (isMasked(name, value) || (isLabelSecret && /^values?$/i.test(name)))
      out[shownName] = maskOfValue(value, depth + 1);
    else out[shownName] = redactValue(value, depth + 1);
  }
  return out;
}

function isMasked(name: string, value: unknown): boolean {
  if (value === null || value === undefined || typeof value === 'boolean') return false;
  if (!isSecretName(name, 'field')) return false;
  return !(typeof value === 'string' && (value === '' || isHarmlessCode(name, value) || isTokenState(value)));
}

function maskOfValue(value: unknown, depth: number): unknown {
  if (value === null || typeof value === 'boolean') return value;
  return maskOf(isFingerprinting() ? plainText(value, depth) : '');
}

/** A value as one text, which nobody sees: equal ones have equal masks. */
function plainText(value: unknown, depth: number): string {
  return typeof value === 'object' ? JSON.stringify(redactValue(value, depth)) : String(value);
}

/** Strings that hold JSON are looked into and stay strings. */
function redactString(text: string, depth: number): string {
  if (/^\s*["[{]/.test(text) && depth < MAX_DEPTH) {
    try {
      const parsed: unknown = JSON.parse(text);
      const redacted = JSON.stringify(redactValue(parsed, depth + 1));
      return redacted === JSON.stringify(parsed) ? text : redacted;
    } catch {
      // No JSON after all, or too deep to print: plain text then.
    }
  }
  return redactText(text);
}

/**
 * What an error says, fit for a log: class, code, message, causes. Stacks are left out: their first line repeats an
 * unredacted message.
 */
export function redactError(error: Error, depth = 0): Record<string, unknown> {
  const { code } = error as NodeJS.ErrnoException;
  const out: Record<string, unknown> = {
    type: error.name,
    message: cutLong(error.message, redactText, LONGEST_MESSAGE),
  };
  if (typeof code === 'string' || typeof code === 'number') out.code = code;
  if (error.cause !== undefined && depth < 4)
    out.cause =
      error.cause instanceof Error ? redactError(error.cause, depth + 1) : redactValue(error.cause, depth + 1);
  return out;
}
