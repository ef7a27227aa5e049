// The admin listener: who may look, who may change, what status says, and the end on request.

import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { DEFAULT_ORGANIZATION } from '../../src/sandbox/directory.ts';
import { inlineSecret } from '../../src/secret.ts';
import type { CredentialStatus } from '../../src/server/routes/status.ts';
import { change, personAt, startAdminGateway, statusOf } from '../helpers/admin.ts';
import { assertionFor, clientNamed } from '../helpers/clients.ts';
import { createTestLog, credentialAt, startGateway } from '../helpers/gateway.ts';

t.test('status tells of credentials, tokens, upstream, version and store, and holds no secret', async (t) => {
  const { url, sandbox, gateway } = await startAdminGateway(t);
  const response = await fetch(`${url}/-/status`);
  const text = await response.text();
  const status = JSON.parse(text);
  t.match(status, {
    status: 'ready',
    version: /^\d/,
    store: { type: 'memory', error: null },
    credentials: [
      {
        name: 'default',
        grantType: 'client_credentials',
        token: 'fresh',
        renewal: 'idle',
        login: null,
        lastError: null,
        storeError: null,
      },
    ],
  });
  t.ok(status.credentials[0].secondsLeft > 80_000);
  t.ok(Array.isArray(status.limits));
  t.equal(response.headers.get('cache-control'), 'no-store');
  const token = gateway
    .runtime()
    .credentials.default()
    ?.source.current()
    ?.authorization.slice('Bearer '.length) as string;
  t.notMatch(text, token);
  t.notMatch(text, DEMO_CLIENTS.clientCredentials.secret);
  t.equal(sandbox.stats.tokensIssued, 1);
});

t.test('status tells the last failure, and when it will be tried again', async (t) => {
  const { url, gateway } = await startAdminGateway(t, {
    awaitReady: false,
    credentials: (origin) => [credentialAt(origin, { clientSecret: inlineSecret('not-the-secret', 'test') })],
  });
  await t.rejects(async () => gateway.runtime().credentials.default()?.source.token());
  const {
    status,
    credentials: [credential],
  } = await statusOf(url);
  t.equal(status, 'waiting');
  t.match(credential, {
    token: 'none',
    renewal: 'rejected',
    failures: 1,
    lastError: { code: 'gateway.credential.rejected' },
  });
  t.ok(Date.parse(credential?.nextAttemptAt ?? '') > Date.now());
});

t.test('a forced refresh gets a new token and answers with the state; its failure is its own error', async (t) => {
  const { url, sandbox } = await startAdminGateway(t);
  const before = (await statusOf(url)).credentials[0]?.fingerprint;
  const response = await change(`${url}/-/credentials/default/refresh`);
  t.equal(response.status, 200);
  const after = (await response.json()) as CredentialStatus;
  t.equal(after.token, 'fresh');
  t.not(after.fingerprint, before);
  sandbox.set({ tokenEndpoint: { fault: 'status', status: 503 } });
  const failed = await change(`${url}/-/credentials/default/refresh`);
  t.equal(failed.status, 503);
  t.equal(failed.headers.get('x-gateway-error'), 'gateway.credential.unavailable');
});

t.test('a posted assertion obtains a token; a larger one than an assertion can be is refused', async (t) => {
  const { saml2Bearer } = DEMO_CLIENTS;
  const assertion = assertionFor('ada.lindqvist@simulated-org.example');
  const { url, sandbox } = await startAdminGateway(t, {
    credentials: (origin) => [
      credentialAt(origin, {
        name: 'bridge',
        grantType: 'saml2_bearer',
        clientId: saml2Bearer.id,
        clientSecret: inlineSecret(saml2Bearer.secret, 'test'),
        orgName: DEFAULT_ORGANIZATION.name,
      }),
    ],
  });
  t.equal((await fetch(`${url}/api/v2/users/me`)).status, 424);
  const big = await change(`${url}/-/credentials/bridge/assertion`, 'x'.repeat(300 * 1024));
  t.equal(big.status, 413);
  t.equal(((await big.json()) as { code: string }).code, 'gateway.body.too.large');
  t.equal((await change(`${url}/-/credentials/bridge/assertion`, ' ')).status, 400);
  const taken = await change(`${url}/-/credentials/bridge/assertion`, assertion, { 'Content-Type': 'text/plain' });
  t.equal(sandbox.stats.tokensIssued, 1);
  t.equal(taken.status, 200);
});

t.test('status is a record at debug where a command of ours asks, at info for all others', async (t) => {
  const { url, log } = await startAdminGateway(t);
  for (const headers of [{ 'x-gateway-request': '1' }, {}] as Record<string, string>[]) {
    const before = log.exchanges.length;
    await (await fetch(`${url}/-/status`, { headers })).arrayBuffer();
    const record = await log.nextExchange(() => log.exchanges.length > before).then(() => log.exchanges.at(-1));
    t.match(record, { status: 200, isPoll: 'x-gateway-request' in headers });
  }
});

t.test('changes without X-Gateway-Request are 403 and change nothing', async (t) => {
  const { url, sandbox } = await startAdminGateway(t);
  for (const path of [
    '/-/credentials/default/refresh',
    '/-/credentials/default/assertion',
    '/-/credentials/default/logout',
    '/-/quit',
    '/-/login/default',
    '/-/callback',
  ]) {
    const response = await fetch(url + path, { method: 'POST' });
    t.equal(response.status, 403, path);
    t.equal(response.headers.get('x-gateway-error'), 'gateway.origin.forbidden', path);
    await response.text();
  }
  t.equal(sandbox.stats.tokensIssued, 1);
  t.equal((await fetch(`${url}/livez`)).status, 200);
});

t.test('an unknown credential is 404 in our shape, also with a name that objects have', async (t) => {
  const { url } = await startAdminGateway(t);
  for (const name of ['nobody', '__proto__', 'constructor']) {
    const response = await change(`${url}/-/credentials/${name}/refresh`);
    t.equal(response.status, 404, name);
    t.equal(((await response.json()) as { code: string }).code, 'gateway.credential.unknown', name);
  }
});

t.test('a listener for data alone has no admin pages', async (t) => {
  const { url } = await startGateway(t);
  for (const path of ['/', '/-/status', '/-/login/default']) t.equal((await fetch(url + path)).status, 404, path);
  t.equal((await change(`${url}/-/quit`)).status, 404);
  t.equal((await fetch(`${url}/-/callback?code=c&state=s`)).status, 400, 'a login may come back to it');
});

t.test('a listener for health alone has no page at all', async (t) => {
  const { config } = await startAdminGateway(t);
  const healthListen = [{ kind: 'tcp' as const, host: '127.0.0.1', port: 0 }];
  const gateway = await createGateway(
    { ...config, server: { ...config.server, healthListen } },
    { log: createTestLog(), env: {} },
  );
  t.teardown(() => gateway.drain());
  const [data, url] = await gateway.listen();
  t.equal((await fetch(`${data}/-/status`)).status, 200);
  t.equal((await fetch(`${url}/livez`)).status, 200);
  for (const path of ['/', '/-/status', '/-/login/default', '/-/callback?code=c&state=s'])
    t.equal((await fetch(url + path)).status, 404, path);
});

t.test('where clients are configured, only one with admin looks and changes', async (t) => {
  const user = clientNamed('app', { secret: inlineSecret('app-secret-app-secret', 'test') });
  const admin = clientNamed('boss', { secret: inlineSecret('boss-secret-boss-secret', 'test'), isAdmin: true });
  const { url } = await startAdminGateway(t, { overrides: { clients: [user, admin] } });
  const as = (secret: string) => ({ Authorization: `Bearer ${secret}` });
  for (const path of ['/', '/-/status', '/-/login/default']) {
    const anonymous = await fetch(url + path);
    t.equal(anonymous.status, 401, path);
    t.notMatch(anonymous.headers.get('www-authenticate'), /Basic/, 'a browser would keep it');
    t.equal((await fetch(url + path, { headers: as('app-secret-app-secret') })).status, 403, path);
  }
  t.equal((await fetch(`${url}/-/status`, { headers: as('boss-secret-boss-secret') })).status, 200);
  t.equal((await change(`${url}/-/credentials/default/refresh`, undefined, as('app-secret-app-secret'))).status, 403);
  t.equal((await change(`${url}/-/credentials/default/refresh`, undefined, as('boss-secret-boss-secret'))).status, 200);
  t.equal(
    (await fetch(`${url}/-/callback?code=c&state=s`)).status,
    400,
    'the callback is open, and knows no such state',
  );
});

t.test('a page of another origin reaches neither page nor change', async (t) => {
  const { url } = await startAdminGateway(t);
  const headers = { Origin: 'https://evil.example', 'X-Gateway-Request': '1' };
  t.equal((await fetch(`${url}/-/quit`, { method: 'POST', headers })).status, 403);
  t.equal((await fetch(`${url}/-/login/default`, { headers: { 'Sec-Fetch-Site': 'cross-site' } })).status, 403);
  t.equal((await fetch(url, { headers: { 'Sec-Fetch-Site': 'cross-site' } })).status, 403);
});

t.test('quit answers, then drains by itself', async (t) => {
  const { url, port } = await startAdminGateway(t);
  const idle = connect(port, '127.0.0.1');
  await once(idle, 'connect');
  const ended = once(idle, 'close');
  const response = await change(`${url}/-/quit`);
  t.equal(response.status, 202);
  t.same(await response.json(), { status: 'draining' });
  idle.resume();
  await ended;
  await t.rejects(fetch(`${url}/livez`));
});

t.test('logout drops the token and says how to come back', async (t) => {
  const { url, sandbox } = await startAdminGateway(t, { credentials: (origin) => [personAt(origin, 'pkce')] });
  t.match(await (await change(`${url}/-/credentials/crm/logout`)).json(), { token: 'none', renewal: 'login_required' });
  const call = await fetch(`${url}/api/v2/users/me`);
  t.equal(call.status, 424);
  t.match(((await call.json()) as { message: string }).message, /gcg login crm.*\/-\/login\/crm/);
  t.equal(sandbox.stats.tokensIssued, 0);
});

t.test('the status page escapes, needs no script, and may be neither framed nor kept', async (t) => {
  const { url } = await startAdminGateway(t, { credentials: (origin) => [personAt(origin, 'pkce')] });
  await fetch(`${url}/-/callback?state=x&error=%3Cscript%3Ealert(1)%3C/script%3E`).then((response) => response.text());
  const response = await fetch(url);
  const text = await response.text();
  t.match(
    response.headers.get('content-security-policy'),
    /^default-src 'none'; style-src 'sha256-[^']+'; img-src data:; form-action 'none'; frame-ancestors 'none'/,
  );
  t.equal(response.headers.get('x-frame-options'), 'DENY');
  t.equal(response.headers.get('cache-control'), 'no-store');
  t.notMatch(text, /<script|javascript:|onclick/);
  t.match(text, /href="-\/login\/crm"/);
  t.match(text, /gcg login crm/);
});
