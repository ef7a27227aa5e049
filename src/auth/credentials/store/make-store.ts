// The store that [store] describes, and the connection to it where instances share one.

import type { Clock } from '../../../clock.ts';
import type { StoreConfig } from '../../../config/sections/store.ts';
import type { Log } from '../../../logging/log.ts';
import type { RedisConnection, RedisConnectionDeps } from '../../../redis/connection.ts';
import { FileStore } from './file.ts';
import { createMemoryStore } from './memory.ts';
import { StoreError, type TokenStore } from './store.ts';

/** A store with the connection that it uses: null where it is this process's own. */
export interface MadeStore {
  readonly store: TokenStore;
  readonly redis: RedisConnection | null;
}

/** What a store is made with. */
export interface MakeStoreDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** False: only tokens with a refresh token are kept (`TokenStore.isDurable`). */
  readonly isDurable?: boolean;
  /** Whether this process is an instance of the gateway, which others count. Default: true. */
  readonly isInstance?: boolean;
  /** Told of each command to a shared store. */
  readonly onCommand?: RedisConnectionDeps['onCommand'];
}

/** Makes it; nothing is opened. The code of a shared store is loaded only where one is configured. */
export async function makeStore(config: StoreConfig, deps: MakeStoreDeps): Promise<MadeStore> {
  const { onCommand, isInstance = true, ...rest } = deps;
  if (config.type !== 'redis') {
    const store = config.type === 'file' ? new FileStore({ ...config, ...rest }) : createMemoryStore(rest);
    return { store, redis: null };
  }
  const [{ RedisConnection: Connection }, { RedisStore }] = await Promise.all([
    import('../../../redis/connection.ts'),
    import('./redis.ts'),
  ]);
  const redis = new Connection({ config, ...rest, isInstance, ...(onCommand && { onCommand }) });
  return { store: new RedisStore({ ...config, ...rest, connection: redis }), redis };
}

/**
 * Opens both. A server that is away is waited for in the background; throws StoreError for one that refuses us, and for
 * a folder that cannot be used.
 */
export async function openStore({ store, redis }: MadeStore): Promise<void> {
  await redis?.open().catch((error: Error) => {
    throw new StoreError('unusable', error.message);
  });
  await store.open();
}

/** Writes what is left, as far as that can be done soon, and lets go of both. */
export async function closeStore({ store, redis }: MadeStore): Promise<void> {
  await store.close();
  await redis?.close();
}
