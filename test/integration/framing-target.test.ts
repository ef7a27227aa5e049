// Which forms of a request target are taken, and which are refused as ambiguous.

import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';
import { isRefusal, refusedBy } from '../helpers/refusal.ts';

const pair = await startBefore(t, (socket) => socket.write(ok('{}')));
t.beforeEach(() => void pair.requests.splice(0));
const NEXT = 'GET /api/v2/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n';
const get = (target: string, host = 'localhost', method = 'GET') =>
  `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

const refused: readonly (readonly [string, string])[] = [
  ['a fragment', get('/api/v2/users#x')],
  ['a fragment in the query', get('/api/v2/users?a=1#/../x')],
  ['authority-form', get('localhost:80')],
  ['absolute-form with another host', get('http://example.com/api/v2/users')],
  ['absolute-form with another port', get('http://localhost:81/api/v2/users', 'localhost:80')],
  ['absolute-form with user information', get('http://x@localhost/api/v2/users')],
  ['absolute-form of another scheme', get('ftp://localhost/api/v2/users')],
  ['an asterisk', get('*')],
  ['a relative path', get('api/v2/users')],
  ['a NUL', get('/api/v2/users\0')],
  ['an encoded NUL', get('/api/v2/users%00')],
  ['an octet above 127, which no URI has', get('/api/v2/caf\xe9')],
  ['a tab', get('/api/v2/users\tx')],
  ['a space', get('/api/v2/users x')],
  ['a backslash', get('/api/v2\\..\\x')],
  ['an encoded backslash', get('/api/v2/%5c..%5Cx')],
  ['a dot segment', get('/api/v2/./users')],
  ['two dots', get('/api/v2/../oauth/token')],
  ['two dots at the end', get('/api/v2/users/..')],
  ['encoded dots', get('/api/v2/%2e%2E/oauth/token')],
  ['half encoded dots', get('/api/v2/.%2e/oauth/token')],
  ['dots between encoded slashes', get('/api/v2/a%2f..%2Fb')],
  ['dots with a path parameter', get('/api/v2/..;x=1/oauth/token')],
  ['dots with an encoded path parameter', get('/api/v2/..%3bx/oauth/token')],
  ['dots before the prefix', get('/x/../api/v2/users')],
];

for (const [name, request] of refused) {
  t.test(`refuses ${name}`, async (t) => {
    isRefusal(t, await refusedBy(pair.port, request + NEXT), 400);
    t.strictSame(pair.requests, [], 'nothing went upstream');
  });
}

t.test('takes absolute-form that names the Host', async (t) => {
  t.match(
    await exchangeRaw(pair.port, get('http://LOCALHOST:80/api/v2/users?x=http://y', 'localhost:80')),
    /^HTTP\/1\.1 200/,
  );
  t.match(pair.requests[0], /^GET \/api\/v2\/users\?x=http:\/\/y HTTP\/1\.1\r\n/);
});

for (const target of [
  '/',
  '/api',
  '/api/v1/users',
  '/api/v20',
  '/API/V2/users',
  '/%61pi/v2/users',
  '/api%2Fv2/users',
  '//api/v2/users',
  '/x/y/api/v2/users',
  '/oauth',
  '/favicon.ico',
  '/%',
  '/a%zz',
  '/api/v2;x/users',
  '/apii/v2',
]) {
  t.test(`does not know ${target}`, async (t) => {
    isRefusal(t, await exchangeRaw(pair.port, get(target)), 404, 'gateway.route.not.found');
    t.strictSame(pair.requests, [], 'nothing went upstream');
  });
}

t.test('OPTIONS * is no route', async (t) =>
  isRefusal(t, await exchangeRaw(pair.port, get('*', 'localhost', 'OPTIONS')), 404, 'gateway.route.not.found'),
);

t.test('a HEAD that is refused has no body', async (t) => {
  const answer = parseAnswer(
    await exchangeRaw(pair.port, get('/nowhere', 'localhost', 'HEAD'), (text) => text.endsWith('\r\n\r\n')),
  );
  t.equal(answer.status, 404);
  t.equal(answer.body, '');
  t.equal(headerOf(answer, 'X-Gateway-Error'), 'gateway.route.not.found');
});

t.test('the path names a credential, and the rest is forwarded', async (t) => {
  t.match(await exchangeRaw(pair.port, get('/default/api/v2/users?a=%2F')), /^HTTP\/1\.1 200/);
  t.match(pair.requests[0], /^GET \/api\/v2\/users\?a=%2F HTTP\/1\.1\r\n/);
  isRefusal(t, await exchangeRaw(pair.port, get('/nobody/api/v2/users')), 404, 'gateway.credential.unknown');
});

t.test('path and header that name different credentials are refused', async (t) => {
  isRefusal(
    t,
    await exchangeRaw(
      pair.port,
      'GET /default/api/v2/users HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Credential: other\r\n\r\n',
    ),
    400,
  );
  t.strictSame(pair.requests, []);
});

t.test('nothing that stood behind a refused request was so much as begun', async (t) => {
  await pair.gateway.drain();
  t.strictSame(
    pair.log.exchanges.filter(({ target }) => target === '/api/v2/smuggled'),
    [],
  );
});
