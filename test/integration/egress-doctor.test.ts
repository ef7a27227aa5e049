// `gcg doctor`: each fault on the way to Genesys Cloud is named at its step, with what to change, and the exit code
// fits.

import http from 'node:http';
import https from 'node:https';
import t from 'tap';
import { Agent } from 'undici';
import { createToken, type Token } from '../../src/auth/credentials/token-source.ts';
import { type DoctorDeps, doctor } from '../../src/cli/commands/doctor.ts';
import type { DoctorStep } from '../../src/cli/examination.ts';
import { systemClock } from '../../src/clock.ts';
import type { CredentialConfig, GatewayConfig, UpstreamHosts } from '../../src/config/gateway-config.ts';
import { GatewayError } from '../../src/errors.ts';
import { inlineSecret, Secret } from '../../src/secret.ts';
import { createPost } from '../../src/upstream/upstream.ts';
import { createTestCa } from '../helpers/certificates.ts';
import { createTestEgress, listenFor, type TestEgressOptions } from '../helpers/egress.ts';
import { freePort, startConnectProxy } from '../helpers/proxies.ts';

const ca = await createTestCa('Interception CA');
t.teardown(() => ca.close());
const trusting = { caFile: ca.caFile };
const CANARY = 'doctor-token-canary';

interface Setting {
  egress?: TestEgressOptions;
  deps?: Partial<DoctorDeps>;
  answer?: { headers?: Record<string, string>; withToken?: number };
  port?: number;
  json?: boolean;
  /** A file: `tls.cert_file`. */
  ownCertificate?: string | null;
  /** `tracing.otlp_endpoint`. */
  collector?: string | null;
}
type Tap = { teardown(fn: () => unknown): void };

/** Runs the doctor against one host that plays API and login, over TLS. */
async function run(
  t: Tap,
  { egress = {}, deps = {}, answer = {}, port, json = true, ownCertificate = null, collector = null }: Setting = {},
) {
  const seen: string[] = [];
  const server = https.createServer(ca.issue(['api.region.test']), (req, res) => {
    seen.push(
      `${req.method} ${req.url} ${req.headers.authorization === `Bearer ${CANARY}` ? 'with token' : 'without'}`,
    );
    const status = req.headers.authorization ? (answer.withToken ?? 200) : 401;
    res.writeHead(status, { 'content-type': 'application/json', 'inin-correlation-id': 'abc-123', ...answer.headers });
    res.end('{}');
  });
  const listening = port ?? (await listenFor(t, server));
  const origin = `https://api.region.test:${listening}`;
  const base = { origin, pathPrefix: '' };
  const hosts: UpstreamHosts = {
    domain: 'region.test',
    api: base,
    login: base,
    streaming: { origin: 'wss://streaming.region.test', pathPrefix: '' },
  };
  const credential = { name: 'crm', grantType: 'client_credentials', hosts } as CredentialConfig;
  const config = {
    general: { hosts },
    server: { tls: null },
    tls: { caFile: null, certFile: ownCertificate },
    tracing: {
      otlpEndpoint: collector,
      headerName: 'Api-Key',
      headerValue: inlineSecret(CANARY, 'test'),
      timeoutMs: 2000,
    },
    credentials: [credential],
    timeouts: { connectMs: 2000 },
  } as unknown as GatewayConfig;
  const agent = new Agent();
  t.teardown(() => agent.destroy());
  let printed = '';
  const exitCode = await doctor(
    { flags: new Map(json ? [['json', true]] : []) },
    { stdout: { write: (text) => (printed += text) } },
    {
      config,
      egress: createTestEgress(t, {
        tls: trusting,
        hosts: { 'api.region.test': '127.0.0.1' },
        timeouts: { connectMs: 2000 },
        ...egress,
      }),
      post: createPost(agent),
      obtainToken: async () => token(),
      resolve: async () => ['127.0.0.1'],
      clock: systemClock,
      version: '0.1.0',
      ...deps,
    },
  );
  const steps: DoctorStep[] = json ? JSON.parse(printed).steps : [];
  const step = (start: string) => steps.find((one) => one.step.startsWith(start));
  return { exitCode, printed, steps, step, seen, origin };
}

function token(): Token {
  return createToken({ accessToken: new Secret(CANARY), obtainedAt: Date.now(), expiresAt: Date.now() + 3_600_000 });
}

t.test('all is well: exit 0, one step after the other, and no secret in the report', async (t) => {
  const { exitCode, steps, printed, seen, step } = await run(t);
  t.equal(exitCode, 0, printed);
  t.strictSame(new Set(steps.map(({ status }) => status)), new Set(['ok']));
  t.match(
    steps.map((one) => one.step).join('\n'),
    /^route.*\ndns.*\nconnection.*\ntls.*\nregion.*\nclock.*\ncredential crm\ncall with crm$/,
  );
  t.match(step('tls')?.detail, /issuer CN=Interception CA; valid for 29 more days/);
  t.match(step('region')?.detail, /correlation id abc-123/);
  t.match(step('route')?.detail, 'direct (no proxy is configured)');
  t.strictSame(seen, ['GET /api/v2/tokens/me without', 'GET /api/v2/tokens/me with token']);
  t.notMatch(printed, CANARY);
  t.match(printed, token().fingerprint, 'a token is told by its fingerprint');
});

t.test('the report for people says the same', async (t) => {
  const { exitCode, printed } = await run(t, { json: false });
  t.equal(exitCode, 0);
  t.match(printed, /^gcg doctor 0\.1\.0, node v[\d.]+, .*\n\nok {6}route to api\.region\.test/);
  t.match(printed, /All steps that were taken are well\.\n$/);
});

t.test('through a proxy: the proxy’s name is resolved, the target’s is not', async (t) => {
  const proxy = await startConnectProxy();
  t.teardown(() => proxy.close());
  const asked: string[] = [];
  const resolve = async (name: string) => {
    asked.push(name);
    return ['127.0.0.1'];
  };
  const { exitCode, step } = await run(t, {
    egress: { env: { HTTPS_PROXY: `http://localhost:${proxy.port}` } },
    deps: { resolve },
  });
  t.equal(exitCode, 0);
  t.strictSame(asked, ['localhost']);
  t.match(step('route')?.detail, `http://localhost:${proxy.port} (HTTPS_PROXY)`);
});

const WHOLE_SECOND = Math.floor(Date.now() / 1000) * 1000;

const faults: {
  name: string;
  setting: (t: Tap) => Promise<Setting> | Setting;
  exit: number;
  step: string;
  code?: string;
  detail: RegExp;
}[] = [
  {
    name: 'a name that does not resolve',
    setting: () => ({
      deps: {
        resolve: () =>
          Promise.reject(
            Object.assign(new Error('x'), { code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: 'api.region.test' }),
          ),
      },
    }),
    exit: 69,
    step: 'dns',
    code: 'gateway.upstream.unreachable',
    detail: /api\.region\.test cannot be resolved \(ENOTFOUND\)/,
  },
  {
    name: 'nothing listens',
    setting: async () => ({ port: await freePort() }),
    exit: 69,
    step: 'connection',
    code: 'gateway.upstream.unreachable',
    detail: /ECONNREFUSED/,
  },
  {
    name: 'an intercepting proxy',
    setting: () => ({ egress: { tls: {} } }),
    exit: 69,
    step: 'tls',
    code: 'gateway.upstream.tls',
    detail: /issuer CN=Interception CA: add it to tls\.ca_file/,
  },
  {
    name: 'a proxy that wants a password',
    setting: async (t) => {
      const proxy = await startConnectProxy({ login: 'corp:right' });
      t.teardown(() => proxy.close());
      return {
        egress: {
          tls: trusting,
          proxy: { url: `http://127.0.0.1:${proxy.port}`, username: 'corp', password: 'wrong-canary' },
        },
      };
    },
    exit: 69,
    step: 'connection',
    code: 'gateway.proxy.auth',
    detail: /correct proxy\.username and proxy\.password/,
  },
  {
    name: 'a proxy of the environment that opens no tunnel',
    setting: async (t) => {
      const proxy = await startConnectProxy({ answer: 'HTTP/1.1 403 Forbidden\r\n\r\n' });
      t.teardown(() => proxy.close());
      return { egress: { env: { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` } } };
    },
    exit: 69,
    // Not at TLS: the connection goes the way of https before that, too.
    step: 'connection',
    code: 'gateway.proxy.refused',
    detail: /403/,
  },
  {
    name: 'a proxy setting that is none',
    setting: () => ({ egress: { proxy: { url: 'gopher://p' } } }),
    exit: 69,
    step: 'route',
    code: 'gateway.proxy.refused',
    detail: /scheme gopher is unknown/,
  },
  {
    name: 'a PAC file that is not there',
    setting: () => ({ egress: { proxy: { url: 'pac+file:///nonexistent/x.pac' } } }),
    exit: 69,
    step: 'route',
    code: 'gateway.proxy.refused',
    detail: /cannot be read \(ENOENT\)/,
  },
  {
    name: 'something else answers',
    setting: () => ({ answer: { headers: { 'inin-correlation-id': '', 'content-type': 'text/html' } } }),
    exit: 69,
    step: 'region',
    code: 'gateway.upstream.invalid',
    detail: /not as Genesys Cloud/,
  },
  {
    name: 'a clock that is wrong',
    setting: () => ({
      // The header has whole seconds, which count as half a second less than they say.
      answer: { headers: { date: new Date(WHOLE_SECOND - 600_000).toUTCString() } },
      deps: { clock: { ...systemClock, now: () => WHOLE_SECOND + 500 } },
    }),
    exit: 1,
    step: 'clock',
    detail: /600 s ahead of .*: set it, by NTP/,
  },
  {
    name: 'a refused credential',
    setting: () => ({
      deps: {
        obtainToken: () =>
          Promise.reject(
            new GatewayError('gateway.credential.rejected', 'client not found: wrong client id, or wrong region'),
          ),
      },
    }),
    exit: 77,
    step: 'credential',
    code: 'gateway.credential.rejected',
    detail: /client not found/,
  },
  {
    name: 'a login that is due',
    setting: () => ({
      deps: { obtainToken: () => Promise.reject(new GatewayError('gateway.login.required', 'run gcg login crm')) },
    }),
    exit: 77,
    step: 'credential',
    code: 'gateway.login.required',
    detail: /gcg login crm/,
  },
  {
    name: 'a token endpoint that is busy',
    setting: () => ({
      deps: { obtainToken: () => Promise.reject(new GatewayError('gateway.credential.unavailable', 'throttled')) },
    }),
    exit: 69,
    step: 'credential',
    code: 'gateway.credential.unavailable',
    detail: /throttled/,
  },
  {
    name: 'a token of another region',
    setting: () => ({ answer: { withToken: 401 } }),
    exit: 77,
    step: 'call',
    code: 'gateway.credential.rejected',
    detail: /answered 401, correlation id abc-123/,
  },
  {
    name: 'a platform in trouble',
    setting: () => ({ answer: { withToken: 503 } }),
    exit: 69,
    step: 'call',
    code: 'gateway.upstream.unavailable',
    detail: /answered 503/,
  },
];

for (const { name, setting, exit, step, code, detail } of faults) {
  t.test(`${name}: exit ${exit}, found at "${step}"`, async (t) => {
    const { exitCode, steps, printed } = await run(t, await setting(t));
    t.equal(exitCode, exit, printed);
    const first = steps.find(({ status }) => status === 'failed');
    t.match(first, { step: new RegExp(`^${step}`), detail, ...(code && { code }) });
    t.notMatch(printed, /canary/);
  });
}

t.test('what depends on a failed step is skipped, and says why', async (t) => {
  const { steps } = await run(t, { egress: { tls: {} } });
  t.strictSame(
    steps.map(({ step, status }) => `${step.split(' ')[0]} ${status}`),
    [
      'route ok',
      'dns ok',
      'connection ok',
      'tls failed',
      'region skipped',
      'clock skipped',
      'credential skipped',
      'call skipped',
    ],
  );
});

t.test('certificates of ours: with the days that are left; one that has expired is a failure', async (t) => {
  const issued = (days: number) =>
    ca.issue(['ours'], { notAfter: new Date(Date.now() + (days + 0.5) * 86_400_000) }).certFile;
  const stepFor = async (ownCertificate: string) => {
    const { steps, exitCode } = await run(t, { ownCertificate });
    return { exitCode, ...steps.find(({ step }) => step === 'certificate upstream_client') };
  };
  t.match(await stepFor(issued(90)), { exitCode: 0, status: 'ok', detail: /\(CN=ours\): valid for 90 more days$/ });
  t.match(await stepFor(issued(5)), { exitCode: 0, status: 'warning', detail: /expires in 5 days, on .*: renew it$/ });
  t.match(await stepFor(issued(-2)), { exitCode: 1, status: 'failed', detail: /has expired on .*: renew it$/ });
});

t.test(
  'a collector of spans is sent a request without any: it takes that, or is named with what to change',
  async (t) => {
    let status = 200;
    const seen: unknown[] = [];
    const server = http.createServer(({ method, url, headers }, res) => {
      seen.push([method, url, headers['content-type'], headers['api-key'], headers['content-length']]);
      res.writeHead(status, { location: '/elsewhere' }).end(`no: ${CANARY}`);
    });
    const origin = `http://127.0.0.1:${await listenFor(t, server)}`;
    const asked = async (collector: string) => {
      const { steps, exitCode, printed } = await run(t, { collector });
      t.notMatch(printed, CANARY);
      t.ok(
        steps.slice(0, -1).every((one) => one.status === 'ok'),
        'all the rest is well',
      );
      return { exitCode, ...steps.at(-1) };
    };
    for (const [answered, expected] of [
      [200, { exitCode: 0, status: 'ok', detail: 'POST /v1/traces answered 200: it takes spans' }],
      [401, { exitCode: 69, status: 'failed', detail: /401: check tracing\.header_value, and/ }],
      [404, { exitCode: 69, status: 'failed', detail: /404: check tracing\.otlp_endpoint/ }],
      [307, { exitCode: 69, status: 'failed', detail: /307: check tracing\.otlp_endpoint/ }],
    ] as const) {
      status = answered;
      t.match(await asked(`${origin}/v1/traces`), expected, String(answered));
    }
    t.strictSame(new Set(seen.map(String)), new Set([`POST,/v1/traces,application/x-protobuf,${CANARY},0`]));
    t.match(await asked(`http://127.0.0.1:${await freePort()}/v1/traces`), {
      exitCode: 69,
      step: /^collector 127\.0\.0\.1:\d+$/,
      code: 'gateway.upstream.unreachable',
    });
  },
);
