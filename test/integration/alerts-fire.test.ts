// The alert rules and the dashboard of examples/, evaluated by Prometheus itself over scrapes of gateways to which each
// rule's cause happens: it fires, no other does, and its words are whole.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { inlineSecret } from '../../src/secret.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { clientNamed } from '../helpers/clients.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { type ConfigOverrides, credentialAt, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { MAIN } from '../helpers/program.ts';
import { goingOn, type InputSeries, MINUTES, promtool, whyNoPromtool } from '../helpers/prometheus.ts';

const read = (path: string) => readFileSync(new URL(`../../examples/${path}`, import.meta.url), 'utf8');
const RULES = read('prometheus/alerts.yml');
const FREE = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
const TARGET = { instance: 'gw:9090' };
const skip = whyNoPromtool();

interface Rule {
  readonly alert: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}
const { groups } = parse(RULES) as { groups: [{ rules: Rule[] }] };
const rules = new Map(groups[0].rules.map((rule) => [rule.alert, rule]));

/** What a rule's cause makes of a gateway's series, and what is told then. */
interface Happening {
  readonly series: readonly InputSeries[];
  /** By alert, the labels beside severity. None: nothing fires. */
  readonly fires: Readonly<Record<string, readonly Record<string, string>[]>>;
}

async function scrape({ url }: Pick<TestGateway, 'url'>): Promise<string> {
  return (await fetch(`${url}/metrics`, { headers: { 'x-gateway-key': 'ops-secret' } })).text();
}

/** A gateway with an admin listener; `cause` happens between two scrapes. */
async function happening(
  t: Test,
  config: ConfigOverrides | ((origin: string) => ConfigOverrides),
  cause: (gateway: TestGateway) => Promise<unknown>,
  fires: Happening['fires'],
  awaitReady = true,
): Promise<Happening> {
  const gateway = await startGateway(t, {
    awaitReady,
    config: (origin) => {
      const given = typeof config === 'function' ? config(origin) : config;
      return { ...given, server: { adminListen: [FREE], ...given.server } };
    },
  });
  const before = await scrape(gateway);
  await cause(gateway);
  return { series: goingOn(before, await scrape(gateway)), fires };
}

const call = async ({ url }: Pick<TestGateway, 'url'>, headers: Record<string, string> = {}, path = '/api/v2/users') =>
  (await (await fetch(`${url}${path}`, { headers })).text()).length;

const times = (count: number, one: (at: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: count }, (_, at) => one(at)));

const wrongSecret = (origin: string, isRequired: boolean, name = 'default') =>
  credentialAt(origin, {
    name,
    isDefault: isRequired,
    isRequired,
    clientSecret: inlineSecret('not-the-secret', 'test'),
  });

/** `gcg serve` whose log cannot be written and whose file turns bad. */
async function brokenOutside(t: Test): Promise<Happening> {
  // Paths of sockets must be short.
  const folder = mkdtempSync(join(tmpdir(), 'gcg-'));
  const [file, socketPath] = [join(folder, 'gcg.ini'), join(folder, 's')];
  const { id, secret } = DEMO_CLIENTS.clientCredentials;
  const text = (more: string) =>
    `[gateway]\nhost = 127.0.0.1\nport = 9\nprotocol = http\n[server]\nlisten = unix:${socketPath}\n` +
    `[credential]\nclient_id = ${id}\nclient_secret = ${secret}\n[logging]\nlog_level = trace\n${more}`;
  writeFileSync(file, text(''), { mode: 0o600 });
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', file], {
    env: { ...childEnvironment, HOME: '/nonexistent', NOTIFY_SOCKET: '' },
    stdio: ['ignore', openSync('/dev/full', 'w'), 'ignore'],
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
    rmSync(folder, { recursive: true, force: true });
  });
  const ask = (path: string, method = 'GET') =>
    new Promise<string>((resolve, reject) => {
      request({ socketPath, path, method, headers: { host: 'localhost', 'x-gateway-request': '1' } }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk) => (body += chunk));
        response.on('end', () => resolve(body));
      })
        .on('error', reject)
        .end();
    });
  for (;;) {
    if (await ask('/livez').catch(() => '')) break;
    if (child.exitCode !== null) throw new Error(`gcg serve ended with ${child.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const before = await ask('/metrics');
  writeFileSync(file, text('nonsense = 1\n'), { mode: 0o600 });
  await ask('/-/reload', 'POST');
  const fat = `/-/status?${'x'.repeat(8000)}`;
  for (;;) {
    await times(20, () => ask(fat));
    const after = await ask('/metrics');
    if (!/^gcg_log_records_dropped_total [1-9]/m.test(after)) continue;
    // The host that is not there is another story.
    const series = goingOn(before, after).filter((one) => /^(?:gcg_(?:log|config)|up)/.test(one.series));
    return { series, fires: { GatewayConfigRefused: [TARGET], GatewayLogRecordsDropped: [TARGET] } };
  }
}

/** A call that lasts six seconds by the process's own clock, which nobody has to wait for. */
async function slowCall(gateway: TestGateway): Promise<void> {
  gateway.sandbox.set({ holdApi: { next: 1 } });
  const held = gateway.sandbox.events.next('held');
  const slow = call(gateway);
  await held;
  const { now } = performance;
  performance.now = () => now.call(performance) + 6000;
  gateway.sandbox.release();
  await slow;
  await gateway.log.nextExchange(({ durationMs }) => durationMs > 5000);
  performance.now = now;
}

async function happenings(t: Test): Promise<Record<string, Happening>> {
  const ca = await createTestCa();
  t.teardown(() => ca.close());
  const ending = (days: number) => ca.issue(['x'], { notAfter: new Date(Date.now() + days * 86_400_000) });
  const upstreamTls = ({ certFile, keyFile }: { certFile: string; keyFile: string }) => ({
    tls: { certFile, keyFile },
  });
  const noRetry = { retry: { max: 0 } };
  const credential = { ...TARGET, credential: 'default' };
  const clients = [clientNamed('crm'), clientNamed('ops', { isAdmin: true })];
  const asCrm = { 'x-gateway-key': 'crm-secret' };
  const made: Record<string, Happening> = {};
  made.healthy = await happening(t, { clients }, (gateway) => times(5, () => call(gateway, asCrm)), {});
  made.down = {
    series: [{ series: 'up{job="genesys-cloud-gateway",instance="gw:9090"}', values: `0+0x${MINUTES}` }],
    fires: { GatewayDown: [TARGET] },
  };
  made.absent = { series: [{ series: 'up{job="another"}', values: `1+0x${MINUTES}` }], fires: { GatewayAbsent: [{}] } };
  const rejected = async ({ log }: TestGateway) => {
    await log.nextLine('token state', ({ toRenewal }) => toRenewal === 'rejected');
  };
  made.rejected = await happening(
    t,
    (origin) => ({ credentials: [wrongSecret(origin, true)] }),
    rejected,
    { GatewayCredentialNeedsAttention: [credential], GatewayNoToken: [credential] },
    false,
  );
  made.optional = await happening(
    t,
    (origin) => ({ credentials: [credentialAt(origin), wrongSecret(origin, false, 'me')] }),
    rejected,
    { GatewayOptionalCredentialNeedsAttention: [{ ...TARGET, credential: 'me' }] },
  );
  made.runningOut = await happening(
    t,
    {},
    async (gateway) => {
      const { url, sandbox, log } = gateway;
      await times(30, () => call(gateway));
      const renew = () =>
        fetch(`${url}/-/credentials/default/refresh`, { method: 'POST', headers: { 'x-gateway-request': '1' } });
      sandbox.set({ tokenLifetimeS: 50 });
      await (await renew()).text();
      sandbox.set({ tokenEndpoint: { fault: 'status', status: 503 } });
      await (await renew()).text();
      await log.nextLine('token state', ({ toRenewal }) => toRenewal === 'backoff');
    },
    { GatewayTokenRunningOut: [credential] },
  );
  made.ownErrors = await happening(
    t,
    noRetry,
    async (gateway) => {
      await gateway.sandbox.close();
      await times(5, () => call(gateway));
    },
    { GatewayOwnErrors: [TARGET] },
  );
  made.upstreamErrors = await happening(
    t,
    { retry: { max: 1, waitMinMs: 1, waitMaxMs: 2 } },
    async (gateway) => {
      gateway.sandbox.set({ serverError: { status: 503 } });
      await times(6, () => call(gateway));
    },
    { GatewayUpstreamErrors: [credential] },
  );
  made.flood = await happening(
    t,
    { clients, timeouts: { totalWaitMs: 200 } },
    async (gateway) => {
      gateway.sandbox.set({ rateLimit: { perMinute: 5 } });
      for (let n = 0; n < 5; n += 1) await times(6, () => call(gateway, asCrm));
    },
    { GatewayRateLimited: [{ ...credential, client: 'crm' }] },
  );
  made.queueing = await happening(
    t,
    // Its calls never end.
    { rateLimit: { connections: 1 }, server: { drainTimeoutMs: 0 } },
    async (gateway) => {
      gateway.sandbox.set({ holdApi: {} });
      const held = gateway.sandbox.events.next('held');
      times(103, () => call(gateway).catch(() => 0)).catch(() => 0);
      await held;
      while (!/^gcg_queue_length\{.*\} 1\d\d$/m.test(await scrape(gateway)));
      t.teardown(() => gateway.sandbox.release());
    },
    { GatewayQueueing: [credential] },
  );
  made.guessing = await happening(
    t,
    { clients },
    (gateway) => times(3, (at) => call(gateway, { 'x-gateway-key': `guess-${at}` })),
    { GatewayGuessing: [TARGET] },
  );
  const use = { ...TARGET, use: 'upstream_client' };
  made.expiring = await happening(t, upstreamTls(ending(20)), async () => {}, { GatewayCertificateExpiresSoon: [use] });
  made.expired = await happening(t, upstreamTls(ending(-1)), async () => {}, {
    GatewayCertificateExpiresSoon: [use],
    GatewayCertificateExpired: [use],
  });
  const inDays = (days: number) => Date.now() + days * 86_400_000;
  const ends = [
    ['left', -1],
    ['soon', 20],
    ['later', 22],
  ] as const;
  made.clientEnds = await happening(
    t,
    { clients: [...clients, ...ends.map(([name, days]) => clientNamed(name, { expiresAt: inDays(days) }))] },
    async () => {},
    { GatewayClientExpiresSoon: [{ client: 'soon', ...TARGET }] },
  );
  made.channels = await happening(
    t,
    {},
    (gateway) => times(16, () => fetch(`${gateway.url}/api/v2/notifications/channels`, { method: 'POST' })),
    { GatewayChannelsRunningOut: [credential] },
  );
  made.slow = await happening(t, {}, slowCall, { GatewaySlow: [credential] });
  if (existsSync('/dev/full')) made.broken = await brokenOutside(t);
  return made;
}

const labelsOf = (labels: Record<string, string>) =>
  `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .join(',')}}`;

/** What promtool is to expect at the end: which alerts fire, and the whole of each. */
function asTest(name: string, { series, fires }: Happening): object {
  const at = `${MINUTES}m`;
  return {
    name,
    interval: '1m',
    input_series: series,
    promql_expr_test: [
      {
        expr: 'group by (alertname) (ALERTS{alertstate="firing"})',
        eval_time: at,
        exp_samples: Object.keys(fires).map((alertname) => ({ labels: labelsOf({ alertname }), value: 1 })),
      },
    ],
    alert_rule_test: Object.entries(fires).map(([alertname, alerts]) => ({
      eval_time: at,
      alertname,
      exp_alerts: alerts.map((labels) => expected(alertname, labels)),
    })),
  };
}

function expected(alertname: string, labels: Record<string, string>): object {
  const { annotations = {}, labels: own } = rules.get(alertname) ?? {};
  const fill = (text: string) => text.replace(/\{\{ \$labels\.(\w+) \}\}/g, (_, name) => labels[name] ?? '<no value>');
  const filled = Object.fromEntries(Object.entries(annotations).map(([key, text]) => [key, fill(text)]));
  // Where an expression does not sum by labels, that of the job is kept.
  const isWhole = ['Down', 'Absent', 'ConfigRefused', 'LogRecordsDropped', 'TokenRunningOut'].includes(
    alertname.replace('Gateway', ''),
  );
  return {
    exp_labels: { ...own, ...labels, ...(isWhole && { job: 'genesys-cloud-gateway' }) },
    exp_annotations: filled,
  };
}

/** The dashboard's queries as recording rules, one a query, with its variables filled in as Grafana does for "All". */
function dashboardRules(): { names: string[]; text: string } {
  const { panels } = JSON.parse(read('grafana/dashboard.json')) as {
    panels: { id: number; targets?: { expr: string; refId: string }[] }[];
  };
  const all = panels.flatMap(({ id, targets = [] }) =>
    targets.map(({ expr, refId }) => ({
      record: `panel:${id}${refId}`,
      expr: expr.replaceAll('$__rate_interval', '5m').replace(/\$(?:job|instance|credential|client)\b/g, '.*'),
    })),
  );
  const groups = [{ name: 'dashboard', rules: all }];
  return { names: all.map(({ record }) => record), text: JSON.stringify({ groups }) };
}

t.test('every alert fires when its cause happens, and no other', { skip }, async (t) => {
  const made = await happenings(t);
  const fired = new Set(Object.values(made).flatMap(({ fires }) => Object.keys(fires)));
  t.same(
    [...rules.keys()].filter((name) => !fired.has(name)),
    [],
    'the cause of every rule was made to happen',
  );
  const tests = Object.entries(made).map(([name, one]) => asTest(name, one));
  const test = { rule_files: ['alerts.yml'], evaluation_interval: '1m', tests };
  const result = promtool(['test', 'rules', 'test.yml'], { 'alerts.yml': RULES, 'test.yml': JSON.stringify(test) });
  t.ok(result.ok, result.out);

  const { names, text } = dashboardRules();
  const all = Object.entries(made).flatMap(([name, { series }]) =>
    series.map(({ series: one, values }) => ({
      series: one.replaceAll('gw:9090', name),
      values: values.replace(/x\d+$/, 'x10'),
    })),
  );
  const shown = {
    rule_files: ['dashboard.yml'],
    evaluation_interval: '10m',
    tests: [
      {
        interval: '1m',
        input_series: [...new Map(all.map((one) => [one.series, one])).values()],
        promql_expr_test: [
          {
            expr: 'count by (__name__) (group by (__name__) ({__name__=~"panel:.+"}))',
            eval_time: '10m',
            exp_samples: names.map((name) => ({ labels: labelsOf({ __name__: name }), value: 1 })),
          },
        ],
      },
    ],
  };
  const panels = promtool(['test', 'rules', 'test.yml'], { 'dashboard.yml': text, 'test.yml': JSON.stringify(shown) });
  t.ok(panels.ok, panels.out);
});

t.test('rules and scrape configuration are what Prometheus takes', { skip }, async (t) => {
  const files = { 'alerts.yml': RULES, 'prometheus.yml': read('prometheus/prometheus.yml') };
  const result = promtool(['check', 'config', 'prometheus.yml'], files);
  t.ok(result.ok, result.out);
});
