// What instances share beside tokens, over the connection of a shared store: logins, channels, the index of sessions.
// Loaded only where such a store is configured.

import type { RedisStoreConfig } from '../config/sections/store.ts';
import type { RedisConnection } from '../redis/connection.ts';
import { RedisSessionIndex } from './callers/redis-session-index.ts';
import type { SessionIndex } from './callers/session-index.ts';
import { createSealer, readKey } from './credentials/store/encryption.ts';
import type { SharedRecords } from './credentials/store/records.ts';
import { RedisRecords } from './credentials/store/redis-records.ts';

/** What it is made of. Nothing to close: the connection is its maker's. */
export interface SharedParts {
  readonly records: SharedRecords;
  /** `mark` makes an owner unreadable, the same at all instances. */
  sessionIndex(mark: (owner: string) => string): SessionIndex;
}

export function createSharedParts(
  { encryptionKey, encryptionKeyPrevious: previous }: Pick<RedisStoreConfig, 'encryptionKey' | 'encryptionKeyPrevious'>,
  connection: RedisConnection,
): SharedParts {
  const sealer = createSealer({
    secret: async () => readKey('encryption_key', encryptionKey),
    previous: previous && (async () => readKey('encryption_key_previous', previous)),
    salt: () => connection.meta?.salt ?? null,
  });
  return {
    records: new RedisRecords({ connection, sealer }),
    sessionIndex: (mark) => new RedisSessionIndex({ connection, mark }),
  };
}
