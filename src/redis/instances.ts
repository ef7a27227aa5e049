// The instances of this gateway, by their last sign of life. An instance that ends takes itself out; one that was killed
// is forgotten a minute later.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Reply } from './link.ts';
import { NOW, Script } from './script.ts';

/** An instance that gives no sign of life for this long is none. */
export const INSTANCE_LIFE_MS = 60_000;

/** One of them; times are the server's. */
export interface Instance {
  readonly id: string;
  readonly seenAt: number;
}

/**
 * KEYS: inst. ARGV: id, life in ms. Answers the server's time in ms, then ids and times by turns, and whether the server
 * did not know of the instance.
 */
export const SIGN_OF_LIFE = new Script(
  'sign-of-life',
  `${NOW}local isNew = redis.call('ZADD', KEYS[1], now, ARGV[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2], 'LIMIT', 0, 100)
for _, id in ipairs(gone) do redis.call('ZREM', KEYS[1], id) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local seen = redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[2], now, 'WITHSCORES', 'LIMIT', 0, 1000)
return {tostring(now), seen, isNew}`,
  { keys: ['inst'], args: ['check', '1000'] },
);

/** A name for this process that people recognise: its host, and something by chance. */
export function newInstanceId(): string {
  const host =
    hostname()
      .replace(/[^A-Za-z0-9.-]/g, '')
      .slice(0, 64) || 'instance';
  return `${host}-${randomBytes(4).toString('hex')}`;
}

/** What SIGN_OF_LIFE answers. */
export interface SignReply {
  readonly nowMs: number;
  readonly instances: readonly Instance[];
  /** The server did not know of this instance. */
  readonly isNew: boolean;
}

/** Reads it. */
export function readInstances(reply: Reply): SignReply {
  const [now, seen, isNew] = Array.isArray(reply) ? (reply as readonly Reply[]) : [];
  const flat = Array.isArray(seen) ? (seen as readonly Reply[]) : [];
  const instances: Instance[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) instances.push({ id: String(flat[i]), seenAt: Number(flat[i + 1]) });
  return { nowMs: Number(now), instances, isNew: isNew === 1 };
}
