// The channel API's answers: only the addresses in them change, and only these calls pay for it.

import { gzipSync } from 'node:zlib';
import t from 'tap';
import { createTestCa } from '../helpers/certificates.ts';
import { type ConfigOverrides, configAt, startGateway, startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer, startRawUpstream } from '../helpers/raw-http.ts';
import { openWebSocket } from '../helpers/sockets.ts';

/** A gateway before an upstream that answers every call with the octets of `answer`. */
async function startBefore(
  t: Parameters<typeof startGateway>[0],
  answer: () => Buffer | string,
  overrides: ConfigOverrides = {},
) {
  const upstream = await startRawUpstream(t, (socket, request) => {
    if (!request.startsWith('POST /oauth/token')) return void socket.write(answer());
    const body = '{"access_token":"an-opaque-token","token_type":"bearer","expires_in":86400}';
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  });
  const { port } = await startGatewayWith(t, configAt(upstream.origin, overrides));
  const ask = async (line: string, lines = '') =>
    parseAnswer(await exchangeRaw(port, `${line} HTTP/1.1\r\nHost: localhost:${port}\r\n${lines}\r\n`));
  return { port, ask, upstream };
}
const MAKE = 'POST /api/v2/notifications/channels';
const answerOf = (body: Buffer | string, lines = '', status = '200 OK') =>
  Buffer.concat([
    Buffer.from(`HTTP/1.1 ${status}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${lines}\r\n`),
    Buffer.from(body),
  ]);

t.test('status, headers and all other octets stay, the length is right', async (t) => {
  const text = '{ "id" : "a1",\t"connectUri":"wss://elsewhere/channels/a1" , "x" : 1.0e1, "é" : "\\u00e9" }\n';
  const { ask, port } = await startBefore(t, () =>
    answerOf(text, 'X-Odd: 1\r\nContent-Type: application/json\r\nETag: "e"\r\n'),
  );
  const answer = await ask(MAKE, 'Content-Length: 0\r\n');
  const wanted = text.replace('wss://elsewhere/channels/a1', `ws://localhost:${port}/streaming/channels/a1`);
  t.equal(Buffer.from(answer.body, 'latin1').toString(), wanted);
  t.equal(headerOf(answer, 'content-length'), String(Buffer.byteLength(wanted)));
  t.strictSame(
    answer.headers.slice(0, 4).map(([name]) => name),
    ['Content-Length', 'X-Odd', 'Content-Type', 'ETag'],
  );
});

t.test('a chunked answer is rewritten too', async (t) => {
  const text = '{"id":"a1","connectUri":"wss://elsewhere/channels/a1"}';
  const chunks =
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: ` +
    `chunked\r\n\r\n5\r\n${text.slice(0, 5)}\r\n${(text.length - 5).toString(16)}\r\n${text.slice(5)}\r\n0\r\n\r\n`;
  const { ask, port } = await startBefore(t, () => chunks);
  t.equal(
    JSON.parse((await ask(MAKE, 'Content-Length: 0\r\n')).body).connectUri,
    `ws://localhost:${port}/streaming/channels/a1`,
  );
});

t.test('these calls ask for an answer that can be read, and no others do', async (t) => {
  const { ask, upstream } = await startBefore(t, () => answerOf('{}'));
  const lines = 'Accept-Encoding: gzip, br\r\nX-Last: 1\r\n';
  await ask('GET /api/v2/notifications/channels', lines);
  await ask('GET /api/v2/notifications/channels/a1/subscriptions', lines);
  const [channels, others] = upstream.requests.slice(-2);
  t.match(channels, /^accept-encoding: identity\r$/im);
  t.notMatch(channels, /gzip/);
  t.match(others, /^Accept-Encoding: gzip, br\r$/m);
});

t.test('what cannot be read, or is no success, passes as it came', async (t) => {
  const json = '{"id":"a1","connectUri":"wss://elsewhere/channels/a1"}';
  const long = JSON.stringify({ connectUri: 'wss://elsewhere/channels/a1', id: 'a1', x: 'x'.repeat(1024 * 1024) });
  let answer: Buffer = Buffer.alloc(0);
  const { ask } = await startBefore(t, () => answer);
  for (const [body, lines, status] of [
    [gzipSync(json), 'Content-Encoding: gzip\r\n', '200 OK'],
    [Buffer.from(json), '', '400 Bad Request'],
    [Buffer.from(`${json}x`), '', '200 OK'],
    [Buffer.from('<html>connectUri</html>'), '', '200 OK'],
    [Buffer.from(''), '', '200 OK'],
    [Buffer.from(long), '', '200 OK'],
  ] as const) {
    answer = answerOf(body, lines, status);
    const got = await ask(MAKE, 'Content-Length: 0\r\n');
    t.equal(got.body.length, body.length);
    t.ok(Buffer.from(got.body, 'latin1').equals(body), `${status} ${lines || body.subarray(0, 20)}`);
  }
});

t.test('an answer that breaks off is a failure, not half a channel', async (t) => {
  const upstream = await startRawUpstream(t, (socket, request) => {
    if (request.startsWith('POST /oauth/token')) {
      const body = '{"access_token":"an-opaque-token","token_type":"bearer","expires_in":86400}';
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    } else
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id":"a1","connectUri":"wss://elsewhere/channels/a1"');
  });
  const { port } = await startGatewayWith(t, configAt(upstream.origin));
  const answer = parseAnswer(
    await exchangeRaw(port, `${MAKE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`),
  );
  t.equal(answer.status, 502);
  t.notMatch(answer.body, /elsewhere/);
});

t.test('public_url is the address that callers get', async (t) => {
  const { ask } = await startBefore(t, () => answerOf('{"id":"a1","connectUri":"wss://elsewhere/channels/a1"}'), {
    server: { publicUrl: 'https://gw.example/genesys/' },
  });
  const { body } = await ask(MAKE, 'Content-Length: 0\r\n');
  t.equal(JSON.parse(body).connectUri, 'wss://gw.example/genesys/streaming/channels/a1');
});

t.test('behind a certificate of ours the address is wss, and leads to a socket', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const { certFile, keyFile } = ca.issue(['127.0.0.1']);
  const { url, port } = await startGateway(t, {
    config: { server: { tls: { certFile, keyFile, clientCaFile: null } } },
  });
  t.match(url, /^https:/);
  const { request } = await import('node:https');
  const body = await new Promise<string>((resolve, reject) => {
    const call = request(
      { host: '127.0.0.1', port, path: '/api/v2/notifications/channels', method: 'POST', ca: ca.caPem },
      async (answer) => {
        let text = '';
        for await (const chunk of answer) text += chunk;
        resolve(text);
      },
    );
    call.on('error', reject).end();
  });
  const { connectUri, id } = JSON.parse(body);
  t.equal(connectUri, `wss://127.0.0.1:${port}/streaming/channels/${id}`);
  await openWebSocket(t, connectUri, { ca: ca.caPem });
});
