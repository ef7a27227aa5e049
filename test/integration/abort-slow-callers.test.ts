// Callers that are slow are slow alone: others are served meanwhile, and nothing piles up in memory.

import type { Socket } from 'node:net';
import t from 'tap';
import { givenTokenConfig, ok, startBefore } from '../helpers/direct.ts';
import { startGatewayWith } from '../helpers/gateway.ts';
import { openCaller, type RawCaller } from '../helpers/raw-caller.ts';
import { exchangeRaw, startRawServer } from '../helpers/raw-http.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';

t.test('100 slow uploads of every kind do not delay honest callers, uploads among them', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('{}')));
  const kinds = [
    'Content-Length: 100\r\n\r\nslow',
    'Content-Length: 1000000\r\n\r\nslow',
    'Transfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n',
  ];
  const slow: RawCaller[] = [];
  for (let index = 0; index < 100; index += 1) {
    const caller = await openCaller(t, pair.port);
    caller.socket.write(`POST /api/v2/slow HTTP/1.1\r\nHost: localhost\r\n${kinds[index % kinds.length]}`);
    slow.push(caller);
  }
  const big = `POST /api/v2/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(200_000)}`;
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => exchangeRaw(pair.port, index % 2 ? big : GET)),
  );
  for (const answer of answers) t.match(answer, /^HTTP\/1\.1 200 OK/);
  t.equal(pair.requests.filter((request) => request.includes('/slow')).length, 0, 'the slow ones are still at it');
  for (const caller of slow) t.equal(caller.received(), '');
});

t.test('100 slow uploads beyond the first 64 KiB do not delay honest uploads', async (t) => {
  const upstream = await startRawServer(t, (socket) =>
    socket.on('data', (data) => String(data).includes('honest') && socket.write(ok('{}'))),
  );
  const { port } = await startGatewayWith(t, givenTokenConfig(upstream.origin));
  for (let index = 0; index < 100; index += 1) {
    const caller = await openCaller(t, port);
    caller.socket.write(
      'PUT /api/v2/slow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n',
    );
  }
  const honest = 'PUT /api/v2/honest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n';
  for (const answer of await Promise.all(
    Array.from({ length: 10 }, () => exchangeRaw(port, honest + 'x'.repeat(70_000))),
  ))
    t.match(answer, /^HTTP\/1\.1 200 OK/);
});

t.test('100 readers that stall do not delay honest callers', async (t) => {
  const rest = Buffer.alloc(8 * 1024 * 1024);
  const upstream = await startRawServer(t, (socket) =>
    socket.on('data', (data) => {
      if (!String(data).includes('/endless')) socket.write(ok('{}'));
      else {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n');
        socket.write(rest);
      }
    }),
  );
  const { port, log } = await startGatewayWith(t, givenTokenConfig(upstream.origin));
  const stalled: RawCaller[] = [];
  for (let index = 0; index < 100; index += 1) {
    const caller = await openCaller(t, port);
    // Its head is read and then nothing more: from there on the gateway must hold the rest back.
    const begun = new Promise<void>((resolve) => {
      caller.socket.once('data', () => {
        caller.socket.pause();
        resolve();
      });
    });
    caller.socket.write('GET /api/v2/endless HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await begun;
    stalled.push(caller);
  }
  for (const answer of await Promise.all(Array.from({ length: 20 }, () => exchangeRaw(port, GET))))
    t.match(answer, /^HTTP\/1\.1 200 OK/);
  t.equal(
    log.exchanges.filter(({ target }) => target.includes('endless')).length,
    0,
    'the stalled ones are still at it',
  );
});

t.test('a reader that stalls makes the upstream wait, and gets everything in the end', async (t) => {
  const TOTAL = 64 * 1024 * 1024;
  let written = 0;
  let paused!: (socket: Socket) => void;
  const stalled = new Promise<Socket>((resolve) => {
    paused = resolve;
  });
  const pair = await startBefore(t, (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${TOTAL}\r\n\r\n`);
    const block = Buffer.alloc(256 * 1024);
    let quiet: NodeJS.Timeout;
    const pump = () => {
      clearTimeout(quiet);
      while (written < TOTAL) {
        written += block.length;
        if (!socket.write(block)) break;
      }
      // Nothing has moved for a while: the upstream has been told to wait.
      quiet = setTimeout(() => paused(socket), 200);
    };
    socket.on('drain', pump);
    pump();
  });
  const caller = await openCaller(t, pair.port);
  caller.socket.pause();
  caller.socket.removeAllListeners('data');
  caller.socket.write(GET);
  await stalled;
  t.ok(
    written < 24 * 1024 * 1024,
    `the upstream wrote ${Math.round(written / 1024 / 1024)} MiB of 64, system buffers included`,
  );
  let length = 0;
  caller.socket.on('data', (text: string) => {
    length += text.length;
    if (length >= TOTAL) caller.socket.destroy();
  });
  caller.socket.resume();
  await new Promise((resolve) => caller.socket.on('close', resolve));
  t.ok(length >= TOTAL, 'all of it');
});

t.test('a reader that never goes on is cut by timeouts.body, and the upstream is let go', async (t) => {
  const timeouts = { connectMs: 5000, tokenMs: 4000, headersMs: 60_000, bodyMs: 200, totalWaitMs: 15_000 };
  const pair = await startBefore(
    t,
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n');
      const pump = () => {
        while (socket.writable && socket.write(Buffer.alloc(256 * 1024)));
      };
      socket.on('drain', pump);
      pump();
    },
    { timeouts },
  );
  const caller = await openCaller(t, pair.port);
  caller.socket.pause();
  caller.socket.write(GET);
  t.match(await pair.log.nextExchange(), { errorCode: 'gateway.upstream.timeout', status: 200 });
});
