// What is said on a socket is between its two ends: extensions, fragments, sizes, and what comes in one piece with the
// handshake.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { type WebSocket, WebSocketServer } from 'ws';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { acceptHandshake, makeChannel, openWebSocket, startStreamingUpstream } from '../helpers/sockets.ts';

const zeros = 'a message that compresses well '.repeat(5_000);

t.test('compression and a subprotocol are agreed between the two ends', async (t) => {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: { threshold: 0 },
    handleProtocols: (offered) => [...offered][1] ?? false,
  });
  const opened = once(server, 'connection') as Promise<[WebSocket]>;
  const upstream = await startStreamingUpstream(t, (request, socket, head) =>
    server.handleUpgrade(request, socket, head, (ws) => server.emit('connection', ws)),
  );
  const { url, log } = await startGatewayWith(t, configAt(upstream.origin));
  const { connectUri } = await makeChannel(url);
  const socket = await openWebSocket(t, connectUri, { perMessageDeflate: { threshold: 0 } });
  const [far] = await opened;
  t.match(socket.extensions, /permessage-deflate/);
  const second = await openWebSocket(t, connectUri, {}, ['one', 'two']);
  t.equal(second.protocol, 'two');
  const down = once(socket, 'message');
  far.send(zeros);
  t.equal(String((await down)[0]), zeros);
  const up = once(far, 'message');
  socket.send(zeros);
  t.equal(String((await up)[0]), zeros);
  socket.close(1000);
  const record = await log.nextExchange(({ closeCode }) => closeCode === 1000);
  t.ok(record.responseBytes < 10_000, `${record.responseBytes} octets on the wire for ${zeros.length}`);
  t.ok(record.requestBytes < 10_000);
});

t.test('octets that come with the handshake, on either side, are not lost', async (t) => {
  const frame = (text: string) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]);
  const upstream = await startStreamingUpstream(t, (request, socket) => {
    socket.cork();
    acceptHandshake(request, socket);
    socket.write(frame('first'));
    socket.write(frame('second'));
    process.nextTick(() => socket.uncork());
    socket.pipe(socket);
  });
  const { url, port } = await startGatewayWith(t, configAt(upstream.origin));
  const { id } = await makeChannel(url);
  const raw = connect(port, '127.0.0.1');
  t.teardown(() => raw.destroy());
  const early = randomBytes(300_000);
  raw.write(
    `GET /streaming/channels/${id} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: ` +
      `Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  raw.write(early);
  const chunks: Buffer[] = [];
  const wanted = Buffer.concat([frame('first'), frame('second'), early]);
  for await (const chunk of raw) {
    chunks.push(chunk as Buffer);
    const all = Buffer.concat(chunks);
    const at = all.indexOf('\r\n\r\n') + 4;
    if (all.length - at < wanted.length) continue;
    t.ok(all.subarray(at).equals(wanted), 'every octet, in order: frames or not, nobody looks into them');
    break;
  }
});

t.test('messages of many sizes, whole and in fragments, text and binary, arrive as they were sent', async (t) => {
  const server = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 * 1024 });
  const upstream = await startStreamingUpstream(t, (request, socket, head) =>
    server.handleUpgrade(request, socket, head, (ws) =>
      ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary })),
    ),
  );
  const { url } = await startGatewayWith(t, configAt(upstream.origin));
  const socket = await openWebSocket(t, (await makeChannel(url)).connectUri);
  for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000, 20_000_000]) {
    const sent = randomBytes(size);
    const echoed = once(socket, 'message') as Promise<[Buffer, boolean]>;
    const half = size >> 1;
    socket.send(sent.subarray(0, half), { fin: false, binary: true });
    socket.ping();
    socket.send(sent.subarray(half), { fin: true, binary: true });
    const [data, isBinary] = await echoed;
    t.ok(isBinary && data.equals(sent), `${size} octets`);
  }
});
