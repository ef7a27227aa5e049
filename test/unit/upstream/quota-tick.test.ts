// TICK on a real server that is told the time: the sums, what is given out, and what becomes of rows that nobody of ours
// wrote. A model of instances checks after each step that nothing was given out twice.

import t from 'tap';
import {
  decodeReply,
  encodeReport,
  PERMIT_LIFE_MS,
  type QuotaReply,
  type QuotaReport,
} from '../../../src/upstream/rate-limit/quota-report.ts';
import { createDice, type Dice } from '../../helpers/dice.ts';
import { type RedisProcess, startRedis, withoutRedis } from '../../helpers/redis-process.ts';
import { TIMED_TICK } from './quota-simulation.ts';

const MINUTE_MS = 60_000;
const START = 1_800_000_000_000;
const HASH = '{gcg}:q:limit';
const KEYS = [HASH, '{gcg}:quota:since', '{gcg}:quota'];

const NOTHING: QuotaReport = {
  row: 'a:1',
  sequence: 1,
  acknowledged: 0,
  limit: 300,
  metLeftMs: 0,
  pauseMs: 0,
  inFlight: 0,
  held: 0,
  spare: 0,
  isGranting: true,
  sharers: 0,
  counted: [],
  clients: [],
};

const waiting = (calls: number, id = 'x') => [{ id, waiting: calls, served: 0, recent: 0 }];

t.test('ticks', { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t);
  const sequences = new Map<string, number>();

  async function tick(now: number, report: Partial<QuotaReport>): Promise<QuotaReply | null> {
    const { row = 'a:1' } = report;
    const sequence = report.sequence ?? (sequences.get(row) ?? 0) + 1;
    sequences.set(row, Math.max(sequence, sequences.get(row) ?? 0));
    const args = encodeReport({ ...NOTHING, ...report, row, sequence });
    return decodeReply(
      await redis.command('EVAL', TIMED_TICK.text, '3', ...KEYS, ...args, 'limit', String(Math.floor(START + now))),
    );
  }
  const given = (reply: QuotaReply | null) => (reply?.permits ?? []).reduce((sum, [, count]) => sum + count, 0);
  /** An empty server, and the time until rows are taken for whole. */
  async function empty(): Promise<void> {
    await redis.command('FLUSHALL');
    sequences.clear();
    await tick(-10_000, { row: 'first:1', limit: 0 });
    await redis.command('DEL', HASH);
    sequences.clear();
  }

  t.test('what is free is given to who waits, and not twice', async (t) => {
    await empty();
    const first = await tick(0, { clients: waiting(200) });
    t.equal(given(first), 200);
    t.equal(first?.free, 100);
    t.equal(given(await tick(10, { row: 'b:1', clients: waiting(200) })), 100);
    t.equal(given(await tick(20, { row: 'c:1', clients: waiting(200) })), 0);
  });

  t.test('places that open in the coming second are given with their moments', async (t) => {
    await empty();
    const counted = [[400, 3] as const, [900, 2] as const, [1_500, 295] as const];
    const reply = await tick(0, { counted, clients: waiting(50) });
    t.same(reply?.permits, [
      [400, 3],
      [900, 2],
    ]);
    const other = await tick(100, { row: 'b:1', clients: waiting(50) });
    t.same(other?.permits, [], 'they are nobody else’s');
  });

  t.test('rows in any order give the same sums', async (t) => {
    for (let seed = 0; seed < 20; seed += 1) {
      const dice = createDice(seed);
      const reports = Array.from({ length: 2 + dice.int(6) }, (_, index) => ({
        row: `instance-${index}:1`,
        limit: dice.pick([0, 300, 600]),
        counted: Array.from({ length: dice.int(20) }, () => [dice.int(61_000), 1 + dice.int(5)] as const),
        inFlight: dice.int(9),
        held: dice.int(9),
        isGranting: false,
        clients: waiting(dice.int(9), dice.pick(['x', 'y'])),
      }));
      const seen: QuotaReply[] = [];
      for (const order of [reports, reports.toReversed(), reports.toSorted(() => dice.pick([-1, 1]))]) {
        await empty();
        for (const report of order) await tick(0, report);
        seen.push((await tick(0, { row: 'me:1', limit: 300, isGranting: false })) as QuotaReply);
      }
      t.same(seen[1], seen[0]);
      t.same(seen[2], seen[0]);
    }
  });

  t.test(
    'an instance that is silent may have sent what it had, for a minute from when its permits ended',
    async (t) => {
      await empty();
      await tick(0, { row: 'gone:1', inFlight: 4, clients: waiting(6) });
      const usedAt = async (now: number) => (await tick(now, { row: 'me:1' }))?.usedElsewhere;
      t.equal(await usedAt(PERMIT_LIFE_MS), 10);
      t.equal(await usedAt(PERMIT_LIFE_MS + MINUTE_MS - 100), 10);
      t.equal((await tick(PERMIT_LIFE_MS + MINUTE_MS - 50, { row: 'me:1' }))?.instances, 1);
      t.equal(await usedAt(PERMIT_LIFE_MS + MINUTE_MS + 10), 0);
      t.notOk(await redis.command('HGET', HASH, 'igone:1'), 'its row is gone');
    },
  );

  t.test('a tick that was overtaken changes nothing, and is no answer', async (t) => {
    await empty();
    await tick(0, { sequence: 5, counted: [[30_000, 7]] });
    t.equal(await tick(5, { sequence: 4, counted: [] }), null);
    t.equal((await tick(10, { row: 'me:1' }))?.usedElsewhere, 7);
  });

  t.test('the smallest limit counts, and one that a 429 told is told to all', async (t) => {
    await empty();
    await tick(0, { row: 'a:1', limit: 300 });
    t.equal((await tick(0, { row: 'b:1', limit: 60 }))?.limit, 60);
    t.equal((await tick(0, { row: 'a:1', limit: 300 }))?.limit, 60);
    await empty();
    const heard: string[] = [];
    const { createClient } = await import('@redis/client');
    const client = createClient({ RESP: 3, socket: { path: redis.socket, tls: false } });
    await client.connect();
    t.teardown(() => client.destroy());
    await client.subscribe('{gcg}:quota', (message) => void heard.push(message));
    await tick(0, { row: 'a:1', limit: 100, metLeftMs: 1_800_000 });
    t.equal((await tick(70_000, { row: 'b:1', limit: 0 }))?.limit, 100, 'also when its row is gone');
    t.equal((await tick(1_800_001, { row: 'b:1', limit: 0 }))?.limit, 0, 'until it is not believed any more');
    t.same((await tick(1_800_010, { row: 'a:1', limit: 0, pauseMs: 5_000 }))?.pauseMs, 5_000);
    const held = await tick(1_800_020, { row: 'b:1', limit: 300, clients: waiting(9) });
    t.equal(held?.pauseMs, 4_990);
    t.equal(given(held), 0, 'nothing is given while it lasts');
    t.equal((await tick(1_800_030, { row: 'a:1', limit: 0, pauseMs: 4_980 }))?.pauseMs, 4_980);
    t.equal(
      (await tick(1_800_040, { row: 'a:1', limit: 0, pauseMs: 1e9 }))?.pauseMs,
      86_400_000,
      'a day is the longest',
    );
    await client.ping();
    t.same(heard, ['limit', 'limit', 'limit'], 'the limit, the pause, the longer pause: each was told once');
  });

  t.test('who is served least goes first, over all instances; parts of a place go by chance', async (t) => {
    await empty();
    const x = { id: 'x', waiting: 100, served: 150, recent: 20 };
    const z = { id: 'z', waiting: 100, served: 150, recent: 10 };
    const counted = [[30_000, 280] as const];
    await tick(0, { row: 'c:1', counted });
    await tick(0, { row: 'b:1', isGranting: false, clients: [z] });
    t.equal(given(await tick(0, { row: 'a:1', clients: [x] })), 5, 'ten are the other’s, and half of the rest');
    t.equal(given(await tick(10, { row: 'b:1', clients: [z] })), 15);
    let first = 0;
    for (let round = 0; round < 100; round += 1) {
      await empty();
      await tick(round, { row: 'c:1', counted: [[30_000, 299]] });
      await tick(round, { row: 'b:1', isGranting: false, clients: waiting(1, 'x') });
      first += given(await tick(round, { row: 'a:1', clients: waiting(1, 'x') }));
    }
    t.ok(first > 25 && first < 75, `one place for two that wait: ${first} of 100 times the first one’s that asks`);
  });

  t.test('a burst leaves places for who asks little, and who asks little takes them at once', async (t) => {
    await empty();
    const burst = await tick(0, { sharers: 4, clients: waiting(1_000) });
    const taken = given(burst);
    t.ok(taken >= 150 && taken < 300, `${taken} of 300`);
    const modest = await tick(1_000, { row: 'b:1', sharers: 4, clients: waiting(3, 'modest') });
    t.same(modest?.permits, [[0, 3]]);
    const greedy = await tick(1_000, { row: 'c:1', sharers: 4, clients: [{ ...waiting(9)[0], served: 300 }] as never });
    t.ok(given(greedy) <= 1);
  });

  t.test('while nobody waits some are kept at hand: never more than a part of what is free', async (t) => {
    await empty();
    t.same((await tick(0, { spare: 8 }))?.permits, [[0, 8]]);
    await empty();
    await tick(0, { row: 'b:1' });
    t.same((await tick(0, { spare: 500 }))?.permits, [[0, 75]], 'of 300, with two instances');
    t.equal((await tick(1, { row: 'b:1', held: 40 }))?.spareMost, 56, 'what it keeps counts as free for it');
    await tick(2, { row: 'c:1', counted: [[30_000, 300]], clients: waiting(5) });
    t.equal((await tick(3, { row: 'b:1', held: 40 }))?.spareMost, 0, 'others wait: it gives back');
  });

  t.test('a server that was emptied gives nothing out until all have told', async (t) => {
    await empty();
    await tick(0, { clients: waiting(5) });
    await redis.command('FLUSHALL');
    const after = await tick(100, { acknowledged: 1, clients: waiting(5) });
    t.equal(after?.guardMs, PERMIT_LIFE_MS);
    t.equal(given(after), 0);
    t.equal(given(await tick(200, { row: 'new:1', clients: waiting(5) })), 0, 'to one that has just come, neither');
    t.equal((await tick(PERMIT_LIFE_MS + 100, { acknowledged: 2, clients: waiting(5) }))?.guardMs, 0);
    await tick(5_000, { row: 'old:1', acknowledged: 0 });
    await redis.command('HSET', HASH, 'iold:1', `1 ${START} 0 300 0 0||`);
    const older = await tick(5_100, { row: 'old:1', acknowledged: 1, clients: waiting(5) });
    t.equal(older?.guardMs, PERMIT_LIFE_MS, 'a replica that has forgotten the last writes');
  });

  t.test('what one may start that has just been told to pace itself is given to nobody else', async (t) => {
    await empty();
    await redis.command('DEL', '{gcg}:quota:since');
    await tick(0, { isGranting: false });
    const last = await tick(PERMIT_LIFE_MS - 10, { row: 'new:1' });
    t.equal(last?.guardMs, 10);
    t.equal(given(await tick(PERMIT_LIFE_MS + 20, { clients: waiting(300) })), 150);
    await tick(PERMIT_LIFE_MS + 30, { row: 'new:1', isGranting: false });
    t.equal(given(await tick(PERMIT_LIFE_MS + 40, { held: 150, clients: waiting(300) })), 150, 'it did not start any');
  });

  const JUNK = [
    '',
    'x',
    '1 2 3',
    `1 ${START} 1 300 0 0|1:|`,
    `1 ${START} 1 300 0 0|${'1:1,'.repeat(9_000)}|`,
    `1 ${'9'.repeat(400)} 1 300 0 0||`,
    `1 ${START} 1 -5 0 0||`,
    `1 ${START} 1 1e3 0 0||`,
    `1 nan inf 300 0 0||`,
    `2 ${START} 1 300 0 0||`,
    `1 ${START} 1 300 99999999999 0||`,
    '\0\n\xff',
  ];

  t.test('what nobody of ours wrote ends no tick, and gives nobody more', async (t) => {
    for (const text of JUNK) {
      for (const field of ['p', 'l', 'g', 'i', 'ijunk:1', 'ia:1', 'other']) {
        await empty();
        await tick(0, { row: 'b:1', counted: [[30_000, 290]] });
        await redis.command('HSET', HASH, field, text);
        const reply = await tick(10, { row: 'a:1', clients: waiting(50) });
        t.ok(given(reply) <= 10, `${field} ${JSON.stringify(text.slice(0, 30))}`);
        const later = await tick(PERMIT_LIFE_MS + 20, { row: 'a:1', clients: waiting(50) });
        t.ok(later !== null && given(later) <= 10, 'nor later');
      }
    }
    for (const since of ['', 'x', '-1', 'inf', 'nan', String(START + 1e9)]) {
      await empty();
      await redis.command('SET', KEYS[1] as string, since);
      t.equal(given(await tick(0, { clients: waiting(5) })), 0, `since ${since}`);
      t.equal(given(await tick(PERMIT_LIFE_MS, { clients: waiting(5) })), 5);
    }
  });

  t.test('keys of another kind, and hashes with too much in them, are replaced', async (t) => {
    const makers: [string, () => Promise<unknown>][] = [
      ['a text', () => redis.command('SET', HASH, 'x')],
      ['a list', () => redis.command('RPUSH', HASH, 'x')],
      ['a list in the place of the time', () => redis.command('RPUSH', KEYS[1] as string, 'x')],
      ['a thousand rows', () => redis.command('HSET', HASH, ...Array.from({ length: 2_000 }, (_, at) => `i${at}`))],
    ];
    for (const [name, make] of makers) {
      await empty();
      await redis.command('DEL', HASH, KEYS[1] as string);
      await make();
      const reply = await tick(0, { clients: waiting(5) });
      t.equal(reply?.guardMs, PERMIT_LIFE_MS, name);
      t.equal(given(await tick(PERMIT_LIFE_MS, { clients: waiting(5) })), 5);
      t.ok(Number(await redis.command('HLEN', HASH)) < 10);
    }
  });

  t.test('a hash ends by itself, and holds little', async (t) => {
    await empty();
    const counted = Array.from({ length: 240 }, (_, at) => [at * 250, 5] as const);
    const clients = Array.from({ length: 64 }, (_, at) => ({ id: `client-${at}`, waiting: 9, served: 9, recent: 9 }));
    for (let at = 0; at < 10; at += 1) await tick(at, { row: `i-${at}:1`, counted, clients, limit: 1_000_000 });
    const ttl = Number(await redis.command('PTTL', HASH));
    t.ok(ttl > MINUTE_MS && ttl <= MINUTE_MS + 3 * PERMIT_LIFE_MS);
    const bytes = Number(await redis.command('MEMORY', 'USAGE', HASH));
    t.ok(bytes < 64_000, `${bytes} bytes for ten instances at their worst`);
  });

  t.test('whatever is ticked, lost, killed and emptied: never more than the limit', async (t) => {
    let granted = 0;
    for (let seed = 0; seed < 25; seed += 1) {
      await empty();
      const model = new Model(createDice(seed), tick, redis);
      for (let step = 0; step < 120; step += 1) await model.step();
      t.ok(model.most <= model.limit, `seed ${seed}: ${model.most} of ${model.limit}`);
      granted += model.granted;
    }
    t.ok(granted > 2_000, `${granted} permits were given`);
  });
});

type Tick = (now: number, report: Partial<QuotaReport>) => Promise<QuotaReply | null>;

/** An instance that only knows what it sent, and its permits. */
interface ModelInstance {
  readonly row: string;
  sent: number[];
  permits: { from: number; until: number }[];
  acknowledged: number;
  sequence: number;
  tickedAt: number;
  isGone: boolean;
}

/** Instances that send wherever they may; `most` is the largest sum of calls of a minute and permits. */
class Model {
  readonly limit: number;
  most = 0;
  granted = 0;
  readonly #dice: Dice;
  readonly #tick: Tick;
  readonly #redis: RedisProcess;
  readonly #instances: ModelInstance[];
  readonly #arrivals: number[] = [];
  #now = 0;

  constructor(dice: Dice, tick: Tick, redis: RedisProcess) {
    this.#dice = dice;
    this.#tick = tick;
    this.#redis = redis;
    this.limit = dice.pick([1, 3, 20, 300]);
    this.#instances = Array.from({ length: 1 + dice.int(4) }, (_, index) => ({
      ...{ row: `i-${index}:1`, sent: [], permits: [], acknowledged: 0, sequence: 0, tickedAt: 0, isGone: false },
    }));
  }

  async step(): Promise<void> {
    const dice = this.#dice;
    this.#now += dice.pick([1, 30, 200, 700, 700, 1_500]);
    // Each tells often enough, as long as it lives.
    for (const one of this.#instances) if (!one.isGone && this.#now - one.tickedAt > 800) await this.#tickFor(one);
    const one = dice.pick(this.#instances);
    if (one.isGone) return;
    if (dice.chance(0.6)) this.#send(one, dice.int(40));
    if (dice.chance(0.5)) await this.#tickFor(one);
    if (dice.chance(0.02)) one.isGone = true;
    // What one sent that is gone is known to the server alone.
    if (dice.chance(0.02) && this.#instances.every(({ isGone }) => !isGone)) {
      await this.#redis.command('FLUSHALL');
      for (const each of this.#instances) each.permits = [];
    }
  }

  #send(one: ModelInstance, most: number): void {
    for (let call = 0; call < most; call += 1) {
      const at = one.permits.findIndex(({ from, until }) => from <= this.#now && until > this.#now);
      if (at < 0) return;
      one.permits.splice(at, 1);
      one.sent.push(this.#now);
      this.#arrivals.push(this.#now);
    }
    this.#check();
  }

  async #tickFor(one: ModelInstance): Promise<void> {
    const now = this.#now;
    const dice = this.#dice;
    one.sent = one.sent.filter((at) => at > now - MINUTE_MS);
    one.permits = one.permits.filter(({ from, until }) => from <= now && until > now);
    if (dice.chance(0.5)) one.permits.length = 0;
    one.sequence += 1;
    one.tickedAt = now;
    const reply = await this.#tick(now, {
      row: one.row,
      sequence: one.sequence,
      acknowledged: one.acknowledged,
      limit: this.limit,
      held: one.permits.length,
      spare: dice.int(10),
      sharers: dice.pick([0, 5]),
      counted: one.sent.map((at) => [at + MINUTE_MS - now, 1] as const),
      clients: waiting(dice.int(100), dice.pick(['x', 'y', 'z'])),
    });
    // Sometimes the reply is lost: what it gave is nobody's.
    if (reply === null || dice.chance(0.1)) return;
    one.acknowledged = one.sequence;
    const until = now + PERMIT_LIFE_MS;
    for (const permit of one.permits) permit.until = until;
    for (const [inMs, count] of reply.permits)
      for (let permit = 0; permit < count; permit += 1) one.permits.push({ from: now + inMs, until });
    this.granted += reply.permits.reduce((sum, [, count]) => sum + count, 0);
    this.#check();
  }

  /** At this moment, and at each in the coming second as permits become good. */
  #check(): void {
    const permits = this.#instances.flatMap(({ permits: own }) => own).filter(({ until }) => until > this.#now);
    for (const at of [this.#now, ...permits.map(({ from }) => from)]) {
      if (at < this.#now) continue;
      const counted = this.#arrivals.filter((arrival) => arrival > at - MINUTE_MS).length;
      this.most = Math.max(this.most, counted + permits.filter(({ from }) => from <= at).length);
    }
  }
}
