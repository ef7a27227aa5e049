// What a token store promises: tokens by key, ordered by generations, a lock, and who is told of changes. No
// implementation.

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
  /** Its place among what is stored under its key: `StoredEntry.generation`. Earlier versions counted the writes. */
  readonly generation: number;
  /** The platform refused the refresh token: only a login helps. It is kept, as the platform may have been wrong. */
  readonly isRefused?: boolean;
  /** The instance that obtained it, of those that share a store; absent where nobody shares it. */
  readonly obtainedBy?: string;
}

/** What takes the place of an entry in a shared store when somebody ends it: absence could be a loss. */
export function endedToken(generation: number, initialFingerprint: string | null = null): StoredToken {
  return { accessToken: null, refreshToken: null, expiresAt: 0, obtainedAt: 0, initialFingerprint, generation };
}

/** Whether a value says that somebody ended its entry: it holds no token. */
export function isEnded({ accessToken, refreshToken }: StoredToken): boolean {
  return accessToken === null && refreshToken === null;
}

/**
 * After a shared store was away it may have lost what other instances still know: so long they have to tell it again,
 * ms. Longer than any of them needs to connect.
 */
export const TELLING_MS = 6_000;

/** Clocks of machines that share a store may differ by this; one that differs by more is wrong. */
const CLOCK_TOLERANCE_MS = 60_000;

/**
 * Whether a token was stored in what is the future by now: the clock has been put back since, and its times say
 * nothing.
 */
export function isFromFuture({ obtainedAt }: StoredToken, nowMs: number): boolean {
  return obtainedAt > nowMs + CLOCK_TOLERANCE_MS;
}

/** What a store answers for a key that it knows. */
export interface StoredEntry {
  readonly value: StoredToken;
  /**
   * Orders what was stored: of two values the one of the higher generation counts, whatever clocks say and whichever
   * came first. Never falls.
   */
  readonly generation: number;
  /** Names this writing: a `replace` finds what it read. '' for a value that is not in the store. */
  readonly version: string;
}

/** The generation that follows what is stored, for whoever begins to obtain a token at `nowMs`. */
export function nextGeneration(stored: Pick<StoredEntry, 'generation'> | null, nowMs: number): number {
  return Math.max((stored?.generation ?? 0) + 1, Math.floor(nowMs));
}

/** A lock that one owner holds at a time, across processes where the store outlives one, and machines where it is shared. */
export interface StoreLock {
  /** Identifies this holding of the lock; a `replace` with a fence that is no longer valid is refused. */
  readonly fence: string;
  /**
   * A generation that somebody began and whose outcome is not stored: an instance ended in the middle of it. Null where
   * there is none, and always where the store is not shared.
   */
  readonly unfinished: number | null;
  /** What is stored, read after the lock was taken; a shared store has read it with the lock. Throws as `get`. */
  entry(): Promise<StoredEntry | null>;
  /**
   * Begins a generation: from now on what is obtained by it counts more than all that began before. `read` is what the
   * holder goes by. Throws StoreError `lock_lost` where the lock is held no more, `conflict` where something else was
   * stored since: then nothing may be sent to the platform.
   */
  begin(read: StoredEntry | null): Promise<number>;
  /** Never throws; does nothing when the lock was lost. */
  release(): Promise<void>;
}

/**
 * `conflict`: the expected version is not the stored one. `lock_lost`: the fence is no longer valid. `damaged`: the
 * entry was moved aside. `locked`: the wait for the lock ended. `absent`: a shared store cannot be reached, or makes
 * nobody a holder until it is known that nobody is one. `unusable`: it refuses us, and a person has to mend that.
 */
export type StoreErrorCode =
  | 'conflict'
  | 'lock_lost'
  | 'locked'
  | 'damaged'
  | 'wrong_key'
  | 'unreadable'
  | 'unwritable'
  | 'absent'
  | 'unusable';

/** A store's failure. The message is safe to show: paths and reasons, no content. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** How a store is, for the status. Holds no secret. */
export interface StoreState {
  /** `degraded`: it answers, but holds not all that it should. */
  readonly state: 'ok' | 'degraded' | 'down';
  /** What is wrong; null when nothing is. */
  readonly error: string | null;
  /** Entries that are written nowhere yet but here. */
  readonly unwritten: number;
  /** Entries that were written again because the store had lost them. */
  readonly toldAgain: number;
}

/** What a store can do that never fails. */
export const STORE_OK: StoreState = { state: 'ok', error: null, unwritten: 0, toldAgain: 0 };

/** How a wait for a lock of another ended: it was given to us, not in time, or the store failed meanwhile. */
export type LockWaitEnd = 'taken' | 'timeout' | 'failed';

/** What a store knows of the instances that share it, to be shown: nothing is decided by it, and nothing asked. */
export interface StoreInstances {
  /** The name of this one. */
  readonly own: string;
  /** Waits for locks that another held, by how they ended. */
  readonly lockWaits: Readonly<Record<LockWaitEnd, number>>;
  /** Tokens taken into use that another one obtained. Counted by whoever takes them. */
  tokensFromPeers: number;
  /** Who holds the lock of an entry as far as it is known here: this one, or another that is waited for. */
  lockHolder(key: StoreKey): string | null;
}

/** What a lock is taken for. A shared store goes by it; the others need not. */
export interface LockUse {
  /** The longest request made under it: whoever is silent for longer, and a while, has lost the lock. 4 s by default. */
  readonly workMs?: number;
  /**
   * What is sent under it can be sent once only. After a time in which the store was away, and may have lost locks and
   * what was written last, nobody gets such a lock until whoever held one has had the time to come back.
   */
  readonly isRotating?: boolean;
}

/** A store of tokens. All methods throw StoreError only. */
export interface TokenStore {
  /** Whether it outlives the process: otherwise tokens without a refresh token are not stored. */
  readonly isDurable: boolean;
  /**
   * Whether instances on other machines use it too: it may be away, slow or forgetful then. A refresh token is sent
   * only under its lock and after `begin`, and absence never means that somebody ended it.
   */
  readonly isShared: boolean;
  /** Null where it is not shared. */
  readonly instances: StoreInstances | null;
  /** Makes sure that it can be used. A shared store that is away is waited for by whoever needs it, not here. */
  open(): Promise<void>;
  get(key: StoreKey): Promise<StoredEntry | null>;
  /**
   * Stores by generation: `value`, unless what is stored has a higher one. Resolves with what counts then, durable.
   * Asks neither for the lock nor for a version: what was obtained from the platform is stored whatever became of them.
   * A shared store that is away throws, keeps the value and is told later.
   * `keptForMs`: a shared store forgets it when so much time has passed since it was last written.
   */
  put(key: StoreKey, value: StoredToken, options?: { readonly keptForMs?: number | undefined }): Promise<StoredEntry>;
  /**
   * Compare and set, for what is changed and not obtained: `expectedVersion` null means that there must be no entry.
   * Durable when it resolves. Resolves with the new version. The generation is the store's.
   */
  replace(
    key: StoreKey,
    value: StoredToken,
    condition: { expectedVersion: string | null; fence?: string | undefined },
  ): Promise<string>;
  /**
   * Ends the entry. A shared store keeps an `endedToken` in its place for a week. One that is away is told later, but
   * throws.
   */
  delete(key: StoreKey): Promise<void>;
  /** Waits up to `waitMs` for the lock, then throws `locked`. Not re-entrant. */
  lock(key: StoreKey, waitMs: number, use?: LockUse): Promise<StoreLock>;
  /** Names of the credentials with an entry, sorted. Of a shared store only what this process has read or written. */
  list(): Promise<readonly string[]>;
  /**
   * Changes whenever the entry may have changed, also by another process; cheap, never throws. Whoever has written asks
   * for the revision of the version that was written: at a shared store, what others wrote since is news then, also where
   * it was heard already.
   */
  revision(key: StoreKey, version?: string): string;
  /**
   * Calls `listener` as soon as it is known that the revision has changed, also by this process. A store that cannot
   * tell calls nobody: the revision is read once a second besides. Answers what ends it.
   */
  onChange(key: StoreKey, listener: () => void): () => void;
  /**
   * Whether what it does not have is what nobody has: not while a shared store is away, nor for `TELLING_MS` after, when
   * others tell it again what it may have lost.
   */
  isSettled(): boolean;
  /**
   * The same, and a shared store takes writes, and was not empty less than `TELLING_MS` ago. Whoever comes to an empty
   * one cannot tell whether it is new or was emptied beside other instances: no start waits for it, but a handle that is
   * not known is not refused until then, and no list of blocked clients begun.
   */
  isComplete(): boolean;
  state(): StoreState;
  /** Writes what is left, as far as that can be done soon, and lets go of the network. */
  close(): Promise<void>;
}

/** One string for a key; no two keys have the same. */
export function storeKeyId(key: StoreKey): string {
  return JSON.stringify([key.name, key.clientId, key.host]);
}

/** The plain text of a stored token, secrets included: only ever handed to the sealer. */
export function serialiseToken(value: StoredToken): string {
  const { accessToken, refreshToken, initialFingerprint, isRefused, obtainedBy } = value;
  const { expiresAt, obtainedAt, generation } = value;
  return JSON.stringify({
    expiresAt,
    obtainedAt,
    generation,
    ...(isRefused === true && { refused: true }),
    ...(obtainedBy !== undefined && { by: obtainedBy }),
    seed: initialFingerprint,
    accessToken: accessToken?.reveal() ?? null,
    refreshToken: refreshToken?.reveal() ?? null,
  });
}

/** Of an instance: what is longer is no name of ours. */
const MOST_NAME_CHARS = 100;

/** The stored token in a plain text; undefined when it is none. */
export function parseStoredToken(text: string): StoredToken | undefined {
  const value = JSON.parse(text) as Record<string, unknown>;
  const { accessToken, refreshToken, expiresAt, obtainedAt, seed, generation, refused, by } = value;
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
    ...(refused === true && { isRefused: true }),
    ...(typeof by === 'string' && { obtainedBy: by.slice(0, MOST_NAME_CHARS) }),
  };
}
