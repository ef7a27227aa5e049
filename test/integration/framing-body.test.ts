// Bodies that are too large, too slow or broken, and expectations: each told in our words, while the caller can still
// read them.

import { once } from 'node:events';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { givenTokenConfig, ok, startBefore, untilClose } from '../helpers/direct.ts';
import { startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, startRawServer } from '../helpers/raw-http.ts';
import { isRefusal, refusedBy } from '../helpers/refusal.ts';

const post = (lines: string, body = '') => `POST /api/v2/users HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n\r\n${body}`;
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

t.test('a counted body over server.max_body_bytes is 413, read or not', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()), { server: { maxBodyBytes: 1000 } });
  for (const size of [1001, 100_000, 5_000_000]) {
    isRefusal(
      t,
      await refusedBy(pair.port, post(`Content-Length: ${size}`, 'x'.repeat(size))),
      413,
      'gateway.body.too.large',
    );
  }
  t.strictSame(pair.requests, [], 'nothing went upstream');
  t.match(
    await exchangeRaw(pair.port, post('Content-Length: 1000', 'x'.repeat(1000))),
    /^HTTP\/1\.1 200/,
    'a body of just the limit passes',
  );
});

t.test('a chunked body over server.max_body_bytes is 413, and the upstream request is cut', async (t) => {
  const ends: Promise<unknown>[] = [];
  const upstream = await startRawServer(t, (socket) => {
    // Not the connection that is opened for the next call: it carries nothing, and stays.
    socket.once('data', () => ends.push(once(socket, 'close')));
  });
  const { port, log } = await startGatewayWith(
    t,
    givenTokenConfig(upstream.origin, { server: { maxBodyBytes: 1000 } }),
  );
  const body = chunk('x'.repeat(600)) + chunk('y'.repeat(600));
  isRefusal(
    t,
    await exchangeRaw(port, post('Transfer-Encoding: chunked', `${body}0\r\n\r\n`)),
    413,
    'gateway.body.too.large',
  );
  await Promise.all(ends);
  t.match(await log.nextExchange(), { status: 413, errorCode: 'gateway.body.too.large', aborted: false });
});

for (const [kind, request] of [
  ['counted', post('Content-Length: 100', 'half')],
  ['large counted', post('Content-Length: 100000', 'half')],
  ['chunked', post('Transfer-Encoding: chunked', chunk('half'))],
] as const) {
  t.test(`a ${kind} body that stalls is 408`, async (t) => {
    const pair = await startBefore(t, () => {}, {
      timeouts: { connectMs: 5000, tokenMs: 4000, headersMs: 60_000, bodyMs: 100, totalWaitMs: 15_000 },
    });
    const received = await exchangeRaw(pair.port, request);
    isRefusal(t, received, 408);
    t.match(received, /\r\nConnection: close\r\n/);
    t.match(await pair.log.nextExchange(), { status: 408, errorCode: 'gateway.request.invalid' });
  });
}

t.test('a caller that stalls longer than timeouts.headers is not taken for an upstream that does', async (t) => {
  const pair = await startBefore(t, () => {}, {
    timeouts: { connectMs: 5000, tokenMs: 4000, headersMs: 50, bodyMs: 300, totalWaitMs: 15_000 },
  });
  isRefusal(t, await exchangeRaw(pair.port, post('Transfer-Encoding: chunked', chunk('half'))), 408);
});

t.test('a chunked body that breaks is 400, and the upstream request is cut', async (t) => {
  const { server, origin } = await startRawServer(t, (socket) => socket.resume());
  const { port } = await startGatewayWith(t, givenTokenConfig(origin));
  const dialled = once(server, 'connection');
  const caller = connect(port, '127.0.0.1');
  let received = '';
  caller.setEncoding('latin1').on('data', (text: string) => {
    received += text;
  });
  caller.write(post('Transfer-Encoding: chunked', chunk('good')));
  const [upstream] = await dialled;
  const cut = once(upstream, 'close');
  caller.write('zz\r\nbad\r\n');
  await Promise.all([cut, once(caller, 'close')]);
  isRefusal(t, received, 400);
});

t.test('headers of more than 64 KiB are 431', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()));
  isRefusal(t, await refusedBy(pair.port, post(`X-Large: ${'x'.repeat(65 * 1024)}`)), 431);
  isRefusal(
    t,
    await refusedBy(pair.port, `GET /api/v2/${'x'.repeat(65 * 1024)} HTTP/1.1\r\nHost: localhost\r\n\r\n`),
    431,
  );
  isRefusal(t, await refusedBy(pair.port, post(`X-Large: ${'x'.repeat(2 * 1024 * 1024)}`)), 431);
  t.strictSame(pair.requests, []);
});

t.test('headers that come too slowly are 408, in time', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()), { server: { headerTimeoutMs: 150 } });
  const startedAt = performance.now();
  isRefusal(t, await refusedBy(pair.port, 'GET /api/v2/users HTTP/1.1\r\nHost: loc'), 408);
  t.ok(performance.now() - startedAt < 20_000, 'not after Node’s own 30 s');
  t.strictSame(pair.requests, []);
});

const expecting = (lines: string, body = '') => post(`Expect: 100-continue\r\n${lines}`, body);

t.test('Expect: 100-continue is met when the body is wanted', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('done')));
  const caller = connect(pair.port, '127.0.0.1');
  t.teardown(() => caller.destroy());
  caller.setEncoding('latin1').write(expecting('Content-Length: 5'));
  t.equal((await once(caller, 'data'))[0], 'HTTP/1.1 100 Continue\r\n\r\n');
  caller.write('hello');
  t.match((await once(caller, 'data'))[0], /^HTTP\/1\.1 200 OK[\s\S]*done$/);
  t.match(pair.requests[0], /hello$/);
  t.notMatch(pair.requests[0], /expect/i);
});

t.test('a call that is refused does not ask for the body', async (t: Test) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()), { server: { maxBodyBytes: 1000 } });
  isRefusal(t, await exchangeRaw(pair.port, expecting('Content-Length: 1001')), 413, 'gateway.body.too.large');
  isRefusal(
    t,
    await exchangeRaw(pair.port, expecting('Content-Length: 5\r\nOrigin: https://evil.test')),
    403,
    'gateway.origin.forbidden',
  );
  isRefusal(
    t,
    await exchangeRaw(pair.port, expecting('Content-Length: 5').replace('/api/v2/users', '/nobody/api/v2/users')),
    404,
    'gateway.credential.unknown',
  );
});

t.test('Expect in HTTP/1.0 is no expectation', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('done')));
  t.match(
    await exchangeRaw(pair.port, expecting('Content-Length: 5', 'hello').replace('HTTP/1.1', 'HTTP/1.0'), untilClose),
    /^HTTP\/1\.1 200 OK[\s\S]*done$/,
  );
});
