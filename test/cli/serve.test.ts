// `gcg serve` as a process: what it says when it cannot start, its exit codes, and its end.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import { addressOf, startCommand } from '../helpers/command.ts';

async function startSimulation(t: Test): Promise<{ sandbox: Sandbox; env: NodeJS.ProcessEnv }> {
  const sandbox = createSandbox();
  const { host, port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  return {
    sandbox,
    env: {
      GCG_GATEWAY_HOST: host,
      GCG_GATEWAY_PORT: String(port),
      GCG_GATEWAY_PROTOCOL: 'http',
      GCG_CREDENTIAL_CLIENT_ID: id,
      GCG_CREDENTIAL_CLIENT_SECRET: secret,
    },
  };
}

t.test('serves calls and ends with 0 at SIGTERM', async (t) => {
  const { env } = await startSimulation(t);
  const command = startCommand(t, ['serve', '--listen', '127.0.0.1:0'], { env });
  const url = addressOf(await command.until('"msg":"listening"'));
  const answer = await fetch(`${url}/api/v2/users?pageSize=1`);
  t.equal(answer.status, 200);
  await answer.text();
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 0);
  t.match(command.stdout(), '"msg":"exchange"');
});

t.test('no command means serve', async (t) => {
  const { env } = await startSimulation(t);
  const command = startCommand(t, ['--listen', '127.0.0.1:0'], { env });
  await command.until('"msg":"listening"');
  command.child.kill('SIGINT');
  t.equal(await command.ended, 0);
});

t.test('finishes the calls in progress before it ends, and a second signal ends it at once', async (t) => {
  const { env, sandbox } = await startSimulation(t);
  sandbox.set({ holdApi: { path: '/api/v2/users' } });
  const command = startCommand(t, ['serve', '--listen', '127.0.0.1:0'], { env });
  const url = addressOf(await command.until('"msg":"listening"'));
  const held = sandbox.events.next('held');
  const call = fetch(`${url}/api/v2/users?pageSize=1`).then(
    (answer) => answer.status,
    () => 'cut',
  );
  await held;
  command.child.kill('SIGTERM');
  await command.until('"msg":"draining"');
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 0);
  t.equal(await call, 'cut', 'the held call was not waited for any longer');
});

t.test('a port in use is 69, one line that names it, and nothing is left running', async (t) => {
  const { env, sandbox } = await startSimulation(t);
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  t.teardown(() => other.close());
  const { port } = other.address() as { port: number };
  const command = startCommand(t, ['serve', '--listen', `127.0.0.1:${port}`], { env });
  t.equal(await command.ended, 69);
  t.match(
    command.stderr(),
    new RegExp(`^server\\.listen: 127\\.0\\.0\\.1:${port} is in use by another program: .*\\n$`),
  );
  const admin = startCommand(t, ['--listen', '127.0.0.1:0', '--set', `server.admin_listen=127.0.0.1:${port}`], { env });
  t.equal(await admin.ended, 69);
  t.match(
    admin.stderr(),
    /^server\.admin_listen: .* choose another address with --set server\.admin_listen=ADDRESS\n$/,
    'the setting that names the address, and the flag that changes it',
  );
  t.equal(sandbox.stats.tokenRequestsTotal, 0, 'no token was asked for');
});

t.test(
  'a bad configuration is 78, each problem one line with file, line and key, and nothing is started',
  async (t) => {
    const cwd = t.testdir({
      'gcg.ini':
        '[general]\nhost = eu-central-l\n\n[credential]\nclient_id = abc\nclient_secret = x#y\n\n[server]\nlisten ' +
        '= 127.0.0.1:99999\nlissten = 1\n',
    });
    const command = startCommand(t, ['serve'], { cwd });
    t.equal(await command.ended, 78);
    const lines = command
      .stderr()
      .trimEnd()
      .split('\n')
      .filter((line) => !line.startsWith('warning:'));
    t.match(
      lines.find((line) => line.includes('general.host')),
      /gcg\.ini:2: .*eu-central-1/,
      'a region that does not exist, with the nearest that does',
    );
    t.match(
      lines.find((line) => line.includes('client_secret')),
      /gcg\.ini:6: /,
      'a value that would be cut',
    );
    t.match(
      lines.find((line) => line.includes('server.listen')),
      /gcg\.ini:9: /,
      'a port that is none',
    );
    t.match(
      lines.find((line) => line.includes('lissten')),
      /gcg\.ini:10: .*listen/,
      'an unknown key, with the nearest known',
    );
    t.equal(command.stdout(), '');
    t.notMatch(command.stderr(), /x#y/, 'no value of a secret is repeated');
  },
);

t.test('an unreadable or missing secret file is 78 and names file, line, key and path', async (t) => {
  const cwd = t.testdir({ 'gcg.ini': '[credential]\nclient_id = abc\nclient_secret_file = not-there.txt\n' });
  const missing = startCommand(t, ['serve'], { cwd });
  t.equal(await missing.ended, 78);
  t.match(missing.stderr(), /gcg\.ini:3: credential\.client_secret_file: .*not-there\.txt/);

  writeFileSync(join(cwd, 'not-there.txt'), '');
  chmodSync(join(cwd, 'not-there.txt'), 0o600);
  const empty = startCommand(t, ['serve'], { cwd });
  t.equal(await empty.ended, 78);
  t.match(empty.stderr(), /gcg\.ini:3: credential\.client_secret_file: .*empty/);
});

t.test(
  'a listener that others can reach is refused without clients, and the refusal names the unsafe switch',
  async (t) => {
    const { env } = await startSimulation(t);
    const command = startCommand(t, ['serve', '--listen', '0.0.0.0:0'], { env });
    t.equal(await command.ended, 78);
    t.match(command.stderr(), /server\.listen.*unsafe_allow_anonymous/);
  },
);

t.test(
  'a Unix socket whose folder is missing, and a descriptor that nobody handed over, are 69 and called what they are',
  async (t) => {
    const { env } = await startSimulation(t);
    const folder = mkdtempSync(join(tmpdir(), 'gcg-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const address = `unix:${join(folder, 'missing', 'gcg.sock')}`;
    const socket = startCommand(t, ['serve', '--listen', address], { env });
    t.equal(await socket.ended, 69);
    t.equal(
      socket.stderr(),
      `server.listen: ${address} cannot be made: its folder must be there, and this user must be able to write to it\n`,
    );
    const descriptor = startCommand(t, ['serve', '--listen', 'fd:99'], { env });
    t.equal(await descriptor.ended, 69);
    t.match(
      descriptor.stderr(),
      /^server\.listen: the descriptor of fd:N cannot be listened on \(E\w+\): was a socket handed over\?\n$/,
    );
  },
);

t.test('an unknown flag is 2 with a suggestion', async (t) => {
  const command = startCommand(t, ['serve', '--lisen', '127.0.0.1:0']);
  t.equal(await command.ended, 2);
  t.match(command.stderr(), /--listen/);
});

t.test('healthcheck is 0 beside a ready gateway and 1 without one', async (t) => {
  const { env } = await startSimulation(t);
  const command = startCommand(t, ['serve', '--listen', '127.0.0.1:0'], { env });
  const url = addressOf(await command.until('"msg":"listening"'));
  await command.until('"msg":"ready"');
  const { host } = new URL(url);
  const asked = { env: { GCG_SERVER_LISTEN: host } };
  const ready = startCommand(t, ['healthcheck'], asked);
  t.equal(await ready.ended, 0);
  t.equal(ready.stderr(), '');
  command.child.kill('SIGTERM');
  await command.ended;
  const without = startCommand(t, ['healthcheck'], asked);
  t.equal(await without.ended, 1);
  t.match(without.stderr(), 'no gateway is running there');
});

t.test('demo needs no file, no account and no other machine, and its curl lines name what answers', async (t) => {
  const cwd = t.testdir();
  const watch = join(cwd, 'watch.mjs');
  writeFileSync(
    watch,
    `import { subscribe } from 'node:diagnostics_channel';
    subscribe('net.client.socket', ({ socket }) =>
      socket.on('connect', () => process.stderr.write('dialled ' + socket.remoteAddress + '\\n')));`,
  );
  const command = startCommand(t, ['demo', '--listen', '127.0.0.1:0'], {
    cwd,
    env: { NODE_OPTIONS: `--import=${pathToFileURL(watch)}` },
  });
  await command.until('Ctrl-C ends it');
  const lines = [...command.stderr().matchAll(/^ {2}curl (.*)$/gm)].map(([, line]) => line ?? '');
  t.ok(lines.length >= 4);
  for (const line of lines) {
    const url = /http:[^' ]+/.exec(line)?.[0] ?? '';
    const body = /-d '([^']*)'/.exec(line)?.[1];
    const answer = await fetch(
      url,
      body === undefined ? {} : { method: 'POST', body, headers: { 'content-type': 'application/json' } },
    );
    t.equal(answer.status, 200, url);
    await answer.text();
  }
  command.child.kill('SIGINT');
  t.equal(await command.ended, 0);
  const dialled = [...command.stderr().matchAll(/^dialled (.*)$/gm)].map(([, address]) => address);
  t.ok(dialled.length > 0);
  t.same(new Set(dialled), new Set(['127.0.0.1']), 'nothing leaves the machine');
});
