// Callers that speak TLS to a plain listener, or plain http to a TLS one: each is answered, and told once in the log.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import type { ListenAddress } from '../../src/config/gateway-config.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { type ConfigOverrides, startGateway, type TestLog } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';

const ca = await createTestCa('Server CA');
const clientCa = await createTestCa('Client CA');
t.teardown(() => ca.close());
t.teardown(() => clientCa.close());
const { certFile, keyFile } = ca.issue(['localhost', '127.0.0.1']);

const PLAIN = 'a caller spoke plain http to a TLS listener';
const TLS = 'a caller spoke TLS to a plain http listener';

const count = (log: TestLog, msg: string) => log.lines.filter((line) => line.msg === msg).length;

const start = (t: Test, server: ConfigOverrides['server']) =>
  startGateway(t, { awaitReady: false, config: { server: server ?? {} } });

/** How a TLS handshake with an address fails. */
async function handshake(target: { port: number; host?: string } | { path: string }): Promise<string> {
  const socket = connect({ ...target, rejectUnauthorized: false });
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return `${error.code} ${error.message}`;
}

t.test('TLS at a plain listener fails at once, and is one warning for a peer and minute', async (t) => {
  const { port, log } = await start(t, {});
  for (let i = 0; i < 5; i++) t.match(await handshake({ port, host: '127.0.0.1' }), /wrong version number/i);
  t.match(await log.nextLine(TLS), {
    peer: '127.0.0.1',
    listener: `127.0.0.1 port ${port}`,
    advice: /protocol to http/,
  });
  t.equal(count(log, TLS), 1);
  t.same(log.exchanges, []);
});

t.test('a client that looks at what came back, as Go does, is told in HTTP', async (t) => {
  const { port } = await start(t, {});
  for (const hello of [Buffer.from([0x16]), Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])]) {
    const answer = parseAnswer(await exchangeRaw(port, hello));
    t.equal(answer.status, 400);
    t.match(JSON.parse(answer.body), { code: 'gateway.request.invalid', message: /plain http.*write http:\/\// });
  }
});

for (const clientCaFile of [null, clientCa.caFile]) {
  t.test(
    `plain http at a TLS listener ${clientCaFile === null ? '' : 'with client certificates '}is a 400 in clear`,
    async (t) => {
      const { port, log } = await start(t, { tls: { certFile, keyFile, clientCaFile } });
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT']) {
        const answer = parseAnswer(
          await exchangeRaw(port, `${method} /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n`),
        );
        t.equal(answer.status, 400, method);
        t.equal(headerOf(answer, 'connection'), 'close');
        t.equal(headerOf(answer, 'x-gateway-error'), 'gateway.request.invalid');
        t.match(JSON.parse(answer.body).message, /speaks TLS.*write https:\/\//);
      }
      t.match(await log.nextLine(PLAIN), { peer: '127.0.0.1', advice: /https/ });
      t.equal(count(log, PLAIN), 1);
    },
  );
}

t.test('what is neither gets nothing in clear from a TLS listener, and a leaving caller harms nobody', async (t) => {
  const { port, log } = await start(t, { tls: { certFile, keyFile, clientCaFile: null } });
  const isAny = (received: string) => received.length > 0;
  for (const bytes of [
    'SSH-2.0-OpenSSH_9\r\n',
    '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00',
    '\x15\x03\x01\x00\x02\x02(',
  ]) {
    t.notMatch(await exchangeRaw(port, bytes, isAny), /HTTP/);
  }
  for (let i = 0; i < 20; i++) {
    const socket = connectTcp(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('GET / HTTP/1.1\r\n\r\n');
    socket.resetAndDestroy();
  }
  await exchangeRaw(port, 'GET /livez HTTP/1.1\r\n\r\n');
  t.equal(count(log, PLAIN), 1);
});

t.test('a health listener stays plain beside TLS, and a Unix socket has no peer', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'gcg.sock');
  const health: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: await freePort() };
  const { port, log } = await start(t, {
    listen: [
      { kind: 'tcp', host: '127.0.0.1', port: 0 },
      { kind: 'unix', path },
    ],
    healthListen: [health],
    tls: { certFile, keyFile, clientCaFile: null },
  });
  t.match(await handshake({ port: health.port, host: '127.0.0.1' }), /wrong version number/i);
  t.match(await handshake({ path }), /wrong version number/i);
  t.match(parseAnswer(await exchangeRaw(port, 'GET / HTTP/1.1\r\n\r\n')), { status: 400 });
  await log.nextLine(TLS, ({ listener }) => listener === `127.0.0.1 port ${health.port}`);
  await log.nextLine(TLS, ({ peer, listener }) => peer === `unix:${path}` && listener === peer);
});

t.test('other requests that are no HTTP are refused as before, on a connection in use too', async (t) => {
  const { port, log } = await start(t, {});
  t.match(await exchangeRaw(port, 'nonsense\r\n\r\n'), /^HTTP\/1\.1 400 .*not valid HTTP\/1\.1/s);
  const twice = await exchangeRaw(
    port,
    'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n\x16\x03\x01\x00\x05hello',
    (received) => received.split('HTTP/1.1 ').length === 3,
  );
  t.match(twice, /^HTTP\/1\.1 200 .*HTTP\/1\.1 400 .*not valid/s);
  t.equal(count(log, TLS), 0);
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await once(probe.close(), 'close');
  return port;
}
