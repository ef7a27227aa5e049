// Calls that are made again by who looks at them: as the caller that made them, by the rights of today, or not at all.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ClientConfig, GatewayConfig } from '../../src/config/gateway-config.ts';
import type { Gateway } from '../../src/gateway.ts';
import type { CallAnswer } from '../../src/inspector/wire.ts';
import type { ExchangeRecord } from '../../src/logging/exchange-record.ts';
import { createUsers, DEFAULT_ORGANIZATION } from '../../src/sandbox/directory.ts';
import { inlineSecret } from '../../src/secret.ts';
import { allCredentials, assertionFor, basic, clientNamed, postToken } from '../helpers/clients.ts';
import { listenFor } from '../helpers/egress.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { type ConfigOverrides, hostsAt, type StartOptions, startGateway, type TestLog } from '../helpers/gateway.ts';

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const ASKED = { 'X-Gateway-Request': '1' };
const as = (name: string) => ({ ...ASKED, 'X-Gateway-Key': `${name}-secret` });
const BOSS = clientNamed('boss', { isAdmin: true });
const CRM = clientNamed('crm', { inspect: 'own', credentials: ['default', 'bridge'] });
const CLIENTS = [BOSS, CRM, clientNamed('etl', { inspect: 'own' }), clientNamed('blind')];
const SOMEBODY = (createUsers(1)[0] as { email: string }).email;

interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

interface Started {
  readonly url: string;
  readonly gateway: Gateway;
  readonly log: TestLog;
  readonly config: GatewayConfig;
  /** What reached the platform. */
  readonly sent: Sent[];
  /** While it is set, answers wait. */
  hold: boolean;
  /** Answers what waits. */
  go(): void;
}

/** A gateway before an API that keeps what it is sent, with tokens of the simulation. */
async function start(t: Test, overrides: ConfigOverrides = {}, options: StartOptions = {}): Promise<Started> {
  const sent: Sent[] = [];
  const held: ServerResponse[] = [];
  const respond = (response: ServerResponse, url = response.req.url) => {
    if (url === '/api/v2/limited') response.writeHead(429, { 'Retry-After': '30' }).end();
    else response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
  };
  const api = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { method = '', url = '', headers } = request;
    sent.push({ method, url, headers, body });
    if (started.hold) held.push(response);
    else respond(response);
  });
  const port = await listenFor(t, api);
  const made = await startGateway(t, {
    ...options,
    config: (origin) => ({
      clients: CLIENTS,
      retry: { max: 0 },
      timeouts: { totalWaitMs: 1000 },
      ...overrides,
      server: { adminListen: LOCAL, ...overrides.server },
      credentials: allCredentials(origin).map((credential) => ({
        ...credential,
        hosts: { ...hostsAt(origin), api: { origin: `http://127.0.0.1:${port}`, pathPrefix: '' } },
      })),
    }),
  });
  const started: Started = {
    ...made,
    sent,
    hold: false,
    go() {
      started.hold = false;
      for (const response of held.splice(0)) respond(response);
    },
  };
  return started;
}

/** Makes a call; its request id. */
async function call(
  { url }: Pick<Started, 'url'>,
  path: string,
  headers: Record<string, string> = {},
  init: RequestInit = {},
): Promise<string> {
  const response = await fetch(url + path, { headers, ...init });
  await response.text();
  return response.headers.get('x-gateway-request-id') ?? '';
}

/** The same with headers that fetch would not send. */
async function posted({ url }: Started, headers: Record<string, string>, body: string | Buffer): Promise<string> {
  const length = { 'Content-Length': Buffer.byteLength(body) };
  const request = httpRequest(`${url}/api/v2/x`, { method: 'POST', headers: { ...headers, ...length } });
  request.end(Buffer.from(body));
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  await once(response.resume(), 'end');
  return String(response.headers['x-gateway-request-id']);
}

const ONE_AT_A_TIME = 'another call is being made again just now: one at a time';

interface Answered {
  readonly status: number;
  readonly id: string;
  readonly code: string;
  readonly message: string;
}

async function again(
  { url }: Pick<Started, 'url'>,
  id: string,
  headers: Record<string, string>,
  wish: object | null = null,
  isPatient = true,
): Promise<Answered> {
  const body = wish === null ? null : JSON.stringify(wish);
  for (;;) {
    const response = await fetch(`${url}/-/calls/${id}/replay`, { method: 'POST', headers, body });
    const answer = { ...((await response.json()) as Answered), status: response.status };
    // The one before has ended, and its connection a moment later.
    if (isPatient && answer.message === ONE_AT_A_TIME) continue;
    return answer;
  }
}

/** The record of a replay that was accepted. */
async function ended({ log }: Pick<Started, 'log'>, { id }: Answered): Promise<ExchangeRecord> {
  return log.nextExchange(({ requestId }) => requestId === id);
}

async function looked({ url }: Pick<Started, 'url'>, id: string, headers: Record<string, string>): Promise<CallAnswer> {
  return (await (await fetch(`${url}/-/calls/${id}`, { headers })).json()) as CallAnswer;
}

t.test('a call is made again as its client, octet for octet, and each says which the other is', async (t) => {
  const started = await start(t);
  const { sent, log } = started;
  const path = '/api/v2/users/a%20b/x?q=%C3%A9&b=1%2C2&&c';
  const first = await call(started, path, as('crm'));
  const seen = async () => {
    const status = await fetch(`${started.url}/-/status`, { headers: as('boss') });
    const { clients } = (await status.json()) as { clients: { name: string; lastSeenAt: string | null }[] };
    return clients.find(({ name }) => name === 'crm')?.lastSeenAt;
  };
  const seenBefore = await seen();
  t.type(seenBefore, 'string');
  t.match((await looked(started, first, as('boss'))).replay, {
    possible: true,
    needsConfirmation: false,
    reason: null,
  });
  const answer = await again(started, first, as('boss'));
  t.equal(answer.status, 202);
  t.match(await ended(started, answer), {
    ...{ client: 'crm', credential: 'default', method: 'GET', target: path, status: 200, source: 'upstream' },
    ...{ replayOf: first, replayedBy: 'boss', peer: '127.0.0.1', attempts: 1, responseBytes: 2, aborted: false },
  });
  t.strictSame(
    sent.map(({ method, url }) => `${method} ${url}`),
    [`GET ${path}`, `GET ${path}`],
  );
  t.equal(await seen(), seenBefore, 'the client was not seen');
  t.match((await looked(started, answer.id, as('crm'))).call, { replayOf: first, replayedBy: 'boss' });
  t.notMatch(sent[1]?.headers, { 'x-gateway-key': String, 'x-gateway-credential': String });
  t.equal(log.exchanges.filter(({ replayOf }) => replayOf !== null).length, 1);
  const other = await call(started, '/bridge/api/v2/x', as('crm'));
  t.match(await ended(started, await again(started, other, as('boss'))), { credential: 'bridge' });
  const aside = await call(started, '/api/v2/x', { ...as('crm'), 'X-Gateway-Credential': 'bridge' });
  t.match(await ended(started, await again(started, aside, as('boss'))), { credential: 'bridge' });
});

t.test('it is asked for at the admin listener, and made as if it came where it came the first time', async (t) => {
  const started = await start(t, { server: { adminListen: [{ kind: 'tcp', host: '127.0.0.2', port: 0 }] } });
  const id = await call(started, '/api/v2/x', as('crm'));
  t.match(await again(started, id, as('boss')), { status: 404, code: 'gateway.route.not.found' });
  const admin = { url: (started.gateway.pages[0]?.url ?? '').replace('/-/ui/', '') };
  t.match(await ended(started, await again(admin, id, as('boss'))), { status: 200, client: 'crm', peer: '127.0.0.1' });
  t.equal((await looked(admin, id, as('boss'))).copy.base, 'http://localhost:8080', 'no port is known before');
});

t.test('who may make which calls again, by the configuration', async (t) => {
  for (const replay of ['off', 'safe', 'confirm'] as const) {
    const started = await start(t, { inspector: { replay } });
    const mine = await call(started, '/api/v2/mine', as('crm'));
    const other = await call(started, '/api/v2/other', as('etl'));
    const change = await call(started, '/api/v2/change', as('crm'), { method: 'DELETE' });
    const { sent, url } = started;
    const before = sent.length;
    const rows: [viewer: Record<string, string>, id: string, wish: object | null, status: Record<string, number>][] = [
      [as('boss'), mine, null, { off: 403, safe: 202, confirm: 202 }],
      [as('crm'), mine, null, { off: 403, safe: 202, confirm: 202 }],
      [as('crm'), other, null, { off: 404, safe: 404, confirm: 404 }],
      [as('crm'), change, { confirm: 'DELETE /api/v2/change' }, { off: 403, safe: 403, confirm: 403 }],
      [as('boss'), change, null, { off: 403, safe: 403, confirm: 409 }],
      [as('boss'), change, {}, { off: 403, safe: 403, confirm: 409 }],
      [as('boss'), change, { confirm: 'delete /api/v2/change' }, { off: 403, safe: 403, confirm: 409 }],
      [as('boss'), change, { confirm: 'DELETE /api/v2/change ' }, { off: 403, safe: 403, confirm: 409 }],
      [as('boss'), change, { confirm: true }, { off: 400, safe: 400, confirm: 400 }],
      [as('boss'), change, { confirm: 'DELETE /api/v2/change' }, { off: 403, safe: 403, confirm: 202 }],
      [as('boss'), mine, { confirm: 'whatever' }, { off: 403, safe: 202, confirm: 202 }],
      [as('boss'), 'unknown', null, { off: 404, safe: 404, confirm: 404 }],
      [as('blind'), mine, null, { off: 403, safe: 403, confirm: 403 }],
      [ASKED, mine, null, { off: 401, safe: 401, confirm: 401 }],
      [{ ...as('boss'), 'X-Gateway-Request': '0' }, mine, null, { off: 403, safe: 403, confirm: 403 }],
      [{ ...as('boss'), Origin: 'https://elsewhere.example' }, mine, null, { off: 403, safe: 403, confirm: 403 }],
    ];
    let made = 0;
    for (const [viewer, id, wish, status] of rows) {
      const answer = await again(started, id, viewer, wish);
      t.equal(answer.status, status[replay], `${replay}: ${JSON.stringify([viewer, wish])} ${answer.message}`);
      if (answer.status !== 202) continue;
      made += 1;
      t.match(await ended(started, answer), { status: 200, client: 'crm' });
    }
    t.equal(sent.length, before + made, 'nothing else went out');
    for (const method of ['GET', 'HEAD', 'DELETE', 'PUT'])
      t.equal((await fetch(`${url}/-/calls/${mine}/replay`, { method, headers: as('boss') })).status, 405, method);
  }
});

/** How a call can be made, and what becomes of its caller. */
async function proofs(started: Started): Promise<Record<'secret' | 'handle' | 'session', Record<string, string>>> {
  const { url } = started;
  const proof = { authorization: basic('crm', 'crm-secret') };
  const { body: handle } = await postToken(url, { grant_type: 'client_credentials' }, proof);
  const saml = {
    grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer',
    orgName: DEFAULT_ORGANIZATION.shortName,
    assertion: assertionFor(SOMEBODY),
  };
  const { body: session } = await postToken(`${url}/bridge`, saml, proof);
  return {
    secret: { authorization: 'Bearer crm-secret' },
    handle: { authorization: `Bearer ${handle.access_token}` },
    session: { authorization: `Bearer ${session.access_token}` },
  };
}

t.test('whatever became of its caller since, a call is that caller’s or nobody’s', async (t) => {
  const clock = createFakeClock(Date.now());
  const started = await start(t, {}, { clock });
  const againLater = async (id: string, viewer: Record<string, string>) => {
    await clock.advance(7_000);
    return again(started, id, viewer);
  };
  const { gateway, config, url, sent } = started;
  const withCrm = (overrides: Partial<ClientConfig>, ...others: ClientConfig[]): GatewayConfig => ({
    ...config,
    clients: [BOSS, ...others, clientNamed('crm', { ...CRM, ...overrides })],
  });
  const change = (method: string, path: string, headers: Record<string, string>) =>
    fetch(url + path, { method, headers }).then((answer) => answer.text());
  const unauthenticated = { status: 401, errorCode: 'gateway.client.unauthenticated' };
  const over = { status: 401, errorCode: 'gateway.session.ended' };
  const forbidden = { status: 403, errorCode: 'gateway.client.forbidden' };
  type Outcome = Partial<ExchangeRecord>;
  const all = (outcome: Outcome) => ({ secret: outcome, handle: outcome, session: outcome });
  const byHandle = (secret: Outcome, handle: Outcome) => ({ secret, handle, session: handle });
  const open = { status: 200 };
  const rows: Record<string, [GatewayConfig, Record<'secret' | 'handle' | 'session', Outcome>]> = {
    unchanged: [config, all(open)],
    gone: [{ ...config, clients: [BOSS] }, byHandle(unauthenticated, over)],
    'no client left, so that anybody is served': [{ ...config, clients: [] }, byHandle(unauthenticated, over)],
    'another secret': [withCrm({ secret: inlineSecret('other', 'test') }), byHandle(unauthenticated, over)],
    'its secret is another client’s': [
      withCrm(
        { secret: inlineSecret('other', 'test') },
        clientNamed('new', { secret: inlineSecret('crm-secret', 'test') }),
      ),
      byHandle(unauthenticated, over),
    ],
    expired: [withCrm({ expiresAt: clock.now() - 1 }), byHandle(unauthenticated, over)],
    'from elsewhere only': [withCrm({ from: ['192.0.2.0/24'] }), all(unauthenticated)],
    'denied by a rule': [withCrm({ deny: ['GET /api/v2/users/**'] }), all(forbidden)],
    'not listed by a rule': [withCrm({ allow: ['GET /api/v2/queues'] }), all(forbidden)],
    'without its credentials': [withCrm({ credentials: ['web'] }), all(forbidden)],
    'read-only gateway': [{ ...config, server: { ...config.server, readOnly: true } }, all(open)],
  };
  const made = async () => {
    const ids: [kind: 'secret' | 'handle' | 'session', id: string][] = [];
    for (const [kind, headers] of Object.entries(await proofs(started)))
      ids.push([kind as 'secret', await call(started, '/api/v2/users/me', headers)]);
    return ids;
  };
  const ids = await made();
  for (const [name, [changed, outcomes]] of Object.entries(rows)) {
    gateway.replace(changed);
    const isAnybody = changed.clients.length === 0;
    const viewer = isAnybody ? { ...ASKED, 'X-Gateway-Key': gateway.pageKey } : as('boss');
    for (const [kind, id] of ids) {
      const before = sent.length;
      const answer = await againLater(id, viewer);
      t.equal(answer.status, 202, `${name}: ${answer.message}`);
      const record = await ended(started, answer);
      t.match(record, { client: 'crm', replayOf: id, ...outcomes[kind] }, `${name}, by ${kind}`);
      t.equal(sent.length - before, outcomes[kind] === open ? 1 : 0, `${name}, by ${kind}: what went out`);
      t.equal(record.claimedClient, null);
    }
    gateway.replace(config);
  }
  await change('POST', '/-/clients/crm/block', as('boss'));
  for (const [kind, id] of ids) {
    const record = await ended(started, await againLater(id, as('boss')));
    t.match(record, kind === 'secret' ? unauthenticated : over, `blocked, by ${kind}`);
  }
  await change('POST', '/-/clients/crm/unblock', as('boss'));
  const { handle, session } = await proofs(started);
  for (const proof of [handle, session]) {
    const id = await call(started, '/api/v2/users/me', proof);
    await change('DELETE', '/api/v2/tokens/me', proof);
    t.match(await ended(started, await againLater(id, as('boss'))), over, 'ended');
  }
});

t.test('who has the session of one user looks at nothing of its client, and makes nothing of it again', async (t) => {
  const started = await start(t);
  const { session, handle } = await proofs(started);
  const { session: other } = await proofs(started);
  const id = await call(started, '/api/v2/users/me', session);
  for (const path of ['/-/calls', `/-/calls/${id}`, '/-/events', '/-/insight']) {
    const response = await fetch(started.url + path, { headers: { ...ASKED, ...other } });
    t.equal(response.status, 403, path);
    await response.body?.cancel();
  }
  t.match(await again(started, id, { ...ASKED, ...other }), { status: 403, code: 'gateway.client.forbidden' });
  t.match(await ended(started, await again(started, id, { ...ASKED, ...handle })), { status: 200, replayedBy: 'crm' });
});

t.test('a handle for one credential makes no call again that was made with another', async (t) => {
  const started = await start(t);
  const proof = { authorization: basic('crm', 'crm-secret') };
  const { body } = await postToken(`${started.url}/bridge`, { grant_type: 'client_credentials' }, proof);
  const viewer = { ...ASKED, authorization: `Bearer ${body.access_token}` };
  const other = await call(started, '/api/v2/x', as('crm'));
  t.match(await again(started, other, viewer), { status: 403, message: /for the credential bridge alone/ });
  const own = await call(started, '/bridge/api/v2/x', as('crm'));
  t.match(await ended(started, await again(started, own, viewer)), { credential: 'bridge', replayedBy: 'crm' });
});

t.test('an anonymous call is anybody’s only where anybody is still served', async (t) => {
  const started = await start(t, { clients: [] });
  const { gateway, config, sent } = started;
  const operator = { ...ASKED, 'X-Gateway-Key': gateway.pageKey };
  const plain = await call(started, '/api/v2/x');
  const handle = await postToken(started.url, { grant_type: 'client_credentials' }, { authorization: basic('a', 'b') });
  const byHandle = await call(started, '/api/v2/x', { authorization: `Bearer ${handle.body.access_token}` });
  const rows: [string, GatewayConfig, Record<string, string>, Partial<ExchangeRecord>, Partial<ExchangeRecord>][] = [
    ['still', config, operator, { status: 200 }, { status: 200 }],
    [
      'clients since',
      { ...config, clients: CLIENTS },
      as('boss'),
      { status: 401, errorCode: 'gateway.client.unauthenticated' },
      { status: 401, errorCode: 'gateway.session.ended' },
    ],
    [
      'clients since, and anonymous use',
      { ...config, clients: CLIENTS, server: { ...config.server, anonymousCredentials: ['*'] } },
      as('boss'),
      { status: 200 },
      { status: 200 },
    ],
    [
      'by a rule',
      { ...config, server: { ...config.server, anonymousDeny: ['GET /**'] } },
      operator,
      { status: 403 },
      { status: 403 },
    ],
  ];
  for (const [name, changed, viewer, ofPlain, ofHandle] of rows) {
    gateway.replace(changed);
    for (const [id, outcome] of [
      [plain, ofPlain],
      [byHandle, ofHandle],
    ] as const) {
      const before = sent.length;
      const record = await ended(started, await again(started, id, viewer));
      t.match(record, { client: null, ...outcome }, name);
      t.equal(record.replayedBy, viewer === operator ? 'operator' : 'boss');
      t.equal(sent.length - before, outcome.status === 200 ? 1 : 0, name);
    }
    gateway.replace(config);
  }
});

t.test('what is never made again', async (t) => {
  const started = await start(t, { inspector: { replay: 'confirm' }, server: { anonymousCredentials: ['*'] } });
  const { url, sent, log } = started;
  const made: [why: RegExp, method: string, path: string, headers?: Record<string, string>][] = [
    [/whose call/, 'DELETE', '/api/v2/tokens/me'],
    [/whose call/, 'DELETE', '/api/v2//tokens/me'],
    [/tokens/, 'DELETE', '/api/v2/tokens/someone'],
    [/tokens/, 'POST', '/default/api/v2/Tokens;a=b/x'],
    [/channels/, 'GET', '/api/v2/notifications/channels'],
    [/channels/, 'POST', '/api/v2/notifications/channels'],
    [/channels/, 'GET', '/api/v2/notifications/%63hannels'],
    [/secret/, 'GET', '/api/v2/notifications/channels/streaming-0-abcdefghijkl/subscriptions'],
    [/secret/, 'GET', '/api/v2/x?access_token=very-secret-value'],
    [/secret/, 'GET', `/api/v2/x?q=${'y'.repeat(9_000)}`],
    [/another call/, 'GET', '/api/v2/x?_method=DELETE'],
    [/more than one way/, 'GET', '/api/v2/x%C0%AFy'],
    [/whose call/, 'GET', '/oauth/authorize?client_id=x'],
    [/whose call/, 'GET', '/nowhere'],
    [/whose call/, 'GET', '/api/v2/x', { 'X-Gateway-Key': 'wrong' }],
    [/whose call/, 'GET', '/api/v2/x', { Authorization: 'Bearer gcgh_dead' }],
    [/whose call/, 'GET', '/api/v2/x', { Origin: 'https://elsewhere.example' }],
    [/body/, 'POST', '/api/v2/x', { 'Content-Type': 'application/json', body: '{"a":1}' }],
  ];
  for (const [why, method, path, { body, ...headers } = {}] of made) {
    const response = await fetch(url + path, {
      method,
      headers: { ...as('crm'), ...headers },
      body: body ?? null,
      redirect: 'manual',
    });
    await response.text();
    const id = response.headers.get('x-gateway-request-id') ?? '';
    const { path: shown } = (await looked(started, id, as('boss'))).call;
    const before = sent.length;
    const answer = await again(started, id, as('boss'), { confirm: `${method} ${shown}`, anyway: true });
    t.match(answer, { status: 409, message: why }, `${method} ${path}`);
    t.equal(sent.length, before);
    t.match((await looked(started, id, as('boss'))).replay, { possible: false, reason: why }, path);
  }
  t.match(await again(started, await call(started, '/', as('boss')), as('boss')), { status: 409, message: /whose/ });
  for (const path of ['/-/status', '/-/calls', '/livez', '/metrics'])
    t.equal((await again(started, await call(started, path, as('boss')), as('boss'))).status, 404, path);
  t.equal(log.exchanges.filter(({ replayOf }) => replayOf !== null).length, 0);
});

t.test('a body is sent again only where a capture has it whole and nothing in it was masked', async (t) => {
  const started = await start(t, { inspector: { replay: 'confirm' } });
  const { url, sent } = started;
  const capture = JSON.stringify({ what: 'bodies', seconds: 60 });
  await fetch(`${url}/-/capture`, { method: 'POST', headers: as('boss'), body: capture }).then((one) => one.text());
  const json = { 'Content-Type': 'application/json' };
  const rows: [possible: boolean, body: string | Buffer, headers?: Record<string, string>][] = [
    [true, '{ "name" : "caf\\u00e9 ü", "n": 12345678901234567890,\n"list":[1,2] }'],
    [true, 'plain text, with ümlauts', { 'Content-Type': 'text/plain' }],
    [true, 'a=1&b=%20', { 'Content-Type': 'application/x-www-form-urlencoded' }],
    [false, '{"password":"hunter2-hunter2"}'],
    [false, '{"password":"hunter2-hunter2","password":"","a":1}'],
    [false, '{"note":"gcgh_abcdefgh","note":"x"}'],
    [false, '{"a":1'.padEnd(80_000, ' ')],
    [false, Buffer.from([0xff, 0xfe, 0x41])],
    [false, 'a=1&client_secret=abcdefgh', { 'Content-Type': 'application/x-www-form-urlencoded' }],
    [false, '{"a":1}', { ...json, 'Content-Encoding': 'gzip' }],
  ];
  for (const [possible, body, headers = json] of rows) {
    const more = { 'X-Custom': 'kept', 'X-Api-Key': 'very-secret-key', Cookie: 'a=b', ...headers };
    const odd = {
      'User-Agent': 'me',
      'X-Octets': 'caf\u00c3\u00a9',
      Connection: 'X-Hop',
      'X-Hop': '1',
      [`X-${'y'.repeat(300)}`]: '1',
    };
    const id = await posted(started, { ...as('crm'), ...more, ...odd }, body);
    const answer = await again(started, id, as('boss'), { confirm: 'POST /api/v2/x' });
    t.equal(answer.status, possible ? 202 : 409, String(body).slice(0, 60));
    if (!possible) continue;
    t.match(await ended(started, answer), { status: 200, requestBytes: Buffer.byteLength(body) });
    const [before, after] = sent.slice(-2);
    t.equal(after?.body, before?.body);
    t.match(after?.headers, { 'x-custom': 'kept', 'content-type': headers['Content-Type'], 'user-agent': String });
    t.equal(after?.headers['x-octets'], 'caf\u00c3\u00a9', 'octet for octet');
    t.equal(after?.headers['x-hop'], before?.headers['x-hop'], 'what Connection named went no further than here');
    t.notOk(after?.headers['x-api-key'] ?? after?.headers.cookie);
    t.not(after?.headers.authorization, undefined);
  }
  const plain = await posted(started, as('crm'), 'plain');
  t.match(await again(started, plain, as('crm'), { confirm: 'POST /api/v2/x' }), { status: 403 });
  const overridden = await call(started, '/api/v2/x', { ...as('crm'), 'X-HTTP-Method-Override': 'DELETE' });
  t.match(await again(started, overridden, as('boss')), { status: 409, message: /another call/ });
});

t.test('for each who asks one at a time, ten a minute, and replays of replays count like any others', async (t) => {
  const clock = createFakeClock(Date.now());
  const started = await start(t, {}, { clock });
  let last = await call(started, '/api/v2/x', as('crm'));
  started.hold = true;
  const [one, two] = await Promise.all([1, 2].map(() => again(started, last, as('boss'), null, false)));
  const accepted = one?.status === 202 ? one : two;
  t.strictSame([one?.status, two?.status].sort(), [202, 429]);
  t.match(await again(started, last, as('boss'), null, false), { status: 429, code: 'gateway.inspector.busy' });
  const other = await again(started, last, as('crm'), null, false);
  t.equal(other.status, 202, 'nobody holds up others, or learns of them');
  started.go();
  for (const answer of [accepted as Answered, other]) t.match(await ended(started, answer), { status: 200 });
  for (let made = 1; made < 10; made++) {
    const answer = await again(started, last, as('boss'));
    t.equal(answer.status, 202);
    t.match(await ended(started, answer), { client: 'crm', replayOf: last, peer: '127.0.0.1' });
    await clock.advance(100);
    last = answer.id;
  }
  t.match(await again(started, last, as('boss')), { status: 429, message: /^10 calls/ });
  t.match(await ended(started, await again(started, last, as('crm'))), { status: 200, replayedBy: 'crm' });
  await clock.advance(59_000);
  t.match(await again(started, last, as('boss')), { status: 429 });
  await clock.advance(1_000);
  t.match(await again(started, last, as('boss')), { status: 202 });
});

t.test('one that never ends is cut after a while, and the next one may run', async (t) => {
  const clock = createFakeClock(Date.now());
  const started = await start(t, { timeouts: { headersMs: 3_600_000 } }, { clock });
  const id = await call(started, '/api/v2/x', as('crm'));
  started.hold = true;
  const answer = await again(started, id, as('boss'));
  await clock.advance(299_000);
  t.match(await again(started, id, as('boss'), null, false), { status: 429 });
  await clock.advance(2_000);
  t.match(await ended(started, answer), { status: 0, aborted: true });
  started.go();
  t.match(await ended(started, await again(started, id, as('boss'))), { status: 200 });
});

t.test('while a limit is paused that it would count for, only who says so makes a call again', async (t) => {
  const started = await start(t);
  const id = await call(started, '/api/v2/x', as('crm'));
  const bridge = await call(started, '/bridge/api/v2/x', as('crm'));
  await call(started, '/api/v2/limited', as('crm'));
  const refused = await again(started, id, as('boss'));
  t.match(refused, { status: 429, code: 'gateway.inspector.busy', message: /paused.*anyway/ });
  const answer = await again(started, id, as('boss'), { anyway: true });
  t.equal(answer.status, 202);
  t.match(await ended(started, answer), { status: 429, errorCode: 'gateway.rate.limited', client: 'crm' });
  t.equal((await again(started, bridge, as('boss'))).status, 202, 'another credential is another limit');
});

t.test('draining: a replay that runs is waited for, and one that comes then is refused as any call', async (t) => {
  const started = await start(t, { server: { adminListen: LOCAL, drainTimeoutMs: 5_000 } });
  const { gateway, sent, log } = started;
  const id = await call(started, '/api/v2/x', as('crm'));
  started.hold = true;
  const answer = await again(started, id, as('boss'));
  while (sent.length < 2) await new Promise((resolve) => setImmediate(resolve));
  const drained = gateway.drain();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(log.exchanges.filter(({ requestId }) => requestId === answer.id).length, 0);
  started.go();
  t.match(await ended(started, answer), { status: 200, aborted: false });
  await drained;
});

t.test('a drain that takes too long cuts it', async (t) => {
  const started = await start(t, { server: { adminListen: LOCAL, drainTimeoutMs: 50 } });
  const id = await call(started, '/api/v2/x', as('crm'));
  started.hold = true;
  const answer = await again(started, id, as('boss'));
  await started.gateway.drain();
  t.match(await ended(started, answer), { aborted: true, errorCode: 'gateway.draining' });
});

t.test('a configuration that changes while it runs is not its own', async (t) => {
  const started = await start(t);
  const { gateway, config, sent } = started;
  const id = await call(started, '/api/v2/x', as('crm'));
  started.hold = true;
  const answer = await again(started, id, as('boss'));
  while (sent.length < 2) await new Promise((resolve) => setImmediate(resolve));
  gateway.replace({ ...config, clients: [BOSS] });
  started.go();
  t.match(await ended(started, answer), { status: 200, client: 'crm' });
  t.match(await ended(started, await again(started, id, as('boss'))), { status: 401 });
});

t.test(
  'a key that ends, or a viewer whose rights end, while the wish is still being sent makes nothing again',
  async (t) => {
    const started = await start(t);
    const { gateway, config, url, sent } = started;
    const id = await call(started, '/api/v2/x', as('crm'));
    const session = await fetch(`${url}/-/ui/session`, { method: 'POST', headers: as('boss') });
    const { key } = (await session.json()) as { key: string };
    const slow = async (proof: string, then: () => unknown): Promise<string> => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      const head = [
        `POST /-/calls/${id}/replay HTTP/1.1`,
        ...['Host: localhost', 'Connection: close', 'X-Gateway-Request: 1', `X-Gateway-Key: ${proof}`],
        ...['Content-Type: application/json', 'Content-Length: 2', '', '{'],
      ];
      socket.write(head.join('\r\n'));
      await once(socket, 'ready');
      // Its head was taken in before its end is written.
      while (gateway.calls.running === 0) await new Promise((resolve) => setImmediate(resolve));
      await then();
      socket.end('}');
      let text = '';
      for await (const chunk of socket) text += chunk;
      return text.slice(0, 12);
    };
    t.equal(
      await slow(key, () =>
        fetch(`${url}/-/ui/session`, { method: 'DELETE', headers: { ...ASKED, 'X-Gateway-Key': key } }).then((one) =>
          one.text(),
        ),
      ),
      'HTTP/1.1 401',
    );
    const demoted = { ...config, clients: [clientNamed('boss'), CRM] };
    t.equal(await slow('boss-secret', () => gateway.replace(demoted)), 'HTTP/1.1 403');
    t.equal(sent.length, 1);
  },
);

t.test('the audit trail says who had what made again', async (t) => {
  const file = join(t.testdir(), 'audit.jsonl');
  const started = await start(t, {
    inspector: { replay: 'confirm' },
    audit: { file, methods: [], sync: false, onFailure: 'refuse' },
  });
  const id = await call(started, '/api/v2/x', as('crm'), { method: 'DELETE' });
  const answer = await again(started, id, as('boss'), { confirm: 'DELETE /api/v2/x' });
  await ended(started, answer);
  await started.gateway.drain();
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => (line.includes('"client"') ? [JSON.parse(line) as Record<string, unknown>] : []));
  t.match(
    lines.find(({ requestId }) => requestId === id),
    { client: 'crm', replayOf: undefined },
  );
  t.match(
    lines.find(({ requestId }) => requestId === answer.id),
    {
      ...{ client: 'crm', method: 'DELETE', path: '/api/v2/x', status: 200, replayOf: id, replayedBy: 'boss' },
    },
  );
  t.match(
    lines.find(({ path }) => path === `/-/calls/${id}/replay`),
    { client: 'boss', method: 'POST', status: 202 },
  );
});
