// A caller that leaves takes its upstream request along, in every phase, and the record says so. Tokens are nobody's: a
// renewal goes on.

import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { givenTokenConfig, ok, startBefore } from '../helpers/direct.ts';
import { startGateway, startGatewayWith } from '../helpers/gateway.ts';
import { closed, openCaller, signal } from '../helpers/raw-caller.ts';
import { exchangeRaw, startRawServer } from '../helpers/raw-http.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';
const leaving = [
  ['closes', (socket: Socket) => socket.destroy()],
  ['resets', (socket: Socket) => socket.resetAndDestroy()],
  ['ends its side', (socket: Socket) => socket.end()],
] as const;

/** A gateway before an upstream of which the test gets the socket and the octets as they come. */
async function startBeforeSocket(t: Test, onData: (socket: Socket, text: string) => void) {
  const upstream = await startRawServer(t, (socket) =>
    socket.setEncoding('latin1').on('data', (text: string) => onData(socket, text)),
  );
  return startGatewayWith(t, givenTokenConfig(upstream.origin));
}

for (const [how, leave] of leaving) {
  t.test(`a caller that ${how} while it waits for the headers`, async (t) => {
    const arrived = signal<Socket>();
    const { port, log } = await startBeforeSocket(t, arrived.fire);
    const caller = await openCaller(t, port);
    caller.socket.write(GET);
    const upstream = await arrived.fired;
    leave(caller.socket);
    await closed(upstream);
    t.match(await log.nextExchange(), { aborted: true, status: 0, attempts: 1, errorCode: null });
  });

  t.test(`a caller that ${how} in the midst of its upload`, async (t) => {
    const arrived = signal<Socket>();
    const { port, log } = await startBeforeSocket(
      t,
      (socket, text) => text.includes('first piece') && arrived.fire(socket),
    );
    const caller = await openCaller(t, port);
    caller.socket.write(
      'POST /api/v2/users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nfirst piece\r\n',
    );
    const upstream = await arrived.fired;
    leave(caller.socket);
    await closed(upstream);
    t.match(await log.nextExchange(), { aborted: true, status: 0, errorCode: null, requestBytes: 11 });
  });

  t.test(`a caller that ${how} in the midst of a download`, async (t) => {
    const { port, log } = await startBeforeSocket(t, (socket) =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\npart'),
    );
    const caller = await openCaller(t, port);
    caller.socket.write(GET);
    await caller.until((received) => received.endsWith('part'));
    leave(caller.socket);
    t.match(await log.nextExchange(), { aborted: true, status: 200, responseBytes: 4, errorCode: null });
  });
}

t.test('the upstream sees a download end with its reader', async (t) => {
  const cut = signal();
  const { port } = await startBeforeSocket(t, (socket) => {
    socket.on('close', () => cut.fire());
    const pump = () => {
      while (socket.writable && socket.write(Buffer.alloc(64 * 1024)));
    };
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n');
    socket.on('drain', pump);
    pump();
  });
  const caller = await openCaller(t, port);
  caller.socket.write(GET);
  await caller.until((received) => received.length > 1_000_000);
  caller.socket.destroy();
  await cut.fired;
  t.pass('the upstream connection was closed');
});

t.test('a caller that leaves before a small body is whole costs no upstream connection', async (t) => {
  let connections = 0;
  const upstream = await startRawServer(t, () => {
    connections += 1;
  });
  const { port, log } = await startGatewayWith(t, givenTokenConfig(upstream.origin));
  const caller = await openCaller(t, port);
  caller.socket.write('POST /api/v2/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf');
  caller.socket.end();
  t.match(await log.nextExchange(), { aborted: true, status: 0, attempts: 0, errorCode: null });
  t.equal(connections, 0);
});

t.test('a caller that leaves while it waits for a connection sends nothing later', async (t) => {
  let requests = '';
  const { origin } = await startRawServer(t, (socket) =>
    socket.on('data', (data) => {
      requests += data.toString('latin1');
    }),
  );
  // The handshake never ends: the call waits for its connection.
  const { port, log } = await startGatewayWith(t, givenTokenConfig(origin.replace('http:', 'https:')));
  const caller = await openCaller(t, port);
  caller.socket.write(GET);
  await new Promise<void>((resolve) => {
    const look = setInterval(() => {
      if (requests === '') return;
      clearInterval(look);
      resolve();
    }, 5);
  });
  caller.socket.destroy();
  t.match(await log.nextExchange(), { aborted: true, status: 0 });
  t.notMatch(requests, /GET/);
});

t.test('a caller that leaves while it waits for a token neither stops the renewal nor is served later', async (t) => {
  const { port, sandbox, log } = await startGateway(t, {
    sandbox: { switches: { tokenEndpoint: { fault: 'hang' } } },
    awaitReady: false,
  });
  if (sandbox.stats.inFlight.token === 0) await sandbox.events.next('held');
  const caller = await openCaller(t, port);
  caller.socket.write(GET);
  // By the time another call is answered, the gateway has seen what came before it.
  await exchangeRaw(port, 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  caller.socket.destroy();
  await exchangeRaw(port, 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const gone = log.nextExchange((record) => record.aborted);
  sandbox.set({ tokenEndpoint: null });
  sandbox.release();
  t.match(await gone, { aborted: true, status: 0 });
  t.match(await exchangeRaw(port, GET), /^HTTP\/1\.1 200 OK/, 'the token came all the same');
  t.equal(sandbox.stats.apiCallsTotal, 1, 'the call of the one that left was not made');
  t.equal(sandbox.stats.tokenRequestsTotal, 1);
});

t.test('a caller that leaves once it has its answer has not aborted', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('whole')));
  await exchangeRaw(pair.port, GET);
  t.match(await pair.log.nextExchange(), { aborted: false, status: 200, responseBytes: 5 });
});
