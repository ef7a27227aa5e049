// What is wrong with a configuration, in one line a person can act on. Nothing here ever holds a secret's value.

import { REDACTED } from './secret.ts';

/** One fault (or warning): `where` is `config.ini:12`, `env GCG_X` or `flag --listen`; `key` is `server.listen`, or `''` when none is meant. */
export interface Problem {
  readonly where: string;
  readonly key: string;
  /** What is wrong; what would be right. */
  readonly message: string;
}

/** `config.ini:12: server.listen: what is wrong; what would be right`, always one line. */
export function formatProblem(problem: Problem): string {
  const head = [problem.where, problem.key].filter((part) => part !== '').join(': ');
  return onOneLine(head === '' ? problem.message : `${head}: ${problem.message}`);
}

/** Control characters become spaces, so that a hostile value can neither break the line nor drive a terminal. */
export function onOneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

/** A value as it may stand in a message: quoted, on one line, cut at 60 characters, without a password in a URL. Never call it with a secret. */
export function shown(value: string): string {
  const line = onOneLine(withoutUserInfo(value));
  return `"${line.length > 60 ? `${line.slice(0, 60)}…` : line}"`;
}

/** Masks `user:password@`, with a scheme before it or not: a proxy's URL may stand in the wrong place. */
export function withoutUserInfo(text: string): string {
  if (!text.includes('@')) return text;
  return text.replace(/[^\s,]+/g, (word) => {
    const at = word.lastIndexOf('@');
    const before = word.slice(0, Math.max(at, 0));
    if (!before.includes(':')) return word;
    const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(before)?.[0] ?? '';
    return `${before.includes(':', scheme.length) ? scheme : ''}${REDACTED}${word.slice(at)}`;
  });
}
