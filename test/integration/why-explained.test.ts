// Each row of the table of explanations, from a failure that really happens: who, the fact that matters, what to do.

import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { createGateway, type Gateway } from '../../src/gateway.ts';
import { culpritOf } from '../../src/inspector/culprit.ts';
import { WHY_ROWS, whyOf, whyRowOf } from '../../src/inspector/why.ts';
import { NO_FACTS } from '../../src/inspector/why-facts.ts';
import type { Call, CallAnswer, Culprit, Why } from '../../src/inspector/wire.ts';
import type { ExchangeRecord } from '../../src/logging/exchange-record.ts';
import { exchangeLevel, exchangeLine } from '../../src/logging/format.ts';
import type { Switches } from '../../src/sandbox/switches.ts';
import { inlineSecret } from '../../src/secret.ts';
import { whyFacts } from '../../src/server/why-facts.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { clientNamed, credentialOf } from '../helpers/clients.ts';
import { givenTokenConfig } from '../helpers/direct.ts';
import {
  type ConfigOverrides,
  createTestLog,
  credentialAt,
  startGateway,
  startGatewayWith,
  type TestLog,
} from '../helpers/gateway.ts';
import { type Misbehaviour, startHostileUpstream } from '../helpers/hostile-upstream.ts';
import { startConnectProxy } from '../helpers/proxies.ts';
import { createDisk } from '../unit/audit/trail-fixtures.ts';

/** What is looked at of a gateway. */
interface Started {
  readonly url: string;
  readonly port: number;
  readonly gateway: Gateway;
  readonly log: TestLog;
}

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** What the explanation must say. `row` is the table's; `text` and `todo` are looked for in what they hold. */
interface Expected {
  readonly row: string;
  readonly who: Culprit;
  readonly title: RegExp;
  readonly text?: RegExp;
  readonly todo: RegExp;
}

/** Rows that a failure led to. */
const seenRows = new Set<string>();

function callOf(record: ExchangeRecord, seq: number): Call {
  const detail = { requestHeaders: false, responseHeaders: false, bodies: false, mask: (text: string) => text };
  const time = new Date(Date.now()).toISOString();
  return { ...(JSON.parse(exchangeLine(record, exchangeLevel(record), time, detail)) as Call), seq };
}

/** Sends one request on a connection of its own; resolves with its record's id and the answer. */
async function ask(port: number, { method = 'GET', path = '/api/v2/users', headers = {}, body = '' }: Asked) {
  const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false });
  request.end(body);
  const [answer] = await once(request, 'response');
  let text = '';
  answer.on('error', () => {});
  try {
    for await (const chunk of answer) text += chunk;
  } catch {
    // Broken off: that is what some rows are about.
  }
  return { id: answer.headers['x-gateway-request-id'] as string, text };
}

/** The explanation of a record where no gateway is left to be asked. */
function explain(t: Test, { gateway }: Started, record: ExchangeRecord, expected: Expected): void {
  const call = callOf(record, 1);
  const facts = whyFacts({ runtime: gateway.runtime(), clock: systemClock }, call, null, { sees: 'all', client: null });
  check(t, call, whyOf(call, facts) as Why, expected);
}

function check(t: Test, call: Call, why: Why, expected: Expected): void {
  const told = `${JSON.stringify(why, null, 2)}\n${JSON.stringify(call)}`;
  t.equal(whyRowOf(call), expected.row, told);
  seenRows.add(expected.row);
  t.equal(why.who, expected.who, told);
  t.equal(culpritOf(call), expected.who);
  t.match(why.title, expected.title);
  if (expected.text) t.match(why.text, expected.text);
  t.match(why.todo.join('\n'), expected.todo);
  isWellWritten(t, why);
  // By the line alone it says less, and never nothing.
  isWellWritten(t, whyOf(call, NO_FACTS) as Why);
}

function isWellWritten(t: Test, why: Why): void {
  const whole = [why.title, why.text, ...why.todo].join('\n');
  t.notMatch(whole, /undefined|\bnull\b|NaN|\[object|\.\.(?!\.)| {2}| ,|: \./, whole);
  t.notMatch(why.title, /^[A-Z](?!enesys)|\.$/, `a title is a part of a sentence: ${why.title}`);
  t.match(why.text, /[.!?…]$/, `a text is sentences: ${why.text}`);
  t.ok(why.todo.length > 0, 'something can be done');
}

/** What the gateway itself tells about a call, to whoever may see all. */
async function told({ url, gateway }: Started, id: string): Promise<CallAnswer> {
  const key = gateway.runtime().config.clients.length > 0 ? 'boss-secret' : gateway.pageKey;
  const answer = await fetch(`${url}/-/calls/${id}`, { headers: { 'x-gateway-request': '1', 'x-gateway-key': key } });
  return (await answer.json()) as CallAnswer;
}

async function fails(t: Test, started: Started, asked: Asked, expected: Expected): Promise<void> {
  const { id } = await ask(started.port, asked);
  await isTold(t, started, id, expected);
}

async function isTold(t: Test, started: Started, id: string, expected: Expected): Promise<void> {
  await started.log.nextExchange(({ requestId }) => requestId === id);
  const { call, why } = await told(started, id);
  check(t, call, why as Why, expected);
}

const json = (body: object): Pick<Asked, 'body' | 'headers'> => ({
  body: JSON.stringify(body),
  headers: { 'content-type': 'application/json' },
});
const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const BOSS = clientNamed('boss', { isAdmin: true });
const key = (name: string) => ({ 'x-gateway-key': `${name}-secret` });
const QUERY = '/api/v2/analytics/conversations/details/query';

t.test('callers and rules', async (t) => {
  const started = await startGateway(t, {
    config: (origin) => ({
      server: {
        adminListen: LOCAL,
        maxBodyBytes: 64,
        corsOrigins: ['https://app.example.com'],
      },
      credentials: [credentialAt(origin), credentialOf(origin, 'crm', { id: 'x', secret: 'y' })],
      clients: [
        BOSS,
        clientNamed('etl', { deny: ['DELETE /api/v2/**'], credentials: ['default'] }),
        clientNamed('web', { allow: ['getUsers'] }),
        clientNamed('old', { expiresAt: Date.UTC(2026, 0, 1) }),
        clientNamed('far', { from: ['10.0.0.0/8'] }),
        clientNamed('broke', { requestsPerMonth: 1, overBudget: 'refuse' }),
      ],
    }),
  });
  const row = (asked: Asked, expected: Expected) => fails(t, started, asked, expected);
  await row(
    { path: '/api/v2/users/../x' },
    {
      row: 'gateway.request.invalid',
      who: 'caller',
      title: /cannot be passed on/,
      text: /dot segments/,
      todo: /curl -v/,
    },
  );
  await row(
    { method: 'TRACE' },
    { row: 'gateway.request.invalid', who: 'caller', title: /cannot be passed on/, text: /TRACE/, todo: /Allow/ },
  );
  await row(
    { method: 'POST', body: 'x'.repeat(100), headers: key('etl') },
    { row: 'gateway.body.too.large', who: 'caller', title: /64 bytes at most/, todo: /\[server\] max_body_bytes = 0/ },
  );
  await row(
    { path: '/v2/users', headers: key('etl') },
    {
      row: 'gateway.route.not.found',
      who: 'caller',
      title: /nothing is served/,
      text: /\/v2\/users/,
      todo: /\/api\/v2\/users/,
    },
  );
  await row(
    { path: '/platform/x/api/v2/users', headers: key('etl') },
    { row: 'gateway.route.not.found', who: 'caller', title: /nothing is served/, todo: /Call \/api\/v2\/users/ },
  );
  await row(
    { headers: { host: 'gw.corp.example:8080' } },
    {
      row: 'gateway.host.forbidden',
      who: 'caller',
      title: /gw\.corp\.example/,
      todo: /\[server\] allowed_hosts = gw\.corp\.example$/m,
    },
  );
  await row(
    { headers: { origin: 'https://evil.example' } },
    {
      row: 'gateway.origin.forbidden',
      who: 'caller',
      title: /https:\/\/evil\.example/,
      todo: /\[server\] cors_origins = https:\/\/evil\.example[\s\S]*Every script/,
    },
  );
  await row(
    { headers: { 'sec-fetch-dest': 'script', 'sec-fetch-site': 'same-origin' } },
    { row: 'gateway.origin.forbidden', who: 'caller', title: /run or frame/, todo: /fetch\(\)/ },
  );
  await row(
    { headers: { 'x-gateway-key': 'a wrong secret that is long' } },
    {
      row: 'gateway.client.unauthenticated',
      who: 'caller',
      title: /did not prove/,
      text: /127\.0\.0\.1/,
      todo: /X-Gateway-Key[\s\S]*gcg client/,
    },
  );
  await row(
    { headers: { authorization: `Basic ${Buffer.from('etl:wrong').toString('base64')}` } },
    { row: 'gateway.client.unauthenticated', who: 'caller', title: /prove that etl/, todo: /gcg client rotate etl/ },
  );
  await row(
    { headers: key('old') },
    {
      row: 'gateway.client.unauthenticated',
      who: 'caller',
      title: /client old .*end of its time/,
      todo: /\[client\.old\] expires/,
    },
  );
  await row(
    { headers: key('far') },
    {
      row: 'gateway.client.unauthenticated',
      who: 'caller',
      title: /client far may not call from/,
      todo: /\[client\.far\] from = 127\.0\.0\.1[\s\S]*rotate far/,
    },
  );
  await row(
    { method: 'DELETE', path: '/api/v2/users/4f', headers: key('etl') },
    {
      row: 'gateway.client.forbidden',
      who: 'rule',
      title: /denies this to client etl/,
      text: /deny\[\] = DELETE \/api\/v2\/\*\*/,
      todo: /\[client\.etl\][\s\S]*gcg client can etl DELETE \/api\/v2\/users\/4f/,
    },
  );
  await row(
    { path: '/api/v2/users/4f1e', headers: key('web') },
    {
      row: 'gateway.client.forbidden',
      who: 'rule',
      title: /client web may call only what is listed/,
      todo: /\[client\.web\] allow\[\] = getUser$/m,
    },
  );
  await row(
    { path: '/api/v2/nobody/knows/this?x=1', headers: key('web') },
    {
      row: 'gateway.client.forbidden',
      who: 'rule',
      title: /only what is listed/,
      todo: /allow\[\] = GET \/api\/v2\/nobody\/knows\/this$/m,
    },
  );
  await row(
    { headers: { ...key('web'), 'x-http-method-override': 'DELETE' } },
    { row: 'gateway.client.forbidden', who: 'rule', title: /two different ones/, todo: /X-HTTP-Method-Override/ },
  );
  await row(
    { path: '/crm/api/v2/users', headers: key('etl') },
    {
      row: 'gateway.client.forbidden',
      who: 'rule',
      title: /client etl may not use this credential/,
      todo: /client\.etl\.credential = default, crm[\s\S]*It may use: default/,
    },
  );
  await row(
    { path: '/-/status', headers: key('etl') },
    { row: 'gateway.client.forbidden', who: 'rule', title: /no administrator/, todo: /\[client\.etl\] admin = true/ },
  );
  await row(
    { path: '/nowhere/api/v2/users', headers: key('web') },
    { row: 'gateway.credential.unknown', who: 'caller', title: /no credential that there is/, todo: /gcg config/ },
  );
  await row(
    { headers: { authorization: 'Bearer gcgh_0000000000000000000000000000000000000000000' } },
    { row: 'gateway.session.ended', who: 'caller', title: /login .* has ended/, todo: /Log in again/ },
  );
  await ask(started.port, { headers: key('broke') });
  await row(
    { headers: key('broke') },
    {
      row: 'gateway.budget.exceeded',
      who: 'rule',
      title: /client broke has used up/,
      text: /budget of 1 requests/,
      todo: /\[client\.broke\] requests_per_month/,
    },
  );
});

t.test('a gateway that is read-only', async (t) => {
  const started = await startGateway(t, { config: { server: { readOnly: true, adminListen: LOCAL } } });
  await fails(
    t,
    started,
    { method: 'DELETE', path: '/api/v2/users/4f' },
    { row: 'gateway.client.forbidden', who: 'rule', title: /lets nobody change/, todo: /\[server\] read_only = false/ },
  );
});

t.test('limits, with who used them', async (t) => {
  const started = await startGateway(t, {
    config: {
      server: { adminListen: LOCAL },
      clients: [BOSS, clientNamed('etl'), clientNamed('ivr'), clientNamed('web', { requestsPerMinute: 1 })],
      rateLimit: { requestsPerMinute: 10 },
      timeouts: { totalWaitMs: 300 },
    },
  });
  await ask(started.port, { headers: key('ivr') });
  for (let sent = 0; sent < 7; sent++) await ask(started.port, { headers: key('etl') });
  await fails(
    t,
    started,
    { headers: key('ivr') },
    {
      row: 'gateway.rate.limited',
      who: 'limit',
      title: /rate limit for credential default is used up/,
      text: /10 calls a minute are allowed\. In the minute before, \d+ went through with credential default: etl [2-9], this client \(ivr\) 1\. The rest opens bit by bit.*total_wait \(300 ms\).*Its turn would have been [\d.]+ s later/,
      todo: /Send it again after [\d.]+ s[\s\S]*\[client\.etl\] requests_per_minute/,
    },
  );
  await ask(started.port, { headers: key('web') });
  await fails(
    t,
    started,
    { headers: key('web') },
    {
      row: 'gateway.rate.limited',
      who: 'limit',
      title: /client web has used its own calls/,
      text: /gives it 1 calls a minute/,
      todo: /\[client\.web\] requests_per_minute/,
    },
  );
});

t.test('a queue that is full, and a limit of the platform', async (t) => {
  const started = await startGateway(t, {
    config: {
      server: { adminListen: LOCAL },
      rateLimit: { queueMax: 1, connections: 1 },
      timeouts: { totalWaitMs: 200 },
    },
    sandbox: { switches: { rateLimit: { perMinute: 2, key: 'client.credentials.token.rate.per.minute' } } },
  });
  await ask(started.port, {});
  await ask(started.port, {});
  await fails(
    t,
    started,
    {},
    {
      row: 'platform.429',
      who: 'limit',
      title: /limit client\.credentials\.token\.rate\.per\.minute of credential default was reached/,
      text: /Genesys Cloud says: .*2 went through.*It asked to wait \d+ s; that did not fit into timeouts\.total_wait \(200 ms\)/,
      todo: /Retry-After[\s\S]*pageSize=100[\s\S]*Other programs/,
    },
  );
});

t.test('a limit of one service of the platform', async (t) => {
  const limit = {
    route: 'GET /api/v2/users/{userId}',
    perMinute: 1,
    namespace: 'directory',
    key: 'user.rate.per.minute',
  };
  const started = await startGateway(t, {
    config: { server: { adminListen: LOCAL }, timeouts: { totalWaitMs: 200 } },
    sandbox: { switches: { rateLimit: { endpoints: [limit] } } },
  });
  const asked = { path: '/api/v2/users/00000000-0000-0000-0000-000000000000' };
  await ask(started.port, asked);
  const [who, todo] = ['limit', /Retry-After/] as const;
  const name = 'directory:user\\.rate\\.per\\.minute of credential default';
  await fails(t, started, asked, { row: 'platform.429', who, title: new RegExp(`limit ${name} was reached`), todo });
  const held = new RegExp(`Genesys Cloud's limit ${name} is used up`);
  await fails(t, started, asked, { row: 'gateway.rate.limited', who, title: held, todo });
});

t.test('too many calls at a time', async (t) => {
  const started = await startGateway(t, {
    config: {
      server: { adminListen: LOCAL },
      rateLimit: { queueMax: 1, connections: 1 },
      timeouts: { totalWaitMs: 400 },
    },
    sandbox: { switches: { holdApi: {} } },
  });
  const answers = [0, 1, 2].map(() => ask(started.port, {}));
  const full = await started.log.nextExchange(({ errorCode }) => errorCode === 'gateway.rate.limited');
  await isTold(t, started, full.requestId, {
    row: 'gateway.rate.limited',
    who: 'limit',
    title: /too many calls wait/,
    text: /1 calls wait already/,
    todo: /\[rate_limit\] queue_max = 2/,
  });
  const late = await started.log.nextExchange(({ errorCode }) => errorCode === 'gateway.upstream.unavailable');
  await isTold(t, started, late.requestId, {
    row: 'gateway.upstream.unavailable',
    who: 'network',
    title: /all connections .* in use/,
    todo: /\[rate_limit\] connections = 2/,
  });
  started.sandbox.release();
  await Promise.all(answers);
});

t.test('credentials and tokens', async (t) => {
  const id = '11111111-2222-4333-8444-555555555555';
  const started = await startGateway(t, {
    config: (origin) => ({
      credentials: [
        credentialAt(origin),
        credentialOf(origin, 'nobody', { id, secret: 'no such client' }),
        credentialAt(origin, {
          name: 'wrong',
          isDefault: false,
          isRequired: false,
          clientSecret: inlineSecret('not its secret', 'client_secret_file /run/x'),
        }),
        credentialOf(origin, 'person', { id, secret: 'x' }, { grantType: 'authorization_code' }),
      ],
      server: { adminListen: LOCAL, anonymousCredentials: ['*'] },
      reauthentication: { refreshTokenWaitMaxMs: 300 },
    }),
  });
  const row = (path: string, expected: Expected) => fails(t, started, { path }, expected);
  await row('/nobody/api/v2/users', {
    row: 'gateway.credential.rejected',
    who: 'token',
    title: /no OAuth client with this id exists .*\(127\.0\.0\.1:\d+\)/,
    text: /Client not found.*The next attempt begins/,
    todo: /Set \[credential\.nobody\] client_id[\s\S]*\[credential\.nobody\] host[\s\S]*gcg check --online/,
  });
  await row('/wrong/api/v2/users', {
    row: 'gateway.credential.rejected',
    who: 'token',
    title: /client secret of credential wrong is wrong/,
    text: /The secret comes from client_secret_file \/run\/x/,
    todo: /Admin > Integrations > OAuth/,
  });
  await row('/person/api/v2/users', {
    row: 'gateway.login.required',
    who: 'token',
    title: /a person must log in for credential person/,
    todo: /gcg login person/,
  });
});

t.test('a token endpoint that fails, and one that throttles', async (t) => {
  const rows: readonly (readonly [Partial<Switches>, Expected])[] = [
    [
      { tokenEndpoint: { fault: 'status', status: 503 } },
      {
        row: 'gateway.credential.unavailable',
        who: 'token',
        title: /gives no token at the moment/,
        text: /answered 503.*The next attempt begins/,
        todo: /status\.mypurecloud\.com/,
      },
    ],
    [
      { throttleLogin: { retryAfterS: 30 } },
      {
        row: 'gateway.credential.unavailable',
        who: 'token',
        title: /throttles logins/,
        text: /The next attempt begins in \d+ s/,
        todo: /another program that asks for a token with each call/,
      },
    ],
  ];
  for (const [switches, expected] of rows) {
    const started = await startGateway(t, {
      awaitReady: false,
      config: { server: { adminListen: LOCAL }, reauthentication: { refreshTokenWaitMaxMs: 300 } },
      sandbox: { switches },
    });
    await fails(t, started, {}, expected);
  }
});

t.test('a token endpoint that does not answer', async (t) => {
  const started = await startGateway(t, {
    awaitReady: false,
    config: { server: { adminListen: LOCAL }, reauthentication: { refreshTokenWaitMaxMs: 100 } },
    sandbox: { switches: { tokenEndpoint: { fault: 'hang' } } },
  });
  await fails(
    t,
    started,
    {},
    {
      row: 'gateway.credential.timeout',
      who: 'token',
      title: /no token for credential default came in time/,
      text: /waited \d+ ms for it\. A request for one is on its way/,
      todo: /\[reauthentication\] refresh_token_wait_max/,
    },
  );
  started.sandbox.release();
});

t.test('what the platform refuses', async (t) => {
  const started = await startGateway(t, {
    sandbox: { switches: { permissions: ['directory:*:*'] } },
    config: { server: { adminListen: LOCAL }, retry: { max: 1, waitMinMs: 1, waitMaxMs: 2 } },
  });
  await fails(
    t,
    started,
    { method: 'POST', path: QUERY, ...json({ interval: '2026-01-01T00:00:00Z/2026-01-02T00:00:00Z' }) },
    {
      row: 'platform.403',
      who: 'token',
      title: /lacks a permission: analytics:conversationDetail:view/,
      text: /needs one of analytics:conversationDetail:view/,
      todo: /Admin > Integrations > OAuth > Roles[\s\S]*gcg advise/,
    },
  );
  await fails(
    t,
    started,
    { path: '/api/v2/users/me' },
    {
      row: 'platform.no.user',
      who: 'token',
      title: /belongs to no person/,
      todo: /\/api\/v2\/users\/\{userId\}[\s\S]*gcg login/,
    },
  );
  await fails(
    t,
    started,
    { path: '/api/v2/users/00000000-0000-0000-0000-000000000000' },
    {
      row: 'platform.4xx',
      who: 'caller',
      title: /nothing at this path/,
      text: /It answered 404 \([\w.]+\): .*passed the answer on/,
      todo: /Check the id and the path[\s\S]*getUser in the API Explorer[\s\S]*correlation id/,
    },
  );
  started.sandbox.set({ unauthorized: {} });
  await fails(
    t,
    started,
    {},
    {
      row: 'platform.401',
      who: 'token',
      title: /refuses a fresh token/,
      text: /got a new token, and that was refused as well/,
      todo: /roles[\s\S]*IP allow list[\s\S]*gcg whoami/,
    },
  );
  started.sandbox.set({ unauthorized: null, serverError: { status: 503 } });
  await fails(
    t,
    started,
    {},
    {
      row: 'platform.5xx',
      who: 'platform',
      title: /failed with 503/,
      text: /sent 2 times \(again after 503\)/,
      todo: /give [\da-f-]{36} to the support of Genesys/,
    },
  );
});

const REFUSES_SECRETLY = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n';

t.test('the way to the platform', async (t) => {
  const start = (origin: string, config: ConfigOverrides = {}) =>
    startGatewayWith(
      t,
      givenTokenConfig(origin, {
        server: { adminListen: LOCAL },
        timeouts: { totalWaitMs: 400 },
        ...config,
      }),
    );
  const through = (port: number, more: object = {}) => ({
    proxy: { off: false, url: `http://127.0.0.1:${port}`, ...more },
  });
  const secret = 'https://api.mypurecloud.invalid';

  const asking = await startConnectProxy({ login: 'user:password' });
  const refusing = await startConnectProxy({ answer: REFUSES_SECRETLY });
  const ntlm = await startConnectProxy({
    answer: 'HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n',
  });
  const silent = await startConnectProxy({ answer: () => {} });
  for (const proxy of [asking, refusing, ntlm, silent]) t.teardown(() => proxy.close());
  const rows: readonly (readonly [Started, Expected])[] = [
    [
      await start(secret, through(asking.port)),
      {
        row: 'gateway.proxy.auth',
        who: 'proxy',
        title: /http:\/\/127\.0\.0\.1:\d+ wants a user name/,
        text: /because proxy\.url says so/,
        todo: /\[proxy\] username = …, and password_file/,
      },
    ],
    [
      await start(secret, through(asking.port, { username: 'user', password: inlineSecret('wrong', 'test') })),
      { row: 'gateway.proxy.auth', who: 'proxy', title: /does not accept the credentials/, todo: /\[proxy\] username/ },
    ],
    [
      await start(secret, through(ntlm.port)),
      { row: 'gateway.proxy.auth', who: 'proxy', title: /wants NTLM/, todo: /px, cntlm[\s\S]*\[proxy\] url/ },
    ],
    [
      await start(secret, through(refusing.port)),
      {
        row: 'gateway.proxy.refused',
        who: 'proxy',
        title: /no tunnel to api\.mypurecloud\.invalid:443 \(403\)/,
        text: /proxy\.url/,
        todo: /allow CONNECT to api\.mypurecloud\.invalid:443[\s\S]*no_proxy = api\.mypurecloud\.invalid$/m,
      },
    ],
    [
      await start(secret, { proxy: { off: false, url: 'http://127.0.0.1:1' } }),
      { row: 'gateway.proxy.refused', who: 'proxy', title: /cannot be used/, text: /ECONNREFUSED/, todo: /gcg doctor/ },
    ],
    [
      await start(secret, { ...through(silent.port), timeouts: { connectMs: 150 } }),
      { row: 'gateway.proxy.timeout', who: 'proxy', title: /took too long/, todo: /\[timeouts\] connect = 1/ },
    ],
  ];
  for (const [started, expected] of rows) await fails(t, started, {}, expected);
  const log = createTestLog();
  const config = givenTokenConfig(secret, { server: { adminListen: LOCAL }, proxy: { off: false } });
  const env = { https_proxy: `http://127.0.0.1:${refusing.port}` };
  const byVariable = await createGateway(config, { log, env });
  t.teardown(() => byVariable.drain());
  const [url = ''] = await byVariable.listen();
  await fails(
    t,
    { url, port: Number(new URL(url).port), gateway: byVariable, log },
    {},
    {
      row: 'gateway.proxy.refused',
      who: 'proxy',
      title: /no tunnel/,
      text: /because https_proxy says so/,
      todo: /or change https_proxy in the environment/,
    },
  );

  const ca = await createTestCa('Acme Inspection CA');
  t.teardown(() => ca.close());
  const inspecting = await startHostileUpstream(t, {}, { tls: ca.issue(['127.0.0.1']) });
  await fails(
    t,
    await start(inspecting.origin),
    {},
    {
      row: 'gateway.upstream.tls',
      who: 'network',
      title: /not trusted \(issuer CN=Acme Inspection CA\)/,
      text: /leave directly/,
      todo: /\[tls\] ca_file/,
    },
  );
  const upstream = async (does: Misbehaviour) => (await startHostileUpstream(t, does)).origin;
  const gone = await startHostileUpstream(t, {});
  await gone.stopListening();
  const reset = await upstream({ onRequest: (socket) => void socket.resetAndDestroy() });
  const hang = await upstream({});
  const noise = await upstream({ onRequest: (socket) => void socket.end('SSH-2.0-x\r\n\r\n') });
  const cut = await upstream({
    onRequest: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a"');
      setImmediate(() => socket.resetAndDestroy());
    },
  });
  const direct: readonly (readonly [string, Asked, Expected])[] = [
    [
      gone.origin,
      {},
      {
        row: 'gateway.upstream.unreachable',
        who: 'network',
        title: /127\.0\.0\.1/,
        text: /ECONNREFUSED/,
        todo: /\[proxy\] url[\s\S]*gcg doctor/,
      },
    ],
    [
      `http://${'x'.repeat(64)}.invalid`,
      {},
      { row: 'gateway.upstream.unreachable', who: 'network', title: /cannot be resolved/, todo: /\[general\] host/ },
    ],
    [
      reset,
      { method: 'POST', ...json({}) },
      {
        row: 'gateway.upstream.unreachable',
        who: 'network',
        title: /no connection to 127/,
        todo: /Look whether it was done/,
      },
    ],
    [
      hang,
      {},
      {
        row: 'gateway.upstream.timeout',
        who: 'network',
        title: /did not answer in time/,
        todo: /\[timeouts\] headers = 1/,
      },
    ],
    [
      noise,
      {},
      { row: 'gateway.upstream.invalid', who: 'network', title: /does not speak HTTP/, todo: /\[gateway\] host/ },
    ],
    [
      cut,
      {},
      {
        row: 'gateway.upstream.unreachable',
        who: 'network',
        title: /broke while the answer/,
        text: /had answered 200, and \d+ bytes of the body had come\. (?!.*protocol)/,
        todo: /^Send it again: what came is not whole\.[\s\S]*gcg doctor/,
      },
    ],
  ];
  for (const [origin, asked, expected] of direct)
    await fails(t, await start(origin, origin === hang ? { timeouts: { headersMs: 150 } } : {}), asked, expected);

  const held = await start(gone.origin);
  for (let failed = 0; failed < 5; failed++) await ask(held.port, {});
  await fails(
    t,
    held,
    {},
    {
      row: 'gateway.upstream.unavailable',
      who: 'network',
      title: /several times in a row/,
      text: /Nothing of this call was sent/,
      todo: /Send it again after/,
    },
  );
});

t.test('a token behind a proxy that refuses it', async (t) => {
  const proxy = await startConnectProxy({ login: 'user:password' });
  t.teardown(() => proxy.close());
  const started = await startGateway(t, {
    awaitReady: false,
    config: () => {
      const base = { origin: 'https://login.mypurecloud.invalid', pathPrefix: '' };
      const hosts = { domain: 'mypurecloud.invalid', api: base, login: base, streaming: base };
      return {
        server: { adminListen: LOCAL },
        credentials: [credentialAt('https://login.mypurecloud.invalid', { hosts })],
        proxy: { off: false, url: `http://127.0.0.1:${proxy.port}` },
        reauthentication: { refreshTokenWaitMaxMs: 500 },
      };
    },
  });
  await fails(
    t,
    started,
    {},
    {
      row: 'gateway.credential.unavailable',
      who: 'proxy',
      title: /corporate proxy does not let the gateway get a token/,
      text: /asks for credentials.*as proxy\.url says/,
      todo: /gcg doctor/,
    },
  );
});

t.test('calls that came back, were cut, or met a fault of ours', async (t) => {
  const looping = await startGatewayWith(t, givenTokenConfig('http://127.0.0.1:1', { server: { adminListen: LOCAL } }));
  // The gateway knows its mark again, whoever brings it back.
  const { instanceId } = looping.gateway.runtime();
  if (instanceId === null) Object.defineProperty(looping.gateway.runtime(), 'instanceId', { value: 'this-gateway' });
  await fails(
    t,
    looping,
    { headers: { 'x-gateway-instance': instanceId ?? 'this-gateway' } },
    { row: 'gateway.loop', who: 'caller', title: /came back/, todo: /\[gateway\] host/ },
  );
  const broken = looping.gateway.runtime();
  Object.assign(broken.rules, {
    assertPermitted() {
      throw new TypeError('a fault');
    },
  });
  await fails(
    t,
    looping,
    {},
    {
      row: 'gateway.internal',
      who: 'gateway',
      title: /gateway itself failed/,
      text: /[0-9a-f-]{36}/,
      todo: /report it/,
    },
  );

  let arrive = () => {};
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const silent = await startHostileUpstream(t, { onRequest: () => arrive() });
  const held = await startGatewayWith(
    t,
    givenTokenConfig(silent.origin, { server: { adminListen: LOCAL, drainTimeoutMs: 50 } }),
  );
  const socket = connect(held.port, '127.0.0.1');
  socket.write('GET /api/v2/users?pageSize=1 HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await arrived;
  socket.destroy();
  const left = await held.log.nextExchange(({ aborted }) => aborted);
  await isTold(t, held, left.requestId, {
    row: 'caller.left',
    who: 'caller',
    title: /the caller left after/,
    text: /waiting for Genesys Cloud/,
    todo: /time limit of the program[\s\S]*a smaller page/,
  });
  const cut = ask(held.port, {}).catch(() => null);
  while (silent.seen.length < 2) await new Promise((resolve) => setImmediate(resolve));
  await held.gateway.drain();
  await cut;
  const drained = await held.log.nextExchange(({ errorCode }) => errorCode === 'gateway.draining');
  explain(t, held, drained, {
    row: 'gateway.draining',
    who: 'gateway',
    title: /shutting down/,
    todo: /once the gateway is back/,
  });
});

t.test('an audit trail that cannot be written', async (t) => {
  const { disk, io } = createDisk();
  const upstream = await startHostileUpstream(t, {
    onRequest: (socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  });
  const config = givenTokenConfig(upstream.origin, {
    server: { adminListen: LOCAL },
    audit: { file: join(t.testdir(), 'audit.jsonl') },
  });
  const log = createTestLog();
  const gateway = await createGateway(config, { log, env: {}, auditIo: io });
  t.teardown(() => {
    disk.writeFailure = null;
    return gateway.drain();
  });
  const [url = ''] = await gateway.listen();
  while (disk.writes === 0) await new Promise((resolve) => setImmediate(resolve));
  disk.writeFailure = 'ENOSPC';
  // The one that finds out is sent; those after it are not.
  await ask(Number(new URL(url).port), { method: 'POST', ...json({}) });
  await log.nextLine('audit file cannot be written, it is tried again every second');
  await fails(
    t,
    { url, port: Number(new URL(url).port), gateway, log },
    { method: 'POST', ...json({}) },
    {
      row: 'gateway.audit.unavailable',
      who: 'gateway',
      title: /audit trail cannot be written/,
      todo: /Make room on the disk[\s\S]*\[audit\] on_failure = continue/,
    },
  );
});

t.test('calls that go well, and are slow', async (t) => {
  const started = await startGateway(t, {
    config: { server: { adminListen: LOCAL } },
    sandbox: { switches: { latencyMs: 1_050 } },
  });
  const { id } = await ask(started.port, {});
  const record = await started.log.nextExchange(({ requestId }) => requestId === id);
  await isTold(t, started, id, {
    row: 'slow',
    who: 'platform',
    title: /took 1\.\d s to answer/,
    text: /waiting for Genesys Cloud/,
    todo: /asynchronous job/,
  });
  // The same call, had it waited elsewhere: what only a trace or a long queue shows.
  const call = callOf(record, 1);
  const rows: readonly (readonly [Partial<Call>, Culprit, RegExp])[] = [
    [
      { upstreamMs: 80, trace: { rules: 0, waits: [], attempts: [], stalled: 1_000 } },
      'reader',
      /caller took 1 s to read it/,
    ],
    [
      { upstreamMs: 80, queueMs: 1_000, heldBy: 'requests_per_minute of client etl' },
      'limit',
      /waiting for a rate limit/,
    ],
    [{ upstreamMs: 10, tokenWaitMs: 1_000 }, 'token', /waiting for a token/],
  ];
  for (const [fields, who, title] of rows) {
    const why = whyOf({ ...call, ...fields }, NO_FACTS) as Why;
    t.match(why, { who, title });
    isWellWritten(t, why);
  }
  t.equal(whyOf({ ...call, durationMs: 90, upstreamMs: 80 }, NO_FACTS), null, 'quick and well');
  t.strictSame([...seenRows].sort(), Object.keys(WHY_ROWS).sort(), 'every row was met');
});
