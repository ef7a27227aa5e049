// What keeps a socket from being opened: the platform's refusal, which passes as it is, and the gateway's own.

import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, isOneAnswer, parseAnswer } from '../helpers/raw-http.ts';
import { makeChannel, openWebSocket, refusalOf } from '../helpers/sockets.ts';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const HANDSHAKE = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  `Sec-WebSocket-Key: ${KEY}`,
  'Sec-WebSocket-Version: 13',
]
  .map((line) => `${line}\r\n`)
  .join('');
const ask = async (port: number, id: string, lines: string, host = 'localhost', target = `/streaming/channels/${id}`) =>
  parseAnswer(await exchangeRaw(port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${lines}\r\n`, isAnswered));
const isAnswered = (received: string) => /^HTTP\/1\.1 101 .*\r\n\r\n/s.test(received) || isOneAnswer(received);

t.test("the platform's refusal passes with its status and body, and the next try may succeed", async (t) => {
  const { url, sandbox, log } = await startGateway(t);
  const { connectUri } = await makeChannel(url);
  for (const status of [403, 429, 503]) {
    sandbox.set({ refuseSocket: { status, next: 1 } });
    const refusal = await refusalOf(connectUri);
    t.match(refusal, { status, code: undefined });
    t.match(JSON.parse(refusal.body), { code: 'service.unavailable', status });
    const record = await log.nextExchange((each) => each.status === status);
    t.match(record, { source: 'upstream', errorCode: null, closeCode: null });
    t.ok(record.correlationId);
  }
  await openWebSocket(t, connectUri);
});

t.test('a caller that keeps its side open after a refusal holds nobody up', async (t) => {
  // An end that waits for it does not come before the file runs out of time.
  const config = { server: { drainTimeoutMs: 3_600_000 } };
  const { url, port, sandbox, gateway } = await startGateway(t, { config });
  const { id } = await makeChannel(url);
  sandbox.set({ refuseSocket: { status: 503, next: 1 } });
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  socket.write(`GET /streaming/channels/${id} HTTP/1.1\r\nHost: localhost\r\n${HANDSHAKE}\r\n`);
  await once(socket.resume(), 'end');
  await gateway.drain();
});

t.test('a page of another origin opens no socket, even with the right address', async (t) => {
  const { url, port, sandbox } = await startGateway(t, {
    config: { server: { corsOrigins: ['https://app.example'] } },
  });
  const { id } = await makeChannel(url);
  for (const lines of ['Origin: https://evil.example\r\n', 'Origin: null\r\n', 'Sec-Fetch-Site: cross-site\r\n']) {
    const answer = await ask(port, id, HANDSHAKE + lines);
    t.equal(answer.status, 403, lines);
    t.equal(headerOf(answer, 'x-gateway-error'), 'gateway.origin.forbidden');
  }
  t.equal(sandbox.stats.sockets, 0);
  for (const origin of ['https://app.example', `http://localhost:${port}`]) {
    t.equal((await ask(port, id, `${HANDSHAKE}Origin: ${origin}\r\n`, `localhost:${port}`)).status, 101, origin);
  }
});

t.test('a Host that is not the gateway’s opens none', async (t) => {
  const { url, port } = await startGateway(t);
  const { id } = await makeChannel(url);
  const answer = await ask(port, id, HANDSHAKE, 'rebound.example');
  t.equal(headerOf(answer, 'x-gateway-error'), 'gateway.host.forbidden');
  t.equal((await ask(port, id, `${HANDSHAKE}Host: localhost\r\n`)).status, 400, 'two of them');
});

t.test('what is no handshake is refused before the platform is asked', async (t) => {
  const { url, port, sandbox } = await startGateway(t);
  const { id } = await makeChannel(url);
  const before = sandbox.events.recent.length;
  const other = await ask(port, id, HANDSHAKE.replace('13', '8'));
  t.equal(other.status, 426, 'another version');
  t.equal(headerOf(other, 'sec-websocket-version'), '13');
  t.equal((await ask(port, id, HANDSHAKE.replace(KEY, 'c2hvcnQ='))).status, 400, 'a short key');
  t.equal((await ask(port, id, HANDSHAKE.replace(/Sec-WebSocket-Key.*?\r\n/, ''))).status, 400, 'no key');
  t.equal((await ask(port, id, `${HANDSHAKE}Content-Length: 3\r\n`)).status, 400, 'a body');
  t.equal((await ask(port, id, HANDSHAKE.replace('websocket', 'other'))).status, 400, 'another protocol');
  t.equal((await ask(port, id, HANDSHAKE, 'localhost', '/api/v2/users')).status, 400, 'another route');
  t.equal((await ask(port, id, HANDSHAKE, 'localhost', `/streaming/channels/${id}/x`)).status, 400, 'another route');
  t.equal((await ask(port, id, HANDSHAKE, 'localhost', `/x/../streaming/channels/${id}`)).status, 400, 'dot segments');
  t.equal((await ask(port, id, '')).status, 404, 'no upgrade at all');
  t.equal(sandbox.events.recent.length, before);
});

t.test('nothing of the caller goes upstream but its handshake', async (t) => {
  const { url, sandbox } = await startGateway(t, {
    config: {
      upstreamHeaders: [
        ['Genesys-App', 'test'],
        ['user_agent', 'ours'],
      ],
    },
  });
  const { connectUri } = await makeChannel(url);
  const asked = sandbox.events.next('request', ({ kind }) => kind === 'socket');
  const headers = {
    Cookie: 'a=b',
    'X-Gateway-Credential': 'default',
    'X-Other': 'x',
    Authorization: 'Bearer mine',
    'User-Agent': 'test-agent',
  };
  await openWebSocket(t, connectUri, { headers, perMessageDeflate: true });
  const { rawHeaders } = await asked;
  const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  t.strictSame(names.sort(), [
    'connection',
    'genesys-app',
    'host',
    'sec-websocket-extensions',
    'sec-websocket-key',
    'sec-websocket-version',
    'upgrade',
    'user_agent',
  ]);
  t.match(rawHeaders.join('|'), /user_agent\|ours/, 'ours takes the place of the one that came');
});
