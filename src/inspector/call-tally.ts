// Adds up calls: by route, by client, by the limits that they used and were refused by. What a viewer may not know by
// name is counted, and told as other clients'.

import { culpritOf, hasFailed } from './culprit.ts';
import type { ClientInsight, CredentialInsight, LimitInsight, RouteInsight, RuleCount } from './insight-answer.ts';
import { maySee } from './search.ts';
import type { Call, Culprit, Rights } from './wire.ts';

/** Parts of the span that a route's calls are told apart by. */
const SPARKS = 24;
const MOST_ROUTES = 200;
/** Clients are configured; the names in old calls may be of clients that were. */
const MOST_CLIENTS = 500;
const MOST_RULES = 20;
const MINUTE_MS = 60_000;

interface RouteSums {
  readonly method: string;
  readonly route: string;
  readonly durations: number[];
  failures: number;
  bytesIn: number;
  bytesOut: number;
  retries: number;
  limited: number;
  readonly spark: [calls: number, failures: number][];
}

interface ClientSums {
  readonly client: string | null;
  calls: number;
  failures: number;
  attempts: number;
  readonly culprits: Partial<Record<Culprit, number>>;
  limitedByGateway: number;
  limitedByPlatform: number;
  readonly denied: Map<string, number>;
  readonly wouldBeDenied: Map<string, number>;
  queueMs: number;
  lastSeenAt: string | null;
}

/** Attempts and waiting times at the limits of one credential. */
interface CredentialSums {
  readonly attempts: Map<string | null, number>;
  readonly queueMs: Map<string | null, number>;
  /** Of the last minute, by method and route and by client; they passed. */
  readonly minute: Map<string, Map<string | null, number>>;
  readonly refusals: Map<string, Refusals>;
  waitedCalls: number;
  waitedMs: number;
  longestWaitMs: number;
}

interface Refusals {
  seen: number;
  absorbed: number;
  passed: number;
  lastAt: string | null;
}

/** Whose calls, and from when until when, epoch ms. */
export interface TallySpan {
  readonly rights: Pick<Rights, 'sees' | 'client'>;
  readonly from: number;
  readonly now: number;
}

/** Takes calls one by one, the newest first. */
export class CallTally {
  readonly #span: TallySpan;
  readonly #routes = new Map<string, RouteSums>();
  readonly #clients = new Map<string | null, ClientSums>();
  readonly #credentials = new Map<string, CredentialSums>();
  #attempts = 0;
  /** Those that the viewer may see. */
  calls = 0;
  since: string | null = null;
  /** How many routes found no row. */
  moreRoutes = 0;

  constructor(span: TallySpan) {
    this.#span = span;
  }

  add(call: Call): void {
    this.#addToCredential(call);
    if (!maySee(call.client, this.#span.rights)) return;
    this.#attempts += call.attempts;
    this.calls += 1;
    this.since = call.time;
    this.#addToRoute(call);
    this.#addToClient(call);
  }

  /** Those with most calls first. */
  routes(): RouteInsight[] {
    return Array.from(this.#routes.values(), ({ durations, ...sums }) => {
      durations.sort((a, b) => a - b);
      const part = (share: number) => durations[Math.ceil(durations.length * share) - 1] ?? 0;
      return { ...sums, calls: durations.length, p50: part(0.5), p95: part(0.95), p99: part(0.99) };
    }).sort((a, b) => b.calls - a.calls);
  }

  /** Those with most calls first. */
  clients(): ClientInsight[] {
    return Array.from(this.#clients.values(), ({ attempts, denied, wouldBeDenied, ...sums }) => ({
      ...sums,
      share: this.#attempts === 0 ? 0 : attempts / this.#attempts,
      denied: rulesOf(denied),
      wouldBeDenied: rulesOf(wouldBeDenied),
      causedMs: this.#causedBy(sums.client),
    })).sort((a, b) => b.calls - a.calls);
  }

  /** Who used a limit of a credential in the last minute: `routes` null for one of all its calls. */
  usedBy(credential: string, routes: readonly string[] | null): NonNullable<LimitInsight['usedBy']> {
    const byRoute = this.#credentials.get(credential)?.minute ?? new Map<string, Map<string | null, number>>();
    const counts = new Map<string | null, number>();
    for (const [route, clients] of byRoute) {
      if (routes !== null && !routes.includes(route)) continue;
      for (const [client, calls] of clients) {
        const name = this.#shownName(client);
        counts.set(name, (counts.get(name) ?? 0) + calls);
      }
    }
    return Array.from(counts, ([client, calls]) => ({ client, calls })).sort((a, b) => b.calls - a.calls);
  }

  /**
   * Answers 429 that named this limit of a credential, or of all of them where it is null; without a name, those that no
   * other of `named` takes.
   */
  refusals(
    credential: string | null,
    limit: string | null,
    named: readonly (string | null)[],
  ): Pick<LimitInsight, 'refusals' | 'lastRefusalAt'> {
    const sum: Refusals = { seen: 0, absorbed: 0, passed: 0, lastAt: null };
    const owners = credential === null ? [...this.#credentials.values()] : [this.#credentials.get(credential)];
    for (const [name, one] of owners.flatMap((owner) => [...(owner?.refusals ?? [])])) {
      if (limit === null ? named.includes(name) : name !== limit) continue;
      sum.seen += one.seen;
      sum.absorbed += one.absorbed;
      sum.passed += one.passed;
      if (one.lastAt !== null && (sum.lastAt === null || one.lastAt > sum.lastAt)) sum.lastAt = one.lastAt;
    }
    const { lastAt, ...refusals } = sum;
    return { refusals, lastRefusalAt: lastAt };
  }

  /** Calls that waited for the token of a credential. */
  waitedFor(credential: string): CredentialInsight['waited'] {
    const { waitedCalls = 0, waitedMs = 0, longestWaitMs = 0 } = this.#credentials.get(credential) ?? {};
    return { calls: waitedCalls, ms: waitedMs, longestMs: longestWaitMs };
  }

  #addToRoute(call: Call): void {
    const { method, route, durationMs, requestBytes, responseBytes, attempts } = call;
    const key = `${method} ${route}`;
    let sums = this.#routes.get(key);
    if (sums === undefined) {
      if (this.#routes.size >= MOST_ROUTES) {
        this.moreRoutes += 1;
        return;
      }
      const spark = Array.from({ length: SPARKS }, (): [number, number] => [0, 0]);
      sums = { method, route, durations: [], failures: 0, bytesIn: 0, bytesOut: 0, retries: 0, limited: 0, spark };
      this.#routes.set(key, sums);
    }
    sums.durations.push(durationMs);
    sums.bytesIn += requestBytes;
    sums.bytesOut += responseBytes;
    sums.retries += Math.max(0, attempts - 1);
    sums.limited += refusedAttempts(call);
    const failed = hasFailed(call) ? 1 : 0;
    sums.failures += failed;
    const { from, now } = this.#span;
    const part = Math.floor(((Date.parse(call.time) - from) / (now - from)) * SPARKS);
    const spark = sums.spark[Math.max(0, Math.min(SPARKS - 1, part))] as [number, number];
    spark[0] += 1;
    spark[1] += failed;
  }

  #addToClient(call: Call): void {
    const client = call.client ?? null;
    let sums = this.#clients.get(client);
    if (sums === undefined) {
      if (this.#clients.size >= MOST_CLIENTS) return;
      sums = clientSums(client);
      this.#clients.set(client, sums);
    }
    sums.lastSeenAt ??= call.time;
    sums.calls += 1;
    sums.attempts += call.attempts;
    sums.queueMs += call.queueMs;
    sums.limitedByPlatform += refusedAttempts(call);
    if (call.source === 'gateway' && call.status === 429) sums.limitedByGateway += 1;
    if (call.rule !== undefined) {
      const rules = call.errorCode === 'gateway.client.forbidden' ? sums.denied : sums.wouldBeDenied;
      if (rules.size < MOST_RULES || rules.has(call.rule)) rules.set(call.rule, (rules.get(call.rule) ?? 0) + 1);
    }
    if (!hasFailed(call)) return;
    sums.failures += 1;
    const culprit = culpritOf(call);
    if (culprit !== null) sums.culprits[culprit] = (sums.culprits[culprit] ?? 0) + 1;
  }

  #addToCredential(call: Call): void {
    if (call.credential === undefined) return;
    let sums = this.#credentials.get(call.credential);
    if (sums === undefined) {
      sums = {
        ...{ attempts: new Map(), queueMs: new Map(), minute: new Map(), refusals: new Map() },
        ...{ waitedCalls: 0, waitedMs: 0, longestWaitMs: 0 },
      };
      this.#credentials.set(call.credential, sums);
    }
    const client = call.client ?? null;
    const refused = refusedAttempts(call);
    addTo(sums.attempts, client, call.attempts);
    addTo(sums.queueMs, client, call.queueMs);
    const passed = call.attempts - refused;
    if (passed > 0 && this.#span.now - Date.parse(call.time) <= MINUTE_MS) {
      const key = `${call.method} ${call.route}`;
      const clients = sums.minute.get(key) ?? new Map<string | null, number>();
      sums.minute.set(key, addTo(clients, client, passed));
    }
    if (!maySee(client, this.#span.rights)) return;
    if (refused > 0) noteRefusals(sums.refusals, call, refused);
    if (call.tokenWaitMs < 1) return;
    sums.waitedCalls += 1;
    sums.waitedMs += call.tokenWaitMs;
    sums.longestWaitMs = Math.max(sums.longestWaitMs, call.tokenWaitMs);
  }

  /**
   * How long calls of others waited for the limits that a client used, by its part of the attempts there; that is not
   * for who may not see their calls.
   */
  #causedBy(client: string | null): number {
    if (this.#span.rights.sees !== 'all') return 0;
    let caused = 0;
    for (const { attempts, queueMs } of this.#credentials.values()) {
      const own = attempts.get(client) ?? 0;
      if (own === 0) continue;
      let all = 0;
      for (const count of attempts.values()) all += count;
      let waited = 0;
      for (const [other, ms] of queueMs) if (other !== client) waited += ms;
      caused += (waited * own) / all;
    }
    return caused;
  }

  #shownName(client: string | null): string | null {
    return maySee(client, this.#span.rights) ? client : OTHER_CLIENTS;
  }
}

/** Stands for all whose names a viewer may not see. No client can have that name. */
export const OTHER_CLIENTS = 'other clients';

/** Attempts that the platform refused for its limits. */
function refusedAttempts({ status, source, retries = [] }: Call): number {
  return retries.filter((reason) => reason === '429').length + (status === 429 && source === 'upstream' ? 1 : 0);
}

function noteRefusals(all: Map<string, Refusals>, call: Call, refused: number): void {
  const name = call.limit ?? '';
  let sums = all.get(name);
  if (sums === undefined) {
    sums = { seen: 0, absorbed: 0, passed: 0, lastAt: call.time };
    all.set(name, sums);
  }
  const passed = call.status === 429 && call.source === 'upstream' ? 1 : 0;
  sums.seen += refused;
  sums.passed += passed;
  sums.absorbed += call.status === 429 ? 0 : refused;
}

function clientSums(client: string | null): ClientSums {
  return {
    client,
    ...{ calls: 0, failures: 0, attempts: 0, culprits: {}, limitedByGateway: 0, limitedByPlatform: 0 },
    ...{ denied: new Map(), wouldBeDenied: new Map(), queueMs: 0, lastSeenAt: null },
  };
}

function addTo<K>(counts: Map<K, number>, key: K, by: number): Map<K, number> {
  return counts.set(key, (counts.get(key) ?? 0) + by);
}

function rulesOf(counts: ReadonlyMap<string, number>): RuleCount[] {
  return Array.from(counts, ([rule, calls]) => ({ rule, calls })).sort((a, b) => b.calls - a.calls);
}
