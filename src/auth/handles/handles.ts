// Signed handles at work: gives them, recognises them, ends them. Asks nobody upstream and keeps no list of those that are good.

import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import type { Secret } from '../../config/secret.ts';
import type { Log } from '../../logging/log.ts';
import { StoreError, type TokenStore } from '../store/store.ts';
import { type ClientHandle, readHandle, signHandle } from './client-handle.ts';
import { createHandleStore, NO_REVOCATIONS, type OwnRevocations, ownerKey, type Revocations } from './handle-store.ts';

/**
 * What an application is told in `expires_in`, s: the platform's usual day. The handle itself goes on being good,
 * because an SDK that asked with client credentials cannot ask again by itself.
 */
export const HANDLE_EXPIRES_IN_S = 86_400;

/** No handle is older than this: the platform's longest token life. */
export const HANDLE_LIFE_MS = 450 * 24 * 60 * 60 * 1000;

/** So many ended handles of one owner are told apart; beyond that its oldest handles end with them, ended or not. */
const MAX_REVOCATIONS = 2_000;

/** Another process's revocations count after at most this. */
const REVOCATION_POLL_MS = 1_000;

const NONE_OWN: OwnRevocations = { notBefore: 0, ids: {} };

/** Handles whose signature was checked lately. */
const MAX_VERIFIED = 1_024;

/** Gives and takes signed handles. */
export interface Handles {
  issue(content: Omit<ClientHandle, 'id' | 'issuedAt'>): string;
  /** What a good handle says; null when it is forged, too old or was ended. */
  find(token: string): ClientHandle | null;
  /** Whether a handle that was found before would be found again. */
  isGood(handle: ClientHandle): boolean;
  /** Ends one handle for good; durable when it resolves, where the store is. Never throws: a store that fails is logged. */
  end(handle: ClientHandle): Promise<void>;
}

/** What handles are made of. The store is closed by whoever made it. */
export interface HandleDeps {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly log: Log;
  /** For handles of anonymous callers where the store ends with the process (anonymous-key.ts). */
  readonly anonymousKey?: Secret | null;
  /** Told the id of each handle that is ended here. */
  readonly onEnded?: (id: string) => void;
}

/** Reads the key from the store, or makes it. */
export async function createHandles(deps: HandleDeps): Promise<Handles> {
  const { store, clock, log } = deps;
  const kept = createHandleStore(store, log);
  const key: Secret = await kept.key();
  const anonymousKey = store.isDurable ? null : (deps.anonymousKey ?? null);
  const verified = new LRUCache<string, ClientHandle>({ max: MAX_VERIFIED });
  let revoked: Revocations = await kept.load().catch(() => NO_REVOCATIONS);
  let seenRevision = kept.revision();
  let lookedMono = clock.monotonic();

  function look(): void {
    if (!store.isDurable || clock.monotonic() - lookedMono < REVOCATION_POLL_MS) return;
    lookedMono = clock.monotonic();
    const revision = kept.revision();
    if (revision === seenRevision) return;
    seenRevision = revision;
    kept.load().then(
      (loaded) => {
        revoked = merge(revoked, loaded);
      },
      (error: unknown) => log.warn({ error: error instanceof StoreError ? error.message : 'the store failed' }, 'handle revocations cannot be read'),
    );
  }

  function readSigned(token: string): ClientHandle | null {
    const signed = readHandle(token, key);
    if (signed !== null || anonymousKey === null) return signed;
    const anonymous = readHandle(token, anonymousKey);
    // The key that can be made again never makes a client.
    return anonymous?.client === null ? anonymous : null;
  }

  const isGood = ({ id, client, issuedAt }: ClientHandle) => {
    const { notBefore, ids } = revoked.owners[ownerKey(client)] ?? NONE_OWN;
    return issuedAt > notBefore && !Object.hasOwn(ids, id) && clock.now() - issuedAt < HANDLE_LIFE_MS;
  };

  return {
    issue: (content) => signHandle({ ...content, issuedAt: clock.now() }, content.client === null ? (anonymousKey ?? key) : key),
    find(token) {
      look();
      let handle = verified.get(token);
      if (handle === undefined) {
        const read = readSigned(token);
        if (read === null) return null;
        verified.set(token, read);
        handle = read;
      }
      return isGood(handle) ? handle : null;
    },
    isGood(handle) {
      look();
      return isGood(handle);
    },
    async end(handle) {
      const key = ownerKey(handle.client);
      const add = ({ owners }: Revocations): Revocations => {
        const { notBefore, ids } = owners[key] ?? NONE_OWN;
        return { owners: { ...owners, [key]: bounded({ notBefore, ids: { ...ids, [handle.id]: handle.issuedAt } }, clock.now()) } };
      };
      revoked = add(revoked);
      deps.onEnded?.(handle.id);
      try {
        revoked = merge(revoked, await kept.update(add));
        seenRevision = kept.revision();
      } catch (error) {
        log.error({ error: error instanceof StoreError ? error.message : 'the store failed' }, 'handle revocation cannot be kept');
      }
    },
  };
}

function merge(one: Revocations, other: Revocations): Revocations {
  const owners: Record<string, OwnRevocations> = { ...one.owners };
  for (const [key, { notBefore, ids }] of Object.entries(other.owners)) {
    const own = owners[key] ?? NONE_OWN;
    owners[key] = { notBefore: Math.max(own.notBefore, notBefore), ids: { ...own.ids, ...ids } };
  }
  return { owners };
}

/** When there are too many of one owner, the oldest tenth is ended by date: more handles end than were asked for, never fewer. What is too old anyway is forgotten. */
function bounded(revocations: OwnRevocations, now: number): OwnRevocations {
  if (Object.keys(revocations.ids).length <= MAX_REVOCATIONS) return revocations;
  const entries = Object.entries(revocations.ids)
    .filter(([, issuedAt]) => now - issuedAt < HANDLE_LIFE_MS && issuedAt > revocations.notBefore)
    .sort(([, a], [, b]) => b - a);
  const dropped = entries.slice(MAX_REVOCATIONS * 0.9);
  const notBefore = Math.max(revocations.notBefore, dropped[0]?.[1] ?? 0);
  return { notBefore, ids: Object.fromEntries(entries.filter(([, issuedAt]) => issuedAt > notBefore)) };
}
