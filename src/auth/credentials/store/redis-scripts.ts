// The scripts of a store that instances share, each one step at the server, and what they answer. Each may be sent again
// with the same arguments when its reply was lost. Generations travel as texts: Lua would round what it prints.

import { NOW, Script } from '../../../redis/script.ts';

/**
 * An entry is the hash `tok:ID`: `d` the sealed value, `v` its version, `g` its generation; `i` is the highest
 * generation that was begun and is not stored. All are missing where nothing was ever stored, and `d` where something
 * was only begun. What is no generation, because somebody else wrote it, counts as 0.
 */
const READ_ENTRY = `local function generation(text)
  return text and #text > 0 and #text <= 14 and not string.find(text, '%D') and text or '0'
end
local function entry(key)
  return generation(redis.call('HGET', key, 'g')), redis.call('HGET', key, 'v') or '',
    redis.call('HGET', key, 'd') or '', generation(redis.call('HGET', key, 'i'))
end
`;

/** What the version of an entry begins with that was taken away because nobody could open it. */
export const GONE = 'gone-';

const TELL = `local function tell(channel, id, v) redis.call('PUBLISH', channel, id .. ' ' .. v) end
`;

/** KEYS: entry. Answers g, v, d, and for how long it is kept in ms (below 0: for ever, or not there). */
export const READ = new Script(
  'read',
  `${READ_ENTRY}local g, v, d = entry(KEYS[1])
return {g, v, d, redis.call('PTTL', KEYS[1])}`,
  { keys: ['entry'], args: [] },
);

/**
 * KEYS: lock, entry. ARGV: owner, lease in ms. Takes the lock if nobody else holds it; one without an end is nobody's.
 * Answers 1, g, v, d, for how long it is kept, i; or 0, who holds it, and for how long.
 */
export const LOCK = new Script(
  'lock',
  `${READ_ENTRY}local owner = redis.call('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if owner and owner ~= ARGV[1] and left >= 0 then return {0, owner, left} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local g, v, d, i = entry(KEYS[2])
return {1, g, v, d, redis.call('PTTL', KEYS[2]), i}`,
  { keys: ['lock', 'entry'], args: ['check', '1000'], again: ['another', '1000'] },
);

/**
 * KEYS: lock, entry. ARGV: owner, version that was read, lease in ms, a generation that is known. Begins a generation
 * above all others and prolongs the lock, if that is still the owner's and the entry is what was read. Answers the
 * generation, or 'lost' or 'changed'.
 */
export const INTENT = new Script(
  'intent',
  `${READ_ENTRY}${NOW}if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
local g, v, d, i = entry(KEYS[2])
if v ~= ARGV[2] then return 'changed' end
-- One of a year to come was begun by nobody.
local begun = tonumber(i) > now + 31536000000 and 0 or tonumber(i)
local next = string.format('%.0f', math.max(math.max(tonumber(g), begun, tonumber(ARGV[4])) + 1, now))
redis.call('HSET', KEYS[2], 'i', next)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return next`,
  { keys: ['lock', 'entry'], args: ['check', '', '1000', '0'] },
);

/** Writes an entry; `kept` in ms, 0 for ever. */
const WRITE_ENTRY = `local function write(key, g, v, d, kept)
  redis.call('HSET', key, 'g', g, 'v', v, 'd', d)
  if tonumber(generation(redis.call('HGET', key, 'i'))) <= tonumber(g) then redis.call('HDEL', key, 'i') end
  if kept ~= '0' then redis.call('PEXPIRE', key, kept) else redis.call('PERSIST', key) end
end
`;

/**
 * KEYS: entry, channel. ARGV: id, g, v, d, how long it is kept. Stores by generation, whoever holds the lock. Answers 2
 * where it wrote, 1 where it is there already, or 0 and what counts more, as READ answers it.
 */
export const PUT = new Script(
  'put',
  `${READ_ENTRY}${WRITE_ENTRY}${TELL}local g, v, d = entry(KEYS[1])
if tonumber(g) > tonumber(ARGV[2]) then return {0, g, v, d, redis.call('PTTL', KEYS[1])} end
if v == ARGV[3] and g == ARGV[2] then return {1} end
write(KEYS[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
tell(KEYS[2], ARGV[1], ARGV[3])
return {2}`,
  { keys: ['entry', 'changes'], args: ['check', '1', 'v1', 'd', '1000'] },
);

/**
 * KEYS: entry, lock, channel. ARGV: id, version that is expected, v, d, owner of the lock or '', g. Stores by comparison,
 * under a generation that has to be higher than what is there. Answers 'ok', 'lost' or 'changed'.
 */
export const REPLACE = new Script(
  'replace',
  `${READ_ENTRY}${WRITE_ENTRY}${TELL}if ARGV[5] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[5] then return 'lost' end
local g, v = entry(KEYS[1])
if v == ARGV[3] and g == ARGV[6] then return 'ok' end
if v ~= ARGV[2] or tonumber(g) >= tonumber(ARGV[6]) then return 'changed' end
write(KEYS[1], ARGV[6], ARGV[3], ARGV[4], '0')
tell(KEYS[3], ARGV[1], ARGV[3])
return 'ok'`,
  { keys: ['entry', 'lock', 'changes'], args: ['check', 'v1', 'v2', 'd', '', '2'] },
);

/** KEYS: lock, channel. ARGV: owner, id. Gives the lock back, if it is the owner's, and tells who waits. */
export const RELEASE = new Script(
  'release',
  `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', KEYS[2], 'free ' .. ARGV[2])
return 1`,
  { keys: ['lock', 'changes'], args: ['check', 'check'] },
);

/** KEYS: lock. ARGV: owner, lease in ms. Answers whether the lock is the owner's. */
export const EXTEND = new Script(
  'extend',
  `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`,
  { keys: ['lock'], args: ['check', '1000'] },
);

/**
 * KEYS: entry, where it is kept, channel. ARGV: version, how long it is kept in ms, '1' to take it away, id. Keeps aside
 * what nobody can open; nothing that was kept before is overwritten. That it was taken away is told: whoever knows what
 * was there before writes it again.
 */
export const KEEP_ASIDE = new Script(
  'keep-aside',
  `${READ_ENTRY}${TELL}${NOW}local g, v, d = entry(KEYS[1])
if v ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], v, d)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if ARGV[3] == '1' then
  redis.call('HDEL', KEYS[1], 'g', 'v', 'd')
  tell(KEYS[3], ARGV[4], '${GONE}' .. now)
end
return 1`,
  { keys: ['entry', 'damaged', 'changes'], args: ['v2', '1000', '1', 'check'] },
);

/** All of them, in an order in which each trial finds what the one before has left. */
export const STORE_SCRIPTS: readonly Script[] = [READ, LOCK, INTENT, PUT, REPLACE, KEEP_ASIDE, EXTEND, RELEASE];
