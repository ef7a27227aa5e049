// What the framing check makes of a request as Node hands it out; the cases that Node's parser refuses itself are
// proven on the wire.

import type { IncomingMessage } from 'node:http';
import t from 'tap';
import { isGatewayError } from '../../../src/errors.ts';
import { assertFraming } from '../../../src/server/framing.ts';

const message = (
  more: Partial<Pick<IncomingMessage, 'method' | 'url' | 'rawHeaders' | 'httpVersionMajor' | 'httpVersionMinor'>>,
) =>
  ({
    method: 'GET',
    url: '/x',
    rawHeaders: ['Host', 'a:1'],
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    ...more,
  }) as IncomingMessage;
const statusOf = (more: Parameters<typeof message>[0]): number => {
  try {
    assertFraming(message(more));
    return 0;
  } catch (error) {
    return isGatewayError(error) && error.code === 'gateway.request.invalid' ? error.statusCode : -1;
  }
};

t.test('origin-form passes as it is, absolute-form of the same host is cut', async (t) => {
  t.strictSame(assertFraming(message({ url: '/a%2F?b#c' })), { host: 'a:1', target: '/a%2F?b#c' });
  t.strictSame(assertFraming(message({ url: 'http://A:1/x?y=//z' })), { host: 'a:1', target: '/x?y=//z' });
  t.strictSame(assertFraming(message({ url: 'HTTPS://a:1' })), { host: 'a:1', target: '/' });
  t.strictSame(assertFraming(message({ url: 'http://a:1?q' })), { host: 'a:1', target: '/?q' });
  t.strictSame(assertFraming(message({ url: '*', method: 'OPTIONS' })), { host: 'a:1', target: '/*' });
});

t.test('other targets are 400', async (t) => {
  for (const url of [
    '',
    '*',
    'a:1',
    'x',
    'http://b/x',
    'http://a:2/x',
    'http://a:1@b/x',
    'http://b@a:1/x',
    'http:///x',
    'ws://a:1/x',
    'http:/a:1/x',
    '\\x',
  ])
    t.equal(statusOf({ url }), 400, url);
});

t.test('versions, methods and expectations', async (t) => {
  for (const [major, minor] of [
    [0, 9],
    [2, 0],
    [1, 2],
    [3, 0],
  ])
    t.equal(statusOf({ httpVersionMajor: major as number, httpVersionMinor: minor as number }), 400);
  t.equal(statusOf({ httpVersionMinor: 0 }), 0);
  for (const method of ['TRACE', 'CONNECT']) t.equal(statusOf({ method }), 405, method);
  for (const [value, status] of [
    ['100-continue', 0],
    ['100-Continue', 0],
    ['200-ok', 417],
    ['', 417],
    ['100-continue, x', 417],
  ] as const) {
    t.equal(statusOf({ rawHeaders: ['Host', 'a', 'eXpect', value] }), status, value);
  }
});

t.test('Host, Content-Length and Transfer-Encoding come once, and not against each other', async (t) => {
  const refused = [
    [],
    ['Host', ''],
    ['Host', 'a', 'host', 'a'],
    ['HOST', 'a', 'Host', 'b'],
    ['Host', 'a', 'Content-Length', '1', 'content-length', '1'],
    ['Host', 'a', 'Transfer-Encoding', 'chunked', 'transfer-encoding', 'chunked'],
    ['Host', 'a', 'Transfer-Encoding', 'gzip, chunked'],
    ['Host', 'a', 'Transfer-Encoding', ' chunked'],
    ['Host', 'a', 'Transfer-Encoding', ''],
    ['Host', 'a', 'Transfer-Encoding', 'chunked', 'Content-Length', '0'],
    ['Host', 'a', 'Content-Length', '0', 'TRANSFER-ENCODING', 'chunked'],
  ];
  for (const rawHeaders of refused) t.equal(statusOf({ rawHeaders }), 400, rawHeaders.join(' '));
  t.equal(
    statusOf({ rawHeaders: ['Host', 'a', 'Transfer-Encoding', 'chunked'], httpVersionMinor: 0 }),
    400,
    'chunks in HTTP/1.0',
  );
  for (const rawHeaders of [
    ['hOsT', 'a'],
    ['Host', 'a', 'Content-Length', '5'],
    ['Host', 'a', 'Transfer-Encoding', 'Chunked'],
    ['Hosts', 'b', 'Host', 'a', 'XHost', 'c'],
  ])
    t.equal(statusOf({ rawHeaders }), 0, rawHeaders.join(' '));
});
