// Upstreams that break off, babble or stall: the caller is told so, never handed a part as the whole, and never
// somebody else's answer.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { comparable, givenTokenConfig, ok, startBefore, untilClose } from '../helpers/direct.ts';
import { type ConfigOverrides, startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, startRawServer } from '../helpers/raw-http.ts';
import { isRefusal } from '../helpers/refusal.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';
const timeouts = (more: object) => ({
  timeouts: { connectMs: 5000, tokenMs: 4000, headersMs: 60_000, bodyMs: 300_000, totalWaitMs: 15_000, ...more },
});

const cuts: readonly (readonly [string, string, (socket: Socket) => void])[] = [
  ['a counted body that ends early', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart', (socket) => socket.end()],
  [
    'a counted body that is reset',
    'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart',
    (socket) => socket.resetAndDestroy(),
  ],
  [
    'a chunked body that ends between chunks',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n',
    (socket) => socket.end(),
  ],
  [
    'a chunked body that ends in a chunk',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\npart',
    (socket) => socket.end(),
  ],
  [
    'a chunked body that is reset',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n',
    (socket) => socket.resetAndDestroy(),
  ],
  [
    'a chunked body with a broken chunk',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n',
    () => {},
  ],
  [
    'a close-delimited body that is reset',
    'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\npart',
    (socket) => socket.resetAndDestroy(),
  ],
  [
    'a close-delimited body of HTTP/1.0 that is reset',
    'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\npart',
    (socket) => socket.resetAndDestroy(),
  ],
];

for (const [name, answer, finish] of cuts) {
  t.test(`${name} never looks complete`, async (t) => {
    let upstream!: Socket;
    const pair = await startBefore(t, (socket) => {
      upstream = socket;
      socket.write(answer);
    });
    const caller = connect(pair.port, '127.0.0.1');
    let received = '';
    const seen = new Promise<void>((resolve) => {
      caller.setEncoding('latin1').on('data', (text: string) => {
        received += text;
        if (received.includes('part')) resolve();
      });
    });
    caller.on('error', () => {});
    caller.write(GET);
    await seen;
    finish(upstream);
    await once(caller, 'close');
    t.match(received, /^HTTP\/1\.1 200 OK/);
    const chunked = /transfer-encoding: chunked/i.test(received);
    if (chunked) t.notMatch(received, /\r\n0\r\n\r\n$/, 'no last chunk');
    else t.match(received, /content-length: 100\r\n/i, 'less than was announced');
    t.match(await pair.log.nextExchange(), { status: 200, errorCode: /^gateway\.upstream\./ });
  });
}

const nonsense: readonly (readonly [string, string])[] = [
  ['a garbage status line', 'NONSENSE\r\n\r\n'],
  ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n'],
  ['a status that is no number', 'HTTP/1.1 abc OK\r\n\r\n'],
  ['a control character in the reason phrase', 'HTTP/1.1 200 O\x7fK\r\nContent-Length: 0\r\n\r\n'],
  ['headers over 64 KiB', `HTTP/1.1 200 OK\r\nX-Large: ${'x'.repeat(70 * 1024)}\r\n\r\n`],
  ['a bare line feed that would add a header', 'HTTP/1.1 200 OK\r\nX-A: 1\nX-Injected: 1\r\nContent-Length: 0\r\n\r\n'],
  ['a bare carriage return in a value', 'HTTP/1.1 200 OK\r\nX-A: 1\rX-Injected: 1\r\nContent-Length: 0\r\n\r\n'],
  ['a NUL in a value', 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n'],
  ['a folded header', 'HTTP/1.1 200 OK\r\nX-A: 1\r\n X-Folded: 1\r\nContent-Length: 0\r\n\r\n'],
  ['a header without a name', 'HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 0\r\n\r\n'],
  ['two Content-Lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 5\r\n\r\nhello'],
  [
    'a length and chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
  ],
  ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: 2,2\r\n\r\nhi'],
  ['an unasked 100', `HTTP/1.1 100 Continue\r\n\r\n${ok('late')}`],
  ['a 101 without a word of what to', 'HTTP/1.1 101 Switching Protocols\r\nContent-Length: 2\r\n\r\n{}'],
  ['an unasked 101', 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'],
];
for (const [name, answer] of nonsense) {
  t.test(`${name} is 502 gateway.upstream.invalid`, async (t) => {
    const pair = await startBefore(t, (socket) => socket.write(answer));
    isRefusal(t, await exchangeRaw(pair.port, GET), 502, 'gateway.upstream.invalid');
  });
}

for (const [name, finish] of [
  ['ended', (socket: Socket) => socket.end()],
  ['reset', (socket: Socket) => socket.resetAndDestroy()],
] as const) {
  t.test(`a connection ${name} before any answer is 502 gateway.upstream.unreachable`, async (t) => {
    const pair = await startBefore(t, (socket) => finish(socket));
    isRefusal(t, await exchangeRaw(pair.port, GET.replace('GET', 'POST')), 502, 'gateway.upstream.unreachable');
  });
  t.test(`a connection ${name} in the midst of the head is 502`, async (t) => {
    const pair = await startBefore(t, (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nX-A', () => finish(socket));
    });
    t.match(await exchangeRaw(pair.port, GET.replace('GET', 'POST')), /^HTTP\/1\.1 502 /);
  });
}

t.test('an endless flood of 1xx answers ends by the deadline', async (t) => {
  const pair = await startBefore(
    t,
    (socket) => {
      const flood = () =>
        socket.writable && socket.write('HTTP/1.1 102 Processing\r\n\r\n'.repeat(20), () => setImmediate(flood));
      flood();
    },
    timeouts({ headersMs: 300 }),
  );
  isRefusal(t, await exchangeRaw(pair.port, GET), 504, 'gateway.upstream.timeout');
});

t.test('headers that do not come, or come in drops, are 504', async (t) => {
  const silent = await startBefore(t, () => {}, timeouts({ headersMs: 150 }));
  isRefusal(t, await exchangeRaw(silent.port, GET), 504, 'gateway.upstream.timeout');
  const dripping = await startBefore(
    t,
    (socket) => socket.write('HTTP/1.1 200 OK\r\nX-A: '),
    timeouts({ headersMs: 150 }),
  );
  isRefusal(t, await exchangeRaw(dripping.port, GET), 504, 'gateway.upstream.timeout');
});

t.test('a body that stalls ends the connection, and the upstream’s', async (t) => {
  const pair = await startBefore(
    t,
    (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart'),
    timeouts({ bodyMs: 150, keepWarmMs: 0 }),
  );
  const received = await exchangeRaw(pair.port, GET, untilClose);
  t.match(received, /part$/);
  t.match(await pair.log.nextExchange(), { errorCode: 'gateway.upstream.timeout' });
  const [left] = pair.upstreamSockets;
  if (left) await once(left, 'close');
});

for (const [name, extra] of [
  ['garbage', 'extra'],
  ['a second answer', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison'],
] as const) {
  for (const when of ['at once', 'later'] as const) {
    t.test(`${name} behind a complete answer, ${when}, does not become the next one's`, async (t) => {
      const sockets = new Set<Socket>();
      const pair = await startBefore(t, (socket, request) => {
        sockets.add(socket);
        if (request.includes('/first')) {
          if (when === 'at once') socket.write(ok('first') + extra);
          else socket.write(ok('first'), () => setImmediate(() => socket.write(extra)));
        } else socket.write(ok('second'));
      });
      const closed = new Promise<void>((resolve) => {
        const look = setInterval(() => {
          const [socket] = sockets;
          if (!socket) return;
          clearInterval(look);
          if (socket.destroyed) resolve();
          else socket.once('close', () => resolve());
        }, 5);
      });
      t.equal(comparable(await exchangeRaw(pair.port, GET.replace('users', 'first'))).body, 'first');
      t.equal(comparable(await exchangeRaw(pair.port, GET.replace('users', 'second'))).body, 'second');
      await closed;
      t.pass('the connection was dropped');
    });
  }
}

async function gatewayTo(t: Parameters<typeof startBefore>[0], origin: string, overrides: ConfigOverrides = {}) {
  return startGatewayWith(t, givenTokenConfig(origin, overrides));
}

t.test('a port where nobody listens is 502 gateway.upstream.unreachable', async (t) => {
  const { port: free, server } = await startRawServer(t, () => {});
  await new Promise((resolve) => server.close(resolve));
  const { port } = await gatewayTo(t, `http://127.0.0.1:${free}`);
  isRefusal(t, await exchangeRaw(port, GET), 502, 'gateway.upstream.unreachable');
});

t.test('a name that does not resolve is 502 gateway.upstream.unreachable', async (t) => {
  const { port } = await gatewayTo(t, 'http://no-such-host.invalid:80');
  isRefusal(t, await exchangeRaw(port, GET), 502, 'gateway.upstream.unreachable');
});

t.test('a handshake that does not come is 504 gateway.upstream.timeout', async (t) => {
  const { port: upstream } = await startRawServer(t, (socket) => socket.resume());
  const { port } = await gatewayTo(t, `https://127.0.0.1:${upstream}`, timeouts({ connectMs: 200 }));
  isRefusal(t, await exchangeRaw(port, GET), 504, 'gateway.upstream.timeout');
});
