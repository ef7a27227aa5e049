// Sockets leave the network as every call does: through the corporate proxy, with the upstream's certificate verified
// behind it.

import { once } from 'node:events';
import t, { type Test } from 'tap';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { inlineSecret } from '../../src/secret.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import {
  DANTED,
  missingProgram,
  SQUID,
  startConnectProxy,
  startDante,
  startSocksProxy,
  startSquid,
  startTinyproxy,
  TINYPROXY,
} from '../helpers/proxies.ts';
import {
  closeOf,
  makeChannel,
  nextMessages,
  openWebSocket,
  refusalOf,
  startStreamingUpstream,
} from '../helpers/sockets.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());
const password = 'proxy-password';
const login = { username: 'corp', password: inlineSecret(password, 'test') };

/** The whole flow over TLS, with the simulation behind the proxy, and nothing that goes another way. */
async function assertCarried(
  t: Test,
  scheme: string,
  proxy: { port: number; username: string | null; password: string | null },
  asked?: string[],
) {
  const sandbox = createSandbox();
  const { port } = await sandbox.listen({ tls: ca.issue(['localhost']) });
  t.teardown(() => sandbox.close());
  const config = configAt(`https://localhost:${port}`, {
    proxy: {
      url: `${scheme}://127.0.0.1:${proxy.port}`,
      off: false,
      username: proxy.username,
      password: proxy.password === null ? null : inlineSecret(proxy.password, 'test'),
    },
    tls: { caFile: ca.caFile },
  });
  const { url, gateway } = await startGatewayWith(t, config);
  await gateway.runtime().credentials.default()?.source.token();
  const { id, connectUri } = await makeChannel(url);
  const before = asked?.length ?? 0;
  const socket = await openWebSocket(t, connectUri);
  if (asked) {
    t.equal(asked.length, before + 1, 'a tunnel of its own');
    t.strictSame([...new Set(asked)], [`localhost:${port}`], 'and nothing went another way');
  }
  const beat = nextMessages(socket, 1);
  await sandbox.heartbeat();
  t.match(await beat, [{ topicName: 'channel.metadata' }]);
  const pong = nextMessages(socket, 1);
  socket.send(JSON.stringify({ message: 'ping' }));
  t.match(await pong, [{ eventBody: { message: 'pong' } }]);
  const seen = once(sandbox.events.emitter, 'socketClose');
  const closed = closeOf(socket);
  socket.close(1000, 'done');
  t.match((await seen)[0], { channelId: id, code: 1000, reason: 'done' });
  t.equal((await closed).code, 1000);
}

for (const [scheme, start, named] of [
  ['http', () => startConnectProxy({ login: `corp:${password}` }), 'corp'],
  ['https', () => startConnectProxy({ login: `corp:${password}`, tls: ca.issue(['127.0.0.1']) }), 'corp'],
  ['socks5h', () => startSocksProxy({ login: `corp:${password}` }), 'corp'],
  ['socks4a', () => startSocksProxy(), null],
] as const) {
  t.test(`through a ${scheme} proxy`, async (t) => {
    const proxy = await start();
    t.teardown(() => proxy.close());
    await assertCarried(t, scheme, { port: proxy.port, username: named, password: named && password }, proxy.asked);
  });
}

for (const [name, scheme, missing, start] of [
  ['squid', 'http', missingProgram(SQUID), startSquid],
  ['tinyproxy', 'http', missingProgram(TINYPROXY), startTinyproxy],
  ['dante', 'socks5h', missingProgram(DANTED, { needsRoot: true }), startDante],
] as const) {
  t.test(`through ${name} itself`, { skip: missing ?? false }, async (t) => {
    const proxy = await start();
    t.teardown(() => proxy.close());
    await assertCarried(t, scheme, proxy);
  });
}

t.test('an upstream whose certificate is not trusted gets no handshake', async (t) => {
  const stranger = await createTestCa('Stranger');
  t.teardown(() => stranger.close());
  const trusted = await startStreamingUpstream(t, () => t.fail('the wrong one was asked'), ca.issue(['127.0.0.1']));
  const untrusted = await startStreamingUpstream(
    t,
    () => t.fail('a handshake was sent'),
    stranger.issue(['127.0.0.1']),
  );
  trusted.uri = (id) => `${untrusted.origin.replace('http', 'ws')}/channels/${id}`;
  const config = configAt(trusted.origin, { tls: { caFile: ca.caFile } });
  const streaming = { origin: untrusted.origin.replace('http', 'ws'), pathPrefix: '' };
  const credentials = config.credentials.map((credential) => ({
    ...credential,
    hosts: { ...credential.hosts, streaming },
  }));
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
