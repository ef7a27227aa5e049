// Sockets that were handed over (systemd's ListenStream) count by what they are bound to; and one address may be named
// beside its IPv6 twin.

import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type ListenOptions } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { askAt } from '../helpers/ask.ts';
import { type Command, startCommand } from '../helpers/command.ts';

const sandbox = createSandbox();
const upstream = await sandbox.listen();
const folder = mkdtempSync(join(tmpdir(), 'gcg-'));
t.teardown(() => {
  rmSync(folder, { recursive: true });
  return sandbox.close();
});

const { id, secret } = DEMO_CLIENTS.clientCredentials;
const CLIENT = '[client.crm]\nsecret = a-long-secret-of-crm\nadmin = true';

let configs = 0;

function writeConfig(server: string, more: string): string {
  const { host, port } = upstream;
  const head = [
    '[gateway]',
    `host = ${host}`,
    `port = ${port}`,
    'protocol = http',
    '[credential]',
    `client_id = ${id}`,
    `client_secret = ${secret}`,
  ];
  const file = join(folder, `${configs++}.ini`);
  writeFileSync(file, [...head, '[server]', server, more].join('\n'), { mode: 0o600 });
  return file;
}

/** A gateway over a socket of ours, and where that is. */
async function startInherited(
  t: Test,
  bound: ListenOptions,
  server: string,
  more: string,
): Promise<{ command: Command; url: string }> {
  const socket = createServer().listen(bound);
  await once(socket, 'listening');
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  const command = startCommand(t, ['serve', '--config', writeConfig(`listen = fd:3\n${server}`, more)], {
    descriptor: fd,
  });
  const address = socket.address();
  // Closing takes the file away, by the name that it had.
  if (typeof address === 'string') renameSync(address, `${address}.kept`);
  // Before anybody calls: what two processes take connections from answers by chance.
  await once(socket.close(), 'close');
  const url = typeof address === 'string' ? `unix:${address}.kept` : `http://127.0.0.1:${address?.port}`;
  return { command, url };
}

const BOUND: Record<string, { isLocal: boolean; bound: ListenOptions }> = {
  'all IPv4 addresses': { isLocal: false, bound: { host: '0.0.0.0', port: 0 } },
  'all addresses': { isLocal: false, bound: { host: '::', port: 0 } },
  loopback: { isLocal: true, bound: { host: '127.0.0.1', port: 0 } },
  'loopback, as IPv6 writes it': { isLocal: true, bound: { host: '::ffff:127.0.0.1', port: 0 } },
  'a Unix socket': { isLocal: true, bound: { path: join(folder, 'inherited.sock') } },
};

for (const [name, { isLocal, bound }] of Object.entries(BOUND)) {
  t.test(
    `a descriptor of ${name} ` +
      `${isLocal ? 'serves local users, and the admin pages' : 'needs clients, and serves no admin pages unasked'}`,
    async (t) => {
      const open = await startInherited(t, bound, '', '');
      if (isLocal) {
        await open.command.until('"msg":"listening"');
        await open.command.until('"msg":"ready"');
        await open.command.until('anonymous callers are served');
        t.equal((await askAt(open.url)).status, 200);
        t.equal((await askAt(open.url, { path: '/-/status' })).status, 200);
        open.command.child.kill('SIGTERM');
        await open.command.ended;
      } else {
        t.equal(await open.command.ended, 78);
        t.match(
          open.command.stderr(),
          /^server\.listen: fd:3 \([^)]+ port \d+\) can be reached by other machines;.*unsafe_allow_anonymous/m,
        );
      }
      if (isLocal) return;
      const closed = await startInherited(t, bound, 'anonymous_credentials = default', CLIENT);
      await closed.command.until('"msg":"listening"');
      await closed.command.until('"msg":"ready"');
      const headers = { authorization: 'Bearer a-long-secret-of-crm' };
      t.equal((await askAt(closed.url)).status, 401);
      t.equal((await askAt(closed.url, { headers })).status, 200);
      t.equal((await askAt(closed.url, { path: '/-/status', headers })).status, 404);
      t.notMatch(closed.command.stdout(), /anonymous callers are served/);
      closed.command.child.kill('SIGTERM');
      await closed.command.ended;
    },
  );
}

t.test('127.0.0.1 and [::1] with one port are two listeners, in either order and any spelling', async (t) => {
  for (const [at, sixth] of ['[::1]', '[0:0:0:0:0:0:0:1]'].entries()) {
    const port = await freePort();
    const both = [`127.0.0.1:${port}`, `${sixth}:${port}`];
    const command = startCommand(t, [
      'serve',
      '--config',
      writeConfig(`listen = ${(at === 0 ? both : both.reverse()).join(', ')}`, ''),
    ]);
    await command.until('"msg":"listening"');
    await command.until('"msg":"ready"');
    for (const host of ['127.0.0.1', '[::1]'])
      t.equal((await askAt(`http://${host}:${port}`)).status, 200, `${host} of ${both}`);
    command.child.kill('SIGTERM');
    t.equal(await command.ended, 0);
  }
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await once(probe.close(), 'close');
  return port;
}
