// What becomes of a call whose connection the other side ends just as it is sent: the layers of retry and dispatch over
// real sockets.

import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { GatewayError } from '../../../src/errors.ts';
import { QueueCapacity } from '../../../src/upstream/call.ts';
import { UpstreamDispatcher } from '../../../src/upstream/dispatcher.ts';
import { withRetry } from '../../../src/upstream/retry.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { startRawServer } from '../../helpers/raw-http.ts';
import { createCall } from './layer-fixtures.ts';

/** How the other side ends it, upon a request. */
const ENDS: Record<string, (socket: Socket) => void> = {
  'a FIN': (socket) => void socket.end(),
  'a reset': (socket) => void socket.resetAndDestroy(),
  'half a status line': (socket) => void socket.end('HTTP/1.1 2'),
};

const UNREACHABLE = new GatewayError('gateway.upstream.unreachable', 'refused by the test');

async function createScene(t: Test, retryMax = 3) {
  const clock = createFakeClock();
  /** By the method: on which connections it came. */
  const requests: Record<string, number[]> = {};
  const state = { end: null as ((socket: Socket) => void) | null, connections: 0, dials: 0, isThere: true };
  const server = await startRawServer(t, (socket) => {
    state.connections += 1;
    const connection = state.connections;
    socket.setEncoding('latin1').on('data', (text: string) => {
      const method = text.split(' ', 1)[0] as string;
      requests[method] ??= [];
      requests[method].push(connection);
      const { end } = state;
      state.end = null;
      if (end === null) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      else end(socket);
    });
  });
  const dispatcher = new UpstreamDispatcher({
    connect(_options, callback) {
      state.dials += 1;
      if (!state.isThere) return void setImmediate(() => callback(UNREACHABLE, null));
      const socket = connect(server.port, '127.0.0.1', () => callback(null, socket));
      // Of a dial in the background that the end of the test cuts.
      socket.on('error', () => {});
    },
    ...{ headersMs: 60_000, bodyMs: 60_000, clock, random: () => 0, connections: 256 },
    capacity: new QueueCapacity(1000),
    warm: { keepWarmMs: 3_600_000, hosts: null },
  });
  t.teardown(() => dispatcher.destroy());
  const send = withRetry(dispatcher.send, {
    ...{ clock, random: () => 0, totalWaitMs: 15_000 },
    settings: { max: retryMax, waitMinMs: 1_000, waitMaxMs: 5_000 },
  });
  /** Resolves with the attempts that it took, and how it ended. */
  const call = async (method: string) => {
    const request = createCall({ method, origin: server.origin });
    const outcome = await send(request).then(
      async (response) => {
        await new Promise<void>((resolve, reject) => {
          response.pipe({ write: () => true, end: () => resolve(), fail: reject });
        });
        return response.statusCode;
      },
      (error: { code: string }) => error.code,
    );
    while (dispatcher.connections().active > 0) await new Promise((resolve) => setImmediate(resolve));
    return { attempts: request.record.attempts, outcome };
  };
  return { clock, requests, state, dispatcher, call };
}

for (const [what, end] of Object.entries(ENDS)) {
  for (const method of ['GET', 'HEAD', 'OPTIONS'])
    t.test(`${method} on a kept connection that ends by ${what} is sent again at once`, async (t) => {
      const { clock, requests, state, call } = await createScene(t);
      await call('GET');
      await clock.advance(60_000);
      state.end = end;
      t.same(await call(method), { attempts: 2, outcome: 200 });
      t.same(requests[method]?.slice(-2), [1, 2]);
      t.equal(clock.monotonic(), 60_000, 'without a wait');
    });

  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
    t.test(`${method} on one that was used just now, and ends by ${what}, is not sent again`, async (t) => {
      const { clock, requests, state, call } = await createScene(t);
      await call('GET');
      await clock.advance(3_000);
      state.end = end;
      t.same(await call(method), { attempts: 1, outcome: 'gateway.upstream.unreachable' });
      t.same(requests[method], [1]);
    });

  t.test(`GET on a new connection that ends by ${what} is sent again after a wait`, async (t) => {
    const { clock, requests, state, call } = await createScene(t);
    state.end = end;
    const called = call('GET');
    while (requests.GET === undefined) await clock.settle();
    await clock.settle();
    t.equal(requests.GET.length, 1);
    while (clock.monotonic() < 1_000 || requests.GET.length === 1) await clock.advance(100);
    t.same(await called, { attempts: 2, outcome: 200 });
  });
}

for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
  t.test(`${method} is not sent on a connection that may be about to end`, async (t) => {
    const { clock, requests, state, call } = await createScene(t);
    await call('GET');
    await clock.advance(10_000);
    state.end = null;
    t.same(await call(method), { attempts: 1, outcome: 200 });
    t.same(requests[method], [2]);
  });

t.test('a retry does not go by a connection that was idle for as long', async (t) => {
  const { clock, requests, state, call } = await createScene(t);
  await Promise.all([call('GET'), call('GET'), call('GET')]);
  t.equal(state.dials, 3);
  await clock.advance(20_000);
  state.end = (socket) => void socket.resetAndDestroy();
  t.same(await call('GET'), { attempts: 2, outcome: 200 });
  t.equal(requests.GET?.at(-1), 4);
});

t.test('with retries off a GET does not go by a connection that may be about to end either', async (t) => {
  const { clock, requests, call } = await createScene(t, 0);
  await call('GET');
  await clock.advance(10_000);
  t.same(await call('GET'), { attempts: 1, outcome: 200 });
  t.same(requests.GET, [1, 2]);
});

t.test(
  'while the breaker is open nothing is dialled in the background; a call that gets through begins it',
  async (t) => {
    const { clock, state, dispatcher, call } = await createScene(t, 0);
    state.isThere = false;
    for (let nth = 0; nth < 5; nth += 1) t.match(await call('GET'), { outcome: 'gateway.upstream.unreachable' });
    t.match(dispatcher.origins(), [{ breaker: 'open' }]);
    await clock.advance(30 * 60_000);
    t.equal(state.dials, 5);
    state.isThere = true;
    t.match(await call('GET'), { outcome: 200 });
    for (let nth = 0; nth < 70; nth += 1) await call('HEAD');
    t.match(dispatcher.origins(), [{ breaker: 'closed' }]);
    while (dispatcher.connections().unused === 0) await clock.settle();
  },
);
