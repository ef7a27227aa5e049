// The filter language for lists of calls: `status:5xx client:etl -path:/users/** (ms:>500 OR tries:>1) text`.
// Pure: the server, the page and the terminal share it. Bounded and without regular expressions of a user's, so that a
// filter costs time in proportion to what it is asked about.

import { type CallTest, FILTER_FIELDS, type FilterValue, textTest } from './filter-fields.ts';
import type { Call } from './wire.ts';

/** What a filter is made of. `field` null: free text. A term holds where one of its values does. */
export type FilterNode =
  | { readonly kind: 'all' | 'any'; readonly of: readonly FilterNode[] }
  | { readonly kind: 'not'; readonly of: FilterNode }
  | { readonly kind: 'term'; readonly field: string | null; readonly values: readonly FilterValue[] };

/** A filter that was read: made once, asked for each call. */
export interface Filter {
  readonly node: FilterNode;
  readonly test: CallTest;
}

/** Why a filter cannot be read, where (`column`, from 1), and what would be right. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
  readonly column: number;

  constructor(column: number, message: string) {
    super(message);
    this.column = column;
  }
}

export const LONGEST_FILTER = 1_024;
export const MOST_TERMS = 32;

/** Reads a filter; an empty one matches every call. Throws FilterError. */
export function parseFilter(text: string): Filter {
  if (text.length > LONGEST_FILTER)
    throw new FilterError(LONGEST_FILTER + 1, `a filter has at most ${LONGEST_FILTER} characters`);
  return new FilterParser(text).parse();
}

/** Whether a call passes a filter; `now` (epoch ms) is what `since:5m` counts from. */
export function matches(filter: Filter, call: Call, now: number = Date.now()): boolean {
  return filter.test(call, now);
}

/** A filter; null where the text is none. */
export function readFilter(text: string): Filter | null {
  try {
    return parseFilter(text);
  } catch {
    return null;
  }
}

/** The text of a filter, in one way of writing it: `parseFilter` reads the same filter from it. */
export function printFilter({ node }: Filter): string {
  return node.kind === 'all' ? node.of.map((one) => printed(one)).join(' ') : printed(node, true);
}

function printed(node: FilterNode, isWhole = false): string {
  if (node.kind === 'not') return `-${printed(node.of)}`;
  if (node.kind === 'term') {
    const { field, values } = node;
    const shown = values.map((value) => printedValue(value, field === null)).join(',');
    return field === null ? shown : `${field}:${shown}`;
  }
  const text = node.of.map((one) => printed(one)).join(node.kind === 'all' ? ' ' : ' OR ');
  return isWhole ? text : `(${text})`;
}

function printedValue({ text, wild }: FilterValue, isFree: boolean): string {
  const isPlain =
    !/[\s()"]/.test(text) &&
    wild === text.includes('*') &&
    (isFree ? !/^-|^[a-z]+:|^(?:AND|OR|NOT)$/i.test(text) : !/[,|]/.test(text));
  return isPlain ? text : `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** Reads one text, from left to right, once. */
class FilterParser {
  readonly #text: string;
  #at = 0;
  #terms = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Filter {
    this.#skipBlanks();
    if (this.#isEnd()) return { node: { kind: 'all', of: [] }, test: () => true };
    const filter = this.#any();
    if (!this.#isEnd()) throw this.#error('there is no ( to this )');
    return filter;
  }

  /** Sides of `OR`. */
  #any(): Filter {
    const sides = [this.#all()];
    while (this.#word('OR')) sides.push(this.#all());
    const [first] = sides as [Filter];
    if (sides.length === 1) return first;
    const tests = sides.map(({ test }) => test);
    return {
      node: { kind: 'any', of: sides.map(({ node }) => node) },
      test: (call, now) => tests.some((test) => test(call, now)),
    };
  }

  /** What stands side by side. */
  #all(): Filter {
    const parts: Filter[] = [];
    do {
      if (this.#isEnd() || this.#peek() === ')' || this.#isWord('OR') || this.#isWord('AND'))
        throw this.#error('a term is missing here, such as status:5xx');
      parts.push(this.#one());
      // `AND` says what standing side by side says already.
    } while (this.#word('AND') || !(this.#isEnd() || this.#peek() === ')' || this.#isWord('OR')));
    const [first] = parts as [Filter];
    if (parts.length === 1) return first;
    const tests = parts.map(({ test }) => test);
    return {
      node: { kind: 'all', of: parts.map(({ node }) => node) },
      test: (call, now) => tests.every((test) => test(call, now)),
    };
  }

  /** A term or a group, or what is denied. */
  #one(): Filter {
    const start = this.#at;
    if (++this.#depth > MOST_TERMS) throw this.#error(`at most ${MOST_TERMS} signs - and ( may be inside one another`);
    try {
      if (this.#peek() === '-' || this.#isWord('NOT')) {
        this.#at += this.#peek() === '-' ? 1 : 3;
        if (this.#text[start] !== '-') this.#skipBlanks();
        if (this.#isEnd() || /[\s)]/.test(this.#peek()))
          throw new FilterError(start + 1, '- stands directly before what is not wanted, such as -status:200');
        const { node, test } = this.#one();
        return { node: { kind: 'not', of: node }, test: (call, now) => !test(call, now) };
      }
      if (this.#peek() !== '(') return this.#term();
      this.#at++;
      this.#skipBlanks();
      const group = this.#any();
      if (this.#peek() !== ')') throw new FilterError(start + 1, 'the ) to this ( is missing');
      this.#at++;
      this.#skipBlanks();
      return group;
    } finally {
      this.#depth--;
    }
  }

  #term(): Filter {
    const start = this.#at;
    if (++this.#terms > MOST_TERMS) throw this.#error(`a filter has at most ${MOST_TERMS} terms`);
    const [head, name] = /^([a-z]+):/i.exec(this.#text.slice(start, start + LONGEST_NAME)) ?? [];
    if (head === undefined || name === undefined) return this.#freeText();
    const field = name.toLowerCase();
    const declared = Object.hasOwn(FILTER_FIELDS, field) ? FILTER_FIELDS[field] : undefined;
    if (declared === undefined)
      throw this.#error(
        `there is no field ${field}; fields are ${Object.keys(FILTER_FIELDS).join(', ')}, and a text with a colon ` +
          'stands in quotes',
      );
    this.#at += head.length;
    const values: FilterValue[] = [];
    const tests: CallTest[] = [];
    do {
      const at = this.#at;
      const value = this.#value(true);
      const test = value.text === '' ? null : declared.testOf(value);
      if (test === null) throw new FilterError(at + 1, `${field} is asked for like ${declared.example}`);
      values.push(value);
      tests.push(test);
    } while (this.#take(',') || this.#take('|'));
    this.#endOfWord();
    const [only] = tests as [CallTest];
    return {
      node: { kind: 'term', field, values },
      test: tests.length === 1 ? only : (call, now) => tests.some((test) => test(call, now)),
    };
  }

  #freeText(): Filter {
    const start = this.#at;
    const value = this.#value(false);
    if (value.text === '') throw new FilterError(start + 1, 'the quotes are empty');
    this.#endOfWord();
    return { node: { kind: 'term', field: null, values: [value] }, test: textTest(value) };
  }

  /** A word, or what stands in quotes; in a list of values `,` and `|` end a word. */
  #value(isInList: boolean): FilterValue {
    if (this.#peek() === '"') return { text: this.#quoted(), wild: false };
    const start = this.#at;
    const isEnd = isInList ? /[\s()",|]/ : /[\s()"]/;
    while (!this.#isEnd() && !isEnd.test(this.#peek())) this.#at++;
    const text = this.#text.slice(start, this.#at);
    return { text, wild: text.includes('*') };
  }

  #quoted(): string {
    const start = this.#at++;
    let text = '';
    for (;;) {
      if (this.#isEnd()) throw new FilterError(start + 1, 'the " that ends this one is missing');
      let char = this.#text[this.#at++] as string;
      if (char === '"') return text;
      if (char === '\\' && /["\\]/.test(this.#peek())) char = this.#text[this.#at++] as string;
      text += char;
    }
  }

  /** After a term: the end, a blank, or the end of a group. */
  #endOfWord(): void {
    if (!this.#isEnd() && !/[\s)]/.test(this.#peek()))
      throw this.#error(`a value with ( ) " , or | stands in quotes, such as path:"/a(1)"`);
    this.#skipBlanks();
  }

  #isWord(word: string): boolean {
    return this.#text.startsWith(word, this.#at) && /^[\s()]?$/.test(this.#text.charAt(this.#at + word.length));
  }

  #word(word: string): boolean {
    if (!this.#isWord(word)) return false;
    this.#at += word.length;
    this.#skipBlanks();
    return true;
  }

  #take(char: string): boolean {
    if (this.#peek() !== char) return false;
    this.#at++;
    return true;
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #isEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  #skipBlanks(): void {
    while (!this.#isEnd() && /\s/.test(this.#peek())) this.#at++;
  }

  #error(message: string): FilterError {
    return new FilterError(this.#at + 1, message);
  }
}

const LONGEST_NAME = 32;
