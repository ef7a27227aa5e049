// Secret: a string that does not print itself. Where a secret comes from (inline, file, environment) is secret-source.ts.

import { createHash } from 'node:crypto';
import { inspect } from 'node:util';

/** What a secret shows wherever it is printed, serialised or interpolated. */
export const REDACTED = '[redacted]';

/**
 * Holds a secret string. `reveal()` is the only way to the value; `String(secret)`, JSON and `util.inspect` give `[redacted]`.
 * Kept in a private field, so object spread and structured clone do not carry it.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value. Call it where it goes on the wire, and nowhere else. */
  reveal(): string {
    return this.#value;
  }

  /** The first 12 hex digits of the SHA-256: enough to tell two secrets apart in a log, useless for anything else. */
  fingerprint(): string {
    return createHash('sha256').update(this.#value).digest('hex').slice(0, 12);
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
