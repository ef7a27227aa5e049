// A host that cannot be reached is left alone, but for one probe at a time, and comes back without a rush.

import t from 'tap';
import { type ErrorCode, GatewayError } from '../../../src/errors.ts';
import { withBreaker } from '../../../src/upstream/breaker.ts';
import type { Send } from '../../../src/upstream/call.ts';
import { createDispatcher } from '../../../src/upstream/dispatcher.ts';
import { CALLER_LEFT } from '../../../src/upstream/response.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createAnswer, createCall } from './layer-fixtures.ts';

function broken({ dialMs = 5_000 } = {}) {
  const clock = createFakeClock();
  const host = {
    ...{ isUp: false, code: 'gateway.upstream.unreachable' as ErrorCode, holdsAnswers: false, callersLeave: false, timesOut: false, dials: 0 },
    held: [] as (() => void)[],
  };
  const changes: string[] = [];
  const dispatcher = createDispatcher({
    connect: (_options, callback) => {
      host.dials += 1;
      callback(new GatewayError(host.code, 'refused by the test'), null);
    },
    headersMs: 60_000,
    bodyMs: 60_000,
    now: clock.now,
  });
  t.teardown(() => dispatcher.destroy());
  const inner: Send = async (request) => {
    if (!host.isUp) return dispatcher.send(request);
    host.dials += 1;
    if (host.holdsAnswers) await new Promise<void>((resolve) => host.held.push(resolve));
    if (host.callersLeave) throw CALLER_LEFT;
    if (host.timesOut) throw new GatewayError('gateway.upstream.timeout', 'too slow for the test');
    return createAnswer(200);
  };
  const send = withBreaker(inner, { clock, random: () => 0.5, dialMs, onChange: (_origin, state) => changes.push(state) });
  const call = (origin?: string) =>
    send(createCall(origin === undefined ? {} : { origin })).then(
      (answer) => String(answer.statusCode),
      (error) => (error.retryAfterMs === undefined ? error.code : `${error.code} ${error.retryAfterMs}`),
    );
  const fail = async (times: number) => {
    for (let index = 0; index < times; index += 1) await call();
  };
  return { clock, host, call, fail, changes };
}

t.test('five failed dials in a row open it; then calls are answered without a dial, with the time of the next probe', async (t) => {
  const { clock, host, call, fail, changes } = broken();
  await fail(4);
  t.same(changes, []);
  t.equal(await call(), 'gateway.upstream.unreachable');
  t.same(changes, ['open']);
  t.equal(await call(), 'gateway.upstream.unavailable 1000');
  t.equal(host.dials, 5);
  t.equal(await call('http://127.0.0.1:2'), 'gateway.upstream.unreachable', 'other origins are not concerned');
  await clock.advance(400);
  t.equal(await call(), 'gateway.upstream.unavailable 600');
});

t.test('a success in between starts the count anew', async (t) => {
  const { host, call, fail, changes } = broken();
  await fail(4);
  host.isUp = true;
  await call();
  host.isUp = false;
  await fail(4);
  t.same(changes, []);
});

t.test('a host that answers, a certificate and a proxy that refuses the credentials do not open it', async (t) => {
  for (const code of ['gateway.upstream.tls', 'gateway.proxy.auth'] as const) {
    const { host, fail, changes } = broken();
    host.code = code;
    await fail(10);
    t.same(changes, [], code);
  }
});

t.test('one probe at a time, at growing intervals up to 30 s', async (t) => {
  const { clock, host, call, fail } = broken();
  await fail(5);
  const intervals: number[] = [];
  for (let probe = 0; probe < 7; probe += 1) {
    const startedAt = clock.monotonic();
    const dials = host.dials;
    while (host.dials === dials) {
      await clock.advance(100);
      await Promise.all([call(), call(), call()]);
    }
    t.equal(host.dials, dials + 1, 'three calls at once make one probe');
    intervals.push(clock.monotonic() - startedAt);
  }
  t.same(intervals, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
});

t.test('after a success a few calls may run, then more: no herd', async (t) => {
  const { clock, host, call, fail, changes } = broken();
  await fail(5);
  host.isUp = true;
  await clock.advance(1_000);
  t.equal(await call(), '200');
  t.same(changes, ['open', 'recovering']);
  host.holdsAnswers = true;
  const passed: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    const before = host.dials;
    const herd = Array.from({ length: 100 }, () => call());
    await clock.settle();
    passed.push(host.dials - before);
    for (const release of host.held.splice(0)) release();
    await Promise.all(herd);
  }
  t.same(passed, [2, 4, 8, 16, 32, 100]);
  t.same(changes, ['open', 'recovering', 'closed']);
});

t.test('a relapse while recovering opens it again at once', async (t) => {
  const { clock, host, call, fail, changes } = broken();
  await fail(5);
  host.isUp = true;
  await clock.advance(1_000);
  await call();
  host.isUp = false;
  await call();
  t.same(changes, ['open', 'recovering', 'open']);
  t.match(await call(), /^gateway\.upstream\.unavailable/);
});

/** Open, and its first probe waits for an answer that `host.held` gives. */
async function withSlowProbe() {
  const parts = broken();
  await parts.fail(5);
  parts.host.isUp = true;
  parts.host.holdsAnswers = true;
  await parts.clock.advance(1_000);
  return { ...parts, slow: parts.call() };
}

t.test('a probe whose answer takes its time does not keep the next one waiting for ever', async (t) => {
  const { clock, host, call, slow } = await withSlowProbe();
  await clock.settle();
  t.match(await call(), /unavailable/);
  await clock.advance(10_000);
  const next = call();
  await clock.settle();
  t.equal(host.held.length, 2);
  for (const release of host.held) release();
  t.same(await Promise.all([slow, next]), ['200', '200']);
});

t.test('calls that ran before the outage are none of the few that may run after it', async (t) => {
  const { clock, host, call, fail } = broken();
  host.isUp = true;
  host.holdsAnswers = true;
  const long = Array.from({ length: 10 }, () => call());
  await clock.settle();
  host.isUp = false;
  await fail(5);
  host.isUp = true;
  host.holdsAnswers = false;
  await clock.advance(1_000);
  t.equal(await call(), '200', 'the probe');
  t.equal(await call(), '200', 'the first of the few');
  host.holdsAnswers = true;
  const herd = Array.from({ length: 10 }, () => call());
  await clock.settle();
  t.equal(host.held.length - 10, 3, 'no more than those');
  for (const release of host.held) release();
  await Promise.all([...long, ...herd]);
});

t.test('a probe whose caller leaves late does not end the one that took its place', async (t) => {
  const { clock, host, call, slow } = await withSlowProbe();
  await clock.advance(10_000);
  const second = call();
  await clock.settle();
  host.callersLeave = true;
  host.held.shift()?.();
  await slow;
  t.match(await call(), /unavailable/, 'the second is still under way');
  host.callersLeave = false;
  host.held.shift()?.();
  t.equal(await second, '200');
});

t.test('a dial that may take longer than usual is given its time before the next probe', async (t) => {
  const { clock, host, call, fail } = broken({ dialMs: 30_000 });
  await fail(5);
  host.isUp = true;
  host.holdsAnswers = true;
  await clock.advance(1_000);
  void call();
  await clock.advance(29_000);
  t.match(await call(), /unavailable/);
  await clock.advance(2_000);
  void call();
  await clock.settle();
  t.equal(host.held.length, 2);
});

t.test('a host that takes the call and never answers can be reached', async (t) => {
  const { clock, host, call, fail, changes } = broken();
  await fail(5);
  await clock.advance(1_000);
  host.isUp = true;
  host.timesOut = true;
  t.equal(await call(), 'gateway.upstream.timeout');
  t.same(changes, ['open', 'recovering']);
});
