// What every source of settings yields: texts that remember where they were written. Nothing here knows which options exist.

import type { Problem } from './problem.ts';

/** A value before its option is known. JSON's native numbers and booleans keep their spelling and their type. */
export type RawValue =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'number' | 'boolean'; readonly text: string }
  | { readonly type: 'list'; readonly items: readonly string[] }
  /** It was there and could not be read; that has been said already. */
  | { readonly type: 'broken' };

/** One setting as written; `section` may hold a name, `credential.crm`. */
export interface RawEntry {
  readonly section: string;
  readonly key: string;
  readonly value: RawValue;
  readonly where: string;
}

/** A section line, kept because a section may be named and empty. */
export interface RawSection {
  readonly section: string;
  readonly where: string;
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
