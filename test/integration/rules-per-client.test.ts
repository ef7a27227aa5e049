import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { createUsers } from '../../src/sandbox/directory.ts';
import { allCredentials, assertionFor, basic, clientNamed, postToken } from '../helpers/clients.ts';
import { configAt, startGateway, startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';

const SOMEBODY = (createUsers(1)[0] as { email: string }).email;
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

t.test(
  'two applications, one credential, different rules: each gets what it may, and each record names its client',
  async (t) => {
    const { url, log } = await startGateway(t, {
      config: {
        clients: [
          clientNamed('reader', { allow: ['@read-only'] }),
          clientNamed('editor', { allow: ['@no-delete'], deny: ['* /api/v2/authorization/**'] }),
        ],
      },
    });
    const cases: [client: string, method: string, path: string, status: number][] = [
      ['reader', 'GET', '/api/v2/users', 200],
      ['reader', 'HEAD', '/api/v2/users', 200],
      ['reader', 'POST', '/api/v2/analytics/conversations/details/query', 200],
      ['reader', 'POST', '/api/v2/users', 403],
      ['reader', 'DELETE', '/api/v2/users/x', 403],
      ['reader', 'GET', '/api/v2/authorization/permissions', 200],
      ['editor', 'POST', '/api/v2/sandbox/echo', 200],
      ['editor', 'DELETE', '/api/v2/users/x', 403],
      ['editor', 'GET', '/api/v2/authorization/permissions', 403],
      ['editor', 'GET', '/api/v2/AUTHORIZATION//permissions?x=/api/v2/users', 403],
    ];
    for (const [client, method, path, status] of cases) {
      const body =
        method === 'POST' ? { body: JSON.stringify({ interval: '2026-01-01T00:00:00Z/2026-01-02T00:00:00Z' }) } : {};
      const before = log.exchanges.length;
      const answer = await fetch(url + path, {
        method,
        headers: { ...bearer(`${client}-secret`), 'content-type': 'application/json' },
        ...body,
      });
      await answer.arrayBuffer();
      t.equal(answer.status, status, `${client} ${method} ${path}`);
      t.equal(answer.headers.get('x-gateway-error'), status === 403 ? 'gateway.client.forbidden' : null);
      await log.nextExchange(() => log.exchanges.length > before);
      t.match(log.exchanges.at(-1), {
        client,
        status,
        method,
        errorCode: status === 403 ? 'gateway.client.forbidden' : null,
      });
    }
  },
);

t.test('rules hold for handles and sessions of a client as for its secret', async (t) => {
  const { url } = await startGateway(t, {
    config: (origin) => ({
      credentials: allCredentials(origin),
      clients: [clientNamed('reader', { allow: ['GET /api/v2/users/**'], credentials: ['bridge', 'default'] })],
    }),
  });
  const login = { authorization: basic('reader', 'reader-secret') };
  const signed = (await postToken(`${url}/default/oauth/token`, { grant_type: 'client_credentials' }, login)).body
    .access_token;
  const saml = {
    grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer',
    orgName: 'Simulated Organization',
    assertion: assertionFor(SOMEBODY),
  };
  const session = (await postToken(url, saml, login)).body.access_token;
  for (const token of [signed, session, 'reader-secret']) {
    t.equal((await fetch(`${url}/api/v2/users`, { method: 'POST', headers: bearer(token) })).status, 403);
    t.equal((await fetch(`${url}/api/v2/organizations/me`, { headers: bearer(token) })).status, 403);
  }
  for (const token of [signed, session])
    t.equal((await fetch(`${url}/api/v2/users`, { headers: bearer(token) })).status, 200);
});

t.test(
  'a credential that is not listed for a client is 403: by path, by header, at the token endpoint, and by handle',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gcg-rules-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const config = (credentials: string[]) => (origin: string) => ({
      credentials: allCredentials(origin),
      clients: [clientNamed('crm', { credentials })],
      store: { type: 'file' as const, path: folder },
    });
    const before = await startGateway(t, { config: config(['default', 'bridge']) });
    const login = { authorization: basic('crm', 'crm-secret') };
    const bound = (await postToken(`${before.url}/bridge/oauth/token`, { grant_type: 'client_credentials' }, login))
      .body.access_token;
    const saml = {
      grant_type: 'urn:ietf:params:oauth:grant-type:saml2-bearer',
      orgName: 'Simulated Organization',
      assertion: assertionFor(SOMEBODY),
    };
    const session = (await postToken(`${before.url}/bridge/oauth/token`, saml, login)).body.access_token;
    t.equal((await fetch(`${before.url}/api/v2/users`, { headers: bearer(session) })).status, 200);
    t.equal(
      (await fetch(`${before.url}/default/api/v2/users`, { headers: bearer(session) })).status,
      403,
      'a session is for its own credential',
    );
    t.equal(
      (await fetch(`${before.url}/default/api/v2/users`, { headers: bearer(bound) })).status,
      403,
      'a bound handle too',
    );
    await before.gateway.drain();

    // In front of the same platform: a session is for no other.
    const { origin } = before.config.general.hosts.api;
    const { url, log } = await startGatewayWith(t, configAt(origin, config(['default'])(origin)));
    const secret = bearer('crm-secret');
    for (const [name, answer] of [
      ['path', await fetch(`${url}/bridge/api/v2/users`, { headers: secret })],
      ['header', await fetch(`${url}/api/v2/users`, { headers: { ...secret, 'x-gateway-credential': 'bridge' } })],
      [
        'token endpoint',
        await fetch(`${url}/bridge/oauth/token`, {
          method: 'POST',
          headers: login,
          body: new URLSearchParams({ grant_type: 'client_credentials' }),
        }),
      ],
      ['handle', await fetch(`${url}/api/v2/users`, { headers: bearer(bound) })],
      ['handle and path', await fetch(`${url}/bridge/api/v2/users`, { headers: bearer(bound) })],
      ['session', await fetch(`${url}/api/v2/users`, { headers: bearer(session) })],
    ] as const) {
      t.equal(answer.status, 403, name);
      t.equal(answer.headers.get('x-gateway-error'), 'gateway.client.forbidden', name);
    }
    t.equal((await fetch(`${url}/api/v2/users`, { headers: secret })).status, 200);
    t.equal(
      (await fetch(`${url}/api/v2/users`, { headers: { ...secret, 'x-gateway-credential': 'nobody' } })).status,
      404,
    );
    t.ok(log.exchanges.filter(({ status }) => status === 403).every(({ client }) => client === 'crm'));
  },
);

t.test('mode report lets everything through and says what it would refuse', async (t) => {
  const { url, log } = await startGateway(t, {
    config: {
      clients: [clientNamed('crm', { allow: ['GET /api/v2/users'], deny: ['* /api/v2/tokens/**'], mode: 'report' })],
    },
  });
  const call = async (path: string, method = 'GET') =>
    (await fetch(url + path, { method, headers: bearer('crm-secret') })).status;
  t.equal(await call('/api/v2/users'), 200);
  t.equal(await call('/api/v2/tokens/me'), 200);
  t.equal(await call('/api/v2/sandbox/echo', 'POST'), 200);
  const said = log.lines
    .filter(({ msg }) => msg === 'rule would refuse')
    .map(({ fields: { client, method, operation, reason, rule } }) => ({ client, method, operation, reason, rule }));
  t.same(said, [
    { client: 'crm', method: 'GET', operation: 'getTokensMe', reason: 'denied', rule: '* /api/v2/tokens/**' },
    { client: 'crm', method: 'POST', operation: 'unlisted', reason: 'unlisted', rule: null },
  ]);
});

t.test('with rules, what can be read in two ways is refused; without, it goes up as it is', async (t) => {
  const { port } = await startGateway(t, {
    config: { clients: [clientNamed('ruled', { deny: ['DELETE /api/v2/users/**'] }), clientNamed('free')] },
  });
  const send = async (client: string, line: string, extra = '') =>
    parseAnswer(
      await exchangeRaw(
        port,
        `${line} HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Key: ${client}-secret\r\nContent-Length: 0\r\n${extra}\r\n`,
      ),
    );
  for (const [line, extra] of [
    ['GET /api/v2/users/%c0%af', ''],
    ['GET /api/v2/users/%252e%252e/x', ''],
    ['POST /api/v2/users', 'X-HTTP-Method-Override: DELETE\r\n'],
    ['POST /api/v2/users', 'x_http_method_override: DELETE\r\n'],
    ['POST /api/v2/users?_method=DELETE', ''],
    ['POST /api/v2/users?a=1;_method=DELETE', ''],
    ['GET /api/v2/users', 'X-Original-URL: /api/v2/authorization/roles\r\n'],
    ['GET /api/v2/users', 'x_original_url: /api/v2/users\r\n'],
    ['GET /api/v2/users', 'X-ORIGINAL-URI: /\r\n'],
    ['GET /api/v2/users', 'X-Rewrite-URL: https://api.mypurecloud.com/api/v2/users\r\n'],
    ['GET /api/v2/users', 'X-Override_URL:\r\n'],
    ['GET /api/v2/users', 'X-Original-Path: x\r\n'],
    ['DELETE /api/v2/users%2Fx', ''],
    ['DELETE /api/v2/users;x/y', ''],
    ['DELETE /api/v2/%55SERS/x', ''],
    ['DELETE /api/v2/%EF%BD%95sers/x', ''],
    ['DELETE /api/v2/u%C5%BFers/x', ''],
  ] as const) {
    const ruled = await send('ruled', line, extra);
    t.equal(ruled.status, 403, line);
    t.equal(headerOf(ruled, 'x-gateway-error'), 'gateway.client.forbidden');
    if (!line.startsWith('DELETE'))
      t.not((await send('free', line, extra)).status, 403, `${line} of a client without rules`);
  }
  // What proxies only tell of, and nobody acts on, is no reason to refuse.
  for (const extra of [
    'X-Envoy-Original-Path: /gcg/api/v2/users\r\n',
    'X-Original-Host: a\r\n',
    'X-Replaced-Path: /\r\n',
    'Original-URL: /\r\n',
  ]) {
    t.not((await send('ruled', 'GET /api/v2/users', extra)).status, 403, extra);
  }
});
