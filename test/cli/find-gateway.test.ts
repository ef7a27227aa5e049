// Commands find the running gateway when the file on disk is bad and when its socket was inherited, send no secret to an
// address that is a guess, and say in words what they wait for.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { homedir } from 'node:os';
import t, { type Test } from 'tap';
import { healthcheck, wait } from '../../src/cli/commands/healthcheck.ts';
import { login } from '../../src/cli/commands/login.ts';
import { logout } from '../../src/cli/commands/logout.ts';
import { status } from '../../src/cli/commands/status.ts';
import { homeFolder } from '../../src/cli/io.ts';
import { inlineSecret } from '../../src/secret.ts';
import { personAt, startAdminGateway } from '../helpers/admin.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { credentialAt } from '../helpers/gateway.ts';

const CREDENTIAL = '[credential]\nclient_id = x\nclient_secret = y\n';
const BOSS = '[client.boss]\nsecret = boss-secret-boss\nadmin = true\n';

const withBoss = (t: Test) =>
  startAdminGateway(t, {
    overrides: { clients: [clientNamed('boss', { secret: inlineSecret('boss-secret-boss', 'test'), isAdmin: true })] },
  });

/** Answers as a gateway that refuses everybody, and keeps the headers it was sent. */
async function startListener(t: Test) {
  const asked: { readonly key: unknown; readonly method: string | undefined; readonly agent: unknown }[] = [];
  const server = createServer((request, response) => {
    const { 'x-gateway-key': key, 'user-agent': agent } = request.headers;
    asked.push({ key, method: request.method, agent });
    response.writeHead(401, { 'X-Gateway-Request-Id': '1' }).end('{"message":"prove who you are","code":"x"}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { port: (server.address() as AddressInfo).port, asked };
}

const BROKEN: Readonly<Record<string, (port: number) => { ini: string | null; argv?: string[] }>> = {
  'a key that there is not': (port) => ({ ini: `[server]\nlisten = 127.0.0.1:${port}\n${CREDENTIAL}secrt = z\n` }),
  'a credential that lacks all': (port) => ({ ini: `[server]\nlisten = 127.0.0.1:${port}\n[credential.crm]\n` }),
  'a bad address, and --listen': (port) => ({
    ini: `[server]\nlisten = 127.0.0.1:99999\n${CREDENTIAL}secrt = z\n`,
    argv: ['--listen', `127.0.0.1:${port}`],
  }),
  'a cut-off JSON, and --listen': (port) => ({ ini: '{"credential":{"cl', argv: ['--listen', `127.0.0.1:${port}`] }),
  'a file that is gone, and --listen': (port) => ({
    ini: null,
    argv: ['--config', 'gone.ini', '--listen', `127.0.0.1:${port}`],
  }),
};

for (const [kind, make] of Object.entries(BROKEN)) {
  t.test(`status, healthcheck and wait ask with ${kind}, and say what is wrong`, async (t) => {
    const { port } = await startAdminGateway(t, { awaitReady: true });
    const { ini, argv = [] } = make(port);
    const folder = createCommandFolder(t, ini);
    const seen = await folder.run(status, ['status', ...argv]);
    t.match(seen, { code: 0, out: /^ready: version/ });
    t.match(
      seen.err,
      /^warning: .*\nwarning: no gateway starts with this configuration; one that runs at .* is asked\n$/s,
    );
    t.match(await folder.run(healthcheck, ['healthcheck', ...argv]), { code: 0 });
    t.match(await folder.run(wait, ['wait', ...argv]), { code: 0 });
  });
}

t.test('where none answers either, a bad configuration is 78, at once with --fail-fast', async (t) => {
  const folder = createCommandFolder(t, `[server]\nlisten = 127.0.0.1:1\n${CREDENTIAL}secrt = z\n`);
  for (const command of [status, healthcheck, login, logout]) {
    const { code, err } = await folder.run(command, [command.name]);
    t.equal(code, 78, command.name);
    t.match(err, /^warning: gcg\.ini:6: .*secrt.*no gateway is running/s);
  }
  t.match(await folder.run(wait, ['wait', '--fail-fast']), { code: 78, err: /no gateway is running there \(127/ });
  t.match(await folder.run(wait, ['wait', '--timeout', '100ms']), { code: 78 });
});

t.test('logged out through the gateway that runs, with a bad file; and a secret of the file is sent', async (t) => {
  const { port } = await startAdminGateway(t, { credentials: (origin) => [personAt(origin, 'pkce')] });
  const folder = createCommandFolder(t, `[server]\nlisten = 127.0.0.1:${port}\n[credential]\nclient_idd = x\n`);
  t.match(await folder.run(logout, ['logout', 'crm']), { code: 0, err: /logged out/ });
  const guarded = await withBoss(t);
  const at = `[server]\nlisten = 127.0.0.1:${guarded.port}\n${CREDENTIAL}secrt = z\n${BOSS}`;
  t.match(await createCommandFolder(t, at).run(status, ['status']), { code: 0 });
});

const GUESSES: Readonly<Record<string, (port: number) => string>> = {
  'an unknown key of [server]': (port) => `[server]\nlisten = 127.0.0.1:${port}\nlisten_on = 127.0.0.1:1\n`,
  'an unknown section': (port) => `[server]\nlisten = 127.0.0.1:${port}\n[sever]\nlisten = 127.0.0.1:1\n`,
  'a line that cannot be read': (port) => `[server]\nlisten = 127.0.0.1:${port}\n[server\n`,
  'the address twice': (port) => `[server]\nlisten = 127.0.0.1:${port}\nlisten = 127.0.0.1:1\n`,
  'a certificate that cannot be read': (port) =>
    `[server]\nlisten = 127.0.0.1:${port}\n[server.tls]\ncert_file = /nowhere\n`,
};

for (const [kind, server] of Object.entries(GUESSES)) {
  t.test(`with ${kind} the address is a guess: no secret is sent there, and nothing is changed`, async (t) => {
    const { port, asked } = await startListener(t);
    const folder = createCommandFolder(t, `${server(port)}\n${CREDENTIAL}${BOSS}`);
    const env = { GCG_ADMIN_KEY: 'boss-secret-boss' };
    const { code, err } = await folder.run(status, ['status'], { env });
    t.equal(code, 77);
    t.match(err, /is a guess.*\(none was sent: where the gateway is cannot be read/s);
    for (const command of [login, logout]) {
      const refused = await folder.run(command, [command.name], { env });
      t.match(refused, { code: 78, err: /not sent to a guess: say --listen/ });
    }
    t.match(asked, [{ key: undefined, method: 'GET', agent: /^gcg\/\d+\.\d+\.\d+$/ }]);
    const known = await folder.run(status, ['status', '--listen', `127.0.0.1:${port}`], { env });
    t.match(known, { code: 77, err: /GCG_ADMIN_KEY|none was sent/ });
  });
}

t.test('an inherited socket is found where its address is written; else the key to write is named', async (t) => {
  const { port } = await startAdminGateway(t, { awaitReady: true });
  const known = createCommandFolder(t, `[server]\nlisten = fd:3@127.0.0.1:${port}\n${CREDENTIAL}`);
  t.match(await known.run(status, ['status']), { code: 0, out: /^ready/ });
  for (const command of [healthcheck, wait]) t.match(await known.run(command, [command.name]), { code: 0 });
  const unknown = createCommandFolder(t, `[server]\nlisten = fd:3\n${CREDENTIAL}`);
  for (const command of [status, healthcheck, wait]) {
    const { code, err } = await unknown.run(command, [command.name]);
    t.equal(code, command === status ? 69 : 2, command.name);
    t.match(err, /fd:3 in this configuration is an inherited socket.*write fd:3@127\.0\.0\.1:8080.*--listen/);
  }
  t.match(await unknown.run(status, ['status', '--listen', `127.0.0.1:${port}`]), { code: 0 });
});

t.test('wait says the sentence of the failure; --fail-fast ends for what waiting does not mend', async (t) => {
  const refused = await startAdminGateway(t, {
    credentials: (origin) => [credentialAt(origin, { clientSecret: inlineSecret('wrong', 'test') })],
  });
  await refused.log.nextLine('token request');
  const folder = createCommandFolder(t, CREDENTIAL);
  const at = ['--listen', `127.0.0.1:${refused.port}`];
  const seen = await folder.run(wait, ['wait', '--fail-fast', ...at]);
  t.equal(seen.code, 77);
  t.match(seen.err, /^not ready: credential default: client authentication failed: wrong client secret/m);
  t.match(await folder.run(wait, ['wait', '--timeout', '3s', ...at]), {
    code: 1,
    err: /^waiting: credential default/m,
  });
  t.match(await folder.run(healthcheck, ['healthcheck', ...at]), { code: 1, err: /wrong client secret/ });

  const person = await startAdminGateway(t, { credentials: (origin) => [personAt(origin, 'pkce')] });
  const nobody = await folder.run(wait, ['wait', '--fail-fast', '--listen', `127.0.0.1:${person.port}`]);
  t.match(nobody, { code: 77, err: /nobody logged in.*gcg login crm/ });

  const other = createTcpServer((socket) => socket.end('220 smtp\r\n')).listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const foreign = `127.0.0.1:${(other.address() as AddressInfo).port}`;
  const taken = await folder.run(wait, ['wait', '--fail-fast', '--listen', foreign]);
  t.match(taken, { code: 69, err: /something else answers there/ });
});

t.test('/readyz tells why to whoever would be told by a call, and /livez who it is to this machine', async (t) => {
  const health = { kind: 'tcp', host: '127.0.0.1', port: await freePort() } as const;
  const wrong = (origin: string) => [credentialAt(origin, { clientSecret: inlineSecret('wrong', 'test') })];
  const open = await startAdminGateway(t, { credentials: wrong, overrides: { server: { healthListen: [health] } } });
  const closed = await startAdminGateway(t, {
    credentials: wrong,
    overrides: { clients: [clientNamed('boss', { secret: inlineSecret('boss-secret-boss', 'test'), isAdmin: true })] },
  });
  for (const { log } of [open, closed]) await log.nextLine('token request');
  const ready = async (port: number) => (await fetch(`http://127.0.0.1:${port}/readyz`)).json();
  t.match(await ready(open.port), { credentials: [{ error: { code: /./, message: /wrong client secret/ } }] });
  for (const port of [closed.port, health.port]) {
    const told = JSON.stringify(await ready(port));
    t.match(told, /"renewal":"rejected"/);
    t.notMatch(told, /wrong client secret|error/);
  }
  // A health listener tells no reasons, so wait asks the other one for them.
  const folder = createCommandFolder(
    t,
    `[server]\nlisten = 127.0.0.1:${open.port}\nhealth_listen = 127.0.0.1:${health.port}\n${CREDENTIAL}`,
  );
  t.match(await folder.run(healthcheck, ['healthcheck']), { code: 1, err: /wrong client secret/ });

  const live = async (headers: Record<string, string>) =>
    (await fetch(`http://127.0.0.1:${open.port}/livez`, { headers })).json();
  t.match(await live({}), { status: 'ok', version: /./, pid: process.pid });
  for (const name of ['x-forwarded-for', 'x-forwarded-proto', 'x-real-ip', 'cf-connecting-ip', 'via'])
    t.same(await live({ [name]: '192.0.2.1' }), { status: 'ok' }, name);
});

async function freePort(): Promise<number> {
  const probe = createTcpServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  await once(probe.close(), 'close');
  return port;
}

t.test('the home folder is the one that Node knows, and none where $HOME is empty', (t) => {
  t.equal(homeFolder(process.env), homedir());
  t.equal(homeFolder({}), homedir());
  t.equal(homeFolder({ HOME: '' }), undefined);
  t.end();
});
