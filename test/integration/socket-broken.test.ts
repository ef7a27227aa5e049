// Ends that break off, fall silent, or answer a handshake with something else: the other end is told, and nothing stays
// open.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import t from 'tap';
import { SILENCE_MS, TICK_MS } from '../../src/upstream/websocket/tunnel.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { configAt, startGateway, startGatewayWith } from '../helpers/gateway.ts';
import {
  acceptHandshake,
  closeOf,
  makeChannel,
  openWebSocket,
  refusalOf,
  startStreamingUpstream,
} from '../helpers/sockets.ts';

/** A gateway before an upstream that accepts every socket and hands it out. */
async function startPair(
  t: Tap,
  overrides: Parameters<typeof configAt>[1] = {},
  clock?: Parameters<typeof startGatewayWith>[2],
) {
  const waiting: ((socket: Socket) => void)[] = [];
  const upstream = await startStreamingUpstream(t, (request, socket) => {
    acceptHandshake(request, socket);
    socket.on('end', () => socket.end());
    waiting.shift()?.(socket as Socket);
  });
  const started = await startGatewayWith(t, configAt(upstream.origin, overrides), clock);
  const far = () => new Promise<Socket>((resolve) => waiting.push(resolve));
  return { ...started, upstream, far };
}
type Tap = Parameters<typeof startGatewayWith>[0];

t.test('an upstream that resets, or leaves without a word, ends the socket', async (t) => {
  for (const leave of ['resetAndDestroy', 'destroy', 'end'] as const) {
    const { url, log, gateway, far } = await startPair(t);
    const upstream = far();
    const closed = closeOf(await openWebSocket(t, (await makeChannel(url)).connectUri));
    (await upstream)[leave]();
    t.equal((await closed).code, 1006, leave);
    t.match(await log.nextExchange(({ closeCode }) => closeCode === 1006), {
      status: 101,
      errorCode: 'gateway.upstream.unreachable',
      aborted: false,
    });
    t.equal(gateway.socketCount(), 0);
  }
});

t.test('a client that resets, or leaves without a word, ends the socket', async (t) => {
  for (const leave of ['resetAndDestroy', 'destroy', 'end'] as const) {
    const { url, log, gateway, far } = await startPair(t);
    const upstream = far();
    const socket = await openWebSocket(t, (await makeChannel(url)).connectUri);
    const other = await upstream;
    other.resume();
    (socket as unknown as { _socket: Socket })._socket[leave]();
    await once(other, 'close');
    t.match(
      await log.nextExchange(({ closeCode }) => closeCode === 1006),
      { status: 101, errorCode: null, aborted: true },
      leave,
    );
    t.equal(gateway.socketCount(), 0);
  }
});

const handshakeFor = (id: string) =>
  `GET /streaming/channels/${id} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: ` +
  `Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;

for (const [how, leave] of [
  ['resets', (raw: Socket) => raw.resetAndDestroy()],
  ['ends its side', (raw: Socket) => raw.end()],
  ['says something early and ends its side', (raw: Socket) => raw.end(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))],
  ['says a lot early and ends its side', (raw: Socket) => raw.end(Buffer.alloc(50_000, 0x80))],
] as const) {
  t.test(`a client that ${how} while the upstream thinks takes its handshake with it`, async (t) => {
    let asked = (_socket: Duplex) => {};
    const arrived = new Promise<Duplex>((resolve) => {
      asked = resolve;
    });
    const upstream = await startStreamingUpstream(t, (_request, socket) => asked(socket));
    const { url, port, log, gateway } = await startGatewayWith(t, configAt(upstream.origin));
    const { id } = await makeChannel(url);
    const raw = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    raw.on('error', () => {});
    raw.write(handshakeFor(id));
    const far = await arrived;
    far.resume().on('end', () => far.end());
    leave(raw);
    await once(far, 'close');
    t.match(await log.nextExchange(({ aborted }) => aborted), { status: 0 });
    t.equal(gateway.socketCount(), 0);
  });
}

t.test('what a client says while the upstream thinks is not lost, nor what it says then', async (t) => {
  const heard: Buffer[] = [];
  type Far = { accept: () => void; said: (bytes: number) => Promise<void> };
  let asked = (_far: Far) => {};
  const arrived = new Promise<Far>((resolve) => {
    asked = resolve;
  });
  const upstream = await startStreamingUpstream(t, (request, socket) => {
    const accept = () => {
      acceptHandshake(request, socket);
      socket.on('data', (chunk: Buffer) => void heard.push(chunk));
    };
    const said = async (bytes: number) => {
      while (Buffer.concat(heard).length < bytes) await once(socket, 'data');
    };
    asked({ accept, said });
  });
  const { url, port } = await startGatewayWith(t, configAt(upstream.origin));
  const raw = connect(port, '127.0.0.1');
  t.teardown(() => raw.destroy());
  raw.write(handshakeFor((await makeChannel(url)).id));
  const { accept, said } = await arrived;
  const frames = Buffer.concat(
    Array.from({ length: 10_000 }, (_, n) => Buffer.from([0x82, 0x82, 0, 0, 0, 0, n >> 8, n & 0xff])),
  );
  raw.write(frames);
  accept();
  await once(raw, 'data');
  raw.write(frames);
  await said(2 * frames.length);
  t.ok(Buffer.concat(heard).equals(Buffer.concat([frames, frames])));
});

t.test('an upstream that misses three beats is given up: 1001 to the client', async (t) => {
  const clock = createFakeClock();
  const { url, log, far } = await startPair(t, {}, clock);
  const upstream = far();
  const socket = await openWebSocket(t, (await makeChannel(url)).connectUri);
  const other = await upstream;
  const closed = closeOf(socket);
  const beat = async () => {
    const seen = once(socket, 'message');
    other.write(Buffer.from([0x81, 0x02, 0x6f, 0x6b]));
    await seen;
  };
  for (let beats = 0; beats < 10; beats++) {
    await clock.advance(30_000);
    await beat();
  }
  t.equal(socket.readyState, socket.OPEN, 'beats keep it');
  await clock.advance(SILENCE_MS + TICK_MS);
  t.equal((await closed).code, 1001);
  other.destroy();
  t.match(await log.nextExchange(({ closeCode }) => closeCode === 1001), { errorCode: 'gateway.upstream.timeout' });
});

t.test('an answer that is no acceptance is not taken for one', async (t) => {
  let answer = '';
  const upstream = await startStreamingUpstream(t, (_request, socket) => void socket.end(answer));
  const { url } = await startGatewayWith(t, configAt(upstream.origin));
  const { connectUri } = await makeChannel(url);
  const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
  for (const [text, code] of [
    [`${head}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n`, 'gateway.upstream.invalid'],
    [`${head}\r\n`, 'gateway.upstream.invalid'],
    // Node takes it for an answer as any other.
    ['HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n', 'gateway.upstream.invalid'],
    ['no HTTP at all\r\n\r\n', 'gateway.upstream.invalid'],
    ['', 'gateway.upstream.unreachable'],
  ] as const) {
    answer = text;
    t.match(await refusalOf(connectUri), { status: 502, code }, JSON.stringify(text.slice(-40)));
  }
  answer =
    'HTTP/1.1 503 Busy\r\nSet-Cookie: a=b\r\nX-Gateway-Error: forged\r\nRetry-After: 7\r\nTransfer-Encoding: ' +
    'chunked\r\n\r\n4\r\nwait\r\n0\r\n\r\n';
  t.match(await refusalOf(connectUri), { status: 503, code: undefined, body: 'wait' });
  answer = `HTTP/1.1 500 Long\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`;
  t.match(
    await refusalOf(connectUri),
    { status: 500, code: undefined, body: '' },
    'half a body must not look like a whole one',
  );
});

t.test(
  'an upstream that does not answer, or goes on about something else, is not waited for longer than timeouts.headers',
  async (t) => {
    const clock = createFakeClock();
    for (const isFlood of [false, true]) {
      let asked = () => {};
      const arrived = new Promise<void>((resolve) => {
        asked = resolve;
      });
      const upstream = await startStreamingUpstream(t, (_request, socket) => {
        if (isFlood) socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100));
        asked();
      });
      const { url } = await startGatewayWith(t, configAt(upstream.origin, { timeouts: { headersMs: 5_000 } }), clock);
      const refusal = refusalOf((await makeChannel(url)).connectUri);
      await arrived;
      await clock.advance(5_000);
      t.match(await refusal, { status: 504, code: 'gateway.upstream.timeout' });
    }
  },
);

t.test('an upstream that cannot be reached is said to be so', async (t) => {
  const { url, sandbox } = await startGateway(t);
  const { connectUri } = await makeChannel(url);
  await sandbox.close();
  t.match(await refusalOf(connectUri), { status: 502, code: 'gateway.upstream.unreachable' });
});
