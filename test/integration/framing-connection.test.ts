// Several requests on one connection: answers come in turn and whole, and what breaks the connection harms none of
// them.

import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { givenTokenConfig, ok, startBefore, untilClose } from '../helpers/direct.ts';
import { startGatewayWith } from '../helpers/gateway.ts';
import { exchangeRaw, startRawServer } from '../helpers/raw-http.ts';

const get = (path: string) => `GET /api/v2/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
const post = (path: string, length: number) =>
  `POST /api/v2/${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n`;
const pathOf = (request: string) => request.split(' ')[1] as string;
const statuses = (received: string) => [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1]));

t.test('pipelined requests are answered in order, whoever answers first upstream', async (t) => {
  const pair = await startBefore(t, (socket, request) => {
    if (pathOf(request) === '/api/v2/first') setImmediate(() => socket.write(ok('<first>')));
    else socket.write(ok('<second>'));
  });
  const received = await exchangeRaw(pair.port, get('first') + get('second'), (text) => text.includes('<second>'));
  t.strictSame(received.match(/<\w+>/g), ['<first>', '<second>']);
});

t.test('garbage behind a request is refused after that request is answered', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('<first>')));
  const received = await exchangeRaw(pair.port, `${get('first')}GARBAGE\r\n\r\n${get('third')}`, untilClose);
  t.strictSame(statuses(received), [200, 400]);
  t.match(received, /<first>HTTP\/1\.1 400/, 'the answer is whole');
  t.equal(pair.requests.length, 1);
});

t.test('an upgrade or a CONNECT behind a request waits for its answer', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('<first>')));
  const upgrade = 'GET /api/v2/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  t.strictSame(statuses(await exchangeRaw(pair.port, get('first') + upgrade, untilClose)), [200, 400]);
  t.strictSame(
    statuses(await exchangeRaw(pair.port, `${get('first')}CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n`, untilClose)),
    [200, 405],
  );
  t.equal(pair.requests.length, 2);
});

t.test('garbage in the middle of an answer waits for its end', async (t) => {
  let finish = () => {};
  const pair = await startBefore(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun');
    finish = () => void socket.write('ended');
  });
  const caller = connect(pair.port, '127.0.0.1');
  let received = '';
  caller.on('error', () => {}).setEncoding('latin1');
  caller.on('data', (text: string) => {
    received += text;
    if (received.endsWith('begun')) caller.write('GARBAGE\r\n\r\n', () => finish());
  });
  caller.write(get('x'));
  await once(caller, 'close');
  t.match(received, /\r\n\r\nbegunendedHTTP\/1\.1 400 /);
});

t.test('a body that breaks after its answer began ends the connection, and adds nothing to the answer', async (t) => {
  const upstream = await startRawServer(t, (socket) =>
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun')),
  );
  const { port, log } = await startGatewayWith(t, givenTokenConfig(upstream.origin));
  const caller = connect(port, '127.0.0.1');
  let received = '';
  caller.on('error', () => {}).setEncoding('latin1');
  caller.on('data', (text: string) => {
    received += text;
    if (received.endsWith('begun')) caller.write('zz\r\nbroken\r\n');
  });
  caller.write('POST /api/v2/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
  await once(caller, 'close');
  t.match(received, /\r\n\r\nbegun$/);
  t.match(await log.nextExchange(), { aborted: true });
});

t.test('a connection that is lost ends every exchange on it', async (t) => {
  let waiting = 0;
  const closed: Promise<unknown>[] = [];
  let allHere: () => void;
  const arrived = new Promise<void>((resolve) => {
    allHere = resolve;
  });
  const pair = await startBefore(t, (socket) => {
    closed.push(once(socket, 'close'));
    waiting += 1;
    if (waiting === 3) allHere();
  });
  const caller = connect(pair.port, '127.0.0.1');
  caller.on('error', () => {});
  caller.write(get('one') + get('two') + get('three'));
  await arrived;
  caller.resetAndDestroy();
  await Promise.all(closed);
  for (const name of ['one', 'two', 'three'])
    t.match(await pair.log.nextExchange((record) => record.target.endsWith(name)), { aborted: true, status: 0 }, name);
});

t.test('an answer that comes before the upload is over reaches the caller, and the connection goes on', async (t) => {
  const early = 'HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\n\r\nearly';
  const upstream = await startRawServer(t, (socket) =>
    socket.once('data', (data) => socket.write(String(data).startsWith('GET') ? ok('<second>') : early)),
  );
  const { port } = await startGatewayWith(t, givenTokenConfig(upstream.origin));
  const caller = connect(port, '127.0.0.1');
  t.teardown(() => caller.destroy());
  let received = '';
  const until = (end: string) =>
    new Promise<void>((resolve) => {
      const look = (text = '') => {
        received += text;
        if (!received.endsWith(end)) return;
        caller.off('data', look);
        resolve();
      };
      caller.on('data', look);
    });
  caller.setEncoding('latin1').write(post('x', 1_000_000) + 'x'.repeat(100_000));
  await until('early');
  caller.write('x'.repeat(900_000) + get('second'));
  await until('<second>');
  t.strictSame(statuses(received), [413, 200]);
});

t.test('an offer to switch to HTTP/2 is passed over', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('{}')));
  const offer =
    'GET /api/v2/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ' +
    'h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n\r\n';
  t.match(await exchangeRaw(pair.port, offer), /^HTTP\/1\.1 200 OK/);
  t.notMatch(pair.requests[0], /upgrade|http2|h2c/i, 'and does not go upstream');
});
