// The platform's operations: what each is called, where it is, what it declares to need. The rows come from a file that
// is read once, when the first caller asks, and are understood part by part. It finds operations by name; finding them by path is the matcher's.

import { readFileSync } from 'node:fs';
import { programFile } from '../program-folder.ts';
import { foldedSegment, LONGEST_DECODED_PATH, OperationMatcher } from './matcher.ts';
import type { Operation, Requirement } from './operation.ts';

/** Where the rows are. */
export const OPERATIONS_FILE = programFile('operations/operations.tsv');

/** What stands for the operation of a call that the table does not know: removed, not published, or newer. */
export const UNLISTED = 'unlisted';

const REQUIREMENTS: ReadonlySet<string> = new Set<Requirement>(['none', 'any', 'all', 'unknown']);

/** What all paths of the platform begin with. */
const API = '/api/v2/';

/**
 * All operations, with the ways to find them: one serves the whole process. A row is read when somebody asks for an
 * operation of its part of the API (`/api/v2/users/…`), so that a gateway pays for what its callers use.
 */
export class OperationTable {
  readonly #text: string;
  /** By the word behind `/api/v2/`. */
  readonly #parts: ReadonlyMap<string, Part>;
  #all: readonly Operation[] | null = null;
  /** Those that were asked for, or all: refusals are explained by their name. */
  readonly #byId = new Map<string, Operation>();
  #isEachById = false;

  /** Takes rows as `formatOperations` writes them. */
  constructor(text: string) {
    this.#text = text;
    this.#parts = partsOf(text);
  }

  /** Sorted by path, then method. */
  get operations(): readonly Operation[] {
    this.#all ??= [...this.#parts.values()].flatMap((part) => part.operations);
    return this.#all;
  }

  /** The operation of that operationId, in exactly that case. */
  byId(id: string): Operation | undefined {
    if (id === UNLISTED) return undefined;
    const known = this.#byId.get(id);
    if (known !== undefined || this.#isEachById) return known;
    const at = this.#text.indexOf(`\t${id}\t`);
    const path = at < 0 ? '' : this.#text.slice(this.#text.lastIndexOf('\t', at - 1) + 1, at);
    const found = this.#partOf(path)?.operations.find((operation) => operation.id === id);
    if (found !== undefined) this.#byId.set(id, found);
    else this.#nameEach();
    return found;
  }

  /**
   * The operation of a call, for records and metrics; null when the table does not know it. `path` is raw and has no
   * query. Where several fit, words win over parameters, from the left.
   */
  find(method: string, path: string): Operation | null {
    return this.#partOf(path)?.matcher.find(method, path) ?? null;
  }

  /** As much of the path of a call as is known, for one that is `unlisted`: a template, of which there are not many. */
  known(path: string): string {
    return this.#partOf(path)?.matcher.known(path) ?? `${API}…`;
  }

  /**
   * Every operation that a call could be, for rules: which of them the platform takes it for is not ours to decide.
   * `segments` are decoded and case-folded. Empty when the table does not know it.
   */
  all(method: string, segments: readonly string[]): Operation[] {
    const [api, version, word = ''] = segments;
    if (api !== 'api' || version !== 'v2') return [];
    return this.#parts.get(word)?.matcher.all(method, segments) ?? [];
  }

  /** Whoever asks for a name that is none may have many of them, and each search for one reads the whole text. */
  #nameEach(): void {
    for (const operation of this.operations) this.#byId.set(operation.id, operation);
    this.#isEachById = true;
  }

  #partOf(path: string): Part | undefined {
    if (path.startsWith(API)) {
      const end = path.indexOf('/', API.length);
      const word = path.slice(API.length, end < 0 ? undefined : end);
      const part = this.#parts.get(word);
      if (part !== undefined) return part;
    }
    if (path.length > LONGEST_DECODED_PATH) return undefined;
    const [, api = '', version = '', word = ''] = path.split('/', 4).map(foldedSegment);
    return api === 'api' && version === 'v2' ? this.#parts.get(word) : undefined;
  }
}

/** The operations of one part of the API, read when they are asked for. */
class Part {
  #rows: string;
  #operations: readonly Operation[] | null = null;
  #matcher: OperationMatcher | null = null;

  constructor(rows: string) {
    this.#rows = rows;
  }

  get operations(): readonly Operation[] {
    if (this.#operations === null) {
      this.#operations = parseOperations(this.#rows);
      this.#rows = '';
    }
    return this.#operations;
  }

  get matcher(): OperationMatcher {
    this.#matcher ??= new OperationMatcher(this.operations);
    return this.#matcher;
  }
}

/** Cuts sorted rows into the parts of the API, reading no more of a row than that. */
function partsOf(text: string): Map<string, Part> {
  const parts = new Map<string, Part>();
  let word = '';
  let from = 0;
  for (let at = 0; at < text.length; ) {
    const path = text.indexOf('\t', at) + 1;
    if (path === 0 || !text.startsWith(API, path)) throw new TypeError('not a table of operations');
    const start = path + API.length;
    const behind = text.charCodeAt(start + word.length);
    if (word === '' || !text.startsWith(word, start) || (behind !== SLASH && behind !== TAB)) {
      if (word !== '') parts.set(word, new Part(text.slice(from, at)));
      word = (/[^\t/]+/.exec(text.slice(start, start + LONGEST_WORD)) ?? [''])[0];
      if (word === '' || parts.has(word)) throw new TypeError('not a sorted table of operations');
      from = at;
    }
    const end = text.indexOf('\n', start);
    at = end < 0 ? text.length : end + 1;
  }
  if (word !== '') parts.set(word, new Part(text.slice(from)));
  return parts;
}

const SLASH = 47;
const TAB = 9;
const LONGEST_WORD = 200;

let loaded: OperationTable | undefined;

/**
 * The table of this release. The first call reads its file, which takes about 2 ms once. Throws when that is missing or
 * damaged, which is a broken installation.
 */
export function operationTable(): OperationTable {
  loaded ??= new OperationTable(readFileSync(OPERATIONS_FILE, 'latin1'));
  return loaded;
}

/**
 * Which operation a call is, by its method and its target, query included: the operationId, or `unlisted`, and the
 * route template.
 */
export function identifyOperation(method: string, target: string): { readonly id: string; readonly template: string } {
  const queryAt = target.indexOf('?');
  const path = queryAt < 0 ? target : target.slice(0, queryAt);
  const operation = operationTable().find(method, path);
  return operation === null
    ? { id: UNLISTED, template: operationTable().known(path) }
    : { id: operation.id, template: operation.path };
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
