import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Clock } from '../../src/clock.ts';
import { createGateway } from '../../src/gateway.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createUsers } from '../../src/sandbox/directory.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { allCredentials, assertionFor, basic, clientNamed, followLogin, postToken } from '../helpers/clients.ts';
import { createFakeClock, type FakeClock } from '../helpers/fake-clock.ts';
import { type ConfigOverrides, configAt, createTestLog, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';

const SOMEBODY = (createUsers(1)[0] as { email: string }).email;
const REDIRECT = 'http://localhost:7777/callback';

/** An anonymous gateway: whatever is not a good handle would be the default credential, if it were allowed to. */
async function start(t: Test, overrides: ConfigOverrides = {}, clock?: Clock): Promise<TestGateway> {
  const sandbox = { ...(clock && { clock }), switches: { login: { approve: SOMEBODY } } };
  const config = (origin: string) => ({
    credentials: allCredentials(origin),
    server: { anonymousCredentials: ['*'] },
    ...overrides,
  });
  const started = await startGateway(t, { sandbox, config, ...(clock && { clock }) });
  return started;
}

async function startLimited(
  t: Test,
  clock: Clock | undefined,
  sessionLimits: { max: number; idleMs: number },
): Promise<TestGateway> {
  const sandbox = createSandbox({ ...(clock && { clock }), switches: { login: { approve: SOMEBODY } } });
  const { origin } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const config = configAt(origin, { credentials: allCredentials(origin), server: { anonymousCredentials: ['*'] } });
  const log = createTestLog();
  const gateway = await createGateway(config, { log, env: {}, sessionLimits, ...(clock && { clock }) });
  const [url = ''] = await gateway.listen();
  t.teardown(() => gateway.drain());
  await gateway.runtime().credentials.default()?.source.token();
  return { url, port: Number(new URL(url).port), gateway, sandbox, log, config };
}

async function loginByCode(url: string) {
  const query = `response_type=code&client_id=${DEMO_CLIENTS.code.id}&redirect_uri=${encodeURIComponent(REDIRECT)}`;
  const { code } = await followLogin(`${url}/oauth/authorize?${query}`);
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT };
  return (await postToken(url, form, { authorization: basic(DEMO_CLIENTS.code.id, 'x') })).body;
}

async function loginBySaml(url: string) {
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer',
    orgName: 'Simulated Organization',
    assertion: assertionFor(SOMEBODY),
  };
  return (await postToken(url, form, { authorization: basic(DEMO_CLIENTS.saml2Bearer.id, 'x') })).body;
}

async function call(url: string, token: string, path = '/api/v2/users/me', method = 'GET') {
  const answer = await fetch(url + path, { method, headers: { authorization: `Bearer ${token}` } });
  const body = (await answer.json().catch(() => null)) as { email?: string } | null;
  return { status: answer.status, code: answer.headers.get('x-gateway-error'), email: body?.email };
}

/** Lets the clock run, slowly against the network's real one, until the work is done. */
async function meanwhile<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  while (!isDone) await clock.advance(10);
  return done;
}

/** The handle is over, and nobody else answered in its place: nothing reached the API. */
async function assertOver(t: Test, { url, sandbox }: TestGateway, token: string, name: string) {
  const before = sandbox.stats.apiCallsTotal;
  for (const path of ['/api/v2/users/me', '/default/api/v2/users', '/api/v2/tokens/me']) {
    t.match(await call(url, token, path), { status: 401, code: 'gateway.session.ended' }, name);
  }
  t.equal(sandbox.stats.apiCallsTotal, before, 'nothing went upstream');
}

t.test('a session serves its own user, and anybody else is the default credential', async (t) => {
  const { url } = await start(t);
  const { access_token: handle } = await loginByCode(url);
  t.match(await call(url, handle), { status: 200, email: SOMEBODY });
  t.match(await call(url, 'anything', '/api/v2/users'), { status: 200 });
});

t.test('unknown: 401, never the default credential', async (t) => {
  const started = await start(t);
  for (const token of [
    'gcgh_',
    'gcgh_x',
    'gcgh_sAAAA',
    `gcgh_s${'A'.repeat(43)}`,
    'gcgh_cAAAA.AAAA',
    'gcgh_c',
    'gcgh_c.',
  ])
    await assertOver(t, started, token, token);
  const { access_token: good } = (
    await postToken(started.url, { grant_type: 'client_credentials' }, { authorization: basic('x', 'y') })
  ).body;
  t.equal((await call(started.url, good, '/api/v2/users')).status, 200);
  const [payload = '', signature = ''] = good.split('.');
  await assertOver(t, started, `${payload}x.${signature}`, 'a changed payload');
  await assertOver(
    t,
    started,
    `${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`,
    'a changed signature',
  );
  await assertOver(t, started, `${good}A`, 'a longer one');
  const forged = Buffer.from(JSON.stringify(['id', null, 'default', null, Date.now()])).toString('base64url');
  await assertOver(t, started, `gcgh_c${forged}.${signature}`, 'a forged one');
});

t.test('revoked by its own DELETE: 401, for the handle and for its refresh handle', async (t) => {
  const started = await start(t);
  const { access_token: handle, refresh_token: refresh = '' } = await loginByCode(started.url);
  t.equal((await call(started.url, handle, '/api/v2/tokens/me', 'DELETE')).status, 200);
  await assertOver(t, started, handle, 'session');
  const again = await postToken(
    started.url,
    { grant_type: 'refresh_token', refresh_token: refresh },
    { authorization: basic(DEMO_CLIENTS.code.id, 'x') },
  );
  t.match(again, { status: 400, body: { error: 'invalid_grant' } });
  const { access_token: signed } = (
    await postToken(started.url, { grant_type: 'client_credentials' }, { authorization: basic('x', 'y') })
  ).body;
  t.equal((await call(started.url, signed, '/api/v2/tokens/me', 'DELETE')).status, 200);
  await assertOver(t, started, signed, 'signed handle');
});

t.test('expired, with nothing to renew it by: 401', async (t) => {
  const clock = createFakeClock();
  const started = await start(t, {}, clock);
  const { access_token: handle, expires_in: life } = await loginBySaml(started.url);
  t.equal(life, 86_400);
  t.match(await call(started.url, handle), { status: 200, email: SOMEBODY });
  await clock.advance(86_400_000);
  t.match(await call(started.url, handle), { status: 401, code: 'gateway.session.ended' });
  await assertOver(t, started, handle, 'and stays over');
});

t.test('idle for too long: 401, although its refresh token might still be good; a used one lives on', async (t) => {
  const clock = createFakeClock();
  const started = await startLimited(t, clock, { max: 10, idleMs: 50_000 });
  const { access_token: idle } = await loginByCode(started.url);
  const { access_token: used } = await loginByCode(started.url);
  for (let passed = 30; passed <= 90; passed += 30) {
    await clock.advance(30_000);
    t.match(await call(started.url, used), { status: 200, email: SOMEBODY }, `after ${passed} s`);
  }
  await assertOver(t, started, idle, 'idle');
});

t.test('evicted, because there are too many: 401, the one idle for longest first', async (t) => {
  const started = await startLimited(t, undefined, { max: 2, idleMs: 50_000 });
  const { access_token: first } = await loginByCode(started.url);
  const { access_token: second } = await loginBySaml(started.url);
  t.equal((await call(started.url, first)).status, 200, 'used just now');
  const { access_token: third } = await loginByCode(started.url);
  await assertOver(t, started, second, 'evicted');
  for (const token of [first, third]) t.match(await call(started.url, token), { status: 200, email: SOMEBODY });
});

t.test('revoked upstream: the renewal is refused, 401, and no refresh is tried again', async (t) => {
  const started = await start(t);
  const { access_token: handle } = await loginByCode(started.url);
  const { access_token: other } = await loginByCode(started.url);
  t.equal((await call(started.url, handle)).status, 200);
  // Ends the login of the first at the platform: its access and its refresh token.
  const family = started.sandbox.events.recent.findLast(
    ({ kind, status }) => kind === 'api' && status === 200,
  )?.tokenSerial;
  let ended: string | undefined;
  started.sandbox.revokeTokens((token) => {
    if (token.serial === family) ended = token.value;
    return false;
  });
  const direct = started.config.general.hosts.api.origin;
  t.equal(
    (await fetch(`${direct}/api/v2/tokens/me`, { method: 'DELETE', headers: { authorization: `Bearer ${ended}` } }))
      .status,
    200,
  );
  t.match(await call(started.url, handle), { status: 401, code: 'gateway.session.ended' });
  const refreshes = started.sandbox.stats.tokenRequests.refresh_token;
  t.match(refreshes, { invalid_grant: 1 });
  await assertOver(t, started, handle, 'and stays over');
  t.same(started.sandbox.stats.tokenRequests.refresh_token, refreshes);
  t.match(await call(started.url, other), { status: 200 }, 'another session of the same person is untouched');
});

t.test('a session outlives an outage of the login host: 503 meanwhile, not 401', async (t) => {
  const clock = createFakeClock();
  const { url, sandbox } = await start(t, {}, clock);
  const { access_token: handle } = await loginByCode(url);
  sandbox.set({ tokenEndpoint: { fault: 'status', status: 503 } });
  sandbox.expireTokens();
  t.match(await meanwhile(clock, call(url, handle)), { status: 503, code: 'gateway.credential.unavailable' });
  sandbox.set({ tokenEndpoint: null });
  await clock.advance(70_000);
  t.match(await meanwhile(clock, call(url, handle)), { status: 200, email: SOMEBODY });
});

t.test('a handle ends with its owner: the secret it was given for, the client, anonymous use', async (t) => {
  const started = await startGateway(t, { config: { clients: [clientNamed('crm')] } });
  const { access_token: handle } = (
    await postToken(started.url, { grant_type: 'client_credentials' }, { authorization: basic('crm', 'crm-secret') })
  ).body;
  t.equal((await call(started.url, handle, '/api/v2/users')).status, 200);
  const { createClients } = await import('../../src/auth/callers/clients.ts');
  const { Authenticator } = await import('../../src/server/authenticate.ts');
  const { inlineSecret } = await import('../../src/secret.ts');
  const { handles, sessions } = started.gateway.runtime();
  const authenticateWith = (clients: Parameters<typeof createClients>[0], isAnonymousServed: boolean) => {
    const authenticator = new Authenticator({
      clients: createClients(clients, {
        now: Date.now,
        monotonic: () => performance.now(),
        after: () => ({ cancel() {} }),
      }),
      handles,
      sessions,
      standing: { whyBarred: () => null },
      trustedProxies: { peerOf: () => '127.0.0.1' },
      isAnonymousServed,
    });
    return () =>
      authenticator.authenticate(
        { headers: { authorization: `Bearer ${handle}` }, rawHeaders: [], socket: {} } as never,
        {
          isLocal: true,
        },
      );
  };
  t.equal(authenticateWith([clientNamed('crm')], false)().client?.name, 'crm');
  t.throws(
    authenticateWith([clientNamed('crm', { secret: inlineSecret('another', 'test') })], false),
    { code: 'gateway.session.ended' },
    'rotated away',
  );
  t.throws(authenticateWith([clientNamed('erp')], true), { code: 'gateway.session.ended' }, 'the client is gone');
});

t.test('a dead handle behind another Authorization line is 401 all the same', async (t) => {
  const { port, sandbox } = await startGateway(t);
  const before = sandbox.stats.apiCallsTotal;
  const lines = [
    'GET /api/v2/users HTTP/1.1',
    'Host: localhost',
    'Authorization: Bearer anything',
    'Authorization: Bearer gcgh_dead',
    '',
    '',
  ];
  const answer = parseAnswer(await exchangeRaw(port, lines.join('\r\n')));
  t.equal(answer.status, 401);
  t.equal(headerOf(answer, 'X-Gateway-Error'), 'gateway.session.ended');
  t.equal(sandbox.stats.apiCallsTotal, before);
});

t.test('forty handles ended by forty DELETEs at once are all over', async (t) => {
  for (const [setting, overrides, login] of [
    ['anonymous', {}, basic('x', 'y')],
    ['of a client', { clients: [clientNamed('crm')] }, basic('crm', 'crm-secret')],
  ] as const) {
    const { url } = await start(t, overrides);
    const give = async () =>
      (await postToken(url, { grant_type: 'client_credentials' }, { authorization: login })).body.access_token;
    const handles = await Promise.all(Array.from({ length: 40 }, give));
    const other = await give();
    const ended = await Promise.all(handles.map((handle) => call(url, handle, '/api/v2/tokens/me', 'DELETE')));
    t.equal(ended.filter(({ status }) => status === 200).length, 40, setting);
    const after = await Promise.all(handles.map((handle) => call(url, handle)));
    t.equal(after.filter(({ status }) => status === 401).length, 40, setting);
    t.equal((await call(url, other, '/api/v2/users')).status, 200, 'and no other');
  }
});

t.test(
  'an end that the store cannot keep, and one too many, are answered with an error and not with 200',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gcg-ended-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const clock = createFakeClock();
    const store = { type: 'file' as const, path: join(folder, 'store') };
    const { url, log } = await start(t, { clients: [clientNamed('crm')], store });
    const give = async () => {
      const { body } = await postToken(
        url,
        { grant_type: 'client_credentials' },
        { authorization: basic('crm', 'crm-secret') },
      );
      return body.access_token;
    };
    const handle = await give();
    // In one step: a token may just be on its way into the folder.
    renameSync(store.path, `${store.path}-away`);
    writeFileSync(store.path, 'no folder');
    t.match(await call(url, handle, '/api/v2/tokens/me', 'DELETE'), { status: 500, code: 'gateway.internal' });
    t.match(await log.nextExchange(({ method }) => method === 'DELETE'), {
      status: 500,
      errorCode: 'gateway.internal',
    });
    t.match(await call(url, handle), { status: 401, code: 'gateway.session.ended' }, 'here it is over all the same');

    const limited = await start(t, { clients: [clientNamed('crm')] }, clock);
    const endOne = async () => {
      const { body } = await postToken(
        limited.url,
        { grant_type: 'client_credentials' },
        { authorization: basic('crm', 'crm-secret') },
      );
      return {
        handle: body.access_token,
        ...(await call(limited.url, body.access_token, '/api/v2/tokens/me', 'DELETE')),
      };
    };
    for (let i = 0; i < 100; i++) await endOne();
    const refused = await endOne();
    t.match(refused, { status: 429, code: 'gateway.rate.limited' });
    t.equal((await call(limited.url, refused.handle, '/api/v2/users')).status, 200, 'it is still good');
    await clock.advance(1_000);
    t.equal((await endOne()).status, 200, 'a second later one more may end');
  },
);
