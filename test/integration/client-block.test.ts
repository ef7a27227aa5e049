// The red button: a client is blocked at once, with its sockets and sessions, over a restart, and by admins alone; what
// status, metrics and the log say of clients.

import { once } from 'node:events';
import t from 'tap';
import { createUsers, DEFAULT_ORGANIZATION } from '../../src/sandbox/directory.ts';
import type { StatusDocument } from '../../src/server/routes/status.ts';
import { change } from '../helpers/admin.ts';
import { askAt } from '../helpers/ask.ts';
import { allCredentials, assertionFor, basic, clientNamed, postToken } from '../helpers/clients.ts';
import { configAt, startGateway, startGatewayWith, stateFolder } from '../helpers/gateway.ts';
import { makeChannel, openWebSocket } from '../helpers/sockets.ts';

const ANYWHERE = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;
const SOMEBODY = (createUsers(1)[0] as { email: string }).email;
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const OPS = bearer('ops-secret');

t.test('a blocked client is refused at once, its socket and sessions end, and a restart changes nothing', async (t) => {
  const store = { type: 'file', path: stateFolder(t) } as const;
  const clients = [
    clientNamed('ops', { isAdmin: true }),
    clientNamed('crm', { credentials: ['default', 'bridge'] }),
    clientNamed('bi'),
  ];
  const { url, gateway, log, config } = await startGateway(t, {
    config: (origin) => ({ store, clients, server: { adminListen: ANYWHERE }, credentials: allCredentials(origin) }),
  });
  const crm = bearer('crm-secret');
  const { connectUri } = await makeChannel(url, crm);
  const socket = await openWebSocket(t, connectUri);
  const other = await openWebSocket(t, (await makeChannel(url, bearer('bi-secret'))).connectUri);
  const saml = {
    grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer',
    orgName: DEFAULT_ORGANIZATION.shortName,
    assertion: assertionFor(SOMEBODY),
  };
  const { body: session } = await postToken(`${url}/bridge`, saml, { authorization: basic('crm', 'crm-secret') });
  const { body: handle } = await postToken(
    url,
    { grant_type: 'client_credentials' },
    { authorization: basic('crm', 'crm-secret') },
  );
  const ask = (headers: Record<string, string>, path = '/api/v2/users') => askAt(url, { headers, path });
  for (const headers of [crm, bearer(session.access_token), bearer(handle.access_token)])
    t.equal((await ask(headers)).status, 200, 'the control');

  const closed = once(socket, 'close');
  const response = await change(`${url}/-/clients/crm/block`, undefined, OPS);
  t.equal(response.status, 200);
  t.match(await response.json(), { blocked: true, survivesRestart: true, client: { name: 'crm', state: 'blocked' } });
  t.equal((await closed)[0], 1008);
  t.match(await log.nextLine('client blocked'), {
    client: 'crm',
    by: 'ops',
    sockets: 1,
    sessions: 1,
    requestId: String,
  });
  const refused = await ask(crm);
  t.match(refused, {
    status: 401,
    code: 'gateway.client.unauthenticated',
    body: /client crm is blocked: ask who runs this gateway/,
  });
  for (const token of [session.access_token, handle.access_token])
    t.match(await ask(bearer(token)), { status: 401, code: 'gateway.session.ended' });
  t.match(await postToken(url, { grant_type: 'client_credentials' }, { authorization: basic('crm', 'crm-secret') }), {
    status: 400,
    body: { error: 'invalid_client', description: /client crm is blocked/ },
  });
  t.equal((await ask(bearer('bi-secret'))).status, 200);
  t.equal(other.readyState, other.OPEN, 'sockets of others go on');

  await gateway.drain();
  const again = await startGatewayWith(
    t,
    configAt(config.general.hosts.api.origin, { ...config, server: config.server }),
  );
  t.equal((await askAt(again.url, { headers: crm })).status, 401, 'after a restart');
  t.match(await (await change(`${again.url}/-/clients/crm/unblock`, undefined, OPS)).json(), {
    blocked: false,
    client: { state: 'active' },
  });
  t.equal((await askAt(again.url, { headers: crm })).status, 200);
  t.equal((await askAt(again.url, { headers: bearer(handle.access_token) })).status, 200, 'a handle is good again');
  t.equal((await askAt(again.url, { headers: bearer(session.access_token) })).status, 401, 'a session is not');
});

t.test('only an admin blocks, with the header, a client that there is, and not itself', async (t) => {
  const clients = [clientNamed('ops', { isAdmin: true }), clientNamed('crm')];
  const { url } = await startGateway(t, {
    config: { clients, server: { adminListen: ANYWHERE, anonymousCredentials: ['default'] } },
  });
  const cases: [what: string, path: string, headers: Record<string, string>, status: number, code: string][] = [
    ['nobody', '/-/clients/crm/block', { 'x-gateway-request': '1' }, 401, 'gateway.client.unauthenticated'],
    [
      'no admin',
      '/-/clients/crm/block',
      { ...bearer('crm-secret'), 'x-gateway-request': '1' },
      403,
      'gateway.client.forbidden',
    ],
    ['without the header', '/-/clients/crm/block', OPS, 403, 'gateway.origin.forbidden'],
    [
      'from a page',
      '/-/clients/crm/block',
      { ...OPS, 'x-gateway-request': '1', origin: 'https://evil.example' },
      403,
      'gateway.origin.forbidden',
    ],
    ['no such client', '/-/clients/nobody/block', { ...OPS, 'x-gateway-request': '1' }, 404, 'gateway.route.not.found'],
    [
      'callers who are none',
      '/-/clients/-/block',
      { ...OPS, 'x-gateway-request': '1' },
      404,
      'gateway.route.not.found',
    ],
    [
      'a word of objects',
      '/-/clients/__proto__/unblock',
      { ...OPS, 'x-gateway-request': '1' },
      404,
      'gateway.route.not.found',
    ],
    ['itself', '/-/clients/ops/block', { ...OPS, 'x-gateway-request': '1' }, 400, 'gateway.request.invalid'],
  ];
  for (const [what, path, headers, status, code] of cases)
    t.match(await askAt(url, { method: 'POST', path, headers }), { status, code }, what);
  t.match(await askAt(url, { path: '/-/clients/crm/block', headers: OPS }), { status: 405 });
  t.equal((await askAt(url, { headers: bearer('crm-secret') })).status, 200, 'nothing came of it');
  const memory = await change(`${url}/-/clients/crm/block`, undefined, OPS);
  t.match(await memory.json(), { survivesRestart: false });
});

t.test('status and metrics tell when each secret was last used, what was called and refused', async (t) => {
  const old = '60af7bed1187c4a5ab3d32a6c6ba9fd97a18be1a7a9b8d6d9c5b8f7e6d5c4b3a';
  const expiresAt = Date.now() + 5 * 86_400_000;
  const clients = [
    clientNamed('ops', { isAdmin: true }),
    clientNamed('crm', { secretSha256: [old], allow: ['@read-only'], expiresAt, from: ['127.0.0.0/8'] }),
  ];
  const { url } = await startGateway(t, {
    config: { clients, server: { adminListen: ANYWHERE, anonymousAllow: ['@read-only'] } },
  });
  const crm = bearer('crm-secret');
  await askAt(url, { headers: crm });
  await askAt(url, { headers: crm, method: 'DELETE', path: '/api/v2/users/x' });
  const status = await (await fetch(`${url}/-/status`, { headers: OPS })).json();
  t.match(status, {
    readOnly: false,
    anonymous: { served: false, credentials: ['default'], rules: { allow: ['@read-only'] }, calls: 0 },
    clients: [
      { name: 'ops', isAdmin: true, state: 'active', calls: 1 },
      {
        name: 'crm',
        state: 'active',
        expiresAt: new Date(expiresAt).toISOString(),
        credentials: ['default'],
        rules: { allow: ['@read-only'], mode: 'enforce' },
        from: ['127.0.0.0/8'],
        calls: 2,
        refused: 1,
        sockets: 0,
        secrets: [
          { fingerprint: '60af7bed', lastSeenAt: null, calls: 0 },
          { fingerprint: /^[0-9a-f]{8}$/, lastSeenAt: /Z$/, lastFrom: '127.0.0.1', calls: 2 },
        ],
      },
    ],
  });
  t.notMatch(JSON.stringify(status), /crm-secret|60af7bed1/, 'fingerprints are short');
  const metrics = await (await fetch(`${url}/metrics`, { headers: OPS })).text();
  const seen = Number(/^gcg_client_last_seen_seconds\{client="crm",secret="[0-9a-f]{8}"\} (\S+)$/m.exec(metrics)?.[1]);
  t.ok(Math.abs(seen - Date.now() / 1000) < 60);
  t.match(metrics, /^gcg_client_seconds_left\{client="crm"\} 43\d{4}/m);
  t.match(metrics, /^gcg_client_blocked\{client="crm"\} 0$/m);
  t.match(metrics, /^gcg_client_rejected_total\{client="crm"\} 0$/m);
  await askAt(url, { headers: { authorization: basic('crm', 'a wrong one') } });
  await askAt(url, { headers: { ...crm, 'x-gateway-request': '1' }, method: 'POST', path: '/-/quit' });
  await change(`${url}/-/clients/crm/block`, undefined, OPS);
  await askAt(url, { headers: crm });
  const after = (await (await fetch(`${url}/-/status`, { headers: OPS })).json()) as StatusDocument;
  t.match(
    after.clients[1],
    { calls: 3, refused: 2, rejected: 2 },
    'a wrong secret, and the right one of a blocked client',
  );
});

t.test(
  'callers who are no client have rules of their own, by each way in, and read_only holds for everybody',
  async (t) => {
    const config = {
      server: {
        anonymousAllow: ['@read-only'],
        anonymousDeny: ['GET /api/v2/organizations/**'],
        anonymousCredentials: ['default'],
      },
    };
    const {
      url,
      gateway,
      config: used,
    } = await startGateway(t, { config: { ...config, clients: [clientNamed('crm')] } });
    const { body: handle } = await postToken(
      url,
      { grant_type: 'client_credentials' },
      { authorization: basic('any', 'thing') },
    );
    const calls: [method: string, path: string, status: number][] = [
      ['GET', '/api/v2/users', 200],
      ['DELETE', '/api/v2/users/x', 403],
      ['POST', '/api/v2/users', 403],
      ['GET', '/default/api/v2/organizations/me', 403],
      ['GET', '/api/v2/%6Frganizations/me', 403],
      ['POST', '/api/v2/notifications/channels', 403],
    ];
    for (const [how, headers] of [
      ['nothing', {}],
      ['a handle', bearer(handle.access_token)],
      ['a Bearer that is no secret', bearer('x')],
    ] as const) {
      for (const [method, path, status] of calls)
        t.equal((await askAt(url, { method, path, headers })).status, status, `${method} ${path} with ${how}`);
    }
    const denied = await askAt(url, { path: '/api/v2/organizations/me' });
    t.match(
      denied.body,
      /the rules for callers who are no client deny this call \(server\.anonymous_deny: GET \/api\/v2\/organizations\/\*\*\)/,
    );
    t.match(
      (await askAt(url, { method: 'DELETE', path: '/api/v2/x' })).body,
      /add it to server\.anonymous_allow\[\] if it may be made/,
    );
    t.match(
      (await askAt(url, { headers: { 'x-http-method-override': 'DELETE' } })).body,
      /can be read in more than one way/,
    );
    t.equal(
      (await askAt(url, { method: 'POST', path: '/api/v2/sandbox/echo', headers: bearer('crm-secret') })).status,
      200,
      'a client has its own',
    );

    const socket = await openWebSocket(t, (await makeChannel(url, bearer('crm-secret'))).connectUri);
    const closed = once(socket, 'close');
    gateway.replace({
      ...used,
      clients: [clientNamed('crm', { mode: 'report', allow: ['* /**'] })],
      server: { ...used.server, readOnly: true, anonymousAllow: [] },
    });
    t.equal((await closed)[0], 1008, 'a reload ends a socket that nobody could make now');
    for (const headers of [{}, bearer('crm-secret')]) {
      const read = await askAt(url, { headers });
      const changed = await askAt(url, { method: 'POST', path: '/api/v2/sandbox/echo', headers });
      t.equal(read.status, 200);
      t.match(changed, { status: 403, code: 'gateway.client.forbidden', body: /this gateway is read-only/ });
    }
    t.equal(
      (await askAt(url, { method: 'DELETE', path: '/api/v2/tokens/me', headers: bearer(handle.access_token) })).status,
      200,
      'a handle may end itself',
    );
  },
);
