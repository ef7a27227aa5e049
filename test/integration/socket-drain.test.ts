// What a shutdown means to sockets: both ends are told 1001, each behind the frame that is under way, and nothing new
// is opened.

import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import t from 'tap';
import { configAt, startGateway, startGatewayWith } from '../helpers/gateway.ts';
import {
  acceptHandshake,
  closeOf,
  makeChannel,
  openWebSocket,
  refusalOf,
  startStreamingUpstream,
} from '../helpers/sockets.ts';

t.test('both ends are told 1001 and the gateway is gone, without a deadline that would end it', async (t) => {
  const { url, sandbox, gateway, log } = await startGateway(t, { config: { server: { drainTimeoutMs: 3_600_000 } } });
  const sockets = await Promise.all(
    Array.from({ length: 5 }, async () => openWebSocket(t, (await makeChannel(url)).connectUri)),
  );
  const codes: number[] = [];
  sandbox.events.emitter.on('socketClose', ({ code }) => codes.push(code));
  const ends = Promise.all(sockets.map(closeOf));
  await gateway.drain();
  t.strictSame(
    (await ends).map(({ code }) => code),
    Array(5).fill(1001),
  );
  t.strictSame(codes, Array(5).fill(1001), 'the platform was told, in frames a client may send');
  t.equal(gateway.socketCount(), 0);
  t.equal(
    log.exchanges.filter(
      ({ status, closeCode, errorCode }) => status === 101 && closeCode === 1001 && errorCode === null,
    ).length,
    5,
  );
});

t.test('a frame that is under way is finished before 1001', async (t) => {
  let far: Duplex | undefined;
  const upstream = await startStreamingUpstream(t, (request, socket) => {
    acceptHandshake(request, socket);
    far = socket;
  });
  const { url, gateway } = await startGatewayWith(t, configAt(upstream.origin, { server: { drainTimeoutMs: 500 } }));
  const socket = await openWebSocket(t, (await makeChannel(url)).connectUri);
  const text = 'x'.repeat(70_000);
  const head = Buffer.from([0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
  far?.write(Buffer.concat([head, Buffer.from(text.slice(0, 30_000))]));
  let pings = 0;
  socket.on('ping', () => pings++);
  const raw = (socket as unknown as { _socket: Duplex & { bytesRead: number } })._socket;
  while (raw.bytesRead < 30_000) await once(raw, 'data');
  const closed = closeOf(socket);
  const message = once(socket, 'message');
  const drained = gateway.drain();
  far?.write(Buffer.concat([Buffer.from(text.slice(30_000)), Buffer.from([0x89, 0x00])]));
  t.equal(String((await message)[0]), text);
  t.equal((await closed).code, 1001);
  await drained;
  t.equal(pings, 0, 'what came behind the frame was not passed on');
});

t.test('an end that does not answer 1001 is not waited for long', async (t) => {
  const upstream = await startStreamingUpstream(t, (request, socket) => {
    acceptHandshake(request, socket);
    socket.resume();
  });
  const { url, gateway } = await startGatewayWith(t, configAt(upstream.origin, { server: { drainTimeoutMs: 200 } }));
  const socket = await openWebSocket(t, (await makeChannel(url)).connectUri);
  const closed = closeOf(socket);
  await gateway.drain();
  t.equal((await closed).code, 1001);
  t.equal(gateway.socketCount(), 0);
});

t.test('a handshake that is under way is given up with 503', async (t) => {
  let asked = () => {};
  const arrived = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const upstream = await startStreamingUpstream(t, () => asked());
  const { url, gateway, log } = await startGatewayWith(t, configAt(upstream.origin));
  const { connectUri } = await makeChannel(url);
  const refusal = refusalOf(connectUri);
  await arrived;
  const drained = gateway.drain();
  t.match(await refusal, { status: 503, code: 'gateway.draining' });
  await drained;
  t.match(await log.nextExchange(({ errorCode }) => errorCode === 'gateway.draining'), {
    status: 503,
    source: 'gateway',
  });
});
