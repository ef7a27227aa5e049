// Sockets leave the network as every call does: through the corporate proxy, with the upstream's certificate verified behind it.

import { once } from 'node:events';
import t from 'tap';
import { inlineSecret } from '../../src/config/secret-source.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { startConnectProxy, startSocksProxy } from '../helpers/proxies.ts';
import { closeOf, makeChannel, nextMessages, openWebSocket, refusalOf, startStreamingUpstream } from '../helpers/sockets.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());
const login = { username: 'corp', password: inlineSecret('proxy-password', 'test') };

for (const [scheme, start] of [
  ['http', () => startConnectProxy({ login: 'corp:proxy-password' })],
  ['https', () => startConnectProxy({ login: 'corp:proxy-password', tls: ca.issue(['127.0.0.1']) })],
  ['socks5h', () => startSocksProxy({ login: 'corp:proxy-password' })],
  ['socks4a', () => startSocksProxy()],
] as const) {
  t.test(`through a ${scheme} proxy`, async (t) => {
    const proxy = await start();
    t.teardown(() => proxy.close());
    const sandbox = createSandbox();
    const { origin } = await sandbox.listen({ tls: ca.issue(['127.0.0.1']) });
    t.teardown(() => sandbox.close());
    const config = configAt(origin, {
      proxy: { url: `${scheme}://127.0.0.1:${proxy.port}`, off: false, ...(scheme === 'socks4a' ? {} : login) },
      tls: { caFile: ca.caFile },
    });
    const { url, gateway } = await startGatewayWith(t, config);
    await gateway.runtime().credentials.default()?.source.token();
    const { id, connectUri } = await makeChannel(url);
    const before = proxy.asked.length;
    const socket = await openWebSocket(t, connectUri);
    t.equal(proxy.asked.length, before + 1, 'a tunnel of its own');
    t.strictSame([...new Set(proxy.asked)], [new URL(origin).host], 'and nothing went another way');
    const beat = nextMessages(socket, 1);
    await sandbox.heartbeat();
    t.match(await beat, [{ topicName: 'channel.metadata' }]);
    const seen = once(sandbox.events.emitter, 'socketClose');
    const closed = closeOf(socket);
    socket.close(1000, 'done');
    t.match((await seen)[0], { channelId: id, code: 1000, reason: 'done' });
    t.equal((await closed).code, 1000);
  });
}

t.test('an upstream whose certificate is not trusted gets no handshake', async (t) => {
  const stranger = await createTestCa('Stranger');
  t.teardown(() => stranger.close());
  const trusted = await startStreamingUpstream(t, () => t.fail('the wrong one was asked'), ca.issue(['127.0.0.1']));
  const untrusted = await startStreamingUpstream(t, () => t.fail('a handshake was sent'), stranger.issue(['127.0.0.1']));
  trusted.uri = (id) => `${untrusted.origin.replace('http', 'ws')}/channels/${id}`;
  const config = configAt(trusted.origin, { tls: { caFile: ca.caFile } });
  const streaming = { origin: untrusted.origin.replace('http', 'ws'), pathPrefix: '' };
  const credentials = config.credentials.map((credential) => ({ ...credential, hosts: { ...credential.hosts, streaming } }));
  const { url } = await startGatewayWith(t, { ...config, credentials });
  const refusal = await refusalOf((await makeChannel(url)).connectUri);
  t.match(refusal, { status: 502, code: 'gateway.upstream.tls' });
  t.match(refusal.body, /Stranger/);
});

t.test('what the proxy refuses is its refusal, and shows no password', async (t) => {
  const upstream = await startStreamingUpstream(t, () => t.fail('a handshake was sent'));
  const proxy = await startConnectProxy({ login: 'corp:right' });
  t.teardown(() => proxy.close());
  const base = configAt(upstream.origin);
  const { url, gateway } = await startGatewayWith(t, base);
  const { connectUri } = await makeChannel(url);
  gateway.replace({ ...base, proxy: { ...base.proxy, url: `http://127.0.0.1:${proxy.port}`, off: false, ...login } });
  const refusal = await refusalOf(connectUri);
  t.match(refusal, { status: 502, code: 'gateway.proxy.auth' });
  t.notMatch(refusal.body, /proxy-password/);
});
