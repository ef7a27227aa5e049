import { once } from 'node:events';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { exchangeRaw, type Running, start } from '../unit/sandbox/harness.ts';

/** The next text on a socket, parsed. */
async function nextMessage(socket: WebSocket): Promise<unknown> {
  const [event] = await once(socket, 'message');
  return JSON.parse((event as MessageEvent).data);
}

async function openChannel({ call, sandbox }: Running) {
  const token = sandbox.issueToken({
    clientId: DEMO_CLIENTS.code.id,
    userId: 'a11ce000-0000-4000-8000-000000000001',
  }).value;
  const { body } = await call('/api/v2/notifications/channels', { method: 'POST', token });
  return { token, id: body.id as string, connectUri: body.connectUri as string, expires: body.expires as string };
}

async function openSocket(t: { teardown(fn: () => unknown): void }, connectUri: string) {
  const socket = new WebSocket(connectUri);
  t.teardown(() => socket.close());
  await once(socket, 'open');
  return socket;
}

t.test('a channel names its socket and lives a day; the socket beats and answers pings', async (t) => {
  const running = await start(t);
  const { id, connectUri, expires } = await openChannel(running);
  t.equal(connectUri, `${running.origin.replace('http', 'ws')}/channels/${id}`);
  t.equal(expires, '2026-01-02T00:00:00.000Z');
  const socket = await openSocket(t, connectUri);
  const beat = nextMessage(socket);
  await running.sandbox.heartbeat();
  t.same(await beat, { topicName: 'channel.metadata', eventBody: { message: 'WebSocket Heartbeat' } });
  const pong = nextMessage(socket);
  socket.send(JSON.stringify({ message: 'ping' }));
  t.same(await pong, { topicName: 'channel.metadata', eventBody: { message: 'pong' } });
  t.equal(running.sandbox.stats.sockets, 1);
});

t.test('the heartbeat comes by itself at its interval', async (t) => {
  const running = await start(t, { heartbeatMs: 5 });
  const socket = await openSocket(t, (await openChannel(running)).connectUri);
  t.match(await nextMessage(socket), { eventBody: { message: 'WebSocket Heartbeat' } });
  t.match(await nextMessage(socket), { eventBody: { message: 'WebSocket Heartbeat' } });
});

t.test('connectUri is built from the configured base', async (t) => {
  const { connectUri, id } = await openChannel(await start(t, { streamingBase: 'wss://streaming.example' }));
  t.equal(connectUri, `wss://streaming.example/channels/${id}`);
});

t.test('subscriptions are added, replaced and cleared, and decide which events arrive', async (t) => {
  const running = await start(t);
  const { call, sandbox } = running;
  const { id, token, connectUri } = await openChannel(running);
  const path = `/api/v2/notifications/channels/${id}/subscriptions`;
  const send = (method: string, topics: string[]) =>
    call(path, {
      method,
      token,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(topics.map((topic) => ({ id: topic }))),
    });
  const names = async () => (await call(path, { token })).body.entities.map((entity: { id: string }) => entity.id);
  await send('POST', ['a', 'b']);
  await send('POST', ['c']);
  t.same(await names(), ['a', 'b', 'c']);
  await send('PUT', ['d']);
  t.same(await names(), ['d']);
  const socket = await openSocket(t, connectUri);
  const event = nextMessage(socket);
  t.equal(await sandbox.notify('a', {}), 0);
  t.equal(await sandbox.notify('d', { n: 1 }), 1);
  t.match(await event, { topicName: 'd', eventBody: { n: 1 } });
  await call(path, { method: 'DELETE', token });
  t.same(await names(), []);
  t.equal(
    (
      await send(
        'POST',
        Array.from({ length: 1001 }, (_, index) => `t${index}`),
      )
    ).status,
    400,
  );
  t.equal((await call(path)).status, 404, "another's channel");
});

t.test('at the 21st channel of a user and application the oldest without a socket goes', async (t) => {
  const running = await start(t);
  const first = await openChannel(running);
  await openSocket(t, first.connectUri);
  const list = async () =>
    (await running.call('/api/v2/notifications/channels', { token: first.token })).body.entities.map(
      (entity: { id: string }) => entity.id,
    );
  const ids: string[] = [];
  for (let count = 0; count < 20; count++) ids.push((await openChannel(running)).id);
  t.same(await list(), [first.id, ...ids.slice(1)]);
});

t.test('an unknown channel, a bad handshake and a refusal by switch are answered in HTTP', async (t) => {
  const running = await start(t);
  const { id } = await openChannel(running);
  const ask = (path: string, version = 13) =>
    exchangeRaw(
      running.origin,
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: ` +
        `${version}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    );
  t.match(await ask('/channels/unknown'), /^HTTP\/1\.1 404 Not Found\r\n.*"code":"not\.found"/s);
  t.match(await ask(`/channels/${id}`, 8), /^HTTP\/1\.1 400 /);
  running.sandbox.set({ refuseSocket: { status: 503, next: 1 } });
  t.match(await ask(`/channels/${id}`), /^HTTP\/1\.1 503 /);
});

t.test('the end of the token, a newer socket and the test itself close a socket, each with its code', async (t) => {
  const running = await start(t);
  const { sandbox } = running;
  const { connectUri, id } = await openChannel(running);
  const closed = async (socket: WebSocket) => {
    const [event] = await once(socket, 'close');
    return (event as CloseEvent).code;
  };
  const [older, newer] = [await openSocket(t, connectUri), await openSocket(t, connectUri)];
  t.equal(await closed(older), 1000);
  const ended = closed(newer);
  sandbox.expireTokens();
  t.equal(await ended, 1008);
  const other = await openChannel(running);
  const third = await openSocket(t, other.connectUri);
  const told = closed(third);
  sandbox.socketOf(other.id)?.close(4001, 'enough');
  t.equal(await told, 4001);
  t.equal(sandbox.socketOf(id), undefined);
});

t.test('ping frames are answered by the client, and its texts and close are seen', async (t) => {
  const running = await start(t);
  const { sandbox } = running;
  const { connectUri, id } = await openChannel(running);
  const socket = await openSocket(t, connectUri);
  const { emitter } = sandbox.events;
  const pong = once(emitter, 'pong');
  await sandbox.socketOf(id)?.ping(Buffer.from('are you there'));
  t.match(await pong, [{ channelId: id, payload: Buffer.from('are you there') }]);
  const text = once(emitter, 'message');
  socket.send('héllo'.repeat(20_000));
  t.match(await text, [{ channelId: id, text: 'héllo'.repeat(20_000) }]);
  const end = once(emitter, 'socketClose');
  socket.close(4000, 'done');
  t.match(await end, [{ channelId: id, code: 4000, reason: 'done' }]);
});

t.test(
  "a client's ping is answered with its own octets, and an unmasked frame ends the socket with 1002",
  async (t) => {
    const running = await start(t);
    const { id } = await openChannel(running);
    const handshake =
      `GET /channels/${id} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ` +
      `websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
    const maskedPing = Buffer.from([0x89, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
    const unmaskedText = Buffer.from([0x81, 0x01, 0x78]);
    const answer = await exchangeRaw(running.origin, Buffer.concat([Buffer.from(handshake), maskedPing, unmaskedText]));
    t.match(answer, /^HTTP\/1\.1 101 .*Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/s);
    const frames = answer.slice(answer.indexOf('\r\n\r\n') + 4);
    t.equal(frames.slice(0, 4), '\x8a\x02hi');
    t.equal(frames.slice(4, 5) + frames.slice(6, 8), '\x88\x03\xea');
  },
);

t.test('closing the simulation ends its sockets', async (t) => {
  const running = await start(t);
  const socket = await openSocket(t, (await openChannel(running)).connectUri);
  const end = once(socket, 'close');
  await running.sandbox.close();
  await end;
  t.equal(running.sandbox.stats.sockets, 0);
});
