// All sessions, bounded: found by the hash of their handle, the one idle for longest goes first, each ends when idle for too long.
// A handle that is not found here is over, whatever the reason was.

import { LRUCache } from 'lru-cache';
import type { Secret } from '../../config/secret.ts';
import type { TokenStore } from '../store/store.ts';
import type { TokenGrant } from '../token-endpoint.ts';
import { createSession, type Session, type SessionDeps, type SessionEvents, type SessionTerms } from './session.ts';
import { createRefreshHandle, createSessionHandle, handleHash, handleOf } from './session-handle.ts';
import { createSessionStore } from './session-store.ts';

/** How many sessions there may be, and how long one may be idle, ms. */
export interface SessionLimits {
  readonly max: number;
  readonly idleMs: number;
}

/** About 50 MB when full; a week lets a user come back after a weekend. */
export const SESSION_LIMITS: SessionLimits = { max: 10_000, idleMs: 7 * 24 * 60 * 60 * 1000 };

/** Idle sessions are cleared away, and uses written down, at least this often. */
const HOUSEKEEPING_MS = 60 * 60 * 1000;

/** A new session and what the application gets for it. */
export interface OpenedSession {
  readonly session: Session;
  readonly handle: string;
  /** Null when the platform gave no refresh token. */
  readonly refreshHandle: string | null;
}

/** The table. */
export interface Sessions {
  open(terms: SessionTerms, granted: TokenGrant): Promise<OpenedSession>;
  /** The session of an access handle, which is thereby in use; null when there is none. One hash and one look-up. */
  find(handle: string): Session | null;
  /** The session of a refresh handle, with the access handle it always yields. */
  findByRefreshHandle(refreshHandle: string): { readonly session: Session; readonly handle: string } | null;
  /** Ends a session; its handles are unknown from now on. */
  end(session: Session): void;
  readonly size: number;
  /** Brings back what a durable store holds. Never throws; unreadable entries are left alone. */
  restore(): Promise<void>;
  /** Stops all timers; what is stored stays. */
  close(): void;
}

interface Entry {
  readonly session: Session;
  readonly hash: string;
  savedAt: number;
}

/** Makes the table; `store` counts only where it is durable. */
export function createSessions(deps: SessionDeps & { store: TokenStore; limits?: SessionLimits }): Sessions {
  const { clock, log, store } = deps;
  const limits = deps.limits ?? SESSION_LIMITS;
  const kept = store.isDurable ? createSessionStore(store) : null;
  const bySession = new WeakMap<Session, Entry>();
  let isClosing = false;
  const quiet = (work: Promise<unknown> | undefined) => work?.catch(() => log.warn({}, 'session could not be stored'));

  const table = new LRUCache<string, Entry>({
    max: limits.max,
    ttl: limits.idleMs,
    updateAgeOnGet: true,
    ttlResolution: 0,
    // Zero means "never" to the cache, and a clock may begin there.
    perf: { now: () => clock.monotonic() + 1 },
    dispose({ session, hash }) {
      session.source.close();
      if (!isClosing) quiet(kept?.remove(hash));
    },
  });
  // The sources of sessions would say two lines for each login.
  const sourceLog = { ...log, info: log.debug.bind(log), warn: log.debug.bind(log), error: log.error.bind(log), debug: log.debug.bind(log) };

  let housekeeping = clock.after(HOUSEKEEPING_MS, function tidy() {
    table.purgeStale();
    housekeeping = clock.after(HOUSEKEEPING_MS, tidy);
  });

  /** A store that fails costs the session its restart, and nothing else. */
  async function save(entry: Entry, token = entry.session.source.current()): Promise<void> {
    entry.savedAt = clock.now();
    const { session, hash } = entry;
    await quiet(kept?.save({ hash, terms: session.terms, token, refreshToken: session.refreshToken(), usedAt: clock.now() }));
  }

  function add(hash: string, terms: SessionTerms, granted: { token: TokenGrant['token'] | null; refreshToken: Secret | null }): Entry {
    const events: SessionEvents = {
      ended: () => void table.delete(hash),
      renewed: async (token) => {
        const entry = table.peek(hash);
        if (entry !== undefined) await save(entry, token);
      },
      isIdle: () => !table.has(hash),
    };
    const session = createSession(terms, granted, { ...deps, log: sourceLog }, events);
    const entry: Entry = { session, hash, savedAt: clock.now() };
    bySession.set(session, entry);
    table.set(hash, entry);
    return entry;
  }

  function find(handle: string): Session | null {
    const entry = table.get(handleHash(handle));
    if (entry === undefined) return null;
    if (kept !== null && clock.now() - entry.savedAt > HOUSEKEEPING_MS) void save(entry);
    return entry.session;
  }

  return {
    async open(terms, granted) {
      const refreshHandle = granted.refreshToken === null ? null : createRefreshHandle();
      const handle = refreshHandle === null ? createSessionHandle() : handleOf(refreshHandle);
      const entry = add(handleHash(handle), terms, granted);
      await save(entry);
      return { session: entry.session, handle, refreshHandle };
    },
    find,
    findByRefreshHandle(refreshHandle) {
      const handle = handleOf(refreshHandle);
      const session = find(handle);
      return session && { session, handle };
    },
    end(session) {
      const entry = bySession.get(session);
      if (entry) table.delete(entry.hash);
    },
    get size() {
      return table.size;
    },
    async restore() {
      const found = (await kept?.load().catch(() => null)) ?? [];
      for (const { hash, terms, token, refreshToken, usedAt } of [...found].sort((a, b) => a.usedAt - b.usedAt)) {
        const isOver = clock.now() - usedAt > limits.idleMs || (refreshToken === null && (token === null || token.expiresAt <= clock.now()));
        if (isOver) quiet(kept?.remove(hash));
        else add(hash, terms, { token: token !== null && token.expiresAt > clock.now() ? token : null, refreshToken });
      }
    },
    close() {
      isClosing = true;
      housekeeping.cancel();
      table.clear();
    },
  };
}
