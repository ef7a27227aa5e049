// What is known of limits: for how long, for how many, and what becomes of it when the configuration is replaced.

import t from 'tap';
import { sessionLimitKey } from '../../../src/upstream/call.ts';
import type { LimitNotice, LimitScope } from '../../../src/upstream/rate-limit/limit-notice.ts';
import { Limits } from '../../../src/upstream/rate-limit/limits.ts';
import { type RateLimitDeps, RateLimits } from '../../../src/upstream/rate-limit/rate-limit.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { clientConfig, createCall, createResponse, createStack, refusal } from './layer-fixtures.ts';

const SETTINGS = { mode: 'enforce', requestsPerMinute: 'auto', queueMax: 1000 } as const;
const quiet = { error() {}, warn() {}, info() {}, debug() {} };

/** One configuration's rate limits, perhaps in the place of another's. */
function limitsOf(clock: FakeClock, settings: Partial<RateLimitDeps['settings']> = {}, previous?: RateLimits) {
  return new RateLimits(
    {
      ...{ clock, random: () => 0.5, log: quiet, routeOf: (method, target) => `${method} ${target}` },
      ...{ settings: { ...SETTINGS, ...settings }, retry: { max: 3, waitMinMs: 1000, waitMaxMs: 5000 } },
      clients: [],
    },
    previous && { limits: previous.limits, isKept: () => true },
  );
}

const notice = (perMinute: number, scope: LimitScope = 'service', retryAfterMs?: number): LimitNotice => ({
  ...{ scope, key: `the.${scope}.rate.per.minute`, namespace: 'some', perMinute, retryAfterMs },
});

t.test(
  'an endpoint’s limit that was learnt is forgotten after half an hour, as a credential’s is: the platform may ' +
    'have raised it',
  async (t) => {
    let isLimited = true;
    const stack = createStack(
      () => async () => (isLimited ? refusal('1', { key: 'reports.rate.per.minute', value: 1 }) : createResponse(200)),
    );
    stack.run(createCall());
    await stack.clock.advance(100_000);
    isLimited = false;
    await stack.clock.advance(31 * 60_000);
    const many = Array.from({ length: 8 }, () => stack.run(createCall()));
    await stack.clock.advance(0);
    t.ok(many.every(({ status }) => status === 200));
  },
);

t.test('a number that is raised counts at once, also after a larger limit was learnt', (t) => {
  const clock = createFakeClock();
  const call = createCall();
  const before = limitsOf(clock, { requestsPerMinute: 100 });
  before.limits.learn(call, notice(300, 'token'));
  t.equal(before.limits.ofCredential('crm').window.perMinute, 100);
  const after = limitsOf(clock, { requestsPerMinute: 200 }, before);
  t.equal(after.limits.ofCredential('crm').window.perMinute, 200);
  const auto = limitsOf(clock, {}, after);
  t.equal(auto.limits.ofCredential('crm').window.perMinute, 300);
  t.end();
});

t.test('who waits keeps its place when the configuration is replaced', async (t) => {
  const clock = createFakeClock();
  const order: string[] = [];
  const before = limitsOf(clock, { requestsPerMinute: 2 });
  const send = async (request: { target: string }) => {
    order.push(request.target);
    return createResponse(200);
  };
  const call = (target: string) => ({ ...createCall({ target }), waitUntil: clock.monotonic() + 200_000 });
  const calls = ['/1', '/2', '/3', '/4'].map((target) => before.wrap(send)(call(target)));
  await clock.settle();
  t.same(order, ['/1', '/2']);
  const after = limitsOf(clock, { requestsPerMinute: 2 }, before);
  calls.push(...['/5', '/6'].map((target) => after.wrap(send)(call(target))));
  t.equal(after.limits.states()[0]?.waiting, 4, 'and is seen in its successor’s state');
  await clock.advance(61_000);
  t.same(order, ['/1', '/2', '/3', '/4']);
  await clock.advance(61_000);
  await Promise.all(calls);
  t.same(order.slice(4), ['/5', '/6']);
});

t.test('a 429 to a call of the configuration before pauses the calls of the present one', async (t) => {
  const clock = createFakeClock();
  const before = limitsOf(clock);
  let refuse = () => {};
  const late = before.wrap(
    () =>
      new Promise((resolve) => (refuse = () => resolve(refusal('10', { key: 'token.rate.per.minute', value: 300 })))),
  );
  const first = late({ ...createCall(), waitUntil: clock.monotonic() + 1_000 });
  const after = limitsOf(clock, { queueMax: 5 }, before);
  refuse();
  t.equal((await first).statusCode, 429);
  let sent = 0;
  const next = after.wrap(async () => {
    sent += 1;
    return createResponse(200);
  })({ ...createCall(), waitUntil: clock.monotonic() + 15_000 });
  await clock.advance(9_000);
  t.equal(sent, 0);
  await clock.advance(1_500);
  t.equal((await next).statusCode, 200);
});

t.test('the queue’s bound holds over both configurations, and is the new one’s', async (t) => {
  const clock = createFakeClock();
  const before = limitsOf(clock, { requestsPerMinute: 1 });
  const send = async () => createResponse(200);
  const call = () => ({ ...createCall(), waitUntil: clock.monotonic() + 1_000_000 });
  const calls = [1, 2, 3].map(() => before.wrap(send)(call()));
  await clock.settle();
  const after = limitsOf(clock, { requestsPerMinute: 1, queueMax: 2 }, before);
  await t.rejects(after.wrap(send)(call()), { code: 'gateway.rate.limited' });
  await clock.advance(200_000);
  await Promise.all(calls);
});

t.test('clients are those of the present configuration: who shares a limit, and what limit is a client’s own', (t) => {
  const clock = createFakeClock();
  const deps = { clock, settings: SETTINGS, routeOf: (method: string, target: string) => `${method} ${target}` };
  const first = new Limits({ ...deps, clients: [clientConfig('a', 5)] });
  const limiter = first.ofCredential('crm');
  const shares = limiter.shares;
  first.ofClient('a')?.tryAcquire('a');
  const second = new Limits({ ...deps, clients: [clientConfig('a', 7)] }, { limits: first, isKept: () => true });
  t.equal(second.ofCredential('crm'), limiter);
  t.equal(limiter.shares, shares, 'the same clients keep their demands');
  t.match(second.states().at(-1), { perMinute: 7, used: 1 });
  const third = new Limits(
    { ...deps, clients: [clientConfig('a'), clientConfig('b')] },
    { limits: second, isKept: () => true },
  );
  t.not(limiter.shares, shares);
  t.equal(third.ofClient('a'), undefined);
  const fourth = new Limits({ ...deps, clients: [] }, { limits: third, isKept: () => false });
  t.not(fourth.ofCredential('crm'), limiter, 'another account starts afresh');
  t.end();
});

t.test('10,000 endpoints and 10,000 sessions, each of them limited, are not all remembered', (t) => {
  const clock = createFakeClock();
  const limits = new Limits({
    clock,
    settings: SETTINGS,
    clients: [],
    routeOf: (method, target) => `${method} ${target}`,
  });
  const own = limits.ofCredential('crm');
  for (let n = 0; n < 10_000; n += 1) {
    limits.learn(createCall({ target: `/api/v2/${n}` }), notice(10)).pauseUntil(clock.monotonic() + 3_600_000);
    limits.ofCredential(sessionLimitKey('crm', String(n))).tryAcquire('');
  }
  const count = limits.states().length;
  t.ok(count <= 12_500, `${count} are kept`);
  t.equal(limits.ofCredential('crm'), own, 'a configured credential is');
  t.end();
});

t.test('two routes that met the same limits crosswise do not wait for each other', async (t) => {
  const met: string[] = [];
  const stack = createStack(
    (clock) => async (request) => {
      request.record.attempts += 1;
      const key = met.shift();
      if (key !== undefined) return refusal('1', { key: `${key}.rate.per.minute`, namespace: 'some', value: 5 });
      await new Promise<void>((resolve) => clock.after(50, resolve));
      return createResponse(200);
    },
    { totalWaitMs: 300_000 },
  );
  for (let calls = 0; calls < 5; calls += 1) stack.run(createCall({ target: '/other' }));
  await stack.clock.advance(100);
  for (const [target, keys] of Object.entries({ '/one': ['a', 'b'], '/two': ['b', 'a'] })) {
    met.push(...keys);
    stack.run(createCall({ target }));
    await stack.clock.advance(5_000);
  }
  await stack.clock.advance(60_000);
  const calls = Array.from({ length: 20 }, (_, index) =>
    stack.run(createCall({ target: index % 2 ? '/one' : '/two' })),
  );
  await stack.clock.advance(5 * 60_000);
  t.same(
    calls.filter(({ status }) => status !== 200),
    [],
    'five a minute',
  );
  t.ok(calls.every(({ tookMs }) => tookMs < 4.1 * 60_000));
});
