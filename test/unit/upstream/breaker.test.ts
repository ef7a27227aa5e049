// A host that cannot be reached is left alone, but for one probe at a time, and comes back without a rush and without
// refusals.

import t from 'tap';
import { type ErrorCode, GatewayError } from '../../../src/errors.ts';
import { QueueCapacity } from '../../../src/upstream/call.ts';
import { type ConnectionPermit, Gate } from '../../../src/upstream/gate.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createCall } from './layer-fixtures.ts';

/** A gate before a host that can be down, up, or silent: then dials hang until `dials` are settled by hand. */
function broken({ queueMax = 1_000, totalWaitMs = 15_000 } = {}) {
  const clock = createFakeClock();
  const host = {
    is: 'down' as 'down' | 'up' | 'silent',
    code: 'gateway.upstream.unreachable' as ErrorCode,
    dialled: 0,
    dials: [] as ConnectionPermit[],
  };
  const changes: string[] = [];
  const capacity = new QueueCapacity(queueMax);
  const gate = new Gate('http://host', {
    clock,
    random: () => 0.5,
    connections: 256,
    capacity,
    onChange: (_origin, state) => changes.push(state),
  });
  const refused = () => new GatewayError(host.code, 'refused by the test');

  /** Resolves with `ok`, once connected, or a code; the permit is kept until the test lets go of it. */
  const call = async (client = 'a', request = createCall({ client })): Promise<string> => {
    request.waitUntil = clock.monotonic() + totalWaitMs;
    try {
      const permit = gate.tryAcquire(client, 'crm') ?? (await gate.acquire(request));
      host.dialled += 1;
      if (host.is === 'silent') {
        host.dials.push(permit);
        return 'dials';
      }
      if (host.is === 'up') permit.connected();
      else permit.failed(refused());
      permit.release();
      return host.is === 'up' ? 'ok' : host.code;
    } catch (error) {
      const { code, retryAfterMs } = error as GatewayError;
      return retryAfterMs === undefined ? code : `${code} ${retryAfterMs}`;
    }
  };
  const many = (count: number, client?: string) => Array.from({ length: count }, () => call(client));
  const fail = async (times: number) => {
    for (let index = 0; index < times; index += 1) await call();
  };
  const settle = (permit: ConnectionPermit | undefined, outcome: 'connected' | 'failed' | 'dropped') => {
    if (outcome === 'connected') permit?.connected();
    if (outcome === 'failed') permit?.failed(refused());
    permit?.release();
  };
  /** Open, with a probe that dials. */
  const probing = async () => {
    await fail(5);
    host.is = 'silent';
    await clock.advance(1_000);
    await call();
    return host.dials.shift() as ConnectionPermit;
  };
  return { clock, host, gate, capacity, call, many, fail, settle, probing, changes };
}

t.test(
  'five failed dials in a row open it; then calls are answered without a dial, with the time of the next probe',
  async (t) => {
    const { clock, host, call, fail, changes } = broken();
    await fail(4);
    t.same(changes, []);
    t.equal(await call(), 'gateway.upstream.unreachable');
    t.same(changes, ['open']);
    t.equal(await call(), 'gateway.upstream.unavailable 1000');
    t.equal(host.dialled, 5);
    await clock.advance(400);
    t.equal(await call(), 'gateway.upstream.unavailable 600');
  },
);

t.test('a success in between starts the count anew', async (t) => {
  const { host, call, fail, changes } = broken();
  await fail(4);
  host.is = 'up';
  await call();
  host.is = 'down';
  await fail(4);
  t.same(changes, []);
});

t.test('a certificate and a proxy that refuses the credentials do not open it', async (t) => {
  for (const code of ['gateway.upstream.tls', 'gateway.proxy.auth'] as const) {
    const { host, fail, changes } = broken();
    host.code = code;
    await fail(10);
    t.same(changes, [], code);
  }
});

t.test(
  'a probe that meets a bad certificate has found the host: every call has that message from then on',
  async (t) => {
    const { host, many, probing, settle } = broken();
    const probe = await probing();
    const waiting = many(10);
    host.code = 'gateway.upstream.tls';
    host.is = 'down';
    settle(probe, 'failed');
    t.same(await Promise.all(waiting), Array(10).fill('gateway.upstream.tls'));
  },
);

t.test('one probe at a time, at growing intervals up to 30 s', async (t) => {
  const { clock, host, many, fail } = broken();
  await fail(5);
  const intervals: number[] = [];
  for (let probe = 0; probe < 7; probe += 1) {
    const startedAt = clock.monotonic();
    const dialled = host.dialled;
    while (host.dialled === dialled) {
      await clock.advance(100);
      await Promise.all(many(3));
    }
    t.equal(host.dialled, dialled + 1, 'three calls at once make one probe');
    intervals.push(clock.monotonic() - startedAt);
  }
  t.same(intervals, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

t.test(
  'who comes while the probe dials waits for its outcome: of 500 calls none is refused once it has succeeded',
  async (t) => {
    const { clock, host, many, probing, settle, capacity, changes } = broken();
    const probe = await probing();
    const waiting = many(500);
    await clock.advance(4_000);
    t.equal(capacity.waiting, 500);
    t.equal(host.dialled, 6, 'one dial, theirs not among them');
    host.is = 'up';
    settle(probe, 'connected');
    const late = many(500);
    await clock.settle();
    t.same(new Set(await Promise.all([...waiting, ...late])), new Set(['ok']));
    t.same(changes, ['open', 'recovering', 'closed']);
    t.equal(capacity.waiting, 0);
  },
);

t.test('the probe fails: who waited for it is refused at once, with the time of the next', async (t) => {
  const { clock, host, many, probing, settle, capacity } = broken();
  const probe = await probing();
  const waiting = many(10);
  await clock.settle();
  settle(probe, 'failed');
  t.same(new Set(await Promise.all(waiting)), new Set(['gateway.upstream.unavailable 2000']));
  t.equal(capacity.waiting, 0);
  t.equal(host.dialled, 6);
});

t.test('who waits for a probe waits within its own total_wait, and no longer than its caller', async (t) => {
  const { clock, call, probing, capacity } = broken({ totalWaitMs: 3_000 });
  await probing();
  const waiting = call();
  const request = createCall({ client: 'b' });
  const left = call('b', request);
  await clock.settle();
  request.leave();
  t.equal(await left, 'gateway.request.invalid');
  await clock.advance(3_000);
  t.equal(await waiting, 'gateway.upstream.unavailable 1000');
  t.equal(capacity.waiting, 0);
  t.equal(clock.pending, 0);
});

t.test('a probe that ends without a word about the host hands over to the next that waits', async (t) => {
  const { clock, host, many, probing, settle } = broken();
  const probe = await probing();
  const waiting = many(3);
  await clock.settle();
  settle(probe, 'dropped');
  await clock.settle();
  t.equal(host.dials.length, 1, 'one at a time');
  host.is = 'up';
  settle(host.dials[0], 'connected');
  t.same((await Promise.all(waiting)).sort(), ['dials', 'ok', 'ok']);
});

t.test('after a success a few calls dial at a time, then more: no herd, and no refusals', async (t) => {
  const { clock, host, many, probing, settle, changes } = broken();
  const probe = await probing();
  many(600);
  settle(probe, 'connected');
  const passed: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    await clock.settle();
    passed.push(host.dials.length);
    for (const permit of host.dials.splice(0)) settle(permit, 'connected');
  }
  t.same(passed.slice(0, 5), [2, 4, 8, 16, 32]);
  t.ok((passed[5] ?? 0) > 64, `then all that fit: ${passed[5]}`);
  t.same(changes, ['open', 'recovering', 'closed']);
});

t.test('a call that waits for its answer keeps nobody from dialling: the host has been reached', async (t) => {
  const { clock, host, many, probing, changes } = broken();
  const probe = await probing();
  probe.connected();
  many(600);
  for (let round = 0; round < 6; round += 1) {
    await clock.settle();
    for (const permit of host.dials.splice(0)) permit.connected();
  }
  t.same(changes, ['open', 'recovering', 'closed']);
});

t.test('a relapse while recovering opens it again at once, and who waits is told', async (t) => {
  const { clock, host, call, many, probing, settle, changes } = broken();
  settle(await probing(), 'connected');
  const herd = many(10);
  await clock.settle();
  settle(host.dials.shift(), 'failed');
  t.same(changes, ['open', 'recovering', 'open']);
  t.match(await call(), /^gateway\.upstream\.unavailable/);
  t.equal((await Promise.all(herd)).filter((outcome) => outcome.startsWith('gateway.upstream.unavailable')).length, 8);
});

t.test('dials that began before the recovery and fail after it say nothing about the host as it is', async (t) => {
  const { clock, host, gate, call, fail, many, settle, changes } = broken();
  host.is = 'silent';
  await Promise.all(many(20));
  const old = host.dials.splice(0);
  host.is = 'down';
  await fail(5);
  host.is = 'up';
  await clock.advance(1_000);
  t.equal(await call(), 'ok', 'the probe');
  for (const permit of old) settle(permit, 'failed');
  t.same(changes, ['open', 'recovering']);
  t.same(new Set(await Promise.all(many(200))), new Set(['ok']));
  t.equal(gate.running, 0);
});
