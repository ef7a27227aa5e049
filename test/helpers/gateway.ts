// A real gateway in front of the simulation, on ports of the system's choosing, for integration tests.

import { join } from 'node:path';
import type { Test } from 'tap';
import type { Clock } from '../../src/clock.ts';
import type { CredentialConfig, GatewayConfig, UpstreamHosts } from '../../src/config/gateway-config.ts';
import { bareCredential } from '../../src/config/sections/credential.ts';
import { createGateway, type Gateway, type GatewayLog } from '../../src/gateway.ts';
import type { ExchangeRecord } from '../../src/logging/exchange-record.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox, type Sandbox, type SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { inlineSecret } from '../../src/secret.ts';

/** Deep enough for overrides of single keys of a section. */
export type ConfigOverrides = {
  [Section in keyof GatewayConfig]?: GatewayConfig[Section] extends readonly unknown[]
    ? GatewayConfig[Section]
    : Partial<GatewayConfig[Section]>;
};

/** Hosts that all lead to one origin. */
export function hostsAt(origin: string): UpstreamHosts {
  const base = { origin, pathPrefix: '' };
  return {
    domain: 'simulation.invalid',
    api: base,
    login: base,
    streaming: { origin: origin.replace(/^http/, 'ws'), pathPrefix: '' },
  };
}

/** A credential for the simulation's client-credentials client, or with anything else in its place. */
export function credentialAt(origin: string, overrides: Partial<CredentialConfig> = {}): CredentialConfig {
  const client = DEMO_CLIENTS.clientCredentials;
  return {
    ...bareCredential({
      name: 'default',
      grantType: 'client_credentials',
      hosts: hostsAt(origin),
      location: 'test',
    }),
    clientId: client.id,
    clientSecret: inlineSecret(client.secret as string, 'test'),
    isDefault: true,
    isRequired: true,
    ...overrides,
  };
}

/** The defaults of the contract, aimed at `origin`, on a free port. */
export function configAt(origin: string, overrides: ConfigOverrides = {}): GatewayConfig {
  const config: GatewayConfig = {
    files: [],
    general: { hosts: hostsAt(origin), liveReloadConfig: false },
    server: {
      listen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
      adminListen: [],
      isAdminListenSet: true,
      healthListen: [],
      publicUrl: null,
      trustedProxies: [],
      allowedHosts: [],
      corsOrigins: [],
      anonymousCredentials: null,
      anonymousAllow: [],
      anonymousDeny: [],
      readOnly: false,
      drainTimeoutMs: 10_000,
      shutdownDelayMs: 0,
      headerTimeoutMs: 30_000,
      keepAliveTimeoutMs: 75_000,
      maxBodyBytes: 0,
      unsafeAllowAnonymous: false,
      tls: null,
    },
    credentials: [credentialAt(origin)],
    reauthentication: { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 },
    logging: {
      level: 'info',
      format: 'json',
      toConsole: false,
      filePath: null,
      requestBody: false,
      responseBody: false,
      bodyMaxBytes: 65_536,
    },
    audit: { file: null, methods: [], sync: false, onFailure: 'refuse' },
    inspector: { enabled: null, memory: 4, capture: 'errors', replay: 'safe' },
    tracing: {
      otlpEndpoint: null,
      sampleRatio: 1,
      parentBased: true,
      headerName: 'Authorization',
      headerValue: null,
      serviceName: 'genesys-cloud-gateway',
      resourceAttributes: [],
      timeoutMs: 10_000,
      unsafePlainHttp: false,
    },
    proxy: { url: null, username: null, password: null, credentialHosts: [], noProxy: [], off: true },
    tls: { caFile: null, certFile: null, keyFile: null, keyPassphrase: null },
    timeouts: {
      ...{ connectMs: 5000, tokenMs: 4000, headersMs: 60_000, bodyMs: 300_000, totalWaitMs: 15_000 },
      keepWarmMs: 3_600_000,
    },
    retry: { max: 3, waitMinMs: 1000, waitMaxMs: 5000 },
    rateLimit: { mode: 'enforce', requestsPerMinute: 'auto', queueMax: 1000, connections: 256 },
    clients: [],
    store: { type: 'memory', path: '', prefix: 'gcg', encryptionKey: null, encryptionKeyPrevious: null },
    upstreamHeaders: [],
    referencedFiles: [],
  };
  const merged: Record<string, unknown> = { ...config };
  for (const [section, value] of Object.entries(overrides)) {
    const before = merged[section];
    merged[section] = Array.isArray(value) ? value : { ...(before as object), ...(value as object) };
  }
  return merged as unknown as GatewayConfig;
}

/** Collects everything a gateway says. `next` resolves with the first record, past or future, that matches. */
export interface TestLog extends GatewayLog {
  readonly exchanges: ExchangeRecord[];
  readonly lines: { level: string; msg: string; fields: Record<string, unknown> }[];
  nextExchange(matches?: (record: ExchangeRecord) => boolean): Promise<ExchangeRecord>;
  nextLine(msg: string, matches?: (fields: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
}

/** An array in the place of a log. */
export function createTestLog(): TestLog {
  const exchanges: ExchangeRecord[] = [];
  const lines: TestLog['lines'] = [];
  let wake: (() => void)[] = [];
  const notify = () => {
    const waiting = wake;
    wake = [];
    for (const each of waiting) each();
  };
  const line = (level: string) => (fields: Record<string, unknown>, msg: string) => {
    lines.push({ level, msg, fields });
    notify();
  };
  const until = async <T>(find: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => wake.push(resolve));
    }
  };
  return {
    exchanges,
    lines,
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    debug: line('debug'),
    exchange(record) {
      exchanges.push(record);
      notify();
    },
    nextExchange: (matches = () => true) => until(() => exchanges.find(matches)),
    nextLine: (msg, matches = () => true) =>
      until(() => lines.find((entry) => entry.msg === msg && matches(entry.fields))?.fields),
  };
}

/** A running pair. */
export interface TestGateway {
  readonly url: string;
  readonly port: number;
  readonly gateway: Gateway;
  readonly sandbox: Sandbox;
  readonly log: TestLog;
  readonly config: GatewayConfig;
}

/** What `startGateway` can be told. */
export interface StartOptions {
  readonly sandbox?: SandboxOptions;
  readonly config?: ConfigOverrides | ((origin: string) => ConfigOverrides);
  readonly clock?: Clock;
  /** Ask whose the tokens are: calls that most tests would have to count. */
  readonly identify?: boolean;
  /** false: return while the first token is still on its way. */
  readonly awaitReady?: boolean;
}

/** Starts the simulation and a gateway before it; both end with the test. */
export async function startGateway(t: Test, options: StartOptions = {}): Promise<TestGateway> {
  const sandbox = createSandbox(options.sandbox);
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const overrides = typeof options.config === 'function' ? options.config(origin) : options.config;
  const config = configAt(origin, overrides);
  const started = await startGatewayWith(t, config, options.clock, options.identify);
  if (options.awaitReady !== false) await started.gateway.runtime().credentials.default()?.source.token();
  return { ...started, sandbox, config };
}

/** A folder for a store. It goes when all that the test started has ended: what ends writes there. */
export function stateFolder(t: Test): string {
  // Tap removes the test's folder first where the folder was made before anything else that is to be ended.
  t.teardown(() => {});
  return join(t.testdir(), 'state');
}

/** Starts a gateway with a ready configuration; it ends with the test. */
export async function startGatewayWith(
  t: Test,
  config: GatewayConfig,
  clock?: Clock,
  identify = false,
): Promise<{ url: string; port: number; gateway: Gateway; log: TestLog }> {
  const log = createTestLog();
  const gateway = await createGateway(config, { log, env: {}, identify, ...(clock && { clock }) });
  const [url] = (await gateway.listen()) as [string];
  t.teardown(() => gateway.drain());
  return { url, port: Number(new URL(url).port), gateway, log };
}
