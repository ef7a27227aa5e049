// A gateway before a gateway, as [gateway] makes it: each leads its callers to itself, and the socket goes through
// both.

import { once } from 'node:events';
import t from 'tap';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { inlineSecret } from '../../src/secret.ts';
import { clientNamed } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';
import { startGatewayProcess } from '../helpers/gateway-process.ts';
import { closeOf, makeChannel, nextMessages, openWebSocket } from '../helpers/sockets.ts';

t.test('a socket goes through two gateways, the far one with clients of its own', async (t) => {
  const { id: name, secret } = DEMO_CLIENTS.clientCredentials;
  const far = await startGateway(t, {
    config: { clients: [clientNamed(name, { secret: inlineSecret(secret as string, 'test') })] },
  });
  const near = await startGatewayProcess(t, far.url);
  const { id, connectUri } = await makeChannel(near.url);
  t.equal(
    connectUri,
    `${near.url.replace('http', 'ws')}/streaming/channels/${id}`,
    'nothing of the far gateway is seen',
  );
  const socket = await openWebSocket(t, connectUri);
  t.equal(far.gateway.socketCount(), 1);
  const beat = nextMessages(socket, 1);
  await far.sandbox.heartbeat();
  t.match(await beat, [{ topicName: 'channel.metadata' }]);
  const seen = once(far.sandbox.events.emitter, 'socketClose');
  const closed = closeOf(socket);
  socket.close(4000, 'done');
  t.match((await seen)[0], { channelId: id, code: 4000, reason: 'done' });
  t.equal((await closed).code, 4000);
  t.match(await far.log.nextExchange(({ closeCode }) => closeCode === 4000), { client: name });
});
