// What is ambiguous in a request's framing is refused in our own words, and nothing of it, nor of what follows on the
// connection, goes upstream.

import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';
import { isRefusal, refusedBy } from '../helpers/refusal.ts';

const pair = await startBefore(t, (socket) => socket.write(ok('{}')));
const NEXT = 'GET /api/v2/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n';
const head = (lines: readonly string[], start = 'POST /api/v2/users HTTP/1.1') =>
  `${[start, ...lines].join('\r\n')}\r\n\r\n`;
const chunks = '5\r\nhello\r\n0\r\n\r\n';

const refused: readonly (readonly [string, string, number?])[] = [
  ['no Host', head(['Accept: */*'], 'GET /api/v2/users HTTP/1.1')],
  ['an empty Host', head(['Host:'], 'GET /api/v2/users HTTP/1.1')],
  ['two Host lines', head(['Host: localhost', 'Host: localhost'], 'GET /api/v2/users HTTP/1.1')],
  ['two Host lines in different spellings', head(['Host: localhost', 'hOST: 127.0.0.1'], 'GET /api/v2/users HTTP/1.1')],
  ['HTTP/0.9 with a version', head(['Host: localhost'], 'GET /api/v2/users HTTP/0.9')],
  ['HTTP/0.9 without a version', 'GET /api/v2/users\r\n\r\n'],
  ['HTTP/2.0 in the request line', head(['Host: localhost'], 'GET /api/v2/users HTTP/2.0')],
  ['HTTP/1.2', head(['Host: localhost'], 'GET /api/v2/users HTTP/1.2')],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  [
    'Transfer-Encoding in HTTP/1.0',
    head(['Host: localhost', 'Transfer-Encoding: chunked'], 'POST /api/v2/users HTTP/1.0') + chunks,
  ],
  ['Transfer-Encoding gzip, chunked', head(['Host: localhost', 'Transfer-Encoding: gzip, chunked']) + chunks],
  ['Transfer-Encoding gzip', head(['Host: localhost', 'Transfer-Encoding: gzip']) + chunks],
  ['Transfer-Encoding identity', head(['Host: localhost', 'Transfer-Encoding: identity', 'Content-Length: 0'])],
  ['Transfer-Encoding chunked, chunked', head(['Host: localhost', 'Transfer-Encoding: chunked, chunked']) + chunks],
  [
    'Transfer-Encoding twice',
    head(['Host: localhost', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked']) + chunks,
  ],
  ['Transfer-Encoding with a parameter', head(['Host: localhost', 'Transfer-Encoding: chunked;q=1']) + chunks],
  ['Transfer-Encoding xchunked', head(['Host: localhost', 'Transfer-Encoding: xchunked']) + chunks],
  ['an empty Transfer-Encoding', head(['Host: localhost', 'Transfer-Encoding:', 'Content-Length: 0'])],
  [
    'Transfer-Encoding and Content-Length',
    head(['Host: localhost', 'Transfer-Encoding: chunked', 'Content-Length: 3']) + chunks,
  ],
  [
    'Content-Length and Transfer-Encoding',
    head(['Host: localhost', 'Content-Length: 3', 'Transfer-Encoding: chunked']) + chunks,
  ],
  ['two equal Content-Lengths', `${head(['Host: localhost', 'Content-Length: 5', 'Content-Length: 5'])}hello`],
  ['two different Content-Lengths', `${head(['Host: localhost', 'Content-Length: 5', 'content-length: 0'])}hello`],
  ['Content-Length +5', `${head(['Host: localhost', 'Content-Length: +5'])}hello`],
  ['Content-Length 5,5', `${head(['Host: localhost', 'Content-Length: 5,5'])}hello`],
  ['Content-Length 0x5', `${head(['Host: localhost', 'Content-Length: 0x5'])}hello`],
  ['Content-Length -1', head(['Host: localhost', 'Content-Length: -1'])],
  ['an empty Content-Length', head(['Host: localhost', 'Content-Length:'])],
  ['a Content-Length beyond 64 bits', head(['Host: localhost', 'Content-Length: 99999999999999999999'])],
  ['a chunk size that is none', `${head(['Host: localhost', 'Transfer-Encoding: chunked'])}zz\r\nhello\r\n0\r\n\r\n`],
  ['bare line feeds', 'GET /api/v2/users HTTP/1.1\nHost: localhost\n\n'],
  ['a bare line feed between headers', 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n'],
  ['a bare carriage return in a value', head(['Host: localhost', 'X-A: 1\rX-B: 2'], 'GET /api/v2/users HTTP/1.1')],
  ['a space before the colon', head(['Host : localhost'], 'GET /api/v2/users HTTP/1.1')],
  [
    'a space before the colon of Transfer-Encoding',
    head(['Host: localhost', 'Transfer-Encoding : chunked', 'Content-Length: 0']),
  ],
  ['a name that is no token', head(['Host: localhost', 'X(A): 1'], 'GET /api/v2/users HTTP/1.1')],
  ['a line without a colon', head(['Host: localhost', 'nonsense'], 'GET /api/v2/users HTTP/1.1')],
  ['a folded line', head(['Host: localhost', 'X-A: 1', ' folded'], 'GET /api/v2/users HTTP/1.1')],
  ['a folded first line', head([' Host: localhost'], 'GET /api/v2/users HTTP/1.1')],
  ['a NUL in a value', head(['Host: localhost', 'X-A: a\0b'], 'GET /api/v2/users HTTP/1.1')],
  ['a control character in a value', head(['Host: localhost', 'X-A: a\x01b'], 'GET /api/v2/users HTTP/1.1')],
  ['a method nobody knows', head(['Host: localhost'], 'STEAL /api/v2/users HTTP/1.1')],
  ['a method in lower case', head(['Host: localhost'], 'get /api/v2/users HTTP/1.1')],
  ['TRACE', head(['Host: localhost'], 'TRACE /api/v2/users HTTP/1.1'), 405],
  ['CONNECT', head(['Host: example.com:443'], 'CONNECT example.com:443 HTTP/1.1'), 405],
  ['CONNECT to a path', head(['Host: localhost'], 'CONNECT /api/v2/users HTTP/1.1'), 405],
  [
    'an upgrade to WebSocket',
    head(
      [
        'Host: localhost',
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version: 13',
      ],
      'GET /api/v2/users HTTP/1.1',
    ),
  ],
  ['another expectation', head(['Host: localhost', 'Expect: 200-ok'], 'GET /api/v2/users HTTP/1.1'), 417],
  ['garbage', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
];

for (const [name, request, status = 400] of refused) {
  t.test(`refuses ${name}`, async (t) => {
    isRefusal(t, await refusedBy(pair.port, request + NEXT), status);
    t.strictSame(pair.requests, [], 'nothing went upstream, the request behind it neither');
  });
}

t.test('the gateway is unharmed, and has not so much as begun with what came behind', async (t) => {
  t.match(await exchangeRaw(pair.port, NEXT.replace('smuggled', 'good')), /^HTTP\/1\.1 200 OK/);
  t.equal(pair.requests.length, 1);
  await pair.gateway.drain();
  t.strictSame(
    pair.log.exchanges.filter(({ target }) => target === '/api/v2/smuggled'),
    [],
  );
});
