// Finds operations by method and path: a tree of segments, words before parameters, with backtracking. It knows
// templates only, neither names nor permissions.

import type { Operation } from './operation.ts';

/** One place in the tree: what the segments so far lead to. */
interface Node {
  words: Map<string, Node> | null;
  parameter: Node | null;
  /** The operations whose template ends here, one a method. */
  operations: Operation[] | null;
}

/** A path of only these is read as it is: nothing to decode or to fold. */
const PLAIN = /^[a-z0-9/._~-]*$/;
/** Longer paths are read as they are written. The longest template has 174 characters. */
export const LONGEST_DECODED_PATH = 1024;

/**
 * Immutable once built. A search visits each node of the tree at most once, whatever the path, and reads no further
 * than the deepest template: the work is bounded by the table, not by the caller.
 *
 * A HEAD is the GET operation of its path, as RFC 9110 section 9.3.2 has it, where no HEAD operation is declared.
 */
export class OperationMatcher {
  readonly #root: Node = newNode();
  /** Characters of the longest word: a longer segment can only be a parameter, and is not hashed to look it up. */
  #longestWord = 0;

  constructor(operations: readonly Operation[]) {
    for (const operation of operations) this.#add(operation);
  }

  /**
   * The first operation that fits, words before parameters from the left; null when there is none. `path` has no query;
   * a slash at its end is ignored. It is read as it is written, and decoded and folded where nothing fits it so. Never
   * throws.
   */
  find(method: string, path: string): Operation | null {
    if (!path.startsWith('/')) return null;
    const found = this.#first(this.#root, method, path, 1);
    if (found !== null || path.length > LONGEST_DECODED_PATH || PLAIN.test(path)) return found;
    return this.#first(this.#root, method, path.split('/').map(foldedSegment).join('/'), 1);
  }

  /** Every operation that fits; `segments` are decoded and case-folded, `['api', 'v2', 'users']`. */
  all(method: string, segments: readonly string[]): Operation[] {
    const found: Operation[] = [];
    this.#collect(this.#root, method, segments, 0, found);
    return found;
  }

  /**
   * As much of a path as templates begin with, for a path that no operation has: `/api/v2/users/{id}/…`. Made of words
   * of the table alone, so that there are only so many of them, whatever is asked for. Never throws.
   */
  known(path: string): string {
    let node = this.#root;
    let known = '';
    let at = 1;
    while (at < path.length) {
      const slash = path.indexOf('/', at);
      const end = slash < 0 ? path.length : slash;
      if (end === at) break;
      const word = end - at <= this.#longestWord ? path.slice(at, end).toLowerCase() : '';
      const next = node.words?.get(word);
      if (next === undefined && node.parameter === null) break;
      known += next === undefined ? '/{id}' : `/${word}`;
      node = next ?? (node.parameter as Node);
      at = end + 1;
    }
    return at < path.length || known === '' ? `${known}/…` : known;
  }

  #add(operation: Operation): void {
    let node = this.#root;
    for (const segment of operation.path.slice(1).split('/')) {
      if (segment.startsWith('{')) {
        node.parameter ??= newNode();
        node = node.parameter;
        continue;
      }
      // Words are compared folded, as the segments of a path are.
      const word = segment.toLowerCase();
      this.#longestWord = Math.max(this.#longestWord, word.length);
      node.words ??= new Map();
      let next = node.words.get(word);
      if (next === undefined) {
        next = newNode();
        node.words.set(word, next);
      }
      node = next;
    }
    node.operations ??= [];
    node.operations.push(operation);
  }

  /** `at` is where the next segment begins: behind the path's end when there is none. */
  #first(node: Node, method: string, path: string, at: number): Operation | null {
    if (at >= path.length) return operationOf(node, method);
    const slash = path.indexOf('/', at);
    const end = slash < 0 ? path.length : slash;
    if (end === at) return null;
    if (node.words !== null && end - at <= this.#longestWord) {
      const next = node.words.get(path.slice(at, end));
      const found = next === undefined ? null : this.#first(next, method, path, end + 1);
      if (found !== null) return found;
    }
    return node.parameter === null ? null : this.#first(node.parameter, method, path, end + 1);
  }

  #collect(node: Node, method: string, segments: readonly string[], depth: number, found: Operation[]): void {
    if (depth === segments.length) {
      const operation = operationOf(node, method);
      if (operation !== null) found.push(operation);
      return;
    }
    const segment = segments[depth] as string;
    if (segment === '') return;
    const next = node.words?.get(segment);
    if (next !== undefined) this.#collect(next, method, segments, depth + 1, found);
    if (node.parameter !== null) this.#collect(node.parameter, method, segments, depth + 1, found);
  }
}

function newNode(): Node {
  return { words: null, parameter: null, operations: null };
}

function operationOf(node: Node, method: string): Operation | null {
  for (const operation of node.operations ?? []) if (operation.method === method) return operation;
  return method === 'HEAD' ? operationOf(node, 'GET') : null;
}

/** A segment as words are written; a slash in it stays encoded. */
export function foldedSegment(segment: string): string {
  try {
    return decodeURIComponent(segment).toLowerCase().replaceAll('/', '%2f');
  } catch {
    return segment.toLowerCase();
  }
}
