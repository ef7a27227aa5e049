// Request bodies reach the upstream untouched, with the framing the caller chose.

import t from 'tap';
import { ok, sameAsDirect } from '../helpers/direct.ts';

const octets = String.fromCharCode(...Array.from({ length: 256 }, (_, index) => index));
const counted = (method: string, body: string, lines = 'Content-Type: application/json\r\n') =>
  `${method} /api/v2/users HTTP/1.1\r\nHost: localhost\r\n${lines}Content-Length: ${body.length}\r\n\r\n${body}`;
const chunked = (method: string, pieces: readonly string[]) =>
  [
    `${method} /api/v2/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n`,
    'Transfer-Encoding: chunked\r\n\r\n',
    ...pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`),
    '0\r\n\r\n',
  ].join('');

const cases: readonly (readonly [string, string])[] = [
  ['a JSON body keeps its spaces and escapes', counted('POST', '{ "a" : "\\u00e9",\r\n"b":1.0 }')],
  ['a body of every octet passes', counted('PUT', octets, 'Content-Type: application/octet-stream\r\n')],
  ['a body without a Content-Type passes', counted('POST', 'x=1', '')],
  ['a body with an empty Content-Type passes', counted('POST', 'x=1', 'Content-Type:\r\n')],
  [
    'a body that is not what its Content-Type says passes',
    counted('POST', '{"broken', 'Content-Type: application/json\r\n'),
  ],
  ['a compressed body is not looked into', counted('POST', '\x1f\x8b\x08\x00', 'Content-Encoding: gzip\r\n')],
  ['a POST without a body passes', 'POST /api/v2/users HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n\r\n'],
  ['a POST with Content-Length 0 passes', counted('POST', '')],
  ['a GET with a body passes', counted('GET', '{"q":1}')],
  ['a DELETE with a body passes', counted('DELETE', '{"ids":[1]}')],
  ['a counted body of 200 kB passes', counted('POST', 'b'.repeat(200_000))],
  ['a counted body of 1 MiB passes', counted('PATCH', 'b'.repeat(1024 * 1024))],
  ['a chunked body passes', chunked('POST', ['one', 'two', octets])],
  ['an empty chunked body passes', chunked('POST', [])],
  ['a chunked GET passes', chunked('GET', ['x'])],
  [
    'a chunked body of 300 kB passes',
    chunked(
      'PUT',
      Array.from({ length: 30 }, () => 'c'.repeat(10_000)),
    ),
  ],
  [
    'a multipart body passes',
    counted(
      'POST',
      '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n',
      'Content-Type: multipart/form-data; boundary=b\r\n',
    ),
  ],
  ['a form passes', counted('POST', 'a=1&b=%20+', 'Content-Type: application/x-www-form-urlencoded\r\n')],
];

for (const [name, request] of cases)
  t.test(name, (t) => sameAsDirect(t, { request, answer: ok('{}', ['Content-Type: application/json']) }));
