// The sessions that instances share: one that is not known here is asked of the store, each is noted in the index, and
// what has to end there is ended. Which are known here is the table's business.

import type { Clock } from '../../clock.ts';
import type { TokenStore } from '../credentials/store/store.ts';
import { ownerKey } from './caller.ts';
import { sessionEnded } from './session.ts';
import { SessionElsewhere, SessionFetches } from './session-fetches.ts';
import type { SessionIndex, SessionLimits, SurplusSession } from './session-index.ts';
import { type StoredSession, sessionKey, sessionOfStored } from './session-store.ts';
import { SharedSession, type SharedSessionDeps, type SharedSessionParts } from './shared-session.ts';

/** The sessions that are known here. */
export interface SessionTable {
  has(hash: string): boolean;
  /** Takes in what the store has. */
  take(session: StoredSession): SharedSession | null;
}

/** What it works with. */
export interface SharedSessionsDeps {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly limits: SessionLimits;
  /** Null: only how long they are idle bounds them. */
  readonly index: SessionIndex | null;
  readonly table: SessionTable;
}

/** Nothing to close. */
export class SharedSessions {
  readonly #deps: SharedSessionsDeps;
  readonly #fetches: SessionFetches;

  constructor(deps: SharedSessionsDeps) {
    this.#deps = deps;
    this.#fetches = new SessionFetches(deps.clock, (hash) => this.#ask(hash));
    deps.index?.onGap(() => this.#fetches.forgetMissed());
  }

  /** What to throw for a session that is not known here. */
  missing(hash: string): Error {
    return this.#fetches.isMissed(hash) ? sessionEnded() : new SessionElsewhere(this.#fetches.fetch(hash));
  }

  /** Resolves when it is known here, or to be nowhere. Throws gateway.credential.unavailable. */
  async fetch(hash: string): Promise<void> {
    if (!this.#deps.table.has(hash) && !this.#fetches.isMissed(hash)) await this.#fetches.fetch(hash);
  }

  /** The stored side of a session that is known here. */
  share(parts: SharedSessionParts, events: Pick<SharedSessionDeps, 'onEnded' | 'onToken'>): SharedSession {
    const { store, clock, limits } = this.#deps;
    // However often it is told of: what it is read for first has not been read yet.
    let isWaiting = false;
    const read = () => {
      isWaiting = false;
      return shared.reread();
    };
    const onChange = () => {
      if (isWaiting) return;
      isWaiting = true;
      this.#fetches.inTurn(read).catch(() => undefined);
    };
    const shared: SharedSession = new SharedSession(parts, {
      ...events,
      store,
      clock,
      idleMs: limits.idleMs,
      onChange,
    });
    return shared;
  }

  /**
   * Notes that a session is in use; those that have to end, because there are too many. Whoever has ended one says so
   * with `noteSurplusEnded`, or it is told of again. Never throws.
   */
  async note({ owner }: Pick<SharedSessionParts, 'owner'>): Promise<readonly SurplusSession[]> {
    const { index, limits } = this.#deps;
    return (await index?.note(owner.hash, ownerKey(owner), limits).catch(() => null)) ?? [];
  }

  /** The end of a session is stored: it counts no longer. Never throws. */
  async noteSurplusEnded(session: SurplusSession): Promise<void> {
    await this.#deps.index?.removeSurplus(session).catch(() => undefined);
  }

  /** The hashes of all sessions of a client, as far as the store answers. */
  async of(client: string): Promise<readonly string[]> {
    return (await this.#deps.index?.of(client).catch(() => null)) ?? [];
  }

  /** Notes that a session has ended: nobody need ask for it. */
  noteEnded({ owner }: Pick<SharedSessionParts, 'owner'>): void {
    this.#fetches.noteEnded(owner.hash);
  }

  /** The end of a session that was known here is stored: it counts no longer. Never throws. */
  async noteEndStored({ owner }: Pick<SharedSessionParts, 'owner'>): Promise<void> {
    await this.#deps.index?.remove(owner.hash, ownerKey(owner)).catch(() => undefined);
  }

  /** Ends a session that is not known here. Throws StoreError. */
  async endUnknown(hash: string): Promise<void> {
    await this.#deps.store.delete(sessionKey(hash));
    this.#fetches.noteEnded(hash);
  }

  /** Makes a session known that the store knows; whether it does. Throws where the store cannot say. */
  async #ask(hash: string): Promise<boolean> {
    const { store, clock, table } = this.#deps;
    const key = sessionKey(hash);
    let isChanged = false;
    // What is told while the answer is on its way would be missed otherwise.
    const unwatch = store.onChange(key, () => {
      isChanged = true;
    });
    try {
      const entry = await store.get(key);
      if (entry === null && !store.isComplete()) throw new Error('the store may have lost what it held');
      const session = entry && sessionOfStored(entry.value);
      if (session === null || session.hash !== hash) return false;
      const { refreshToken, token } = session;
      if (refreshToken === null && (token === null || token.expiresAt <= clock.now())) return false;
      const shared = table.take(session);
      if (isChanged) await shared?.reread().catch(() => undefined);
      return true;
    } finally {
      unwatch();
    }
  }
}
