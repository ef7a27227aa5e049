// Who is given a connection, in what order, and who is refused: the gate before the connections to one origin.

import t from 'tap';
import type { GatewayError } from '../../../src/errors.ts';
import { QueueCapacity } from '../../../src/upstream/call.ts';
import { type ConnectionPermit, Gate } from '../../../src/upstream/gate.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { type CallOptions, createCall, createStack, type TestCall } from './layer-fixtures.ts';

interface Asked {
  readonly call: TestCall;
  permit: ConnectionPermit | null;
  error: GatewayError | null;
}

function gateOf({
  connections = 9,
  queueMax = 1_000,
  totalWaitMs = 15_000,
  capacity = new QueueCapacity(queueMax),
  clock = createFakeClock(),
} = {}) {
  const gate = new Gate('http://host', { clock, random: () => 0.5, connections, capacity });
  const served: string[] = [];
  const ask = (options: CallOptions = {}): Asked => {
    const call = createCall(options);
    call.waitUntil = clock.monotonic() + totalWaitMs;
    const asked: Asked = { call, permit: gate.tryAcquire(call.record.client ?? '', call.limitKey), error: null };
    const note = (permit: ConnectionPermit) => {
      asked.permit = permit;
      served.push(`${call.record.client}/${call.limitKey}`);
    };
    if (asked.permit !== null) note(asked.permit);
    else gate.acquire(call).then(note, (error) => (asked.error = error));
    return asked;
  };
  const times = (count: number, options: CallOptions) => Array.from({ length: count }, () => ask(options));
  return { gate, capacity, clock, served, ask, times };
}

const permitsOf = (asked: readonly Asked[]) => asked.filter(({ permit }) => permit !== null).length;

t.test(
  'one client alone holds all but a few, whatever the number; with one credential all but some more',
  async (t) => {
    for (const [connections, one, several] of [
      [1, 1, 1],
      [2, 2, 2],
      [4, 4, 4],
      [9, 8, 8],
      [64, 52, 57],
      [256, 205, 228],
    ] as const) {
      const narrow = gateOf({ connections });
      t.equal(permitsOf(narrow.times(connections * 2, { client: 'a' })), one, `${connections}: one credential`);
      const wide = gateOf({ connections });
      const asked = Array.from({ length: connections * 2 }, (_, n) =>
        wide.ask({ client: 'a', credential: `c${n % 8}` }),
      );
      t.equal(permitsOf(asked), several, `${connections}: eight credentials`);
    }
  },
);

t.test(
  'the more clients come, the less each may hold; the next finds a connection as long as there are more than clients',
  async (t) => {
    const { gate, clock, times } = gateOf({ connections: 256 });
    const asked: Asked[][] = [];
    for (let n = 0; n < 4; n += 1) {
      asked.push(times(200, { client: `client-${n}` }));
      await clock.settle();
    }
    const held = asked.map(permitsOf);
    t.ok(
      held.every((count, n) => count >= 1 && count <= (held[n - 1] ?? 256)),
      held.join(),
    );
    // Whoever came first gives up what is more than its share as its calls end.
    for (const { permit } of asked[0] ?? []) {
      permit?.release();
      await clock.settle();
    }
    const after = asked.slice(1).map((calls) => calls.filter(({ permit }) => permit !== null).length);
    t.ok(Math.min(...after) > 25, after.join());
    t.ok(gate.running <= 256);
  },
);

t.test(
  'a connection that comes free goes to the client that holds fewest, then to its credential that holds fewest, ' +
    'then in order',
  async (t) => {
    const { clock, served, times, ask } = gateOf({ connections: 4 });
    const first = times(4, { client: 'a', credential: 'x' });
    times(3, { client: 'a', credential: 'x' });
    times(2, { client: 'a', credential: 'y' });
    times(2, { client: 'b', credential: 'x' });
    ask({ client: 'c', credential: 'x' });
    served.length = 0;
    for (const { permit } of first) {
      permit?.release();
      await clock.settle();
    }
    t.same(served, ['b/x', 'c/x', 'a/y', 'b/x'].slice(0, served.length));
    t.equal(served.length, 4);
  },
);

t.test('held calls of one client shrink to its share as they end, while another waits for each', async (t) => {
  const { clock, times } = gateOf({ connections: 18 });
  const ended = new Set<ConnectionPermit>();
  const greedy = times(40, { client: 'a' });
  const before = permitsOf(greedy);
  const other = times(40, { client: 'b' });
  for (let round = 0; round < 30; round += 1) {
    const oldest = [...greedy].find(({ permit }) => permit !== null && !ended.has(permit));
    if (oldest?.permit == null) break;
    ended.add(oldest.permit);
    oldest.permit.release();
    await clock.settle();
    if (permitsOf(other) >= 8) break;
  }
  t.ok(before >= 14, String(before));
  t.ok(permitsOf(other) >= 8, `${permitsOf(other)} of 18`);
});

t.test(
  'of 10,000 calls those over queue_max are refused at once, with 429; one of another client takes the place of ' +
    'the last',
  async (t) => {
    const { gate, capacity, clock, times, ask } = gateOf({ connections: 1 });
    const asked = times(10_000, { client: 'a' });
    await clock.settle();
    t.equal(permitsOf(asked), 1);
    t.equal(capacity.waiting, 1_000);
    t.equal(gate.waiting, 1_000);
    const refused = asked.filter(({ error }) => error !== null);
    t.equal(refused.length, 8_999);
    t.equal(
      asked.findIndex(({ error }) => error !== null),
      1_001,
      'the 1,001st that waits',
    );
    t.match(refused[0]?.error, {
      code: 'gateway.rate.limited',
      statusCode: 429,
      retryAfterMs: 1_000,
      message: /queue_max/,
    });
    const modest = ask({ client: 'b' });
    await clock.settle();
    t.match(asked[1_000]?.error, { code: 'gateway.rate.limited' }, 'the last of the line');
    asked[0]?.permit?.release();
    await clock.settle();
    t.ok(modest.permit, 'and is served first');
    for (const { call } of asked) call.leave();
    await clock.settle();
    t.equal(capacity.waiting, 0);
    t.equal(clock.pending, 0);
  },
);

t.test('calls that wait for a limit and calls that wait for a connection are counted together', async (t) => {
  for (const first of ['limit', 'connection'] as const) {
    const clock = createFakeClock();
    const stack = createStack(() => async () => new Promise(() => {}), {
      clock,
      settings: { requestsPerMinute: 1, queueMax: 4 },
      totalWaitMs: 1_000_000,
    });
    const { times, ask } = gateOf({ clock, capacity: stack.rateLimits.limits.capacity, connections: 1 });
    const forLimit = (count: number, client: string) =>
      Array.from({ length: count }, () => stack.run(createCall({ client })));
    if (first === 'limit') forLimit(5, 'a');
    else times(5, { client: 'a' });
    await clock.settle();
    t.equal(stack.rateLimits.limits.capacity.waiting, 4);
    const own = first === 'limit' ? times(2, { client: 'a' })[1] : forLimit(2, 'a')[1];
    await clock.settle();
    t.match(
      own && ('error' in own ? own.error?.code : own.code),
      'gateway.rate.limited',
      `${first}: no more of the same client`,
    );
    if (first === 'connection') forLimit(2, 'b');
    else ask({ client: 'b' });
    await clock.settle();
    t.equal(
      stack.rateLimits.limits.capacity.waiting,
      4,
      `${first}: one of another has its last give way, wherever that waits`,
    );
  }
});

t.test('a wait ends at waitUntil with 503, or with its caller, and is counted as queueMs', async (t) => {
  const { gate, capacity, clock, ask } = gateOf({ connections: 1, totalWaitMs: 3_000 });
  const holding = ask();
  const late = ask();
  const leaving = ask();
  await clock.advance(1_000);
  leaving.call.leave();
  await clock.settle();
  t.match(leaving, { error: { statusCode: 499 }, call: { record: { queueMs: 1_000 } } });
  await clock.advance(2_000);
  t.match(late, {
    error: { code: 'gateway.upstream.unavailable', statusCode: 503, retryAfterMs: 1_000, message: /total_wait/ },
  });
  t.match(late.call.record, { queueMs: 3_000, upstreamMs: 0, attempts: 0, heldBy: 'the connections to http://host' });
  holding.permit?.release();
  await clock.settle();
  t.equal(gate.running + gate.waiting + capacity.waiting + clock.pending, 0);
});

t.test('what callers hold up takes nothing from others, up to as many again', async (t) => {
  const { gate, times, ask } = gateOf({ connections: 9 });
  for (const { permit } of times(8, { client: 'a' })) if (permit) permit.isHeldUp = true;
  t.equal(permitsOf(times(30, { client: 'b' })), 8);
  t.ok(gate.running <= 18);
  for (let n = 0; n < 100; n += 1) {
    const { permit } = ask({ client: `other-${n}` });
    if (permit) permit.isHeldUp = true;
  }
  t.ok(gate.running <= 18, `${gate.running}`);
});

t.test('a permit is given back once, however often its end is told', (t) => {
  const { gate, ask } = gateOf();
  const { permit } = ask();
  permit?.connected();
  if (permit) permit.isHeldUp = true;
  for (let n = 0; n < 3; n += 1) permit?.release();
  if (permit) permit.isHeldUp = false;
  t.equal(gate.running, 0);
  t.equal(permitsOf(Array.from({ length: 20 }, () => ask())), 8, 'none too many, none too few');
  t.end();
});

t.test('10,000 clients and sessions that hold nothing are not all remembered', (t) => {
  const { gate, ask } = gateOf();
  const kept = ask({ client: 'kept' });
  for (let n = 0; n < 10_000; n += 1) ask({ client: `client-${n % 100}`, credential: `crm/${n}` }).permit?.release();
  t.ok(gate.remembered < 2_100, `${gate.remembered}`);
  kept.permit?.release();
  t.equal(gate.running, 0);
  t.end();
});
