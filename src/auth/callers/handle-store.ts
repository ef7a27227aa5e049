// The signing key of handles and the list of the revoked ones, in the token store.

import { randomBytes } from 'node:crypto';
import { Secret } from '../../secret.ts';
import { type StoredEntry, StoreError, type StoreKey, type TokenStore } from '../credentials/store/store.ts';

const KEY_ENTRY: StoreKey = { name: 'gateway-handle-key', clientId: '', host: '' };
const REVOKED_ENTRY: StoreKey = { name: 'gateway-handle-revocations', clientId: '', host: '' };
const TRIES = 5;

/** How long a change waits for the change of another process. */
const LOCK_WAIT_MS = 10_000;

/**
 * Revoked handles of one owner: id to when it was issued (epoch ms). `notBefore`: everything issued until then is
 * revoked too; only version 0.1.0 set it.
 */
export interface OwnRevocations {
  readonly notBefore: number;
  readonly ids: Readonly<Record<string, number>>;
}

/** The revoked handles by owner (`ownerKey`): however many one owner revokes, those of the others stay. */
export interface Revocations {
  readonly owners: Readonly<Record<string, OwnRevocations>>;
}

/** The signing key and the revocations in the store. */
export interface HandleStore {
  /** Whether instances on other machines use it too: it may lose what it was told, and is told again then. */
  readonly isForgetful: boolean;
  /**
   * The signing keys: the first one signs, each of them verifies. Made at the first use; there are several only after a
   * shared store was emptied, and instances made one each. `known` are those that must stay. None while a shared store
   * may have lost them, and nobody has told them again. Throws StoreError.
   */
  keys(known: readonly Secret[]): Promise<readonly Secret[]>;
  /** What is stored, null where nothing is. Throws StoreError. */
  load(): Promise<Revocations | null>;
  /** Whether a list that is missing is one that nobody is about to tell again: `TokenStore.isSettled`. */
  isSettled(): boolean;
  /**
   * Applies `change` to what is stored, one process after the other; the revision is that of this change. Throws
   * StoreError.
   */
  update(change: (before: Revocations) => Revocations): Promise<{ stored: Revocations; revision: string }>;
  /** Changes when another process may have ended a handle; cheap. */
  revision(): string;
  /** Calls `listener` when the revision of the list has changed, where the store can tell. */
  onChange(listener: () => void): void;
  /** The same of the keys. */
  onKeyChange(listener: () => void): void;
}

/** More keys than an emptied store could ever lead to. */
const MOST_KEYS = 8;

/** Over any token store; closes nothing. */
export function createHandleStore(store: TokenStore): HandleStore {
  const put = (key: StoreKey, text: string, expectedVersion: string | null, fence?: string) =>
    store.replace(
      key,
      {
        accessToken: new Secret(text),
        refreshToken: null,
        expiresAt: 0,
        obtainedAt: 0,
        initialFingerprint: null,
        generation: 0,
      },
      { expectedVersion, fence },
    );

  async function read(): Promise<{ value: Revocations; version: string | null }> {
    const existing = await store.get(REVOKED_ENTRY);
    const text = existing?.value.accessToken?.reveal();
    const kept = text === undefined ? {} : (JSON.parse(text) as Partial<Revocations>);
    return { value: { owners: kept.owners ?? {} }, version: existing?.version ?? null };
  }

  async function update(change: (before: Revocations) => Revocations, fence?: string) {
    for (let attempt = 1; ; attempt++) {
      const { value, version } = await read();
      const changed = change(value);
      try {
        const written = await put(REVOKED_ENTRY, JSON.stringify(changed), version, fence);
        return { stored: changed, revision: store.revision(REVOKED_ENTRY, written) };
      } catch (error) {
        if (!isConflict(error) || attempt === TRIES) throw error;
      }
    }
  }

  return {
    isForgetful: store.isShared,
    async keys(known) {
      for (let attempt = 1; ; attempt++) {
        const existing = await store.get(KEY_ENTRY);
        const stored = keysOf(existing);
        const missing = known.filter((key) => !stored.some((one) => one.reveal() === key.reveal()));
        if (stored.length > 0 && missing.length === 0) return stored;
        const isNone = stored.length + missing.length === 0;
        if (isNone && !store.isSettled()) return [];
        const made = isNone ? [new Secret(randomBytes(32).toString('base64url'))] : [];
        const all = [...stored, ...missing, ...made].slice(0, MOST_KEYS);
        try {
          await put(KEY_ENTRY, all.map((key) => key.reveal()).join(' '), existing?.version ?? null);
          return all;
        } catch (error) {
          // Another process was faster: its key counts.
          if (isConflict(error) && attempt < TRIES) continue;
          // Those of others count here all the same; what they lack is told at the next reading.
          if (stored.length > 0) return all;
          throw error;
        }
      }
    },
    async load() {
      const { value, version } = await read();
      return version === null ? null : value;
    },
    isSettled: () => store.isSettled(),
    async update(change) {
      // A shared store compares and replaces in one step.
      if (store.isShared) return update(change);
      // A file is compared, and then replaced: without the lock two processes could both find it as they expect, and
      // one would be lost.
      const lock = await store.lock(REVOKED_ENTRY, LOCK_WAIT_MS);
      try {
        return await update(change, lock.fence);
      } finally {
        await lock.release();
      }
    },
    revision: () => store.revision(REVOKED_ENTRY),
    onChange: (listener) => void store.onChange(REVOKED_ENTRY, listener),
    onKeyChange: (listener) => void store.onChange(KEY_ENTRY, listener),
  };
}

function keysOf(entry: StoredEntry | null): readonly Secret[] {
  const text = entry?.value.accessToken?.reveal() ?? '';
  return text
    .split(' ')
    .filter((key) => key !== '')
    .map((key) => new Secret(key));
}

function isConflict(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'conflict';
}
