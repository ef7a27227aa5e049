// The table of all sessions, bounded. Each is found by the hash of its handle and ends when idle for too long; when
// there are too many, the one idle for longest of the client that has most goes first. A handle that is not found here
// has ended, whatever the reason was. Only sessions in use have a token source; the others are only their tokens. Over
// a store that instances share it holds those that were used here, and one that is not found is asked of the store.

import { LRUCache } from 'lru-cache';
import type { Timer } from '../../clock.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { FairEviction, type LruEntry } from '../../fair-eviction.ts';
import type { TokenStore } from '../credentials/store/store.ts';
import type { TokenGrant } from '../credentials/token-endpoint.ts';
import { ownerKey } from './caller.ts';
import {
  createRefreshHandle,
  createSession,
  createSessionHandle,
  handleHash,
  handleOf,
  type Session,
  type SessionDeps,
  type SessionHolder,
  type SessionOwner,
  type SessionTokens,
  sessionEnded,
  sessionIssuer,
} from './session.ts';
import { SESSION_LIMITS, type SessionIndex, type SessionLimits, type SurplusSession } from './session-index.ts';
import { createSessionStore, type StoredSession } from './session-store.ts';
import { KeptSessions, SessionWrites } from './session-writes.ts';
import type { SharedSession } from './shared-session.ts';
import { SharedSessions } from './shared-sessions.ts';

/** Idle sessions are removed, and times of use stored, at least this often. */
const HOUSEKEEPING_MS = 60 * 60 * 1000;

/**
 * A session that was not used for this long is no longer renewed, and its next caller may have to wait for a token. Far
 * longer than any call could still be waiting for its token or its answer's head, so that no two token sources ever
 * work over one refresh token.
 */
const QUIET_MS = 5 * 60 * 1000;
const QUIET_POLL_MS = 60 * 1000;

/** A new session and what the application gets for it. */
export interface OpenedSession {
  readonly handle: string;
  /** Null when the platform gave no refresh token. */
  readonly refreshHandle: string | null;
}

/** What the table works with. `store` counts only where it is durable. */
export interface SessionsDeps extends SessionDeps {
  readonly store: TokenStore;
  readonly limits?: SessionLimits;
  /** Told the owner of each session that ends, whatever the reason is. */
  readonly onEnded?: (owner: SessionHolder) => void;
  /** What a shared store knows of all sessions together; without it only how long they are idle bounds them. */
  readonly index?: SessionIndex | null;
}

interface Entry {
  readonly hash: string;
  /** Its place among those of its client. */
  readonly lru: LruEntry<string>;
  readonly owner: SessionHolder;
  readonly tokens: SessionTokens;
  /** Where its tokens come from. */
  readonly issuer: string;
  /** Its credential is gone or leads to another issuer now: it is not found while that is so. */
  issuerChanged: boolean;
  /** Null while nobody uses it. */
  session: Session | null;
  /** What is stored of it, where other instances serve it too. */
  shared: SharedSession | null;
  /** It was ended here, or at another instance: it does not only leave the table. */
  isOver: boolean;
  usedMono: number;
  savedAt: number;
}

/** The table of sessions. `close()` stops its timers. */
export class Sessions {
  readonly #deps: SessionsDeps;
  readonly #limits: SessionLimits;
  /** Null where the token store is not durable: sessions end with the process then. */
  readonly #kept: KeptSessions | null;
  /** Null where no other instance serves the same sessions. */
  readonly #shared: SharedSessions | null;
  /** Entries by the hash of their access handle. */
  readonly #table: LRUCache<string, Entry>;
  /** Which session has to go first when there are too many. */
  readonly #order = new FairEviction<string>();
  /** Entries with a token source. */
  readonly #inUse = new Set<Entry>();
  /** Renewals that run. */
  readonly #renewals = new Set<Promise<unknown>>();
  readonly #writes: SessionWrites;
  /** Hashes of those that are being ended because there are too many. */
  readonly #surplus = new Set<string>();
  /** The log of the token sources, which would write two lines for each login. */
  readonly #sourceLog: SessionsDeps['log'];
  /** Removes idle sessions. */
  #housekeeping: Timer;
  /** Suspends sessions that are not used for a while. */
  #suspending: Timer;
  /** While the table is cleared, nothing that leaves it has ended. */
  #isClosing = false;

  constructor(deps: SessionsDeps) {
    const { clock, log, store } = deps;
    this.#deps = deps;
    this.#limits = deps.limits ?? SESSION_LIMITS;
    this.#writes = new SessionWrites(log);
    this.#kept =
      store.isDurable && !store.isShared ? new KeptSessions(createSessionStore(store), this.#writes, clock) : null;
    const table = {
      has: (hash: string) => this.#table.has(hash),
      take: (session: StoredSession) => this.#takeStored(session),
    };
    const { index = null } = deps;
    this.#shared = store.isShared ? new SharedSessions({ store, clock, limits: this.#limits, index, table }) : null;
    const debug = log.debug.bind(log);
    this.#sourceLog = { ...log, info: debug, warn: debug, error: log.error.bind(log), debug };
    this.#table = new LRUCache<string, Entry>({
      // With `max` instead, it would have room for all of them at once.
      maxSize: this.#limits.max,
      sizeCalculation: () => 1,
      ttl: this.#limits.idleMs,
      updateAgeOnGet: true,
      ttlResolution: 0,
      // Zero means "never" to the cache, and a clock may begin there.
      perf: { now: () => clock.monotonic() + 1 },
      dispose: (entry) => this.#removed(entry),
    });
    this.#housekeeping = clock.after(HOUSEKEEPING_MS, () => this.#tidy());
    this.#suspending = clock.after(QUIET_POLL_MS, () => this.#suspendQuiet());
  }

  get size(): number {
    return this.#table.size;
  }

  /** `issuer` is the `sessionIssuer` of the configuration that the grant was performed with. */
  async open(owner: SessionOwner, { token, refreshToken }: TokenGrant, issuer: string): Promise<OpenedSession> {
    const refreshHandle = refreshToken === null ? null : createRefreshHandle();
    const handle = refreshHandle === null ? createSessionHandle() : handleOf(refreshHandle);
    const entry = this.#add(handleHash(handle), owner, { token, refreshToken }, issuer);
    await this.#save(entry);
    // Its user is asked for now, so that already the first call can be told to be theirs.
    if (this.#deps.askUser !== undefined) this.#use(entry);
    return { handle, refreshHandle };
  }

  /** The session of a refresh handle, with the access handle it always yields. */
  findByRefreshHandle(refreshHandle: string): { readonly session: Session; readonly handle: string } | null {
    const handle = handleOf(refreshHandle);
    const session = this.find(handle);
    return session && { session, handle };
  }

  /** Whose session an access handle is of; null when there is none. Does not count as use. */
  ownerOf(handle: string): SessionOwner | null {
    return this.#table.peek(handleHash(handle))?.owner ?? null;
  }

  /**
   * What to throw for an access handle that `ownerOf` knows nothing of: gateway.session.ended, or SessionElsewhere while
   * the store of several instances was not asked.
   */
  missing(handle: string): Error {
    return this.#shared?.missing(handleHash(handle)) ?? sessionEnded();
  }

  /** Resolves when a session that another instance opened is known here too. Throws gateway.credential.unavailable. */
  async fetchHandle(handle: string): Promise<void> {
    await this.fetch(handleHash(handle));
  }

  /** The same, by what its owner is known by. */
  async fetch(hash: string): Promise<void> {
    await this.#shared?.fetch(hash);
  }

  /** The session of an access handle, which is thereby in use; null when there is none. One hash and one look-up. */
  find(handle: string): Session | null {
    const entry = this.#table.get(handleHash(handle));
    if (entry === undefined) return null;
    const isKept = this.#kept !== null || entry.shared !== null;
    if (isKept && this.#deps.clock.now() - entry.savedAt > HOUSEKEEPING_MS) void this.#save(entry);
    return this.#use(entry);
  }

  /** The session of this owner, which is thereby in use; null when it has ended. */
  findByOwner(owner: Pick<SessionHolder, 'hash'>): Session | null {
    const entry = this.#table.get(owner.hash);
    return entry === undefined ? null : this.#use(entry);
  }

  /**
   * Whether the session of this owner has not ended, as far as can be told without asking upstream.
   * Does not count as use.
   */
  isGood(owner: Pick<SessionHolder, 'hash'>): boolean {
    const entry = this.#table.peek(owner.hash);
    if (entry === undefined || entry.issuerChanged) return false;
    const { refreshToken, token } = entry.tokens;
    return refreshToken !== null || (token !== null && token.expiresAt > this.#deps.clock.now());
  }

  /**
   * Ends a session; its handles are unknown from now on, at all instances. Throws gateway.internal when the store cannot
   * be told: a restart would bring it back, or the others know it until they are told.
   */
  async end(session: Session): Promise<void> {
    const { hash } = session.owner;
    const entry = this.#table.peek(hash);
    if (entry !== undefined) this.#end(entry);
    if (await this.#writes.last(hash)) return;
    const what =
      this.#shared === null
        ? 'the store cannot forget it: until it can, a restart would bring it back'
        : 'the store that the other instances share does not answer: they serve it until it was told';
    throw new GatewayError('gateway.internal', `the session is ended here, but ${what}`);
  }

  /** Ends all sessions of a client; how many there were. Over a shared store also those that are not known here. */
  async endOf(client: string): Promise<number> {
    const own = new Map(
      [...this.#table.values()].filter(({ owner }) => owner.client === client).map((e) => [e.hash, e]),
    );
    for (const entry of own.values()) this.#end(entry);
    const others = (await this.#shared?.of(client)) ?? [];
    const unknown = others.filter((hash) => !own.has(hash));
    await Promise.all(unknown.map((hash) => this.#endElsewhere(hash)));
    return own.size + unknown.length;
  }

  /** To be called after a reload: checks which sessions' credentials are gone or have another issuer now. */
  reconsider(): void {
    for (const entry of this.#table.values()) {
      entry.issuerChanged = this.#currentIssuer(entry.owner) !== entry.issuer;
      if (entry.issuerChanged) this.#suspend(entry);
    }
  }

  /** Brings back what a durable store holds. Never throws; unreadable entries are left alone. */
  async restore(): Promise<void> {
    for (const { hash, owner, issuer, token, refreshToken, user } of (await this.#kept?.load(this.#limits.idleMs)) ??
      [])
      this.#add(hash, owner, { token, refreshToken, ...(user !== undefined && { user }) }, issuer);
  }

  /** Resolves when no renewal is under way and what the last ones brought is stored. Never rejects. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#renewals);
    await this.#writes.settled();
  }

  /** Stops all timers; what is stored stays. */
  close(): void {
    this.#isClosing = true;
    this.#kept?.close();
    this.#housekeeping.cancel();
    this.#suspending.cancel();
    this.#table.clear();
  }

  #add(hash: string, owner: SessionOwner, tokens: SessionTokens, issuer: string, generation = 0): Entry {
    const { clock } = this.#deps;
    const issuerChanged = this.#currentIssuer(owner) !== issuer;
    const lru = this.#order.add(ownerKey(owner), hash);
    // Before the table would take the oldest of all, whosever it is: one client's logins must not end the sessions of
    // the others.
    const surplus = this.#table.size < this.#limits.max ? undefined : this.#order.first();
    if (surplus !== undefined) this.#table.delete(surplus);
    const entry: Entry = {
      hash,
      lru,
      owner: { ...owner, hash },
      tokens,
      issuer,
      issuerChanged,
      session: null,
      shared: null,
      isOver: false,
      usedMono: clock.monotonic(),
      savedAt: clock.now(),
    };
    this.#table.set(hash, entry);
    entry.shared =
      this.#shared?.share(
        { ...entry, generation },
        { onEnded: () => this.#end(entry, true), onToken: (token) => entry.session?.source.take(token) },
      ) ?? null;
    return entry;
  }

  /** Takes in what another instance has stored. */
  #takeStored({ hash, owner, issuer, token, refreshToken, user, generation }: StoredSession): SharedSession | null {
    const tokens = { token, refreshToken, ...(user !== undefined && { user }) };
    return (this.#table.peek(hash) ?? this.#add(hash, owner, tokens, issuer, generation)).shared;
  }

  #use(entry: Entry): Session | null {
    this.#order.touch(entry.lru);
    if (entry.issuerChanged) return null;
    entry.usedMono = this.#deps.clock.monotonic();
    if (entry.session !== null) return entry.session;
    const { owner, tokens, shared } = entry;
    const config = this.#deps.credential(owner.credential);
    if (config === undefined) return null;
    const deps = { ...this.#deps, log: this.#sourceLog };
    entry.session = createSession({ owner, tokens, config, shared }, deps, {
      begun: (renewal) => this.#noteRenewal(renewal),
      ended: () => this.#end(entry),
      renewed: () => this.#save(entry),
      isIdle: () => !this.#table.has(entry.hash),
    });
    this.#inUse.add(entry);
    if (tokens.user === undefined) void this.#learnUser(entry, entry.session);
    return entry.session;
  }

  /**
   * Asks whose the session is, for records: aside from the calls, once each time that it is taken into use until it is
   * known. What goes wrong changes nothing else.
   */
  async #learnUser(entry: Entry, session: Session): Promise<void> {
    const { askUser, log } = this.#deps;
    const token = session.source.current();
    if (askUser === undefined || token === null) return;
    try {
      const user = await askUser(session, token);
      entry.tokens.user = user;
      if (user !== null && this.#table.peek(entry.hash) === entry) await this.#store(entry);
    } catch (error) {
      log.debug({ session: session.id, problem: isGatewayError(error) ? error.code : 'unexpected' }, 'user not learnt');
    }
  }

  #noteRenewal(renewal: Promise<unknown>): void {
    const over = () => this.#renewals.delete(renewal);
    this.#renewals.add(renewal);
    renewal.then(over, over);
  }

  /** Closes the token source of a session; its tokens and handle stay, and the next use makes another source. */
  #suspend(entry: Entry): void {
    const source = entry.session?.source;
    if (source !== undefined) entry.tokens.endsMono = this.#deps.clock.monotonic() + source.leftMs();
    source?.close();
    entry.session = null;
    this.#inUse.delete(entry);
  }

  #suspendQuiet(): void {
    const { clock } = this.#deps;
    const quietSince = clock.monotonic() - QUIET_MS;
    for (const entry of this.#inUse)
      if (entry.usedMono < quietSince && entry.session?.source.state().renewal !== 'running') this.#suspend(entry);
    this.#suspending = clock.after(QUIET_POLL_MS, () => this.#suspendQuiet());
  }

  #tidy(): void {
    this.#table.purgeStale();
    this.#housekeeping = this.#deps.clock.after(HOUSEKEEPING_MS, () => this.#tidy());
  }

  /** Ends a session for good; `isToldOf`: another instance did. */
  #end(entry: Entry, isToldOf = false): void {
    if (entry.isOver || this.#table.peek(entry.hash) !== entry) return;
    entry.isOver = true;
    this.#table.delete(entry.hash);
    if (entry.shared === null) return;
    this.#shared?.noteEnded(entry);
    if (!isToldOf) void this.#storeEnd(entry, entry.shared);
  }

  /** It counts as one of all sessions until its end is stored: until then it is good at the other instances. */
  async #storeEnd(entry: Entry, shared: SharedSession): Promise<void> {
    if (await this.#writes.write(entry.hash, () => shared.end())) await this.#shared?.noteEndStored(entry);
  }

  /** Called by the table for every entry that leaves it. One of a shared store only leaves it, where nobody ended it. */
  #removed(entry: Entry): void {
    this.#order.remove(entry.lru);
    this.#suspend(entry);
    entry.shared?.close();
    if (this.#isClosing || (entry.shared !== null && !entry.isOver)) return;
    if (entry.shared === null) void this.#kept?.forget(entry.hash);
    this.#deps.onEnded?.(entry.owner);
  }

  /** Ends a session that need not be in the table; whether that is stored. */
  async #endElsewhere(hash: string): Promise<boolean> {
    const known = this.#table.peek(hash);
    if (known === undefined) return this.#writes.write(hash, async () => this.#shared?.endUnknown(hash));
    this.#end(known);
    return this.#writes.last(hash);
  }

  /** Ends one of too many sessions. All who note a session are told of it until its end is stored: one of them is enough. */
  async #endSurplus(session: SurplusSession): Promise<void> {
    const { hash } = session;
    if (this.#surplus.has(hash)) return;
    this.#surplus.add(hash);
    try {
      if (await this.#endElsewhere(hash)) await this.#shared?.noteSurplusEnded(session);
    } finally {
      this.#surplus.delete(hash);
    }
  }

  #currentIssuer({ credential }: SessionOwner): string | null {
    const config = this.#deps.credential(credential);
    return config === undefined ? null : sessionIssuer(config);
  }

  /** Stores it, and notes its use; where there are too many sessions by then, those that have to go are ended. */
  async #save(entry: Entry): Promise<void> {
    await this.#store(entry);
    // Its end may be stored by now: noted after that, it would count as one of all for as long as one may be idle.
    if (entry.isOver) return;
    const surplus = (await this.#shared?.note(entry)) ?? [];
    await Promise.all(surplus.map((one) => this.#endSurplus(one)));
  }

  /** Stores what is known of it, which is no use of it. Never throws. */
  async #store(entry: Entry): Promise<void> {
    const { hash, owner, tokens, issuer, shared } = entry;
    entry.savedAt = this.#deps.clock.now();
    if (shared === null) {
      await this.#kept?.save(hash, () =>
        this.#table.peek(hash) === undefined ? null : { hash, owner, issuer, ...tokens, usedAt: entry.savedAt },
      );
      return;
    }
    await this.#writes.write(hash, async () => {
      if (this.#table.peek(hash) === entry) await shared.save();
    });
  }
}
