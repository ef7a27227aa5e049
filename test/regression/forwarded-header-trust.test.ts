// CVE-2026-3635 of our framework: forwarded headers of strangers were believed. Here they decide nothing, and go no
// further.

import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';
import { isRefusal } from '../helpers/refusal.ts';

const FORGED = [
  ...[
    'X-Forwarded-For: 127.0.0.1',
    'X-Forwarded-Host: localhost',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Port: 443',
    'X-Forwarded-Prefix: /x',
  ],
  ...['X_Forwarded_Host: localhost', 'Forwarded: for=127.0.0.1;host=localhost;proto=https'],
];
const call = (host: string, lines: readonly string[], path = '/api/v2/x') =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${lines.join('\r\n')}\r\n\r\n`;

t.test('a forwarded Host does not stand in for the Host', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok()));
  isRefusal(t, await exchangeRaw(pair.port, call('evil.test', FORGED)), 403, 'gateway.host.forbidden');
  isRefusal(
    t,
    await exchangeRaw(pair.port, call('localhost', [...FORGED, 'Origin: https://localhost'])),
    403,
    'gateway.origin.forbidden',
  );
  isRefusal(
    t,
    await exchangeRaw(
      pair.port,
      call(`localhost:${pair.port}`, ['X-Forwarded-Host: evil.test', 'Origin: http://evil.test']),
    ),
    403,
    'gateway.origin.forbidden',
  );
  t.strictSame(pair.requests, []);
});

t.test('nor does it go upstream, or into a redirect', async (t) => {
  const pair = await startBefore(t, (socket) =>
    socket.write('HTTP/1.1 302 Found\r\nLocation: /api/v2/y\r\nContent-Length: 0\r\n\r\n'),
  );
  const answer = parseAnswer(await exchangeRaw(pair.port, call('localhost', FORGED)));
  t.equal(headerOf(answer, 'Location'), '/api/v2/y');
  t.notMatch(pair.requests[0], /forwarded/i);
});
