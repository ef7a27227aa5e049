// Pages that use the SDK's browser bundle through the gateway, in a real browser: the example of a login without a secret,
// calls with older versions, a page whose origin is not listed, and what the browser itself asks of public pages.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createUsers } from '../../src/sandbox/directory.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { until, WatchedBrowser, withoutBrowser } from '../helpers/chromium.ts';
import { allCredentials, clientNamed } from '../helpers/clients.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { example, packageOf, withoutRecipes } from '../helpers/recipes.ts';

const SOMEBODY = createUsers(1)[0] as { email: string; name: string };
const NEWEST = 'purecloud-platform-client-v2';
const BUNDLE = 'purecloud-platform-client-v2.min.js';

/** Serves the example's page and, beside it, the bundle of each SDK by its name. `/public` stands for the Internet. */
const pages = createServer(({ url = '' }, response) => {
  const { pathname, searchParams } = new URL(url, 'http://pages');
  const sdk = searchParams.get('sdk') ?? NEWEST;
  if (pathname === '/public') response.setHeader('content-security-policy', 'treat-as-public-address');
  if (pathname.endsWith('.js')) response.end(readFileSync(`${packageOf(sdk)}/dist/web-cjs/${BUNDLE}`));
  else {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(pathname === '/' ? readFileSync(example('javascript/page/index.html')) : bundled(sdk));
  }
});
const bundled = (sdk: string) => `<!doctype html><title>x</title><script src="/${BUNDLE}?sdk=${sdk}"></script>`;
pages.listen(0);
await once(pages, 'listening');
t.teardown(() => pages.close());
const { port: pagePort } = pages.address() as AddressInfo;

const sandbox = createSandbox({ switches: { login: { approve: SOMEBODY.email } } });
const { origin } = await sandbox.listen();
t.teardown(() => sandbox.close());
const { url, port } = await startGatewayWith(
  t,
  configAt(origin, {
    credentials: allCredentials(origin),
    clients: [clientNamed('crm')],
    server: { corsOrigins: [`http://localhost:${pagePort}`], anonymousCredentials: ['default', 'desktop'] },
  }),
);
const browser = new WatchedBrowser(t);

t.test('examples/javascript/page logs a person in, and holds no secret', { skip: withoutBrowser }, async (t) => {
  const page = await (await browser.profile(t)).newPage();
  const query = new URLSearchParams({ client_id: DEMO_CLIENTS.pkce.id, gateway: url });
  await page.goto(`http://localhost:${pagePort}/?${query}`);
  await until(page, `document.getElementById('said')?.textContent.startsWith('Logging') === false`);
  t.equal(await page.textContent('#said'), `Hello ${SOMEBODY.name}`);
  const token = "require('platformClient').ApiClient.instance.authData.accessToken";
  t.match(await page.evaluate(token), /^gcgh_s/, 'what the page took for a token is a handle');
});

/** What the page of the recipes says for versions with, and before, the gateway setting. */
const WITH_SETTING = `client.setGateway({ host: 'localhost', protocol: 'http', port: ${port} });`;
const BEFORE = `client.config.basePath = 'http://localhost:${port}';`;
const users = (setting: string) => `(async () => {
  const platformClient = require('platformClient');
  const client = platformClient.ApiClient.instance;
  ${setting}
  const { total } = await new platformClient.UsersApi().getUsers({ pageSize: 5 });
  return total;
})().catch((error) => String(error.message ?? JSON.stringify(error)))`;

const skip = withoutBrowser || withoutRecipes;
t.test('browser bundles of several versions list users', { skip }, async (t) => {
  const page = await (await browser.profile(t)).newPage();
  for (const [sdk, setting] of [
    ['sdk-140', BEFORE],
    ['sdk-204', BEFORE],
    ['sdk-204', `${BEFORE} client.setAccessToken('crm-secret');`],
    ['sdk-207', WITH_SETTING],
    ['sdk-231', WITH_SETTING],
    [NEWEST, `${WITH_SETTING} client.setAccessToken('crm-secret');`],
  ] as const) {
    await page.goto(`http://localhost:${pagePort}/bare?sdk=${sdk}`);
    t.equal(await page.evaluate(users(setting)), 60, `${sdk} ${setting}`);
  }
});

t.test('a page whose origin is not listed is told nothing', { skip: withoutBrowser }, async (t) => {
  const page = await (await browser.profile(t)).newPage();
  await page.goto(`http://127.0.0.1:${pagePort}/bare?sdk=${NEWEST}`);
  t.match(await page.evaluate(users(WITH_SETTING)), /Network Error/);
});

t.test(
  'a page of the Internet needs the permission of the person at the browser',
  { skip: withoutBrowser },
  async (t) => {
    const context = await browser.profile(t);
    const page = await context.newPage();
    await page.goto(`http://localhost:${pagePort}/public`);
    const ask = () =>
      page.evaluate(`fetch('${url.replace('127.0.0.1', 'localhost')}/api/v2/users').then((a) => a.status, String)`);
    t.equal(await ask(), 'TypeError: Failed to fetch');
    await context.grantPermissions(['local-network-access']);
    t.equal(await ask(), 200);
  },
);
