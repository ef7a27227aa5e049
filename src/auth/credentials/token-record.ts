// The stored tokens behind a refresh-token source: reads them, writes them, and keeps them in memory as long as the
// store cannot be written. It knows versions, races and retries; it does not know what a refresh is.

import type { Clock, Timer } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';
import {
  isNewer,
  type StoredEntry,
  type StoredToken,
  StoreError,
  type StoreKey,
  type StoreLock,
  type TokenStore,
} from './store/store.ts';
import { TokenFailure } from './token-source.ts';

/** A pending write is tried again after 1, 2, 4 … 60 s. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

/** How long a retry waits for the lock. */
const RETRY_LOCK_WAIT_MS = 10_000;

/**
 * Tokens that could not be written yet. `baseVersion` is the version that the store had then: it is older, whatever the
 * clocks said. Null: the store had nothing.
 */
export interface PendingWrite {
  readonly value: StoredToken;
  readonly baseVersion: string | null;
}

/** What a record works with. `pendingWrite` is what a record before could not write. */
export interface TokenRecordDeps {
  readonly name: string;
  readonly store: TokenStore;
  readonly key: StoreKey;
  readonly clock: Clock;
  readonly log: Log;
  readonly pendingWrite?: PendingWrite | null | undefined;
}

/** The stored tokens of one credential. `close()` stops its retries. */
export class TokenRecord {
  readonly #deps: TokenRecordDeps;
  /** The entry as it was last read or written; null where there was none. */
  #known: StoredEntry | null = null;
  /** What the store should hold and does not; null when it holds everything. */
  #pending: PendingWrite | null;
  /** What is wrong with the store, as it was logged. */
  #storeError: string | null = null;
  /** Runs the next try of a pending write, which comes after `#retryMs`. */
  #retry: Timer | null = null;
  #retryMs = FIRST_RETRY_MS;
  /** Writes of ours that are under way: the revision they make is not somebody else's. */
  #writing = 0;
  /** The store's revision that `#known` belongs to. */
  #seenRevision: string;
  /** Changes by other processes so far. */
  #foreignChanges = 0;
  #isClosed = false;

  constructor(deps: TokenRecordDeps) {
    this.#deps = deps;
    this.#pending = deps.pendingWrite ?? null;
    this.#seenRevision = deps.store.revision(deps.key);
    if (this.#pending !== null) this.#scheduleRetry();
  }

  /**
   * The tokens that count: the store's, or ours that could not be written and are newer, or the ones last known where
   * the store cannot be read. Throws TokenFailure when the store cannot be read and nothing is known.
   */
  async read(): Promise<StoredEntry | null> {
    const { store, key, clock } = this.#deps;
    let stored: StoredEntry | null;
    try {
      stored = await store.get(key);
    } catch (error) {
      return this.#readFailed(error);
    }
    const pending = this.#pending;
    if (pending === null) this.#storeError = null;
    this.#known = stored;
    const isPendingOld =
      pending !== null &&
      stored !== null &&
      stored.version !== pending.baseVersion &&
      isNewer(stored.value, pending.value, clock.now());
    if (pending !== null && !isPendingOld) return { value: pending.value, version: stored?.version ?? '' };
    this.#pending = null;
    return stored;
  }

  /**
   * Durable when it resolves, unless the store fails: then the failure is noted and the write is tried again. Never
   * throws.
   */
  async write(value: Omit<StoredToken, 'generation'>, lock: StoreLock | null): Promise<void> {
    const generation = Math.max(this.#known?.value.generation ?? 0, this.#pending?.value.generation ?? 0) + 1;
    await this.#keep({ ...value, generation }, lock?.fence);
  }

  /** Removes the tokens, from the store too. Throws StoreError. */
  async forget(): Promise<void> {
    const { store, key } = this.#deps;
    this.#pending = null;
    this.#retry?.cancel();
    this.#writing += 1;
    try {
      await store.delete(key);
    } finally {
      this.#writing -= 1;
      this.#known = null;
      this.#seenRevision = store.revision(key);
    }
  }

  /** Changes when somebody else changed the stored tokens. */
  revision(): string {
    const now = this.#deps.store.revision(this.#deps.key);
    if (this.#writing === 0 && now !== this.#seenRevision) {
      this.#seenRevision = now;
      this.#foreignChanges += 1;
    }
    return String(this.#foreignChanges);
  }

  /** Remembers and logs what is wrong with the store. */
  note(error: unknown): void {
    const { name, log } = this.#deps;
    const message = error instanceof StoreError ? error.message : 'the store failed';
    if (message !== this.#storeError) log.error({ credential: name, error: message }, 'token store failed');
    this.#storeError = message;
  }

  /** What is wrong with the store; null when nothing is. */
  storeError(): string | null {
    return this.#storeError;
  }

  /** What could not be written, for the record that takes this one's place. */
  pendingWrite(): PendingWrite | null {
    return this.#pending;
  }

  /** Tries now to write what is pending. Never throws. */
  async flush(): Promise<void> {
    if (this.#pending !== null) await this.#writeAgain();
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
  }

  #readFailed(error: unknown): StoredEntry | null {
    this.note(error);
    if (this.#pending !== null) return { value: this.#pending.value, version: this.#known?.version ?? '' };
    const code = error instanceof StoreError ? error.code : null;
    if (this.#known !== null) return code === 'damaged' ? this.#restore(this.#known) : this.#known;
    if (code === 'damaged' || code === 'wrong_key') return null;
    throw new TokenFailure('transient', `credential ${this.#deps.name}: ${this.#storeError}`);
  }

  /** Writes an entry again that the store has lost. */
  #restore(lost: StoredEntry): StoredEntry {
    this.#pending = { value: lost.value, baseVersion: null };
    this.#known = null;
    this.#scheduleRetry();
    return { value: lost.value, version: '' };
  }

  /** Writes `value`, or makes it pending and plans the next try. Never throws. */
  async #keep(value: StoredToken, fence: string | undefined): Promise<void> {
    const { name, log } = this.#deps;
    try {
      await this.#putUnlessNewer(value, fence);
      if (this.#pending !== null) log.info({ credential: name }, 'token store works again');
      this.#pending = null;
      this.#storeError = null;
      this.#retryMs = FIRST_RETRY_MS;
    } catch (error) {
      this.note(error);
      this.#pending = { value, baseVersion: this.#known?.version ?? null };
      this.#scheduleRetry();
    }
  }

  /** Writes `value` over whatever the store holds, unless that is newer. */
  async #putUnlessNewer(value: StoredToken, fence: string | undefined): Promise<void> {
    const { name, store, key, clock, log } = this.#deps;
    try {
      return await this.#put(value, fence);
    } catch (error) {
      if (!(error instanceof StoreError) || (error.code !== 'conflict' && error.code !== 'lock_lost')) throw error;
      log.warn({ credential: name, error: error.message }, 'token store was changed meanwhile');
    }
    this.#known = await store.get(key);
    if (this.#known !== null && isNewer(this.#known.value, value, clock.now())) return;
    await this.#put({ ...value, generation: (this.#known?.value.generation ?? 0) + 1 }, undefined);
  }

  async #put(value: StoredToken, fence: string | undefined): Promise<void> {
    const { store, key } = this.#deps;
    this.#writing += 1;
    try {
      const version = await store.put(key, value, { expectedVersion: this.#known?.version ?? null, fence });
      this.#known = { value, version };
      this.#seenRevision = store.revision(key);
    } finally {
      this.#writing -= 1;
    }
  }

  #scheduleRetry(): void {
    if (this.#isClosed) return;
    this.#retry?.cancel();
    this.#retry = this.#deps.clock.after(this.#retryMs, () => void this.#writeAgain());
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }

  async #writeAgain(): Promise<void> {
    let lock: StoreLock | null = null;
    try {
      lock = await this.#deps.store.lock(this.#deps.key, RETRY_LOCK_WAIT_MS);
      await this.read();
      if (this.#pending !== null) await this.#keep(this.#pending.value, lock.fence);
    } catch (error) {
      this.note(error);
      this.#scheduleRetry();
    } finally {
      await lock?.release();
    }
  }
}
