// The platform's operations: what each is called, where it is, what it declares to need. The rows come from a file that
// is read once, when the first caller asks. It finds operations by name; finding them by path is the matcher's.

import { readFileSync } from 'node:fs';
import { OperationMatcher } from './matcher.ts';

/**
 * What an operation declares of permissions: none, one of a list, all of a list, or nothing that is known. Declared is
 * a floor: `none` does not mean that the platform checks nothing.
 */
export type Requirement = 'none' | 'any' | 'all' | 'unknown';

/** One operation of the platform, as it publishes it. */
export interface Operation {
  /** The platform's operationId, which is the method name in its SDKs. Unique; its case counts. */
  readonly id: string;
  readonly method: string;
  /** The template of its path: `/api/v2/users/{userId}`. */
  readonly path: string;
  readonly tags: readonly string[];
  readonly requires: Requirement;
  /** `domain:entity:action`; a few of the platform's are one word. Empty for `none` and `unknown`. */
  readonly permissions: readonly string[];
  readonly hasBody: boolean;
  readonly isDeprecated: boolean;
  /** It may change at any time without notice. */
  readonly isPreview: boolean;
}

/** Where the rows are: beside this file, in `src` as in `dist`. */
export const OPERATIONS_FILE = new URL('./operations.tsv', import.meta.url);

const REQUIREMENTS: ReadonlySet<string> = new Set<Requirement>(['none', 'any', 'all', 'unknown']);

/** All operations, with the ways to find them. Immutable; one serves the whole process. */
export class OperationTable {
  /** Sorted by path, then method. */
  readonly operations: readonly Operation[];
  readonly #byId: ReadonlyMap<string, Operation>;
  readonly #matcher: OperationMatcher;

  constructor(operations: readonly Operation[]) {
    this.operations = operations;
    this.#byId = new Map(operations.map((operation) => [operation.id, operation]));
    this.#matcher = new OperationMatcher(operations);
  }

  /** The operation of that operationId, in exactly that case. */
  byId(id: string): Operation | undefined {
    return this.#byId.get(id);
  }

  /**
   * The operation of a call, for records and metrics; null when the table does not know it. `path` is raw and has no
   * query. Where several fit, words win over parameters, from the left.
   */
  find(method: string, path: string): Operation | null {
    return this.#matcher.find(method, path);
  }

  /**
   * Every operation that a call could be, for rules: which of them the platform takes it for is not ours to decide.
   * `segments` are decoded and case-folded. Empty when the table does not know it.
   */
  all(method: string, segments: readonly string[]): Operation[] {
    return this.#matcher.all(method, segments);
  }
}

let loaded: OperationTable | undefined;

/**
 * The table of this release. The first call reads and builds it, which takes about 30 ms once; later ones cost nothing.
 * Throws when the file is missing or damaged, which is a broken installation.
 */
export function operationTable(): OperationTable {
  loaded ??= new OperationTable(parseOperations(readFileSync(OPERATIONS_FILE, 'utf8')));
  return loaded;
}

/**
 * Reads rows: `method path operationId tags requirement flags`, with a tab between columns. Lists have commas, the
 * permissions follow the requirement after a blank, the last column may be absent. Throws a TypeError for anything
 * else.
 */
export function parseOperations(text: string): Operation[] {
  // Equal lists are one array: most permissions and tags occur many times.
  const lists = new Map<string, readonly string[]>();
  const list = (joined: string): readonly string[] => {
    let items = lists.get(joined);
    if (items === undefined) {
      items = joined === '' ? [] : joined.split(',');
      lists.set(joined, items);
    }
    return items;
  };
  const operations: Operation[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const columns = line.split('\t');
    const [method, path, id, tags, needs, flags = ''] = columns;
    if (!method || !path || !id || tags === undefined || needs === undefined || columns.length > 6) {
      throw new TypeError(`not a row of the table of operations: ${line}`);
    }
    const blank = needs.indexOf(' ');
    const requires = blank < 0 ? needs : needs.slice(0, blank);
    if (!isRequirement(requires)) throw new TypeError(`not a requirement: ${needs}`);
    const marks = list(flags);
    operations.push({
      id,
      method,
      path,
      tags: list(tags),
      requires,
      permissions: list(blank < 0 ? '' : needs.slice(blank + 1)),
      hasBody: marks.includes('body'),
      isDeprecated: marks.includes('deprecated'),
      isPreview: marks.includes('preview'),
    });
  }
  return operations;
}

/** Writes rows as `parseOperations` reads them, sorted, so that a diff of two versions reads like release notes. */
export function formatOperations(operations: readonly Operation[]): string {
  return [...operations]
    .sort((a, b) => compare(a.path, b.path) || compare(a.method, b.method))
    .map((operation) => {
      const { method, path, id, tags, requires, permissions } = operation;
      const flags = [
        operation.hasBody ? 'body' : '',
        operation.isDeprecated ? 'deprecated' : '',
        operation.isPreview ? 'preview' : '',
      ].filter((flag) => flag !== '');
      const columns = [method, path, id, tags.join(','), [requires, permissions.join(',')].join(' ').trim()];
      if (flags.length > 0) columns.push(flags.join(','));
      for (const word of [method, path, id, ...tags, ...permissions]) {
        if (/[\t\n,]/.test(word) || word === '') throw new TypeError(`cannot be written in the table: ${word}`);
      }
      return `${columns.join('\t')}\n`;
    })
    .join('');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isRequirement(text: string): text is Requirement {
  return REQUIREMENTS.has(text);
}
