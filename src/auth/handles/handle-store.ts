// What signed handles need kept: the key they are signed with, and the list of those that were ended before their time.
// Kept as two entries of the token store, so that both are as durable, as sealed and as shared as the tokens are.

import { randomBytes } from 'node:crypto';
import { Secret } from '../../config/secret.ts';
import type { Log } from '../../logging/log.ts';
import { StoreError, type StoreKey, type TokenStore } from '../store/store.ts';

const KEY_ENTRY: StoreKey = { name: 'gateway-handle-key', clientId: '', host: '' };
const REVOKED_ENTRY: StoreKey = { name: 'gateway-handle-revocations', clientId: '', host: '' };
const TRIES = 5;

/** How long a change waits for another process's. */
const LOCK_WAIT_MS = 10_000;

/** Handles of one owner ended early: id to when it was issued (epoch ms). `notBefore`: everything issued until then is ended too; only version 0.1.0 set it. */
export interface OwnRevocations {
  readonly notBefore: number;
  readonly ids: Readonly<Record<string, number>>;
}

/** Kept apart by owner, under `ownerKey` (caller.ts): however many handles one of them ends, those of the others stay. */
export interface Revocations {
  readonly owners: Readonly<Record<string, OwnRevocations>>;
}

/** The two entries. */
export interface HandleStore {
  /** The signing key, made at the first use. A store that fails costs handles their restart, not the gateway its start. */
  key(): Promise<Secret>;
  load(): Promise<Revocations>;
  /** Applies `change` to what is stored, one process after the other. Throws StoreError. */
  update(change: (before: Revocations) => Revocations): Promise<Revocations>;
  /** Changes when another process may have ended a handle; cheap. */
  revision(): string;
}

/** Over any token store; closes nothing. */
export function createHandleStore(store: TokenStore, log: Log): HandleStore {
  const put = (key: StoreKey, text: string, expectedVersion: string | null, fence?: string) =>
    store.put(
      key,
      { accessToken: new Secret(text), refreshToken: null, expiresAt: 0, obtainedAt: 0, seed: null, generation: 0 },
      { expectedVersion, fence },
    );

  async function makeKey(): Promise<Secret> {
    for (let attempt = 1; ; attempt++) {
      const present = await store.get(KEY_ENTRY);
      if (present?.value.accessToken) return present.value.accessToken;
      const made = randomBytes(32).toString('base64url');
      try {
        await put(KEY_ENTRY, made, present?.version ?? null);
        return new Secret(made);
      } catch (error) {
        // Another process was faster: its key counts.
        if (!isConflict(error) || attempt === TRIES) throw error;
      }
    }
  }

  async function read(): Promise<{ value: Revocations; version: string | null }> {
    const present = await store.get(REVOKED_ENTRY);
    const text = present?.value.accessToken?.reveal();
    const kept = text === undefined ? {} : (JSON.parse(text) as Partial<Revocations>);
    return { value: { owners: kept.owners ?? {} }, version: present?.version ?? null };
  }

  return {
    async key() {
      try {
        return await makeKey();
      } catch (error) {
        log.error({ error: error instanceof StoreError ? error.message : 'the store failed' }, 'handle key cannot be kept');
        return new Secret(randomBytes(32).toString('base64url'));
      }
    },
    load: async () => (await read()).value,
    async update(change) {
      // A file is compared, and then replaced: without the lock two processes could both find it as they expect, and one would be lost.
      const lock = await store.lock(REVOKED_ENTRY, LOCK_WAIT_MS);
      try {
        for (let attempt = 1; ; attempt++) {
          const { value, version } = await read();
          const changed = change(value);
          try {
            await put(REVOKED_ENTRY, JSON.stringify(changed), version, lock.fence);
            return changed;
          } catch (error) {
            if (!isConflict(error) || attempt === TRIES) throw error;
          }
        }
      } finally {
        await lock.release();
      }
    },
    revision: () => store.revision(REVOKED_ENTRY),
  };
}

function isConflict(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'conflict';
}
