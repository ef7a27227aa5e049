// What a 429 pauses: the token, a service, an organisation or a route, as the platform's body says, and nothing else.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { createLiveSecrets } from '../../../src/logging/redact/live-secrets.ts';
import { Limits } from '../../../src/upstream/rate-limit/limits.ts';
import { type RateLimitDeps, RateLimits } from '../../../src/upstream/rate-limit/rate-limit.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { clientConfig, createCall, createPlatform, createResponse, createStack, refusal } from './layer-fixtures.ts';

const quiet = { error() {}, warn() {}, info() {}, debug() {} };
const ORGANIZATION = 'b0a7e6a2-0000-4000-8000-000000000001';

interface Body {
  /** As the platform writes it; null: no `limit` at all. */
  readonly limit: object | null;
  readonly retryAfter?: string | null;
  /** What waits then: another route of the same service once it was refused, any other route, another token, …  */
  readonly pauses: 'token' | 'service' | 'organization' | 'route' | 'nothing';
  readonly name: string | null;
  /** What is learnt, where 60 calls were sent in the minute before. */
  readonly perMinute: number | null;
}

const BODIES: Readonly<Record<string, Body>> = {
  'the vendor’s example': {
    limit: { key: 'user.rate.per.minute', namespace: 'directory', value: 180 },
    pauses: 'service',
    name: 'directory:user.rate.per.minute',
    perMinute: null,
  },
  'a service’s limit of about what was used': {
    limit: { key: 'user.rate.per.minute', namespace: 'directory', value: 60 },
    pauses: 'service',
    name: 'directory:user.rate.per.minute',
    perMinute: 60,
  },
  'client credentials': {
    limit: { key: 'client.credentials.token.rate.per.minute', namespace: 'platform.api', value: 300 },
    pauses: 'token',
    name: 'platform.api:client.credentials.token.rate.per.minute',
    perMinute: 300,
  },
  'a token, without a namespace': {
    limit: { key: 'token.rate.per.minute', value: 300 },
    pauses: 'token',
    name: 'platform.api:token.rate.per.minute',
    perMinute: 300,
  },
  'the UI’s token': {
    limit: { key: 'ui.token.rate.per.minute', namespace: 'platform.api', value: 300 },
    pauses: 'token',
    name: 'platform.api:ui.token.rate.per.minute',
    perMinute: 300,
  },
  'a day’s limit of a token': {
    limit: { key: 'token.rate.per.day', namespace: 'platform.api', value: 30_000 },
    pauses: 'token',
    name: 'platform.api:token.rate.per.day',
    perMinute: null,
  },
  'a person with one application, which is not the organisation’s': {
    limit: { key: 'org.app.user.rate.per.minute', namespace: 'platform.api', value: 300 },
    pauses: 'token',
    name: 'platform.api:org.app.user.rate.per.minute',
    perMinute: 300,
  },
  'a person with all applications': {
    limit: { key: 'org.user.rate.per.minute', namespace: 'platform.api', value: 3000 },
    pauses: 'token',
    name: 'platform.api:org.user.rate.per.minute',
    perMinute: 3000,
  },
  'an organisation’s limit of a service': {
    limit: { key: 'org.rate.per.minute', namespace: 'routing', value: 100 },
    pauses: 'organization',
    name: 'routing:org.rate.per.minute',
    perMinute: 100,
  },
  'an organisation’s limit without Retry-After': {
    limit: { key: 'org.rate.per.minute', namespace: 'routing', value: 100 },
    retryAfter: null,
    pauses: 'nothing',
    name: 'routing:org.rate.per.minute',
    perMinute: 100,
  },
  'the body of 2021, which names no limit': { limit: null, pauses: 'route', name: null, perMinute: null },
  'a graduated limit of pages': {
    limit: { key: 'flows.list.rate.per.minute', namespace: 'architect', value: 12_000 },
    pauses: 'service',
    name: 'architect:flows.list.rate.per.minute',
    perMinute: null,
  },
  'a key without its service': {
    limit: { key: 'ivrs.rate.per.minute', value: 100 },
    pauses: 'route',
    name: 'ivrs.rate.per.minute',
    perMinute: 100,
  },
  'a service without a key': {
    limit: { namespace: 'directory', value: 10 },
    pauses: 'route',
    name: null,
    perMinute: null,
  },
  'a limit of calls at a time': {
    limit: { key: 'conversations.details.jobs.concurrent.max', namespace: 'analytics', value: 10 },
    pauses: 'service',
    name: 'analytics:conversations.details.jobs.concurrent.max',
    perMinute: null,
  },
  'names that are none': {
    limit: { key: 'a"b\n', namespace: 'x'.repeat(500), value: 10 },
    pauses: 'route',
    name: null,
    perMinute: null,
  },
  'a limit that is no object': { limit: ['token.rate.per.minute'], pauses: 'route', name: null, perMinute: null },
};

for (const value of [0, -5, 0.5, '300', null, Number.MAX_SAFE_INTEGER, {}, true])
  Object.assign(BODIES, {
    [`a value that is none: ${JSON.stringify(value)}`]: {
      limit: { key: 'token.rate.per.minute', namespace: 'platform.api', value },
      pauses: 'token',
      name: 'platform.api:token.rate.per.minute',
      perMinute: null,
    },
  });

/** What of a call is refused by a body, and what of others waits then. */
const ROUTES = { first: '/api/v2/users', same: '/api/v2/groups', other: '/api/v2/recordings' } as const;

for (const [what, { limit, retryAfter = '10', pauses, name, perMinute }] of Object.entries(BODIES)) {
  t.test(`a 429 that names ${what} pauses ${pauses}`, async (t) => {
    const refusing = new Set<string>();
    const stack = createStack(
      () => async (request) =>
        refusing.has(`${request.limitKey} ${request.target}`) ? refusal(retryAfter, limit) : createResponse(200),
      { totalWaitMs: 5_000 },
    );
    const { clock, run, rateLimits } = stack;
    for (const credential of ['crm', 'wfm']) rateLimits.limits.setOrganization(credential, ORGANIZATION);
    for (let sent = 0; sent < 60; sent += 1) {
      run(createCall({ target: '/api/v2/others' }));
      await clock.advance(10);
    }
    for (const target of [ROUTES.first, ROUTES.same]) {
      refusing.add(`crm ${target}`);
      const refused = run(createCall({ target }));
      await clock.advance(100);
      if (refused.code === null && refused.status === 429) t.equal(refused.request.record.limit, name);
    }
    refusing.clear();
    // Later it is known which routes belong together.
    await clock.advance(11_000);
    refusing.add(`crm ${ROUTES.first}`);
    run(createCall({ target: ROUTES.first }));
    await clock.advance(100);
    refusing.clear();
    const held = async (credential: string, target: string) => {
      const call = run(createCall({ credential, target }));
      await clock.advance(0);
      return call.status !== 200;
    };
    t.same(
      {
        first: await held('crm', ROUTES.first),
        same: await held('crm', ROUTES.same),
        other: await held('crm', ROUTES.other),
        elsewhere: await held('wfm', ROUTES.first),
      },
      {
        first: pauses !== 'nothing',
        same: pauses !== 'route' && pauses !== 'nothing',
        other: pauses === 'token',
        elsewhere: pauses === 'organization',
      },
    );
    const states = rateLimits.limits.states();
    const state = states.find((one) => one.limit === name && one.scope !== 'token') ?? states[0];
    t.equal(state?.perMinute, perMinute);
    t.equal(state?.source, perMinute === null ? null : 'met');
    if (name !== null && pauses !== 'token') t.match(state?.name, name);
  });
}

// The combinations: whose the limit is, what of it is said, how the gateway is set and what happens in between.

const KEYS = { token: 'token.rate.per.minute', service: 'user.rate.per.minute', organization: 'org.rate.per.minute' };
const MODES = ['enforce', 'report', 'off'] as const;
/** The organisation of the two credentials: known for both from the start, for both afterwards, for nobody. */
const KNOWN = ['before', 'afterwards', 'never'] as const;

function layer(clock: FakeClock, mode: RateLimitDeps['settings']['mode'], previous?: RateLimits) {
  const deps: RateLimitDeps = {
    ...{ clock, random: () => 0.5, log: quiet, clients: [clientConfig('a')] },
    routeOf: (method, target) => `${method} ${target}`,
    settings: { mode, requestsPerMinute: 'auto', queueMax: 1000 },
    retry: { max: 3, waitMinMs: 1000, waitMaxMs: 5000 },
  };
  return new RateLimits(deps, previous && { limits: previous.limits, isKept: () => true });
}

interface Combination {
  readonly kind: keyof typeof KEYS;
  readonly namespace: boolean;
  readonly known: (typeof KNOWN)[number];
  readonly reload: boolean;
  readonly mode: (typeof MODES)[number];
  readonly organizations: 1 | 2;
}

function* combinations(): Iterable<Combination> {
  for (const kind of Object.keys(KEYS) as (keyof typeof KEYS)[])
    for (const namespace of [true, false])
      for (const known of KNOWN)
        for (const reload of [true, false])
          for (const mode of MODES)
            for (const organizations of [1, 2] as const) yield { kind, namespace, known, reload, mode, organizations };
}

t.test(
  'whatever is known, set and replaced in between: a refusal pauses whom it names, and only while it is enforced',
  async (t) => {
    let rows = 0;
    for (const combination of combinations()) {
      const { kind, namespace, known, reload, mode, organizations } = combination;
      const clock = createFakeClock();
      const limit = { key: KEYS[kind], ...(namespace && { namespace: 'directory' }), value: 100 };
      let layers = layer(clock, mode);
      const tellOrganizations = () => {
        layers.limits.setOrganization('crm', 'one');
        layers.limits.setOrganization('wfm', organizations === 1 ? 'one' : 'two');
      };
      const waitUntil = () => clock.monotonic() + 3_000;
      const send = (credential: string, target: string, answer: () => ReturnType<typeof createResponse>) =>
        layers.wrap(async () => answer())({
          ...createCall({ credential, target, client: 'a' }),
          waitUntil: waitUntil(),
        });
      if (known === 'before') tellOrganizations();
      const refuse = () => refusal('10', limit);
      t.equal((await send('crm', ROUTES.first, refuse)).statusCode, 429);
      // Whatever waits for the whole token is not even sent.
      await send('crm', ROUTES.same, refuse).catch((error) => t.equal(error.code, 'gateway.rate.limited'));
      if (known === 'afterwards') tellOrganizations();
      if (reload) layers = layer(clock, mode, layers);
      const isHeld = async (credential: string, target: string) => {
        let sent = false;
        await send(credential, target, () => {
          sent = true;
          return createResponse(200);
        }).catch((error) => t.equal(error.code, 'gateway.rate.limited'));
        return !sent;
      };
      const isEnforced = mode === 'enforce';
      const isShared = kind === 'organization' && known !== 'never' && organizations === 1;
      t.same(
        [
          await isHeld('crm', ROUTES.first),
          await isHeld('crm', ROUTES.other),
          await isHeld('wfm', ROUTES.first),
          await isHeld('wfm', ROUTES.other),
          await isHeld('crm/a-session', ROUTES.first),
        ],
        [
          isEnforced,
          isEnforced && kind === 'token',
          isEnforced && isShared,
          false,
          isEnforced && kind === 'organization' && known !== 'never',
        ],
        JSON.stringify(combination),
      );
      await clock.advance(11_000);
      t.notOk(await isHeld('crm', ROUTES.first), 'and for as long as it said');
      rows += 1;
    }
    t.equal(rows, 216);
  },
);

t.test(
  'a name in which a secret of ours stands is no name: a platform that lies does not put it before people',
  async (t) => {
    const clock = createFakeClock();
    const secrets = createLiveSecrets();
    secrets.add('a-secret-of-ours-1234');
    const rateLimits = new RateLimits({ ...layerDeps(clock), clients: [], secrets });
    for (const named of [
      { key: 'a-secret-of-ours-1234', namespace: 'directory' },
      { key: 'x.a-secret-of-ours-1234.rate.per.minute', namespace: 'directory' },
      { key: 'user.rate.per.minute', namespace: 'a-secret-of-ours-1234' },
    ]) {
      const call = { ...createCall(), waitUntil: clock.monotonic() };
      await rateLimits.wrap(async () => refusal('10', { ...named, value: 10 }))(call);
      t.notMatch(JSON.stringify([rateLimits.limits.states(), call.record]), /a-secret/);
      await clock.advance(11_000);
    }
    t.match(rateLimits.limits.states()[1], { scope: 'route', limit: null });
  },
);

t.test('routes of a service wait in one queue, clients in turn, and count together', async (t) => {
  const clock = createFakeClock();
  const services = [
    { namespace: 'directory', key: 'user.rate.per.minute', perMinute: 10, paths: ['/api/v2/users', '/api/v2/groups'] },
  ];
  const platform = createPlatform(clock, { perMinute: 1_000, services });
  const stack = createStack(() => platform.send, { clock, totalWaitMs: 300_000 });
  const all = Array.from({ length: 30 }, (_, index) =>
    stack.run(createCall({ target: index % 2 === 0 ? ROUTES.first : ROUTES.same })),
  );
  await clock.advance(1_000);
  const others = Array.from({ length: 40 }, () => stack.run(createCall({ target: ROUTES.other })));
  await clock.advance(100);
  t.ok(others.every(({ status, request }) => status === 200 && request.record.queueMs === 0));
  await clock.advance(250_000);
  t.ok(all.every(({ status }) => status === 200));
  const refusedBefore = platform.refused();
  t.ok(refusedBefore <= 20, `${refusedBefore} refused while it was met`);
  const again = Array.from({ length: 30 }, (_, index) =>
    stack.run(createCall({ target: index % 2 === 0 ? ROUTES.first : ROUTES.same })),
  );
  await clock.advance(200_000);
  t.ok(again.every(({ status }) => status === 200));
  t.equal(platform.refused(), refusedBefore, 'then it is kept to over all its routes');
  t.match(
    again.at(-1)?.request.record.heldBy,
    /^the platform's limit directory:user\.rate\.per\.minute of credential crm$/,
  );
});

t.test('a call that waits for its token is not sent into a limit that its route met meanwhile', async (t) => {
  const clock = createFakeClock();
  const services = [{ namespace: 'directory', key: 'user.rate.per.minute', perMinute: 10, paths: ['/api/v2/users'] }];
  const platform = createPlatform(clock, { perMinute: 60, services });
  const stack = createStack(() => platform.send, {
    clock,
    settings: { requestsPerMinute: 60 },
    totalWaitMs: 900_000,
  });
  const all = Array.from({ length: 120 }, () => stack.run(createCall({ target: ROUTES.first })));
  await clock.advance(100);
  t.ok(platform.refused() <= 60, `${platform.refused()} refused of the 60 that had room`);
  await clock.advance(900_000);
  t.ok(all.every(({ status }) => status === 200));
});

t.test('two credentials of one organisation share its limit from the first refusal of either', async (t) => {
  const clock = createFakeClock();
  const services = [
    { namespace: 'routing', key: 'org.rate.per.minute', perMinute: 20, paths: ['/api/v2/routing'], isShared: true },
  ];
  const platform = createPlatform(clock, { perMinute: 1_000, services });
  const stack = createStack(() => platform.send, { clock, totalWaitMs: 300_000 });
  for (const name of ['crm', 'wfm']) stack.rateLimits.limits.setOrganization(name, ORGANIZATION);
  const target = '/api/v2/routing/queues';
  const both = () =>
    Array.from({ length: 40 }, (_, index) => stack.run(createCall({ target, credential: index % 2 ? 'crm' : 'wfm' })));
  const first = both();
  await clock.advance(200_000);
  t.ok(first.every(({ status }) => status === 200));
  const refused = platform.refused();
  const second = both();
  await clock.advance(200_000);
  t.ok(second.every(({ status }) => status === 200));
  t.equal(platform.refused(), refused);
  t.match(
    stack.rateLimits.limits.states().filter(({ scope }) => scope === 'organization'),
    [
      {
        organization: ORGANIZATION,
        credential: null,
        perMinute: 20,
        routes: [`GET ${target}`],
        limit: 'routing:org.rate.per.minute',
      },
    ],
  );
});

t.test('a limit that is graduated by page size is no pace: many small pages pass after a few large ones', async (t) => {
  const clock = createFakeClock();
  const services = [
    {
      namespace: 'architect',
      key: 'flows.rate.per.minute',
      perMinute: 600,
      paths: ['/api/v2/flows'],
      byPageSize: true,
    },
  ];
  const platform = createPlatform(clock, { perMinute: 10_000, services });
  const stack = createStack(() => platform.send, { clock, totalWaitMs: 100_000 });
  const large = Array.from({ length: 60 }, () => stack.run(createCall({ target: '/api/v2/flows?pageSize=500' })));
  await clock.advance(130_000);
  t.ok(large.every(({ status }) => status === 200));
  t.ok(platform.refused() > 0);
  const [, lane] = stack.rateLimits.limits.states();
  t.match(lane, { limit: 'architect:flows.rate.per.minute', perMinute: null, source: null });
});

t.test(
  'one credential becomes known as the organisation’s: what it met is shared, with the routes that have joined',
  async (t) => {
    const clock = createFakeClock();
    const limits = layer(clock, 'enforce').limits;
    const notice = {
      scope: 'organization',
      key: 'org.rate.per.minute',
      namespace: 'routing',
      perMinute: 1,
      retryAfterMs: 1,
    } as const;
    const call = (credential: string, target: string) => createCall({ credential, target });
    limits.ofCredential('crm').tryAcquire('a');
    limits.ofCredential('wfm').tryAcquire('a');
    limits.learn(call('crm', '/1'), notice).pauseUntil(clock.monotonic() + 30_000);
    limits.learn(call('wfm', '/2'), { ...notice, perMinute: 2 }).pauseUntil(clock.monotonic() + 60_000);
    t.equal(limits.states().filter(({ scope }) => scope === 'organization').length, 2);
    limits.setOrganization('crm', 'one');
    limits.setOrganization('wfm', 'one');
    const merged = limits.states().filter(({ scope }) => scope === 'organization');
    t.match(merged, [{ organization: 'one', perMinute: 1, pausedMs: 60_000, routes: ['GET /1', 'GET /2'] }]);
    t.equal(merged.length, 1);
    for (const [credential, target] of [
      ['crm', '/1'],
      ['crm', '/2'],
      ['wfm', '/1'],
      ['wfm', '/2'],
    ] as const)
      t.equal(limits.ofParts(call(credential, target)).length, 1);
    limits.setOrganization('wfm', 'another');
    t.equal(limits.ofParts(call('wfm', '/1')).length, 0, 'who logs in elsewhere leaves them behind');
    limits.setOrganization('crm', null);
    t.equal(limits.ofParts(call('crm', '/1')).length, 0);
  },
);

t.test(
  'credentials whose logins name one organisation share its limits, until the platform says whose they are',
  async (t) => {
    const clock = createFakeClock();
    const organizations = new Map([
      ['crm', 'acme/eu (mypurecloud.de)'],
      ['wfm', 'acme/eu (mypurecloud.de)'],
      ['hr', 'other (mypurecloud.de)'],
    ]);
    const limits = new Limits({ ...layerDeps(clock), clients: [clientConfig('a'), clientConfig('b')], organizations });
    const call = (credential: string) => createCall({ credential });
    const notice = { scope: 'organization', key: 'org.rate.per.minute', namespace: 'routing' } as const;
    limits.learn(call('crm'), { ...notice, perMinute: null, retryAfterMs: 1 });
    const parts = () => ['crm', 'wfm', 'hr', 'nobody'].map((credential) => limits.ofParts(call(credential)).length);
    t.same(parts(), [1, 1, 0, 0]);
    const [limiter] = limits.ofParts(call('wfm'));
    t.ok(limiter?.shares, 'among all clients');
    t.match(limits.states().at(-1), { organization: 'acme/eu (mypurecloud.de)', credential: null });
    limits.setOrganization('crm', ORGANIZATION);
    t.same(parts(), [1, 0, 0, 0]);
    limits.setOrganization('wfm', ORGANIZATION);
    t.same(parts(), [1, 1, 0, 0]);
    t.equal(limits.ofParts(call('wfm'))[0], limiter, 'with what it has counted');
  },
);

t.test('a refusal of a call that began before a reload is known after it', async (t) => {
  const clock = createFakeClock();
  const before = layer(clock, 'enforce');
  let refuse = () => {};
  const limit = { key: 'user.rate.per.minute', namespace: 'directory', value: 10 };
  const late = before.wrap(() => new Promise((resolve) => (refuse = () => resolve(refusal('10', limit)))));
  const first = late({ ...createCall(), waitUntil: clock.monotonic() });
  const after = layer(clock, 'enforce', before);
  refuse();
  await first;
  t.equal(after.limits.ofParts(createCall()).length, 1);
  const other = new RateLimits({ ...layerDeps(clock), clients: [] }, { limits: after.limits, isKept: () => false });
  after.limits.learn(createCall(), { scope: 'route', key: null, namespace: null, perMinute: null, retryAfterMs: 1 });
  t.equal(other.limits.ofParts(createCall()).length, 0, 'and nothing to another account of the same name');
});

function layerDeps(clock: FakeClock): Omit<RateLimitDeps, 'clients'> {
  return {
    ...{ clock, random: () => 0.5, log: quiet, routeOf: (method: string, target: string) => `${method} ${target}` },
    settings: { mode: 'enforce', requestsPerMinute: 'auto', queueMax: 1000 },
    retry: { max: 3, waitMinMs: 1000, waitMaxMs: 5000 },
  };
}

t.test('a platform that names ever new limits, on ever new routes, is not remembered without end', async (t) => {
  const clock = createFakeClock();
  const limits = new Limits({ ...layerDeps(clock), clients: [] });
  const pause = (target: string, key: string, namespace: string | null) =>
    limits
      .learn(createCall({ target }), { scope: 'service', key, namespace, perMinute: 10, retryAfterMs: 1 })
      .pauseUntil(clock.monotonic() + 3_600_000);
  const before = await usedBytes();
  for (let n = 0; n < 20_000; n += 1) {
    pause(`/${n}`, `${n}.rate.per.minute`, 'some');
    pause('/one', `${n}.rate.per.minute`, 'some');
    pause(`/${n}`, 'one.rate.per.minute', 'some');
  }
  const grownBytes = (await usedBytes()) - before;
  const states = limits.states();
  t.ok(states.length <= 1_002, `${states.length} limits`);
  t.comment(`${grownBytes / states.length} octets each`);
  t.ok(grownBytes < 8 * 1024 * 1024, `${(grownBytes / 1024 / 1024).toFixed(1)} MiB`);
  t.ok(limits.ofParts(createCall({ target: '/one' })).length <= 8);
  const [one] = states.filter(({ limit }) => limit === 'some:one.rate.per.minute');
  t.equal(one?.routes?.length, 20);
});

t.test('a limit that ever more routes join forgets the first of them', (t) => {
  const limits = new Limits({ ...layerDeps(createFakeClock()), clients: [] });
  const notice = { scope: 'service', key: 'one.rate.per.minute', namespace: 'some', perMinute: 10 } as const;
  const partsOf = (route: number) => limits.ofParts(createCall({ target: `/${route}` })).length;
  for (let route = 0; route < 6_000; route += 1)
    limits.learn(createCall({ target: `/${route}` }), { ...notice, retryAfterMs: 1 });
  t.same([partsOf(0), partsOf(999), partsOf(1_000), partsOf(5_999)], [0, 0, 1, 1]);
  t.end();
});

async function usedBytes(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Octets of arrays are given back a little later than the arrays.
  for (let round = 0; round < 5; round += 1) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
