// Handles, which applications hold in place of a token. Those of clients and anonymous callers are signed (HMAC), so no
// table of them is needed; a list of the revoked ones is.

import { hkdfSync, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import type { Log } from '../../logging/log.ts';
import { Secret } from '../../secret.ts';
import { createMemoryStore } from '../credentials/store/memory.ts';
import type { TokenStore } from '../credentials/store/store.ts';
import { type ClientHandle, HANDLE_LIFE_MS, readHandle, signHandle } from './client-handle.ts';
import { createHandleStore, RevokedHandles } from './revocations.ts';

/**
 * What an application is told in `expires_in`, s: the platform's usual day. The handle itself goes on being good,
 * because an SDK that asked with client credentials cannot ask again by itself.
 */
export const HANDLE_EXPIRES_IN_S = 86_400;

/** Handles whose signature was checked lately. */
const MAX_VERIFIED = 1_024;

/** Issues and verifies signed handles. */
export interface Handles {
  issue(content: Omit<ClientHandle, 'id' | 'issuedAt'>): string;
  /** What a good handle says; null when it is forged, too old or was ended. */
  find(token: string): ClientHandle | null;
  /** What a handle says that was made here, also one that is good no more; null for all others. */
  read(token: string): ClientHandle | null;
  /** Whether a handle that was found before would be found again. */
  isGood(handle: ClientHandle): boolean;
  /**
   * Ends one handle for good; durable when it resolves, where the store is. Throws gateway.rate.limited,
   * gateway.internal.
   */
  end(handle: ClientHandle): Promise<void>;
}

/** What handles are made of. The store is closed by whoever made it. */
export interface HandleDeps {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * For handles of anonymous callers where the store ends with the process: it signs them, so that they outlast a
   * restart.
   */
  readonly anonymousKey?: Secret | null;
  /** Told the id of each handle that is ended here. */
  readonly onEnded?: (id: string) => void;
}

/** Reads the key from the store, or makes it. */
export async function createHandles(deps: HandleDeps): Promise<Handles> {
  const { store, clock, log } = deps;
  const lasting = createHandleStore(store, log);
  const lastingKey = await lasting.key();
  // Without a key that lasts every handle ends with the process, and so does what is known of the ended ones.
  const kept = lastingKey === null ? createHandleStore(createMemoryStore({ clock }), log) : lasting;
  const key = lastingKey ?? new Secret(randomBytes(32).toString('base64url'));
  const anonymousKey = store.isDurable ? null : (deps.anonymousKey ?? null);
  const verified = new LRUCache<string, ClientHandle>({ max: MAX_VERIFIED });
  const revoked = new RevokedHandles({ store: kept, isShared: store.isDurable && lastingKey !== null, clock, log });
  await revoked.load();

  function readSigned(token: string): ClientHandle | null {
    const signed = readHandle(token, key);
    if (signed !== null || anonymousKey === null) return signed;
    const anonymous = readHandle(token, anonymousKey);
    // A key that can be derived again may not make a handle of anybody who was authenticated.
    return anonymous?.client === null && anonymous.authFingerprint === null ? anonymous : null;
  }

  const isGood = (handle: ClientHandle) => !revoked.has(handle) && clock.now() - handle.issuedAt < HANDLE_LIFE_MS;

  return {
    issue: (content) =>
      signHandle({ ...content, issuedAt: clock.now() }, content.authFingerprint === null ? (anonymousKey ?? key) : key),
    find(token) {
      let handle = verified.get(token);
      if (handle === undefined) {
        const read = readSigned(token);
        if (read === null) return null;
        verified.set(token, read);
        handle = read;
      }
      return isGood(handle) ? handle : null;
    },
    read: readSigned,
    isGood,
    end: (handle) => revoked.end(handle, () => deps.onEnded?.(handle.id)),
  };
}

/** Shorter secrets could be guessed from a handle; those of the platform are random and longer. */
const SHORTEST_SECRET = 24;

/**
 * Null when the credential has no secret, or one that is too short or cannot be read now: then handles end with the
 * process.
 */
export function deriveAnonymousKey(credential: CredentialConfig | undefined): Secret | null {
  const source = credential?.clientSecret ?? credential?.accessToken ?? null;
  if (credential === undefined || source === null) return null;
  try {
    const secret = source.read().reveal();
    if (secret.length < SHORTEST_SECRET) return null;
    const key = hkdfSync('sha256', secret, credential.clientId ?? '', 'gcg handles of anonymous callers', 32);
    return new Secret(Buffer.from(key).toString('base64url'));
  } catch {
    // A secret that comes later still counts for the token; only the handles of this process will not outlive it.
    return null;
  }
}
