// At log_level = trace with both bodies, in both formats: over every grant, error and socket no secret is written, told
// or shown by us.

import { once } from 'node:events';
import { Writable } from 'node:stream';
import t, { type Test } from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { createLogger } from '../../src/logging/logger.ts';
import { createLiveSecrets } from '../../src/logging/redact/live-secrets.ts';
import { inlineSecret } from '../../src/secret.ts';
import { createCanaries } from '../helpers/canary.ts';
import { clientNamed, postToken } from '../helpers/clients.ts';
import { configAt, credentialAt } from '../helpers/gateway.ts';
import { startConnectProxy } from '../helpers/proxies.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';
import { startSecretUpstream } from '../helpers/secret-upstream.ts';
import { makeChannel, openWebSocket, refusalOf } from '../helpers/sockets.ts';

const KINDS = ['json', 'gzip', 'text', 'form', 'string', 'error', 'unauthorized', 'broken', 'redirect'];

async function run(t: Test, format: 'json' | 'text') {
  const canaries = createCanaries();
  const upstream = await startSecretUpstream(t, canaries);
  const proxy = await startConnectProxy({ login: `somebody:${canaries.proxyPassword}` });
  t.teardown(() => proxy.close());
  const secret = (value: string) => inlineSecret(value, 'test');
  const named = (name: string, more: Parameters<typeof credentialAt>[1]) =>
    credentialAt(upstream.origin, {
      name,
      isDefault: false,
      isRequired: false,
      clientSecret: secret(canaries.clientSecret),
      ...more,
    });
  const config = configAt(upstream.origin, {
    credentials: [
      named('default', { isDefault: true }),
      named('given', { grantType: 'access_token', accessToken: secret(canaries.accessToken) }),
      named('web', {
        grantType: 'authorization_code',
        redirectUri: 'http://127.0.0.1/-/callback',
        refreshToken: secret(canaries.refreshToken),
      }),
      named('desktop', { grantType: 'pkce', clientSecret: null }),
      named('bridge', { grantType: 'saml2_bearer', orgName: 'org', assertion: secret(canaries.assertion) }),
      named('page', { grantType: 'implicit', clientSecret: null }),
    ],
    clients: [
      clientNamed('crm', {
        secret: secret(canaries.localSecret),
        isAdmin: true,
        credentials: ['default', 'given', 'web', 'desktop', 'bridge', 'page'],
      }),
    ],
    logging: { level: 'trace', format, toConsole: true, requestBody: true, responseBody: true },
    proxy: {
      url: `http://127.0.0.1:${proxy.port}`,
      username: 'somebody',
      password: secret(canaries.proxyPassword),
      off: false,
    },
    retry: { max: 1, waitMinMs: 1, waitMaxMs: 2 },
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
  });
  // One listener for everything.
  const listening = { ...config, server: { ...config.server, adminListen: config.server.listen } };
  let written = '';
  const stdout = new Writable({
    write: (chunk, _encoding, done) => {
      written += chunk;
      done();
    },
  });
  const liveSecrets = createLiveSecrets();
  const log = createLogger(listening.logging, { stdout, liveSecrets });
  const gateway = await createGateway(listening, { log, liveSecrets, env: {} });
  const [url = ''] = await gateway.listen();
  t.teardown(() => gateway.drain());

  const key = { 'x-gateway-key': canaries.localSecret };
  const told: string[] = [];
  /** Calls, and keeps what was answered by us and not by the upstream. */
  const call = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`${url}${path}`, {
      redirect: 'manual',
      ...init,
      headers: { ...key, ...init.headers },
    }).catch(() => null);
    const text = await answer?.text().catch(() => '');
    if (answer?.headers.get('x-gateway-error') || path.startsWith('/-/') || path === '/metrics' || path === '/') {
      told.push(JSON.stringify([...(answer?.headers ?? [])]), text ?? '');
    }
    return answer;
  };
  const everywhere = async (credential: string) => {
    const query = `access_token=${encodeURIComponent(canaries.accessToken)}&code=${encodeURIComponent(canaries.code)}`;
    for (const kind of KINDS) await call(`/${credential}/api/v2/things/${kind}?${query}`);
  };
  const bodies: [string, string][] = [
    [
      'application/json',
      JSON.stringify({
        marker: 'sent-in-json',
        a: {
          client_secret: canaries.clientSecret,
          password: canaries.password,
          list: [{ assertion: canaries.assertion }],
        },
      }),
    ],
    [
      'application/x-www-form-urlencoded',
      new URLSearchParams({
        marker: 'sent-in-form',
        code: canaries.code,
        code_verifier: canaries.verifier,
        refresh_token: canaries.refreshToken,
      }).toString(),
    ],
    ['text/plain', `marker sent-in-text\nAuthorization: Bearer ${canaries.accessToken}\nCookie: ${canaries.cookie}\n`],
  ];

  const { credentials } = gateway.runtime();
  for (const name of ['default', 'given', 'bridge', 'web']) await credentials.get(name)?.source.token();
  await credentials
    .get('web')
    ?.redeem({ kind: 'code', code: canaries.code, redirectUri: 'http://127.0.0.1/-/callback', verifier: null });
  await credentials.get('desktop')?.redeem({
    kind: 'code',
    code: canaries.code,
    redirectUri: 'http://127.0.0.1/-/callback',
    verifier: canaries.verifier,
  });
  await credentials.get('page')?.redeem({
    kind: 'fragment',
    fields: { access_token: canaries.accessToken, expires_in: '86400', token_type: 'bearer' },
  });
  for (const name of ['default', 'given', 'web', 'desktop', 'bridge', 'page']) await everywhere(name);
  for (const [type, body] of bodies)
    await call('/api/v2/things/json', {
      method: 'POST',
      body,
      headers: { 'content-type': type, cookie: canaries.cookie },
    });
  // The callback, a wrong secret, a forged handle, and what is not understood.
  await call(`/-/callback?code=${encodeURIComponent(canaries.code)}&state=${encodeURIComponent(canaries.verifier)}`);
  await call('/api/v2/users', { headers: { 'x-gateway-key': canaries.password } });
  await call('/api/v2/users', { headers: { authorization: `Bearer ${canaries.password}` } });
  await call('/api/v2/users', { headers: { authorization: `Bearer ${canaries.handle}` } });
  await call('/-/credentials/bridge/assertion', {
    method: 'POST',
    body: canaries.assertion,
    headers: { 'x-gateway-request': '1' },
  });
  await call(`/api/v2/../x?token=${encodeURIComponent(canaries.accessToken)}`);
  told.push(
    await exchangeRaw(
      Number(new URL(url).port),
      `GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\nCookie: ${canaries.cookie}\r\nContent-Length: ` +
        `1\r\nContent-Length: 2\r\n\r\n`,
    ),
  );
  // Applications: logins by the facade.
  const login = { authorization: `Basic ${Buffer.from(`crm:${canaries.localSecret}`).toString('base64')}` };
  const { body: mine } = await postToken(url, { grant_type: 'client_credentials' }, login);
  const { body: session } = await postToken(
    url,
    { grant_type: 'authorization_code', code: canaries.code, redirect_uri: 'http://127.0.0.1/-/callback' },
    login,
  );
  for (const each of [mine, session])
    await call('/api/v2/users/json', {
      headers: { authorization: `Bearer ${each.access_token}`, 'x-gateway-key': '' },
    });
  // Channels: made, opened, closed, and one that nobody was given.
  const channel = await makeChannel(url, key);
  const socket = await openWebSocket(t, channel.connectUri, { headers: { ...key, cookie: canaries.cookie } });
  const closed = once(socket, 'close');
  socket.terminate();
  await closed;
  told.push(
    JSON.stringify(
      await refusalOf(`${url.replace('http', 'ws')}/streaming/channels/${canaries.channelId}x`, { headers: key }),
    ),
  );
  // And all of it once more when the token endpoint says no, fails and talks nonsense.
  for (const mood of ['refuse', 'fail', 'nonsense'] as const) {
    upstream.mood = mood;
    for (const name of ['default', 'web', 'desktop', 'bridge']) {
      const failure = await credentials
        .get(name)
        ?.source.refresh()
        .catch((error) => error);
      told.push(String(failure?.message), String(failure?.stack), JSON.stringify(failure));
      await credentials
        .get(name)
        ?.logout()
        .catch(() => undefined);
      await call(`/${name}/api/v2/things/json`);
    }
    const refused = await postToken(
      url,
      { grant_type: 'refresh_token', refresh_token: session.refresh_token ?? '' },
      login,
    );
    told.push(JSON.stringify(refused.body.error_description ?? ''), JSON.stringify(refused.body.error ?? ''));
  }
  for (const page of ['/-/status', '/metrics', '/', '/readyz']) await call(page);
  await gateway.drain();
  await log.close();
  return {
    canaries,
    written,
    told: told.join('\n'),
    handles: [mine.access_token, session.access_token, session.refresh_token ?? ''],
  };
}

for (const format of ['json', 'text'] as const) {
  t.test(`${format}: nothing is written or told that is a secret, and what was searched is all there`, async (t) => {
    const { canaries, written, told, handles } = await run(t, format);
    t.same(canaries.scan(written), [], 'in the log');
    t.same(canaries.scan(told), [], 'in what we answer ourselves');
    for (const handle of handles) {
      t.match(handle, /^gcg[a-z]_/, 'a local token was given');
      t.notOk(written.includes(handle.slice(0, 20)), 'and is in no record');
    }
    // The controls: the bodies, headers and records in which the secrets were are there, without them.
    for (const marker of [
      'seen-in-json',
      'seen-in-gzip',
      'seen-in-text',
      'seen-in-form',
      'seen-in-string',
      'sent-in-json',
      'sent-in-form',
      'sent-in-text',
    ]) {
      t.ok(written.includes(marker), marker);
    }
    t.ok(written.includes('[redacted]'));
    t.ok(written.includes('token request'));
    t.ok(written.includes('x-gateway-key'));
    t.ok(told.includes('gcg_requests_total'));
    t.same(
      canaries
        .scan(`${written}\n${canaries.accessToken}`)
        .map(({ kind, form }) => `${kind} ${form}`)
        .slice(0, 1),
      ['accessToken raw'],
      'the scanner finds one that is there',
    );
  });
}
