// What a source of settings says, as written, and how the text of one value becomes a number, boolean, duration or
// list. It knows no options; messages say what would be right.

import { type Problem, quote } from './problem.ts';

/** A value before its option is known. Numbers and booleans of JSON keep their spelling and their type. */
export type RawValue =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'number' | 'boolean'; readonly text: string }
  | { readonly type: 'list'; readonly items: readonly string[] }
  /** It could not be read, which has been reported already. */
  | { readonly type: 'broken' };

/** One setting as written; `section` may hold a name, `credential.crm`. */
export interface RawEntry {
  readonly section: string;
  readonly key: string;
  readonly value: RawValue;
  readonly location: string;
}

/** A section line, kept because a section may be named and empty. */
export interface RawSection {
  readonly section: string;
  readonly location: string;
}

/** All that one source says, and what is wrong with how it says it. */
export interface RawSource {
  readonly entries: readonly RawEntry[];
  readonly sections: readonly RawSection[];
  readonly problems: readonly Problem[];
  /** Settings were lost to mistakes: what seems to be missing may be there. */
  readonly isIncomplete: boolean;
}

/** A text value. */
export function rawText(text: string): RawValue {
  return { type: 'text', text };
}

/** The value, or a message that says what is wrong and what would be right. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly message: string };

export const ok = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const err = (message: string): { readonly ok: false; readonly message: string } => ({ ok: false, message });

/** An hour, the longest that most durations may be. */
export const HOUR_MS = 3_600_000;

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: HOUR_MS };

/** Milliseconds. A bare number is seconds; `500ms`, `2m`, `1h`; a fraction is allowed, a sign or an exponent is not. */
export function parseDuration(text: string, minMs = 0, maxMs = 24 * HOUR_MS): Parsed<number> {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h)?$/.exec(text.trim().toLowerCase());
  if (!match) return err(`${quote(text)} is not a duration; write seconds (10), or 500ms, 2m, 1h`);
  const valueMs = Math.round(Number(match[1]) * (UNIT_MS[match[2] ?? 's'] ?? 1000));
  if (valueMs < minMs) return err(`${quote(text)} is too short; at least ${formatDuration(minMs)}`);
  if (valueMs > maxMs) return err(`${quote(text)} is too long; at most ${formatDuration(maxMs)}`);
  return ok(valueMs);
}

/** The shortest spelling that parseDuration reads back as the same number. */
export function formatDuration(valueMs: number): string {
  if (valueMs === 0) return '0';
  if (valueMs % HOUR_MS === 0) return `${valueMs / HOUR_MS}h`;
  if (valueMs % 60_000 === 0) return `${valueMs / 60_000}m`;
  if (valueMs % 1000 === 0) return `${valueMs / 1000}`;
  return `${valueMs}ms`;
}

const TRUE_WORDS = new Set(['true', 'yes', 'on', '1']);
const FALSE_WORDS = new Set(['false', 'no', 'off', '0']);

const DATE = /^(\d{4})-(\d\d)-(\d\d)$/;
/** RFC 3339, section 5.6. */
const TIME =
  /^(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?)([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Epoch ms of a date, which lasts to the end of that day in UTC, or of an RFC 3339 time. */
export function parseInstant(text: string): Parsed<number> {
  const written = text.trim();
  const [, date = '', time = '', zone = ''] = TIME.exec(written) ?? [];
  const day = startOfDay(date === '' ? written : date);
  if (day === null || (date === '' && !DATE.test(written)))
    return err(`${quote(text)} is neither a date nor a time; write 2027-01-31 or 2027-01-31T18:00:00Z`);
  return ok(date === '' ? day + 24 * HOUR_MS : Date.parse(`${date}T${time.slice(0, 12)}${zone.toUpperCase()}`));
}

/** Null for a day that no calendar has. */
function startOfDay(text: string): number | null {
  const at = Date.parse(`${text}T00:00:00Z`);
  return Number.isNaN(at) || new Date(at).toISOString().slice(0, 10) !== text ? null : at;
}

/** true yes on 1, false no off 0, in any case. */
export function parseBoolean(text: string): Parsed<boolean> {
  const word = text.trim().toLowerCase();
  if (TRUE_WORDS.has(word)) return ok(true);
  if (FALSE_WORDS.has(word)) return ok(false);
  return err(`${quote(text)} is neither true nor false; write true, yes, on, 1 or false, no, off, 0`);
}

/** A whole number, digits only, within the bounds. */
export function parseInteger(text: string, min = 0, max = Number.MAX_SAFE_INTEGER): Parsed<number> {
  const digits = text.trim();
  const value = /^\d{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `from ${min} up` : `from ${min} to ${max}`;
    return err(`${quote(text)} is not a whole number ${range}`);
  }
  return ok(value);
}

/** A decimal number from 0 to 1. */
export function parseFraction(text: string): Parsed<number> {
  const written = text.trim();
  const value = /^(?:\d{1,6}(?:\.\d{0,16})?|\.\d{1,16})$/.test(written) ? Number(written) : Number.NaN;
  return value >= 0 && value <= 1 ? ok(value) : err(`${quote(text)} is not a number from 0 to 1; write it like 0.05`);
}

/** One word of a list, in any case; the answer is spelt as in the list. */
export function parseChoice<T extends string>(text: string, choices: readonly T[]): Parsed<T> {
  const word = text.trim().toLowerCase();
  const found = choices.find((choice) => choice === word);
  return found === undefined ? err(`${quote(text)} is not known; choose one of ${choices.join(', ')}`) : ok(found);
}

/** Items between commas, trimmed; empty ones are left out, so `''` is the empty list. */
export function splitCommas(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/**
 * Items of a list whose items may hold commas, where only one text can be given (environment, --set): a JSON array, or
 * one a line.
 */
export function splitItems(text: string): string[] {
  if (text.trim().startsWith('[')) {
    try {
      const items: unknown = JSON.parse(text);
      if (Array.isArray(items) && items.every((item) => typeof item === 'string'))
        return items.map((item) => item.trim());
    } catch {
      // Not JSON: it is taken as written.
    }
  }
  return text
    .split('\n')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/**
 * An absolute URL of one of the schemes (`['http', 'https']`), without userinfo, query or fragment. The answer has no
 * trailing slash. The text is not repeated in the message: it may hold a password.
 */
export function parseHttpUrl(text: string, schemes: readonly string[] = ['http', 'https']): Parsed<string> {
  const example = `write it like ${schemes.at(-1)}://gateway.example.com`;
  if (!URL.canParse(text)) return err(`this is not an absolute URL; ${example}`);
  const url = new URL(text);
  if (!schemes.includes(url.protocol.slice(0, -1)))
    return err(`the URL must begin with ${schemes.map((s) => `${s}://`).join(' or ')}`);
  if (url.username !== '' || url.password !== '')
    return err(`the URL must not hold a user name or password; ${example}`);
  if (url.search !== '' || url.hash !== '') return err(`the URL must not have a query or a fragment; ${example}`);
  return ok(url.href.replace(/\/+$/, ''));
}

/** Whether text can go into a header or a form field: it has no control characters. */
export function isPrintable(text: string): boolean {
  return !/[\u0000-\u0008\u000a-\u001f\u007f]/.test(text);
}

/** A length of time as people say it: `2 h 5 min`. */
export function humanDuration(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
}
