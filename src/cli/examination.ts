// What `gcg doctor` looks at: the way to the region and to the collector of spans, step by step. It writes nothing.

import { lookup } from 'node:dns/promises';
import { isIP, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Dispatcher } from 'undici';
import type { Token } from '../auth/credentials/token-source.ts';
import type { Clock } from '../clock.ts';
import {
  type CertificateFile,
  certificateFiles,
  daysUntil,
  EXPIRY_WARNING_DAYS,
  expiryWarning,
  readExpiry,
} from '../config/certificates.ts';
import type { CredentialConfig, GatewayConfig, UrlBase } from '../config/gateway-config.ts';
import type { TracingConfig } from '../config/sections/tracing.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import { redactText } from '../logging/redact/text.ts';
import { collectorRequest } from '../tracing/collector-request.ts';
import type { Egress } from '../upstream/egress/egress.ts';
import { endpointOf } from '../upstream/egress/proxy-route.ts';
import { toGatewayError } from '../upstream/errors.ts';
import type { HttpPost } from '../upstream/upstream.ts';

/** What an examination works with; the caller closes `egress`. */
export interface ExaminationDeps {
  readonly config: GatewayConfig;
  readonly egress: Egress;
  /** One attempt to obtain a token. Throws GatewayError with a code of the token group. */
  readonly obtainToken: (credential: CredentialConfig) => Promise<Token>;
  /** The way to a collector of spans. */
  readonly post: HttpPost;
  readonly clock: Clock;
  /** Addresses of a name; the system's resolver by default. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
}

/** The result of one step. `detail` is what was found and, after a failure, what to change. */
export interface DoctorStep {
  readonly step: string;
  /** `warning`: well now, and not for long. */
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly detail: string;
  /** The gateway's error code, where the step failed with one. */
  readonly code?: string;
}

/** The largest clock error; beyond it logins and signed assertions begin to fail. */
const LARGEST_SKEW_MS = 60_000;
const RESPONSE_LIMIT_MS = 15_000;

/** Examines the default region and every credential, each host once, and adds a step for each thing that it looks at. */
export async function examine(steps: DoctorStep[], agent: Dispatcher, deps: ExaminationDeps): Promise<void> {
  const { config, clock, egress } = deps;
  const hosts = [config.general.hosts, ...config.credentials.map((credential) => credential.hosts)];
  const reachable = new Map<string, boolean>();
  for (const base of hosts.flatMap(({ api, login }) => [api, login])) {
    if (!reachable.has(base.origin))
      reachable.set(
        base.origin,
        await examineHost(base, {
          steps,
          egress,
          resolve: deps.resolve ?? resolveName,
          clock,
          limitMs: config.timeouts.connectMs,
        }),
      );
  }
  const examined = new Set<string>();
  for (const { api, domain } of hosts) {
    if (examined.has(api.origin)) continue;
    examined.add(api.origin);
    await examineAnswer(api, domain, { steps, agent, clock, isReachable: reachable.get(api.origin) === true });
  }
  for (const file of certificateFiles(config)) steps.push(certificateStep(file, clock.now()));
  if (config.credentials.length === 0)
    steps.push({ step: 'credential', status: 'skipped', detail: 'none is configured' });
  for (const credential of config.credentials) await examineCredential(credential, { steps, agent, deps, reachable });
  await examineCollector(config.tracing, { steps, post: deps.post });
}

interface HostExamination {
  steps: DoctorStep[];
  egress: Egress;
  resolve: (name: string) => Promise<readonly string[]>;
  clock: Clock;
  limitMs: number;
}

/** Tests route, DNS, connection and TLS of one host; true when all of them work. */
async function examineHost(
  base: UrlBase,
  { steps, egress, resolve, clock, limitMs }: HostExamination,
): Promise<boolean> {
  const url = new URL(base.origin);
  const target = endpointOf(url);
  let routes: readonly string[] = [];
  const found = await take(steps, `route to ${url.host}`, async () => {
    const { via, reason } = egress.describe(url);
    routes = await withLimit(egress.routes(url), { clock, limitMs, what: via });
    return `${routes.join(', then ')} (${reason}${via.startsWith('PAC') ? `, ${via}` : ''})`;
  });
  if (!found) return false;
  const names = new Set(
    routes.map((route) => (route === 'direct' ? target.host : new URL(route).hostname.replace(/^\[(.*)\]$/, '$1'))),
  );
  for (const name of names) {
    if (isIP(name) !== 0) steps.push({ step: `dns ${name}`, status: 'skipped', detail: 'an address needs none' });
    // No failure yet: a later route may work, which the connection shows.
    else
      await take(
        steps,
        `dns ${name}`,
        async () => `resolves to ${(await withLimit(resolve(name), { clock, limitMs, what: 'DNS' })).join(', ')}`,
      );
  }
  const isConnected = await take(steps, `connection to ${url.host}`, async () => {
    (await egress.dialBelowTls(target)).destroy();
    return routes[0] === 'direct' ? 'accepted' : 'the tunnel stands';
  });
  if (!target.secure) {
    steps.push({ step: `tls ${url.host}`, status: 'skipped', detail: 'plain http is configured' });
    return isConnected;
  }
  if (!isConnected) {
    steps.push({ step: `tls ${url.host}`, status: 'skipped', detail: 'there is no connection' });
    return false;
  }
  return take(steps, `tls ${url.host}`, async () => {
    const socket = await egress.dial(target);
    try {
      return describeCertificate(socket, clock);
    } finally {
      socket.destroy();
    }
  });
}

function describeCertificate(socket: Socket, clock: Clock): string {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  if (!certificate) return 'verified';
  const issuer = certificate.issuer.split('\n').reverse().join(', ');
  const days = daysUntil(Date.parse(certificate.validTo), clock.now());
  const warning = days < EXPIRY_WARNING_DAYS ? ': soon; whoever runs that host must renew it' : '';
  return `verified; issuer ${issuer}; valid for ${days} more days${warning}`;
}

/** Tests a file of certificates: one that has ended is a failure. */
function certificateStep(file: CertificateFile, now: number): DoctorStep {
  const step = `certificate ${file.use}`;
  const expiry = readExpiry(file);
  if (expiry === null) return { step, status: 'failed', detail: `${file.file} cannot be read` };
  const { subject, expiresAt } = expiry;
  const warning = expiryWarning(expiry, file.file, now);
  if (warning !== null) return { step, status: expiresAt <= now ? 'failed' : 'warning', detail: warning };
  return { step, status: 'ok', detail: `${file.file} (${subject}): valid for ${daysUntil(expiresAt, now)} more days` };
}

/** Tests the host by a call without a token, which changes nothing: its Date header, and whether it is the platform. */
async function examineAnswer(
  api: UrlBase,
  domain: string,
  { steps, agent, clock, isReachable }: { steps: DoctorStep[]; agent: Dispatcher; clock: Clock; isReachable: boolean },
): Promise<void> {
  const host = new URL(api.origin).host;
  if (!isReachable) {
    for (const step of [`region ${domain}`, `clock against ${host}`])
      steps.push({ step, status: 'skipped', detail: `${host} is not reachable` });
    return;
  }
  let date: string | undefined;
  const sentAt = clock.now();
  await take(steps, `region ${domain}`, async () => {
    const response = await call(agent, api);
    date = response.date;
    if (response.correlationId === undefined) {
      throw new GatewayError(
        'gateway.upstream.invalid',
        `${host} answers (${response.status}, ${response.contentType}) but not as Genesys Cloud: check general.host, ` +
          'and whether a login page or a proxy answers in its place',
      );
    }
    return `${host} answers as Genesys Cloud, correlation id ${response.correlationId}`;
  });
  const receivedAt = clock.now();
  if (date === undefined || Number.isNaN(Date.parse(date))) {
    steps.push({ step: `clock against ${host}`, status: 'skipped', detail: 'the answer has no date' });
    return;
  }
  // The header has whole seconds, so on average it is half a second old.
  const skewMs = (sentAt + receivedAt) / 2 - (Date.parse(date) + 500);
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const isWrong = Math.abs(skewMs) > LARGEST_SKEW_MS;
  const figure = `this machine's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} ${host}`;
  steps.push({
    step: `clock against ${host}`,
    status: isWrong ? 'failed' : 'ok',
    detail: isWrong ? `${figure}: set it, by NTP for instance` : figure,
  });
}

async function examineCredential(
  credential: CredentialConfig,
  {
    steps,
    agent,
    deps,
    reachable,
  }: { steps: DoctorStep[]; agent: Dispatcher; deps: ExaminationDeps; reachable: ReadonlyMap<string, boolean> },
): Promise<void> {
  const { name, grantType, hosts } = credential;
  const tokenStep = `credential ${name}`;
  const callStep = `call with ${name}`;
  if (grantType !== 'access_token' && reachable.get(hosts.login.origin) !== true) {
    steps.push({ step: tokenStep, status: 'skipped', detail: `${new URL(hosts.login.origin).host} is not reachable` });
    steps.push({ step: callStep, status: 'skipped', detail: 'there is no token' });
    return;
  }
  let token: Token | undefined;
  await take(steps, tokenStep, async () => {
    token = await deps.obtainToken(credential);
    const life = Number.isFinite(token.expiresAt)
      ? `${Math.round((token.expiresAt - deps.clock.now()) / 1000)} s left`
      : 'of unknown life';
    return `${grantType}: a token, ${life}, fingerprint ${token.fingerprint}`;
  });
  const held = token;
  if (!held || reachable.get(hosts.api.origin) !== true) {
    steps.push({
      step: callStep,
      status: 'skipped',
      detail: held ? `${new URL(hosts.api.origin).host} is not reachable` : 'there is no token',
    });
    return;
  }
  await take(steps, callStep, async () => {
    const { status, correlationId } = await call(agent, hosts.api, held);
    const found = `GET /api/v2/tokens/me answered ${status}${correlationId ? `, correlation id ${correlationId}` : ''}`;
    if (status === 401 || status === 403) {
      throw new GatewayError(
        'gateway.credential.rejected',
        `${found}: the token is not accepted there; does credential ${name} belong to this region?`,
      );
    }
    if (status !== 200)
      throw new GatewayError(
        'gateway.upstream.unavailable',
        `${found}: see the status page of Genesys Cloud, and try again`,
      );
    return found;
  });
}

/** Sends a request without spans, which is a whole one: a collector that takes it would take spans. */
async function examineCollector(
  { otlpEndpoint, timeoutMs, ...header }: TracingConfig,
  { steps, post }: { steps: DoctorStep[]; post: HttpPost },
): Promise<void> {
  if (otlpEndpoint === null) return;
  const { host, pathname } = new URL(otlpEndpoint);
  await take(steps, `collector ${host}`, async () => {
    const { statusCode } = await post(await collectorRequest(otlpEndpoint, header, new Uint8Array(), timeoutMs));
    const found = `POST ${pathname} answered ${statusCode}`;
    if (statusCode >= 200 && statusCode <= 299) return `${found}: it takes spans`;
    const isRefusal = statusCode === 401 || statusCode === 403;
    throw new GatewayError(
      'gateway.upstream.invalid',
      `${found}: check tracing.${isRefusal ? 'header_value, and the name of the header' : 'otlp_endpoint'}`,
    );
  });
}

interface Answer {
  status: number;
  date: string | undefined;
  contentType: string;
  correlationId: string | undefined;
}

async function call(agent: Dispatcher, { origin, pathPrefix }: UrlBase, token?: Token): Promise<Answer> {
  try {
    const { statusCode, headers, body } = await agent.request({
      origin,
      path: `${pathPrefix}/api/v2/tokens/me`,
      method: 'GET',
      headers: { accept: 'application/json', ...(token && { authorization: token.authorization }) },
      signal: AbortSignal.timeout(RESPONSE_LIMIT_MS),
    });
    await body.dump();
    const header = (name: string) => [headers[name]].flat()[0]?.slice(0, 100);
    return {
      status: statusCode,
      date: header('date'),
      contentType: header('content-type') ?? 'no content type',
      correlationId: header('inin-correlation-id') || undefined,
    };
  } catch (error) {
    if ((error as Error).name === 'TimeoutError')
      throw new GatewayError(
        'gateway.upstream.timeout',
        `${origin} did not answer within ${RESPONSE_LIMIT_MS / 1000} s`,
      );
    throw toGatewayError(error, new URL(origin).host);
  }
}

/** Runs one step and records its result; true when it passed. */
async function take(steps: DoctorStep[], step: string, examination: () => Promise<string>): Promise<boolean> {
  try {
    steps.push({ step, status: 'ok', detail: redactText(await examination()) });
    return true;
  } catch (error) {
    const { code, message } = isGatewayError(error) ? error : plainFailure(error);
    steps.push({ step, status: 'failed', detail: redactText(message), code });
    return false;
  }
}

function plainFailure(error: unknown): { code: string; message: string } {
  const { code, syscall, hostname } = error as NodeJS.ErrnoException & { hostname?: string };
  if (syscall?.startsWith('getaddrinfo')) {
    return {
      code: 'gateway.upstream.unreachable',
      message: `the name ${hostname} cannot be resolved (${code}): check it, and this machine's DNS`,
    };
  }
  return {
    code: 'gateway.internal',
    message: `the examination itself failed (${code ?? (error as Error).name}): please report it`,
  };
}

async function resolveName(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

/** PAC files and DNS have no deadline of their own. */
function withLimit<T>(
  work: Promise<T>,
  { clock, limitMs, what }: { clock: Clock; limitMs: number; what: string },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(limitMs, () =>
      reject(new GatewayError('gateway.upstream.timeout', `no answer within ${limitMs} ms from ${what}`)),
    );
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
