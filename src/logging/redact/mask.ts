// What stands in the place of a secret: `[redacted]`, or, for who wants to tell equal secrets by equal masks, a mask
// with a fingerprint. It finds no secrets.

import { createHmac } from 'node:crypto';
import { REDACTED } from '../../redacted.ts';
import { percentDecode } from './secret-names.ts';

/** Gives the mark of a secret that its mask carries. */
type Fingerprint = (secret: string) => string;

let fingerprint: Fingerprint | null = null;

/**
 * Runs `work`, which is synchronous; what it redacts has masks with fingerprints, `[redacted~EE8R557DP4]`. Redaction
 * is deep and pure, so this is said beside it and not through it.
 */
export function withFingerprints<T>(of: Fingerprint, work: () => T): T {
  const before = fingerprint;
  fingerprint = of;
  try {
    return work();
  } finally {
    fingerprint = before;
  }
}

/** Whether masks carry fingerprints just now. */
export function isFingerprinting(): boolean {
  return fingerprint !== null;
}

const WHOLE_MASK = /^\[redacted(?:~[A-Z2-9]{10})?\]$/;
const MASK_HERE = /\[redacted(?:~[A-Z2-9]{10})?\]/y;
const SCHEME = /^(?:bearer|basic|negotiate|ntlm)[\s+]{1,8}/i;

/** The mask of a secret; a mask stays as it is. */
export function maskOf(secret: string): string {
  if (fingerprint === null) return REDACTED;
  const plain = plainSecret(secret);
  return WHOLE_MASK.test(plain) ? plain : `[redacted~${fingerprint(plain)}]`;
}

/** The secret itself, in whatever of its usual forms it came: behind a scheme, percent-encoded. */
export function plainSecret(secret: string): string {
  return (secret.includes('%') ? percentDecode(secret) : secret).replace(SCHEME, '');
}

/** Whether this is a mask and nothing else. */
export function isMask(text: string): boolean {
  return text === REDACTED || WHOLE_MASK.test(text);
}

/** Where the mask ends that stands at `at`; `at` itself where none does. */
export function maskEnd(text: string, at: number): number {
  MASK_HERE.lastIndex = at;
  return MASK_HERE.test(text) ? MASK_HERE.lastIndex : at;
}

/** No vowels, so that no words come out, and nothing that looks like another letter. */
const LETTERS = 'BCDFGHJKLMNPQRSTVWXZ23456789';
const LENGTH = 10;

/**
 * A mark of 48 bits that says whether two values are equal, and nothing else to who has not the key: not how long
 * they are, and no guess can be tried, however few there are.
 */
export function keyedFingerprint(key: Buffer, value: string): string {
  let number = createHmac('sha256', key).update(value, 'utf8').digest().readBigUInt64BE();
  let mark = '';
  for (let at = 0; at < LENGTH; at++) {
    mark += LETTERS[Number(number % BigInt(LETTERS.length))];
    number /= BigInt(LETTERS.length);
  }
  return mark;
}

/** Every mask of a text, `of` told the fingerprint that it carries; null for one without. */
export function replaceMasks(text: string, of: (mark: string | null) => string): string {
  return text.includes(BEGIN)
    ? text.replace(/\[redacted(?:~([A-Z2-9]{10}))?\]/g, (_, mark: string | undefined) => of(mark ?? null))
    : text;
}

const BEGIN = REDACTED.slice(0, -1);
