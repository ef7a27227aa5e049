// What was called in one month, and the file it is kept in: a journal of totals that a crash can cut at its end only,
// written anew as a whole when it has grown.

import { close, write } from 'node:fs';
import { openAppendFile } from '../fs/append-file.ts';
import { replaceFile } from '../fs/atomic-write.ts';
import { readPlainFileSync } from '../fs/plain-file.ts';

/** Calls of one client with one credential to one operation. */
export interface UsageRow {
  /** Null: an anonymous caller. */
  readonly client: string | null;
  readonly credential: string;
  readonly operation: string;
  readonly calls: number;
}

/** Where calls are counted whose key has no place of its own any more. */
export const OTHER = 'other';

/** A row that counts. */
interface Counter extends UsageRow {
  /** The row's number in the journal. */
  readonly id: number;
  calls: number;
  /** What the journal has; another number than `calls` where the row waits to be written, NaN while it is. */
  written: number;
  /** Whether the journal says which row has this number. */
  isKnown: boolean;
}

/** Rows of a month: more are counted as the operation `other`. */
const MOST_ROWS = 10_000;
/** Even with names that keep changing there are no more; then everything is `other`. */
const MOST_ROWS_OF_OTHERS = 1_000;

/** A journal is written anew when it is this long, and twice as long as it would be then. */
const COMPACT_BYTES = 256 * 1024;
const LARGEST_BYTES = 64 * 1024 * 1024;

const FORMAT = 'gcg-usage-1';

/** `[id, client, credential, operation, calls]`, or `[id, calls]`, many of them in a line. */
type Entry = readonly [number, string | null, string, string, number] | readonly [number, number];

/** A month whose counters are in memory; `path` is null where it is kept nowhere else. */
export class MonthBook {
  readonly month: string;
  readonly #path: string | null;
  /** By client, credential, operation. */
  readonly #rows = new Map<string | null, Map<string, Map<string, Counter>>>();
  readonly #counters: Counter[] = [];
  /** All calls of each client. */
  readonly #totals = new Map<string | null, number>();
  #othersRows = 0;
  /** Counters that the journal does not have as they are. */
  #changed: Counter[] = [];
  #journalBytes = 0;
  #compactBytes = 0;
  /** Null until something is appended, and where the journal has to be written anew. */
  #fd: number | null = null;
  /** Lines that could not be read when the journal was opened. */
  readonly damagedLines: number;

  /** Reads what is there. Throws the system's error, or a FileRefusal. */
  constructor(month: string, path: string | null) {
    this.month = month;
    this.#path = path;
    this.damagedLines = path === null ? 0 : this.#load(path);
  }

  /** Adds calls to a row. */
  count(client: string | null, credential: string, operation: string, calls: number): void {
    const counter =
      this.#rows.get(client)?.get(credential)?.get(operation) ?? this.#admit(client, credential, operation);
    if (counter.calls === counter.written) this.#changed.push(counter);
    counter.calls += calls;
    this.#totals.set(client, (this.#totals.get(client) ?? 0) + calls);
  }

  /** All calls of a client. */
  total(client: string | null): number {
    return this.#totals.get(client) ?? 0;
  }

  /** The rows as they are kept: they go on counting. */
  get counting(): Iterable<UsageRow> {
    return this.#counters;
  }

  /** The rows, those with most calls first. */
  rows(): UsageRow[] {
    return this.#counters
      .filter(({ calls }) => calls > 0)
      .map(({ client, credential, operation, calls }) => ({ client, credential, operation, calls }))
      .sort((one, other) => other.calls - one.calls || compareRows(one, other));
  }

  /** Whether there is a journal. */
  get isKept(): boolean {
    return this.#path !== null;
  }

  /** Whether the journal lacks something. */
  get isChanged(): boolean {
    return this.#changed.length > 0 && this.#path !== null;
  }

  /**
   * Writes what changed. One flush at a time. Throws the system's error; then everything that was to be written is
   * written with the next flush, into a journal that is made anew.
   */
  async flush(): Promise<void> {
    if (this.#path === null || this.#changed.length === 0) return;
    const changed = this.#changed;
    this.#changed = [];
    // What is counted while the disk works is a change again.
    const totals = changed.map(({ calls }) => calls);
    const noteWritten = () => {
      for (const [at, counter] of changed.entries()) {
        counter.written = totals[at] as number;
        if (counter.calls !== counter.written) this.#changed.push(counter);
      }
    };
    for (const counter of changed) counter.written = Number.NaN;
    try {
      const isGrown = this.#journalBytes > COMPACT_BYTES && this.#journalBytes > 2 * this.#compactBytes;
      if (this.#fd === null || isGrown) await this.#compact(this.#path);
      else await this.#append(this.#fd, changed);
    } catch (error) {
      this.#release();
      for (const counter of changed) counter.written = -1;
      this.#changed = [...changed, ...this.#changed];
      throw error;
    }
    noteWritten();
  }

  /** Lets go of the file; nothing is written. */
  close(): void {
    this.#release();
  }

  #admit(client: string | null, credential: string, operation: string): Counter {
    if (this.#counters.length - this.#othersRows < MOST_ROWS || operation === OTHER)
      return this.#add(client, credential, operation);
    const others = this.#rows.get(client)?.get(credential)?.get(OTHER);
    if (others !== undefined) return others;
    if (this.#othersRows < MOST_ROWS_OF_OTHERS) return this.#add(client, credential, OTHER);
    return this.#rows.get(OTHER)?.get(OTHER)?.get(OTHER) ?? this.#add(OTHER, OTHER, OTHER);
  }

  #add(client: string | null, credential: string, operation: string): Counter {
    const ofClient = this.#rows.get(client) ?? new Map<string, Map<string, Counter>>();
    this.#rows.set(client, ofClient);
    const ofCredential = ofClient.get(credential) ?? new Map<string, Counter>();
    ofClient.set(credential, ofCredential);
    const id = this.#counters.length + 1;
    const counter: Counter = { id, client, credential, operation, calls: 0, written: 0, isKnown: false };
    ofCredential.set(operation, counter);
    this.#counters.push(counter);
    if (operation === OTHER) this.#othersRows += 1;
    return counter;
  }

  /** Appends one line: a crash leaves all of it, or a piece that is no line. */
  async #append(fd: number, changed: readonly Counter[]): Promise<void> {
    const entries: Entry[] = changed.map((counter) => {
      if (counter.isKnown) return [counter.id, counter.calls];
      counter.isKnown = true;
      return wholeEntry(counter);
    });
    const octets = Buffer.from(`${JSON.stringify(entries)}\n`);
    await writeWhole(fd, octets);
    this.#journalBytes += octets.length;
  }

  /** Replaces the journal by one with a line for each row: the old one or the new one is there, whatever happens. */
  async #compact(path: string): Promise<void> {
    this.#release();
    let text = `${JSON.stringify({ format: FORMAT, month: this.month })}\n`;
    for (const counter of this.#counters) {
      counter.isKnown = true;
      text += `${JSON.stringify([wholeEntry(counter)])}\n`;
    }
    await replaceFile(path, text);
    this.#fd = openAppendFile(path).fd;
    this.#compactBytes = this.#journalBytes = Buffer.byteLength(text);
  }

  #release(): void {
    const fd = this.#fd;
    this.#fd = null;
    // What closing says of a file that is replaced next, or done with, changes nothing.
    if (fd !== null) close(fd, () => {});
  }

  /** The number of lines that could not be read. */
  #load(path: string): number {
    const text = readIfThere(path);
    const byId = new Map<number, Counter>();
    let damaged = 0;
    for (const line of text === null ? [] : text.split('\n')) {
      if (line === '' || line.startsWith('{"format":')) continue;
      if (!this.#read(line, byId)) damaged += 1;
    }
    for (const { client, calls } of this.#counters) this.#totals.set(client, this.total(client) + calls);
    return damaged;
  }

  #read(line: string, byId: Map<number, Counter>): boolean {
    const entries = parseEntries(line);
    if (entries === undefined) return false;
    let isWhole = true;
    for (const entry of entries) {
      const calls = entry[entry.length - 1] as number;
      let counter = byId.get(entry[0]);
      if (counter === undefined && entry.length === 5) {
        const [id, client, credential, operation] = entry;
        counter = this.#rows.get(client)?.get(credential)?.get(operation) ?? this.#add(client, credential, operation);
        byId.set(id, counter);
      }
      // Totals only grow: a smaller one is not newer.
      if (counter === undefined) isWhole = false;
      else counter.calls = counter.written = Math.max(counter.calls, calls);
    }
    return isWhole;
  }
}

function wholeEntry({ id, client, credential, operation, calls }: Counter): Entry {
  return [id, client, credential, operation, calls];
}

function readIfThere(path: string): string | null {
  try {
    return readPlainFileSync(path, LARGEST_BYTES).bytes.toString('utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function parseEntries(line: string): readonly Entry[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // Cut by a crash, or damaged.
    return undefined;
  }
  return Array.isArray(value) && value.every(isEntry) ? value : undefined;
}

function isEntry(value: unknown): value is Entry {
  if (!Array.isArray(value) || !isCount(value[0]) || !isCount(value.at(-1))) return false;
  if (value.length === 2) return true;
  const [, client, credential, operation] = value;
  return (
    value.length === 5 &&
    (client === null || typeof client === 'string') &&
    typeof credential === 'string' &&
    typeof operation === 'string'
  );
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function compareRows(one: UsageRow, other: UsageRow): number {
  const name = ({ client, credential, operation }: UsageRow) => JSON.stringify([client, credential, operation]);
  return name(one) < name(other) ? -1 : 1;
}

function writeWhole(fd: number, octets: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (offset: number) =>
      write(fd, octets, offset, octets.length - offset, null, (error, count) => {
        if (error) reject(error);
        else if (offset + count < octets.length) step(offset + count);
        else resolve();
      });
    step(0);
  });
}
