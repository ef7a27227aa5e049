// What all instances of a store agree on: the form of its records, the salt of their encryption, and the name of the
// gateway that they are together. Whoever comes to an empty server first writes it.

import { randomBytes } from 'node:crypto';
import type { Reply } from './link.ts';
import { RedisError } from './redis-error.ts';
import { Script } from './script.ts';

/** The form of records that this version reads and writes. */
export const SCHEMA = 1;

/** What was agreed on. */
export interface StoreMeta {
  /** 32 hex digits: of what `encryption_key` is made into keys with. */
  readonly salt: string;
  /** 16 hex digits: the same for all instances of this gateway, and for no other. */
  readonly gatewayId: string;
}

/** KEYS: meta. ARGV: schema, salt, gateway id. Answers all three, and whether they were made now. */
export const META = new Script(
  'meta',
  `local made = 0
for i, field in ipairs({'schema', 'salt', 'gateway'}) do
  if not redis.call('HGET', KEYS[1], field) then
    redis.call('HSET', KEYS[1], field, ARGV[i])
    made = 1
  end
end
return {redis.call('HGET', KEYS[1], 'schema'), redis.call('HGET', KEYS[1], 'salt'),
  redis.call('HGET', KEYS[1], 'gateway'), made}`,
  { keys: ['meta'], args: [String(SCHEMA), '0'.repeat(32), '0'.repeat(16)] },
);

/** What would be written to an empty server. */
export function newMeta(): StoreMeta {
  return { salt: randomBytes(16).toString('hex'), gatewayId: randomBytes(8).toString('hex') };
}

/** What META answered. Throws RedisError `unusable` for records of a later version, or for what is none of ours. */
export function readMeta(reply: Reply): StoreMeta & { readonly isNew: boolean } {
  const [schema, salt, gatewayId, made] = Array.isArray(reply) ? (reply as readonly Reply[]) : [];
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
  return { salt, gatewayId, isNew: made === 1 };
}
