// Calls are kept within the platform's limits without a caller seeing a 429 that waiting would have avoided.

import t from 'tap';
import { GatewayError } from '../../../src/errors.ts';
import { RateLimits } from '../../../src/upstream/rate-limit/rate-limit.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { clientConfig, createCall, createPlatform, createResponse, createStack, refusal } from './layer-fixtures.ts';

const LIMITED = { perMinute: 300, key: 'client.credentials.token.rate.per.minute' };

t.test(
  '600 calls of one client, or of nobody’s, take one minute and no refusal, whatever the phase of the window',
  async (t) => {
    for (const [idleMs, client] of [
      [0, null],
      [17_321, null],
      [0, 'c0'],
      [17_321, 'c0'],
    ] as const) {
      const clock = createFakeClock();
      const platform = createPlatform(clock, LIMITED);
      const stack = createStack(() => platform.send, {
        clock,
        settings: { requestsPerMinute: 300 },
        totalWaitMs: 600_000,
        clients: client === null ? [] : [clientConfig(client)],
      });
      await stack.clock.advance(idleMs);
      const outcomes = Array.from({ length: 600 }, () => stack.run(createCall({ client })));
      await stack.clock.advance(130_000);
      t.same(
        outcomes.filter(({ status }) => status !== 200),
        [],
        'every caller is served',
      );
      t.equal(platform.refused(), 0, 'nothing is refused');
      const lastMs = Math.max(...outcomes.map(({ tookMs }) => tookMs));
      t.ok(lastMs <= 60_050 * 1.03, `600 calls took ${lastMs} ms; two windows need 60050`);
      t.equal(stack.clock.pending, 0, 'no timer is left');
    }
  },
);

t.test('auto from a cold start costs at most 3 % refusals, which no caller sees', async (t) => {
  const clock = createFakeClock();
  const platform = createPlatform(clock, LIMITED);
  const stack = createStack(() => platform.send, { clock, totalWaitMs: 600_000 });
  const outcomes = Array.from({ length: 600 }, () => stack.run(createCall()));
  await stack.clock.advance(200_000);
  t.ok(outcomes.every(({ status }) => status === 200));
  t.ok(platform.refused() > 0, 'the limit was learnt the only way there is');
  t.ok(platform.refused() <= platform.seen.length * 0.03, `${platform.refused()} of ${platform.seen.length} refused`);
  t.match(stack.rateLimits.limits.states(), [
    { name: /client\.credentials\.token\.rate\.per\.minute of credential crm/, perMinute: 300, waiting: 0 },
  ]);
  const again = Array.from({ length: 300 }, () => stack.run(createCall()));
  const refusedBefore = platform.refused();
  await stack.clock.advance(120_000);
  t.ok(again.every(({ status }) => status === 200));
  t.equal(platform.refused(), refusedBefore, 'what was learnt is kept to');
});

t.test('who cannot be served within total_wait is told at once, with a Retry-After that is true', async (t) => {
  const stack = createStack((clock) => createPlatform(clock, LIMITED).send, { settings: { requestsPerMinute: 300 } });
  const outcomes = Array.from({ length: 400 }, () => stack.run(createCall()));
  await stack.clock.advance(50);
  const refused = outcomes.filter(({ code }) => code === 'gateway.rate.limited');
  t.equal(refused.length, 100);
  t.ok(refused.every(({ tookMs, status }) => tookMs <= 50 && status === 429));
  const waitMs = Math.max(...refused.map(({ retryAfterMs }) => retryAfterMs as number));
  t.ok(waitMs > 59_000 && waitMs <= 61_000, `${waitMs} ms`);
  await stack.clock.advance(Math.ceil(waitMs / 1000) * 1000);
  const back = refused.map(() => stack.run(createCall()));
  await stack.clock.advance(50);
  t.ok(
    back.every(({ status, tookMs }) => status === 200 && tookMs <= 50),
    'who comes back then is served',
  );
});

t.test('a 429 of one endpoint pauses that method and route, and delays no other', async (t) => {
  const reports = 'GET /api/v2/reports';
  const clock = createFakeClock();
  const platform = createPlatform(clock, {
    ...LIMITED,
    endpoints: [{ route: reports, perMinute: 2, key: 'reports.rate.per.minute' }],
  });
  const stack = createStack(() => platform.send, { clock });
  const first = Array.from({ length: 4 }, () => stack.run(createCall({ target: '/api/v2/reports' })));
  await stack.clock.advance(100);
  const others = Array.from({ length: 20 }, () => stack.run(createCall()));
  const posted = stack.run(createCall({ target: '/api/v2/reports', method: 'POST' }));
  await stack.clock.advance(50);
  t.ok(others.every(({ status, tookMs }) => status === 200 && tookMs === 50));
  t.match(posted, { status: 200, tookMs: 50 });
  t.same(
    first.map(({ status }) => status).sort(),
    [200, 200, 429, 429],
    'one minute is more than total_wait, so the 429 itself is the answer',
  );
  t.ok(first.every(({ code }) => code === null));
  const later = stack.run(createCall({ target: '/api/v2/reports' }));
  await stack.clock.advance(0);
  t.match(later, { status: 429, code: 'gateway.rate.limited' }, 'the next one is not even sent');
  t.ok((later.retryAfterMs as number) > 59_000);
  t.equal(platform.refused(), 2);
  await stack.clock.advance(61_000);
  const afterwards = stack.run(createCall({ target: '/api/v2/reports' }));
  await stack.clock.advance(50);
  t.match(afterwards, { status: 200 });
});

t.test('a daily limit is told as long as it lasts, and no wish counts for more than a day', async (t) => {
  for (const [wished, told] of [
    ['7200', 7_200_000],
    ['999999', 86_400_000],
  ] as const) {
    let sent = 0;
    const stack = createStack(() => async () => {
      sent += 1;
      return refusal(wished, { key: 'token.rate.per.day', namespace: 'platform.api', value: 300 });
    });
    const first = stack.run(createCall());
    await stack.clock.advance(0);
    t.match(first, { status: 429, code: null }, 'the first caller sees what the platform said');
    const later = stack.run(createCall());
    await stack.clock.advance(0);
    t.match(later, { status: 429, code: 'gateway.rate.limited', retryAfterMs: told });
    t.equal(sent, 1);
  }
});

t.test('a 429 whose Retry-After fits the budget is waited for, given as seconds or as a date', async (t) => {
  for (const kind of ['seconds', 'date'] as const) {
    let sent = 0;
    const stack = createStack((clock) => async () => {
      sent += 1;
      const at = Math.ceil(clock.now() / 1000) * 1000 + 7000;
      if (sent === 1)
        return refusal(kind === 'seconds' ? '7' : new Date(at).toUTCString(), {
          key: 'token.rate.per.minute',
          value: 300,
        });
      return createResponse(200);
    });
    const call = stack.run(createCall({ method: 'POST' }));
    await stack.clock.advance(0);
    const follower = stack.run(createCall({ target: '/api/v2/other' }));
    await stack.clock.advance(6_900);
    t.equal(sent, 1, 'the whole credential waits');
    await stack.clock.advance(200);
    t.match(call, { status: 200, request: { record: { retryReasons: ['429'] } } });
    t.match(follower, { status: 200, request: { record: { retryReasons: null, heldBy: /token\.rate/ } } });
    t.ok(follower.request.record.queueMs >= 6_900, 'queue time is told');
    t.equal(sent, 3);
  }
});

t.test('other credentials are not held up', async (t) => {
  const stack = createStack(
    () => async (request) =>
      request.limitKey === 'crm' ? refusal('10', { key: 'token.rate.per.minute', value: 300 }) : createResponse(200),
  );
  stack.run(createCall());
  await stack.clock.advance(0);
  const other = stack.run(createCall({ credential: 'wfm' }));
  await stack.clock.advance(0);
  t.match(other, { status: 200, tookMs: 0 });
});

t.test(
  'a 429 that says nothing of a limit concerns its own route; one without Retry-After is tried again by our own ' +
    'patience, then passes',
  async (t) => {
    let sent = 0;
    const answers: ReturnType<typeof refusal>[] = [];
    const stack = createStack(() => async (request) => {
      if (request.target !== '/api/v2/users') return createResponse(200);
      sent += 1;
      answers.push(refusal(null, null));
      return answers[answers.length - 1]!;
    });
    const call = stack.run(createCall());
    await stack.clock.advance(0);
    const other = stack.run(createCall({ target: '/api/v2/queues' }));
    await stack.clock.advance(0);
    t.match(other, { status: 200, tookMs: 0 });
    await stack.clock.advance(15_000);
    t.match(call, { status: 429, code: null });
    t.equal(sent, 4, 'retry_max more attempts');
    t.equal(call.response, answers[3], 'the answer is the upstream’s own');
    t.same(
      answers.map(({ uses }) => uses),
      [['discard'], ['discard'], ['discard'], []],
    );
  },
);

t.test('a body that cannot be sent again lets the 429 pass', async (t) => {
  let sent = 0;
  const stack = createStack(() => async () => {
    sent += 1;
    return refusal('1', { key: 'token.rate.per.minute', value: 300 });
  });
  const body = {
    canReplay: false,
    receivedBytes: 1,
    isStreaming: true,
    isAwaitingCaller: false,
    attempt: () => null,
    release() {},
  };
  const call = stack.run(createCall({ method: 'POST', body }));
  await stack.clock.advance(10_000);
  t.match(call, { status: 429, code: null });
  t.equal(sent, 1);
});

t.test('a place opens a minute after the call reached the platform, however long its answer takes', async (t) => {
  const clock = createFakeClock();
  const platform = createPlatform(clock, { ...LIMITED, perMinute: 2, latencyMs: 30_000 });
  const stack = createStack(() => platform.send, { clock, settings: { requestsPerMinute: 2 }, totalWaitMs: 100_000 });
  stack.run(createCall());
  stack.run(createCall());
  await clock.advance(20_000);
  stack.run(createCall());
  await clock.advance(100_000);
  const third = platform.seen[2]!.at;
  t.ok(third >= 60_000 && third <= 61_200, `${third} ms`);
  t.equal(platform.refused(), 0);
});

t.test('where it took long to connect, the call counts from when it was written', async (t) => {
  const clock = createFakeClock();
  const dialled = [4_000, 4_000];
  const limit = { ...LIMITED, perMinute: 2, isSliding: true, latencyMs: 30_000, dial: () => dialled.shift() ?? 0 };
  const platform = createPlatform(clock, limit);
  const stack = createStack(() => platform.send, { clock, settings: { requestsPerMinute: 2 }, totalWaitMs: 100_000 });
  stack.run(createCall());
  stack.run(createCall());
  await clock.advance(20_000);
  stack.run(createCall());
  await clock.advance(100_000);
  t.equal(platform.refused(), 0);
  const third = platform.seen[2]!.at;
  t.ok(third >= 64_000 && third <= 65_200, `${third} ms`);
});

t.test('where all answers are late, calls are taken to have arrived late as well', async (t) => {
  const clock = createFakeClock();
  let wayMs = 4_000;
  const platform = createPlatform(clock, { ...LIMITED, perMinute: 100, isSliding: true, way: () => wayMs });
  const stack = createStack(() => platform.send, { clock, settings: { requestsPerMinute: 100 }, totalWaitMs: 200_000 });
  for (let call = 0; call < 10; call += 1) stack.run(createCall());
  await clock.advance(70_000);
  const outcomes = Array.from({ length: 200 }, () => stack.run(createCall()));
  await clock.advance(10_000);
  wayMs = 0;
  await clock.advance(120_000);
  t.ok(outcomes.every(({ status }) => status === 200));
  t.equal(platform.refused(), 0);
});

t.test('a caller that leaves gives its place up', async (t) => {
  const clock = createFakeClock();
  const platform = createPlatform(clock, LIMITED);
  const stack = createStack(() => platform.send, { clock, settings: { requestsPerMinute: 1 }, totalWaitMs: 100_000 });
  stack.run(createCall());
  const leaving = stack.run(createCall());
  const staying = stack.run(createCall());
  await stack.clock.advance(1000);
  t.match(staying, { code: 'gateway.rate.limited' }, 'two minutes are too long');
  leaving.request.leave();
  const next = stack.run(createCall());
  await stack.clock.advance(61_000);
  t.match(leaving, { status: 499 });
  t.match(next, { status: 200 }, 'the place went to another');
  t.equal(platform.seen.length, 2);
  t.equal(stack.clock.pending, 0);
});

t.test('the queue is bounded, and a full one makes room for whom it is fair to make capacity', async (t) => {
  const stack = createStack((clock) => createPlatform(clock, LIMITED).send, {
    settings: { requestsPerMinute: 1, queueMax: 3 },
    totalWaitMs: 1_000_000,
  });
  stack.run(createCall({ client: 'a' }));
  const greedy = Array.from({ length: 4 }, () => stack.run(createCall({ client: 'a' })));
  await stack.clock.advance(0);
  t.match(
    greedy.map(({ code }) => code),
    [null, null, null, 'gateway.rate.limited'],
  );
  const modest = stack.run(createCall({ client: 'b' }));
  await stack.clock.advance(0);
  t.match(
    greedy.map(({ code }) => code),
    [null, null, 'gateway.rate.limited', 'gateway.rate.limited'],
  );
  await stack.clock.advance(60_200);
  t.match(modest, { status: 200 });
});

t.test('a limit of the client’s own is kept to, and leaves the others alone', async (t) => {
  const stack = createStack((clock) => createPlatform(clock, LIMITED).send, {
    clients: [clientConfig('a', 5), clientConfig('b')],
  });
  const own = Array.from({ length: 6 }, () => stack.run(createCall({ client: 'a' })));
  const others = Array.from({ length: 20 }, () => stack.run(createCall({ client: 'b' })));
  await stack.clock.advance(50);
  t.same(
    own.map(({ status }) => status),
    [200, 200, 200, 200, 200, 429],
  );
  t.match(own[5], { code: 'gateway.rate.limited', request: { record: { heldBy: 'requests_per_minute of client a' } } });
  t.ok(others.every(({ status }) => status === 200));
});

t.test('report counts and says, but holds nothing; off does nothing', async (t) => {
  for (const mode of ['report', 'off'] as const) {
    const clock = createFakeClock();
    const platform = createPlatform(clock, LIMITED);
    const stack = createStack(() => platform.send, {
      clock,
      settings: { requestsPerMinute: 300, mode },
    });
    const outcomes = Array.from({ length: 310 }, () => stack.run(createCall()));
    await stack.clock.advance(50);
    t.equal(outcomes.filter(({ status }) => status === 429).length, 10);
    t.ok(
      outcomes.every(({ code }) => code === null),
      'every 429 is the platform’s own',
    );
    t.equal(platform.seen.length, 310);
    t.equal(stack.warnings.length, mode === 'report' ? 1 : 0);
  }
});

t.test('while nothing is limited no timer is set and nothing waits', async (t) => {
  const stack = createStack(() => async () => createResponse(200));
  for (let index = 0; index < 200; index += 1) stack.run(createCall());
  t.equal(stack.clock.pending, 0);
  await stack.clock.settle();
  t.equal(stack.clock.pending, 0);
  const fast = Array.from({ length: 2_000 }, () => stack.run(createCall()));
  await stack.clock.advance(5_000);
  t.ok(
    fast.every(({ status }) => status === 200),
    'a platform without limits is not slowed for long',
  );
});

t.test('a call that had no token used nothing of the limit up', async (t) => {
  const clock = createFakeClock();
  const rateLimits = new RateLimits({
    ...{ clock, random: () => 0, clients: [], routeOf: (method: string) => method },
    log: { error() {}, warn() {}, info() {}, debug() {} },
    settings: { mode: 'enforce', requestsPerMinute: 'auto', queueMax: 10 },
    retry: { max: 3, waitMinMs: 1000, waitMaxMs: 5000 },
  });
  const used = () => rateLimits.limits.states().map((state) => state.used);
  const failing = rateLimits.wrap(() => Promise.reject(new GatewayError('gateway.login.required', 'log in')));
  await t.rejects(failing(createCall()), { code: 'gateway.login.required' });
  t.same(used(), [0]);
  const broken = rateLimits.wrap((request) => {
    request.record.attempts += 1;
    return Promise.reject(new GatewayError('gateway.upstream.unreachable', 'reset'));
  });
  await t.rejects(broken(createCall()), { code: 'gateway.upstream.unreachable' });
  t.same(used(), [1], 'one that broke off on the way counts');
});

t.test('who waits is told in the order of their starts, and each starts when it was told', async (t) => {
  const clock = createFakeClock();
  const platform = createPlatform(clock, LIMITED);
  const stack = createStack(() => platform.send, {
    clock,
    settings: { requestsPerMinute: 60 },
    totalWaitMs: 600_000,
    clients: ['etl', 'ivr'].map((name) => clientConfig(name)),
  });
  t.equal(stack.rateLimits.limits.lines(50).size, 0, 'nobody waits');
  const calls = [
    ...Array.from({ length: 70 }, () => createCall({ client: 'etl' })),
    ...Array.from({ length: 4 }, () => createCall({ client: 'ivr' })),
  ];
  const outcomes = calls.map((call) => stack.run(call));
  await clock.advance(100);
  const [line = []] = [...stack.rateLimits.limits.lines(50).values()];
  t.equal(line.length, outcomes.filter(({ status }) => status === null).length);
  const starts = line.map(({ startsAt }) => startsAt);
  t.strictSame(
    starts,
    starts.toSorted((a, b) => a - b),
  );
  t.ok(line.every(({ client }) => client === 'etl' || client === 'ivr'));
  t.ok(
    starts.every((at) => at <= 61_000),
    'the first sixty calls make room for them after a minute',
  );
  const [cut = []] = [...stack.rateLimits.limits.lines(3).values()];
  t.strictSame(cut, line.slice(0, 3));
  for (const [at, { connection, startsAt }] of line.slice(0, 5).entries()) {
    const own = outcomes[calls.findIndex((call) => call.connection === connection)];
    await clock.advance(Math.max(0, startsAt - clock.monotonic()) + 1_000);
    t.equal(own?.status, 200, `number ${at + 1} went as it was told`);
  }
  await clock.advance(200_000);
  t.equal(stack.rateLimits.limits.lines(50).size, 0);
});
