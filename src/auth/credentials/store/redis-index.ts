// Which records of a kind there are at a shared store, whose they are and when they end: so that there are not too many,
// and so that all of one owner can be found. Owners stand in it as marks that nobody can read.

import type { RedisConnection } from '../../../redis/connection.ts';
import type { Reply } from '../../../redis/link.ts';
import { Script } from '../../../redis/script.ts';

/**
 * The index of a kind is the sorted set `idx:KIND` of `OWNER:ID` by the time they end, and the hash `idx:KIND:n` of how
 * many each owner has. Somebody else may have written into both.
 */
const DROP = `local function drop(member)
  if redis.call('ZREM', KEYS[1], member) == 0 then return end
  local owner = string.match(member, '^([^:]*):') or ''
  local left = (tonumber(redis.call('HGET', KEYS[2], owner) or '') or 0) - 1
  if left > 0 then redis.call('HSET', KEYS[2], owner, left) else redis.call('HDEL', KEYS[2], owner) end
end
`;

/**
 * KEYS: index, counts. ARGV: id, owner, life in ms, most of the kind, how long the index is kept in ms. Notes a record;
 * answers the members of those that have to give way, the one that ends first of the owner that has most before all
 * others. They stay, and are answered again, until somebody has ended them and dropped them: whoever is answered may
 * never hear of it. An index far larger than it can be by our own hands is begun anew: to search it would hold up the
 * server.
 */
export const INDEX_NOTE = new Script(
  'index-note',
  `local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
${DROP}if redis.call('ZCARD', KEYS[1]) > 2 * ARGV[4] + 1000 then redis.call('DEL', KEYS[1], KEYS[2]) end
local own = ARGV[2] .. ':' .. ARGV[1]
if redis.call('ZADD', KEYS[1], now + ARGV[3], own) == 1 then
  redis.call('HSET', KEYS[2], ARGV[2], (tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or '') or 0) + 1)
end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)) do drop(old) end
local over, goes = {}, {}
local function first(owner)
  for at = 0, redis.call('ZCARD', KEYS[1]), 500 do
    for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'LIMIT', at, 500)) do
      if one ~= own and not goes[one] and string.sub(one, 1, #owner + 1) == owner .. ':' then return one end
    end
  end
end
local left = redis.call('ZCARD', KEYS[1])
local has = {}
if left > tonumber(ARGV[4]) then
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do has[all[i]] = tonumber(all[i + 1]) or 0 end
end
for tries = 1, 20 do
  if left <= tonumber(ARGV[4]) then break end
  local most, count = '', -1
  for owner, n in pairs(has) do
    if n > count or (n == count and owner < most) then most, count = owner, n end
  end
  local found = first(most)
  if found then
    goes[found] = true
    over[#over + 1] = found
    has[most] = count - 1
    left = left - 1
  else
    redis.call('HDEL', KEYS[2], most)
    has[most] = nil
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return over`,
  { keys: ['index', 'counts'], args: ['id', 'owner', '1000', '0', '1000'] },
);

/** KEYS: index, counts. ARGV: id, owner. */
export const INDEX_DROP = new Script(
  'index-drop',
  `${DROP}drop(ARGV[2] .. ':' .. ARGV[1])
return 1`,
  { keys: ['index', 'counts'], args: ['id', 'owner'] },
);

/** KEYS: index. ARGV: owner, most of the kind. Answers the ids of all of one owner, as far as it is searched. */
export const INDEX_OF = new Script(
  'index-of',
  `local own = {}
for at = 0, math.min(redis.call('ZCARD', KEYS[1]), 2 * ARGV[2] + 1000), 500 do
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'LIMIT', at, 500)) do
    if string.sub(one, 1, #ARGV[1] + 1) == ARGV[1] .. ':' then own[#own + 1] = string.sub(one, #ARGV[1] + 2) end
  end
end
return own`,
  { keys: ['index'], args: ['owner', '10'] },
);

/** A record as an index has it: its id, and the mark of its owner. */
export interface Indexed {
  readonly id: string;
  readonly owner: string;
}

/** What the index needs of the connection. */
export type IndexConnection = Pick<RedisConnection, 'prefix' | 'script'>;

/** An index that nobody writes to is forgotten after this, ms: longer than any record lives. */
const KEPT_MS = 8 * 24 * 3_600_000;

/** The index of one kind. Methods throw RedisError. */
export class RedisIndex {
  readonly #connection: IndexConnection;
  readonly #keys: readonly [string, string];
  readonly #max: number;

  constructor(connection: IndexConnection, kind: string, max: number) {
    this.#connection = connection;
    this.#keys = [`${connection.prefix}idx:${kind}`, `${connection.prefix}idx:${kind}:n`];
    this.#max = max;
  }

  /**
   * Notes a record that ends after `lifeMs`; answers those that have to give way. Whoever has ended one drops it: until
   * then it counts, and is answered again. `max`: others than usual.
   */
  async note(id: string, owner: string, lifeMs: number, max = this.#max): Promise<readonly Indexed[]> {
    const args = [id, owner, String(lifeMs), String(max), String(KEPT_MS)];
    const members = texts(await this.#connection.script({ script: INDEX_NOTE, keys: this.#keys, args }));
    return members.map((member) => {
      const colonAt = member.indexOf(':');
      return { owner: member.slice(0, colonAt), id: member.slice(colonAt + 1) };
    });
  }

  async drop({ id, owner }: Indexed): Promise<void> {
    await this.#connection.script({ script: INDEX_DROP, keys: this.#keys, args: [id, owner] });
  }

  async of(owner: string): Promise<readonly string[]> {
    return texts(
      await this.#connection.script({ script: INDEX_OF, keys: [this.#keys[0]], args: [owner, String(this.#max)] }),
    );
  }
}

function texts(reply: Reply): readonly string[] {
  return Array.isArray(reply) ? (reply as readonly Reply[]).filter((one) => typeof one === 'string') : [];
}
