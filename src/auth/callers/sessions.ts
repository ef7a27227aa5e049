// All sessions, bounded: found by the hash of their handle; when there are too many, the one idle for longest of the
// client that has most goes first; each ends when idle for too long. A handle that is not found here is over, whatever
// the reason was. Only sessions in use have a state machine; the others are their tokens.

import { LRUCache } from 'lru-cache';
import { GatewayError } from '../../errors.ts';
import { FairEviction, type LruEntry } from '../../fair-eviction.ts';
import type { TokenStore } from '../credentials/store/store.ts';
import type { TokenGrant } from '../credentials/token-endpoint.ts';
import { ownerKey } from './caller.ts';
import {
  createRefreshHandle,
  createSession,
  createSessionHandle,
  type HeldTokens,
  handleHash,
  handleOf,
  type Session,
  type SessionDeps,
  type SessionEvents,
  type SessionTerms,
  sessionHome,
} from './session.ts';
import { createSessionStore } from './session-store.ts';

/** How many sessions there may be, and how long one may be idle, ms. */
export interface SessionLimits {
  readonly max: number;
  readonly idleMs: number;
}

/** About 15 MB when full; a week lets a user come back after a weekend. */
export const SESSION_LIMITS: SessionLimits = { max: 10_000, idleMs: 7 * 24 * 60 * 60 * 1000 };

/** Idle sessions are cleared away, and uses written down, at least this often. */
const HOUSEKEEPING_MS = 60 * 60 * 1000;

/**
 * A session that was not asked for in this long renews itself no more, and its next caller waits for a token if need
 * be. Far longer than any call could still be waiting for its token or its answer's head, so that no two state machines
 * ever work over one refresh token.
 */
const QUIET_MS = 5 * 60 * 1000;
const QUIET_POLL_MS = 60 * 1000;

/** What the store could not forget is tried again after 1, 2, 4 … 60 s. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

/** A new session and what the application gets for it. */
export interface OpenedSession {
  readonly handle: string;
  /** Null when the platform gave no refresh token. */
  readonly refreshHandle: string | null;
}

/** The table. */
export interface Sessions {
  /** `home` is the `sessionHome` of the configuration that the grant was performed with. */
  open(terms: SessionTerms, granted: TokenGrant, home: string): Promise<OpenedSession>;
  /** The session of a refresh handle, with the access handle it always yields. */
  findByRefreshHandle(refreshHandle: string): { readonly session: Session; readonly handle: string } | null;
  /** Whose session an access handle is of; null when there is none. No use of it. */
  termsOf(handle: string): SessionTerms | null;
  /** The session of an access handle, which is thereby in use; null when there is none. One hash and one look-up. */
  find(handle: string): Session | null;
  /** The session with these very terms, which is thereby in use; null when it has ended. */
  findByTerms(terms: SessionTerms): Session | null;
  /**
   * Whether the session with these very terms has not ended, as far as can be told without asking upstream. No use of
   * it.
   */
  isGood(terms: SessionTerms): boolean;
  /**
   * Ends a session; its handles are unknown from now on. Throws gateway.internal when the store cannot forget it: a
   * restart would bring it back.
   */
  end(session: Session): Promise<void>;
  readonly size: number;
  /**
   * After a change of the configuration: who has lost its credential, or whose credential now leads to another login
   * host, is not found while that is so.
   */
  reconsider(): void;
  /** Brings back what a durable store holds. Never throws; unreadable entries are left alone. */
  restore(): Promise<void>;
  /** Resolves when no renewal is under way and what the last ones brought is stored. Never rejects. */
  settled(): Promise<void>;
  /** Stops all timers; what is stored stays. */
  close(): void;
}

interface Entry {
  readonly hash: string;
  /** Among those of its client. */
  readonly place: LruEntry<string>;
  readonly terms: SessionTerms;
  readonly held: HeldTokens;
  /** Where its tokens come from. */
  readonly home: string;
  isAway: boolean;
  /** Null while nobody uses it. */
  session: Session | null;
  usedMono: number;
  savedAt: number;
}

/**
 * The property under which a session's terms carry their place in the table. A WeakMap would say the same and grow with
 * every login.
 */
const HASH = Symbol('hash');

function nameTerms(terms: SessionTerms, hash: string): SessionTerms {
  return Object.defineProperty({ ...terms }, HASH, { value: hash });
}

function hashOfTerms(terms: SessionTerms & { [HASH]?: string }): string {
  return terms[HASH] ?? '';
}

/**
 * Makes the table; `store` counts only where it is durable. `onEnded` is told the terms of each session that ends,
 * whatever the reason is.
 */
export function createSessions(
  deps: SessionDeps & { store: TokenStore; limits?: SessionLimits; onEnded?: (terms: SessionTerms) => void },
): Sessions {
  const { clock, log, store } = deps;
  const limits = deps.limits ?? SESSION_LIMITS;
  const kept = store.isDurable ? createSessionStore(store) : null;
  const inUse = new Set<Entry>();
  const renewals = new Set<Promise<unknown>>();
  let isClosing = false;
  /** Each resolves with whether it is written. */
  const writes = new Map<string, Promise<boolean>>();

  /**
   * One after the other for each session: what is written last is what is true last. A store that fails costs a session
   * its restart, and nothing else.
   */
  function write(hash: string, work: () => Promise<void>): Promise<boolean> {
    const done = (writes.get(hash) ?? Promise.resolve()).then(work).then(
      () => true,
      () => {
        log.warn({}, 'session could not be stored');
        return false;
      },
    );
    writes.set(hash, done);
    return done.finally(() => writes.get(hash) === done && writes.delete(hash));
  }

  const order = new FairEviction<string>();
  const table = new LRUCache<string, Entry>({
    max: limits.max,
    ttl: limits.idleMs,
    updateAgeOnGet: true,
    ttlResolution: 0,
    // Zero means "never" to the cache, and a clock may begin there.
    perf: { now: () => clock.monotonic() + 1 },
    dispose(entry) {
      order.remove(entry.place);
      rest(entry);
      if (isClosing) return;
      void remove(entry.hash);
      deps.onEnded?.(entry.terms);
    },
  });
  // The sources of sessions would say two lines for each login.
  const sourceLog = {
    ...log,
    info: log.debug.bind(log),
    warn: log.debug.bind(log),
    error: log.error.bind(log),
    debug: log.debug.bind(log),
  };

  let housekeeping = clock.after(HOUSEKEEPING_MS, function tidy() {
    table.purgeStale();
    housekeeping = clock.after(HOUSEKEEPING_MS, tidy);
  });

  let resting = clock.after(QUIET_POLL_MS, function restQuiet() {
    const quietSince = clock.monotonic() - QUIET_MS;
    for (const entry of inUse)
      if (entry.usedMono < quietSince && entry.session?.source.state().renewal !== 'running') rest(entry);
    resting = clock.after(QUIET_POLL_MS, restQuiet);
  });

  function rest(entry: Entry): void {
    const source = entry.session?.source;
    if (source !== undefined) entry.held.endsMono = clock.monotonic() + source.leftMs();
    source?.close();
    entry.session = null;
    inUse.delete(entry);
  }

  /**
   * Tried until the store has forgotten it: a restart would bring an ended session back, and nobody could end it a
   * second time.
   */
  async function remove(hash: string, retryMs = FIRST_RETRY_MS): Promise<void> {
    if (kept === null || (await write(hash, () => kept.remove(hash))) || isClosing) return;
    clock.after(retryMs, () => void remove(hash, Math.min(retryMs * 2, LONGEST_RETRY_MS)));
  }

  async function save(entry: Entry): Promise<void> {
    if (kept === null) return;
    const { hash, terms, held, home } = entry;
    entry.savedAt = clock.now();
    await write(hash, async () => {
      if (table.peek(hash) !== undefined) await kept.save({ hash, terms, home, ...held, usedAt: entry.savedAt });
    });
  }

  function homeOf({ credential }: SessionTerms): string | null {
    const config = deps.credential(credential);
    return config === undefined ? null : sessionHome(config);
  }

  function add(hash: string, terms: SessionTerms, held: HeldTokens, home: string): Entry {
    const isAway = homeOf(terms) !== home;
    const times = { usedMono: clock.monotonic(), savedAt: clock.now() };
    const place = order.add(ownerKey(terms), hash);
    // Before the table would take the oldest of all, whosever it is: one client's logins must not end the sessions of
    // the others.
    const surplus = table.size < limits.max ? undefined : order.first();
    if (surplus !== undefined) table.delete(surplus);
    const entry: Entry = { hash, place, terms: nameTerms(terms, hash), held, home, isAway, session: null, ...times };
    table.set(hash, entry);
    return entry;
  }

  function use(entry: Entry): Session | null {
    order.touch(entry.place);
    if (entry.isAway) return null;
    entry.usedMono = clock.monotonic();
    if (entry.session !== null) return entry.session;
    const { hash, terms, held } = entry;
    const config = deps.credential(terms.credential);
    if (config === undefined) return null;
    const events: SessionEvents = {
      begun(renewal) {
        const over = () => renewals.delete(renewal);
        renewals.add(renewal);
        renewal.then(over, over);
      },
      ended: () => void table.delete(hash),
      renewed: () => save(entry),
      isIdle: () => !table.has(hash),
    };
    entry.session = createSession(hash.slice(0, 12), { terms, held, config }, { ...deps, log: sourceLog }, events);
    inUse.add(entry);
    return entry.session;
  }

  function find(handle: string): Session | null {
    const entry = table.get(handleHash(handle));
    if (entry === undefined) return null;
    if (kept !== null && clock.now() - entry.savedAt > HOUSEKEEPING_MS) void save(entry);
    return use(entry);
  }

  return {
    async open(terms, granted, home) {
      const refreshHandle = granted.refreshToken === null ? null : createRefreshHandle();
      const handle = refreshHandle === null ? createSessionHandle() : handleOf(refreshHandle);
      await save(add(handleHash(handle), terms, { token: granted.token, refreshToken: granted.refreshToken }, home));
      return { handle, refreshHandle };
    },
    findByRefreshHandle(refreshHandle) {
      const handle = handleOf(refreshHandle);
      const session = find(handle);
      return session && { session, handle };
    },
    termsOf: (handle) => table.peek(handleHash(handle))?.terms ?? null,
    find,
    findByTerms(terms) {
      const entry = table.get(hashOfTerms(terms));
      return entry === undefined ? null : use(entry);
    },
    isGood(terms) {
      const entry = table.peek(hashOfTerms(terms));
      if (entry === undefined || entry.isAway) return false;
      const { refreshToken, token } = entry.held;
      return refreshToken !== null || (token !== null && token.expiresAt > clock.now());
    },
    async end(session) {
      const hash = hashOfTerms(session.terms);
      table.delete(hash);
      if ((await writes.get(hash)) !== false) return;
      throw new GatewayError(
        'gateway.internal',
        'the session is ended here, but the store cannot forget it: until it can, a restart would bring it back',
      );
    },
    get size() {
      return table.size;
    },
    reconsider() {
      for (const entry of table.values()) {
        entry.isAway = homeOf(entry.terms) !== entry.home;
        if (entry.isAway) rest(entry);
      }
    },
    async restore() {
      const found = (await kept?.load().catch(() => null)) ?? [];
      for (const { hash, terms, home, token, refreshToken, usedAt } of [...found].sort((a, b) => a.usedAt - b.usedAt)) {
        const isOver =
          clock.now() - usedAt > limits.idleMs ||
          (refreshToken === null && (token === null || token.expiresAt <= clock.now()));
        if (isOver) void remove(hash);
        else add(hash, terms, { token, refreshToken }, home);
      }
    },
    async settled() {
      await Promise.allSettled(renewals);
      await Promise.all(writes.values());
    },
    close() {
      isClosing = true;
      housekeeping.cancel();
      resting.cancel();
      table.clear();
    },
  };
}
