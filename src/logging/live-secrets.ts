// The last barrier of the log: the exact values of secrets that are in use now, masked wherever they still turn up.
// It knows no formats; recognising secrets by name and shape is the job of the redact files.

import { REDACTED } from '../config/secret.ts';

/** Values in use: tokens, client secrets. Bounded: the oldest is forgotten when it is full. Never printed, never enumerated. */
export interface LiveSecrets {
  /** Remembers a value. Values shorter than 16 characters are not taken: masking them would eat ordinary words. */
  add(value: string): void;
  /** The text with every occurrence of a remembered value masked. Linear in the text, whatever the number of values. */
  mask(text: string): string;
}

const SHORTEST = 16;

/** Escapes are stepped over as a whole, so that the `n` of a `\n` does not glue itself to the word behind it. */
const WORDS = /\\u[0-9a-f]{4}|\\.|[\w~+/.-]{16,}={0,2}/gi;

export function createLiveSecrets(capacity = 1024): LiveSecrets {
  const values = new Set<string>();
  return {
    add(value) {
      if (value.length < SHORTEST) return;
      values.delete(value);
      values.add(value);
      if (values.size > capacity) values.delete(values.values().next().value as string);
    },
    mask: (text) => (values.size === 0 ? text : text.replace(WORDS, (word) => (values.has(word) ? REDACTED : word))),
  };
}
