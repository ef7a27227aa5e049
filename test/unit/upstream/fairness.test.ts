// One limit, many clients: whoever asks for little is not made to wait by whoever asks for much.

import t from 'tap';
import { createDice } from '../../helpers/dice.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { clientConfig, createCall, createPlatform, createStack, type Outcome } from './layer-fixtures.ts';

const LIMITED = { perMinute: 300, key: 'token.rate.per.minute' };
/** 60 s over 300 calls. */
const SLOT_MS = 200;
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
  await clock.advance(SLOT_MS);
  t.match(call, { status: 200 });
  t.ok(call.tookMs <= 50 + SLOT_MS, `${call.tookMs} ms`);
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
      // The first two minutes go by until it is known what the client asks for.
      const later = modest.filter(({ startedAt, status }) => startedAt > 120_000 && status !== null);
      t.ok(later.length >= 58, `${later.length} calls`);
      t.same(
        later
          .filter(({ status, tookMs }) => status !== 200 || tookMs > 50 + SLOT_MS)
          .map(({ status, tookMs }) => ({ status, tookMs })),
        [],
        'never longer than one slot more than alone',
      );
      const perMinute = (platform.seen.filter(({ at }) => at >= 60_000 && at < 300_000).length * 60_000) / 240_000;
      t.ok(perMinute >= 300 * 0.98, `${perMinute} calls a minute of 300`);
      t.equal(platform.refused(), 0);
      const served = GREEDY.map((client) => platform.seen.filter((call) => call.client === client).length);
      t.ok(
        Math.max(...served) - Math.min(...served) <= Math.max(...served) * 0.1,
        `greedy clients were served ${served.join(', ')} calls`,
      );
    },
  );
}

t.test(
  'nor does it depend on when the modest one begins, how long it pauses and how regular the answers are',
  async (t) => {
    for (const pauseMs of [2_300, 3_000, 4_000]) {
      for (const beginsMs of [0, 13, 2_500]) {
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
        const slow = modest.filter(
          ({ startedAt, status, tookMs }) => startedAt > 120_000 && status !== null && tookMs > 50 + SLOT_MS,
        );
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

t.test(
  'clients that ask for more than there is are not slowed down by what is kept, however uneven their shares',
  async (t) => {
    const { clock, run, platform } = shared(createFakeClock(), 3_600_000);
    const clients = [...GREEDY, 'modest'];
    const outcomes = clients.flatMap((client, index) =>
      Array.from({ length: 51 + 2 * index }, () => run(createCall({ client }))),
    );
    t.equal(outcomes.length, 600);
    await clock.advance(130_000);
    t.equal(platform.refused(), 0);
    const lastMs = Math.max(...outcomes.map(({ tookMs }) => tookMs));
    t.ok(lastMs <= 60_050 * 1.05, `600 calls took ${lastMs} ms`);
  },
);

t.test('what is kept for a client that stays away is given to those who wait', async (t) => {
  const { clock, run, platform } = shared(createFakeClock(), 3_600_000);
  for (let index = 0; index < 20; index += 1) {
    run(createCall({ client: 'modest' }));
    await clock.advance(3_000);
  }
  for (let index = 0; index < 600; index += 1) run(createCall({ client: 'greedy-0' }));
  await clock.advance(61_000);
  const inWindow = platform.seen.filter(({ at }) => at > clock.monotonic() - 60_000).length;
  t.ok(inWindow >= 294, `${inWindow} of 300 are used`);
});
