// Metrics of exchanges. On the hot path: a few map look-ups by strings that are compared by identity, and additions to
// plain numbers. Labels come from configuration and from fixed sets only; whatever else a caller sends is counted as
// `other`.

import { ERROR_TABLE } from '../../errors.ts';
import type { ExchangeRecord } from '../exchange-record.ts';
import { Counter, type Family, Histogram, type Sample, sampled } from './metric-family.ts';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const STATUS_CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;
/** The statuses of `gcg_requests_total`: classes, and those whose cause and cure differ from the rest of their class. */
const STATUS_LABELS = [...STATUS_CLASSES, '401', '403', '404', '409', '429'] as const;
const EXACT_STATUSES: ReadonlyMap<number, number> = new Map(
  STATUS_LABELS.flatMap((label, at) => (at < STATUS_CLASSES.length ? [] : [[Number(label), at]])),
);
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

/** Names of limits that are told apart. */
const MOST_LIMITS = 50;

/** The names that may be label values. */
export interface LabelNames {
  readonly clients: Iterable<string>;
  readonly credentials: Iterable<string>;
}

type RequestLabel = 'client' | 'credential' | 'method' | 'operation' | 'route' | 'status' | 'source';

/** One series of `gcg_requests_total` and `gcg_requests_seconds_total`. */
interface RequestSeries {
  readonly labels: Readonly<Record<RequestLabel, string>>;
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
  aborted: number;
}

type Tree<T> = Map<string, T>;
/** By credential, method, route and outcome. */
type ClientTree = Tree<Tree<Tree<(RequestSeries | undefined)[]>>>;

/** What is counted of exchanges. */
export class ExchangeMetrics {
  #clients = new Set<string>();
  #credentials = new Set<string>();
  #inFlight = 0;
  readonly #tree: Tree<ClientTree> = new Map();
  /** The leaves of the tree. */
  #requests: RequestSeries[] = [];
  /** Counts what would have made a series too many. */
  readonly #overflow: RequestSeries = {
    labels: {
      client: 'other',
      credential: 'other',
      method: 'other',
      operation: 'other',
      route: 'other',
      status: 'other',
      source: 'other',
    },
    count: 0,
    seconds: 0,
  };
  /** By credential. */
  readonly #sums = new Map<string, CredentialSums>();
  readonly #retries = new Counter('gcg_retries_total', 'Further attempts at the upstream, by reason.');
  readonly #errors = new Counter(
    'gcg_errors_total',
    'Exchanges that ended with an error of the gateway, by client and code.',
    1000,
  );
  readonly #upstream429 = new Counter(
    'gcg_upstream_429_total',
    'Answers 429 of the upstream, whether the caller saw them or not, by the limit that was named last.',
    1000,
  );
  /** Names of limits that are label values: the platform's words, so they are bounded. */
  readonly #limits = new Set<string>();
  readonly #absorbed429 = new Counter(
    'gcg_upstream_429_absorbed_total',
    'Answers 429 of the upstream that the caller did not see.',
  );

  started(): void {
    this.#inFlight++;
  }

  ended(record: ExchangeRecord): void {
    this.#inFlight--;
    const credential =
      record.credential === null ? 'none' : this.#credentials.has(record.credential) ? record.credential : 'other';
    const statusClass = record.status >= 100 && record.status < 600 ? Math.trunc(record.status / 100) : 0;
    const isUpstream = record.source === 'upstream' ? 1 : 0;
    const outcome = (statusClass << 1) | isUpstream;
    const seconds = record.durationMs / 1000;
    const statusLabel = statusClass === 4 ? (EXACT_STATUSES.get(record.status) ?? statusClass) : statusClass;
    const series = this.#seriesOf(record, credential, (statusLabel << 1) | isUpstream);
    series.count++;
    series.seconds += seconds;
    const own = this.#sumsOf(credential);
    let durations = own.durations[outcome];
    if (!durations) {
      const status = STATUS_CLASSES[statusClass] as string;
      durations = new Histogram({ credential, status, source: record.source });
      own.durations[outcome] = durations;
    }
    durations.observe(seconds);
    addTo(own, record);
    if (record.status === 429 || record.retryReasons !== null) this.#countRetries(record, credential);
    if (record.errorCode !== null && Object.hasOwn(ERROR_TABLE, record.errorCode))
      this.#errors.inc({ client: this.#clientLabel(record), code: record.errorCode });
  }

  /**
   * Takes over the names that may be label values, after each load of the configuration. What was counted for others is
   * forgotten: else what reloads have named once would stay for good, and in the end take the place of what is named
   * now.
   */
  setNames({ clients, credentials }: LabelNames): void {
    this.#clients = new Set(clients);
    this.#credentials = new Set(credentials);
    const isClient = (name: string) => name === 'anonymous' || name === 'other' || this.#clients.has(name);
    const isCredential = (name: string) => name === 'none' || name === 'other' || this.#credentials.has(name);
    for (const [client, byCredential] of this.#tree) {
      if (!isClient(client)) this.#tree.delete(client);
      for (const credential of byCredential.keys()) if (!isCredential(credential)) byCredential.delete(credential);
    }
    this.#requests = this.#requests.filter(({ labels }) => isClient(labels.client) && isCredential(labels.credential));
    for (const credential of this.#sums.keys()) if (!isCredential(credential)) this.#sums.delete(credential);
    this.#retries.keep(({ credential = '' }) => isCredential(credential));
    this.#errors.keep(({ client = '' }) => isClient(client));
    for (const counter of [this.#upstream429, this.#absorbed429])
      counter.keep(({ client = '', credential = '' }) => isClient(client) && isCredential(credential));
  }

  families(): readonly Family[] {
    return [
      ...this.#requestFamilies(),
      this.#bySums('gcg_upstream_seconds_total', 'Time spent waiting for the upstream.', (one) => one.upstreamSeconds),
      this.#bySums(
        'gcg_token_wait_seconds_total',
        'Time exchanges spent waiting for a token.',
        (one) => one.tokenWaitSeconds,
      ),
      this.#bySums('gcg_request_bytes_total', 'Bytes of request bodies.', (one) => one.requestBytes),
      this.#bySums('gcg_response_bytes_total', 'Bytes of response bodies.', (one) => one.responseBytes),
      this.#upstream429.family,
      this.#absorbed429.family,
      this.#bySums('gcg_requests_aborted_total', 'Exchanges whose caller left before the end.', (one) => one.aborted),
      this.#retries.family,
      this.#errors.family,
    ];
  }

  #requestFamilies(): readonly Family[] {
    const [sums, overflow] = [this.#sums, this.#overflow];
    const requests = () => this.#requests;
    return [
      sampled('counter', 'gcg_requests_total', 'Exchanges that ended, by who answered and how.', function* () {
        for (const { labels, count } of requests()) yield { labels, value: count };
        if (overflow.count > 0) yield { labels: overflow.labels, value: overflow.count };
      }),
      sampled(
        'counter',
        'gcg_requests_seconds_total',
        'Time spent on exchanges, by the labels of gcg_requests_total: their quotient is the mean.',
        function* () {
          for (const { labels, seconds } of requests()) yield { labels, value: seconds };
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
        { labels: {}, value: this.#inFlight },
      ]),
    ];
  }

  #bySums(name: string, help: string, value: (one: CredentialSums) => number): Family {
    return sampled('counter', name, help, () =>
      Array.from(this.#sums.values(), (one): Sample => ({ labels: one.labels, value: value(one) })),
    );
  }

  #seriesOf(record: ExchangeRecord, credential: string, outcome: number): RequestSeries {
    const client = this.#clientLabel(record);
    const method = METHODS.has(record.method) ? record.method : 'other';
    const route = record.route || 'other';
    const byRoute = branch(branch(branch(this.#tree, client), credential), method);
    let leaf = byRoute.get(route);
    const known = leaf?.[outcome];
    if (known) return known;
    if (this.#requests.length >= MAX_REQUEST_SERIES) return this.#overflow;
    if (!leaf) {
      leaf = [];
      byRoute.set(route, leaf);
    }
    const status = STATUS_LABELS[outcome >> 1] as string;
    const source = outcome & 1 ? 'upstream' : 'gateway';
    // Method and route have one operation: it makes no series more.
    const operation = record.operation ?? 'none';
    const labels = { client, credential, method, operation, route, status, source };
    const made = { labels, count: 0, seconds: 0 };
    leaf[outcome] = made;
    this.#requests.push(made);
    return made;
  }

  #sumsOf(credential: string): CredentialSums {
    let sums = this.#sums.get(credential);
    if (!sums) {
      sums = {
        labels: { credential },
        durations: [],
        queueWait: null,
        upstreamSeconds: 0,
        tokenWaitSeconds: 0,
        requestBytes: 0,
        responseBytes: 0,
        aborted: 0,
      };
      this.#sums.set(credential, sums);
    }
    return sums;
  }

  #clientLabel({ client }: ExchangeRecord): string {
    return client === null ? 'anonymous' : this.#clients.has(client) ? client : 'other';
  }

  #limitLabel({ limit }: ExchangeRecord): string {
    if (limit === null) return 'unnamed';
    if (this.#limits.has(limit)) return limit;
    if (this.#limits.size >= MOST_LIMITS) return 'other';
    this.#limits.add(limit);
    return limit;
  }

  /** Counts further attempts, and what the platform's limits refused. */
  #countRetries(record: ExchangeRecord, credential: string): void {
    let limited = 0;
    for (const reason of record.retryReasons ?? []) {
      if (reason === '429') limited++;
      this.#retries.inc({ credential, reason: RETRY_REASONS.has(reason) ? reason : 'other' });
    }
    const isShown = record.source === 'upstream' && record.status === 429;
    if (limited === 0 && !isShown) return;
    const labels = { client: this.#clientLabel(record), credential };
    this.#upstream429.inc({ ...labels, limit: this.#limitLabel(record) }, limited + (isShown ? 1 : 0));
    this.#absorbed429.inc(labels, record.status === 429 ? 0 : limited);
  }
}

/** Adds what one exchange took. */
function addTo(sums: CredentialSums, record: ExchangeRecord): void {
  if (record.queueMs > 0) {
    sums.queueWait ??= new Histogram(sums.labels);
    sums.queueWait.observe(record.queueMs / 1000);
  }
  sums.upstreamSeconds += record.upstreamMs / 1000;
  sums.tokenWaitSeconds += record.tokenWaitMs / 1000;
  sums.requestBytes += record.requestBytes;
  sums.responseBytes += record.responseBytes;
  if (record.aborted) sums.aborted++;
}

function branch<T>(tree: Tree<Tree<T>>, key: string): Tree<T> {
  let found = tree.get(key);
  if (!found) {
    found = new Map();
    tree.set(key, found);
  }
  return found;
}
