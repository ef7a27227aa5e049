// What `gcg serve` says from its start to its end: warnings as records, when it is ready, what a reload brings that is
// new, and which calls the end has cut.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hasColour } from '../../src/cli/io.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { addressOf, startCommand } from '../helpers/command.ts';

t.test('warnings of the start are records, a reload tells only new ones, and problems keep their lines', async (t) => {
  const sandbox = createSandbox();
  const { host, port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const folder = t.testdir();
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const text = (more = '') =>
    `[gateway]\nhost = ${host}\nport = ${port}\nprotocol = http\n[server]\nlisten = 127.0.0.1:0\n[logging]\n` +
    `log_file_path = ${join(folder, 'gcg.log')}\n[general]\nlive_reload_config = false\n[credential]\n` +
    `client_id = ${id}\nclient_secret = ${secret}\n${more}`;
  const file = join(folder, 'my-secret.ini');
  // A secret that others can read is a warning.
  writeFileSync(file, text(), { mode: 0o644 });
  const command = startCommand(t, ['serve', '--config', file], { cwd: folder });
  await command.until('"msg":"ready"');
  t.equal(command.stderr(), '', 'nothing stands beside the records');
  const warnings = () => records(command.stdout()).filter(({ msg }) => msg === 'configuration warning');
  t.match(warnings(), [{ level: 'warn', warning: /my-secret\.ini.*read/ }]);
  t.match(readFileSync(join(folder, 'gcg.log'), 'utf8'), '"configuration warning"', 'in the file as well');

  const reload = async (config: string, outcome: string) => {
    const before = command.stdout().length;
    writeFileSync(file, config);
    command.child.kill('SIGHUP');
    for (;;) {
      if (command.stdout().slice(before).includes(outcome)) return;
      await new Promise<void>((resolve) => command.child.stdout?.once('data', () => resolve()));
    }
  };
  for (let round = 0; round < 3; round++) await reload(text(), '"configuration reloaded"');
  t.equal(warnings().length, 1, 'it has been told');
  await reload(text('token = x\n'), 'configuration refused');
  t.match(
    records(command.stdout()).find(({ msg }) => String(msg).startsWith('configuration refused')),
    { level: 'error', problems: [/my-secret\.ini:14: .*there is no key/] },
  );
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 0);
});

t.test('the start says READY once, and a second signal records the calls that it cuts', async (t) => {
  const sandbox = createSandbox();
  const { host, port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const command = startCommand(t, ['serve', '--listen', '127.0.0.1:0'], {
    env: {
      GCG_SERVER_HEALTH_LISTEN: '127.0.0.1:0',
      GCG_GATEWAY_HOST: host,
      GCG_GATEWAY_PORT: String(port),
      GCG_GATEWAY_PROTOCOL: 'http',
      GCG_CREDENTIAL_CLIENT_ID: id,
      GCG_CREDENTIAL_CLIENT_SECRET: secret,
    },
  });
  const url = addressOf(await command.until('"msg":"ready"'));
  const ready = records(command.stdout()).filter(({ msg }) => msg === 'ready');
  t.match(ready, [
    {
      addresses: [url],
      region: 'mypurecloud.com',
      credentials: [{ name: 'default', grant: 'client_credentials' }],
      try: `curl ${url}/api/v2/tokens/me`,
    },
  ]);
  const tried = await fetch(String(ready[0]?.try).slice('curl '.length));
  t.equal(tried.status, 200, 'the call to try is answered');
  await tried.text();
  sandbox.set({ holdApi: { path: '/api/v2/users' } });
  const held = sandbox.events.next('held');
  const call = fetch(`${url}/api/v2/users`, { headers: { 'user-agent': 'cut/1' } }).catch(() => 'cut');
  await held;
  command.child.kill('SIGINT');
  t.match(records(await command.until('"msg":"draining"')).at(-1), { calls: 1, sockets: 0, atMostMs: 10_000 });
  command.child.kill('SIGINT');
  t.equal(await command.ended, 0);
  t.equal(await call, 'cut');
  t.match(records(command.stdout()).slice(-2), [
    {
      level: 'error',
      msg: 'exchange',
      userAgent: 'cut/1',
      errorCode: 'gateway.draining',
      error: /the gateway ended before the call did/,
      aborted: true,
    },
    { level: 'warn', msg: 'stopped', finished: 0, cut: 1 },
  ]);
});

t.test('READY knows who has to log in, also where that is found out a moment later', async (t) => {
  const sandbox = createSandbox();
  const { host, port } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  // The default credential is ready at once; the login of the other is refused only when the platform has been asked.
  const config =
    `[gateway]\nhost = ${host}\nport = ${port}\nprotocol = http\n[server]\nlisten = 127.0.0.1:0\n` +
    `[credential]\naccess_token = a-token-that-somebody-has\n[credential.me]\ngrant_type = pkce\n` +
    `client_id = ${DEMO_CLIENTS.pkce.id}\nrefresh_token = a-login-that-is-over\n`;
  const folder = t.testdir({ 'gcg.ini': config });
  const args = ['serve', '--config', join(folder, 'gcg.ini'), '--set', `store.path=${folder}/store`];
  const command = startCommand(t, args, { cwd: folder });
  await command.until('"msg":"ready"');
  const ready = records(command.stdout()).find(({ msg }) => msg === 'ready');
  t.match(ready?.credentials, [{ name: 'default' }, { name: 'me', loginNeeded: true }]);
});

t.test('colours are for terminals that want them', async (t) => {
  for (const [isTTY, env, wanted] of [
    [true, {}, true],
    [true, { TERM: 'xterm-256color' }, true],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { TERM: 'dumb' }, false],
    [false, { TERM: 'xterm' }, false],
  ] as const)
    t.equal(hasColour({ isTTY, env }), wanted, JSON.stringify(env));
});

function records(stdout: string): Record<string, unknown>[] {
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
