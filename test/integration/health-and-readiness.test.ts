// /livez says that the process answers; /readyz that calls would be served, and changes with the token and the end.

import t from 'tap';
import { systemClock } from '../../src/clock.ts';
import { createGateway } from '../../src/gateway.ts';
import { configAt, createTestLog, credentialAt, startGateway } from '../helpers/gateway.ts';
import { exchangeRaw, headerOf, parseAnswer } from '../helpers/raw-http.ts';
import { isRefusal } from '../helpers/refusal.ts';

/** As the kubelet asks: by the address of the pod. */
const probe = async (port: number, path: string, method = 'GET', host = '10.244.1.7:8080') => {
  const answer = parseAnswer(
    await exchangeRaw(
      port,
      `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: kube-probe/1.31\r\nConnection: close\r\n\r\n`,
      () => false,
    ),
  );
  return { status: answer.status, document: answer.body === '' ? null : JSON.parse(answer.body), headers: answer };
};

t.test('live from the start, ready with the first token', async (t) => {
  const { port, sandbox } = await startGateway(t, {
    sandbox: { switches: { tokenEndpoint: { fault: 'hang' } } },
    awaitReady: false,
  });
  t.match(await probe(port, '/livez'), { status: 200, document: { status: 'ok' } });
  t.match(await probe(port, '/healthz'), { status: 200 });
  t.match(await probe(port, '/readyz'), {
    status: 503,
    document: {
      status: 'waiting',
      credentials: [{ name: 'default', required: true, token: 'none', renewal: 'running' }],
    },
  });
  if (sandbox.stats.inFlight.token === 0) await sandbox.events.next('held');
  const answered = sandbox.events.next('answer', ({ kind }) => kind === 'token');
  sandbox.set({ tokenEndpoint: null });
  sandbox.release();
  await answered;
  t.match(await probe(port, '/readyz'), {
    status: 200,
    document: { status: 'ready', credentials: [{ token: 'fresh', renewal: 'idle' }] },
  });
});

t.test('an unready credential that is not required does not matter', async (t) => {
  const { port } = await startGateway(t, {
    config: (origin) => ({
      credentials: [
        credentialAt(origin),
        credentialAt(origin, { name: 'other', clientId: 'nobody', isDefault: false, isRequired: false }),
      ],
    }),
  });
  t.match(await probe(port, '/readyz'), { status: 200, document: { status: 'ready' } });
});

t.test('a refused credential is not ready, and stays alive', async (t) => {
  const { port, log } = await startGateway(t, {
    config: (origin) => ({ credentials: [credentialAt(origin, { clientId: 'nobody' })] }),
    awaitReady: false,
  });
  await exchangeRaw(port, 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n');
  t.match(await probe(port, '/readyz'), {
    status: 503,
    document: { credentials: [{ token: 'none', renewal: 'rejected' }] },
  });
  t.match(await probe(port, '/livez'), { status: 200 });
  t.equal(log.lines.filter(({ level }) => level === 'error').length <= 1, true);
});

t.test('ready ends with the token, and comes back with the next one, without any call', async (t) => {
  let shiftMs = 0;
  const clock = {
    ...systemClock,
    now: () => systemClock.now() + shiftMs,
    monotonic: () => systemClock.monotonic() + shiftMs,
  };
  const { port, sandbox, gateway } = await startGateway(t, { clock, sandbox: { clock } });
  t.match(await probe(port, '/readyz'), { status: 200, document: { status: 'ready' } });
  sandbox.set({ tokenEndpoint: { fault: 'down' } });
  shiftMs = 2 * 86_400_000;
  t.match(await probe(port, '/readyz'), {
    status: 503,
    document: { status: 'waiting', credentials: [{ token: 'expired' }] },
  });
  const { source } = gateway.runtime().credentials.default()!;
  await t.rejects(source.refresh());
  t.match(await probe(port, '/readyz'), {
    status: 503,
    document: { credentials: [{ token: 'expired', renewal: 'backoff' }] },
  });
  const renewed = sandbox.events.next('answer', ({ kind, status }) => kind === 'token' && status === 200);
  sandbox.set({ tokenEndpoint: null });
  await renewed;
  await source.token();
  t.match(await probe(port, '/readyz'), {
    status: 200,
    document: { status: 'ready', credentials: [{ token: 'fresh', renewal: 'idle' }] },
  });
});

t.test('HEAD has no body, nothing is cached, no secret shows, other methods are refused', async (t) => {
  const { port } = await startGateway(t);
  const head = await probe(port, '/readyz', 'HEAD');
  t.match(head, { status: 200, document: null });
  t.equal(headerOf(head.headers, 'Cache-Control'), 'no-store');
  t.match(headerOf(head.headers, 'X-Gateway-Request-Id'), /^[0-9a-f-]{36}$/);
  t.notMatch(JSON.stringify((await probe(port, '/readyz')).document), /secret|token":"[^fdne]/);
  isRefusal(t, await exchangeRaw(port, 'POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n'), 405);
});

t.test('a health listener answers health, to any Host, and forwards nothing', async (t) => {
  const { sandbox, config } = await startGateway(t);
  const { origin } = config.credentials[0]!.hosts.api;
  const gateway = await createGateway(
    configAt(origin, { server: { healthListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }], listen: [] } }),
    {
      log: createTestLog(),
      env: {},
    },
  );
  const [address] = await gateway.listen();
  t.teardown(() => gateway.drain());
  const port = Number(new URL(address as string).port);
  await gateway.runtime().credentials.default()?.source.token();
  t.match(await probe(port, '/readyz'), { status: 200 });
  isRefusal(
    t,
    await exchangeRaw(port, 'GET /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    404,
    'gateway.route.not.found',
  );
  t.equal(sandbox.stats.apiCallsTotal, 0);
});

t.test(
  'whoever comes by a name that is not ours, as a page does whose name was rebound, gets health without names, and ' +
    'no metrics',
  async (t) => {
    const { config } = await startGateway(t);
    const { origin } = config.credentials[0]!.hosts.api;
    const anywhere = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
    const named = [
      'localhost',
      '127.0.0.1',
      '10.244.1.7:9090',
      '[fd00::7]:9090',
      'gcg.monitoring.svc',
      'GCG.monitoring.svc:9090',
      'apps.example',
    ];
    const strange = [
      'evil.example',
      'evil.example:9090',
      'localhost.evil.example',
      '10.244.1.7.evil.example',
      'probe',
      'gcg.monitoring.svc.evil.example',
    ];
    for (const server of [
      { healthListen: [anywhere], listen: [] },
      { adminListen: [anywhere] },
      { listen: [anywhere] },
    ]) {
      const settings = { ...server, allowedHosts: ['gcg.monitoring.svc'], publicUrl: 'https://apps.example/gcg' };
      const gateway = await createGateway(configAt(origin, { server: settings }), { log: createTestLog(), env: {} });
      const [address] = await gateway.listen();
      t.teardown(() => gateway.drain());
      const port = Number(new URL(address as string).port);
      await gateway.runtime().credentials.default()?.source.token();
      const hasMetrics = server.healthListen !== undefined || server.adminListen !== undefined;
      const metricsStatus = async (host: string) =>
        parseAnswer(
          await exchangeRaw(port, `GET /metrics HTTP/1.1\r\nHost: ${host}\r\n\r\n`, (text) => /\r\n\r\n/.test(text)),
        ).status;
      for (const host of named) {
        t.match(
          await probe(port, '/readyz', 'GET', host),
          { status: 200, document: { status: 'ready', credentials: [{ name: 'default' }] } },
          host,
        );
        t.equal((await probe(port, '/livez', 'GET', host)).status, 200, host);
        t.equal(await metricsStatus(host), hasMetrics ? 200 : 404, host);
      }
      for (const host of strange) {
        const { status, document } = await probe(port, '/readyz', 'GET', host);
        t.strictSame([status, document], [200, { status: 'ready' }], host);
        t.equal((await probe(port, '/livez', 'GET', host)).status, 200, host);
        t.equal(await metricsStatus(host), 403, host);
      }
    }
  },
);
