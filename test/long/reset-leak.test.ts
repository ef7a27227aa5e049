// Callers and upstreams that reset their connections, in every phase and by the hundred: sockets and memory go back to
// where they were.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { type ChildGateway, startChildGateway } from '../helpers/child-gateway.ts';
import { ok } from '../helpers/direct.ts';
import { exchangeRaw, startRawServer } from '../helpers/raw-http.ts';

const GET = (path: string) => `GET /api/v2/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
const POST = (path: string, length: number) =>
  `POST /api/v2/${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n`;
const LIVEZ = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n';
const ROUNDS = 300;

/** How a caller goes wrong: what it sends, and whether it waits for something to come before it resets. */
const callers: readonly (readonly [string, string, boolean])[] = [
  ['in its header', 'GET /api/v2/x HT', false],
  ['before its header', '', false],
  ['while it waits for the head', GET('silent'), false],
  ['in the midst of a small upload', `${POST('x', 100)}half`, false],
  ['in the midst of a large upload', POST('x', 1_000_000) + 'x'.repeat(200_000), false],
  ['in the midst of a download', GET('endless'), true],
  ['behind several requests at once', GET('silent') + GET('silent') + GET('silent'), false],
  ['behind something that is no request', `${GET('silent')}GARBAGE\r\n\r\n`, false],
  ['after a refusal', GET('silent').replace('localhost', 'evil.test'), true],
];

/** How an upstream goes wrong, by the path it is asked for. */
const upstreams = ['reset-at-once', 'reset-in-head', 'reset-in-body', 'end-in-body', 'reset-in-chunks'];

if (process.platform !== 'linux') t.comment('SKIPPED: descriptors are read from /proc');
else t.test('resets', measure);

async function measure(t: Test) {
  const upstream = await startRawServer(t, (socket) =>
    socket.setEncoding('latin1').on('data', (text: string) => misbehave(socket, text)),
  );
  const gateway = await startChildGateway(
    t,
    upstream.origin,
    'token-of-the-leak-test',
    '[retry]\nretry_max = 0\n[timeouts]\nkeep_warm = 0\n',
  );
  const everything = async (rounds: number) => {
    for (const [name, sent, waits] of callers)
      await inBatches(rounds, () =>
        resetCaller(gateway.port, sent, waits).catch((error) => t.fail(`${name}: ${error}`)),
      );
    for (const path of upstreams)
      await inBatches(rounds, () => exchangeRaw(gateway.port, GET(path), (text) => /\r\n\r\n\{/.test(text)));
    await exchangeRaw(gateway.port, GET('fine'));
  };

  // The heap takes its working size in the first rounds; a leak would go on growing in each further one.
  await everything(ROUNDS);
  await everything(ROUNDS);
  const base = await settled(gateway);
  const later: { sockets: number; residentMiB: number }[] = [];
  for (let rounds = 0; rounds < 3; rounds += 1) {
    await everything(ROUNDS);
    later.push(await settled(gateway));
  }
  const after = {
    sockets: Math.min(...later.map(({ sockets }) => sockets)),
    residentMiB: Math.min(...later.map(({ residentMiB }) => residentMiB)),
  };
  t.comment(
    `after a warm-up: ${base.sockets} sockets, ${base.residentMiB.toFixed(1)} MiB; lowest of three times as much ` +
      `again: ${after.sockets} sockets, ${after.residentMiB.toFixed(1)} MiB`,
  );
  // One connection more or less is kept for the next call.
  t.ok(after.sockets <= base.sockets + 1, 'no socket is left behind');
  t.ok(after.residentMiB - base.residentMiB < 24, 'nor memory');
  t.equal(upstream.sockets.size <= 2, true, 'the upstream is left alone too');
}

function misbehave(socket: Socket, text: string): void {
  const path = /\/api\/v2\/(\S+)/.exec(text)?.[1];
  if (path === 'fine') socket.write(ok('{}'));
  else if (path === 'endless') {
    const pump = () => {
      while (socket.writable && socket.write('x'.repeat(16 * 1024)));
    };
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n');
    socket.on('drain', pump);
    pump();
  } else if (path === 'reset-at-once') socket.resetAndDestroy();
  else if (path === 'reset-in-head') socket.write('HTTP/1.1 200 OK\r\nX-A', () => socket.resetAndDestroy());
  else if (path === 'reset-in-body')
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart', () => socket.resetAndDestroy());
  else if (path === 'end-in-body') socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart');
  else if (path === 'reset-in-chunks')
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n', () => socket.resetAndDestroy());
}

async function resetCaller(port: number, sent: string, waits: boolean): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  if (sent !== '') await new Promise<void>((resolve) => socket.write(Buffer.from(sent, 'latin1'), () => resolve()));
  if (waits) await once(socket, 'data');
  // Half of them reset at once, half when the gateway has read what they sent: it answers later requests after that.
  else if (Math.random() < 0.5) await exchangeRaw(port, LIVEZ);
  socket.resetAndDestroy();
}

async function inBatches(count: number, run: () => Promise<unknown>): Promise<void> {
  for (let done = 0; done < count; done += 50)
    await Promise.all(Array.from({ length: Math.min(50, count - done) }, run));
}

/**
 * What the gateway holds once the number of its sockets has been the same for five seconds: an idle connection is kept
 * for four.
 */
async function settled(gateway: ChildGateway): Promise<{ sockets: number; residentMiB: number }> {
  let sockets = -1;
  for (let same = 0; same < 20; ) {
    const now = gateway.sockets();
    same = now === sockets ? same + 1 : 0;
    sockets = now;
    // Another process tells nobody when it closes a socket: it is looked at.
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return { sockets, residentMiB: gateway.residentMiB() };
}
