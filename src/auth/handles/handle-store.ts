// What signed handles need kept: the key they are signed with, and the list of those that were ended before their time.
// Kept as two entries of the token store, so that both are as durable, as sealed and as shared as the tokens are.

import { randomBytes } from 'node:crypto';
import { Secret } from '../../config/secret.ts';
import type { Log } from '../../logging/log.ts';
import { StoreError, type StoreKey, type TokenStore } from '../store/store.ts';

const KEY_ENTRY: StoreKey = { name: 'gateway-handle-key', clientId: '', host: '' };
const REVOKED_ENTRY: StoreKey = { name: 'gateway-handle-revocations', clientId: '', host: '' };
const TRIES = 5;

/** Handles of one owner ended early: id to when it was issued (epoch ms). `notBefore`: everything issued until then is ended too. */
export interface OwnRevocations {
  readonly notBefore: number;
  readonly ids: Readonly<Record<string, number>>;
}

/** Kept apart by owner, under `ownerKey`: however many handles one of them ends, those of the others stay. */
export interface Revocations {
  readonly owners: Readonly<Record<string, OwnRevocations>>;
}

/** No handle was ended. */
export const NO_REVOCATIONS: Revocations = { owners: {} };

/** Where the revocations of a client's handles are kept; null: of those that anonymous callers were given. */
export function ownerKey(client: string | null): string {
  return client === null ? 'anonymous' : `client ${client}`;
}

/** The two entries. */
export interface HandleStore {
  /** The signing key, made at the first use. A store that fails costs handles their restart, not the gateway its start. */
  key(): Promise<Secret>;
  load(): Promise<Revocations>;
  /** Applies `change` to what is stored, whoever else writes. Throws StoreError. */
  update(change: (before: Revocations) => Revocations): Promise<Revocations>;
  /** Changes when another process may have ended a handle; cheap. */
  revision(): string;
}

/** Over any token store; closes nothing. */
export function createHandleStore(store: TokenStore, log: Log): HandleStore {
  const put = (key: StoreKey, text: string, expectedVersion: string | null) =>
    store.put(
      key,
      { accessToken: new Secret(text), refreshToken: null, expiresAt: 0, obtainedAt: 0, seed: null, generation: 0 },
      { expectedVersion },
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
    return { value: { owners: kept.owners ?? NO_REVOCATIONS.owners }, version: present?.version ?? null };
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
      for (let attempt = 1; ; attempt++) {
        const { value, version } = await read();
        const changed = change(value);
        try {
          await put(REVOKED_ENTRY, JSON.stringify(changed), version);
          return changed;
        } catch (error) {
          if (!isConflict(error) || attempt === TRIES) throw error;
        }
      }
    },
    revision: () => store.revision(REVOKED_ENTRY),
  };
}

function isConflict(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'conflict';
}
