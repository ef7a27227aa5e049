// gcg whoami, and what login, logout, status and check say of whose a token is: through the running gateway and alone.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { login } from '../../src/cli/commands/login.ts';
import { logout } from '../../src/cli/commands/logout.ts';
import { status } from '../../src/cli/commands/status.ts';
import { whoami } from '../../src/cli/commands/whoami.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import type { Switches } from '../../src/sandbox/switches.ts';
import { createCookieJar, personAt, startAdminGateway } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createCommandFolder, gatewaySection } from '../helpers/commands.ts';
import { type ConfigOverrides, credentialAt } from '../helpers/gateway.ts';

const { clientCredentials, pkce } = DEMO_CLIENTS;
const ADA = { login: { approve: 'ada.lindqvist@simulated-org.example' } };

/** A gateway for a service and a person, and a folder whose commands find it. */
async function running(t: Test, overrides: ConfigOverrides = {}, more = '', switches: Partial<Switches> = ADA) {
  const gateway = await startAdminGateway(t, {
    identify: true,
    awaitReady: true,
    sandbox: { switches },
    overrides,
    credentials: (origin) => [credentialAt(origin), personAt(origin, 'pkce', { isDefault: false, isRequired: false })],
  });
  const folder = createCommandFolder(t, `[server]\nlisten = 127.0.0.1:${gateway.port}\n${more}`);
  await gateway.gateway.identity(5_000);
  return { ...gateway, folder };
}

/** Logs in as a browser does. */
const browser = {
  async open(url: string) {
    void follow(url);
    return true;
  },
  readLine: async () => null,
};

/** A path that nothing listens at, short enough for a socket. */
function unusedSocket(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'gcg-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return join(dir, 'gcg.sock');
}

async function follow(url: string): Promise<void> {
  const jar = createCookieJar();
  await jar.get((await jar.get(url)).location);
}

t.test('the running gateway says who is behind each credential, and the problem where it does not know', async (t) => {
  const { folder, sandbox } = await running(t);
  // What limits a token has is asked by itself.
  const isOther = ({ target }: { target: string }) => !target.startsWith('/api/v2/organizations/limits');
  const asked = sandbox.events.recent.filter(isOther).length;
  const { code, out, err } = await folder.run(whoami, ['whoami']);
  t.match(out, /^CREDENTIAL +ORGANISATION +USER +OAUTH CLIENT +REGION$/m);
  t.match(out, /^default +Simulated Organization +- +Demo service +simulation\.invalid$/m);
  t.match(out, /^crm +- +- +- +simulation\.invalid$/m);
  t.match(err, /^gcg: crm: credential crm has nobody logged in: run `gcg login crm`/m);
  t.equal(code, 77);
  const one = await folder.run(whoami, ['whoami', 'default', '--json']);
  t.equal(one.code, 0, one.err);
  t.match(JSON.parse(one.out), [
    { name: 'default', organization: { name: 'Simulated Organization' }, user: null, problem: null },
  ]);
  t.match(await folder.run(whoami, ['whoami', 'nobody']), { code: 2, err: /no credential called "nobody"/ });
  t.equal(sandbox.events.recent.filter(isOther).length, asked, 'nothing is asked of the platform for it');
});

t.test('without a gateway each credential is tried; a refused one is 77, an unreachable platform 69', async (t) => {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const service = `client_id = ${clientCredentials.id}\nclient_secret = `;
  const folder = createCommandFolder(
    t,
    `${gatewaySection(origin)}[server]\nlisten = 127.0.0.1:1\n[credential]\n${service}${clientCredentials.secret}\n` +
      `[credential.bad]\n${service}wrong\n`,
  );
  const all = await folder.run(whoami, ['whoami']);
  t.equal(all.code, 77);
  t.match(all.out, /^default +Simulated Organization +- +Demo service/m);
  t.match(all.err, /^gcg: bad: .*wrong client secret/m);
  t.equal((await folder.run(whoami, ['whoami', 'default'])).code, 0);
  sandbox.set({ unauthorized: {} });
  t.match(await folder.run(whoami, ['whoami', 'default']), { code: 77, err: /tokens\/me answered 401/ });
  await sandbox.close();
  t.equal(
    (await folder.run(whoami, ['whoami', 'default', '--set', 'reauthentication.refresh_token_wait_max=1'])).code,
    69,
  );
});

t.test('a login says who it was and how calls are made, or what is missing for anybody to make one', async (t) => {
  for (const [anonymousCredentials, advice] of [
    [['*'], /^call http:\/\/127\.0\.0\.1:\d+\/crm\/api\/v2\/…$/m],
    [null, /^nobody may use it yet: add crm to server\.anonymous_credentials/m],
  ] as const) {
    const { folder } = await running(t, { server: { anonymousCredentials } });
    const { code, err } = await folder.run((args, io) => login(args, io, browser), ['login', 'crm']);
    t.equal(code, 0, err);
    t.match(err, /^logged in as Ada Lindqvist of Simulated Organization: credential crm holds a token$/m);
    t.match(err, advice);
  }
});

t.test('where clients are configured, the advice names them and the commands show what they may do', async (t) => {
  const clients = [
    { ...clientNamed('ops', { isAdmin: true }), credentials: ['crm'] },
    clientNamed('bi', { allow: ['@read-only'], deny: ['* /api/v2/users/**'], mode: 'report' }),
  ];
  const { folder, url } = await running(t, { clients });
  const io = { env: { GCG_ADMIN_KEY: 'ops-secret' } };
  const there = await folder.run((args, io) => login(args, io, browser), ['login', 'crm'], io);
  t.match(there.err, /^call http:\/\/127\.0\.0\.1:\d+\/api\/v2\/… as ops$/m);
  const { out } = await folder.run(status, ['status'], io);
  t.match(out, /^CLIENT +STATE +MAY USE +LAST SEEN +CALLS +REFUSED +SOCKETS +RULES$/m);
  t.match(out, /^ops \(admin\) +active +crm .* all calls$/m);
  t.match(out, /^bi +active +default .*allow @read-only; deny \* \/api\/v2\/users\/\*\* \(only reported\)$/m);
  t.match(out, /^ {2}default: the OAuth client Demo service of Simulated Organization$/m);
  t.match(out, /^ {2}crm: Ada Lindqvist of Simulated Organization$/m);
  const headers = { 'X-Gateway-Key': 'ops-secret' };
  const page = await (await fetch(url, { headers })).text();
  t.match(page, /<th scope="row">ops \(admin\)<\/th><td>active<\/td>\s*<td>crm<\/td>/);
  t.notMatch(JSON.stringify(await (await fetch(`${url}/-/status`, { headers })).json()), /ops-secret|secretSha256/i);
});

t.test('logout --revoke ends the token at the platform; without it, says that it lives on', async (t) => {
  const { folder, sandbox } = await running(t, { server: { anonymousCredentials: ['*'] } });
  const logIn = () => folder.run((args, io) => login(args, io, browser), ['login', 'crm']);
  const deletions = () => sandbox.events.recent.filter(({ method }) => method === 'DELETE').length;
  await logIn();
  t.match(await folder.run(logout, ['logout', 'crm']), { code: 0, err: /Genesys Cloud was not told \(--revoke/ });
  t.equal(deletions(), 0);
  await logIn();
  t.match(await folder.run(logout, ['logout', '--all', '--revoke']), {
    code: 0,
    err: /^logged out: the tokens of crm are forgotten here, and Genesys Cloud has ended the token\n$/,
  });
  t.equal(deletions(), 1);
  await logIn();
  sandbox.set({ serverError: { status: 503, method: 'DELETE' } });
  t.match(await folder.run(logout, ['logout', 'crm', '--revoke']), {
    code: 69,
    err: /forgotten here, but Genesys Cloud did not end the token: DELETE \/api\/v2\/tokens\/me answered 503/,
  });
  t.match(await folder.run(logout, ['logout', 'crm', '--revoke']), { code: 69, err: /no token that could be revoked/ });
  t.match(await folder.run(logout, ['logout', 'crm', '--all']), { code: 2, err: /not both/ });
  t.match((await folder.run(whoami, ['whoami', 'default'])).code, 0, 'the service goes on');
});

t.test('logout --all --revoke without a gateway ends what is stored, and leaves nothing', async (t) => {
  const sandbox = createSandbox({ switches: ADA });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const folder = createCommandFolder(
    t,
    `${gatewaySection(origin)}[server]\nlisten = unix:${unusedSocket(t)}\n[store]\ntype = file\npath = state\n` +
      `[credential]\ngrant_type = pkce\nclient_id = ${pkce.id}\n`,
  );
  const there = await folder.run((args, io) => login(args, io, browser), ['login']);
  t.match(there.err, /logged in as Ada Lindqvist of Simulated Organization/, there.err);
  const gone = await folder.run(logout, ['logout', '--all', '--revoke']);
  t.match(gone, { code: 0, err: /Genesys Cloud has ended the token/ });
  t.equal(sandbox.stats.validTokens, 0);
  t.equal((await folder.run(whoami, ['whoami'])).code, 77);
});

t.test('a wrong paste is asked for again, and the login goes on', async (t) => {
  const { folder } = await running(t);
  let shown = '';
  const onErr = (text: string) => {
    shown = /^ {2}(http\S+)$/m.exec(text)?.[1] ?? shown;
  };
  const pastes = ['what?', 'http://localhost/-/callback?code=x&state=y', ''];
  const readLine = async () => pastes.shift() || `${(await createCookieJar().get(shown)).location}\n`;
  const { code, err } = await folder.run(
    (args, io) => login(args, io, { open: async () => false, readLine }),
    ['login', '--paste', 'crm'],
    { onErr },
  );
  t.equal(code, 0, err);
  t.equal(err.match(/Paste the whole address bar again/g)?.length, 2);
  t.match(err, /logged in as Ada/);
});
