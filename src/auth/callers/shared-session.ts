// The stored side of one session that several instances serve: what is stored by another one is taken over, the end
// that another one made is noticed, and what this one obtains is stored by generation. Which sessions there are is
// decided elsewhere.

import type { Clock } from '../../clock.ts';
import {
  isEnded,
  nextGeneration,
  type StoredEntry,
  type StoredToken,
  type StoreKey,
  type StoreLock,
  type TokenStore,
} from '../credentials/store/store.ts';
import type { Token } from '../credentials/token-source.ts';
import type { SessionHolder, SessionTokens, SharedTokens } from './session.ts';
import { sessionKey, sessionOfStored, storedOfSession } from './session-store.ts';

/** Which session it is. The tokens are changed in place. */
export interface SharedSessionParts {
  readonly owner: SessionHolder;
  readonly issuer: string;
  readonly tokens: SessionTokens;
  /** Of what is stored already; 0 for a new session. */
  readonly generation: number;
}

/** What it works with. `idleMs`: the store forgets a session that is not written for so long. */
export interface SharedSessionDeps {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly idleMs: number;
  /** Told when another instance has changed it; whoever is told calls `reread` when there is room for it. */
  readonly onChange: () => void;
  /** Told when another instance has ended it. */
  readonly onEnded: () => void;
  /** Told the token that another instance has obtained, once it was read. */
  readonly onToken: (token: Token) => void;
}

/** One session in the store. `close()` when it is not known here any more. */
export class SharedSession implements SharedTokens {
  readonly key: StoreKey;
  readonly #parts: SharedSessionParts;
  readonly #deps: SharedSessionDeps;
  readonly #unwatch: () => void;
  #generation: number;
  /** The revision that was last read or written. */
  #seenRevision: string;
  #usedAt: number;

  constructor(parts: SharedSessionParts, deps: SharedSessionDeps) {
    const { store, clock } = deps;
    this.#parts = parts;
    this.#deps = deps;
    this.key = sessionKey(parts.owner.hash);
    this.#generation = parts.generation || nextGeneration(null, clock.now());
    this.#usedAt = clock.now();
    this.#seenRevision = store.revision(this.key);
    this.#unwatch = store.onChange(this.key, () => {
      if (store.revision(this.key) !== this.#seenRevision) deps.onChange();
    });
  }

  /** Stores it as it is now. Throws StoreError; a store that is away keeps it and is told later. */
  async save(): Promise<void> {
    this.#usedAt = this.#deps.clock.now();
    await this.#put(this.#stored(), this.#deps.idleMs);
  }

  /** Ends it for all instances. Throws StoreError; a store that is away is told later. */
  async end(): Promise<void> {
    await this.#deps.store.delete(this.key);
  }

  /** Reads what another instance has stored. Throws StoreError. */
  async reread(): Promise<void> {
    const { store } = this.#deps;
    this.#seenRevision = store.revision(this.key);
    const entry = await store.get(this.key);
    // Absence is a loss, and never an end: the store is told again.
    if (entry === null) return;
    const before = this.#parts.tokens.token;
    this.#adopt(entry);
    const { token } = this.#parts.tokens;
    if (token !== null && token.authorization !== before?.authorization) this.#deps.onToken(token);
  }

  close(): void {
    this.#unwatch();
  }

  /**
   * The store as a token source of this session sees it: its own entry, with the access token itself in it. What passes
   * is taken over.
   */
  asTokenStore(): TokenStore {
    const { store, idleMs } = this.#deps;
    return {
      isDurable: store.isDurable,
      isShared: store.isShared,
      instances: store.instances,
      open: () => store.open(),
      get: async (key) => this.#shown(await store.get(key)),
      put: async (_key, value) => {
        const { accessToken, obtainedAt, expiresAt, refreshToken, generation } = value;
        if (accessToken === null) return this.#whole(await store.put(this.key, value, { keptForMs: idleMs }));
        const stored = this.#stored({ accessToken, obtainedAt, expiresAt }, refreshToken, generation);
        const isRefused = value.isRefused === true && { isRefused: true };
        const by = value.obtainedBy !== undefined && { obtainedBy: value.obtainedBy };
        return this.#whole(await this.#put({ ...stored, ...isRefused, ...by }, idleMs));
      },
      replace: (key, value, condition) => store.replace(key, value, condition),
      delete: (key) => store.delete(key),
      lock: async (key, waitMs, use) => this.#lockOf(await store.lock(key, waitMs, use)),
      list: () => store.list(),
      revision: (key, version) => store.revision(key, version),
      onChange: (key, listener) => store.onChange(key, listener),
      isSettled: () => store.isSettled(),
      isComplete: () => store.isComplete(),
      state: () => store.state(),
      close: () => store.close(),
    };
  }

  #lockOf(lock: StoreLock): StoreLock {
    return {
      fence: lock.fence,
      unfinished: lock.unfinished,
      entry: async () => this.#shown(await lock.entry()),
      begin: (read) => lock.begin(read),
      release: () => lock.release(),
    };
  }

  /** What is stored, taken over; what this instance holds where the store has lost it. */
  async #shown(entry: StoredEntry | null): Promise<StoredEntry | null> {
    if (entry !== null) return this.#whole(entry);
    // The version stays '': nothing is there that a generation could begin after.
    return this.#asShown({ value: this.#stored(), generation: this.#generation, version: '' });
  }

  #whole(entry: StoredEntry): StoredEntry {
    this.#adopt(entry);
    return this.#asShown(entry);
  }

  #asShown(entry: StoredEntry): StoredEntry {
    const session = sessionOfStored(entry.value);
    const accessToken = session?.token?.accessToken ?? null;
    return { ...entry, value: { ...entry.value, accessToken } };
  }

  #stored(
    token: Pick<Token, 'accessToken' | 'obtainedAt' | 'expiresAt'> | null = this.#parts.tokens.token,
    refreshToken = this.#parts.tokens.refreshToken,
    generation = this.#generation,
  ): StoredToken {
    const { owner, issuer, tokens } = this.#parts;
    const { user } = tokens;
    return storedOfSession({
      ...{ hash: owner.hash, owner, issuer, token: token as Token | null, refreshToken, generation },
      ...(user !== undefined && { user }),
      usedAt: this.#usedAt,
    });
  }

  async #put(value: StoredToken, keptForMs: number): Promise<StoredEntry> {
    const { store } = this.#deps;
    try {
      // It counts here from now on, also where the store is away.
      this.#take(value);
      const entry = await store.put(this.key, value, { keptForMs });
      this.#seenRevision = store.revision(this.key, entry.version);
      this.#adopt(entry);
      return entry;
    } catch (error) {
      this.#seenRevision = store.revision(this.key);
      throw error;
    }
  }

  #adopt({ value, generation }: StoredEntry): void {
    if (generation < this.#generation) return;
    if (isEnded(value)) this.#deps.onEnded();
    else this.#take(value);
  }

  #take(value: StoredToken): void {
    const session = sessionOfStored(value);
    if (session === null || value.generation < this.#generation) return;
    const { tokens } = this.#parts;
    this.#generation = value.generation;
    tokens.refreshToken = session.refreshToken;
    if (session.user !== undefined) tokens.user = session.user;
    if (session.token?.authorization === tokens.token?.authorization) return;
    tokens.token = session.token;
    delete tokens.endsMono;
  }
}
