// Metrics of exchanges. On the hot path: a few map look-ups by strings that are compared by identity, and additions to
// plain numbers. Labels come from configuration and from fixed sets only; whatever else a caller sends is counted as
// `other`.

import { ERROR_TABLE } from '../../errors.ts';
import type { ExchangeRecord } from '../exchange-record.ts';
import { createCounter, createHistogram, type Family, type Histogram, type Sample, sampled } from './metric-family.ts';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const STATUS_CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;
const RETRY_REASONS = new Set([
  '401',
  '429',
  '502',
  '503',
  '504',
  'ECONNRESET',
  'ECONNREFUSED',
  'ETIMEDOUT',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
]);

/** Label sets of `gcg_requests_total`, whatever happens. */
const MAX_REQUEST_SERIES = 1000;

export interface ExchangeMetrics {
  started(): void;
  ended(record: ExchangeRecord): void;
  /**
   * The names that may be label values, after each load of the configuration. What was counted for others is forgotten.
   */
  setNames(names: { clients: Iterable<string>; credentials: Iterable<string> }): void;
  readonly families: readonly Family[];
}

interface RequestSeries {
  readonly labels: Readonly<Record<'client' | 'credential' | 'method' | 'route' | 'status' | 'source', string>>;
  count: number;
  seconds: number;
}

/** Plain sums of one credential. */
interface CredentialSums {
  readonly labels: { readonly credential: string };
  readonly durations: (Histogram | undefined)[];
  queueWait: Histogram | null;
  upstreamSeconds: number;
  tokenWaitSeconds: number;
  requestBytes: number;
  responseBytes: number;
  upstream429: number;
  absorbed429: number;
  aborted: number;
}

type Tree<T> = Map<string, T>;

export function createExchangeMetrics(): ExchangeMetrics {
  let clients = new Set<string>();
  let credentials = new Set<string>();
  let inFlight = 0;
  const tree: Tree<Tree<Tree<Tree<(RequestSeries | undefined)[]>>>> = new Map();
  let requests: RequestSeries[] = [];
  const overflow: RequestSeries = {
    labels: { client: 'other', credential: 'other', method: 'other', route: 'other', status: 'other', source: 'other' },
    count: 0,
    seconds: 0,
  };
  const sums = new Map<string, CredentialSums>();
  const retries = createCounter('gcg_retries_total', 'Further attempts at the upstream, by reason.');
  const errors = createCounter('gcg_errors_total', 'Exchanges that ended with an error of the gateway, by code.');

  const seriesOf = (
    client: string,
    credential: string,
    method: string,
    route: string,
    outcome: number,
  ): RequestSeries => {
    const byCredential = branch(tree, client);
    const byMethod = branch(byCredential, credential);
    const byRoute = branch(byMethod, method);
    let leaf = byRoute.get(route);
    const present = leaf?.[outcome];
    if (present) return present;
    if (requests.length >= MAX_REQUEST_SERIES) return overflow;
    if (!leaf) {
      leaf = [];
      byRoute.set(route, leaf);
    }
    const labels = {
      client,
      credential,
      method,
      route,
      status: STATUS_CLASSES[outcome >> 1] as string,
      source: outcome & 1 ? 'upstream' : 'gateway',
    };
    const made: RequestSeries = { labels, count: 0, seconds: 0 };
    leaf[outcome] = made;
    requests.push(made);
    return made;
  };

  const sumsOf = (credential: string): CredentialSums => {
    let present = sums.get(credential);
    if (!present) {
      const labels = { credential };
      present = {
        labels,
        durations: [],
        queueWait: null,
        upstreamSeconds: 0,
        tokenWaitSeconds: 0,
        requestBytes: 0,
        responseBytes: 0,
        upstream429: 0,
        absorbed429: 0,
        aborted: 0,
      };
      sums.set(credential, present);
    }
    return present;
  };

  /** Else what reloads have named once would stay for good, and in the end take the place of what is named now. */
  const forgetOthers = () => {
    const isClient = (name: string) => name === 'anonymous' || name === 'other' || clients.has(name);
    const isCredential = (name: string) => name === 'none' || name === 'other' || credentials.has(name);
    for (const [client, byCredential] of tree) {
      if (!isClient(client)) tree.delete(client);
      for (const credential of byCredential.keys()) if (!isCredential(credential)) byCredential.delete(credential);
    }
    requests = requests.filter(({ labels }) => isClient(labels.client) && isCredential(labels.credential));
    for (const credential of sums.keys()) if (!isCredential(credential)) sums.delete(credential);
    retries.keep(({ credential = '' }) => isCredential(credential));
  };

  const countRetries = (
    record: ExchangeRecord,
    reasons: readonly string[],
    credential: string,
    own: CredentialSums,
  ) => {
    let limited = 0;
    for (const reason of reasons) {
      if (reason === '429') limited++;
      retries.inc({ credential, reason: RETRY_REASONS.has(reason) ? reason : 'other' });
    }
    own.upstream429 += limited;
    if (record.status !== 429) own.absorbed429 += limited;
  };

  return {
    started() {
      inFlight++;
    },
    ended(record) {
      inFlight--;
      const client = record.client === null ? 'anonymous' : clients.has(record.client) ? record.client : 'other';
      const credential =
        record.credential === null ? 'none' : credentials.has(record.credential) ? record.credential : 'other';
      const method = METHODS.has(record.method) ? record.method : 'other';
      const isUpstream = record.source === 'upstream';
      const statusClass = record.status >= 100 && record.status < 600 ? Math.trunc(record.status / 100) : 0;
      const outcome = (statusClass << 1) | (isUpstream ? 1 : 0);
      const seconds = record.durationMs / 1000;
      const series = seriesOf(client, credential, method, record.route || 'other', outcome);
      series.count++;
      series.seconds += seconds;
      const own = sumsOf(credential);
      let durations = own.durations[outcome];
      if (!durations) {
        durations = createHistogram({
          credential,
          status: STATUS_CLASSES[statusClass] as string,
          source: record.source,
        });
        own.durations[outcome] = durations;
      }
      durations.observe(seconds);
      if (record.queueMs > 0) {
        own.queueWait ??= createHistogram(own.labels);
        own.queueWait.observe(record.queueMs / 1000);
      }
      own.upstreamSeconds += record.upstreamMs / 1000;
      own.tokenWaitSeconds += record.tokenWaitMs / 1000;
      own.requestBytes += record.requestBytes;
      own.responseBytes += record.responseBytes;
      if (record.aborted) own.aborted++;
      if (isUpstream && record.status === 429) own.upstream429++;
      if (record.retryReasons !== null) countRetries(record, record.retryReasons, credential, own);
      if (record.errorCode !== null && Object.hasOwn(ERROR_TABLE, record.errorCode))
        errors.inc({ code: record.errorCode });
    },
    setNames(names) {
      clients = new Set(names.clients);
      credentials = new Set(names.credentials);
      forgetOthers();
    },
    families: [
      sampled('counter', 'gcg_requests_total', 'Exchanges that ended, by who answered and how.', function* () {
        for (const { labels, count } of requests) yield { labels, value: count };
        if (overflow.count > 0) yield { labels: overflow.labels, value: overflow.count };
      }),
      sampled(
        'counter',
        'gcg_requests_seconds_total',
        'Time spent on exchanges, by the labels of gcg_requests_total: their quotient is the mean.',
        function* () {
          for (const { labels, seconds } of requests) yield { labels, value: seconds };
          if (overflow.count > 0) yield { labels: overflow.labels, value: overflow.seconds };
        },
      ),
      {
        name: 'gcg_request_duration_seconds',
        help: 'Duration of exchanges. Without client, method and route, which would multiply the buckets.',
        type: 'histogram',
        *collect() {
          for (const { durations } of sums.values()) for (const one of durations) if (one) yield* one.samples();
        },
      },
      {
        name: 'gcg_queue_wait_seconds',
        help: 'How long exchanges that were held back for a rate limit waited.',
        type: 'histogram',
        *collect() {
          for (const { queueWait } of sums.values()) if (queueWait) yield* queueWait.samples();
        },
      },
      sampled('gauge', 'gcg_requests_in_flight', 'Exchanges begun and not ended.', () => [
        { labels: {}, value: inFlight },
      ]),
      bySums('gcg_upstream_seconds_total', 'Time spent waiting for the upstream.', (one) => one.upstreamSeconds),
      bySums(
        'gcg_token_wait_seconds_total',
        'Time exchanges spent waiting for a token.',
        (one) => one.tokenWaitSeconds,
      ),
      bySums('gcg_request_bytes_total', 'Bytes of request bodies.', (one) => one.requestBytes),
      bySums('gcg_response_bytes_total', 'Bytes of response bodies.', (one) => one.responseBytes),
      bySums(
        'gcg_upstream_429_total',
        'Answers 429 of the upstream, whether the caller saw them or not.',
        (one) => one.upstream429,
      ),
      bySums(
        'gcg_upstream_429_absorbed_total',
        'Answers 429 of the upstream that the caller did not see.',
        (one) => one.absorbed429,
      ),
      bySums('gcg_requests_aborted_total', 'Exchanges whose caller left before the end.', (one) => one.aborted),
      retries.family,
      errors.family,
    ],
  };

  function bySums(name: string, help: string, value: (one: CredentialSums) => number): Family {
    return sampled('counter', name, help, () =>
      Array.from(sums.values(), (one): Sample => ({ labels: one.labels, value: value(one) })),
    );
  }
}

function branch<T>(tree: Tree<Tree<T>>, key: string): Tree<T> {
  let present = tree.get(key);
  if (!present) {
    present = new Map();
    tree.set(key, present);
  }
  return present;
}
