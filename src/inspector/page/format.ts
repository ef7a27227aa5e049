// How the page writes times, sizes, paths and outcomes. Pure: text in, text out.

import type { Call } from '../wire.ts';

/** What a call came to, for colour, shape and word. */
export type Outcome = 'ok' | 'refused' | 'limited' | 'failed' | 'left';

/** `left`: the caller went away before it was answered. */
export function outcomeOf({ status, errorCode, aborted }: Call): Outcome {
  if (status === 429) return 'limited';
  if (status >= 500) return 'failed';
  if (aborted === true || status === 0 || status === 499) return 'left';
  if (status >= 400) return 'refused';
  return errorCode === undefined ? 'ok' : 'failed';
}

/** Characters that hide, reorder or break a text: C0, DEL, C1, line separators, marks of direction. */
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A foreign text on one line, with whatever hides or reorders made visible; cut where it is longer than `most`. */
export function visible(text: string, most = 2048): string {
  const cut = text.length > most ? `${text.slice(0, most)}… (${text.length} characters)` : text;
  return cut.replace(HIDDEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** `0.4 ms`, `12 ms`, `1.24 s`, `2 min 03 s`. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '–';
  if (ms < 10) return `${Math.round(ms * 10) / 10} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`;
}

/** `812 B`, `4.2 kB`, `1.1 MB`. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < 3) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${['B', 'kB', 'MB', 'GB'][unit]}`;
}

/** Local time of day, `14:02:11.083`. */
export function timeOfDay(at: number, withMs = true): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return '–';
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return withMs ? `${time}.${String(date.getMilliseconds()).padStart(3, '0')}` : time;
}

/** A count with its word: `1 call`, `1,204 calls`. */
export function count(n: number, word: string): string {
  return `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`;
}

/** A piece of a path: `fixed` is the template's own, `base` what all calls begin with, else it is the caller's. */
export interface PathPart {
  readonly text: string;
  readonly kind: 'base' | 'fixed' | 'own';
}

const BASE = '/api/v2';

/** A path against its route's template, so that what differs from call to call can be told from what does not. */
export function pathParts(path: string, route: string): PathPart[] {
  const queryAt = path.indexOf('?');
  const bare = queryAt < 0 ? path : path.slice(0, queryAt);
  const segments = bare.split('/').slice(1);
  const template = route.split('/').slice(1);
  const isMatch = template.length === segments.length && route.startsWith('/');
  const parts: { text: string; kind: PathPart['kind'] }[] = [];
  const add = (text: string, kind: PathPart['kind']) => {
    const last = parts.at(-1);
    if (last?.kind === kind) last.text += text;
    else if (text !== '') parts.push({ text, kind });
  };
  const isApi = bare.startsWith(`${BASE}/`);
  if (isApi) add(BASE, 'base');
  for (const [at, segment] of segments.entries()) {
    if (isApi && at < 2) continue;
    if (!isMatch || template[at]?.startsWith('{') !== true) add(`/${segment}`, 'fixed');
    else {
      add('/', 'fixed');
      add(segment, 'own');
    }
  }
  if (queryAt >= 0) add(path.slice(queryAt), 'own');
  return parts.map(({ text, kind }) => ({ text: visible(text), kind }));
}

function pad(n: number): string {
  return String(n).padStart(2, '0');
}
