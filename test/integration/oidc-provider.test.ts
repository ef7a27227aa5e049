// An independent OAuth server with rotating refresh tokens and reuse detection runs code + PKCE, refresh and client
// credentials through us.

import t, { type Test } from 'tap';
import type { CredentialConfig } from '../../src/config/gateway-config.ts';
import { inlineSecret } from '../../src/secret.ts';
import { change, createCookieJar } from '../helpers/admin.ts';
import { configAt, credentialAt, startGatewayWith } from '../helpers/gateway.ts';
import { OIDC_CLIENTS, startOidcServer } from '../helpers/oidc-server.ts';

async function startPair(t: Test, grant: Partial<CredentialConfig>) {
  const server = await startOidcServer(t);
  const credential = credentialAt(server.origin, {
    name: 'crm',
    clientSecret: null,
    scope: 'openid offline_access',
    ...grant,
  });
  const config = configAt(server.origin, {
    credentials: [credential],
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
  });
  return { server, ...(await startGatewayWith(t, config)) };
}

/** From the start page through whatever the server asks, to our own last page. */
async function logIn(url: string): Promise<Response> {
  const jar = createCookieJar();
  let at = `${url}/-/login/crm`;
  for (let hops = 0; hops < 12; hops += 1) {
    const answer = await jar.get(at);
    if (answer.status < 300 || answer.status >= 400) return answer;
    at = answer.location;
  }
  throw new Error('too many redirects');
}

const GRANTS = {
  'code + PKCE, a public client': { grantType: 'pkce', clientId: OIDC_CLIENTS.desktop.id },
  'code, a client with a secret': {
    grantType: 'authorization_code',
    clientId: OIDC_CLIENTS.web.id,
    clientSecret: inlineSecret(OIDC_CLIENTS.web.secret, 'test'),
  },
} as const;

for (const [what, grant] of Object.entries(GRANTS)) {
  t.test(
    `${what}: login, calls, three rotations; then a used refresh token comes back and a login is asked for`,
    async (t) => {
      const { server, url } = await startPair(t, grant);
      const landed = await logIn(url);
      t.match(await landed.text(), /You are logged in/);
      t.same(await (await fetch(`${url}/api/v2/users/me`)).json(), { who: 'ada' });

      for (let rotation = 1; rotation <= 3; rotation += 1) {
        t.equal((await change(`${url}/-/credentials/crm/refresh`)).status, 200);
        t.equal(server.refreshTokens.length, rotation + 1, 'the server gave a new refresh token');
      }
      t.equal(server.events.refused, 0);
      t.same(await (await fetch(`${url}/api/v2/users/me`)).json(), { who: 'ada' });

      // Somebody else shows a refresh token that was used: the server ends the whole grant, ours with it.
      const { id, secret = null } = Object.values(OIDC_CLIENTS).find(({ id }) => id === grant.clientId) as {
        id: string;
        secret?: string;
      };
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: server.refreshTokens[0] as string,
        ...(secret === null && { client_id: id }),
      });
      const headers: Record<string, string> =
        secret === null ? {} : { Authorization: `Basic ${btoa(`${id}:${secret}`)}` };
      t.equal((await fetch(`${server.origin}/oauth/token`, { method: 'POST', body: form, headers })).status, 400);

      const refused = await change(`${url}/-/credentials/crm/refresh`);
      t.equal(refused.status, 424);
      t.equal(refused.headers.get('x-gateway-error'), 'gateway.login.required');
      t.match(await (await logIn(url)).text(), /You are logged in/, 'and a new login mends it');
      t.same(await (await fetch(`${url}/api/v2/users/me`)).json(), { who: 'ada' });
    },
  );
}

t.test('client credentials: a token, calls, a forced renewal', async (t) => {
  const { service } = OIDC_CLIENTS;
  const { server, url } = await startPair(t, {
    clientId: service.id,
    clientSecret: inlineSecret(service.secret, 'test'),
    scope: null,
  });
  t.same(await (await fetch(`${url}/api/v2/users/me`)).json(), { who: service.id });
  t.equal((await change(`${url}/-/credentials/crm/refresh`)).status, 200);
  t.same(await (await fetch(`${url}/api/v2/users/me`)).json(), { who: service.id });
  t.same(server.events, { granted: 2, refused: 0 });
});

t.test('a wrong secret is 424 that says so, in the words for the platform', async (t) => {
  const { url } = await startPair(t, {
    clientId: OIDC_CLIENTS.service.id,
    clientSecret: inlineSecret('wrong', 'test'),
    scope: null,
  });
  const answer = await fetch(`${url}/api/v2/users/me`);
  t.equal(answer.status, 424);
  t.equal(answer.headers.get('x-gateway-error'), 'gateway.credential.rejected');
});
