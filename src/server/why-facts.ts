// What the running gateway knows of a call's surroundings, for its explanation: states as they are now, and who used
// its limit in the minute before. Asks nothing of the network or the disk, and holds no secret.

import { ANONYMOUS } from '../auth/callers/caller.ts';
import type { Credential } from '../auth/credentials/credentials.ts';
import { isGatewayError } from '../errors.ts';
import type { CallRing, KeptCall } from '../inspector/call-ring.ts';
import { walkCalls } from '../inspector/search.ts';
import type { LimitFacts, WhyFacts } from '../inspector/why-facts.ts';
import type { Call, Rights } from '../inspector/wire.ts';
import type { ServerContext, ServerRuntime } from './context.ts';

/** The calls that are kept. */
export type KeptCalls = Pick<CallRing, 'below' | 'wholeSince'>;

/** Whose calls a viewer may see. */
export type SeenBy = Pick<Rights, 'sees' | 'client'>;

/** In which the platform counts calls. */
const MINUTE_MS = 60_000;
/** So many calls are looked at; where more were made in a minute, nobody is told who made them. */
const MOST_CALLS = 3_000;
/** Of those that ended after a call, so many are looked at for ones that were sent before it. */
const MOST_LATER = 1_000;

/** The facts for one call, as its viewer may know them; `usedBy` is what `usersOfLimit` found. */
export function whyFacts(
  { runtime, clock }: Pick<ServerContext, 'runtime' | 'clock'>,
  call: Call,
  usedBy: WhyFacts['usedBy'],
  viewer: SeenBy,
): WhyFacts {
  const { config } = runtime;
  const { timeouts, server, rateLimit, retry, reauthentication } = config;
  const credential = call.credential === undefined ? undefined : runtime.credentials.get(call.credential);
  return {
    now: clock.now(),
    credential: credential === undefined ? null : credentialFacts(credential, call),
    limit: limitFacts(call, runtime, viewer),
    areOthersHidden: viewer.sees !== 'all',
    usedBy,
    wayOut: wayOut(credential, runtime),
    settings: {
      totalWaitMs: timeouts.totalWaitMs,
      connectMs: timeouts.connectMs,
      headersMs: timeouts.headersMs,
      tokenWaitMs: reauthentication.refreshTokenWaitMaxMs,
      maxBodyBytes: server.maxBodyBytes,
      queueMax: rateLimit.queueMax,
      connections: rateLimit.connections,
      retryMax: retry.max,
    },
    usable: usable(call, runtime),
  };
}

function credentialFacts({ config, source, hasLogin }: Credential, call: Call): WhyFacts['credential'] {
  const { token, renewal, nextAttemptAt, lastError } = source.state();
  const current = source.current();
  return {
    name: config.name,
    grantType: config.grantType,
    region: config.hosts.domain,
    loginHost: new URL(config.hosts.login.origin).host,
    token,
    renewal,
    nextAttemptAt,
    lastError: lastError?.message ?? null,
    secretFrom: config.clientSecret?.origin ?? null,
    tokenSince:
      current !== null && current.fingerprint === call.tokenFingerprint && current.obtainedAt > 0
        ? current.obtainedAt
        : null,
    hasLogin,
  };
}

/** Whether its explanation tells who used a limit. */
function isLimited({ status, errorCode }: Call): boolean {
  return status === 429 || errorCode === 'gateway.rate.limited';
}

/** The limit by the name that the record has; for a 429 of the platform, the one of the route or credential. */
function limitFacts(
  { heldBy, credential, status, method, route }: Call,
  { upstream }: ServerRuntime,
  { sees }: SeenBy,
): LimitFacts | null {
  const all = upstream.limits();
  const ofCredential = status === 429 ? all.filter((limit) => limit.credential === (credential ?? '')) : [];
  const found =
    all.find(({ name }) => name === heldBy) ??
    ofCredential.find(({ routes }) => routes?.includes(`${method} ${route}`)) ??
    ofCredential.find(({ routes }) => routes === null);
  if (found === undefined) return null;
  const { name, perMinute, used, waiting, pausedMs } = found;
  // How much others call is not for everybody to know.
  return sees === 'all'
    ? { name, perMinute, used, waiting, pausedMs }
    : { name, perMinute, used: 0, waiting: 0, pausedMs };
}

/**
 * Who used the limit of a call that was refused or held for one, in the minute before: by when calls were sent, not by
 * when they ended. Null where not all calls of the minute are kept. Others have their turn meanwhile; `isWanted` ends
 * it early.
 */
export async function usersOfLimit(
  call: Call,
  kept: KeptCalls,
  { config }: ServerRuntime,
  viewer: SeenBy,
  isWanted: () => boolean,
): Promise<WhyFacts['usedBy']> {
  if (!isLimited(call) || !['info', 'debug', 'trace'].includes(config.logging.level)) return null;
  const until = Date.parse(call.time);
  const counts = new Map<string | null, number>();
  let looked = 0;
  let isOver = false;
  const visit = ({ seq, json }: KeptCall): boolean => {
    if (seq === call.seq) return true;
    const one = JSON.parse(json) as Call;
    const endedAt = Date.parse(one.time);
    isOver = until - endedAt > MINUTE_MS;
    if (isOver || ++looked > MOST_CALLS + MOST_LATER) return false;
    const sentAt = endedAt - one.durationMs + one.queueMs + one.tokenWaitMs;
    const passed = one.attempts - refusedAttempts(one);
    const isOfMinute = sentAt <= until && until - sentAt <= MINUTE_MS;
    if (!isOfMinute || one.credential !== call.credential || passed <= 0) return true;
    const client = one.client ?? null;
    if (viewer.sees === 'all' || client === viewer.client) counts.set(client, (counts.get(client) ?? 0) + passed);
    return true;
  };
  await walkCalls(kept, call.seq + MOST_LATER, visit, isWanted);
  const isTooMany = looked > MOST_CALLS + MOST_LATER;
  // Calls fall out while others have their turn.
  if (isTooMany || !(isOver || kept.wholeSince === null) || !isWanted()) return null;
  return Array.from(counts, ([client, calls]) => ({ client, calls })).sort((a, b) => b.calls - a.calls);
}

/** Attempts that the platform refused for its limit: they used nothing of it up. */
function refusedAttempts({ status, source, retries = [] }: Call): number {
  return retries.filter((reason) => reason === '429').length + (status === 429 && source === 'upstream' ? 1 : 0);
}

/** A setting that cannot be used has said so in the call's own error. */
function wayOut(credential: Credential | undefined, { upstream, config }: ServerRuntime): WhyFacts['wayOut'] {
  const { origin } = (credential?.config.hosts ?? config.general.hosts).api;
  try {
    return upstream.egress.describe(origin);
  } catch (error) {
    if (isGatewayError(error)) return null;
    throw error;
  }
}

function usable({ client }: Call, { config, access, clients }: ServerRuntime): readonly string[] {
  const caller = client === undefined ? ANONYMOUS : clients.get(client);
  return caller === undefined
    ? []
    : config.credentials.map(({ name }) => name).filter((name) => access.mayUse(caller, name));
}
