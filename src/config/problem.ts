// A problem of a configuration: where, which key, what is wrong and what would be right; and the nearest known word to
// a misspelt one.

import { REDACTED } from '../redacted.ts';

/**
 * One fault (or warning): `where` is `config.ini:12`, `env GCG_X` or `flag --listen`; `key` is `server.listen`, or `''`
 * when none is meant.
 */
export interface Problem {
  readonly location: string;
  readonly key: string;
  /** What is wrong; what would be right. */
  readonly message: string;
}

/** `config.ini:12: server.listen: what is wrong; what would be right`, always one line. */
export function formatProblem(problem: Problem): string {
  const head = [problem.location, problem.key].filter((part) => part !== '').join(': ');
  return onOneLine(head === '' ? problem.message : `${head}: ${problem.message}`);
}

/** Control characters become spaces, so that a hostile value can neither break the line nor drive a terminal. */
export function onOneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+/g, ' ');
}

/**
 * A value as it may stand in a message: quoted, on one line, cut at 60 characters, without a password in a URL. Never
 * call it with a secret.
 */
export function quote(value: string): string {
  const line = onOneLine(withoutUserInfo(value));
  return `"${line.length > 60 ? `${line.slice(0, 60)}…` : line}"`;
}

/** Masks `user:password@`, with a scheme before it or not: a proxy's URL may stand in the wrong place. */
export function withoutUserInfo(text: string): string {
  if (!text.includes('@')) return text;
  return text.replace(/[^\s,]+/g, (word) => {
    const at = word.lastIndexOf('@');
    const before = word.slice(0, Math.max(at, 0));
    // `fd:3@127.0.0.1:8080` is an address to listen on.
    if (!before.includes(':') || /^"?fd:\d+$/.test(before)) return word;
    const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(before)?.[0] ?? '';
    return `${before.includes(':', scheme.length) ? scheme : ''}${REDACTED}${word.slice(at)}`;
  });
}

/**
 * The candidate closest to `word`, or undefined when none is close enough to be worth suggesting. Case does not count.
 */
function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = word.toLowerCase().slice(0, 64);
  const limit = Math.max(1, Math.floor(wanted.length / 3));
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance <= limit && (best === undefined || distance < best.distance)) best = { candidate, distance };
  }
  return best?.candidate;
}

/** `; did you mean "x"?` or nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const candidate = nearest(word, candidates);
  return candidate === undefined ? '' : `; did you mean "${candidate}"?`;
}

/** Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? (beforePrevious[j - 2] ?? 0) + 1 : replaced;
      row.push(Math.min(replaced, swapped, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    beforePrevious = previous;
    previous = row;
  }
  return previous[b.length] ?? 0;
}
