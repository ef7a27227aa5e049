// All metrics of the gateway behind one object: what happens is told to it, what merely is, it asks for at a scrape.
// It serves nothing itself; the listeners answer `GET /metrics` with what `render` gives.

import { createExchangeMetrics, type ExchangeMetrics } from './exchange-metrics.ts';
import { createExposition, METRICS_CONTENT_TYPE } from './exposition.ts';
import { createCounter, type Sample, sampled } from './metric-family.ts';

/** How one token request ended. `rejected` is final until something changes; `transient` is tried again. */
export type TokenRequestResult = 'ok' | 'rejected' | 'transient';

/** What is looked up at each scrape. Each function must be quick and must not throw; those left out give no samples. */
export interface MetricSources {
  /** The state of each configured credential. `expiresAt` in epoch ms. */
  credentials?(): Iterable<{
    readonly name: string;
    readonly token: string;
    readonly renewal: string;
    readonly expiresAt: number | null;
  }>;
  /** Callers that wait for a rate limit, by credential. */
  queueLengths?(): Iterable<readonly [credential: string, length: number]>;
  /** Connections to the upstream: in use, and kept for later. */
  connections?(): { readonly active: number; readonly idle: number };
  /**
   * Notification sockets that are open, or being opened, one by one: the name of the client, null for anonymous
   * callers, and of the credential.
   */
  sockets?(): Iterable<{ readonly client: string | null; readonly credential: string }>;
  logRecordsDropped?(): number;
}

export interface Metrics extends Omit<ExchangeMetrics, 'families'> {
  tokenRequest(credential: string, grant: string, result: TokenRequestResult): void;
  /** A credential's token and renewal came into these states, from others. */
  tokenTransition(credential: string, token: string, renewal: string): void;
  configReload(isApplied: boolean): void;
  /** Adds to, or replaces, what is looked up at a scrape. */
  setSources(sources: MetricSources): void;
  /** Prometheus' text format. */
  render(): Promise<string>;
  readonly contentType: string;
}

const TOKEN_STATES = ['none', 'fresh', 'due', 'suspect', 'expired'];
const RENEWAL_STATES = ['idle', 'running', 'backoff', 'rejected', 'login_required'];

/** Holds no timer and no socket: nothing to close. `now` in epoch ms. */
export function createMetrics({ version, now = Date.now }: { version: string; now?: () => number }): Metrics {
  const exchanges = createExchangeMetrics();
  let known = new Set<string>();
  let clients = new Set<string>();
  const sources: MetricSources = {};
  const tokenRequests = createCounter(
    'gcg_token_requests_total',
    'Requests to the token endpoint, by grant and result.',
  );
  const transitions = createCounter(
    'gcg_token_transitions_total',
    'Changes of state of a credential, by the pair of states it came into.',
  );
  const reloads = createCounter('gcg_config_reloads_total', 'Reloads of the configuration: applied or refused.');
  let isLastReloadApplied = true;

  const states = (names: readonly string[], of: (state: { token: string; renewal: string }) => string) =>
    function* (): Iterable<Sample> {
      for (const state of sources.credentials?.() ?? []) {
        for (const name of names)
          yield { labels: { credential: state.name, state: name }, value: of(state) === name ? 1 : 0 };
      }
    };

  const render = createExposition([
    sampled('gauge', 'gcg_build_info', 'Always 1; the labels say what runs.', () => [
      { labels: { version, node: process.versions.node }, value: 1 },
    ]),
    ...exchanges.families,
    tokenRequests.family,
    transitions.family,
    sampled(
      'gauge',
      'gcg_token_seconds_left',
      "Life left of a credential's token; 0 when expired, absent when unknown.",
      function* () {
        for (const { name, expiresAt } of sources.credentials?.() ?? []) {
          if (expiresAt !== null)
            yield { labels: { credential: name }, value: Math.max(0, (expiresAt - now()) / 1000) };
        }
      },
    ),
    sampled(
      'gauge',
      'gcg_token_state',
      "1 for the state a credential's token is in.",
      states(TOKEN_STATES, (state) => state.token),
    ),
    sampled(
      'gauge',
      'gcg_renewal_state',
      "1 for the state a credential's renewal is in.",
      states(RENEWAL_STATES, (state) => state.renewal),
    ),
    sampled('gauge', 'gcg_queue_length', 'Calls that wait for a rate limit or a connection.', function* () {
      for (const [credential, value] of sources.queueLengths?.() ?? []) yield { labels: { credential }, value };
    }),
    sampled('gauge', 'gcg_upstream_connections', 'Connections to the upstream.', function* () {
      const connections = sources.connections?.();
      if (!connections) return;
      yield { labels: { state: 'active' }, value: connections.active };
      yield { labels: { state: 'idle' }, value: connections.idle };
    }),
    sampled('gauge', 'gcg_websockets_open', 'Notification sockets that are open, or being opened.', function* () {
      const counts = new Map<string, number>();
      for (const { client, credential } of sources.sockets?.() ?? []) {
        const label = client === null ? 'anonymous' : clients.has(client) ? client : 'other';
        const key = `${label} ${known.has(credential) ? credential : 'other'}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      for (const [key, value] of counts) {
        const [client = '', credential = ''] = key.split(' ');
        yield { labels: { client, credential }, value };
      }
    }),
    reloads.family,
    sampled(
      'gauge',
      'gcg_config_last_reload_applied',
      '0 while the file on disk is refused and an older configuration is in use.',
      () => [{ labels: {}, value: isLastReloadApplied ? 1 : 0 }],
    ),
    sampled('counter', 'gcg_log_records_dropped_total', 'Log records that could not be written.', () => [
      { labels: {}, value: sources.logRecordsDropped?.() ?? 0 },
    ]),
  ]);

  return {
    started: exchanges.started,
    ended: exchanges.ended,
    setNames(names) {
      known = new Set(names.credentials);
      clients = new Set(names.clients);
      exchanges.setNames({ clients, credentials: known });
      for (const counter of [tokenRequests, transitions])
        counter.keep(({ credential = '' }) => credential === 'other' || known.has(credential));
    },
    tokenRequest: (credential, grant, result) =>
      tokenRequests.inc({ credential: known.has(credential) ? credential : 'other', grant, result }),
    tokenTransition: (credential, token, renewal) =>
      transitions.inc({ credential: known.has(credential) ? credential : 'other', token, renewal }),
    configReload(isApplied) {
      isLastReloadApplied = isApplied;
      reloads.inc({ result: isApplied ? 'applied' : 'refused' });
    },
    setSources: (more) => void Object.assign(sources, more),
    render,
    contentType: METRICS_CONTENT_TYPE,
  };
}
