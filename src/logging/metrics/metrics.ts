// All metrics of the gateway behind one object: events are reported to it, present states are looked up at each scrape.
// It serves nothing itself; the listeners answer `GET /metrics` with what `render` gives.

import type { Metric, Registry } from '@prometheus-io/client';
import type { ExchangeRecord } from '../exchange-record.ts';
import { ExchangeMetrics, type LabelNames } from './exchange-metrics.ts';
import { Counter, type Family, type Sample, sampled } from './metric-family.ts';
import { type SpansSample, spanFamilies } from './span-metrics.ts';
import { StoreMetrics, type StoreSample } from './store-metrics.ts';
import { type CredentialSample, tokenFamilies } from './token-metrics.ts';

/** How one token request ended. `rejected` is final until something changes; `transient` is tried again. */
export type TokenRequestResult = 'ok' | 'rejected' | 'transient';

/** What is looked up at each scrape. Each function must be quick and must not throw; those left out give no samples. */
export interface MetricSources {
  /** The state of each configured credential. */
  credentials?(): Iterable<CredentialSample>;
  /** Each configured client. Times in epoch ms; a `fingerprint` of null stands for certificates. */
  clients?(): Iterable<{
    readonly name: string;
    readonly expiresAt: number | null;
    readonly isBlocked: boolean;
    readonly rejected: number;
    readonly secrets: readonly { readonly fingerprint: string | null; readonly lastSeenAt: number }[];
  }>;
  /** Files of certificates, with the time at which they end to be of use, in epoch ms. */
  certificates?(): Iterable<{ readonly use: string; readonly expiresAt: number }>;
  /** Calls that wait for a rate limit or a connection, by credential. */
  queueLengths?(): Iterable<readonly [credential: string, length: number]>;
  /** Connections to the upstream: in use, kept for later, and opened for later without having been used yet. */
  connections?(): { readonly active: number; readonly idle: number; readonly unused: number };
  /**
   * Notification sockets that are open, or being opened, one by one: the name of the client, null for anonymous
   * callers, and of the credential.
   */
  sockets?(): Iterable<{ readonly client: string | null; readonly credential: string }>;
  /** The notification channels that live, by who made them with the token of which credential. */
  channels?(): Iterable<{ readonly client: string | null; readonly credential: string; readonly channels: number }>;
  logRecordsDropped?(): number;
  /** Whether headers or bodies of calls are captured; null where calls cannot be looked at. */
  isCapturing?(): boolean | null;
  /** Requests sent to the platform in this month, by client (null: anonymous) and credential. */
  usage?(): Iterable<{ readonly client: string | null; readonly credential: string; readonly calls: number }>;
  /** The budgets of clients that have one. */
  budgets?(): Iterable<{ readonly name: string; readonly limit: number }>;
  /** How many watch the live page or its data; absent where nobody can. */
  watchers?(): number;
  /** The audit trail; null without one. */
  audit?(): { readonly failure: string | null; readonly lost: number } | null;
  /** The store that instances share; null without one. */
  store?(): StoreSample | null;
  /** The export of spans; null without one. */
  spans?(): SpansSample | null;
}

/** All metrics of a gateway: told what happens, and rendered for a scrape. */
export interface Metrics {
  started(): void;
  ended(record: ExchangeRecord): void;
  /**
   * The names that may be label values, after each load of the configuration. What was counted for others is forgotten.
   */
  setNames(names: LabelNames): void;
  tokenRequest(credential: string, grant: string, result: TokenRequestResult): void;
  /** A credential's token and renewal came into these states, from others. */
  tokenTransition(credential: string, token: string, renewal: string): void;
  configReload(isApplied: boolean): void;
  /** A script or command was sent to the shared store, or could not be. Names are of a fixed set. */
  storeCommand(script: string, result: string, seconds: number): void;
  /** Adds to, or replaces, what is looked up at a scrape. */
  setSources(sources: MetricSources): void;
  /** The samples of one metric as they are now; none where there is no such metric. */
  samples(name: string): Iterable<Sample>;
  /** Prometheus' text format. */
  render(): Promise<string>;
  readonly contentType: string;
}

/** Holds no timer and no socket: nothing to close. `now` in epoch ms. */
export function createMetrics(options: { version: string; now?: () => number }): Metrics {
  return new GatewayMetrics(options);
}

class GatewayMetrics implements Metrics {
  readonly contentType = 'text/plain; version=0.0.4; charset=utf-8';
  readonly #version: string;
  readonly #now: () => number;
  readonly #exchanges = new ExchangeMetrics();
  readonly #store = new StoreMetrics();
  /** What is looked up at each scrape. */
  readonly #sources: MetricSources = {};
  readonly #tokenRequests = new Counter(
    'gcg_token_requests_total',
    'Requests to the token endpoint, by grant and result.',
  );
  readonly #transitions = new Counter(
    'gcg_token_transitions_total',
    'Changes of state of a credential, by the pair of states it came into.',
  );
  readonly #reloads = new Counter('gcg_config_reloads_total', 'Reloads of the configuration: applied or refused.');
  #credentials = new Set<string>();
  #clients = new Set<string>();
  #isLastReloadApplied = true;
  /** Made at the first scrape. */
  #registry: Promise<Registry> | null = null;
  /** By name; made when one is first asked for. */
  #byName: ReadonlyMap<string, Family> | null = null;

  constructor({ version, now = Date.now }: { version: string; now?: () => number }) {
    this.#version = version;
    this.#now = now;
  }

  started(): void {
    this.#exchanges.started();
  }

  ended(record: ExchangeRecord): void {
    this.#exchanges.ended(record);
  }

  setNames(names: LabelNames): void {
    this.#credentials = new Set(names.credentials);
    this.#clients = new Set(names.clients);
    this.#exchanges.setNames({ clients: this.#clients, credentials: this.#credentials });
    for (const counter of [this.#tokenRequests, this.#transitions])
      counter.keep(({ credential = '' }) => credential === 'other' || this.#credentials.has(credential));
  }

  tokenRequest(credential: string, grant: string, result: TokenRequestResult): void {
    this.#tokenRequests.inc({ credential: this.#labelOf(credential), grant, result });
  }

  tokenTransition(credential: string, token: string, renewal: string): void {
    this.#transitions.inc({ credential: this.#labelOf(credential), token, renewal });
  }

  configReload(isApplied: boolean): void {
    this.#isLastReloadApplied = isApplied;
    this.#reloads.inc({ result: isApplied ? 'applied' : 'refused' });
  }

  storeCommand(script: string, result: string, seconds: number): void {
    this.#store.command(script, result, seconds);
  }

  setSources(sources: MetricSources): void {
    Object.assign(this.#sources, sources);
  }

  samples(name: string): Iterable<Sample> {
    this.#byName ??= new Map(this.#families().map((family) => [family.name, family]));
    return this.#byName.get(name)?.collect() ?? [];
  }

  async render(): Promise<string> {
    this.#registry ??= createRegistry(this.#families());
    return (await this.#registry).metrics();
  }

  #labelOf(credential: string): string {
    return this.#credentials.has(credential) ? credential : 'other';
  }

  #families(): readonly Family[] {
    return [
      sampled('gauge', 'gcg_build_info', 'Always 1; the labels say what runs.', () => [
        { labels: { version: this.#version, node: process.versions.node }, value: 1 },
      ]),
      ...this.#exchanges.families(),
      this.#tokenRequests.family,
      this.#transitions.family,
      ...tokenFamilies(() => this.#sources.credentials?.() ?? [], this.#now),
      ...this.#clientFamilies(),
      sampled('gauge', 'gcg_queue_length', 'Calls that wait for a rate limit or a connection.', () =>
        Array.from(this.#sources.queueLengths?.() ?? [], ([credential, value]) => ({ labels: { credential }, value })),
      ),
      sampled('gauge', 'gcg_upstream_connections', 'Connections to the upstream.', () => {
        const connections = this.#sources.connections?.();
        if (!connections) return [];
        return [
          { labels: { state: 'active' }, value: connections.active },
          { labels: { state: 'idle' }, value: connections.idle },
          { labels: { state: 'unused' }, value: connections.unused },
        ];
      }),
      sampled('gauge', 'gcg_websockets_open', 'Notification sockets that are open, or being opened.', () =>
        this.#byClientAndCredential(this.#sources.sockets?.() ?? [], () => 1),
      ),
      sampled(
        'gauge',
        'gcg_notification_channels',
        "Notification channels made here that live, of the credential's own token: the platform keeps 20 of each.",
        () => this.#byClientAndCredential(this.#sources.channels?.() ?? [], ({ channels }) => channels),
      ),
      ...this.#usageFamilies(),
      ...this.#store.families(() => this.#sources.store?.() ?? null),
      sampled(
        'gauge',
        'gcg_certificate_seconds_left',
        'Life left of the certificates in use, by what for; below 0 when expired.',
        () =>
          Array.from(this.#sources.certificates?.() ?? [], ({ use, expiresAt }) => ({
            labels: { use },
            value: (expiresAt - this.#now()) / 1000,
          })),
      ),
      sampled('gauge', 'gcg_inspector_capture', '1 while headers or bodies of calls are captured.', () => {
        const isCapturing = this.#sources.isCapturing?.() ?? null;
        return isCapturing === null ? [] : [{ labels: {}, value: isCapturing ? 1 : 0 }];
      }),
      ...spanFamilies(() => this.#sources.spans?.() ?? null),
      this.#reloads.family,
      sampled(
        'gauge',
        'gcg_config_last_reload_applied',
        '0 while the file on disk is refused and an older configuration is in use.',
        () => [{ labels: {}, value: this.#isLastReloadApplied ? 1 : 0 }],
      ),
      sampled('gauge', 'gcg_inspector_watchers', 'Streams of the live page, or of its data, that are open.', () => {
        const value = this.#sources.watchers?.();
        return value === undefined ? [] : [{ labels: {}, value }];
      }),
      sampled('counter', 'gcg_log_records_dropped_total', 'Log records that could not be written.', () => [
        { labels: {}, value: this.#sources.logRecordsDropped?.() ?? 0 },
      ]),
    ];
  }

  #usageFamilies(): readonly Family[] {
    return [
      sampled('gauge', 'gcg_month_requests', 'Requests sent to the platform in this month (UTC).', () =>
        this.#byClientAndCredential(this.#sources.usage?.() ?? [], ({ calls }) => calls),
      ),
      sampled('gauge', 'gcg_month_budget_requests', "A client's budget of requests for a month.", () =>
        Array.from(this.#sources.budgets?.() ?? [], ({ name, limit }) => ({ labels: { client: name }, value: limit })),
      ),
      sampled('gauge', 'gcg_audit_writable', '0 while the audit trail cannot be written; absent without one.', () => {
        const audit = this.#sources.audit?.() ?? null;
        return audit === null ? [] : [{ labels: {}, value: audit.failure === null ? 1 : 0 }];
      }),
      sampled('counter', 'gcg_audit_lost_total', 'Calls whose line in the audit trail could not be kept.', () => {
        const audit = this.#sources.audit?.() ?? null;
        return audit === null ? [] : [{ labels: {}, value: audit.lost }];
      }),
    ];
  }

  #clientFamilies(): readonly Family[] {
    const clients = () => [...(this.#sources.clients?.() ?? [])];
    return [
      sampled(
        'gauge',
        'gcg_client_last_seen_seconds',
        'When a client last called with each of its secrets, in Unix time; no sample for one not seen since the start.',
        () =>
          clients().flatMap(({ name, secrets }) =>
            secrets.map(({ fingerprint, lastSeenAt }) => ({
              labels: { client: name, secret: fingerprint ?? 'certificate' },
              value: lastSeenAt / 1000,
            })),
          ),
      ),
      sampled(
        'gauge',
        'gcg_client_seconds_left',
        'Time until a client expires; 0 when it has, absent without end.',
        () =>
          clients().flatMap(({ name, expiresAt }) =>
            expiresAt === null
              ? []
              : [{ labels: { client: name }, value: Math.max(0, (expiresAt - this.#now()) / 1000) }],
          ),
      ),
      sampled('gauge', 'gcg_client_blocked', '1 for a client that an administrator has blocked.', () =>
        clients().map(({ name, isBlocked }) => ({ labels: { client: name }, value: isBlocked ? 1 : 0 })),
      ),
      sampled(
        'counter',
        'gcg_client_rejected_total',
        'Requests that named a client and whose proof was not taken: a wrong secret, an end, a block, an address.',
        () => clients().map(({ name, rejected }) => ({ labels: { client: name }, value: rejected })),
      ),
    ];
  }

  /** Sums by labels that are bounded: names that are not configured are counted together. */
  *#byClientAndCredential<T extends { readonly client: string | null; readonly credential: string }>(
    things: Iterable<T>,
    numberOf: (thing: T) => number,
  ): Iterable<Sample> {
    const counts = new Map<string, number>();
    for (const thing of things) {
      const { client, credential } = thing;
      const label = client === null ? 'anonymous' : this.#clients.has(client) ? client : 'other';
      const key = `${label} ${this.#labelOf(credential)}`;
      counts.set(key, (counts.get(key) ?? 0) + numberOf(thing));
    }
    for (const [key, value] of counts) {
      const [client = '', credential = ''] = key.split(' ');
      yield { labels: { client, credential }, value };
    }
  }
}

/** Coarse on purpose: a finer timer would wake an idle sidecar ten times as often. */
const EVENT_LOOP_PRECISION_MS = 100;

/**
 * The Prometheus client formats the families and adds the process's own metrics. It is loaded at the first scrape: a
 * gateway nobody scrapes neither waits for it at the start nor samples its event loop.
 */
async function createRegistry(families: readonly Family[]): Promise<Registry> {
  const client = await import('@prometheus-io/client');
  const registry = new client.Registry();
  for (const family of families) registry.registerMetric(asMetric(family));
  client.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
  return registry;
}

/**
 * The registry asks a metric for its values by `get()`; numbers that are kept elsewhere can therefore stand in for one.
 */
function asMetric({ name, help, type, collect }: Family): Metric {
  const get = async () => ({
    name,
    help,
    type,
    aggregator: 'sum',
    values: Array.from(collect(), ({ labels, value, suffix }) => ({
      labels,
      value,
      metricName: suffix ? name + suffix : name,
    })),
  });
  return { name, help, type, aggregator: 'sum', get, reset() {} } as unknown as Metric;
}
