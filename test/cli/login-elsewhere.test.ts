// gcg login, logout and token where there is no configuration, but a gateway was started elsewhere: it is asked, as gcg
// status does.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { CommandLine } from '../../src/cli/args.ts';
import { login } from '../../src/cli/commands/login.ts';
import { logout } from '../../src/cli/commands/logout.ts';
import { status } from '../../src/cli/commands/status.ts';
import { token } from '../../src/cli/commands/token.ts';
import type { Io } from '../../src/cli/io.ts';
import { createCookieJar, personAt, startAdminGateway, statusOf } from '../helpers/admin.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { credentialAt } from '../helpers/gateway.ts';

const APPROVED = { switches: { login: { approve: 'ada.lindqvist@simulated-org.example' } } };

/** Like `gcg demo`: a default credential without a login, and a person. */
function startElsewhere(t: Test, redirectUri: string | null = null) {
  const person = { isDefault: false, isRequired: false, redirectUri };
  return startAdminGateway(t, {
    awaitReady: true,
    sandbox: APPROVED,
    credentials: (origin) => [credentialAt(origin), personAt(origin, 'pkce', person)],
  });
}

/** Follows the redirects, as a browser does, to the end of the login. */
async function browse(url: string): Promise<boolean> {
  const jar = createCookieJar();
  let answer = await jar.get(url);
  while (answer.status === 302) answer = await jar.get(answer.location);
  return true;
}

const inBrowser = (args: CommandLine, io: Io) =>
  login(args, io, {
    open: async (url) => {
      void browse(url);
      return true;
    },
    readLine: async () => null,
  });

t.test('the running gateway is asked which credential has a login, and a name leads to the same', async (t) => {
  const { port, url } = await startElsewhere(t);
  const folder = createCommandFolder(t, null);
  const at = ['--listen', `127.0.0.1:${port}`];
  for (const name of [[], ['crm']]) {
    const { code, err } = await folder.run(inBrowser, ['login', ...name, ...at]);
    t.equal(code, 0, err);
    t.match(err, /logged in: credential crm holds a token/);
    t.match((await statusOf(url)).credentials[1], { name: 'crm', token: 'fresh' });
    t.match(await folder.run(logout, ['logout', ...name, ...at]), { code: 0, err: /the tokens of crm are forgotten/ });
    t.match((await statusOf(url)).credentials, [{ token: 'fresh' }, { renewal: 'login_required' }], 'and no other is');
  }
});

t.test('a redirect URI that is not the gateway’s own is waited for here, whoever configured it', async (t) => {
  const free = createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port: callbackPort } = free.address() as AddressInfo;
  await new Promise((resolve) => free.close(resolve));
  const { port, url } = await startElsewhere(t, `http://127.0.0.1:${callbackPort}/callback`);
  const { code, err } = await createCommandFolder(t, null).run(inBrowser, ['login', '--listen', `127.0.0.1:${port}`]);
  t.equal(code, 0, err);
  t.equal((await statusOf(url)).credentials[1]?.token, 'fresh');
});

t.test('what the running gateway does not have is said with what it has', async (t) => {
  const { port } = await startElsewhere(t);
  const folder = createCommandFolder(t, null);
  const at = ['--listen', `127.0.0.1:${port}`];
  t.match(await folder.run(inBrowser, ['login', 'nobody', ...at]), {
    code: 2,
    err: /no credential called "nobody"; there are: default, crm\n/,
  });
  t.match(await folder.run(inBrowser, ['login', 'default', ...at]), {
    code: 2,
    err: /default \(client_credentials\) has no login/,
  });
  t.match(await folder.run(logout, ['logout', 'nobody', ...at]), { code: 2 });
});

t.test('gcg token says that the gateway gives none', async (t) => {
  const { port } = await startElsewhere(t);
  const { code, out, err } = await createCommandFolder(t, null).run(token, ['token', '--listen', `127.0.0.1:${port}`]);
  t.equal(code, 78);
  t.equal(out, '');
  t.match(err, /no credential is configured[\s\S]*a gateway is running, but it gives its tokens to nobody: .*--config/);
});

t.test(
  'without a configuration and without a gateway both are said, and a stranger at the address is no gateway',
  async (t) => {
    const other = createServer((_request, response) =>
      response.end('{"credentials":[{"name":"x","isDefault":true}]}'),
    ).listen(0, '127.0.0.1');
    await once(other, 'listening');
    t.teardown(() => other.close());
    const address = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    const folder = createCommandFolder(t, null);
    for (const [name, command] of Object.entries({ login: inBrowser, logout })) {
      const { code, err } = await folder.run(command, [name, '--listen', address]);
      t.equal(code, 78);
      t.match(err, `no gateway is running at ${address}`);
      t.match(err, /no credential is configured/);
    }
    t.match(await folder.run(status, ['status', '--listen', address]), {
      code: 69,
      err: `gcg: no gateway is running at ${address}: something else answers there (HTTP 200)\n`,
    });
  },
);

t.test('an address that is none of the web is neither opened nor shown', async (t) => {
  const body = (path: string) =>
    path === '/-/status'
      ? { credentials: [{ name: 'crm', grantType: 'pkce', isDefault: true }] }
      : {
          url: 'file:///etc/passwd',
          state: 's',
          redirectUri: 'http://127.0.0.1/-/callback',
          expiresAt: '2030-01-01T00:00:00Z',
        };
  const other = createServer(({ url = '' }, response) =>
    response.setHeader('X-Gateway-Request-Id', 'x').end(JSON.stringify(body(url))),
  ).listen(0);
  await once(other, 'listening');
  t.teardown(() => other.close());
  const address = `127.0.0.1:${(other.address() as AddressInfo).port}`;
  const { code, err } = await createCommandFolder(t, null).run(inBrowser, ['login', '--listen', address]);
  t.equal(code, 69);
  t.notMatch(err, 'passwd');
});
