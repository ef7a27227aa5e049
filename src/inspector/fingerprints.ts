// The two keys behind fingerprints of secrets. What is kept of calls carries marks by the first, what leaves in a file
// carries marks of those by a second: equal secrets are equal in one file, and files of strangers cannot be compared.

import { randomBytes } from 'node:crypto';
import { keyedFingerprint, plainSecret } from '../logging/redact/mask.ts';

/** Whether a file can be compared with others of this run, or with none. */
export type FingerprintScope = 'file' | 'run';

/** So many files are remembered for the question which secret a mark stands for. */
const MOST_FILES = 200;

/** Keys live in memory and are gone with the process. */
export class Fingerprints {
  readonly #keptKey = randomBytes(32);
  readonly #runKey = randomBytes(32);
  /** Keys of files, the oldest first. */
  readonly #fileKeys: Buffer[] = [];

  /** The mark that a secret has in what is kept; bound, to be handed around. */
  readonly kept = (secret: string): string => keyedFingerprint(this.#keptKey, secret);

  /** The marks of one file, made from the marks of what is kept. */
  forFile(scope: FingerprintScope): (kept: string) => string {
    const key = scope === 'run' ? this.#runKey : randomBytes(32);
    if (scope === 'file') {
      this.#fileKeys.push(key);
      if (this.#fileKeys.length > MOST_FILES) this.#fileKeys.shift();
    }
    return (kept) => keyedFingerprint(key, kept);
  }

  /** Whether a secret has this mark in a file that was made since the start, or in what is kept. */
  isOf(secret: string, mark: string): boolean {
    const kept = this.kept(plainSecret(secret));
    if (kept === mark) return true;
    return [this.#runKey, ...this.#fileKeys].some((key) => keyedFingerprint(key, kept) === mark);
  }
}
