// Limits are asked for before they are met: once, then daily, never in the way of a call; whatever is answered.

import t, { type Test } from 'tap';
import type { Credential } from '../../../src/auth/credentials/credentials.ts';
import type { Token } from '../../../src/auth/credentials/token-source.ts';
import type { GrantType } from '../../../src/config/sections/credential.ts';
import { AskedLimits } from '../../../src/upstream/asked-limits.ts';
import type { UpstreamResponse } from '../../../src/upstream/call.ts';
import { type LimitSettings, Limits } from '../../../src/upstream/rate-limit/limits.ts';
import { type RateLimitDeps, RateLimits } from '../../../src/upstream/rate-limit/rate-limit.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createCall, createPlatform, createResponse, refusal } from './layer-fixtures.ts';

const TARGET = '/api/v2/organizations/limits/namespaces/platform.api';
const DAY_MS = 86_400_000;
const quiet = { error() {}, warn() {}, info() {}, debug() {} };

const listing = (entities: unknown) => createResponse(200, {}, JSON.stringify({ entities }));
const limit = (key: string, value: unknown, namespace: unknown = 'platform.api') => ({ key, namespace, value });
const TOLD = limit('client.credentials.token.rate.per.minute', 900);

interface Setup {
  readonly grantType?: GrantType;
  readonly settings?: Partial<LimitSettings>;
  readonly isEnabled?: boolean;
  readonly answer?: () => UpstreamResponse | Promise<UpstreamResponse>;
}

function setUp(
  t: Test,
  { grantType = 'client_credentials', settings, isEnabled = true, answer = () => listing([TOLD]) }: Setup,
) {
  const clock = createFakeClock();
  const asked: { target: string; at: number }[] = [];
  const deps: RateLimitDeps = {
    ...{ clock, random: () => 0.5, log: quiet, clients: [], routeOf: (method, target) => `${method} ${target}` },
    settings: { mode: 'enforce', requestsPerMinute: 'auto', queueMax: 1000, ...settings },
    retry: { max: 3, waitMinMs: 1000, waitMaxMs: 5000 },
  };
  let layer = new RateLimits(deps);
  let token: Token | null = { fingerprint: 'one', authorization: 'Bearer one' } as Token;
  let source = { current: () => token } as Credential['source'];
  const credential = (): Credential =>
    ({ config: { name: 'crm', grantType, hosts: { api: {} } }, source }) as unknown as Credential;
  const inUse = () => ({
    config: { rateLimit: { ...deps.settings, connections: 1 } },
    credentials: { get: (name: string) => (name === 'crm' ? credential() : undefined), list: () => [credential()] },
    upstream: {
      aside: (request: Parameters<RateLimits['sendAside']>[1]) =>
        layer.sendAside(async ({ target, record }) => {
          record.attempts += 1;
          asked.push({ target, at: clock.monotonic() });
          return answer();
        }, request),
      parts: {
        get limits() {
          return layer.limits;
        },
      },
    },
  });
  const questions = new AskedLimits({ clock, log: quiet, inUse, isEnabled });
  t.teardown(() => questions.close());
  return {
    clock,
    asked,
    questions,
    layer: () => layer,
    note: (isRenewal = false) => token && questions.noteToken('crm', token, isRenewal),
    renew(fingerprint: string) {
      token = { fingerprint, authorization: `Bearer ${fingerprint}` } as Token;
      questions.noteToken('crm', token, true);
    },
    logIn(fingerprint: string) {
      token = { fingerprint, authorization: `Bearer ${fingerprint}` } as Token;
      source = { current: () => token } as Credential['source'];
      questions.noteToken('crm', token, false);
    },
    logOut() {
      token = null;
    },
    reload(changed: Partial<LimitSettings>) {
      Object.assign(deps.settings, changed);
      layer = new RateLimits({ ...deps }, { limits: layer.limits, isKept: () => true });
      questions.reconsider();
    },
    own: () => layer.limits.states()[0],
  };
}

t.test(
  'a credential’s limit is known before its first call, and asked for again a day later, whatever is renewed',
  async (t) => {
    let value = 900;
    const setup = setUp(t, { answer: () => listing([limit(TOLD.key, value), limit('request.bytes.max', 512_000)]) });
    const { clock, asked, own } = setup;
    setup.note();
    t.equal(asked.length, 0, 'not before calls that waited for the token');
    await clock.settle();
    t.same(asked, [{ target: TARGET, at: 0 }]);
    t.match(own(), { perMinute: 900, source: 'asked', limit: `platform.api:${TOLD.key}`, used: 1 });
    setup.note();
    setup.renew('two');
    await clock.advance(DAY_MS - 1);
    t.equal(asked.length, 1);
    value = 600;
    await clock.advance(1);
    t.equal(asked.length, 2);
    t.match(own(), { perMinute: 600, source: 'asked' });
    setup.logIn('another');
    await clock.settle();
    t.equal(asked.length, 3, 'another account is asked about at once');
    setup.questions.close();
    t.equal(clock.pending, 0);
  },
);

t.test('which limits hold depends on the grant', async (t) => {
  const entities = [
    TOLD,
    limit('token.rate.per.minute', 400),
    limit('org.app.user.rate.per.minute', 350),
    limit('org.user.rate.per.minute', 10),
    limit('user.rate.per.minute', 5),
  ];
  for (const [grantType, perMinute] of [
    ['client_credentials', 900],
    ['pkce', 350],
    ['authorization_code', 350],
    ['implicit', 350],
    ['saml2_bearer', 350],
    ['access_token', 400],
  ] as const) {
    const setup = setUp(t, { grantType, answer: () => listing(entities) });
    setup.note();
    await setup.clock.settle();
    t.match(setup.own(), { perMinute, source: 'asked' }, grantType);
  }
  const setup = setUp(t, { answer: () => listing([limit('token.rate.per.minute', 400)]) });
  setup.note();
  await setup.clock.settle();
  t.match(setup.own(), { perMinute: 400 }, 'of tokens in general where of services nothing is told');
});

t.test('an answer that is none leaves everything as it was', async (t) => {
  const bad: Record<string, () => UpstreamResponse> = {
    ...Object.fromEntries(
      [0, -1, 0.2, '300', null, true, {}, [300], 1e9, Number.MAX_SAFE_INTEGER].map((value) => [
        `the value ${JSON.stringify(value)}`,
        () => listing([limit(TOLD.key, value)]),
      ]),
    ),
    'another namespace': () => listing([limit(TOLD.key, 900, 'directory')]),
    'another key': () => listing([limit('constructor', 900), limit('__proto__', 900)]),
    'entries that are none': () => listing([null, 1, 'x', [], {}, { key: 5, value: 5 }]),
    'no list': () => listing({ 0: TOLD }),
    nothing: () => createResponse(200, {}, '{}'),
    'a list alone': () => createResponse(200, {}, JSON.stringify([TOLD])),
    'no JSON': () => createResponse(200, {}, '<html>'),
  };
  for (const [what, answer] of Object.entries(bad)) {
    const setup = setUp(t, { answer });
    setup.note();
    await setup.clock.settle();
    t.equal(setup.asked.length, 1, what);
    t.match(setup.own(), { perMinute: null, source: null, used: 1 }, what);
  }
});

t.test('a refusal is taken at its word until the next day; what may pass is asked again three times', async (t) => {
  for (const [status, times] of [
    [403, 1],
    [404, 1],
    [400, 1],
    [301, 1],
    [401, 1],
    [500, 4],
    [503, 4],
  ] as const) {
    const setup = setUp(t, { answer: () => createResponse(status, {}, '{"code":"not.found"}') });
    setup.note();
    await setup.clock.advance(DAY_MS / 2);
    t.equal(setup.asked.length, times, `${status}`);
    t.match(setup.own(), { perMinute: null });
    await setup.clock.advance(DAY_MS / 2 + 3_600_000);
    t.ok(setup.asked.length > times, 'then again');
    t.ok(setup.asked.length <= times * 2);
  }
});

t.test('a 429 to the question teaches as any other, and it waits', async (t) => {
  let isFull = true;
  const { key } = TOLD;
  const setup = setUp(t, { answer: () => (isFull ? refusal('20', { ...TOLD, value: 100 }) : listing([TOLD])) });
  setup.note();
  await setup.clock.settle();
  t.match(setup.own(), { perMinute: 100, source: 'met', pausedMs: 20_000, limit: `platform.api:${key}` });
  isFull = false;
  await setup.clock.advance(31_000);
  t.equal(setup.asked.length, 1, 'few calls are let in for a minute, and this is none of them');
  await setup.clock.advance(300_000);
  t.equal(setup.asked.length, 2);
  t.match(setup.own(), { perMinute: 100, source: 'met' }, 'a refusal is the surer word');
  await setup.clock.advance(31 * 60_000);
  setup.layer().limits.ofCredential('crm');
  t.match(setup.own(), { perMinute: 900, source: 'asked' }, 'as long as it is fresh');
});

t.test('what was answered and then refuted by a refusal is not believed again, unless it changes', async (t) => {
  let value = 900;
  const setup = setUp(t, { answer: () => listing([limit(TOLD.key, value)]) });
  setup.note();
  await setup.clock.settle();
  const notice = { scope: 'token', key: TOLD.key, namespace: 'platform.api', perMinute: 300, retryAfterMs: 1 } as const;
  setup.layer().limits.learn(createCall(), notice);
  t.match(setup.own(), { perMinute: 300, source: 'met' });
  const later = () => {
    setup.layer().limits.ofCredential('crm');
    return setup.own();
  };
  await setup.clock.advance(31 * 60_000);
  t.match(later(), { perMinute: null, source: null });
  await setup.clock.advance(DAY_MS);
  t.equal(setup.asked.length, 2);
  t.match(later(), { perMinute: null }, 'the same answer');
  value = 1_200;
  await setup.clock.advance(DAY_MS);
  t.match(later(), { perMinute: 1_200, source: 'asked' });
});

t.test(
  'it is nobody’s question: not while calls wait, where little room is left, or a part of the platform is paused',
  async (t) => {
    const full = setUp(t, {});
    for (let call = 0; call < 290; call += 1) full.layer().limits.ofCredential('crm').tryAcquire('');
    full.note();
    await full.clock.advance(29_000);
    t.equal(full.asked.length, 0);
    const paused = setUp(t, {});
    paused
      .layer()
      .limits.learn(createCall({ target: TARGET }), {
        scope: 'route',
        key: null,
        namespace: null,
        perMinute: null,
        retryAfterMs: 1,
      })
      .pauseUntil(25_000);
    paused.note();
    await paused.clock.advance(20_000);
    t.equal(paused.asked.length, 0);
    t.match(paused.own(), { used: 0 }, 'and takes no place');
    await paused.clock.advance(11_000);
    t.equal(paused.asked.length, 1);
  },
);

t.test(
  'nothing is asked where it is not enabled, where a number is configured, or where nothing is paced',
  async (t) => {
    for (const setup of [
      setUp(t, { isEnabled: false }),
      setUp(t, { settings: { requestsPerMinute: 500 } }),
      setUp(t, { settings: { mode: 'off' } }),
    ]) {
      setup.note();
      setup.questions.reconsider();
      await setup.clock.advance(2 * DAY_MS);
      t.equal(setup.asked.length, 0);
      t.equal(setup.clock.pending, 0);
    }
    const report = setUp(t, { settings: { mode: 'report' } });
    report.note();
    await report.clock.settle();
    t.match(report.own(), { perMinute: 900 }, 'report counts by the same limits');
  },
);

t.test('a reload to auto asks at once; one to a number asks no more, and the number counts', async (t) => {
  const setup = setUp(t, { settings: { requestsPerMinute: 500 } });
  setup.note();
  await setup.clock.settle();
  t.match([setup.asked.length, setup.own()], [0, undefined]);
  setup.reload({ requestsPerMinute: 'auto' });
  await setup.clock.settle();
  t.match([setup.asked.length, setup.own()], [1, { perMinute: 900, source: 'asked' }]);
  setup.reload({ requestsPerMinute: 200 });
  await setup.clock.advance(3 * DAY_MS);
  t.match([setup.asked.length, setup.own()], [1, { perMinute: 200, source: 'configured' }]);
  setup.reload({ requestsPerMinute: 1_200 });
  t.match(setup.own(), { perMinute: 1_200, source: 'configured' }, 'a larger one as well, as after a start');
  setup.reload({ requestsPerMinute: 'auto' });
  await setup.clock.settle();
  t.match([setup.asked.length, setup.own()], [2, { perMinute: 900, source: 'asked' }]);
  setup.reload({ mode: 'enforce' });
  await setup.clock.settle();
  t.equal(setup.asked.length, 2, 'any other reload asks nothing');
});

t.test(
  'a logout, or a token that takes the place of another while it is asked, ends the question quietly',
  async (t) => {
    let release = () => {};
    const setup = setUp(t, { answer: () => new Promise((resolve) => (release = () => resolve(listing([TOLD])))) });
    setup.note();
    await setup.clock.settle();
    const first = release;
    setup.logIn('another');
    await setup.clock.settle();
    first();
    await setup.clock.settle();
    t.match(setup.own(), { perMinute: null }, 'an answer about who was there before is dropped');
    release();
    await setup.clock.settle();
    t.match(setup.own(), { perMinute: 900 });
    setup.logOut();
    await setup.clock.advance(2 * DAY_MS);
    t.equal(setup.asked.length, 2);
    t.equal(setup.clock.pending, 0);
  },
);

t.test('from cold, with the limit asked, nothing at all is refused in the first minute', async (t) => {
  const setup = setUp(t, { answer: () => listing([limit(TOLD.key, 300)]) });
  const { clock } = setup;
  const platform = createPlatform(clock, { perMinute: 300, key: TOLD.key });
  setup.note();
  await clock.settle();
  const send = setup.layer().wrap(platform.send);
  const calls = Array.from({ length: 600 }, () => send({ ...createCall(), waitUntil: clock.monotonic() + 600_000 }));
  await clock.advance(190_000);
  t.ok((await Promise.all(calls)).every(({ statusCode }) => statusCode === 200));
  t.equal(platform.refused(), 0);
});

t.test('a number of the configuration’s that is smaller than what is met counts', (t) => {
  const limits = new Limits({
    ...{ clock: createFakeClock(), clients: [], routeOf: (method: string, target: string) => `${method} ${target}` },
    settings: { mode: 'enforce', requestsPerMinute: 200, queueMax: 1000 },
  });
  limits.learn(createCall(), {
    scope: 'user',
    key: 'org.user.rate.per.minute',
    namespace: 'platform.api',
    perMinute: 3000,
    retryAfterMs: 1,
  });
  t.match(limits.states(), [{ perMinute: 200, source: 'configured' }]);
  limits.learn(createCall(), {
    scope: 'token',
    key: 'token.rate.per.minute',
    namespace: 'platform.api',
    perMinute: 100,
    retryAfterMs: 1,
  });
  t.match(limits.states(), [{ perMinute: 100, source: 'met', limit: 'platform.api:token.rate.per.minute' }]);
  t.end();
});
