// How the store is, for the status and for /readyz: the one of this process, or the one that instances share.

import type { StoreState } from '../../auth/credentials/store/store.ts';
import type { StoreConfig } from '../../config/sections/store.ts';
import type { ServerContext } from '../context.ts';

/** The store in the status document. Of one that instances share there is more. */
export interface StoreStatus extends StoreState, Partial<SharedStoreStatus> {
  readonly type: StoreConfig['type'];
}

/** The server behind a store that instances share, and who they are. */
interface SharedStoreStatus {
  /** Since when it is in this state. */
  readonly since: string;
  /** Where it is, or was last; null before the first connection, like what follows. */
  readonly server: string | null;
  readonly version: string | null;
  /** The best of the last minute. */
  readonly roundTripMs: number | null;
  /** How far its clock is ahead of ours. */
  readonly clockAheadMs: number | null;
  /** How often something may have been missed, since the start. */
  readonly gaps: number;
  /** The name of this instance. */
  readonly instance: string;
  /** All that gave a sign of life in the last minute: as told by the server when it was heard last. */
  readonly instances: readonly { readonly id: string; readonly lastSeenS: number }[];
  /** Whether they share the platform's limits: `own` while each paces itself, for want of the server. */
  readonly quota: 'shared' | 'own';
}

type StoreContext = Pick<ServerContext, 'redis' | 'quota' | 'store' | 'runtime'>;

/** `credentialError` is what a credential could not store. */
export function storeStatus(
  { redis, quota, store, runtime }: StoreContext,
  credentialError: string | null,
): StoreStatus {
  const { type } = runtime.config.store;
  const own = store.state();
  if (redis === null) return { type, ...own, error: credentialError ?? own.error };
  const { state, sinceAt, error, server, version, roundTripMs, gaps } = redis.status();
  const now = redis.time.now();
  return {
    type,
    ...own,
    state: worseOf(own.state, state),
    // What a credential could not store while it was away, it keeps and tells later.
    error: error ?? own.error,
    since: new Date(sinceAt).toISOString(),
    server,
    version,
    roundTripMs: roundTripMs === null ? null : Math.round(roundTripMs * 100) / 100,
    clockAheadMs: roundTripMs === null ? null : Math.round(redis.time.aheadMs),
    gaps,
    quota: quota?.status().quota ?? 'own',
    instance: redis.instanceId,
    instances: redis.instances.map(({ id, seenAt }) => ({
      id,
      lastSeenS: Math.max(0, Math.round((now - seenAt) / 1000)),
    })),
  };
}

/** How a shared store is; null where each has a store of its own. Being ready does not depend on it. */
export function sharedStoreState({ redis, store }: Pick<StoreContext, 'redis' | 'store'>): StoreState['state'] | null {
  return redis === null ? null : worseOf(store.state().state, redis.status().state);
}

const RANKS = ['ok', 'degraded', 'down'] as const;

function worseOf(a: StoreState['state'], b: StoreState['state']): StoreState['state'] {
  return RANKS[Math.max(RANKS.indexOf(a), RANKS.indexOf(b))] ?? 'down';
}

/** Where tokens are kept, in words. */
export function storeWords({ type, state, server, version, since, instances }: StoreStatus): string {
  if (type !== 'redis') return `tokens are kept in ${type === 'file' ? 'an encrypted file' : 'memory'}`;
  const where = server === null || server === undefined ? 'redis' : `${version} at ${server}`;
  const others = (instances?.length ?? 1) - 1;
  const shared =
    others < 1
      ? 'no other instance is there'
      : `shared with ${others} other ${others === 1 ? 'instance' : 'instances'}`;
  const condition = state === 'ok' ? '' : `, ${state} since ${since}`;
  return `tokens are kept encrypted in ${where} (${shared}${condition})`;
}
