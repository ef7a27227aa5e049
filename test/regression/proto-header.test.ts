// CVE-2026-21710 of Node: a header called __proto__ ended the process where headers are kept in plain objects.

import t from 'tap';
import { ok, startBefore } from '../helpers/direct.ts';
import { startGateway } from '../helpers/gateway.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';

const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__'];
const lines = NAMES.map((name) => `${name}: {"polluted":1}\r\n${name}: again\r\n`).join('');

t.test('such names pass both ways, through every layer that keeps headers', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('{}', lines.trimEnd().split('\r\n'))), {
    logging: { level: 'trace' },
  });
  const received = await exchangeRaw(pair.port, `GET /api/v2/x HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`);
  for (const text of [received, pair.requests[0] as string])
    for (const name of NAMES) t.equal(text.split(`\r\n${name}: `).length, 3, name);
  t.equal(({} as { polluted?: number }).polluted, undefined);
  t.match(
    await exchangeRaw(pair.port, 'GET /api/v2/x HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    /^HTTP\/1\.1 200/,
    'still there',
  );
});

t.test('local routes and refusals survive them', async (t) => {
  const { port } = await startGateway(t);
  for (const path of ['/livez', '/readyz', '/nowhere', '/oauth/token', '/-/status']) {
    t.match(
      await exchangeRaw(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`),
      /^HTTP\/1\.1 [2-4]\d\d /,
      path,
    );
  }
});
