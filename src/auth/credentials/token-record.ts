// The stored record behind a refresh-token source: reads it, writes it, and carries it in memory as long as the store
// cannot be written. It knows versions, races and retries; it does not know what a refresh is.

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

/** An unwritten record is tried again after 1, 2, 4 … 60 s. */
const LONGEST_RETRY_MS = 60_000;

/** How long a retry waits for the lock. */
const RETRY_LOCK_WAIT_MS = 10_000;

/**
 * Tokens that could not be written yet, and the version of what the store had then: that is older whatever the clocks
 * said. Null: it had nothing.
 */
export interface Unwritten {
  readonly value: StoredToken;
  readonly over: string | null;
}

/** One record, and the state of its store. */
export interface UserRecord {
  /**
   * What counts: the store's, or ours that could not be written and is newer, or that we know where the store cannot be
   * read. Throws TokenFailure when the store cannot be read and nothing is at hand.
   */
  read(): Promise<StoredEntry | null>;
  /**
   * Durable when it resolves, unless the store fails: then the failure is noted and the write is tried again. Never
   * throws.
   */
  write(value: Omit<StoredToken, 'generation'>, lock: StoreLock | null): Promise<void>;
  forget(): Promise<void>;
  /** Changes when somebody else changed the stored record. */
  revision(): string;
  /** Remembers and logs what is wrong with the store. */
  note(error: unknown): void;
  error(): string | null;
  /** What could not be written, for the record that takes this one's place. */
  unwritten(): Unwritten | null;
  /** Tries now to write what could not be written. Never throws. */
  flush(): Promise<void>;
  close(): void;
}

/** `unwritten` is what a record before could not write. */
export function createUserRecord(deps: {
  name: string;
  store: TokenStore;
  key: StoreKey;
  clock: Clock;
  log: Log;
  unwritten?: Unwritten | null | undefined;
}): UserRecord {
  const { name, store, key, clock, log } = deps;
  let known: StoredEntry | null = null;
  let unwritten = deps.unwritten ?? null;
  let storeError: string | null = null;
  let retry: Timer | null = null;
  let retryMs = 1_000;
  let writing = 0;
  let seenRevision = store.revision(key);
  let foreignChanges = 0;
  let isClosed = false;

  function note(error: unknown): void {
    const message = error instanceof StoreError ? error.message : 'the store failed';
    if (message !== storeError) log.error({ credential: name, error: message }, 'token store failed');
    storeError = message;
  }

  async function read(): Promise<StoredEntry | null> {
    let stored: StoredEntry | null;
    try {
      stored = await store.get(key);
    } catch (error) {
      note(error);
      if (unwritten !== null) return { value: unwritten.value, version: known?.version ?? '' };
      const code = error instanceof StoreError ? error.code : null;
      if (known !== null) return code === 'damaged' ? restore(known) : known;
      if (code === 'damaged' || code === 'wrong_key') return null;
      throw new TokenFailure('transient', `credential ${name}: ${storeError}`);
    }
    if (unwritten === null) storeError = null;
    known = stored;
    if (
      unwritten === null ||
      (stored !== null && stored.version !== unwritten.over && isNewer(stored.value, unwritten.value, clock.now()))
    ) {
      unwritten = null;
      return stored;
    }
    return { value: unwritten.value, version: stored?.version ?? '' };
  }

  /** The store has lost what we know: it is told again. */
  function restore(lost: StoredEntry): StoredEntry {
    unwritten = { value: lost.value, over: null };
    known = null;
    scheduleRetry();
    return { value: lost.value, version: '' };
  }

  async function put(value: StoredToken, fence: string | undefined): Promise<void> {
    writing += 1;
    try {
      const version = await store.put(key, value, { expectedVersion: known?.version ?? null, fence });
      known = { value, version };
      seenRevision = store.revision(key);
    } finally {
      writing -= 1;
    }
  }

  /** Writes `value`, giving way to a newer one and to nothing else. */
  async function putOver(value: StoredToken, fence: string | undefined): Promise<void> {
    try {
      return await put(value, fence);
    } catch (error) {
      if (!(error instanceof StoreError) || (error.code !== 'conflict' && error.code !== 'lock_lost')) throw error;
      log.warn({ credential: name, error: error.message }, 'token store was changed meanwhile');
    }
    known = await store.get(key);
    if (known !== null && isNewer(known.value, value, clock.now())) return;
    await put({ ...value, generation: (known?.value.generation ?? 0) + 1 }, undefined);
  }

  async function keep(value: StoredToken, fence: string | undefined): Promise<void> {
    try {
      await putOver(value, fence);
      if (unwritten !== null) log.info({ credential: name }, 'token store works again');
      unwritten = null;
      storeError = null;
      retryMs = 1_000;
    } catch (error) {
      note(error);
      unwritten = { value, over: known?.version ?? null };
      scheduleRetry();
    }
  }

  function scheduleRetry(): void {
    if (isClosed) return;
    retry?.cancel();
    retry = clock.after(retryMs, () => void writeAgain());
    retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
  }

  async function writeAgain(): Promise<void> {
    let lock: StoreLock | null = null;
    try {
      lock = await store.lock(key, RETRY_LOCK_WAIT_MS);
      await read();
      if (unwritten !== null) await keep(unwritten.value, lock.fence);
    } catch (error) {
      note(error);
      scheduleRetry();
    } finally {
      await lock?.release();
    }
  }

  if (unwritten !== null) scheduleRetry();

  return {
    read,
    async write(value, lock) {
      const generation = Math.max(known?.value.generation ?? 0, unwritten?.value.generation ?? 0) + 1;
      await keep({ ...value, generation }, lock?.fence);
    },
    async forget() {
      unwritten = null;
      retry?.cancel();
      writing += 1;
      try {
        await store.delete(key);
      } finally {
        writing -= 1;
        known = null;
        seenRevision = store.revision(key);
      }
    },
    revision() {
      const now = store.revision(key);
      if (writing === 0 && now !== seenRevision) {
        seenRevision = now;
        foreignChanges += 1;
      }
      return String(foreignChanges);
    },
    note,
    error: () => storeError,
    unwritten: () => unwritten,
    async flush() {
      if (unwritten !== null) await writeAgain();
    },
    close() {
      isClosed = true;
      retry?.cancel();
    },
  };
}
