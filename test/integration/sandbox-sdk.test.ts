import platformClient from 'purecloud-platform-client-v2';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { start } from '../unit/sandbox/harness.ts';

t.test('the official SDK, pointed here by its gateway setting, logs in and works', async (t) => {
  const { origin, sandbox } = await start(t);
  const client = platformClient.ApiClient.instance;
  client.config.live_reload_config = false;
  const { hostname, port } = new URL(origin);
  client.setGateway({ host: hostname, protocol: 'http', port: Number(port) });
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const auth = await client.loginClientCredentialsGrant(id, secret);
  t.ok(auth.accessToken);

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
