// Where the time of a call goes: each phase by a clock that only the test's servers move, so that the numbers are exact.

import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { createSecureContext } from 'node:tls';
import t, { type Test } from 'tap';
import type { Token } from '../../../src/auth/credentials/token-source.ts';
import { type Clock, systemClock } from '../../../src/clock.ts';
import type { CallTrace as WireTrace } from '../../../src/inspector/wire.ts';
import type { CallTrace } from '../../../src/logging/call-trace.ts';
import { createExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { ResponseSink } from '../../../src/server/response-sink.ts';
import { QueueCapacity, type Send, type UpstreamResponse } from '../../../src/upstream/call.ts';
import { UpstreamDispatcher } from '../../../src/upstream/dispatcher.ts';
import { withToken } from '../../../src/upstream/token.ts';
import { Tracing } from '../../../src/upstream/tracing.ts';
import { createTestCa } from '../../helpers/certificates.ts';
import { createTestEgress, listenFor } from '../../helpers/egress.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { startConnectProxy } from '../../helpers/proxies.ts';
import { createCall, createResponse, createStack, type TestCall } from './layer-fixtures.ts';

/** A clock whose monotonic time moves only when told. */
class HandClock implements Clock {
  at = 0;
  readonly now = systemClock.now;
  readonly after = systemClock.after;
  readonly monotonic = (): number => this.at;
}

/** What a page would be shown of it. */
const shown = (call: TestCall) => JSON.parse((call.record.trace as CallTrace).text()) as WireTrace;

type Connector = Pick<ReturnType<typeof createTestEgress>, 'connect'>;

function dispatcherOver(t: Test, clock: Clock, { connect }: Connector, connections = 256): UpstreamDispatcher {
  const dispatcher = new UpstreamDispatcher({
    ...{ connect, clock, connections, random: () => 0, headersMs: 60_000, bodyMs: 60_000 },
    capacity: new QueueCapacity(1_000),
  });
  t.teardown(() => dispatcher.destroy());
  return dispatcher;
}

/** Reads an answer to its end, asking for a pause at `pauseAt` (of its chunks), which `resume` ends. */
function read(response: UpstreamResponse, onChunk: (nth: number) => boolean = () => true): Promise<void> {
  let chunks = 0;
  return new Promise((resolve, reject) => {
    response.pipe({
      write: () => {
        chunks += 1;
        return onChunk(chunks);
      },
      end: () => resolve(),
      fail: reject,
    });
  });
}

async function send(
  dispatcher: UpstreamDispatcher,
  call: TestCall,
  tracing: Tracing,
  onChunk?: (nth: number) => boolean,
): Promise<TestCall> {
  if (tracing.isOn) tracing.begin(call.record);
  await read(await dispatcher.send(call), onChunk);
  return call;
}

t.test('a dial through a proxy, and a connection that is used again', async (t) => {
  const clock = new HandClock();
  const ca = await createTestCa();
  const { key, cert } = await ca.issue(['upstream.test']);
  const unfinished: (() => void)[] = [];
  const server = https.createServer(
    {
      SNICallback(_name, done) {
        clock.at += 30;
        done(null, createSecureContext({ key, cert }));
      },
    },
    (request, response) => {
      request.resume().once('end', () => {
        clock.at += 100;
        response.write('first');
        unfinished.push(() => {
          clock.at += 50;
          response.end('last');
        });
      });
    },
  );
  const port = await listenFor(t, server);
  const proxy = await startConnectProxy({
    resolve: () => {
      clock.at += 20;
      return '127.0.0.1';
    },
  });
  t.teardown(() => proxy.close());
  const egress = createTestEgress(t, {
    clock,
    proxy: { url: `http://127.0.0.1:${proxy.port}` },
    tls: { caFile: ca.caFile },
  });
  const dispatcher = dispatcherOver(t, clock, egress);
  const tracing = new Tracing(clock.monotonic);
  const callTo = () => createCall({ origin: `https://upstream.test:${port}` });

  const finish = (nth: number) => {
    if (nth === 1) unfinished.shift()?.();
    return true;
  };

  const traced = async () => {
    const call = await send(dispatcher, callTo(), tracing, finish);
    // undici marks a connection free a turn after it has reported the end.
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    return call;
  };

  const leave = tracing.watch();
  const dialled = shown(await traced()).attempts[0];
  t.match(dialled, { status: 200, dial: { proxy: 20, tls: 30 }, wait: 100, body: 50, pool: 0, ms: 200 });
  t.type(dialled?.dial?.tcp, 'number');
  t.notOk(dialled?.dial && 'dns' in dialled.dial, 'the proxy is an address: no name was resolved');
  t.notOk(dialled && ('idle' in dialled || 'age' in dialled));

  clock.at += 3_200;
  const again = shown(await traced()).attempts[0];
  t.match(again, { idle: 3_200, age: 3_350, wait: 100, body: 50, ms: 150 });
  t.notOk(again && 'dial' in again, 'its connection was there');

  leave();
  leave();
  t.equal(tracing.isOn, false);
  clock.at += 1_000;
  t.equal((await traced()).record.trace, null, 'nothing is noted while nobody watches');
  t.teardown(tracing.watch());
  const later = shown(await traced()).attempts[0];
  t.match(later, { age: Number, wait: 100 });
  t.notOk(later && 'idle' in later, 'nobody knows since when it was idle: a mark of the time before is not believed');
});

t.test('phases of one call never exceed it, and what failed says in which phase', async (t) => {
  const clock = new HandClock();
  const server = http.createServer((_request, response) => {
    clock.at += 40;
    response.socket?.destroy();
  });
  const port = await listenFor(t, server);
  const egress = createTestEgress(t, { clock });
  const dispatcher = dispatcherOver(t, clock, egress);
  const tracing = new Tracing(clock.monotonic);
  t.teardown(tracing.watch());
  const attemptAt = async (origin: string) => {
    const call = createCall({ origin });
    await t.rejects(send(dispatcher, call, tracing));
    return shown(call).attempts[0];
  };
  const broken = await attemptAt(`http://localhost:${port}`);
  t.match(broken, { error: 'UND_ERR_SOCKET', wait: 40, dial: { dns: Number, tcp: Number } });
  t.equal(broken?.status, undefined);
  t.equal(broken?.body, undefined, 'it did not come to that');
  server.close();
  const refused = await attemptAt('http://127.0.0.1:1');
  t.match(refused, { error: 'ECONNREFUSED', dial: { tcp: Number } });
  t.equal(refused?.send, undefined);
  const nowhere = await attemptAt('http://no-such-name.invalid');
  t.match(nowhere?.dial, { dns: Number });
  t.notOk(nowhere?.dial && 'tcp' in nowhere.dial, 'it ended while the name was resolved');
});

t.test('a call that waits for a connection, and a caller that does not read', async (t) => {
  const clock = new HandClock();
  const big = Buffer.alloc(512 * 1024);
  const server = http.createServer((_request, response) => response.end(big));
  const port = await listenFor(t, server);
  const egress = createTestEgress(t, { clock });
  const dispatcher = dispatcherOver(t, clock, egress, 1);
  const tracing = new Tracing(clock.monotonic);
  t.teardown(tracing.watch());
  const first = createCall({ origin: `http://127.0.0.1:${port}` });
  tracing.begin(first.record);
  const response = await dispatcher.send(first);
  const second = createCall({ origin: `http://127.0.0.1:${port}` });
  tracing.begin(second.record);
  const ended = dispatcher.send(second).then(read);
  await new Promise((resolve) => setImmediate(resolve));
  clock.at += 700;
  await read(response, (nth) => {
    if (nth !== 2) return true;
    setImmediate(() => {
      clock.at += 300;
      response.resume();
    });
    return false;
  });
  await ended;
  t.equal(shown(first).stalled, 300);
  t.equal(shown(second).stalled, 0);
  t.ok((shown(second).attempts[0]?.pool ?? 0) >= 700, 'the time without a connection');
});

t.test('what is written and not taken yet counts as standing still', async (t) => {
  const clock = new HandClock();
  const record = createCall().record;
  new Tracing(clock.monotonic).begin(record);
  let flushed = () => {};
  const response = {
    end(done: () => void) {
      flushed = done;
    },
  };
  const sink = new ResponseSink(response as never, record, createResponse(200));
  sink.end();
  clock.at += 400;
  flushed();
  await sink.done;
  t.match(JSON.parse(record.trace?.text() ?? ''), { stalled: 400 });
});

t.test('waits for a limit, a token and another try come in their order, each with its time', async (t) => {
  let calls = 0;
  const stack = createStack((clock) => async (request) => {
    calls += 1;
    const attempt = request.record.trace?.attempt();
    attempt?.permitted();
    request.record.attempts += 1;
    await new Promise<void>((resolve) => clock.after(80, resolve));
    const [status, headers] = [[503, {}] as const, [429, { 'Retry-After': '4' }] as const][calls - 1] ?? [200, {}];
    attempt?.answered(status);
    attempt?.ended();
    return createResponse(status, headers);
  });
  const call = createCall();
  const tracing = new Tracing(stack.clock.monotonic);
  tracing.begin(call.record);
  call.record.trace?.handOver();
  const outcome = stack.run(call);
  await stack.clock.advance(15_000);
  t.equal(outcome.status, 200);
  const trace = shown(call);
  t.strictSame(
    trace.waits.map(({ for: what }) => what),
    ['pause', 'queue'],
  );
  t.strictSame(
    trace.attempts.map(({ status }) => status),
    [503, 429, 200],
  );
  const [pause, queue] = trace.waits;
  t.equal(pause?.at, 80, 'after the first attempt');
  t.equal(queue?.at, (pause?.at ?? 0) + (pause?.ms ?? 0) + 80);
  const whole = trace.rules + trace.waits.concat(trace.attempts as never[]).reduce((sum, { ms }) => sum + ms, 0);
  t.equal(whole, outcome.tookMs, 'nothing is left out, nothing counts twice');

  const clock = createFakeClock();
  const token = { authorization: 'Bearer x', fingerprint: '~0', expiresAt: Number.POSITIVE_INFINITY } as Token;
  const source = {
    current: () => null,
    token: () => new Promise<Token>((resolve) => clock.after(250, () => resolve(token))),
  };
  const answer: Send = async () => createResponse(200);
  const waiting = Object.assign(createCall(), { source });
  new Tracing(clock.monotonic).begin(waiting.record);
  const sent = withToken(answer, { clock, routeOf: () => '' })(waiting as never);
  await clock.advance(250);
  await sent;
  t.strictSame(shown(waiting).waits, [{ for: 'token', at: 0, ms: 250 }]);
});

t.test('two gateways of one process, and requests of others, keep their connections apart', async (t) => {
  const clock = new HandClock();
  const server = http.createServer((_request, response) => response.end('ok'));
  const port = await listenFor(t, server);
  const origin = `http://127.0.0.1:${port}`;
  const egress = createTestEgress(t, { clock });
  const [one, other] = [dispatcherOver(t, clock, egress), dispatcherOver(t, clock, egress)];
  const [watched, unwatched] = [new Tracing(clock.monotonic), new Tracing(clock.monotonic)];
  t.teardown(watched.watch());
  const [first] = await Promise.all([
    send(one, createCall({ origin }), watched),
    send(other, createCall({ origin }), unwatched),
    (await fetch(origin)).text(),
    one.agent.request({ origin, path: '/', method: 'GET' }).then(({ body }) => body.dump()),
  ]);
  t.match(shown(first).attempts, [{ status: 200, dial: { tcp: Number } }]);
  const both = unwatched.watch();
  watched.watch()();
  clock.at += 10;
  t.match(shown(await send(other, createCall({ origin }), unwatched)).attempts, [{ status: 200, age: Number }]);
  both();
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
});

t.test('of a flood as many calls are traced as somebody can look at, and each one where all are asked for', (t) => {
  const clock = new HandClock();
  const tracing = new Tracing(clock.monotonic);
  const traced = (calls: number, ms: number) => {
    let count = 0;
    for (let at = 0; at < calls; at++) {
      clock.at += ms / calls;
      const record = createExchangeRecord(clock.at);
      tracing.begin(record);
      if (record.trace !== null) count += 1;
    }
    return count;
  };
  const leave = tracing.watch('some');
  t.equal(traced(300, 0), 300, 'a burst');
  t.ok(Math.abs(traced(40_000, 10_000) - 3_000) <= 1, 'each thirteenth or so');
  t.equal(traced(1_000, 10_000), 1_000, 'what is no flood');
  const end = tracing.watch('each');
  t.equal(traced(5_000, 1_000), 5_000);
  end();
  end();
  t.ok(traced(5_000, 1_000) <= 600, 'not any more');
  leave();
  t.end();
});
