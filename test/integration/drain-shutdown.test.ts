// The end: calls in flight are finished, new ones refused, stragglers cut in time, and nothing is left open.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { givenTokenConfig, ok, startBefore } from '../helpers/direct.ts';
import { type ConfigOverrides, createTestLog, startGateway, startGatewayWith } from '../helpers/gateway.ts';
import { closed, openCaller, signal } from '../helpers/raw-caller.ts';
import { exchangeRaw, isOneAnswer, startRawServer } from '../helpers/raw-http.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';

t.test('a call in flight is finished, its answer ends the connection, and then the gateway is gone', async (t) => {
  const { port, gateway, sandbox } = await startGateway(t, { sandbox: { switches: { holdApi: {} } } });
  const caller = await openCaller(t, port);
  const held = sandbox.events.next('held');
  caller.socket.write(GET);
  await held;
  const drained = gateway.drain();
  t.equal(gateway.drain(), drained, 'safe to repeat');
  const refused = connect(port, '127.0.0.1');
  const [error] = await once(refused, 'error');
  t.equal(error.code, 'ECONNREFUSED', 'no new connections');
  sandbox.release();
  await Promise.all([closed(caller.socket), drained]);
  t.match(caller.received(), /^HTTP\/1\.1 200 OK[\s\S]*\r\nConnection: close\r\n[\s\S]*"pageSize":25[\s\S]*\}$/);
});

t.test('a new call on a kept-alive connection is 503 gateway.draining', async (t) => {
  const half = signal<() => void>();
  const pair = await startBefore(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf');
    half.fire(() => socket.write('done'));
  });
  const caller = await openCaller(t, pair.port);
  caller.socket.write(GET);
  await caller.until((received) => received.endsWith('half'));
  const drained = pair.gateway.drain();
  caller.socket.write(GET);
  // What was written is read in the next turn of the loop.
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  (await half.fired)();
  await Promise.all([closed(caller.socket), drained]);
  t.match(
    caller.received(),
    /halfdoneHTTP\/1\.1 503 [\s\S]*X-Gateway-Error: gateway\.draining\r\nConnection: close\r\n/,
  );
  t.equal(pair.requests.length, 1);
});

/** A deadline that no test waits for: a drain that does not end before it makes the file run out of time. */
const NO_DEADLINE = { drainTimeoutMs: 3_600_000 };

t.test('idle connections, used or never used, do not hold it up', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(ok('{}')), { server: NO_DEADLINE });
  const used = await openCaller(t, pair.port);
  used.socket.write(GET);
  await used.until((received) => received.endsWith('{}'));
  const unused = await openCaller(t, pair.port);
  await pair.gateway.drain();
  await Promise.all([closed(used.socket), closed(unused.socket)]);
  for (const upstream of pair.upstreamSockets) await closed(upstream);
  t.pass('upstream connections are closed too');
});

t.test('nor do connections that never finish their TLS handshake', async (t) => {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const { certFile, keyFile } = ca.issue(['localhost']);
  const pair = await startBefore(t, () => {}, {
    server: { ...NO_DEADLINE, tls: { certFile, keyFile, clientCaFile: null } },
  });
  const silent = await openCaller(t, pair.port);
  const half = await openCaller(t, pair.port);
  half.socket.write('\x16\x03\x01');
  const drained = pair.gateway.drain();
  // One that sent nothing is closed at once.
  await closed(silent.socket);
  half.socket.destroy();
  await drained;
});

t.test('drain_timeout cuts what does not end', async (t) => {
  const pair = await startBefore(t, () => {}, { server: { drainTimeoutMs: 200 } });
  const waiting = await openCaller(t, pair.port);
  waiting.socket.write(GET);
  const slow = await openCaller(t, pair.port);
  slow.socket.write('GET /api/v2/us');
  while (pair.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await pair.gateway.drain();
  await Promise.all([closed(waiting.socket), closed(slow.socket)]);
  for (const record of pair.log.exchanges)
    t.match(record, { aborted: true, errorCode: 'gateway.draining', error: /cut it/ });
  t.match(pair.gateway.calls, { running: 0, finished: 0, cut: pair.log.exchanges.length });
  for (const upstream of pair.upstreamSockets) await closed(upstream);
});

const LIMITED = 'HTTP/1.1 429 No\r\nRetry-After: 9\r\nContent-Length: 2\r\n\r\n{}';
const BUSY = 'HTTP/1.1 503 No\r\nRetry-After: 9\r\nContent-Length: 2\r\n\r\n{}';

/** What the upstream does, and what keeps the last of `callers` from being served. */
const waits: Record<string, { answer: string; callers: number; config: ConfigOverrides }> = {
  'a connection': { answer: '', callers: 2, config: { rateLimit: { connections: 1 } } },
  'a limit of the platform': { answer: LIMITED, callers: 1, config: {} },
  'a limit that another ran into': { answer: LIMITED, callers: 2, config: {} },
  'another try': { answer: BUSY, callers: 1, config: { retry: { max: 3 } } },
};

for (const [what, { answer, callers, config }] of Object.entries(waits)) {
  t.test(`a call that waits for ${what} is told before drain_timeout cuts it`, async (t) => {
    const pair = await startBefore(t, (socket) => socket.write(answer), { ...config, server: { drainTimeoutMs: 500 } });
    let last = await openCaller(t, pair.port);
    last.socket.write(GET);
    while (pair.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    for (let more = 1; more < callers; more += 1) {
      last = await openCaller(t, pair.port);
      last.socket.write(GET);
    }
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([pair.gateway.drain(), closed(last.socket)]);
    t.match(last.received(), /^HTTP\/1\.1 503 [\s\S]*X-Gateway-Error: gateway\.draining\r\nConnection: close\r\n/);
    t.match(await pair.log.nextExchange(({ errorCode }) => errorCode === 'gateway.draining'), {
      status: 503,
      aborted: false,
    });
  });
}

t.test('so is one that waits for a token', async (t) => {
  const { port, gateway, sandbox } = await startGateway(t, {
    awaitReady: false,
    sandbox: { switches: { tokenEndpoint: { fault: 'hang' } } },
    config: { server: { drainTimeoutMs: 500 } },
  });
  const caller = await openCaller(t, port);
  caller.socket.write(GET);
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await Promise.all([gateway.drain(), closed(caller.socket)]);
  sandbox.release();
  t.match(caller.received(), /^HTTP\/1\.1 503 [\s\S]*X-Gateway-Error: gateway\.draining\r\n/);
});

t.test('shutdown_delay goes on serving while /readyz says draining', async (t) => {
  const { port, gateway } = await startGateway(t, { config: { server: { shutdownDelayMs: 300 } } });
  const drained = gateway.drain();
  t.match(
    await exchangeRaw(port, 'GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    /^HTTP\/1\.1 503 [\s\S]*"status":"draining"/,
  );
  t.match(await exchangeRaw(port, 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'), /^HTTP\/1\.1 200 /);
  t.match(await exchangeRaw(port, GET), /^HTTP\/1\.1 200 /);
  await drained;
});

t.test('many callers on kept-alive connections see no broken call', async (t) => {
  const { port, gateway } = await startGateway(t, { sandbox: { switches: { latencyMs: 20 } } });
  let answered = 0;
  const outcomes = { served: 0, refused: 0, broken: 0 };
  const halfway = signal();
  const one = async () => {
    const caller = await openCaller(t, port);
    for (;;) {
      const before = caller.received().length;
      caller.socket.write('GET /api/v2/sandbox/status/204 HTTP/1.1\r\nHost: localhost\r\n\r\n');
      try {
        await caller.until((received) => isOneAnswer(received.slice(before)));
      } catch {
        outcomes.broken += 1;
        return;
      }
      const answer = caller.received().slice(before);
      outcomes[answer.startsWith('HTTP/1.1 204') ? 'served' : 'refused'] += 1;
      answered += 1;
      if (answered === 100) halfway.fire();
      if (/connection: close/i.test(answer)) return;
    }
  };
  const callers = Array.from({ length: 20 }, one);
  await halfway.fired;
  await Promise.all([gateway.drain(), ...callers]);
  t.match(outcomes, { broken: 0 }, JSON.stringify(outcomes));
  t.ok(outcomes.served >= 100);
});

t.test('a Unix socket is the user’s alone, is replaced when stale, and not when somebody answers', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-socket-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'gateway.sock');
  const upstream = await startRawServer(t, (socket) => socket.on('data', () => socket.write(ok('{}'))));
  const config = givenTokenConfig(upstream.origin, { server: { listen: [{ kind: 'unix', path }] } });
  const create = () => createGateway(config, { log: createTestLog(), env: {} });
  const gateway = await create();
  t.strictSame(await gateway.listen(), [`unix:${path}`]);
  t.equal(statSync(path).mode & 0o777, 0o600);
  const status = await new Promise((resolve, reject) => {
    httpRequest({ socketPath: path, path: '/api/v2/users', headers: { Host: 'localhost' } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    })
      .on('error', reject)
      .end();
  });
  t.equal(status, 200);

  const second = await create();
  await t.rejects(second.listen(), { code: 'EADDRINUSE' });
  await second.drain();
  t.equal(existsSync(path), true, 'the first one still has it');
  await gateway.drain();
  t.equal(existsSync(path), false);

  // What a killed process leaves behind.
  const killed = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ]);
  await once(killed, 'exit');
  t.equal(existsSync(path), true);
  const third = await create();
  t.strictSame(await third.listen(), [`unix:${path}`]);
  t.equal(statSync(path).mode & 0o777, 0o600);
  await third.drain();
});

t.test('a port in use is reported, and nothing stays open', async (t) => {
  const taken = await startRawServer(t, () => {});
  const free = await startRawServer(t, () => {});
  await new Promise((resolve) => free.server.close(resolve));
  const config = givenTokenConfig(taken.origin, {
    server: {
      listen: [
        { kind: 'tcp', host: '127.0.0.1', port: free.port },
        { kind: 'tcp', host: '127.0.0.1', port: taken.port },
      ],
    },
  });
  const gateway = await createGateway(config, { log: createTestLog(), env: {} });
  await t.rejects(gateway.listen(), { code: 'EADDRINUSE', port: taken.port });
  const [error] = await once(connect(free.port, '127.0.0.1'), 'error');
  t.equal(error.code, 'ECONNREFUSED', 'the first address was given back');
  await gateway.drain();
  const again = await startGatewayWith(
    t,
    givenTokenConfig(taken.origin, { server: { listen: [{ kind: 'tcp', host: '127.0.0.1', port: free.port }] } }),
  );
  t.equal(again.port, free.port);
});
