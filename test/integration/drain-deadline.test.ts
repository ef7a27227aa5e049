// The two times of the end: shutdown_delay, which goes by the gateway's clock, and the last moments of drain_timeout, in
// which a call that waits is told before anything is cut.

import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { Timer } from '../../src/clock.ts';
import { createGateway } from '../../src/gateway.ts';
import { givenTokenConfig, ok, startBefore } from '../helpers/direct.ts';
import { createFakeClock, type FakeClock } from '../helpers/fake-clock.ts';
import { type ConfigOverrides, createTestLog, startGatewayWith } from '../helpers/gateway.ts';
import { closed, openCaller, signal } from '../helpers/raw-caller.ts';
import { exchangeRaw, startRawUpstream } from '../helpers/raw-http.ts';

const GET = 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n';
const LIMITED = 'HTTP/1.1 429 No\r\nRetry-After: 9\r\nContent-Length: 2\r\n\r\n{}';
const BUSY = 'HTTP/1.1 503 No\r\nRetry-After: 9\r\nContent-Length: 2\r\n\r\n{}';
const TOLD = /^HTTP\/1\.1 503 [\s\S]*X-Gateway-Error: gateway\.draining\r\nConnection: close\r\n/;
const HOUR_MS = 3_600_000;

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Puts Node's own timer on a clock of the test: drain_timeout is real time. Timers that are set already go on. */
function holdTimers(t: Test): FakeClock {
  const { setTimeout: realSetTimeout, clearTimeout: realClearTimeout } = globalThis;
  const clock = createFakeClock();
  const held = (fn: () => void, delayMs = 0) =>
    Object.assign(clock.after(delayMs, fn), { ref() {}, unref() {}, refresh() {} });
  globalThis.setTimeout = held as unknown as typeof setTimeout;
  globalThis.clearTimeout = (timer) => {
    if (timer instanceof Object && 'cancel' in timer) (timer as unknown as Timer).cancel();
    else realClearTimeout(timer);
  };
  t.teardown(() => Object.assign(globalThis, { setTimeout: realSetTimeout, clearTimeout: realClearTimeout }));
  return clock;
}

const answers: Record<string, { answer: string; config: ConfigOverrides }> = {
  'another try': { answer: BUSY, config: { retry: { max: 3 } } },
  'a limit of the platform': { answer: LIMITED, config: {} },
};

for (const [what, { answer, config }] of Object.entries(answers)) {
  t.test(`a call that begins to wait for ${what} in the last moments of drain_timeout is told`, async (t) => {
    const asked = signal<Socket>();
    const pair = await startBefore(t, (socket) => asked.fire(socket), { ...config, server: { drainTimeoutMs: 1_000 } });
    const caller = await openCaller(t, pair.port);
    caller.socket.write(GET);
    const upstream = await asked.fired;
    const clock = holdTimers(t);
    const drained = pair.gateway.drain();
    await clock.advance(960);
    upstream.write(answer);
    while (caller.received() === '' && [...pair.gateway.runtime().waits.list()].length === 0) await turn();
    await clock.advance(40);
    await Promise.all([drained, closed(caller.socket)]);
    t.match(caller.received(), TOLD);
    t.match(pair.log.exchanges, [{ status: 503, errorCode: 'gateway.draining', aborted: false }]);
  });
}

t.test('a call that waits is told where drain_timeout is 0', async (t) => {
  const pair = await startBefore(t, (socket) => socket.write(BUSY), {
    retry: { max: 3 },
    server: { drainTimeoutMs: 0 },
  });
  const caller = await openCaller(t, pair.port);
  caller.socket.write(GET);
  while ([...pair.gateway.runtime().waits.list()].length === 0) await turn();
  await Promise.all([pair.gateway.drain(), closed(caller.socket)]);
  t.match(caller.received(), TOLD);
});

t.test('a caller that goes on with its upload when it was told is cut at the end of drain_timeout', async (t) => {
  const pair = await startBefore(t, () => {}, {
    rateLimit: { connections: 1 },
    server: { drainTimeoutMs: 1_000 },
  });
  const first = await openCaller(t, pair.port);
  first.socket.write(GET);
  while (pair.requests.length === 0) await turn();
  const uploading = await openCaller(t, pair.port);
  uploading.socket.write('POST /api/v2/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n{');
  while ([...pair.gateway.runtime().waits.list()].length === 0) await turn();
  const clock = holdTimers(t);
  const drained = pair.gateway.drain();
  await clock.advance(900);
  await uploading.until((received) => received.endsWith('}'));
  t.match(uploading.received(), TOLD);
  await clock.advance(100);
  await Promise.all([drained, closed(first.socket), closed(uploading.socket)]);
  t.equal(first.received(), '', 'what was with the upstream is cut');
});

t.test('shutdown_delay goes by the clock of the gateway', async (t) => {
  const clock = createFakeClock();
  const upstream = await startRawUpstream(t, (socket) => socket.write(ok('{}')));
  const config = givenTokenConfig(upstream.origin, { server: { shutdownDelayMs: HOUR_MS } });
  const { port, gateway } = await startGatewayWith(t, config, clock);
  const drained = gateway.drain();
  await clock.advance(HOUR_MS - 1);
  t.match(await exchangeRaw(port, GET), /^HTTP\/1\.1 200 /);
  await clock.advance(1);
  const outcome = await new Promise((resolve) => {
    connect(port, '127.0.0.1')
      .once('connect', () => resolve('connected'))
      .once('error', ({ code }: NodeJS.ErrnoException) => resolve(code));
  });
  t.equal(outcome, 'ECONNREFUSED');
  await drained;
});

t.test('a gateway that does not listen has no traffic to be moved away, and ends without shutdown_delay', async (t) => {
  const upstream = await startRawUpstream(t, () => {});
  const config = givenTokenConfig(upstream.origin, { server: { shutdownDelayMs: HOUR_MS } });
  const gateway = await createGateway(config, { log: createTestLog(), env: {}, clock: createFakeClock() });
  await gateway.drain();
  t.pass('it ended');
});
