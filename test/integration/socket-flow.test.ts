// The flow of a notification client, unmodified: make a channel, open the connectUri of the answer, subscribe, listen.

import { once } from 'node:events';
import t from 'tap';
import { startGateway } from '../helpers/gateway.ts';
import { closeOf, makeChannel, nextMessages, openWebSocket } from '../helpers/sockets.ts';

async function subscribe(url: string, id: string, topics: string[]) {
  const body = JSON.stringify(topics.map((topic) => ({ id: topic })));
  const headers = { 'Content-Type': 'application/json' };
  return (await fetch(`${url}/api/v2/notifications/channels/${id}/subscriptions`, { method: 'POST', headers, body }))
    .status;
}

t.test('a channel made through the gateway is listened to through the gateway', async (t) => {
  const { url, sandbox } = await startGateway(t);
  const { id, connectUri, expires } = await makeChannel(url);
  t.equal(connectUri, `${url.replace('http', 'ws')}/streaming/channels/${id}`);
  t.ok(Date.parse(expires) > Date.now());
  const socket = await openWebSocket(t, connectUri, { autoPong: false });
  const beat = nextMessages(socket, 1);
  await sandbox.heartbeat();
  t.strictSame(await beat, [{ topicName: 'channel.metadata', eventBody: { message: 'WebSocket Heartbeat' } }]);
  t.equal(await subscribe(url, id, ['v2.users.a.presence', 'v2.users.b.presence']), 200);
  const events = nextMessages(socket, 200);
  for (let n = 0; n < 200; n++)
    await sandbox.notify(n % 2 === 0 ? 'v2.users.a.presence' : 'v2.users.b.presence', { n });
  t.strictSame(
    (await events).map((event) => (event as { eventBody: { n: number } }).eventBody.n),
    Array.from({ length: 200 }, (_, n) => n),
    'all events, in order',
  );
});

t.test("the platform's own ping, as a message, is answered", async (t) => {
  const { url } = await startGateway(t);
  const socket = await openWebSocket(t, (await makeChannel(url)).connectUri);
  const pong = nextMessages(socket, 1);
  socket.send(JSON.stringify({ message: 'ping' }));
  t.strictSame(await pong, [{ topicName: 'channel.metadata', eventBody: { message: 'pong' } }]);
});

t.test('pings go both ways, and it is the other end that answers them', async (t) => {
  const { url, sandbox } = await startGateway(t);
  const { id, connectUri } = await makeChannel(url);
  const socket = await openWebSocket(t, connectUri, { autoPong: false });
  const pong = once(socket, 'pong');
  socket.ping('from the client');
  t.equal(String((await pong)[0]), 'from the client');
  const ping = once(socket, 'ping');
  let pongs = 0;
  sandbox.events.emitter.on('pong', () => pongs++);
  await sandbox.socketOf(id)?.ping(Buffer.from('from the platform'));
  t.equal(String((await ping)[0]), 'from the platform');
  const answered = once(socket, 'pong');
  socket.ping('whatever the gateway had to say would have come before this');
  await answered;
  t.equal(pongs, 0, 'nobody answers for a client that does not');
  const seen = once(sandbox.events.emitter, 'pong');
  socket.pong('at last');
  t.match((await seen)[0], { channelId: id, payload: Buffer.from('at last') });
});

t.test('close codes and their words go both ways', async (t) => {
  const { url, sandbox, log, gateway } = await startGateway(t);
  const first = await makeChannel(url);
  const closing = await openWebSocket(t, first.connectUri);
  const seen = once(sandbox.events.emitter, 'socketClose');
  const closed = closeOf(closing);
  closing.close(4321, 'the client is done');
  t.match((await seen)[0], { channelId: first.id, code: 4321, reason: 'the client is done' });
  t.equal((await closed).code, 4321);

  const second = await makeChannel(url);
  const left = closeOf(await openWebSocket(t, second.connectUri));
  sandbox.socketOf(second.id)?.close(4002, 'the platform is done');
  t.strictSame(await left, { code: 4002, reason: 'the platform is done' });

  const record = await log.nextExchange(({ status, closeCode }) => status === 101 && closeCode === 4321);
  t.match(record, {
    method: 'GET',
    credential: 'default',
    route: /\/streaming\/channels/,
    source: 'upstream',
    errorCode: null,
    aborted: false,
  });
  t.equal(record.requestBytes, 6 + 2 + 'the client is done'.length, 'octets are counted as they are on the wire');
  await log.nextExchange(({ closeCode }) => closeCode === 4002);
  t.equal(gateway.socketCount(), 0);
});

t.test("Node's own WebSocket works as well", async (t) => {
  const { url, sandbox } = await startGateway(t);
  const { connectUri } = await makeChannel(url);
  const socket = new globalThis.WebSocket(connectUri);
  t.teardown(() => socket.close());
  await once(socket, 'open');
  const message = once(socket, 'message');
  await sandbox.heartbeat();
  t.match(JSON.parse((await message)[0].data), { topicName: 'channel.metadata' });
  const closed = once(socket, 'close');
  socket.close(1000, 'bye');
  t.match((await closed)[0], { code: 1000, wasClean: true });
});

t.test('the list of channels names the gateway too, and what it names can be opened', async (t) => {
  const { url, sandbox } = await startGateway(t);
  const made = [await makeChannel(url), await makeChannel(url)];
  const { entities } = (await (await fetch(`${url}/api/v2/notifications/channels`)).json()) as {
    entities: { id: string; connectUri: string }[];
  };
  t.strictSame(
    entities.map(({ connectUri }) => connectUri),
    made.map(({ connectUri }) => connectUri),
  );
  await openWebSocket(t, entities[1]?.connectUri ?? '');
  t.ok(sandbox.socketOf(entities[1]?.id ?? ''));
});
