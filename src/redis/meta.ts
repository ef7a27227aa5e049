// What all instances of a store agree on: the form of its records, the salt of their encryption, and the name of the
// gateway that they are together. Whoever comes to an empty server first writes it.

import { randomBytes } from 'node:crypto';
import type { Reply } from './link.ts';
import { RedisError } from './redis-error.ts';
import { NOW, Script } from './script.ts';

/** The form of records that this version reads and writes. */
export const SCHEMA = 1;

/** What was agreed on. */
export interface StoreMeta {
  /** 32 hex digits: of what `encryption_key` is made into keys with. */
  readonly salt: string;
  /** 16 hex digits: the same for all instances of this gateway, and for no other. */
  readonly gatewayId: string;
}

/**
 * KEYS: meta. ARGV: schema, salt, gateway id. Answers all three, whether they were made now, and how long ago all of it
 * was made, ms: below 0 where that was not noted.
 */
export const META = new Script(
  'meta',
  `${NOW}local made = 0
for i, field in ipairs({'schema', 'salt', 'gateway'}) do
  if not redis.call('HGET', KEYS[1], field) then
    redis.call('HSET', KEYS[1], field, ARGV[i])
    made = made + 1
  end
end
local since = tonumber(redis.call('HGET', KEYS[1], 'since'))
if made == 3 and not since then
  since = now
  redis.call('HSET', KEYS[1], 'since', string.format('%.0f', now))
end
return {redis.call('HGET', KEYS[1], 'schema'), redis.call('HGET', KEYS[1], 'salt'),
  redis.call('HGET', KEYS[1], 'gateway'), made > 0 and 1 or 0, since and now - since or -1}`,
  { keys: ['meta'], args: [String(SCHEMA), '0'.repeat(32), '0'.repeat(16)] },
);

/** What META answered, of the server that was asked. */
export interface FoundMeta extends StoreMeta {
  readonly isNew: boolean;
  /** How long ago the server was empty; null where that is not known. */
  readonly ageMs: number | null;
}

/** What would be written to an empty server. */
export function newMeta(): StoreMeta {
  return { salt: randomBytes(16).toString('hex'), gatewayId: randomBytes(8).toString('hex') };
}

/** What META answered. Throws RedisError `unusable` for records of a later version, or for what is none of ours. */
export function readMeta(reply: Reply): FoundMeta {
  const [schema, salt, gatewayId, made, age] = Array.isArray(reply) ? (reply as readonly Reply[]) : [];
  const number = typeof schema === 'string' && /^\d{1,9}$/.test(schema) ? Number(schema) : 0;
  if (number > SCHEMA) {
    const message =
      `Redis holds records of a later version of this gateway (schema ${number}, this one knows ${SCHEMA}): update it, ` +
      'or use another store.prefix';
    throw new RedisError('unusable', message);
  }
  const isOurs = number > 0 && typeof salt === 'string' && /^[0-9a-f]{32}$/.test(salt) && typeof gatewayId === 'string';
  if (!isOurs || !/^[0-9a-f]{16}$/.test(gatewayId)) {
    const message = 'Redis holds something else under our prefix (the hash :meta): use another store.prefix';
    throw new RedisError('unusable', message);
  }
  return { salt, gatewayId, isNew: made === 1, ageMs: typeof age === 'number' && age >= 0 ? age : null };
}
