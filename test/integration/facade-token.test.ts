import t, { type Test } from 'tap';
import { GrantPace } from '../../src/auth/callers/allowance.ts';
import type { Clock } from '../../src/clock.ts';
import type { GatewayError } from '../../src/errors.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createUsers } from '../../src/sandbox/directory.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import {
  allCredentials,
  assertionFor,
  basic,
  clientNamed,
  followLogin,
  postToken,
  type TokenAnswer,
} from '../helpers/clients.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { type ConfigOverrides, startGateway } from '../helpers/gateway.ts';

const SOMEBODY = (createUsers(1)[0] as { email: string }).email;
const REDIRECT = 'http://localhost:7777/callback';
const CLIENT_CREDENTIALS = { grant_type: 'client_credentials' };
const SAML = 'urn:ietf:params:oauth:grant-type:saml2-bearer';

const start = (t: Test, overrides: ConfigOverrides = {}, clock?: Clock) =>
  startGateway(t, {
    ...(clock && { clock, awaitReady: false }),
    sandbox: { switches: { login: { approve: SOMEBODY } } },
    config: (origin) => ({ credentials: allCredentials(origin), ...overrides }),
  });

const call = async (url: string, token: string, path = '/api/v2/tokens/me') => {
  const answer = await fetch(url + path, { headers: { authorization: `Bearer ${token}` } });
  const body = (await answer.json().catch(() => null)) as { code?: string; OAuthClient?: { id: string } } | null;
  return { status: answer.status, code: answer.headers.get('x-gateway-error'), oauthClient: body?.OAuthClient?.id };
};

function assertRefused(t: Test, answer: TokenAnswer, status: number, error: string, name: string) {
  t.equal(answer.status, status, name);
  t.equal(answer.body.error, error, name);
  t.equal(answer.body.description, answer.body.error_description, 'the platform says it twice');
  t.ok(answer.headers.get('x-gateway-error'), 'our own code is beside it');
}

t.test('client credentials are answered at once, with nothing asked upstream', async (t) => {
  const { url, sandbox } = await start(t, { clients: [clientNamed('crm')] });
  const before = sandbox.events.recent.length;
  const { status, body, headers } = await postToken(url, CLIENT_CREDENTIALS, {
    authorization: basic('crm', 'crm-secret'),
  });
  t.equal(status, 200);
  t.same({ ...body, access_token: '' }, { access_token: '', token_type: 'bearer', expires_in: 86_400 });
  t.match(body.access_token, /^gcgh_c[\w-]+\.[\w-]{43}$/);
  t.equal(headers.get('cache-control'), 'no-store');
  t.equal(sandbox.events.recent.length, before);
  t.match(await call(url, body.access_token), { status: 200, oauthClient: DEMO_CLIENTS.clientCredentials.id });
});

t.test('every prefix that SDKs put there leads to the same endpoints', async (t) => {
  const { url } = await start(t);
  for (const prefix of ['', '/login', '/api', '/default', '/default/login', '/default/api']) {
    const { status, body } = await postToken(`${url}${prefix}/oauth/token`, CLIENT_CREDENTIALS, {
      authorization: basic('anything', 'x'),
    });
    t.equal(status, 200, prefix);
    t.match(await call(url, body.access_token, `${prefix}/api/v2/tokens/me`), { status: 200 }, prefix);
    const { headers } = await fetch(`${url}${prefix}/oauth/authorize?client_id=x&a=%2F+b&a=2`, { redirect: 'manual' });
    t.match(headers.get('location'), /\/oauth\/authorize\?client_id=x&a=%2F\+b&a=2$/, prefix);
    const logout = await fetch(`${url}${prefix}/logout?client_id=x&redirect_uri=http%3A%2F%2Fapp`, {
      redirect: 'manual',
    });
    t.match(logout.headers.get('location'), /\/logout\?client_id=x&redirect_uri=http%3A%2F%2Fapp$/, prefix);
  }
});

t.test('who misses the token endpoint is told so in words that an OAuth client shows', async (t) => {
  const { url } = await start(t, { clients: [clientNamed('crm')] });
  const crm = { authorization: basic('crm', 'crm-secret') };
  for (const path of ['//oauth/token', '/x/y/oauth/token', '/Not-A-Name/oauth/token', '/%61/oauth/token']) {
    const answer = await postToken(url + path, CLIENT_CREDENTIALS, crm);
    assertRefused(t, answer, 404, 'invalid_request', path);
    t.match(answer.body.error_description, /logins go to \/oauth\/token, .*end with a slash/, path);
    t.equal(answer.headers.get('x-gateway-error'), 'gateway.route.not.found');
    const stranger = await postToken(url + path, CLIENT_CREDENTIALS, { authorization: basic('crm', 'wrong') });
    t.match(stranger, { status: 401, body: { error: 'invalid_client' } }, 'who is nobody is not told what there is');
  }
  const other = await fetch(`${url}/x/oauth/tokens`, { method: 'POST', headers: crm });
  t.match(await other.json(), { code: 'gateway.route.not.found' }, 'everything else has the shape of the API');
});

t.test(
  'a credential that is not for anonymous callers: the refusal names the setting that would let them',
  async (t) => {
    const { url } = await start(t);
    const answer = await postToken(`${url}/desktop/oauth/token`, CLIENT_CREDENTIALS, {
      authorization: basic('x', 'y'),
    });
    assertRefused(t, answer, 403, 'unauthorized_client', 'desktop');
    t.match(answer.body.error_description, /set server\.anonymous_credentials = default, desktop, or /);
  },
);

t.test('the record of a login has the size of its form and of its answer', async (t) => {
  const { url, log } = await start(t);
  const sizes = async (path: string, form: string) => {
    const before = log.exchanges.length;
    const answer = await fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form,
    });
    const { length } = Buffer.from(await answer.arrayBuffer());
    const { requestBytes, responseBytes } = await log.nextExchange(
      (record) => log.exchanges.indexOf(record) >= before && record.method === 'POST',
    );
    t.strictSame([requestBytes, responseBytes], [Buffer.byteLength(form), length], `${path} ${form}`);
    return answer.status;
  };
  t.equal(await sizes('/oauth/token', 'grant_type=client_credentials'), 200);
  t.equal(await sizes('/oauth/token', 'grant_type=ä'), 400);
  t.equal(await sizes('//oauth/token', ''), 404);
});

t.test(
  'an id of ours is mapped to the OAuth client of its credential, on the way to the login page and at the token ' +
    'endpoint',
  async (t) => {
    const { url, sandbox } = await start(t, { clients: [clientNamed('portal', { credentials: ['web'] })] });
    const query =
      `response_type=code&client_id=portal&redirect_uri=${encodeURIComponent(REDIRECT)}` +
      '&state=%7E+x&login_hint=a%40b';
    const { firstHop, code, state } = await followLogin(`${url}/oauth/authorize?${query}`);
    t.equal(firstHop.search, `?${query.replace('portal', DEMO_CLIENTS.code.id)}`, 'nothing but the id changed');
    t.equal(state, '~ x');
    const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT };
    const { status, body } = await postToken(url, form, { authorization: basic('portal', 'portal-secret') });
    t.equal(status, 200);
    t.match(body, { access_token: /^gcgh_s/, refresh_token: /^gcgr_/, token_type: 'bearer' });
    t.type(body.expires_in, 'number');
    t.match(await call(url, body.access_token), { status: 200, oauthClient: DEMO_CLIENTS.code.id });
    t.match(sandbox.stats.tokenRequests.authorization_code, { ok: 1 });
  },
);

t.test(
  "a permitted credential's client_id gets that credential's secret, whatever secret the application shows",
  async (t) => {
    const { url } = await start(t, { server: { anonymousCredentials: ['*'] } });
    const { id } = DEMO_CLIENTS.saml2Bearer;
    const form = { grant_type: SAML, orgName: 'Simulated Organization', assertion: assertionFor(SOMEBODY) };
    const { status, body } = await postToken(url, form, { authorization: basic(id, 'nonsense') });
    t.equal(status, 200);
    t.notOk(body.refresh_token, 'SAML has none');
    t.ok(body.expires_in > 86_000 && body.expires_in <= 86_400, 'as long as the token');
    t.match(await call(url, body.access_token), { status: 200, oauthClient: id });
  },
);

t.test('an id that nobody here knows goes up as given, with its own secret', async (t) => {
  const { url } = await startGateway(t, { sandbox: { switches: { login: { approve: SOMEBODY } } } });
  const { id, secret } = DEMO_CLIENTS.code;
  const query = `response_type=code&client_id=${id}&redirect_uri=${encodeURIComponent(REDIRECT)}`;
  const authorize = `${url}/oauth/authorize?${query}`;
  const form = async () => ({
    grant_type: 'authorization_code',
    code: (await followLogin(authorize)).code,
    redirect_uri: REDIRECT,
  });
  const good = await postToken(url, await form(), { authorization: basic(id, secret) });
  t.equal(good.status, 200);
  t.match(await call(url, good.body.access_token), { status: 200, oauthClient: id });
  const again = await postToken(
    url,
    { grant_type: 'refresh_token', refresh_token: good.body.refresh_token as string },
    { authorization: basic(id, secret) },
  );
  t.match(again, {
    status: 200,
    body: { access_token: good.body.access_token, refresh_token: good.body.refresh_token },
  });
  assertRefused(
    t,
    await postToken(url, await form(), { authorization: basic(id, 'wrong') }),
    400,
    'invalid_client',
    'its own secret is wrong',
  );
  assertRefused(
    t,
    await postToken(url, await form(), { authorization: basic('nobody', 'x') }),
    400,
    'invalid_client',
    'the platform does not know it',
  );
});

t.test(
  'a refresh token that the platform gave the application before becomes a session, once it is shown',
  async (t) => {
    const { url, sandbox } = await start(t, { server: { anonymousCredentials: ['*'] } });
    const { id } = DEMO_CLIENTS.code;
    const { firstHop } = await followLogin(`${url}/oauth/authorize?client_id=${id}`);
    const query = `response_type=code&client_id=${id}&redirect_uri=${encodeURIComponent(REDIRECT)}`;
    const login = `${firstHop.origin}/oauth/authorize?${query}`;
    const callback = new URL((await fetch(login, { redirect: 'manual' })).headers.get('location') as string);
    const form = {
      grant_type: 'authorization_code',
      code: callback.searchParams.get('code') as string,
      redirect_uri: REDIRECT,
    };
    const direct = await postToken(firstHop.origin, form, { authorization: basic(id, DEMO_CLIENTS.code.secret) });
    const { body } = await postToken(
      url,
      { grant_type: 'refresh_token', refresh_token: direct.body.refresh_token as string },
      { authorization: basic(id, 'x') },
    );
    t.match(body, { access_token: /^gcgh_s/, refresh_token: /^gcgr_/ });
    t.match(sandbox.stats.tokenRequests.refresh_token, { ok: 1 });
  },
);

t.test('refusals have the platform’s shape, and say what is wrong', async (t) => {
  const { url } = await start(t, { clients: [clientNamed('crm'), clientNamed('erp')] });
  const crm = { authorization: basic('crm', 'crm-secret') };
  assertRefused(
    t,
    await postToken(url, CLIENT_CREDENTIALS, { authorization: basic('crm', 'wrong') }),
    400,
    'invalid_client',
    'wrong secret',
  );
  assertRefused(
    t,
    await postToken(url, CLIENT_CREDENTIALS, { authorization: basic('who', 'x') }),
    400,
    'invalid_client',
    'unknown id',
  );
  assertRefused(t, await postToken(url, CLIENT_CREDENTIALS), 400, 'invalid_client', 'no id');
  assertRefused(t, await postToken(url, { grant_type: 'password' }, crm), 400, 'unsupported_grant_type', 'password');
  assertRefused(t, await postToken(url, {}, crm), 400, 'invalid_request', 'no grant_type');
  assertRefused(
    t,
    await postToken(url, { grant_type: 'refresh_token', refresh_token: 'gcgr_unknown' }, crm),
    400,
    'invalid_grant',
    'unknown refresh handle',
  );
  assertRefused(
    t,
    await postToken(`${url}/web/oauth/token`, CLIENT_CREDENTIALS, crm),
    403,
    'unauthorized_client',
    'a credential that is not listed',
  );
  assertRefused(
    t,
    await postToken(`${url}/none/oauth/token`, CLIENT_CREDENTIALS, crm),
    404,
    'invalid_request',
    'a credential there is not',
  );
  assertRefused(
    t,
    await postToken(url, { ...CLIENT_CREDENTIALS, client_id: 'erp' }, crm),
    400,
    'invalid_request',
    'two ids',
  );
  assertRefused(
    t,
    await postToken(url, { grant_type: 'authorization_code', code: 'x', redirect_uri: REDIRECT, client_id: 'crm' }),
    400,
    'invalid_client',
    'a name without its secret',
  );
  const json = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    body: '{}',
    headers: { 'content-type': 'application/json', ...crm },
  });
  t.match(await json.json(), { error: 'invalid_request' });
  const huge = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({ x: 'y'.repeat(300_000) }),
  });
  t.equal(huge.status, 413);
  t.equal((await fetch(`${url}/oauth/token`)).status, 405, 'GET is no login');
});

t.test('an upstream that does not answer is 503 with Retry-After, and no session', async (t) => {
  const { url, sandbox, gateway } = await start(t, { server: { anonymousCredentials: ['*'] } });
  void gateway;
  sandbox.set({ throttleLogin: { retryAfterS: 7 } });
  const form = { grant_type: SAML, orgName: 'Simulated Organization', assertion: assertionFor(SOMEBODY) };
  const answer = await postToken(url, form, { authorization: basic(DEMO_CLIENTS.saml2Bearer.id, 'x') });
  assertRefused(t, answer, 503, 'temporarily_unavailable', 'throttled');
  t.equal(answer.headers.get('retry-after'), '7');
});

t.test('id and secret may come in the form, as other OAuth libraries send them', async (t) => {
  const { url } = await start(t, { clients: [clientNamed('crm')] });
  const { status, body } = await postToken(url, {
    ...CLIENT_CREDENTIALS,
    client_id: 'crm',
    client_secret: 'crm-secret',
  });
  t.equal(status, 200);
  t.match(await call(url, body.access_token), { status: 200 });
});

t.test('what admission refuses has the shape of the token endpoint, too', async (t) => {
  const { url } = await start(t);
  const foreign = await postToken(url, CLIENT_CREDENTIALS, { origin: 'https://evil.example' });
  assertRefused(t, foreign, 403, 'invalid_request', 'a page of another origin');
  t.equal(foreign.headers.get('x-gateway-error'), 'gateway.origin.forbidden');
  const call = await fetch(`${url}/api/v2/users?x=/oauth/token`, { headers: { origin: 'https://evil.example' } });
  t.match(await call.json(), { code: 'gateway.origin.forbidden', status: 403 }, 'and only there');
});

t.test('each login is one record, with client, credential, route and what was wrong', async (t) => {
  const { url, log } = await start(t, { clients: [clientNamed('crm')] });
  await postToken(url, CLIENT_CREDENTIALS, { authorization: basic('crm', 'crm-secret') });
  await postToken(url, CLIENT_CREDENTIALS, { authorization: basic('crm', 'wrong') });
  await fetch(`${url}/oauth/authorize?client_id=crm`, { redirect: 'manual' });
  await fetch(`${url}/api/v2/users`, { headers: { authorization: 'Bearer crm-secret' } });
  await log.nextExchange(({ target }) => target.startsWith('/api/'));
  t.match(
    log.exchanges.map(({ route, status, client, credential, errorCode }) => [
      route,
      status,
      client,
      credential,
      errorCode,
    ]),
    [
      ['/oauth/token', 200, 'crm', 'default', null],
      ['/oauth/token', 400, null, null, 'gateway.client.unauthenticated'],
      ['/oauth/authorize', 302, null, null, null],
      [String, 200, 'crm', 'default', null],
    ],
  );
});

t.test('no secret, code, assertion or handle is in what the gateway logs', async (t) => {
  const { url, log } = await start(t, { clients: [clientNamed('bridge-app', { credentials: ['bridge'] })] });
  const assertion = assertionFor(SOMEBODY);
  const form = { grant_type: SAML, orgName: 'Simulated Organization', assertion };
  const { body } = await postToken(url, form, { authorization: basic('bridge-app', 'bridge-app-secret') });
  await call(url, body.access_token);
  const said = JSON.stringify(log.lines);
  t.match(said, /token request/, 'the log is not empty');
  for (const secret of [body.access_token, assertion, 'bridge-app-secret', DEMO_CLIENTS.saml2Bearer.secret])
    t.notOk(said.includes(secret));
});

/** Tokens that the platform was asked for with a code. */
const codesShown = (sandbox: Sandbox) =>
  Object.values(sandbox.stats.tokenRequests.authorization_code ?? {}).reduce((sum, count) => sum + count, 0);

t.test('of 500 made-up codes few go up with our secret, and the logins of others go on', async (t) => {
  for (const [setting, overrides, login, other] of [
    ['anonymous', { server: { anonymousCredentials: ['*'] } }, basic(DEMO_CLIENTS.code.id, 'x'), null],
    [
      'clients',
      { clients: [clientNamed('crm', { credentials: ['web'] }), clientNamed('erp', { credentials: ['web'] })] },
      basic('crm', 'crm-secret'),
      basic('erp', 'erp-secret'),
    ],
  ] as const) {
    const clock = createFakeClock();
    const { url, sandbox } = await start(t, overrides as ConfigOverrides, clock);
    let done = 0;
    const form = (n: number) => ({ grant_type: 'authorization_code', code: `made-up-${n}`, redirect_uri: REDIRECT });
    const asked = Promise.all(
      Array.from({ length: 500 }, (_, n) =>
        postToken(url, form(n), { authorization: login }).finally(() => {
          done += 1;
        }),
      ),
    );
    for (let passed = 0; passed < 60_000 && done < 500; passed += 20) await clock.advance(20);
    const answers = await asked;
    const shown = codesShown(sandbox);
    t.ok(shown >= 20 && shown <= 35, `${setting}: ${shown}`);
    const refused = answers.filter(({ status }) => status === 429);
    t.equal(refused.length, 500 - shown);
    const [first] = refused as [TokenAnswer];
    assertRefused(t, first, 429, 'temporarily_unavailable', setting);
    t.equal(first.headers.get('x-gateway-error'), 'gateway.rate.limited');
    t.ok(Number(first.headers.get('retry-after')) >= 1);
    if (other === null) continue;
    // The lane of the OAuth client has its own wait, and the other client has not been refused anything.
    await clock.advance(60_000);
    const { code } = await followLogin(
      `${url}/oauth/authorize?response_type=code&client_id=erp&redirect_uri=${encodeURIComponent(REDIRECT)}`,
    );
    t.equal((await postToken(url, { ...form(0), code }, { authorization: other })).status, 200);
    t.equal(
      (await postToken(url, CLIENT_CREDENTIALS, { authorization: login })).status,
      200,
      'a handle is always given at once',
    );
  }
});

t.test(
  'grants that succeed are held back no more than their number asks for, and wait for a turn before they are refused',
  async (t) => {
    const clock = createFakeClock();
    const pace = new GrantPace(clock);
    let performed = 0;
    const one = (caller: string) =>
      pace.perform('login client', caller, async () => {
        performed += 1;
      });
    for (let n = 0; n < 20; n++) await one('portal');
    const waiting = Array.from({ length: 15 }, (_, n) =>
      one(`client ${n}`).then(
        () => 'done',
        (error: GatewayError) => error.code,
      ),
    );
    await clock.settle();
    t.equal(performed, 20, 'the others wait');
    await clock.advance(5_000);
    t.equal(performed, 25);
    await clock.advance(5_000);
    t.same(await Promise.all(waiting), [...Array(10).fill('done'), ...Array(5).fill('gateway.rate.limited')]);
    await clock.advance(60_000);
    for (let n = 0; n < 20; n++) await one('portal');
    t.equal(performed, 50);
  },
);
