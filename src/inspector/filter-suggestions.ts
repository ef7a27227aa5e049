// What a person may want to write next into a filter: names of fields, and values with how many calls have them. And
// which part of a filter that matches nothing keeps most calls out. Pure: for the page, over the calls that it has.

import { type Filter, type FilterNode, matches, parseFilter, printFilter } from './filter.ts';
import { FILTER_FIELDS } from './filter-fields.ts';
import type { Call } from './wire.ts';

/** One suggestion: `text` takes the place of what stands between `from` and `to`. */
export interface Suggestion {
  readonly text: string;
  /** Calls that have the value; null for a field. */
  readonly count: number | null;
  /** For a field: what it means. */
  readonly meaning: string | null;
}

/** Suggestions for one place in a filter. */
export interface Suggestions {
  readonly from: number;
  readonly to: number;
  readonly list: readonly Suggestion[];
}

const MOST = 10;

/** Suggestions for where the caret stands, by these calls; the most frequent first. */
export function suggest(text: string, caret: number, calls: Iterable<Call>): Suggestions {
  const from = beginningOfWord(text, caret);
  const to = caret;
  const word = text.slice(from, to);
  const [, name] = /^([a-z]+):/i.exec(word) ?? [];
  const field = name?.toLowerCase();
  if (field === undefined || !Object.hasOwn(FILTER_FIELDS, field)) return { from, to, list: fieldsLike(word) };
  const typed = /[^,|]*$/.exec(word.slice(field.length + 1))?.[0] ?? '';
  return { from: to - typed.length, to, list: valuesLike(field, typed.replace(/^"/, ''), calls) };
}

/** Where the word begins in which the caret stands; `-` and `(` before it are none of it. */
function beginningOfWord(text: string, caret: number): number {
  let at = caret;
  let isQuoted = false;
  // From the left, since a blank inside of quotes ends no word.
  for (let index = 0, start = 0; index <= caret; index++) {
    const char = text[index];
    if (index === caret) at = start;
    else if (char === '"' && text[index - 1] !== '\\') isQuoted = !isQuoted;
    else if (!isQuoted && char !== undefined && /[\s()]/.test(char)) start = index + 1;
    else if (char === '-' && index === start) start = index + 1;
  }
  return at;
}

function fieldsLike(word: string): Suggestion[] {
  const typed = word.toLowerCase();
  return Object.entries(FILTER_FIELDS)
    .filter(([name]) => name.startsWith(typed))
    .slice(0, MOST)
    .map(([name, { meaning }]) => ({ text: `${name}:`, count: null, meaning }));
}

function valuesLike(field: string, typed: string, calls: Iterable<Call>): Suggestion[] {
  const valuesIn = FILTER_FIELDS[field]?.valuesIn;
  if (valuesIn === undefined) return [];
  const wanted = typed.toLowerCase();
  const counts = new Map<string, number>();
  for (const call of calls)
    for (const value of valuesIn(call))
      if (value !== undefined && value !== '' && value.toLowerCase().includes(wanted))
        counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts]
    .sort(([a, times], [b, more]) => more - times || (a < b ? -1 : 1))
    .slice(0, MOST)
    .map(([value, count]) => ({ text: written(value), count, meaning: null }));
}

/** A value as it stands in a filter: in quotes where it must. */
function written(value: string): string {
  const node: FilterNode = { kind: 'term', field: 'code', values: [{ text: value, wild: false }] };
  return printFilter({ node, test: () => true }).slice('code:'.length);
}

/** A part of a filter that could be left out. */
export interface LooserFilter {
  /** The part. */
  readonly without: string;
  /** The filter that is left. */
  readonly filter: string;
  /** How many calls that one matches. */
  readonly count: number;
}

/** The part of a filter without which most calls match; null for one of a single part, or where none helps. */
export function loosest({ node }: Filter, calls: readonly Call[], now?: number): LooserFilter | null {
  if (node.kind !== 'all' || node.of.length < 2) return null;
  let best: LooserFilter | null = null;
  for (const part of node.of) {
    const rest = node.of.filter((one) => one !== part);
    const filter = textOf({ kind: 'all', of: rest });
    const looser = parseFilter(filter);
    const count = calls.reduce((sum, call) => sum + (matches(looser, call, now) ? 1 : 0), 0);
    if (count > (best?.count ?? 0)) best = { without: textOf(part), filter, count };
  }
  return best;
}

function textOf(node: FilterNode): string {
  return printFilter({ node, test: () => true });
}
