// GET /metrics of a running gateway: where it is served and to whom, what it counts, and that no caller can make it
// grow.

import { randomUUID } from 'node:crypto';
import t from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { clientNamed } from '../helpers/clients.ts';
import { configAt, createTestLog, startGateway } from '../helpers/gateway.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';

const FREE = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
/** Another word for loopback, so that it is not the listener above. */
const HEALTH = { kind: 'tcp', host: 'localhost', port: 0 } as const;

const scrape = async (url: string, headers = {}) => {
  const answer = await fetch(`${url}/metrics`, { headers });
  return {
    status: answer.status,
    type: answer.headers.get('content-type'),
    code: answer.headers.get('x-gateway-error'),
    text: await answer.text(),
  };
};
const seriesOf = (text: string, series: string) =>
  Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.split(' ')[1] ?? Number.NaN,
  );

const sumOf = (text: string, name: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`))
    .reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);

t.test('2,000 different ids, methods, clients and paths make fewer than 200 series a metric', async (t) => {
  const { url, port } = await startGateway(t, {
    config: { server: { adminListen: [FREE] }, rateLimit: { mode: 'off' } },
  });
  let sent = 0;
  const workers = Array.from({ length: 20 }, async (_, worker) => {
    for (let n = 0; n < 100; n += 1) {
      const id = randomUUID();
      const paths = [
        `/api/v2/users/${id}`,
        `/api/v2/${id}`,
        `/api/v2/users/${id}/${id}?x=${id}`,
        `/${id}`,
        `/api/v2/conversations/${id}/participants/${n}${worker}`,
      ];
      const headers = n % 7 === 0 ? { 'x-gateway-credential': `n${id}` } : {};
      await (
        await fetch(`${url}${paths[n % paths.length]}`, { headers, method: ['GET', 'POST', 'DELETE'][n % 3] as string })
      ).text();
      sent += 1;
    }
  });
  await Promise.all(workers);
  for (let n = 0; n < 50; n += 1) await exchangeRaw(port, `X${n} /api/v2/users HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  t.equal(sent, 2_000);
  const { text } = await scrape(url);
  const perMetric = new Map<string, number>();
  for (const line of text.split('\n')) {
    const name = /^[a-z_]+/i.exec(line)?.[0];
    if (name !== undefined && !line.startsWith('#')) perMetric.set(name, (perMetric.get(name) ?? 0) + 1);
  }
  const [most = 0, where] =
    [...perMetric].map(([name, count]) => [count, name] as const).sort(([a], [b]) => b - a)[0] ?? [];
  t.comment(`most series: ${most} of ${where}; ${perMetric.size} metrics, ${text.length} bytes`);
  t.ok(most < 200, `${most} series of ${where}`);
  t.notMatch(text, /[0-9a-f]{8}-[0-9a-f]{4}/, 'no id is a label');
});

t.test('what came and went is balanced, whatever way it went', async (t) => {
  const { url, port, log, sandbox } = await startGateway(t, { config: { server: { adminListen: [FREE] } } });
  await (await fetch(`${url}/api/v2/users?pageSize=1`)).text();
  await (await fetch(`${url}/livez`)).text();
  await (await fetch(`${url}/nowhere`)).text();
  await (await fetch(`${url}/-/status`)).text();
  await (
    await fetch(`${url}/oauth/token`, {
      method: 'POST',
      body: 'grant_type=client_credentials',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
  ).text();
  await (await fetch(`${url}/api/v2/tokens/me`, { method: 'DELETE' })).text();
  await exchangeRaw(port, 'GET /api/v2/../x HTTP/1.1\r\nHost: localhost\r\n\r\n');
  t.ok(seriesOf((await scrape(url)).text, 'gcg_upstream_connections{state="idle"}') >= 1);
  sandbox.set({ holdApi: { next: 1 } });
  const leaving = new AbortController();
  const held = sandbox.events.next('held');
  const call = fetch(`${url}/api/v2/users?pageSize=2`, { signal: leaving.signal }).catch(() => undefined);
  await held;
  leaving.abort();
  await call;
  await log.nextExchange(({ aborted }) => aborted);
  const { text } = await scrape(url);
  t.equal(seriesOf(text, 'gcg_requests_in_flight'), 1, 'the scrape itself');
  t.equal(seriesOf(text, 'gcg_requests_aborted_total{credential="default"}'), 1);
  t.equal(
    seriesOf(
      text,
      'gcg_requests_total{client="anonymous",credential="default",method="GET",operation="getUsers",' +
        'route="/api/v2/users",status="2xx",source="upstream"}',
    ),
    1,
  );
  t.equal(
    seriesOf(
      text,
      'gcg_requests_total{client="anonymous",credential="none",method="GET",operation="none",route="/livez",' +
        'status="2xx",source="gateway"}',
    ),
    1,
  );
  t.equal(
    seriesOf(
      text,
      'gcg_requests_total{client="anonymous",credential="none",method="GET",operation="none",route="other",' +
        'status="404",source="gateway"}',
    ),
    1,
  );
  t.equal(seriesOf(text, 'gcg_token_requests_total{credential="default",grant="client_credentials",result="ok"}'), 1);
  t.equal(seriesOf(text, 'gcg_token_state{credential="default",required="true",state="fresh"}'), 1);
  const transitions = log.lines.filter(({ msg }) => msg === 'token state');
  t.equal(seriesOf(text, 'gcg_token_transitions_total{credential="default",token="none",renewal="running"}'), 1);
  t.equal(seriesOf(text, 'gcg_token_transitions_total{credential="default",token="fresh",renewal="idle"}'), 1);
  t.equal(sumOf(text, 'gcg_token_transitions_total'), transitions.length, 'one for each record');
  t.ok(seriesOf(text, 'gcg_token_seconds_left{credential="default"}') > 86_000);
  t.equal(seriesOf(text, 'gcg_queue_length{credential="default"}'), 0);
  t.match(text, /^process_resident_memory_bytes \d+/m);
  t.equal(
    log.exchanges.filter(({ target }) => target === '/livez' || target === '/metrics').length,
    0,
    'probes write no records',
  );
  t.equal(log.exchanges.filter(({ target }) => target === '/nowhere').length, 1);
});

t.test('a health listener answers probes by GET, to everybody and to any Host, and nothing else', async (t) => {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const server = { adminListen: [FREE], healthListen: [HEALTH] };
  const gateway = await createGateway(configAt(origin, { server, clients: [clientNamed('crm', { isAdmin: true })] }), {
    log: createTestLog(),
    env: {},
  });
  t.teardown(() => gateway.drain());
  const [data = '', health = ''] = await gateway.listen();
  await gateway.runtime().credentials.default()?.source.token();
  t.equal((await scrape(health, { host: 'gateway.monitoring.svc' })).status, 200);
  t.match((await scrape(health)).type, /^text\/plain; version=0\.0\.4/);
  t.equal((await fetch(`${health}/readyz`)).status, 200);
  const head = await fetch(`${health}/metrics`, { method: 'HEAD' });
  t.equal(await head.text(), '');
  for (const [method, path, status] of [
    ['POST', '/livez', 405],
    ['DELETE', '/metrics', 405],
    ['GET', '/api/v2/users', 404],
    ['GET', '/-/status', 404],
    ['GET', '/', 404],
    ['POST', '/-/reload', 404],
    ['POST', '/oauth/token', 404],
  ] as const) {
    t.equal(
      (
        await fetch(`${health}${path}`, {
          method,
          headers: { 'x-gateway-key': 'crm-secret', 'x-gateway-request': '1' },
        })
      ).status,
      status,
      `${method} ${path}`,
    );
  }
  t.equal((await scrape(data)).status, 401, 'on the admin listener a client with admin is asked for');
  t.equal((await scrape(data, { 'x-gateway-key': 'crm-secret' })).status, 200);
});

t.test('a listener for calls alone has no metrics, and a client without admin gets none', async (t) => {
  const { url } = await startGateway(t, { config: { clients: [clientNamed('crm')] } });
  t.equal((await scrape(url, { 'x-gateway-key': 'crm-secret' })).status, 404);
  const admin = await startGateway(t, { config: { server: { adminListen: [FREE] }, clients: [clientNamed('crm')] } });
  t.equal((await scrape(admin.url, { 'x-gateway-key': 'crm-secret' })).code, 'gateway.client.forbidden');
});
