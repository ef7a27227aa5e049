// The worst that callers can do to a gateway with the flags of its image: a thousand of them with 64 KiB bodies at once
// while the upstream does not answer, readers that do not read, long records, a full inspector, many credentials. It
// answers each call or refuses it, lives, and gives back what it took. In a memory cgroup where the test may make one.

import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { addressOf, startCommand } from '../helpers/command.ts';
import { MAIN } from '../helpers/program.ts';

t.setTimeout(600_000);

const MIB = 1024 * 1024;
/** What examples/kubernetes gives it. */
const LIMIT_MIB = 256;
const CALLERS = 1000;
const ROUNDS = 5;
const CREDENTIALS = 200;
const BODY = Buffer.alloc(64 * 1024, 'x');

const [, entrypoint = '[]'] = /^ENTRYPOINT (.+)$/m.exec(readFileSync('Dockerfile', 'utf8')) ?? [];
const FLAGS = (JSON.parse(entrypoint) as string[]).filter((word) => word.startsWith('--'));

/** Lets nothing out before it is told to. */
async function startSlowUpstream(t: Test) {
  let held: (() => void)[] = [];
  let isOpen = false;
  // Its connections stay open: what a closing one does to a POST is told elsewhere.
  const server = createServer({ keepAliveTimeout: 600_000, requestTimeout: 0 }, (incoming, answer) => {
    incoming.resume();
    if (incoming.url?.startsWith('/api/v2/big') === true) {
      answer.writeHead(200, { 'content-type': 'application/octet-stream' });
      for (let n = 0; n < 64; n += 1) answer.write(BODY);
      answer.end();
      return;
    }
    const send = () => answer.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    incoming.on('end', () => {
      if (isOpen) send();
      else held.push(send);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    port: (server.address() as AddressInfo).port,
    set(open: boolean) {
      isOpen = open;
      if (open) for (const send of held) send();
      if (open) held = [];
    },
  };
}

function call(port: number, agent: Agent, path: string, body?: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    const asking = request(
      {
        host: '127.0.0.1',
        port,
        agent,
        path,
        method: body ? 'POST' : 'GET',
        headers: { 'content-type': 'text/plain' },
      },
      (answer) => {
        answer.resume();
        answer.on('end', () => resolve(answer.statusCode ?? 0));
        answer.on('error', reject);
      },
    );
    asking.on('error', reject);
    asking.end(body);
  });
}

/** Makes a cgroup with a limit, for a process to begin in. Null where this user may not. */
function makeGroup(t: Test): string | null {
  const folder = `/sys/fs/cgroup/memory/gcg-test-${process.pid}`;
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, 'memory.limit_in_bytes'), String(LIMIT_MIB * MIB));
  } catch {
    return null;
  }
  t.teardown(() => {
    try {
      rmdirSync(folder);
    } catch {
      // Still holds what it is about to let go; an empty group costs nothing.
    }
  });
  return folder;
}

t.test('a burst under the flags of the image is answered or refused, and nobody dies of it', async (t) => {
  t.ok(FLAGS.length > 1, FLAGS.join(' '));
  const upstream = await startSlowUpstream(t);
  const folder = t.testdir();
  const names = Array.from({ length: CREDENTIALS }, (_, n) => `c${n}`);
  const file = join(folder, 'gcg.ini');
  const token = (name: string) => `grant_type = access_token\naccess_token = ${name}-token-of-the-burst`;
  const lines = [
    `[gateway]\nhost = 127.0.0.1\nprotocol = http\nport = ${upstream.port}`,
    `[server]\nlisten = 127.0.0.1:0\nanonymous_credentials = default, ${names.join(', ')}`,
    `[logging]\nlog_level = debug\nlog_file_path = /dev/null\nlog_to_console = true`,
    '[rate_limit]\nmode = off',
    `[credential]\n${token('default')}`,
    ...names.map((name) => `[credential.${name}]\n${token(name)}`),
  ];
  writeFileSync(file, lines.join('\n'), { mode: 0o600 });
  // As it is published: from its sources a part of what it takes would be Node's compiler of TypeScript.
  t.match(MAIN, /dist/, 'run npm run build first');
  const group = makeGroup(t);
  const within = group === null ? {} : { within: group };
  const command = startCommand(t, ['serve', '--config', file], { cwd: folder, flags: FLAGS, ...within });
  const port = Number(new URL(addressOf(await command.until('"msg":"listening"'))).port);
  const { pid = 0 } = command.child;
  t.comment(group === null ? 'not confined: no memory cgroup may be made here' : `confined to ${LIMIT_MIB} MiB`);
  const status = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  const idle = status('VmRSS');
  const agent = new Agent({ keepAlive: true, maxSockets: CALLERS });
  t.teardown(() => agent.destroy());
  const long = `?q=${'%F0%9F%8E%89'.repeat(600)}`;

  const readers: Socket[] = [];
  for (let n = 0; n < 100; n += 1) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET /api/v2/big HTTP/1.1\r\nHost: localhost\r\n\r\n');
    readers.push(socket);
  }
  const seen = new Map<number, number>();
  for (let round = 0; round < ROUNDS; round += 1) {
    upstream.set(false);
    const calls = Array.from({ length: CALLERS }, (_, n) =>
      call(port, agent, `/${names[n % CREDENTIALS]}/api/v2/users/search${long}`, BODY),
    );
    // Long enough for all bodies to be here, with nowhere to go.
    await pause(3000);
    upstream.set(true);
    for (const answered of await Promise.all(calls)) seen.set(answered, (seen.get(answered) ?? 0) + 1);
  }
  const peak = status('VmHWM');
  for (const socket of readers) socket.destroy();
  t.comment(
    `idle ${idle.toFixed(0)} MiB, peak ${peak.toFixed(0)} MiB; ${[...seen].map(([code, n]) => `${n} x ${code}`).join(', ')}`,
  );
  t.strictSame(
    [...seen.keys()].filter((code) => code !== 200 && code !== 429 && code !== 503),
    [],
    'every call is answered by the upstream, or told to come again',
  );
  t.equal(await call(port, agent, '/api/v2/users/me'), 200, 'and the next one is served');
  t.equal(command.child.exitCode, null);
  command.child.kill('SIGTERM');
  t.equal(await command.ended, 0, 'it ends as it should');
});
