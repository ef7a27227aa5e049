// What a token store promises: tokens by key, compare-and-set with revisions, a lock with a fence. No implementation.

import { Secret } from '../../../secret.ts';

/**
 * Whose tokens an entry holds. Every part is bound into the stored value, so that what was stored for one identity
 * cannot be opened for another. `host` is the login origin.
 */
export interface StoreKey {
  readonly name: string;
  readonly clientId: string;
  readonly host: string;
}

/** What is kept of one credential or session. */
export interface StoredToken {
  /** Null when only a refresh token is known. */
  readonly accessToken: Secret | null;
  /** Epoch ms. */
  readonly expiresAt: number;
  readonly obtainedAt: number;
  readonly refreshToken: Secret | null;
  /**
   * Fingerprint of the `refresh_token` that was configured when this was stored, null where none was: another one
   * configured since is newer than this. It is `seed` in what is written.
   */
  readonly initialFingerprint: string | null;
  /** Counts the writes of this chain. */
  readonly generation: number;
}

/** Clocks of machines that share a store may differ by this; one that differs by more is wrong. */
const CLOCK_TOLERANCE_MS = 60_000;

/**
 * Whether a token was stored in what is the future by now: the clock has been put back since, and its times say
 * nothing.
 */
export function isFromFuture({ obtainedAt }: StoredToken, nowMs: number): boolean {
  return obtainedAt > nowMs + CLOCK_TOLERANCE_MS;
}

/** Whether `stored` was obtained after `own`, as far as clocks can tell. */
export function isNewer(stored: StoredToken, own: StoredToken, nowMs: number): boolean {
  return stored.obtainedAt > own.obtainedAt && !isFromFuture(stored, nowMs);
}

/** A value with the version that a later `put` must name. */
export interface StoredEntry {
  readonly value: StoredToken;
  readonly version: string;
}

/** A lock that one owner holds at a time, across processes where the store is shared. */
export interface StoreLock {
  /** Identifies this acquisition of the lock; a `put` with a fence that is no longer valid is refused. */
  readonly fence: string;
  /** Never throws; does nothing when the lock was lost. */
  release(): Promise<void>;
}

/**
 * `conflict`: the expected version is not the stored one. `lock_lost`: the fence is no longer valid. `damaged`: the
 * entry was moved aside. `locked`: the wait for the lock ended.
 */
export type StoreErrorCode =
  | 'conflict'
  | 'lock_lost'
  | 'locked'
  | 'damaged'
  | 'wrong_key'
  | 'unreadable'
  | 'unwritable';

/** A store's failure. The message is safe to show: paths and reasons, no content. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** A store of tokens. All methods throw StoreError only. */
export interface TokenStore {
  /** Whether it outlives the process: otherwise tokens without a refresh token are not stored. */
  readonly isDurable: boolean;
  get(key: StoreKey): Promise<StoredEntry | null>;
  /**
   * Compare and set: `expectedVersion` null means that there must be no entry. Durable when it resolves. Resolves with
   * the new version.
   */
  put(
    key: StoreKey,
    value: StoredToken,
    condition: { expectedVersion: string | null; fence?: string | undefined },
  ): Promise<string>;
  /** Removes the entry, if there is one. */
  delete(key: StoreKey): Promise<void>;
  /** Waits up to `waitMs` for the lock, then throws `locked`. Not re-entrant. */
  lock(key: StoreKey, waitMs: number): Promise<StoreLock>;
  /** Names of the credentials with an entry, sorted. */
  list(): Promise<readonly string[]>;
  /** Changes whenever the entry may have changed, also by another process; cheap, never throws. */
  revision(key: StoreKey): string;
}

/** One string for a key; no two keys have the same. */
export function storeKeyId(key: StoreKey): string {
  return JSON.stringify([key.name, key.clientId, key.host]);
}

/** The plain text of a stored token, secrets included: only ever handed to the sealer. */
export function serialiseToken({ accessToken, refreshToken, initialFingerprint, ...rest }: StoredToken): string {
  return JSON.stringify({
    ...rest,
    seed: initialFingerprint,
    accessToken: accessToken?.reveal() ?? null,
    refreshToken: refreshToken?.reveal() ?? null,
  });
}

/** The stored token in a plain text; undefined when it is none. */
export function parseStoredToken(text: string): StoredToken | undefined {
  const value = JSON.parse(text) as Record<string, unknown>;
  const { accessToken, refreshToken, expiresAt, obtainedAt, seed, generation } = value;
  const isWhole =
    [accessToken, refreshToken, seed].every((part) => part === null || typeof part === 'string') &&
    [expiresAt, obtainedAt, generation].every((part) => typeof part === 'number');
  if (!isWhole) return undefined;
  const secret = (part: unknown) => (part === null ? null : new Secret(part as string));
  return {
    accessToken: secret(accessToken),
    refreshToken: secret(refreshToken),
    expiresAt: expiresAt as number,
    obtainedAt: obtainedAt as number,
    initialFingerprint: seed as string | null,
    generation: generation as number,
  };
}
