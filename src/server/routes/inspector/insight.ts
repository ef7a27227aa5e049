// How calls, tokens and limits went over a span of time: from the calls that are kept, the counters of a day, and the
// states as they are now. Nobody is told another client's name or numbers who may see only calls of its own.

import type { FastifyInstance } from 'fastify';
import type { Credential } from '../../../auth/credentials/credentials.ts';
import { GatewayError, isGatewayError } from '../../../errors.ts';
import { CallTally, OTHER_CLIENTS } from '../../../inspector/call-tally.ts';
import type {
  ClientInsight,
  CredentialInsight,
  GatewayInsight,
  Insight,
  LimitInsight,
  QueuedCall,
} from '../../../inspector/insight-answer.ts';
import { maySee, walkCalls } from '../../../inspector/search.ts';
import type { Call } from '../../../inspector/wire.ts';
import { credentialOfLimit } from '../../../upstream/call.ts';
import type { LimitState } from '../../../upstream/rate-limit/limits.ts';
import type { QueuedStart } from '../../../upstream/rate-limit/rate-limiter.ts';
import type { WaitingCall } from '../../../upstream/waiting-calls.ts';
import type { Exchange } from '../../exchange.ts';
import { clientStatuses } from '../client-status.ts';
import { credentialStatus, statusOf } from '../status.ts';
import { Places, sendInspection, type Viewer, viewerOf } from './viewer.ts';

const USUAL_SPAN = '15m';
const SPAN_UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };
const SHORTEST_MS = 60_000;
const LONGEST_MS = 86_400_000;
/** Each reads all calls that are kept. */
const MOST_ANSWERS = 8;
const MOST_ROUTES = 100;
/** More wait for one limit than anybody reads. */
const MOST_IN_LINE = 50;
const MOST_LIMITS = 100;
const MINUTE_MS = 60_000;

/** Registers the route. */
export function registerInsight(app: FastifyInstance): void {
  const places = new Places(MOST_ANSWERS);
  app.get('/-/insight', async (request, reply) => {
    const viewer = viewerOf(request);
    const { exchange } = viewer;
    const spanMs = spanOf(exchange);
    places.take(viewer);
    reply.hijack();
    const answer = await insightOf(viewer, spanMs);
    if (answer !== null) sendInspection(exchange, JSON.stringify(answer));
  });
}

/** The span of the query, `15m`. Throws gateway.request.invalid for what is none. */
function spanOf({ route }: Exchange): number {
  const text = new URLSearchParams(route.kind === 'local' ? route.query : '').get('span') ?? USUAL_SPAN;
  const [, number = '', unit = ''] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const spanMs = Number(number) * (SPAN_UNITS[unit] ?? 0);
  if (spanMs >= SHORTEST_MS && spanMs <= LONGEST_MS) return spanMs;
  throw new GatewayError('gateway.request.invalid', 'span is a time from 1m to 24h, like 15m', { statusCode: 400 });
}

/** Null where nobody waits for it any more. */
async function insightOf(viewer: Viewer, spanMs: number): Promise<Insight | null> {
  const { exchange, inspector, rights } = viewer;
  const { gateway, connection } = exchange;
  const now = gateway.clock.now();
  const from = now - spanMs;
  const tally = new CallTally({ rights, from, now });
  const whole = inspector.ring.wholeSince;
  let reached = Number.POSITIVE_INFINITY;
  await walkCalls(
    inspector.ring,
    Number.POSITIVE_INFINITY,
    ({ seq, json }) => {
      // Of those before, only the failed ones are left.
      if (seq <= inspector.ring.lostUpTo) return false;
      const call = JSON.parse(json) as Call;
      reached = Date.parse(call.time);
      if (reached < from) return false;
      tally.add(call);
      return true;
    },
    () => !connection.disconnected,
  );
  if (connection.disconnected) return null;
  const wholeFrom = whole === null ? gateway.startedAt : Date.parse((JSON.parse(whole.json) as Call).time);
  // What went well is kept as the log has it.
  const keepsAll = ['info', 'debug', 'trace'].includes(gateway.runtime.config.logging.level);
  const routes = tally.routes();
  return {
    instance: inspector.instance,
    now: iso(now),
    startedAt: iso(gateway.startedAt),
    spanMs,
    reach: { calls: tally.calls, since: tally.since, isWhole: keepsAll && (whole === null || wholeFrom <= from) },
    series: inspector.counters.read(spanMs, rights.sees === 'all' ? null : rights.client),
    routes: routes.slice(0, MOST_ROUTES),
    moreRoutes: Math.max(0, routes.length - MOST_ROUTES) + tally.moreRoutes,
    clients: clientsOf(viewer, tally),
    limits: limitsOf(viewer, tally, keepsAll && (whole === null || wholeFrom <= now - MINUTE_MS)),
    credentials: credentialsOf(viewer, tally, now),
    gateway: rights.sees === 'all' ? gatewayOf(viewer) : null,
  };
}

/** Those that called, and for who sees all those that are configured and did not. */
function clientsOf({ exchange: { gateway }, rights }: Viewer, tally: CallTally): ClientInsight[] {
  const called = tally.clients();
  if (rights.sees !== 'all') return called;
  const states = new Map(clientStatuses(gateway).map((status) => [status.name, status]));
  const known = called.map((client) => {
    const status = client.client === null ? undefined : states.get(client.client);
    if (client.client !== null) states.delete(client.client);
    return status === undefined ? client : { ...client, ...sinceStart(status) };
  });
  const quiet = Array.from(states.values(), (status) => ({ ...NO_CALLS, client: status.name, ...sinceStart(status) }));
  return [...known, ...quiet];
}

const NO_CALLS: Omit<ClientInsight, 'client'> = {
  ...{ calls: 0, failures: 0, share: 0, culprits: {}, limitedByGateway: 0, limitedByPlatform: 0 },
  ...{ denied: [], wouldBeDenied: [], queueMs: 0, causedMs: 0, lastSeenAt: null },
};

function sinceStart(status: ReturnType<typeof clientStatuses>[number]) {
  const { calls, refused, rejected, state, sockets, lastSeenAt } = status;
  return { sinceStart: { calls, refused, rejected }, state, sockets, ...(lastSeenAt !== null && { lastSeenAt }) };
}

/** Calls of a session are recorded by its credential: which of them a session's limit refused is not known. */
const NO_CREDENTIAL = '';
const CLIENTS_OWN = 'requests_per_minute of client ';

/** Those that hold calls back come first, then those that are used most. */
function limitsOf(viewer: Viewer, tally: CallTally, isMinuteKept: boolean): LimitInsight[] {
  const { exchange, rights } = viewer;
  const { runtime, clock } = exchange.gateway;
  const all = runtime.upstream.limits();
  const lines = runtime.upstream.lines(MOST_IN_LINE);
  // Whole credentials before the rest, where nothing else tells them apart.
  const rank = ({ waiting, pausedMs, used, perMinute, scope }: LimitState) =>
    (waiting > 0 ? 8 : 0) +
    (pausedMs > 0 ? 4 : 0) +
    (scope === 'client' ? 0 : 1) +
    (perMinute === null ? 0 : Math.min(1, used / perMinute));
  return all
    .filter((limit) => maySeeLimit(limit, viewer))
    .sort((a, b) => rank(b) - rank(a))
    .slice(0, MOST_LIMITS)
    .map((limit) => {
      const { name, credential, routes, organization } = limit;
      const owner = credential === null ? null : credentialOfLimit(credential);
      const own = name.startsWith(CLIENTS_OWN) ? name.slice(CLIENTS_OWN.length) : null;
      const isShare = isMinuteKept && owner !== null && owner === credential && organization === null;
      const named = all.filter((one) => one !== limit && one.credential === credential).map((one) => one.limit);
      return {
        ...limit,
        usedBy: own !== null ? [{ client: own, calls: limit.used }] : isShare ? tally.usedBy(owner, routes) : null,
        line: (lines.get(name) ?? []).map((start) => queuedCall(start, rights, clock.monotonic())),
        ...tally.refusals(
          own === null && owner === credential ? owner : NO_CREDENTIAL,
          limit.scope === 'token' && routes === null ? null : limit.limit,
          named,
        ),
      };
    });
}

/** Whoever sees only calls of its own sees the limits that these draw on. */
function maySeeLimit({ name, credential }: LimitState, { rights, exchange }: Viewer): boolean {
  if (rights.sees === 'all') return true;
  if (name.startsWith(CLIENTS_OWN)) return name === `${CLIENTS_OWN}${rights.client}`;
  return credential !== null && exchange.gateway.runtime.access.mayUse(exchange.caller, credential);
}

function queuedCall({ client, connection, startsAt }: QueuedStart, rights: Viewer['rights'], now: number): QueuedCall {
  const { record, waitsSince = now } = connection as WaitingCall;
  const isSeen = maySee(record?.client ?? client, rights);
  return {
    client: isSeen ? client || null : OTHER_CLIENTS,
    ...(isSeen && record !== undefined && { requestId: record.requestId }),
    waitedMs: Math.max(0, Math.round(now - waitsSince)),
    startsInMs: Math.max(0, Math.round(startsAt - now)),
  };
}

function credentialsOf({ exchange, inspector, rights }: Viewer, tally: CallTally, now: number): CredentialInsight[] {
  const { gateway, caller } = exchange;
  const { credentials, access } = gateway.runtime;
  return [...credentials.list()]
    .filter(({ config: { name } }) => rights.sees === 'all' || access.mayUse(caller, name))
    .map((credential) => credentialInsight(credential, exchange, rights.sees === 'all'))
    .map((one) => ({ ...one, lane: inspector.lanes.of(one.name, one, now), waited: tally.waitedFor(one.name) }));
}

function credentialInsight(
  credential: Credential,
  { gateway }: Exchange,
  seesAll: boolean,
): Omit<CredentialInsight, 'lane' | 'waited'> {
  const status = credentialStatus(credential, gateway);
  const { name, grantType, token, renewal, expiresAt, fingerprint, nextAttemptAt, lastError, required } = status;
  const { renewals, failures, tokens, identity, upstream } = status;
  const known = identity?.organization ?? identity?.oauthClient ?? null;
  return {
    name,
    grantType,
    required,
    token,
    renewal,
    expiresAt,
    fingerprint,
    nextAttemptAt,
    lastError,
    renewals,
    failures,
    hasLogin: credential.hasLogin,
    identity: seesAll ? (known?.name ?? null) : null,
    region: upstream.region,
    tokens: tokens?.map(({ number, token: state, used }) => ({ number, token: state, used })) ?? null,
  };
}

function gatewayOf({ exchange: { gateway }, inspector }: Viewer): GatewayInsight {
  const { runtime, openSockets, metrics, program } = gateway;
  const {
    status,
    version,
    startedAt,
    store,
    audit,
    configuration,
    reload,
    certificates,
    inspector: looks,
  } = statusOf(gateway);
  const { dispatcher } = runtime.upstream;
  let logDropped = 0;
  for (const { value } of metrics.samples('gcg_log_records_dropped_total')) logDropped += value;
  return {
    status,
    version,
    node: process.versions.node,
    startedAt,
    memoryBytes: process.memoryUsage.rss(),
    connections: dispatcher.connections(),
    origins: originsOf(gateway),
    sockets: [...openSockets.owners()].length,
    store,
    audit: audit && { failure: audit.failure, lost: audit.lost },
    logDropped,
    files: configuration.files,
    canReload: program.reload !== undefined,
    reloads: reloadsOf(inspector, reload?.last ?? null),
    certificates: certificates.map(({ use, subject, expiresAt }) => ({ use, subject, expiresAt })),
    watchers: looks?.watchers ?? [],
    keys: looks?.keys ?? [],
  };
}

function reloadsOf({ reloads }: Viewer['inspector'], last: GatewayInsight['reloads'][number] | null) {
  if (last !== null) reloads.note(last);
  return reloads.list();
}

/** The origins of all credentials, called or not. */
function originsOf({ runtime }: Viewer['exchange']['gateway']): GatewayInsight['origins'] {
  const { dispatcher, egress } = runtime.upstream;
  const called = new Map(dispatcher.origins().map((one) => [one.origin, one]));
  const configured = runtime.config.credentials.map(({ hosts }) => hosts.api.origin);
  return Array.from(new Set([...called.keys(), ...configured]), (origin) => {
    const { breaker = 'closed', running = 0, waiting = 0 } = called.get(origin) ?? {};
    return { origin, breaker, running, waiting, ...wayOut(egress, origin) };
  });
}

/** A setting that cannot be used says so in each call's own error. */
function wayOut(egress: Exchange['runtime']['upstream']['egress'], origin: string): { via: string; reason: string } {
  try {
    return egress.describe(origin);
  } catch (error) {
    if (isGatewayError(error)) return { via: 'none', reason: error.message };
    throw error;
  }
}

function iso(at: number): string {
  return new Date(Math.min(at, 8.64e15)).toISOString();
}
