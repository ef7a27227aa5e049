// One limit, many clients: whoever asks for little is not made to wait by whoever asks for much.

import t from 'tap';
import { createDice } from '../../helpers/dice.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { isThorough, rounds } from '../../helpers/thorough.ts';
import { ANY_WAY, type Asked, longestOf, promisedMs, Simulation } from './fair-simulation.ts';
import { clientConfig, createCall, createPlatform, createStack, type Outcome } from './layer-fixtures.ts';

const LIMITED = { perMinute: 300, key: 'token.rate.per.minute' };
/** With ten clients half of the limit opens evenly: one place in 115 s over 300. */
const GAP_MS = 384;
const GREEDY = Array.from({ length: 9 }, (_, index) => `greedy-${index}`);

function shared(clock: FakeClock, totalWaitMs: number) {
  const platform = createPlatform(clock, LIMITED);
  const stack = createStack(() => platform.send, {
    clock,
    totalWaitMs,
    settings: { requestsPerMinute: 300, queueMax: 10_000 },
    clients: [...GREEDY, 'modest'].map((name) => clientConfig(name)),
  });
  return { ...stack, platform };
}

t.test('a thousand waiting calls do not delay one: the newcomer is served at once', async (t) => {
  const { clock, run } = shared(createFakeClock(), 3_600_000);
  for (let index = 0; index < 1000; index += 1) run(createCall({ client: 'greedy-0' }));
  await clock.advance(10_000);
  const call = run(createCall({ client: 'modest' }));
  await clock.advance(GAP_MS);
  t.match(call, { status: 200 });
  t.ok(call.tookMs <= 50 + GAP_MS, `${call.tookMs} ms`);
});

for (const { workers, isPatient } of [
  { workers: 8, isPatient: false },
  { workers: 4, isPatient: true },
  { workers: 20, isPatient: true },
]) {
  const when = isPatient ? 'when it has its answer' : 'every four seconds';
  const how = `${workers} workers each; the modest one asks ${when}`;
  t.test(
    `nine clients that always have calls waiting leave a modest one its calls, minute after minute: ${how}`,
    async (t) => {
      const { clock, run, platform } = shared(createFakeClock(), 15_000);
      const keepAsking = async (client: string): Promise<void> => {
        for (;;) {
          const outcome = run(createCall({ client }));
          await outcome.done;
          if (outcome.status === 429) await new Promise<void>((resolve) => clock.after(5_000, resolve));
        }
      };
      for (const client of GREEDY) for (let worker = 0; worker < workers; worker += 1) void keepAsking(client);
      const modest: Outcome[] = [];
      const ask = async (): Promise<void> => {
        for (;;) {
          const outcome = run(createCall({ client: 'modest' }));
          modest.push(outcome);
          if (isPatient) await outcome.done;
          await new Promise<void>((resolve) => clock.after(4_000, resolve));
        }
      };
      clock.after(1_000, () => void ask());
      await clock.advance(362_000);
      const ended = modest.filter(({ status }) => status !== null);
      t.ok(ended.length >= 85, `${ended.length} calls`);
      t.same(
        ended
          .filter(({ status, tookMs }) => status !== 200 || tookMs > 50 + GAP_MS)
          .map(({ status, tookMs }) => ({ status, tookMs })),
        [],
        'never longer than one gap more than alone, from the first call on',
      );
      const perMinute = (platform.seen.filter(({ at }) => at >= 60_000 && at < 300_000).length * 60_000) / 240_000;
      t.ok(perMinute >= 300 * 0.98, `${perMinute} calls a minute of 300`);
      t.equal(platform.refused(), 0);
      // In the first minute it counts who came first.
      const later = platform.seen.filter(({ at }) => at >= 60_000);
      const served = GREEDY.map((name) => later.filter(({ client }) => client === name).length);
      t.ok(
        Math.max(...served) - Math.min(...served) <= Math.max(...served) * 0.15,
        `greedy clients were served ${served.join(', ')} calls`,
      );
    },
  );
}

t.test(
  'nor does it depend on when the modest one begins, how long it pauses and how regular the answers are',
  async (t) => {
    for (const pauseMs of [2_700, 4_000]) {
      for (const beginsMs of [0, 2_500]) {
        const { clock, run } = shared(createFakeClock(), 15_000);
        const dice = createDice(pauseMs + beginsMs);
        const pause = (ms: number) => new Promise<void>((resolve) => clock.after(ms + dice.int(12), resolve));
        const keepAsking = async (client: string): Promise<void> => {
          for (;;) {
            const outcome = run(createCall({ client }));
            await outcome.done;
            await pause(outcome.status === 429 ? 5_000 : 1);
          }
        };
        for (const client of GREEDY) for (let worker = 0; worker < 4; worker += 1) void keepAsking(client);
        const modest: Outcome[] = [];
        const ask = async (): Promise<void> => {
          await pause(beginsMs);
          for (;;) {
            const outcome = run(createCall({ client: 'modest' }));
            modest.push(outcome);
            await outcome.done;
            await pause(pauseMs);
          }
        };
        void ask();
        await clock.advance(362_000);
        const slow = modest.filter(({ status, tookMs }) => status !== null && tookMs > 50 + GAP_MS);
        t.same(
          slow.map(({ startedAt, tookMs }) => ({ startedAt, tookMs })),
          [],
          `pauses of ${pauseMs} ms, from ${beginsMs} ms on`,
        );
      }
    }
  },
);

t.test('clients with equal queues are served in turn', async (t) => {
  const { clock, run, platform } = shared(createFakeClock(), 3_600_000);
  for (const client of GREEDY) for (let index = 0; index < 100; index += 1) run(createCall({ client }));
  await clock.advance(61_000);
  const second = platform.seen.slice(300).map(({ client }) => client);
  const counts = GREEDY.map((client) => second.filter((name) => name === client).length);
  t.ok(Math.max(...counts) - Math.min(...counts.slice(3)) <= 4, counts.join(', '));
});

t.test('a burst of one client takes what others need not, and the rest of the minute within the minute', async (t) => {
  const { clock, run, platform } = shared(createFakeClock(), 3_600_000);
  const outcomes = Array.from({ length: 600 }, () => run(createCall({ client: 'greedy-0' })));
  await clock.advance(1_000);
  t.ok(platform.seen.length >= 140, `${platform.seen.length} at once: half of the limit, where many might come`);
  await clock.advance(59_000);
  t.equal(platform.seen.length, 300, 'what was kept was given out');
  await clock.advance(61_000);
  t.ok(outcomes.every(({ status }) => status === 200));
  t.equal(platform.refused(), 0);
});

for (const [perMinute, others] of [
  [60, 3],
  [60, 9],
  [300, 3],
  [300, 9],
  [1_200, 3],
  [1_200, 9],
] as const) {
  t.test(`${others} that always ask and a modest one, ten minutes of ${perMinute} a minute`, async (t) => {
    for (const modest of [6, 20]) {
      for (const workers of perMinute > 100 && !isThorough ? [4] : [1, 4, 30]) {
        const greedy = GREEDY.slice(0, others);
        const sim = new Simulation({ perMinute, clients: [...greedy, 'modest'] });
        sim.askAt('greedy-0', Array(perMinute).fill(0));
        sim.at(0, () => {
          for (const client of greedy) sim.keepAsking(client, workers);
        });
        sim.askAt(
          'modest',
          Array.from({ length: 10 * modest }, (_, index) => 137 + (index * 60_000) / modest),
        );
        await sim.runUntil(600_000);
        const longestMs = Math.max(...sim.of('modest').map((call) => sim.waitOf(call)));
        const served = sim.asked.filter(({ waitMs }) => waitMs !== null);
        const used = served.length / (10 * perMinute);
        const flood = sim.of('greedy-0').slice(0, perMinute);
        const lastMs = Math.max(...flood.map(({ waitMs }) => waitMs ?? Number.POSITIVE_INFINITY));
        const share = perMinute / (others + 1);
        t.comment(
          `${modest} a minute, ${workers} workers: longest wait ${(longestMs / 1_000).toFixed(2)} s` +
            `${modest > share ? ` (asks for more than its share, ${share})` : ''}, ${(used * 100).toFixed(1)} % used, ` +
            `the flood's call ${perMinute} at ${(lastMs / 1_000).toFixed(0)} s`,
        );
        t.ok(used >= 0.98, `${used}`);
        if (modest <= share) t.ok(longestMs <= promisedMs(perMinute), `${longestMs} ms`);
        else {
          const got = sim.of('modest').filter(({ waitMs }) => waitMs !== null).length;
          t.ok(got >= 0.9 * share * 10, `who asks for more than its share gets its share: ${got}`);
        }
      }
    }
  });
}

t.test(
  'whatever others do, a client that asks for little waits no longer than promised: with room for all',
  async (t) => {
    const worst = await longestOf(
      (dice) => {
        const others = 1 + dice.int(8);
        const perMinute = 43 * others + dice.int(200);
        return { perMinute, others, modest: 1, ways: ANY_WAY };
      },
      rounds(6, 30),
    );
    t.comment(`at worst ${(worst * 100).toFixed(0)} % of what is promised`);
    t.ok(worst <= 1);
  },
);

t.test(
  'several that ask for little, for half of the limit together, wait no longer than promised to so many',
  async (t) => {
    const worst = await longestOf(
      (dice) => {
        const others = 1 + dice.int(8);
        const perMinute = dice.pick([30, 60, 100, 300]);
        const share = Math.min(20, perMinute / (others + 1));
        const most = Math.min(others, Math.floor(perMinute / 2 / share));
        const modest = 1 + dice.int(Math.max(1, most));
        return { perMinute, others: others + 1 - modest, modest, ways: ['floods', 'busy'] };
      },
      rounds(6, 30),
    );
    t.comment(`at worst ${(worst * 100).toFixed(0)} % of what is promised`);
    t.ok(worst <= 1);
  },
);

t.test(
  'a modest client keeps its places when a limit is learnt, lowered or raised: a minute later it waits for nobody',
  async (t) => {
    for (const [before, after] of [
      [Number.POSITIVE_INFINITY, 300],
      [300, 60],
      [60, 1_200],
    ] as const) {
      const sim = new Simulation({ perMinute: before, clients: [...GREEDY.slice(0, 3), 'modest'] });
      sim.at(0, () => {
        for (const client of GREEDY.slice(0, 3)) sim.keepAsking(client, 4, 20);
      });
      sim.askAt(
        'modest',
        Array.from({ length: 40 }, (_, index) => index * 6_000),
      );
      sim.at(20_000, () => {
        sim.limiter.window.limit = after;
        sim.limiter.reconsider();
      });
      await sim.runUntil(300_000);
      const later = sim.of('modest').filter(({ at }) => at > 81_000);
      const longestMs = Math.max(...later.map((call) => sim.waitOf(call)));
      t.ok(later.length > 20 && longestMs <= promisedMs(after), `${before} to ${after}: ${longestMs} ms`);
    }
  },
);

t.test('what is foretold is true: no call starts earlier, and the last one not much later', async (t) => {
  let calls = 0;
  let earlier = 0;
  const late: number[] = [];
  for (let seed = 0; seed < rounds(20, 60); seed += 1) {
    const dice = createDice(seed);
    const perMinute = dice.pick([30, 60, 100, 300]);
    const names = Array.from({ length: 1 + dice.int(6) }, (_, index) => `client-${index}`);
    const sim = new Simulation({ perMinute, clients: dice.chance(0.1) ? [] : names });
    const told: { waitMs: number; call: Asked }[] = [];
    const ask = async (client: string) => {
      const waitMs = await sim.foretold(client);
      void sim.ask(client);
      told.push({ waitMs, call: sim.asked.at(-1) as Asked });
    };
    const endMs = dice.pick([2_000, 30_000, 90_000]);
    for (const client of names) {
      const bursts = dice.pick([1, 5, 20]);
      for (let burst = 0; burst < bursts; burst += 1) {
        const at = dice.int(endMs);
        for (let n = dice.int((2 * perMinute) / bursts); n >= 0; n -= 1) sim.at(at, () => void ask(client));
      }
    }
    sim.at(endMs + 10, () => void ask(names[0] as string));
    await sim.runUntil(endMs + 900_000);
    const early = told.map(({ waitMs, call }) => waitMs - sim.waitOf(call)).filter((ms) => ms > 150);
    // What a client asked for lately is over a spacing sooner where others meanwhile ask for more than they did.
    if (early.some((ms) => ms > 3_000)) t.same(early, [], `seed ${seed}`);
    earlier += early.length;
    calls += told.length;
    const last = told.at(-1) as (typeof told)[number];
    if (last.waitMs < 15_000) late.push(sim.waitOf(last.call) - last.waitMs);
  }
  const exact = late.filter((ms) => ms < 2_000).length;
  t.ok(earlier <= calls / 1_000, `${earlier} of ${calls} calls by more than a bucket`);
  t.comment(`of ${late.length} last ones ${exact} started within 2 s of what was foretold`);
  t.ok(exact >= late.length * 0.75);
});

t.test('who is full of waiting calls gives way, and its own Retry-After is no shorter for it', async (t) => {
  const sim = new Simulation({ perMinute: 60, clients: ['greedy-0', 'modest'], queueMax: 50 });
  sim.askAt('greedy-0', Array(200).fill(0));
  sim.askAt('modest', [10, 20, 30]);
  await sim.runUntil(60_000);
  t.ok(sim.of('modest').every(({ waitMs }) => waitMs !== null && waitMs <= 6_000));
  const refused = sim.of('greedy-0').filter(({ refusedMs }) => refusedMs !== null);
  t.ok(refused.length > 0 && refused.every(({ refusedMs }) => (refusedMs as number) > 50_000));
});
