// Handles, which applications hold in place of a token. Those of clients and anonymous callers are signed (HMAC), so no
// table of them is needed; a list of the revoked ones is.

import { createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import type { Log } from '../../logging/log.ts';
import { Secret } from '../../secret.ts';
import { createMemoryStore } from '../credentials/store/memory.ts';
import { StoreError, type TokenStore } from '../credentials/store/store.ts';
import { type ClientHandle, HANDLE_LIFE_MS, readHandle, signHandle } from './client-handle.ts';
import { createHandleStore, type HandleStore } from './handle-store.ts';
import { Rereading } from './rereading.ts';
import { RevokedHandles } from './revocations.ts';
import { storeAway } from './session-fetches.ts';

/**
 * What an application is told in `expires_in`, s: the platform's usual day. The handle itself goes on being good,
 * because an SDK that asked with client credentials cannot ask again by itself.
 */
export const HANDLE_EXPIRES_IN_S = 86_400;

/** Handles whose signature was checked lately. */
const MAX_VERIFIED = 1_024;

/** Issues and verifies signed handles. Throws gateway.credential.unavailable while a shared store was not read. */
export interface Handles {
  issue(content: Omit<ClientHandle, 'id' | 'issuedAt'>): string;
  /**
   * What a good handle says; null when it is forged, too old or was ended. Where that could be a key that is not known
   * here yet, it throws gateway.credential.unavailable.
   */
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
  /** What stands for an `ownerKey` where its name may not be read. The same at all instances. */
  mark(owner: string): string;
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
  /** Told the id of each handle that is ended, here or by another process. */
  readonly onEnded?: (id: string) => void;
}

/**
 * Reads the key from the store, or makes it where there is none. While a store that instances share does not answer, or
 * may have lost the key that others are about to tell it again, nothing is issued or verified: that throws
 * gateway.credential.unavailable.
 */
export async function createHandles(deps: HandleDeps): Promise<Handles> {
  const handles = new SignedHandles(deps);
  await handles.open();
  return handles;
}

/** A read that failed is tried again after this, when somebody needs it. */
const READ_AGAIN_MS = 250;

class SignedHandles implements Handles {
  readonly #deps: HandleDeps;
  readonly #store: HandleStore;
  readonly #anonymousKey: Secret | null;
  readonly #verified = new LRUCache<string, ClientHandle>({ max: MAX_VERIFIED });
  /** The first one signs; none while a shared store was not read, or may have lost them. */
  #keys: readonly Secret[] = [];
  #revoked: RevokedHandles;
  /** Of key and list. */
  readonly #readings = new Rereading(() => this.#readOnce());
  #readMono = Number.NEGATIVE_INFINITY;

  constructor(deps: HandleDeps) {
    const { store } = deps;
    this.#deps = deps;
    this.#store = createHandleStore(store);
    this.#anonymousKey = store.isDurable ? null : (deps.anonymousKey ?? null);
    this.#revoked = this.#createRevoked(this.#store, store.isDurable);
    if (store.isShared) this.#store.onKeyChange(() => void this.#readings.again());
  }

  async open(): Promise<void> {
    await this.#readings.again();
    if (this.#keys.length > 0 || this.#deps.store.isShared) return;
    // Without a key that lasts every handle ends with the process, and so does what is known of the ended ones.
    this.#keys = [new Secret(randomBytes(32).toString('base64url'))];
    this.#revoked = this.#createRevoked(createHandleStore(createMemoryStore({ clock: this.#deps.clock })), false);
  }

  issue(content: Omit<ClientHandle, 'id' | 'issuedAt'>): string {
    const key = content.authFingerprint === null ? (this.#anonymousKey ?? this.#key()) : this.#key();
    return signHandle({ ...content, issuedAt: this.#deps.clock.now() }, key);
  }

  find(token: string): ClientHandle | null {
    let handle = this.#verified.get(token);
    if (handle === undefined) {
      this.#key();
      const read = this.read(token);
      if (read === null) {
        if (this.#mayKeyBeUnknown()) throw storeAway();
        return null;
      }
      this.#verified.set(token, read);
      handle = read;
    }
    return this.isGood(handle) ? handle : null;
  }

  read(token: string): ClientHandle | null {
    for (const key of this.#keys) {
      const signed = readHandle(token, key);
      if (signed !== null) return signed;
    }
    if (this.#anonymousKey === null) return null;
    const anonymous = readHandle(token, this.#anonymousKey);
    // A key that can be derived again may not make a handle of anybody who was authenticated.
    return anonymous?.client === null && anonymous.authFingerprint === null ? anonymous : null;
  }

  isGood(handle: ClientHandle): boolean {
    return !this.#revoked.has(handle) && this.#deps.clock.now() - handle.issuedAt < HANDLE_LIFE_MS;
  }

  end(handle: ClientHandle): Promise<void> {
    return this.#revoked.end(handle, () => this.#deps.onEnded?.(handle.id));
  }

  mark(owner: string): string {
    return createHmac('sha256', this.#key().reveal()).update(`owner ${owner}`).digest('hex').slice(0, 32);
  }

  /** The key that signs. Throws gateway.credential.unavailable while it, or the list of the ended ones, was not read. */
  #key(): Secret {
    const [key] = this.#keys;
    if (key !== undefined && (this.#revoked.isLoaded || !this.#deps.store.isShared)) return key;
    const { clock } = this.#deps;
    if (!this.#readings.isRunning && clock.monotonic() - this.#readMono >= READ_AGAIN_MS) void this.#readings.again();
    throw storeAway();
  }

  /** Whether another instance may sign with a key that was not read here. */
  #mayKeyBeUnknown(): boolean {
    const { store } = this.#deps;
    return store.isShared && (this.#readings.isRunning || !store.isComplete());
  }

  /** Never throws. */
  async #readOnce(): Promise<void> {
    const { clock, log, store } = this.#deps;
    try {
      this.#keys = await this.#store.keys(this.#keys);
      if (!this.#revoked.isLoaded) await this.#revoked.load();
    } catch (error) {
      const advice = store.isShared ? 'handles are taken when it can be' : 'all handles end with this process';
      if (this.#keys.length === 0) log.error({ error: reasonOf(error), advice }, 'handle key cannot be kept');
    } finally {
      this.#readMono = clock.monotonic();
    }
  }

  #createRevoked(store: HandleStore, isShared: boolean): RevokedHandles {
    const { clock, log, onEnded } = this.#deps;
    return new RevokedHandles({ store, isShared, clock, log, onEndedElsewhere: onEnded });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof StoreError ? error.message : 'the store failed';
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
