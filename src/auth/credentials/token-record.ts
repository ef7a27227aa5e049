// The stored tokens of one credential: reads them, writes them by generation, and keeps them in memory as long as the
// store cannot be written. It knows generations, losses and retries; it does not know what a grant is.

import type { Clock, Timer } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';
import {
  endedToken,
  isEnded,
  nextGeneration,
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

/** What a record works with. */
export interface TokenRecordDeps {
  readonly name: string;
  readonly store: TokenStore;
  readonly key: StoreKey;
  readonly clock: Clock;
  readonly log: Log;
  /** What a record before this one could not write. */
  readonly pendingWrite?: StoredToken | null | undefined;
}

/** Instances that have to do with the tokens of one credential, by name: this one or others. */
export interface TokenPeers {
  /** Who obtained what is in use; null while that is not known. */
  readonly renewedBy: string | null;
  /** Who holds the lock, as far as it is known here; null where nobody does, or nobody here waits for it. */
  readonly lockHeldBy: string | null;
}

/** The stored tokens of one credential. `close()` stops its retries. */
export class TokenRecord {
  readonly #deps: TokenRecordDeps;
  /** The entry as it was last read or written; null where there was none. */
  #known: StoredEntry | null = null;
  /** What the store should hold and does not; null when it holds everything. */
  #pending: StoredToken | null;
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
   * The tokens that count: the store's, as `lock` found them where one was just taken; or ours that could not be
   * written and are of a higher generation, or that a shared store has lost; or the ones last known where the store
   * cannot be read. Throws TokenFailure when the store cannot be read and nothing is known.
   */
  async read(lock: StoreLock | null = null): Promise<StoredEntry | null> {
    const { store, key } = this.#deps;
    let stored: StoredEntry | null;
    try {
      stored = await (lock !== null && store.isShared ? lock.entry() : store.get(key));
    } catch (error) {
      return this.#readFailed(error);
    }
    const known = this.#known;
    const pending = this.#pending;
    if (pending !== null && (stored?.generation ?? 0) < pending.generation) {
      this.#known = stored;
      return { value: pending, generation: pending.generation, version: stored?.version ?? '' };
    }
    this.#pending = null;
    this.#storeError = null;
    this.#known = stored;
    if (store.isShared && known !== null && (stored?.generation ?? 0) < known.generation)
      return this.#restore(known, stored?.version);
    return stored;
  }

  /**
   * Begins a generation under the lock, to obtain tokens by it. Of a shared store it throws StoreError where the lock
   * is lost or something was stored since `read`: nothing may be sent then.
   */
  async begin(lock: StoreLock | null): Promise<number> {
    const { store } = this.#deps;
    const next = this.#nextGeneration();
    if (lock === null) return next;
    try {
      const pending = this.#pending;
      const { version = '' } = this.#known ?? {};
      const read = pending === null ? this.#known : { value: pending, generation: next - 1, version };
      return Math.max(next, await lock.begin(read));
    } catch (error) {
      if (store.isShared) throw error;
      // Nobody else counts on it: what is obtained is stored all the same.
      return next;
    }
  }

  /**
   * Durable when it resolves, unless the store fails: then the failure is noted and the write is tried again. Never
   * throws. `generation` is what `begin` gave, or null for tokens that came without asking for them.
   */
  async write(value: Omit<StoredToken, 'generation'>, generation: number | null): Promise<void> {
    const by = value.obtainedBy ?? this.#deps.store.instances?.own;
    const obtained = { ...value, generation: generation ?? this.#nextGeneration() };
    await this.#keep(by === undefined ? obtained : { ...obtained, obtainedBy: by });
  }

  /** Ends the tokens, in the store too. Throws StoreError; a shared store is told later then. */
  async forget(initialFingerprint: string | null = null): Promise<void> {
    const { store, key } = this.#deps;
    this.#retry?.cancel();
    const ended = endedToken(this.#nextGeneration(), initialFingerprint);
    this.#pending = null;
    this.#writing += 1;
    try {
      if (store.isShared) this.#known = await store.put(key, ended);
      else {
        this.#known = null;
        await store.delete(key);
      }
      this.#seenRevision = this.#revisionAfter(ended, this.#known);
    } catch (error) {
      if (store.isShared) this.#pending = ended;
      this.#seenRevision = store.revision(key);
      throw error;
    } finally {
      this.#writing -= 1;
    }
  }

  /** Notes that a stored token is taken into use. */
  tookToken({ obtainedBy }: StoredToken): void {
    const { instances } = this.#deps.store;
    if (instances !== null && obtainedBy !== undefined && obtainedBy !== instances.own) instances.tokensFromPeers += 1;
  }

  /** Who obtained the tokens that count, and who is obtaining some; null where instances share none. */
  peers(): TokenPeers | null {
    const { store, key } = this.#deps;
    if (store.instances === null) return null;
    const { obtainedBy = null } = this.#pending ?? this.#known?.value ?? {};
    return { renewedBy: obtainedBy, lockHeldBy: store.instances.lockHolder(key) };
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
    // That a shared store is away is told once, by the connection, and not by each of its users.
    const isTold = message === this.#storeError || (error instanceof StoreError && error.code === 'absent');
    if (!isTold) log.error({ credential: name, error: message }, 'token store failed');
    this.#storeError = message;
  }

  /** Whether what was last read or written says that somebody ended the tokens. */
  get isEnded(): boolean {
    const value = this.#pending ?? this.#known?.value;
    return value !== undefined && isEnded(value);
  }

  /** What is wrong with the store; null when nothing is. */
  storeError(): string | null {
    return this.#storeError;
  }

  /** What could not be written, for the record that takes this one's place. */
  pendingWrite(): StoredToken | null {
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

  #nextGeneration(): number {
    const highest = Math.max(this.#known?.generation ?? 0, this.#pending?.generation ?? 0);
    return nextGeneration({ generation: highest }, this.#deps.clock.now());
  }

  #readFailed(error: unknown): StoredEntry | null {
    this.note(error);
    const pending = this.#pending;
    if (pending !== null)
      return { value: pending, generation: pending.generation, version: this.#known?.version ?? '' };
    const code = error instanceof StoreError ? error.code : null;
    if (this.#known !== null) return code === 'damaged' ? this.#restore(this.#known) : this.#known;
    if (code === 'damaged' || code === 'wrong_key') return null;
    throw new TokenFailure('transient', `credential ${this.#deps.name}: ${this.#storeError}`);
  }

  /** Writes an entry again that the store has lost; `version` is what it has instead. */
  #restore({ value, generation }: StoredEntry, version = ''): StoredEntry {
    this.#pending = { ...value, generation };
    if (version === '') this.#known = null;
    this.#scheduleRetry();
    return { value, generation, version };
  }

  /** The revision that a writing of ours made; none where it found something newer, which is somebody else's change. */
  #revisionAfter(written: StoredToken, counts: StoredEntry | null): string {
    const isOurs = counts === null || counts.generation <= written.generation;
    return this.#deps.store.revision(this.#deps.key, isOurs ? counts?.version : '');
  }

  /** Writes `value`, or makes it pending and plans the next try. Never throws. */
  async #keep(value: StoredToken): Promise<void> {
    const { name, store, key, log } = this.#deps;
    this.#writing += 1;
    try {
      this.#known = await store.put(key, value);
      this.#seenRevision = this.#revisionAfter(value, this.#known);
      if (this.#known.generation > value.generation)
        log.warn({ credential: name }, 'token store holds something newer than what was obtained');
      if (this.#pending !== null) log.info({ credential: name }, 'token store works again');
      this.#pending = null;
      this.#storeError = null;
      this.#retryMs = FIRST_RETRY_MS;
    } catch (error) {
      this.note(error);
      this.#pending = value;
      this.#scheduleRetry();
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

  /** A store that is not shared compares and writes in two steps: under the lock. */
  async #writeAgain(): Promise<void> {
    const { store, key } = this.#deps;
    let lock: StoreLock | null = null;
    try {
      if (!store.isShared) lock = await store.lock(key, RETRY_LOCK_WAIT_MS);
      await this.read(lock);
      if (this.#pending !== null) await this.#keep(this.#pending);
    } catch (error) {
      this.note(error);
      this.#scheduleRetry();
    } finally {
      await lock?.release();
    }
  }
}
