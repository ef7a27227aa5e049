// Answers reach the caller untouched: status, reason, headers, body, and how the body ends.

import { gzipSync } from 'node:zlib';
import t from 'tap';
import { comparable, isHead, ok, sameAsDirect, startBefore, untilClose } from '../helpers/direct.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';

const request = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n';
const octets = String.fromCharCode(...Array.from({ length: 256 }, (_, index) => index));
const zipped = gzipSync('{"a":"simulated"}').toString('latin1');
const date = 'Date: Thu, 01 Jan 2026 00:00:00 GMT';

const answers: readonly (readonly [string, string])[] = [
  ['a body of every octet', ok(octets)],
  ['an answer without Date gets none', ok('{}')],
  ['a Date of the upstream stays', ok('{}', [date])],
  [
    'gzip stays gzip',
    ok(zipped, ['Content-Encoding: gzip', 'Vary: Accept-Encoding', 'Content-Type: application/json']),
  ],
  [
    'order, casing and repetition of headers',
    ok('x', [
      'ETag: "1"',
      'x-lower: 1',
      'LINK: <a>',
      'link: <b>',
      'X-UPPER: 2',
      'x-lower: 3',
      'WWW-Authenticate: A',
      'WWW-Authenticate: B',
    ]),
  ],
  [
    'headers with octets above 127 and empty values',
    ok('x', ['X-Name: caf\xe9\xff', 'X-Empty:', 'Content-Disposition: attachment; filename="\xe9.txt"']),
  ],
  ['an odd reason phrase', 'HTTP/1.1 200 Not Really  OK, (but) "fine"\r\nContent-Length: 0\r\n\r\n'],
  ['a reason phrase in UTF-8', 'HTTP/1.1 200 Tr\xc3\xa8s bien\r\nContent-Length: 0\r\n\r\n'],
  ['an empty reason phrase', 'HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n'],
  ['an unknown status', 'HTTP/1.1 299 Something\r\nContent-Length: 2\r\n\r\nok'],
  ['an unknown class of status', 'HTTP/1.1 799 Something\r\nContent-Length: 2\r\n\r\nok'],
  [
    'an error of the platform',
    'HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 20\r\nININ-Correlation-Id: ' +
      'abc\r\n\r\n{"code":"not.found"}',
  ],
  [
    'a chunked body',
    `HTTP/1.1 200 OK\r\n${date}\r\nTransfer-Encoding: ` +
      `chunked\r\n\r\n3\r\nabc\r\n${octets.length.toString(16)}\r\n${octets}\r\n0\r\n\r\n`,
  ],
  ['an empty chunked body', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['204', 'HTTP/1.1 204 No Content\r\nETag: "2"\r\n\r\n'],
  ['304 with the length of what was not sent', 'HTTP/1.1 304 Not Modified\r\nETag: "3"\r\nContent-Length: 77\r\n\r\n'],
  [
    '1,000 headers',
    ok(
      'x',
      Array.from({ length: 1000 }, (_, index) => `X-H-${index}: ${index}`),
    ),
  ],
  ['names that JavaScript objects know', ok('x', ['constructor: 1', '__proto__: 2', 'toString: 3'])],
];

for (const [name, answer] of answers) {
  t.test(`passes: ${name}`, (t) =>
    sameAsDirect(t, { request, answer, ...(/ 304 | 204 /.test(answer) && { isDone: isHead }) }),
  );
}

t.test('passes: a body that ends with the connection', (t) =>
  sameAsDirect(t, {
    request,
    answer: `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n${octets}`,
    closes: true,
    isDone: (text) => text.endsWith('0\r\n\r\n'),
  }),
);

t.test('a caller that speaks HTTP/1.0 gets the body, its end marked by the end of the connection', async (t) => {
  const pair = await startBefore(t, (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nold'));
  const received = await exchangeRaw(pair.port, 'GET /api/v2/users HTTP/1.0\r\nHost: localhost\r\n\r\n', untilClose);
  t.notMatch(received, /transfer-encoding/i);
  t.equal(comparable(received).body, 'old');
});

t.test('a reason phrase that is no UTF-8 becomes the usual one, and the answer passes', async (t) => {
  const pair = await startBefore(t, (socket) =>
    socket.write(Buffer.from('HTTP/1.1 200 Tr\xe8s bien\r\nContent-Length: 2\r\n\r\nok', 'latin1')),
  );
  const { startLine, body } = comparable(await exchangeRaw(pair.port, request));
  t.equal(startLine, 'HTTP/1.1 200 OK');
  t.equal(body, 'ok');
});

t.test('early hints are dropped, the answer passes', async (t) => {
  const pair = await startBefore(t, (socket) =>
    socket.write(`HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n${ok('late')}`),
  );
  const received = await exchangeRaw(pair.port, request);
  t.match(received, /^HTTP\/1\.1 200 OK\r\n/);
  t.equal(comparable(received).body, 'late');
});
