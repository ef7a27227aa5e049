// Keeps the tokens of grants without a refresh token in a durable store, so that a restart asks for nothing.
// The store only helps: whatever is wrong with it, a token is acquired without it.

import type { Clock } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';
import { isFromFuture, isNewer, type StoredToken, StoreError, type StoreKey, type TokenStore } from './store/store.ts';
import { type Acquire, createToken, type Token } from './token-source.ts';

/** `acquire` over that of a grant, and what is wrong with the store. */
export interface StoredSource {
  readonly acquire: Acquire;
  /** Writes a token that a login yielded. Never throws. */
  save(token: Token): Promise<void>;
  forget(): Promise<void>;
  storeError(): string | null;
  /** Resolves when the tokens acquired so far are written, or could not be. */
  settled(): Promise<void>;
}

/**
 * Makes a stored source. Only the first token may come from the store; each new one is written in the background, so
 * that a slow disk delays nobody.
 */
export function createStoredSource(deps: {
  name: string;
  acquire: Acquire;
  store: TokenStore;
  key: StoreKey;
  clock: Clock;
  log: Log;
}): StoredSource {
  const { name, acquire, store, key, clock, log } = deps;
  let storeError: string | null = null;
  let timesForgotten = 0;
  let writing: Promise<unknown> = Promise.resolve();

  const note = (error: unknown) => {
    storeError = error instanceof StoreError ? error.message : 'the store failed';
    log.error({ credential: name, error: storeError }, 'token store failed');
  };

  async function load(): Promise<Token | null> {
    try {
      const entry = await store.get(key);
      storeError = null;
      return entry === null ? null : storedAccessToken(entry.value, clock.now());
    } catch (error) {
      note(error);
      return null;
    }
  }

  async function save(token: Token): Promise<void> {
    const { accessToken, expiresAt, obtainedAt } = token;
    try {
      for (let tries = 0; ; tries += 1) {
        const existing = await store.get(key);
        const generation = (existing?.value.generation ?? 0) + 1;
        const value: StoredToken = {
          accessToken,
          expiresAt,
          obtainedAt,
          refreshToken: null,
          initialFingerprint: null,
          generation,
        };
        if (existing !== null && isNewer(existing.value, value, clock.now())) return;
        try {
          await store.put(key, value, { expectedVersion: existing?.version ?? null });
          storeError = null;
          return;
        } catch (error) {
          if (tries > 0 || !(error instanceof StoreError) || error.code !== 'conflict') throw error;
        }
      }
    } catch (error) {
      note(error);
    }
  }

  return {
    async acquire(request) {
      if (request.previous === null && request.reason !== 'forced' && request.reason !== 'changed') {
        const stored = await load();
        if (stored !== null) return stored;
      }
      const before = timesForgotten;
      const token = await acquire(request);
      if (timesForgotten === before) writing = Promise.all([writing, save(token)]);
      return token;
    },
    save,
    async forget() {
      timesForgotten += 1;
      await store.delete(key).catch(note);
    },
    storeError: () => storeError,
    async settled() {
      await writing;
    },
  };
}

/** The access token of what is stored, where there is one that is not past its end, as far as clocks can tell. */
export function storedAccessToken(value: StoredToken, nowMs: number): Token | null {
  const { accessToken, obtainedAt, expiresAt } = value;
  return accessToken === null || expiresAt <= nowMs || isFromFuture(value, nowMs)
    ? null
    : createToken({ accessToken, obtainedAt, expiresAt });
}
