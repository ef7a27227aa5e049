// Whether a server is one that can be used, by what it says of itself.

import type { Hello } from './link.ts';
import { RedisError } from './redis-error.ts';

/** The least version: RESP3, users with rights, and scripts whose effects are what is replicated. */
const LEAST = [6, 2] as const;

/** Throws RedisError `unusable` where it cannot be: too old, a replica, a Sentinel. `where` is for the message. */
export function checkServer({ server, version, role, mode }: Hello, where: string, isFromSentinel: boolean): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (mode === 'sentinel') {
    const message = `${where} is a Sentinel: set store.sentinel to the name of the master, or store.url to the server`;
    throw new RedisError('unusable', message);
  }
  if (!(major > LEAST[0] || (major === LEAST[0] && minor >= LEAST[1]))) {
    const found = version === '' ? 'tells no version' : `has version ${version.slice(0, 20)}`;
    throw new RedisError('unusable', `${where} ${found}; Redis 6.2 or Valkey 7.2 is the least that works`);
  }
  if (mode === 'cluster' || role === 'master') return;
  // After a failover Sentinels may name the old master for a moment.
  if (isFromSentinel) throw new RedisError('offline', `${where} is not the master (any more)`);
  const message = `${where} is a replica (${server} says so), which takes no writes: set store.url to its master, or store.sentinel`;
  throw new RedisError('unusable', message);
}
