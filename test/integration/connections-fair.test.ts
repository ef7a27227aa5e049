// Connections to the region are given out by client, then by credential: whoever makes many slow calls is slow alone,
// and no wait is without end.

import t, { type Test } from 'tap';
import { inlineSecret } from '../../src/secret.ts';
import { clientNamed } from '../helpers/clients.ts';
import { ok } from '../helpers/direct.ts';
import { type ConfigOverrides, configAt, credentialAt, startGatewayWith } from '../helpers/gateway.ts';
import { openCaller, type RawCaller } from '../helpers/raw-caller.ts';
import { exchangeRaw, startRawUpstream } from '../helpers/raw-http.ts';

const callOf = (client: string, path: string, method = 'GET') =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Key: ` +
  `${client}-secret\r\n${method === 'POST' ? 'Content-Length: 4\r\n\r\nbody' : '\r\n'}`;

/**
 * An upstream that never answers `/slow`, and a gateway for the clients a and b, each of which may use both
 * credentials.
 */
async function start(t: Test, overrides: ConfigOverrides = {}) {
  const upstream = await startRawUpstream(
    t,
    (socket, request) => void (request.includes('/slow') || socket.write(ok('{}'))),
  );
  const given = (name: string) =>
    credentialAt(upstream.origin, {
      name,
      isDefault: name === 'default',
      grantType: 'access_token',
      clientId: null,
      clientSecret: null,
      accessToken: inlineSecret(`token-of-${name}`, 'test'),
    });
  const config = configAt(upstream.origin, {
    credentials: [given('default'), given('second')],
    clients: ['a', 'b'].map((name) => clientNamed(name, { credentials: ['default', 'second'] })),
    retry: { max: 0 },
    server: { drainTimeoutMs: 50 },
    ...overrides,
  });
  const started = await startGatewayWith(t, config);
  const flood = async (calls: number, path: string, method = 'GET', perCaller = 20): Promise<RawCaller[]> => {
    const callers: RawCaller[] = [];
    for (let left = calls; left > 0; left -= perCaller) {
      const caller = await openCaller(t, started.port);
      caller.socket.write(callOf('a', path, method).repeat(Math.min(left, perCaller)));
      callers.push(caller);
    }
    // By the time another call is answered, the gateway has seen what came before it.
    for (let n = 0; n < 3; n += 1) await exchangeRaw(started.port, 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
    return callers;
  };
  const ask = async (client: string, path: string, method: string) => {
    const init = {
      method,
      headers: { 'x-gateway-key': `${client}-secret` },
      signal: AbortSignal.timeout(60_000),
      ...(method === 'POST' && { body: 'x' }),
    };
    return fetch(`${started.url}${path}`, init).then(
      async (answer) => ({
        status: answer.status,
        code: answer.headers.get('x-gateway-error'),
        retryAfter: answer.headers.get('retry-after'),
      }),
      (error) => ({ status: 0, code: error.name as string | null, retryAfter: null }),
    );
  };
  return {
    ...started,
    ...upstream,
    config,
    flood,
    ask,
    occupancy: () => started.gateway.runtime().upstream.dispatcher.occupancy(),
  };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise<void>((resolve) => setImmediate(resolve));
}

for (const calls of [64, 256, 600]) {
  for (const method of ['GET', 'POST']) {
    t.test(`${calls} never-ending ${method} calls of one client leave connections to everybody else`, async (t) => {
      const { flood, ask, log } = await start(t, { timeouts: { totalWaitMs: 60_000 } });
      await flood(calls, '/api/v2/slow', method);
      const askers = [
        ['b', '/api/v2/users'],
        ['b', '/second/api/v2/users'],
        ['a', '/second/api/v2/users'],
      ] as const;
      for (const [client, path] of askers)
        for (const asked of ['GET', 'POST'])
          t.match(await ask(client, path, asked), { status: 200 }, `${asked} ${path} of ${client}`);
      for (const record of log.exchanges.filter(({ route }) => route.includes('users')))
        t.match(record, { attempts: 1, status: 200 });
    });
  }
}

t.test(
  'who finds no connection waits no longer than total_wait, and the record does not blame the region',
  async (t) => {
    const { flood, ask, log, requests } = await start(t, {
      rateLimit: { connections: 4 },
      timeouts: { totalWaitMs: 200 },
    });
    await flood(4, '/api/v2/slow', 'GET', 1);
    await until(() => requests.length === 4);
    const asked = ['a', 'b'].flatMap((client) =>
      ['/api/v2/users', '/second/api/v2/users'].flatMap((path) =>
        ['GET', 'POST'].map((method) => ask(client, path, method)),
      ),
    );
    for (const answer of await Promise.all(asked))
      t.same(answer, { status: 503, code: 'gateway.upstream.unavailable', retryAfter: '1' });
    t.equal(log.exchanges.length, 8);
    for (const record of log.exchanges.filter(({ target }) => target.includes('users'))) {
      t.match(record, { attempts: 0, upstreamMs: 0, heldBy: /^the connections to http/, source: 'gateway' });
      t.ok(record.queueMs >= 190, `${record.queueMs} ms`);
    }
    t.equal(requests.length, 4, 'nothing was sent');
  },
);

t.test('a flood of pipelined calls is bounded by queue_max, and delays nobody else', async (t) => {
  const { flood, ask, occupancy, gateway } = await start(t, {
    timeouts: { totalWaitMs: 60_000 },
    rateLimit: { connections: 8, queueMax: 100 },
  });
  await flood(10_000, '/api/v2/slow', 'GET', 1_000);
  await until(() => occupancy().waiting === 100);
  t.equal(occupancy().running, 7, 'one is left to others');
  t.match(
    await ask('a', '/api/v2/users', 'GET'),
    { status: 429, code: 'gateway.rate.limited', retryAfter: '1' },
    'its own next call is refused at once',
  );
  for (const method of ['GET', 'POST']) t.match(await ask('b', '/api/v2/users', method), { status: 200 });
  t.ok(gateway.runtime().upstream.parts.limits.capacity.waiting >= 98, 'two of its calls gave way');
});

t.test(
  'the connections held and the calls that wait go on to count over a reload that keeps the connections',
  async (t) => {
    const { flood, ask, occupancy, gateway, requests, config } = await start(t, {
      rateLimit: { connections: 4, queueMax: 2 },
      timeouts: { totalWaitMs: 60_000 },
    });
    const callers = await flood(6, '/api/v2/slow', 'GET', 1);
    await until(() => requests.length === 4 && occupancy().waiting === 2);
    const before = gateway.runtime().upstream;
    gateway.replace({ ...config, retry: { ...config.retry, waitMaxMs: 1_000 } });
    t.not(gateway.runtime().upstream, before);
    t.same(occupancy(), { running: 4, waiting: 2 });
    t.match(await ask('a', '/api/v2/users', 'GET'), { status: 429 });
    gateway.replace({ ...config, rateLimit: { ...config.rateLimit, connections: 5 } });
    t.same(occupancy(), { running: 0, waiting: 0 }, 'another number is another set of connections');
    t.match(await ask('a', '/api/v2/users', 'GET'), { status: 200 });
    for (const { socket } of callers.slice(0, 4)) socket.destroy();
    await until(() => requests.length === 7);
    t.equal(before.dispatcher.occupancy().running, 2, 'calls that waited before the reload are sent all the same');
  },
);
