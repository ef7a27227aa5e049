// The region's certificate is verified, always: API calls and token requests alike, and no environment variable changes
// it.

import { once } from 'node:events';
import { createServer } from 'node:https';
import t, { type Test } from 'tap';
import { createTestCa } from '../helpers/certificates.ts';
import { givenTokenConfig, ok } from '../helpers/direct.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer, startRawServer } from '../helpers/raw-http.ts';
import { isRefusal } from '../helpers/refusal.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';
const ca = await createTestCa('Region Test CA');
const stranger = await createTestCa('Stranger CA');
t.teardown(() => {
  ca.close();
  stranger.close();
});
const tls = { caFile: ca.caFile, certFile: null, keyFile: null, keyPassphrase: null };

/** A TLS upstream; counts the requests that get through to it. */
async function startUpstream(
  t: Test,
  issued: { key: string; cert: string },
): Promise<{ origin: string; requests: number }> {
  const upstream = { origin: '', requests: 0 };
  const server = createServer({ key: issued.key, cert: issued.cert }, (_request, response) => {
    upstream.requests += 1;
    response.end('{"secure":true}');
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  upstream.origin = `https://localhost:${(server.address() as { port: number }).port}`;
  return upstream;
}

t.test('a trusted certificate for the right name passes', async (t) => {
  const upstream = await startUpstream(t, ca.issue(['localhost']));
  const { port } = await startGatewayWith(t, givenTokenConfig(upstream.origin, { tls }));
  t.match(parseAnswer(await exchangeRaw(port, GET)), { status: 200, body: /secure/ });
});

const yesterday = new Date(Date.now() - 86_400_000);
const refused: readonly (readonly [string, { key: string; cert: string }, RegExp])[] = [
  ['of an authority nobody trusts', stranger.issue(['localhost']), /not trusted.*Stranger CA.*tls\.ca_file/],
  [
    'that has expired',
    ca.issue(['localhost'], { notBefore: new Date(Date.now() - 2 * 86_400_000), notAfter: yesterday }),
    /expired/,
  ],
  ['that is not valid yet', ca.issue(['localhost'], { notBefore: new Date(Date.now() + 86_400_000) }), /not valid yet/],
  [
    'for another name',
    ca.issue(['api.mypurecloud.de'], { commonName: 'localhost' }),
    /other names \(DNS:api\.mypurecloud\.de\)/,
  ],
];

for (const [name, issued, message] of refused) {
  t.test(`a certificate ${name} is 502 gateway.upstream.tls, and no token leaves`, async (t) => {
    const upstream = await startUpstream(t, issued);
    const { port, log } = await startGatewayWith(t, givenTokenConfig(upstream.origin, { tls }));
    const received = await exchangeRaw(port, GET);
    isRefusal(t, received, 502, 'gateway.upstream.tls');
    t.match(JSON.parse(parseAnswer(received).body).message, message);
    t.equal(upstream.requests, 0);
    t.match(await log.nextExchange(), { status: 502, errorCode: 'gateway.upstream.tls' });
  });
}

t.test('a token endpoint with a certificate nobody trusts is 503, and gets no secret', async (t) => {
  const upstream = await startUpstream(t, stranger.issue(['localhost']));
  const { port } = await startGatewayWith(
    t,
    configAt(upstream.origin, { tls, reauthentication: { refreshTokenWaitMaxMs: 500 } }),
  );
  const received = await exchangeRaw(port, GET);
  isRefusal(t, received, 503, 'gateway.credential.unavailable');
  t.match(headerOf(parseAnswer(received), 'Retry-After'), /^[1-9]\d*$/);
  t.equal(upstream.requests, 0);
});

t.test('NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing', async (t) => {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  t.teardown(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED);
  const upstream = await startUpstream(t, stranger.issue(['localhost']));
  const { port } = await startGatewayWith(t, givenTokenConfig(upstream.origin, { tls }));
  isRefusal(t, await exchangeRaw(port, GET), 502, 'gateway.upstream.tls');
  t.equal(upstream.requests, 0);
});

t.test('an upstream that does not speak TLS is told apart', async (t) => {
  const plain = await startRawServer(t, (socket) => socket.once('data', () => socket.end(ok('{}'))));
  const { port } = await startGatewayWith(t, givenTokenConfig(plain.origin.replace('http:', 'https:'), { tls }));
  const received = await exchangeRaw(port, GET);
  isRefusal(t, received, 502, 'gateway.upstream.tls');
  t.match(received, /does not speak TLS/);
});
