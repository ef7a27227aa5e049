// End-to-end request headers reach the upstream in order, casing and number, whatever they are called.

import t from 'tap';
import { NO_CONTENT, sameAsDirect } from '../helpers/direct.ts';

const withHeaders = (lines: readonly string[], method = 'GET') =>
  `${method} /api/v2/users HTTP/1.1\r\nHost: localhost\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

const cases: readonly (readonly [string, readonly string[]])[] = [
  [
    'order and casing stay',
    [
      'X-Zebra: 1',
      'aCCept: */*',
      'x-alpha: 2',
      'ACCEPT-ENCODING: gzip',
      'purecloud-sdk: 257.1.0',
      'User-Agent: axios/1',
    ],
  ],
  ['repeated headers stay apart and in place', ['X-A: 1', 'X-B: 2', 'x-a: 3', 'X-A: 1', 'Accept: a', 'accept: b']],
  ['a GET may have a Content-Type', ['Content-Type: application/json', 'Accept: application/json']],
  ['a Content-Type may be empty', ['Content-Type:', 'X-After: 1']],
  ['a Content-Type may be nonsense', ['Content-Type: ;;;/ %', 'X-After: 1']],
  ['values may hold any octet above 127', ['X-Name: caf\xe9 \xff\x80', 'X-Utf8: \xc3\xa9']],
  [
    'values may be empty, long, or full of commas and quotes',
    ['X-Empty:', `X-Long: ${'v'.repeat(20_000)}`, 'X-List: a, "b, c",, d'],
  ],
  [
    'names that JavaScript objects know are names',
    ['constructor: 1', '__proto__: 2', 'toString: 3', 'hasOwnProperty: 4', '__defineGetter__: 5'],
  ],
  ['names of odd characters pass', ["x!#$%&'*+.^_`|~9: 1"]],
  [
    'conditional and range headers pass',
    ['If-None-Match: "a"', 'Range: bytes=0-1', 'If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT'],
  ],
  ['trace context passes', ['traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'tracestate: a=b']],
  ['3,000 headers pass, every one', Array.from({ length: 3000 }, (_, index) => `X-${index}: ${index}`)],
];

for (const [name, lines] of cases)
  t.test(name, (t) => sameAsDirect(t, { request: withHeaders(lines), answer: NO_CONTENT }));
