// What an upstream may not say to a caller of the gateway.

import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';
const HOP = /^(connection|keep-alive|content-length)$/i;

async function answered(t: Parameters<typeof startBefore>[0], lines: readonly string[], status = '200 OK') {
  const pair = await startBefore(t, (socket) => socket.write(ok('{}', lines).replace('200 OK', status)));
  return { pair, answer: parseAnswer(await exchangeRaw(pair.port, GET)) };
}

t.test('cookies, HSTS, Alt-Svc, CORS and hop-by-hop headers go, in any spelling', async (t) => {
  const { answer } = await answered(t, [
    ...[
      'Set-Cookie: a=1',
      'set-cookie: b=2',
      'Set_Cookie: c=3',
      'Strict-Transport-Security: max-age=1',
      'Alt-Svc: h3=":443"',
    ],
    ...['Access-Control-Allow-Origin: *', 'ACCESS-CONTROL-ALLOW-CREDENTIALS: true', 'access_control_allow_origin: *'],
    ...[
      'Proxy-Authenticate: Basic',
      'Upgrade: h2c',
      'Trailer: X',
      'Connection: X-Named',
      'X-Named: 1',
      'X-Kept: 1',
      'Content-Type: text/plain',
    ],
  ]);
  t.strictSame(
    answer.headers.map(([name]) => name).filter((name) => !HOP.test(name)),
    ['X-Kept', 'Content-Type', 'X-Gateway-Request-Id'],
  );
});

t.test('an upstream cannot pretend to be the gateway', async (t) => {
  const forged = [
    'X-Gateway-Error: gateway.credential.rejected',
    'x-gateway-error: x',
    'X_Gateway_Error: x',
    'X-Gateway-Request-Id: forged',
    'X-Gateway-Anything: x',
  ];
  for (const status of ['200 OK', '424 Failed Dependency', '503 Service Unavailable', '502 Bad Gateway']) {
    const { answer } = await answered(t, forged, status);
    t.equal(headerOf(answer, 'X-Gateway-Error'), undefined, status);
    t.match(headerOf(answer, 'X-Gateway-Request-Id'), /^[0-9a-f-]{36}$/);
    t.equal(answer.headers.filter(([name]) => /gateway/i.test(name)).length, 1);
  }
});

t.test('a redirect to the upstream itself is turned to the gateway, others pass', async (t) => {
  let location = '';
  const pair = await startBefore(t, (socket) =>
    socket.write(`HTTP/1.1 307 Temporary Redirect\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`),
  );
  const own = `http://127.0.0.1:${pair.upstreamPort}`;
  const seen = async (sent: string, request = GET) => {
    location = sent;
    return headerOf(parseAnswer(await exchangeRaw(pair.port, request)), 'Location');
  };
  t.equal(await seen(`${own}/api/v2/other?a=%2F,b`), '/api/v2/other?a=%2F,b');
  t.equal(await seen('/api/v2/other'), '/api/v2/other');
  t.equal(
    await seen(`${own}/api/v2/other`, GET.replace('/api', '/default/api')),
    '/default/api/v2/other',
    'with the same credential',
  );
  for (const other of [
    'https://files.example/x?sig=a%2Fb',
    `http://127.0.0.1:${pair.upstreamPort + 1}/api/v2/x`,
    `${own}//evil.test/x`,
    'other',
    '//evil.test/',
  ])
    t.equal(await seen(other), other);
});
