// What forwarders are known to get wrong with requests, one case each; those with a file of their own are not repeated
// here.

import t from 'tap';
import { GIVEN_TOKEN, ok, startBefore } from '../helpers/direct.ts';
import { startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';
import { isRefusal } from '../helpers/refusal.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';

t.test('without a token nothing is forwarded, and nothing is 200', async (t) => {
  const { port, sandbox } = await startGateway(t, {
    sandbox: { switches: { tokenEndpoint: { fault: 'no-token' } } },
    config: { reauthentication: { refreshTokenWaitMaxMs: 500 } },
    awaitReady: false,
  });
  t.match(await exchangeRaw(port, GET), /^HTTP\/1\.1 50[34] /);
  t.equal(sandbox.stats.apiCallsTotal, 0);
});

t.test('Authorization is set, not added, and Connection cannot take it away', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()));
  await exchangeRaw(
    pair.port,
    GET.replace(
      '\r\n\r\n',
      '\r\nAuthorization: Bearer x\r\nConnection: authorization, close\r\nauthorization: y\r\n\r\n',
    ),
  );
  t.strictSame((pair.requests[0] as string).match(/^authorization.*$/gim), [`Authorization: Bearer ${GIVEN_TOKEN}`]);
});

t.test('the caller does not choose the upstream', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()));
  for (const request of [
    GET.replace('Host: localhost', 'Host: 10.0.0.1'),
    GET.replace(
      'Host: localhost',
      'Host: localhost\r\nX-Forwarded-Host: evil.test\r\nX-Original-URL: http://evil.test/\r\nX-Rewrite-URL: ' +
        '/evil\r\nX-Host: evil.test',
    ),
    GET.replace('/api/v2/users', '/api/v2/@evil.test/http://evil.test'),
    GET.replace('/api/v2/users', '/api/v2//evil.test/x'),
  ]) {
    t.match(await exchangeRaw(pair.port, request), /^HTTP\/1\.1 200/);
    t.match(pair.requests.at(-1), new RegExp(`^GET /api/v2/.*\r\nhost: 127\\.0\\.0\\.1:${pair.upstreamPort}\r\n`, 'i'));
  }
});

t.test('the octets of a JSON body are not touched', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()));
  const body = '{"b": 1.0,\n "a":"\\u00e9\\/",  "a": 12345678901234567890 }';
  await exchangeRaw(
    pair.port,
    `POST /api/v2/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; ` +
      `charset=utf-8\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  t.ok((pair.requests[0] as string).endsWith(`\r\n\r\n${body}`));
});

t.test('a body limit holds for every content type', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()), { server: { maxBodyBytes: 10 } });
  for (const type of [
    'application/json',
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencoded',
    '',
    'nonsense',
  ]) {
    isRefusal(
      t,
      await exchangeRaw(
        pair.port,
        `POST /api/v2/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: 11\r\n\r\n01234567890`,
      ),
      413,
      'gateway.body.too.large',
    );
  }
  t.strictSame(pair.requests, []);
});

t.test('a POST is sent once, whatever the upstream answers', async (t) => {
  for (const status of ['500 x', '502 x', '503 x', '504 x']) {
    const pair = await startBefore(
      t,
      (socket) => socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n`),
      {
        retry: { max: 3, waitMinMs: 1, waitMaxMs: 2 },
      },
    );
    t.match(
      await exchangeRaw(pair.port, 'POST /api/v2/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi'),
      new RegExp(`^HTTP/1\\.1 ${status}`),
    );
    t.equal(pair.requests.length, 1, status);
  }
});

t.test('a 503 on GET is not tried more often than retry_max says', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write('HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n'), {
    retry: { max: 2, waitMinMs: 1, waitMaxMs: 2 },
  });
  t.match(await exchangeRaw(pair.port, GET), /^HTTP\/1\.1 503/);
  t.equal(pair.requests.length, 3);
});

t.test('a user agent opens nothing', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()));
  for (const agent of ['kube-probe/1.31', 'GoogleHC/1.0', 'ELB-HealthChecker/2.0']) {
    isRefusal(
      t,
      await exchangeRaw(pair.port, GET.replace('Host: localhost', `Host: evil.test\r\nUser-Agent: ${agent}`)),
      403,
      'gateway.host.forbidden',
    );
  }
});

t.test('what was checked is what is sent', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()));
  for (const target of [
    '/api/v2/x%0d%0aHost:%20evil',
    '/api/v2/x%20HTTP/1.1',
    '/api/v2/x?a=%0A',
    '/api/v2/%25%32%65%25%32%65/x',
    '/api/v2/x;jsessionid=1/..a',
  ]) {
    await exchangeRaw(pair.port, GET.replace('/api/v2/users', target));
    t.ok((pair.requests.at(-1) as string).startsWith(`GET ${target} HTTP/1.1\r\n`), target);
  }
});

t.test('an error of the gateway carries its headers, an error of the platform none of them', async (t) => {
  const { port, sandbox } = await startGateway(t);
  sandbox.set({ serverError: { status: 500 } });
  const theirs = parseAnswer(await exchangeRaw(port, GET.replace('GET', 'POST')));
  t.equal(headerOf(theirs, 'X-Gateway-Error'), undefined);
  t.match(headerOf(theirs, 'ININ-Correlation-Id'), /./);
  const ours = parseAnswer(await exchangeRaw(port, GET.replace('/api/v2/users', '/x')));
  t.equal(headerOf(ours, 'X-Gateway-Error'), 'gateway.route.not.found');
  t.equal(headerOf(ours, 'Cache-Control'), 'no-store');
});

t.test('Retry-After is written as it is looked for: the Java SDK reads that casing and no other', async (t) => {
  const { port, sandbox } = await startGateway(t, {
    sandbox: { switches: { tokenEndpoint: { fault: 'down' } } },
    config: { reauthentication: { refreshTokenWaitMaxMs: 500 } },
    awaitReady: false,
  });
  t.match(await exchangeRaw(port, GET), /^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: [1-9]\d*\r\n/, 'ours');
  const body = 'grant_type=refresh_token&refresh_token=x&client_id=y';
  sandbox.set({ tokenEndpoint: null, throttleLogin: { retryAfterS: 7 } });
  const login =
    `POST /oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: ` +
    `application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  t.match(await exchangeRaw(port, login), /^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: 7\r\n/, 'and at the token endpoint');
});
