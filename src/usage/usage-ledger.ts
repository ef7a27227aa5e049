// How many calls went to Genesys Cloud, by month (UTC, as Genesys bills them), client, credential and operation. Counted
// in memory and kept in the store's folder; what a SIGKILL can take is what was counted since the last flush.

import { copyFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../clock.ts';
import { type FileLock, LockError, lockFile } from '../file-lock.ts';
import { makeFolder } from '../fs/make-folder.ts';
import type { Log } from '../logging/log.ts';
import { MonthBook, type UsageRow } from './month-book.ts';

export interface LedgerOptions {
  /** The store's folder; null: the counts end with the process. */
  readonly folder: string | null;
  /** What the names of our files in it begin with. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is counted is in the file within this, and a little. */
const FLUSH_MS = 500;
/** A disk that refuses is asked again after this. */
const RETRY_MS = 5_000;
/** Calls that began before the month's end are counted after it. */
const MOST_OPEN_BOOKS = 2;
const LOCK_WAIT_MS = 500;

/** Where calls are counted whose operation is not in the platform's table. */
export const UNLISTED = 'unlisted';

/** `2026-11`, in UTC. */
export function monthOf(at: number): string {
  return new Date(at).toISOString().slice(0, 7);
}

/** Whether a text names a month as `monthOf` does. */
export function isMonth(text: string): boolean {
  return /^\d{4}-(0[1-9]|1[0-2])$/.test(text);
}

function lockPath(folder: string, prefix: string): string {
  return join(folder, `${prefix}-usage.lock`);
}

/** Made by `UsageLedger.open`, ended by `close`. `count` never throws. */
export class UsageLedger {
  /** Null where nothing is kept, or not yet. */
  #folder: string | null;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #lock: FileLock | null;
  readonly #books = new Map<string, MonthBook>();
  /** The book of the last call, and the times that belong into it. */
  #book!: MonthBook;
  #from = 0;
  #until = 0;
  #timer: Timer | null = null;
  #flushing: Promise<void> = Promise.resolve();
  /** Set while another process counts in the folder. */
  #lockTimer: Timer | null = null;
  #isClosed = false;
  /** Whether the last flush failed: that is told once. */
  #isFailing = false;

  /**
   * Never rejects: where the folder cannot be used, counts are kept in memory; where another process counts in it, until
   * that one has ended.
   */
  static async open(options: LedgerOptions): Promise<UsageLedger> {
    const { folder, prefix, clock, log } = options;
    if (folder === null) return new UsageLedger(options, null);
    // The clock's timers do not keep the process alive while it waits for the lock.
    const alive = setInterval(() => {}, LOCK_WAIT_MS);
    try {
      makeFolder(folder);
      return new UsageLedger(options, await lockFile(lockPath(folder, prefix), LOCK_WAIT_MS, clock));
    } catch (error) {
      const ledger = new UsageLedger({ ...options, folder: null }, null);
      const fields = { path: folder, reason: (error as Error).message };
      if (error instanceof LockError && error.code === 'locked') {
        log.warn(fields, 'usage is counted in memory until another process lets go of its file');
        ledger.#awaitLock(folder);
      } else log.warn(fields, 'usage is counted in memory only, and ends with this process');
      return ledger;
    } finally {
      clearInterval(alive);
    }
  }

  private constructor({ folder, prefix, clock, log }: LedgerOptions, lock: FileLock | null) {
    this.#folder = folder;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#log = log;
    this.#lock = lock;
    this.#turnTo(clock.now());
  }

  /** Counts calls that were sent at `at` (epoch ms). */
  count(client: string | null, credential: string, operation: string | null, at: number, calls = 1): void {
    if (at < this.#from || at >= this.#until) this.#turnTo(at);
    this.#book.count(client, credential, operation ?? UNLISTED, calls);
    if (this.#timer === null && this.#folder !== null) this.#timer = this.#clock.after(FLUSH_MS, this.#onTimer);
  }

  /** All calls of a client in the month of `at`. */
  total(client: string | null, at: number): number {
    if (at < this.#from || at >= this.#until) this.#turnTo(at);
    return this.#book.total(client);
  }

  /** The rows of the month of `at` as they are kept, for a look at once. */
  rowsAt(at: number): Iterable<UsageRow> {
    if (at < this.#from || at >= this.#until) this.#turnTo(at);
    return this.#book.counting;
  }

  /** The month of `at`, as `month` takes it. */
  monthAt(at: number): string {
    if (at < this.#from || at >= this.#until) this.#turnTo(at);
    return this.#book.month;
  }

  /** The rows of a month, `2026-11`, those with most calls first. Throws where its file cannot be read. */
  month(month: string): UsageRow[] {
    const open = this.#books.get(month);
    if (open !== undefined) return open.rows();
    if (this.#folder === null) return [];
    return new MonthBook(month, this.#pathOf(month)).rows();
  }

  /** Whether the counts of the present month outlive the process. */
  get isKept(): boolean {
    return this.#book.isKept;
  }

  /** The months of which something is known, the latest first. */
  async months(): Promise<string[]> {
    const months = new Set(this.#books.keys());
    const start = `${this.#prefix}-usage-`;
    for (const name of this.#folder === null ? [] : await readdir(this.#folder).catch(() => [])) {
      const month = name.slice(start.length, start.length + 7);
      if (name === `${start}${month}.journal` && isMonth(month)) months.add(month);
    }
    return [...months].sort().reverse();
  }

  /** Writes what is counted by now. Never rejects. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flushAll());
    return this.#flushing;
  }

  /** Writes what is counted and lets go of the files. What is counted afterwards is lost. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#lockTimer?.cancel();
    this.#timer?.cancel();
    await this.flush();
    this.#timer?.cancel();
    for (const book of this.#books.values()) book.close();
    await this.#lock?.release();
  }

  readonly #onTimer = (): void => {
    this.#timer = null;
    void this.flush();
  };

  async #flushAll(): Promise<void> {
    for (const book of this.#books.values()) {
      try {
        if (book.isChanged) await book.flush();
        this.#isFailing = false;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (!this.#isFailing) this.#log.error({ path: this.#pathOf(book.month), code }, 'usage cannot be written');
        this.#isFailing = true;
        this.#timer ??= this.#clock.after(RETRY_MS, this.#onTimer);
        return;
      }
    }
    this.#closeOldBooks();
  }

  /** Asks for the lock again until it is free. */
  #awaitLock(folder: string): void {
    this.#lockTimer = this.#clock.after(RETRY_MS, async () => {
      const lock = await lockFile(lockPath(folder, this.#prefix), 0, this.#clock).catch(() => null);
      if (this.#isClosed) await lock?.release();
      else if (lock === null) this.#awaitLock(folder);
      else this.#adopt(folder, lock);
    });
  }

  /** Adds what was counted in memory to what the folder has, and keeps it there. */
  #adopt(folder: string, lock: FileLock): void {
    this.#folder = folder;
    this.#lock = lock;
    const counted = [...this.#books.values()];
    this.#books.clear();
    for (const { month, counting } of counted) {
      const book = this.#openBook(month);
      for (const { client, credential, operation, calls } of counting)
        if (calls > 0) book.count(client, credential, operation, calls);
      this.#books.set(month, book);
    }
    this.#turnTo(this.#clock.now());
    this.#log.info({ path: folder }, 'usage is kept in the store from now on');
    this.#timer ??= this.#clock.after(FLUSH_MS, this.#onTimer);
  }

  /** Makes the book of a time the present one. */
  #turnTo(at: number): void {
    const month = monthOf(at);
    let book = this.#books.get(month);
    if (book === undefined) {
      book = this.#openBook(month);
      this.#books.set(month, book);
    }
    this.#book = book;
    const [year, number] = month.split('-').map(Number) as [number, number];
    this.#from = Date.UTC(year, number - 1);
    this.#until = Date.UTC(year, number);
  }

  #openBook(month: string): MonthBook {
    if (this.#folder === null) return new MonthBook(month, null);
    const path = this.#pathOf(month);
    try {
      const book = new MonthBook(month, path);
      // One is what a crash leaves; more are kept, because the file is written anew.
      if (book.damagedLines > 1) {
        copyFileSync(path, `${path}.damaged`);
        this.#log.warn({ path, lines: book.damagedLines }, 'usage file was damaged; a copy is kept');
      }
      return book;
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      this.#log.error({ path, reason }, 'usage file cannot be read: this month is counted in memory only');
      return new MonthBook(month, null);
    }
  }

  #closeOldBooks(): void {
    for (const [month, book] of [...this.#books].sort(([one], [other]) => (one < other ? -1 : 1))) {
      if (this.#books.size <= MOST_OPEN_BOOKS) return;
      if (book === this.#book || book.isChanged || this.#folder === null) continue;
      this.#books.delete(month);
      book.close();
    }
  }

  #pathOf(month: string): string {
    return join(this.#folder ?? '', `${this.#prefix}-usage-${month}.journal`);
  }
}
