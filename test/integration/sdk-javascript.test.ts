import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import platformClient from 'purecloud-platform-client-v2';
import t, { type Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createUsers } from '../../src/sandbox/directory.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { allCredentials, assertionFor, clientNamed, followLogin, layWire, type Wire } from '../helpers/clients.ts';
import { type ConfigOverrides, configAt, startGatewayWith } from '../helpers/gateway.ts';

// The SDK leaves out a few of its own methods in its typings.
// biome-ignore lint/suspicious/noExplicitAny: see above.
type Sdk = any;
const SOMEBODY = (createUsers(1)[0] as { email: string }).email;
const REDIRECT = 'http://localhost:7777/callback';

/** app — wire — gateway — wire — simulation: what the app may see, and what it must not. */
async function start(t: Test, overrides: ConfigOverrides = {}) {
  const sandbox = createSandbox();
  const { port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const upstream = await layWire(t, port);
  const folder = mkdtempSync(join(tmpdir(), 'gcg-sdk-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const config = configAt(upstream.url, {
    credentials: allCredentials(upstream.url),
    store: { type: 'file', path: folder },
    ...overrides,
  });
  const started = await startGatewayWith(t, config);
  const app = await layWire(t, started.port);
  const sdk: Sdk = platformClient.ApiClient.instance;
  sdk.config.live_reload_config = false;
  sdk.clearAuthData();
  sdk.authData.refreshToken = undefined;
  sdk.setGateway({ host: '127.0.0.1', protocol: 'http', port: app.port });
  return { ...started, sandbox, upstream, app, sdk, config };
}

/** Every token and secret that the gateway itself sent or got upstream. */
function realSecrets(upstream: Wire): Set<string> {
  const text = upstream.text();
  const found = new Set<string>();
  for (const [, value] of text.matchAll(/"(?:access_token|refresh_token)":"([^"]+)"/g)) found.add(value as string);
  for (const [, value] of text.matchAll(/authorization: bearer (\S+)/gi)) found.add(value as string);
  for (const [, value] of text.matchAll(/authorization: basic (\S+)/gi)) {
    const pair = Buffer.from(value as string, 'base64').toString();
    found.add(value as string).add(pair.slice(pair.indexOf(':') + 1));
  }
  return found;
}

function assertNothingReal(t: Test, app: Wire, upstream: Wire, atLeast: number) {
  const secrets = realSecrets(upstream);
  t.ok(secrets.size >= atLeast, `the wire upstream carried ${secrets.size} secrets`);
  const seen = app.text();
  t.match(seen, /gcgh_/, 'the wire of the application is not empty');
  for (const secret of secrets) t.notOk(seen.includes(secret), 'a real secret or token on the wire of the application');
}

const logins = (app: Wire) => app.text().match(/POST \/oauth\/token /g)?.length ?? 0;

/** GET, POST and DELETE through generated classes. */
async function useApi(t: Test, name: string) {
  const users = new platformClient.UsersApi();
  t.equal((await users.getUsers({ pageSize: 5 })).total, 60);
  const made = await users.postUsers({ name, email: `${name}@simulated-org.example`, divisionId: '' } as Sdk);
  t.equal(made.name, name);
  await users.deleteUser(made.id as string);
  t.equal((await users.getUsers({ pageSize: 5 })).total, 60);
  t.ok((await new platformClient.TokensApi().getTokensMe()).OAuthClient?.id);
}

t.test('client credentials: an application with a local secret works, also after a gateway restart', async (t) => {
  const { sdk, app, upstream, sandbox, gateway, config } = await start(t, { clients: [clientNamed('crm')] });
  const auth = await sdk.loginClientCredentialsGrant('crm', 'crm-secret');
  t.match(auth.accessToken, /^gcgh_c/);
  t.equal(sdk.authData.tokenExpiryTime > Date.now(), true, 'expires_in is a number');
  await useApi(t, 'one');

  sandbox.expireTokens();
  await useApi(t, 'two');
  await gateway.drain();
  const again = await startGatewayWith(t, config);
  app.leadTo(again.port);
  await useApi(t, 'three');
  t.equal(logins(app), 1, 'the application logged in once');
  assertNothingReal(t, app, upstream, 3);
  const refused: Sdk = await sdk.loginClientCredentialsGrant('crm', 'wrong').catch((error: Sdk) => error.response);
  t.match(refused, { status: 400, data: { error: 'invalid_client' } });
});

t.test('client credentials on an anonymous listener: the real id with any secret', async (t) => {
  const { sdk, app, upstream } = await start(t);
  await sdk.loginClientCredentialsGrant(DEMO_CLIENTS.clientCredentials.id, 'not the secret');
  await useApi(t, 'anonymous');
  assertNothingReal(t, app, upstream, 2);
});

t.test('an anonymous application outlives a restart of a gateway that keeps nothing on disk', async (t) => {
  const { sdk, app, upstream, gateway, config } = await start(t, { store: { type: 'memory', path: '' } });
  await sdk.loginClientCredentialsGrant(DEMO_CLIENTS.clientCredentials.id, 'not the secret');
  await useApi(t, 'before');
  await gateway.drain();
  const again = await startGatewayWith(t, config);
  app.leadTo(again.port);
  await useApi(t, 'after');
  t.equal(logins(app), 1);
  assertNothingReal(t, app, upstream, 2);
});

t.test('code and refresh: the session is kept fresh here, and the refresh bug of the SDK never triggers', async (t) => {
  const { sdk, app, upstream, sandbox, gateway, config } = await start(t, {
    clients: [clientNamed('portal', { credentials: ['web'] })],
  });
  sandbox.set({ login: { approve: SOMEBODY }, rotation: 'strict' });
  const query = new URLSearchParams({
    client_id: 'portal',
    redirect_uri: REDIRECT,
    response_type: 'code',
    state: 's+1 &x',
  });
  const { firstHop, code, state } = await followLogin(`${app.url}/oauth/authorize?${query}`);
  t.equal(firstHop.searchParams.get('client_id'), DEMO_CLIENTS.code.id);
  t.equal(state, 's+1 &x');

  const auth = await sdk.loginCodeAuthorizationGrant('portal', 'portal-secret', code, REDIRECT);
  t.match(auth, { accessToken: /^gcgh_s/, refreshToken: /^gcgr_/ });
  await useApi(t, 'code');
  t.ok((await new platformClient.UsersApi().getUsersMe()).id, 'it is a person');

  sandbox.expireTokens();
  const calls = await Promise.all(Array.from({ length: 20 }, () => new platformClient.UsersApi().getUsersMe()));
  t.equal(calls.length, 20, 'all of a crowd are served over an expired token');
  t.equal(logins(app), 1, 'the application was not asked to refresh');

  const refreshed = await sdk.refreshCodeAuthorizationGrant('portal', 'portal-secret', sdk.authData.refreshToken);
  t.match(refreshed, { accessToken: /^gcgh_s/, refreshToken: /^gcgr_/ });
  await useApi(t, 'refreshed');
  t.equal(sandbox.stats.refreshReuse, 0);

  await gateway.drain();
  const again = await startGatewayWith(t, config);
  app.leadTo(again.port);
  await useApi(t, 'restarted');
  t.ok((await new platformClient.UsersApi().getUsersMe()).id, 'still the same person');
  t.equal(logins(app), 2);
  assertNothingReal(t, app, upstream, 6);
});

t.test('PKCE exchange: a public client gets a handle for its user', async (t) => {
  const { sdk, app, upstream, sandbox } = await start(t, { server: { anonymousCredentials: ['default', 'desktop'] } });
  sandbox.set({ login: { approve: SOMEBODY } });
  const verifier = sdk.generatePKCECodeVerifier(64);
  const challenge = await sdk.computePKCECodeChallenge(verifier);
  const query = new URLSearchParams({
    client_id: DEMO_CLIENTS.pkce.id,
    redirect_uri: REDIRECT,
    code_challenge: challenge,
    response_type: 'code',
    code_challenge_method: 'S256',
  });
  const { code } = await followLogin(`${app.url}/oauth/authorize?${query}`);
  const auth = await sdk.authorizePKCEGrant(DEMO_CLIENTS.pkce.id, verifier, code, REDIRECT);
  t.match(auth.accessToken, /^gcgh_s/);
  await useApi(t, 'pkce');
  t.ok((await new platformClient.UsersApi().getUsersMe()).id);
  assertNothingReal(t, app, upstream, 3);
});

t.test('SAML2 bearer: the assertion goes up, the token stays here', async (t) => {
  const { sdk, app, upstream } = await start(t, { clients: [clientNamed('bridge-app', { credentials: ['bridge'] })] });
  const auth = await sdk
    .loginSaml2BearerGrant('bridge-app', 'bridge-app-secret', 'Simulated Organization', assertionFor(SOMEBODY))
    .catch((error: Sdk) => error);
  t.match(auth.accessToken, /^gcgh_s/, JSON.stringify(auth.response?.data ?? null));
  await useApi(t, 'saml');
  t.equal((await new platformClient.UsersApi().getUsersMe()).email, SOMEBODY);
  assertNothingReal(t, app, upstream, 3);
});

t.test('with its base path alone it reads and changes users, and no login', async (t) => {
  const { sdk, url, sandbox, app } = await start(t);
  sdk.setGateway(null);
  sdk.config.basePath = url;
  t.teardown(() => {
    sdk.config.basePath = '';
  });
  const users = new platformClient.UsersApi();
  const expand = ['presence', 'authorization'];
  const page: Sdk = await users.getUsers({ pageSize: 3, pageNumber: 1, expand, state: 'active' } as Sdk);
  t.equal(page.entities.length, 3);
  const [{ id }] = page.entities;
  t.equal((await users.getUser(id)).id, id);
  t.match(await users.patchUser(id, { version: 1, title: 'Tested' } as Sdk), { title: 'Tested' });
  await new platformClient.TokensApi().headTokensMe();
  const asked = sandbox.events.recent.find(({ method, kind }) => method === 'GET' && kind === 'api');
  t.match(asked?.target, /expand=presence,authorization/, 'commas as the SDK wrote them');
  const unknown = users.getUser('00000000-0000-4000-8000-000000000000');
  await t.rejects(unknown, { status: 404, code: 'not.found' }, "the platform's errors are the platform's");
  t.equal(sandbox.stats.unauthenticatedCalls, 0);
  t.equal(sandbox.stats.tokenRequestsTotal, 1);
  t.equal(app.text(), '', 'nothing went where the gateway setting led');
});

t.test('the simulation alone, pointed at by the gateway setting, is a Genesys Cloud to it', async (t) => {
  const sandbox = createSandbox();
  const { port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const sdk: Sdk = platformClient.ApiClient.instance;
  sdk.clearAuthData();
  sdk.setGateway({ host: '127.0.0.1', protocol: 'http', port });
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  t.ok((await sdk.loginClientCredentialsGrant(id, secret)).accessToken);

  const users = new platformClient.UsersApi();
  const page = await users.getUsers({ pageSize: 50, pageNumber: 2 });
  t.match(page, { total: 60, pageNumber: 2, pageCount: 2 });
  t.equal((await users.getUser(page.entities?.[0]?.id ?? '')).name, page.entities?.[0]?.name);
  await t.rejects(users.getUsersMe(), { code: 'bad.request', status: 400 });

  const tokens = new platformClient.TokensApi();
  t.equal((await tokens.getTokensMe()).OAuthClient?.id, id);
  await tokens.headTokensMe();

  const channel = await new platformClient.NotificationsApi().postNotificationsChannels();
  t.match(channel.connectUri, /^ws:\/\/127\.0\.0\.1:\d+\/channels\//);

  sandbox.set({ rateLimit: { perMinute: 0 } });
  await t.rejects(users.getUsers(), { code: 'too.many.requests.retry.after', limit: { key: 'token.rate.per.minute' } });
  sandbox.set({ rateLimit: null });
  await tokens.deleteTokensMe();
  t.equal(sandbox.stats.validTokens, 0);
});
