// TICK: the script with which an instance tells what it sent of one limit and is given permits for what is left. One row
// for each instance, written whole: a lost tick heals with the next one.

import { Script } from '../../redis/script.ts';
import { MET_FOR_MS } from './platform-limit.ts';
import { AHEAD_MS, DAY_MS, LARGEST, LATEST_MS, MOST_ROWS, PERMIT_LIFE_MS } from './quota-report.ts';
import { MINUTE_MS } from './rate-window.ts';
import { CLIENT_GAP_MS, HALF_GAP_MS, LENIENCY, LITTLE } from './shares.ts';

/** When places open is reckoned in steps of this. */
const STEP_MS = 50;
/** The same as it is told to an instance, which needs it to foretell waits and to go on alone. */
const TOLD_STEP_MS = 1_000;
const LONGEST_ROW = 16_384;

/** How the script knows the time; a test passes its own. */
const SERVER_TIME = "(function() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end)()";

/**
 * The text of TICK. KEYS: the limit's hash, the key that tells since when rows are kept, the channel. ARGV: a report, and
 * the end of the hash's key, which is told in the channel where a pause or a limit is news.
 *
 * Fields of the hash: `p` until when calls are paused; `l` a limit that a 429 told, and until when it is believed; `g`
 * since when rows may be missing; and rows, `i` before their names. What cannot be read is removed, and nothing given
 * out for a while: the instance that wrote it, if one did, writes it again.
 */
export function tickScript(now = SERVER_TIME): string {
  return `
local W, D, H, STEP, TOLD = ${MINUTE_MS}, ${PERMIT_LIFE_MS}, ${AHEAD_MS}, ${STEP_MS}, ${TOLD_STEP_MS}
local now = ${now}
local me, sequence, acknowledged = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local limit, metLeft, pause = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local inFlight, held, spare = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local granting, sharers = ARGV[10] == '1', tonumber(ARGV[11])
local counted, clientText, name = ARGV[12], ARGV[13], ARGV[14]

local function number(text, most)
  local value = tonumber(text)
  if value and value >= 0 and value <= most then return value end
end
local function int(value) return string.format('%.0f', value) end

-- What stands in the place of ours is replaced; any other refusal is the caller's to know.
local function refused(reply)
  return type(reply) == 'table' and reply.err and not string.find(reply.err, 'WRONGTYPE', 1, true)
end

-- Since when rows are kept: a database that lost them has lost this, too.
local epoch = redis.pcall('GET', KEYS[2])
if refused(epoch) then return epoch end
epoch = type(epoch) == 'string' and number(epoch, now) or nil
if not epoch then
  epoch = now
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[2], int(now))
end

local isSound = true
local size = redis.pcall('HLEN', KEYS[1])
if refused(size) then return size end
local flat = {}
if type(size) ~= 'number' or size > ${MOST_ROWS} then
  redis.call('DEL', KEYS[1])
  isSound = false
else
  flat = redis.call('HGETALL', KEYS[1])
end

local guard, pausedUntil, met, metUntil = 0, 0, 0, 0
local rows = {}
local mine
local function parse(field, text)
  if #text > ${LONGEST_ROW} then return nil end
  local at, seq, rowLimit, out, rowSharers, buckets, clients =
    string.match(text, '^1 (%d+) (%d+) (%d+) (%d+) (%d+)|([%d:,]*)|([%w_:,-]*)$')
  local row = {
    field = field, at = number(at, 1e15), seq = number(seq, 1e15), limit = number(rowLimit, ${LARGEST}),
    out = number(out, 1e9), sharers = number(rowSharers, 1e6), buckets = buckets, clients = clients,
  }
  if not (row.at and row.seq and row.limit and row.out and row.sharers) then return nil end
  -- A clock that was set back: it counts from now.
  row.age = math.max(0, now - row.at)
  return row
end
for index = 1, #flat, 2 do
  local field, text = flat[index], flat[index + 1]
  local kind = string.sub(field, 1, 1)
  if field == 'p' then pausedUntil = math.min(number(text, 1e15) or 0, now + ${DAY_MS})
  elseif field == 'g' then guard = math.min(number(text, 1e15) or 0, now)
  elseif field == 'l' then
    local value, till = string.match(text, '^(%d+) (%d+)$')
    met, metUntil = number(value, ${LARGEST}) or 0, math.min(number(till, 1e15) or 0, now + ${MET_FOR_MS})
  elseif kind == 'i' then
    local row = parse(field, text)
    if not row then
      redis.call('HDEL', KEYS[1], field)
      isSound = false
    elseif field == 'i' .. me then mine = row
    elseif row.age > W + D then redis.call('HDEL', KEYS[1], field)
    else rows[#rows + 1] = row
    end
  end
end
if mine and mine.seq >= sequence then return {0} end
-- A row that we were told of is gone, or older: others may be as well.
if acknowledged > 0 and (not mine or mine.seq < acknowledged) then isSound = false end
if not isSound then
  guard = now
  redis.call('HSET', KEYS[1], 'g', int(now))
end
local guardLeft = math.max(0, D - (now - math.max(guard, epoch)))

-- What others are to know of the platform's last refusal.
local isNews = false
if pause > 0 and now + pause > pausedUntil + STEP then
  pausedUntil = now + math.min(pause, ${DAY_MS})
  redis.call('HSET', KEYS[1], 'p', int(pausedUntil))
  isNews = true
end
if metLeft > 0 and limit > 0 and (now + metLeft > metUntil + STEP or met == 0) then
  isNews = isNews or met ~= limit
  met, metUntil = limit, now + metLeft
  redis.call('HSET', KEYS[1], 'l', int(met) .. ' ' .. int(metUntil))
end
if metUntil <= now then met = 0 end

-- The sums.
local known = limit
local function learn(value) if value > 0 and (known == 0 or value < known) then known = value end end
learn(met)
local instances, ids = 1, { [string.match(me, '^[^:]*')] = true }
local slots, lastSlot = {}, 0
local used, elsewhere, standing = 0, 0, 0
local function opens(left, count)
  if left <= 0 or count <= 0 then return 0 end
  local slot = math.ceil(math.min(left, ${LATEST_MS} + D) / STEP)
  slots[slot] = (slots[slot] or 0) + count
  if slot > lastSlot then lastSlot = slot end
  return count
end
local function sum(buckets, age)
  local total = 0
  for left, count in string.gmatch(buckets, '(%d+):(%d+)') do
    total = total + opens((number(left, 1e9) or 1e9) - age, number(count, 1e9) or 1e9)
  end
  return total
end
local clients, order, others = {}, {}, 0
local function note(text, isMine, isFresh)
  for id, waiting, served, recent in string.gmatch(text, '([%w_-]+):(%d+):(%d+):(%d+)') do
    local one = clients[id]
    if not one then
      one = { id = id, waiting = 0, mine = 0, served = 0, recent = 0, given = 0, own = 0 }
      clients[id] = one
      order[#order + 1] = one
    end
    if isFresh then
      local wish = number(waiting, 1e6) or 0
      one.waiting = one.waiting + wish
      one.recent = one.recent + (number(recent, 1e9) or 0)
      if isMine then one.mine = one.mine + wish end
    end
    one.served = one.served + (number(served, 1e9) or 0)
  end
end
for _, row in ipairs(rows) do
  local isFresh = row.age <= D
  elsewhere = elsewhere + sum(row.buckets, row.age)
  if isFresh then
    standing = standing + row.out
    elsewhere = elsewhere + row.out
  else
    -- Nothing was heard of it: what it had under way or was given may have been sent until its permits ended.
    elsewhere = elsewhere + opens(D + W - row.age, row.out)
  end
  if row.age <= W then note(row.clients, false, isFresh) end
  learn(row.limit)
  if isFresh then
    local id = string.match(row.field, '^i([^:]*)')
    if not ids[id] then
      ids[id] = true
      instances = instances + 1
    end
    if row.sharers > sharers then sharers = row.sharers end
  end
end
local own = sum(counted, 0)
used = elsewhere + own + inFlight + held
standing = standing + inFlight + held
note(clientText, true, true)
local free = known - used
local isOpen = granting and known > 0 and guardLeft == 0 and pausedUntil <= now

-- Places in the order in which they open: what is free now, and then what stops to count.
local openings = {}
for slot = 1, lastSlot do
  if slots[slot] then openings[#openings + 1] = { slot * STEP, slots[slot] } end
end
local gap = sharers >= 2 and known > 0 and math.max(${CLIENT_GAP_MS} / (sharers - 1), ${HALF_GAP_MS} / known) or nil
-- How many may be given at a moment so that the next ones lie no further apart than the gap, one after the other.
local function capAt(at, base)
  if not gap then return math.huge end
  local cap, cum = math.huge, base
  for _, opening in ipairs(openings) do
    local moment = opening[1]
    if moment - at > W then break end
    if moment > at then cap = math.min(cap, cum - (math.ceil((moment - at) / gap) - 1)) end
    cum = cum + opening[2]
  end
  return math.min(cap, cum - math.floor(W / gap))
end

local chance = (now * 7919 + sequence * 104729) % 1000 / 1000
-- Gives each of a list its part of an amount: the lowest first, until all are level. Gives what is this instance's.
local function fill(list, amount, keyOf)
  local wanted = 0
  for _, one in ipairs(list) do wanted = wanted + one.demand end
  local level = math.huge
  if wanted > amount then
    local low, high = math.huge, 0
    for _, one in ipairs(list) do
      local key = keyOf(one)
      low, high = math.min(low, key), math.max(high, key + one.demand)
    end
    for _ = 1, 40 do
      local middle, sumOf = (low + high) / 2, 0
      for _, one in ipairs(list) do sumOf = sumOf + math.min(one.demand, math.max(0, middle - keyOf(one))) end
      if sumOf > amount then high = middle else low = middle end
    end
    level = low
  end
  local own = 0
  for _, one in ipairs(list) do
    local given = level == math.huge and one.demand or math.min(one.demand, math.max(0, level - keyOf(one)))
    one.given = one.given + given
    local part = given * one.mine / math.max(1, one.waiting)
    one.own = one.own + part
    own = own + part
  end
  -- Parts of a place are rounded by chance: whoever asks more often shall not have more.
  return math.min(math.floor(amount), math.floor(own + chance + 1e-6)), math.min(wanted, math.floor(amount))
end

local permits, granted = {}, 0
-- Of the first places of a list, this instance's, evenly among them.
local function hand(places, total, own)
  local passed, got = 0, 0
  for _, place in ipairs(places) do
    if passed >= total then break end
    passed = math.min(total, passed + place[2])
    local due = math.floor(passed * own / total + 0.5) - got
    if due > 0 then
      got = got + due
      permits[#permits + 1] = int(place[1]) .. ':' .. int(due)
    end
  end
  granted = granted + got
end

local totalWaiting = 0
for _, one in ipairs(order) do totalWaiting = totalWaiting + one.waiting end
local share = known > 0 and ${LENIENCY} * math.min(${LITTLE}, known / math.max(1, sharers)) or 0
local spareMost = 0
if isOpen then
  local places, ahead, owed = {}, 0, math.max(0, -free)
  if free > 0 then
    places[1] = { 0, free }
    ahead = free
  end
  for _, opening in ipairs(openings) do
    if opening[1] > H then break end
    local count = opening[2]
    local paid = math.min(owed, count)
    owed, count = owed - paid, count - paid
    if count > 0 then
      places[#places + 1] = { opening[1], count }
      ahead = ahead + count
    end
  end
  -- First those who asked for less than their share of a minute.
  local little = {}
  for _, one in ipairs(order) do
    one.rest = one.waiting
    if sharers >= 2 and one.waiting > 0 and one.served < share then
      one.demand = math.min(one.waiting, math.ceil(share - one.served))
      one.rest = one.waiting - one.demand
      little[#little + 1] = one
    end
  end
  local own, first = fill(little, ahead, function(one) return one.served end)
  if first > 0 then hand(places, first, own) end
  -- Then all others, of what need not be kept for the former.
  local rest, much, passed = {}, 0, 0
  for _, place in ipairs(places) do
    local from = passed
    passed = passed + place[2]
    local count = math.min(passed - math.max(from, first), passed - first)
    if count > 0 then
      local allowed = capAt(place[1], free - first)
      local more = math.min(passed - first, allowed) - much
      if more > 0 then
        rest[#rest + 1] = { place[1], math.floor(more) }
        much = much + math.floor(more)
      end
    end
  end
  local many = {}
  for _, one in ipairs(order) do
    if one.rest > 0 then
      one.demand = one.rest
      many[#many + 1] = one
    end
  end
  local ownRest, second = fill(many, much, function(one) return math.min(one.served, share) + one.recent end)
  if second > 0 then hand(rest, second, ownRest) end
  -- Where nobody waits any more, some to have at hand.
  local room = math.min(free, gap and capAt(0, free) or free) - first - second
  if first + second >= totalWaiting then
    spareMost = math.max(0, math.floor((room + held) / (2 * instances)))
    local more = math.min(spare - held, math.floor(room / (2 * instances)))
    if more > 0 then
      permits[#permits + 1] = '0:' .. int(more)
      granted = granted + more
    end
  end
end

-- Whoever is told only now that it is to pace itself does so at once: that is not to be given to others meanwhile.
local pace = 0
if granting and guardLeft > 0 then pace = math.max(0, math.floor(known / instances) - own - inFlight) end

-- The row, with what was given.
local told, waiters, part = {}, 0, 0
for _, one in ipairs(order) do
  if one.waiting > 0 then
    waiters = waiters + 1
    part = part + one.mine / one.waiting
  end
end
for id, waiting, served, recent in string.gmatch(clientText, '([%w_-]+):(%d+):(%d+):(%d+)') do
  local given = math.floor(clients[id].own + 0.5)
  told[#told + 1] = id .. ':' .. int(math.max(0, waiting - given)) .. ':' .. int(served + given) .. ':' ..
    int(recent + given)
end
local row = table.concat({ '1', int(now), int(sequence), int(limit), int(inFlight + held + granted + pace), int(sharers) }, ' ')
redis.call('HSET', KEYS[1], 'i' .. me, row .. '|' .. counted .. '|' .. table.concat(told, ','))
redis.call('PEXPIRE', KEYS[1], int(math.max(W + 3 * D, pausedUntil - now, met > 0 and metUntil - now or 0)))
if isNews then redis.call('PUBLISH', KEYS[3], name) end

local outlook = {}
if known > 0 then
  local sums, lastSum = {}, math.ceil(W / TOLD)
  local function add(left, count)
    local at = math.min(lastSum, math.ceil(left / TOLD))
    sums[at] = (sums[at] or 0) + count
  end
  for _, opening in ipairs(openings) do add(opening[1], opening[2]) end
  if standing + granted > 0 then add(W, standing + granted) end
  for at = 1, lastSum do
    if sums[at] then outlook[#outlook + 1] = int(at * TOLD) .. ':' .. int(sums[at]) end
  end
end
local fraction = waiters > 0 and part / waiters or 0
if fraction <= 0 then fraction = 1 / (1 + waiters) end
return {
  1, instances, known, elsewhere, math.max(0, pausedUntil - now), guardLeft, math.floor(fraction * 1000),
  free - granted, spareMost, table.concat(permits, ','), table.concat(outlook, ','),
}
`;
}

/** The ends of the keys of one limit, without the prefix that all have. */
export const QUOTA_ENDS = { hash: 'q:', since: 'quota:since', channel: 'quota' } as const;

/** Tells what was sent of a limit, and gets permits. */
export const TICK = new Script('tick', tickScript(), {
  keys: ['q', 'quota:since', 'quota'],
  args: ['check:0', '1', '0', '0', '0', '0', '0', '0', '0', '0', '0', '', '', 'check'],
});
