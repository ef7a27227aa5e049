// The browser boundary on the wire: which Host and which Origin get through, for calls, local routes and upgrades.

import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';
import { isRefusal, refusedBy } from '../helpers/refusal.ts';

const pair = await startBefore(t, (socket) => socket.write(ok('{}')), {
  server: { allowedHosts: ['gateway.corp'], corsOrigins: ['https://app.corp'], publicUrl: 'https://public.corp/x' },
});
t.beforeEach(() => void pair.requests.splice(0));
const call = (host: string, lines: readonly string[] = [], start = 'GET /api/v2/users') =>
  `${start} HTTP/1.1\r\nHost: ${host}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
const served = async (request: string) => /^HTTP\/1\.1 200 OK/.test(await exchangeRaw(pair.port, request));

t.test('hosts that are served', async (t) => {
  for (const host of [
    'localhost',
    `LOCALHOST:${pair.port}`,
    'sub.localhost',
    '127.0.0.1',
    '[::1]',
    '10.1.2.3:8080',
    'gateway.corp',
    'Gateway.Corp:9',
    'public.corp',
  ])
    t.ok(await served(call(host)), host);
});

t.test('hosts that are not', async (t) => {
  for (const host of [
    'evil.test',
    'localhost.evil.test',
    '127.0.0.1.evil.test',
    'localhost:80x',
    'localhost:',
    'localhost:80:81',
    'evil.test:80',
    '127.0.0.1@evil.test',
    '127.1',
    '0x7f000001',
    'gateway.corp.evil.test',
    '[evil]',
    'a b',
  ]) {
    isRefusal(t, await exchangeRaw(pair.port, call(host)), 403, 'gateway.host.forbidden');
  }
  t.strictSame(pair.requests, []);
});

t.test('a refused Host leaves the connection usable, and only the good call is made', async (t) => {
  const received = await exchangeRaw(pair.port, call('evil.test') + call('localhost'), (text) =>
    text.includes('200 OK'),
  );
  t.match(received, /^HTTP\/1\.1 403 [\s\S]*HTTP\/1\.1 200 OK/);
  t.equal(pair.requests.length, 1);
});

t.test('health is for everyone who can reach it', async (t) => {
  for (const path of ['/livez', '/healthz', '/readyz'])
    t.ok(await served(call('pod-1.cluster.local', [], `GET ${path}`)), path);
});

t.test('but not for pages of another origin', async (t) => {
  for (const path of ['/livez', '/healthz', '/readyz']) {
    isRefusal(
      t,
      await exchangeRaw(pair.port, call('localhost', ['Origin: http://evil.test'], `GET ${path}`)),
      403,
      'gateway.origin.forbidden',
    );
  }
});

t.test('other local routes are not', async (t) => {
  for (const path of ['/', '/nowhere', '/livez/', '/livezz', '/-/status']) {
    isRefusal(t, await exchangeRaw(pair.port, call('evil.test', [], `GET ${path}`)), 403, 'gateway.host.forbidden');
  }
});

t.test('the token endpoint of the facade says so in the shape of OAuth', async (t) => {
  const received = await exchangeRaw(pair.port, call('evil.test', ['Content-Length: 0'], 'POST /oauth/token'));
  t.match(received, /^HTTP\/1\.1 403 [\s\S]*X-Gateway-Error: gateway\.host\.forbidden[\s\S]*"error":/);
});

const OWN = `http://localhost:${pair.port}`;
t.test('origins that are served', async (t) => {
  for (const lines of [
    [`Origin: ${OWN}`],
    [`Origin: ${OWN}`, 'Sec-Fetch-Site: same-origin'],
    ['Origin: https://app.corp'],
    ['Origin: https://app.corp', 'Sec-Fetch-Site: cross-site'],
    ['Origin: https://public.corp'],
    ['Sec-Fetch-Site: none'],
    ['Sec-Fetch-Site: same-origin'],
  ]) {
    t.ok(await served(call(`localhost:${pair.port}`, lines)), lines.join());
  }
});

t.test('origins that are not, whatever the method', async (t) => {
  const origins = [
    'null',
    'https://evil.test',
    `${OWN}.evil.test`,
    `${OWN}0`,
    'http://localhost',
    `https://localhost:${pair.port}`,
    `http://127.0.0.1:${pair.port}`,
    'https://app.corp.evil.test',
    'https://app.cor',
    'http://app.corp',
    'https://APP.CORP',
    'https://app.corp, https://evil.test',
  ];
  for (const origin of origins) {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD']) {
      const received = await exchangeRaw(
        pair.port,
        call(`localhost:${pair.port}`, [`Origin: ${origin}`], `${method} /api/v2/users`),
        (text) => text.includes('\r\n\r\n'),
      );
      t.match(received, /^HTTP\/1\.1 403 [\s\S]*X-Gateway-Error: gateway\.origin\.forbidden/, `${method} ${origin}`);
      t.notMatch(received, /access-control/i, 'no word of CORS');
    }
  }
  for (const site of ['cross-site', 'same-site']) {
    isRefusal(
      t,
      await exchangeRaw(pair.port, call('localhost', [`Sec-Fetch-Site: ${site}`])),
      403,
      'gateway.origin.forbidden',
    );
    isRefusal(
      t,
      await exchangeRaw(pair.port, call('localhost', [`Sec-Fetch-Site: ${site}`, 'Sec-Fetch-Mode: navigate'])),
      403,
      'gateway.origin.forbidden',
    );
  }
  isRefusal(
    t,
    await exchangeRaw(pair.port, call('localhost', ['Origin: https://app.corp', 'Origin: https://evil.test'])),
    403,
    'gateway.origin.forbidden',
  );
  t.strictSame(pair.requests, []);
});

t.test('an upgrade from a page of another origin opens nothing', async (t) => {
  const upgrade = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Origin: https://evil.test',
  ];
  for (const path of ['/api/v2/users', '/streaming/channels/abc', '/']) {
    t.match(
      await refusedBy(pair.port, call(`localhost:${pair.port}`, upgrade, `GET ${path}`)),
      /^HTTP\/1\.1 4\d\d /,
      path,
    );
  }
  t.strictSame(pair.requests, []);
});
