// What a scrape, and whoever watches the live page, reads of a running gateway at that moment: it is asked for, and kept
// nowhere. The families of metrics and what the page makes of it are theirs.

import type { TokenStore } from '../auth/credentials/store/store.ts';
import type { Reload } from '../inspector/reload-history.ts';
import type { Metrics } from '../logging/metrics/metrics.ts';
import { credentialOfLimit } from '../upstream/call.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { WaitingCalls } from '../upstream/waiting-calls.ts';
import type { ServerContext, ServerRuntime } from './context.ts';
import type { Channels } from './websocket/shared-channels.ts';

/** A gateway whose parts are read. */
export interface Observed extends ServerContext {
  readonly runtime: ObservedRuntime;
  readonly metrics: Metrics;
  readonly store: Pick<TokenStore, 'state' | 'instances'>;
  readonly channels: Channels;
}

interface ObservedRuntime extends ServerRuntime {
  readonly waits: WaitingCalls;
  readonly upstream: Upstream;
}

/** Lets the metrics look at the parts in use when they are scraped, and watchers while there are any. */
export function observe(gateway: Observed): void {
  if (gateway.inspector !== null) {
    gateway.inspector.waiting = () => gateway.runtime.waits.list();
    gateway.inspector.limits = () => limitStates(gateway.runtime);
    gateway.inspector.observe(
      { samples: (name) => gateway.metrics.samples(name), used: () => usedLimits(gateway.runtime) },
      () => lastReloadOf(gateway),
    );
  }
  gateway.metrics.setSources({
    credentials: () => credentialStates(gateway.runtime),
    clients: () => clientUses(gateway),
    queueLengths: () => queueLengths(gateway.runtime),
    certificates: () => gateway.expiries.certificates(),
    connections: () => gateway.runtime.upstream.dispatcher.connections(),
    usage: () => gateway.usage.rowsAt(gateway.clock.now()),
    budgets: () =>
      gateway.runtime.config.clients.flatMap(({ name, requestsPerMonth: limit }) =>
        limit === null ? [] : [{ name, limit }],
      ),
    audit: () => gateway.auditTrail,
    store: () => sharedStoreSample(gateway),
    spans: () => gateway.spans.state(),
    isCapturing: () => gateway.inspector && gateway.inspector.capture.state.what !== null,
    ...(gateway.inspector && { watchers: () => gateway.inspector?.feed.watchers.length ?? 0 }),
    channels: () => ownChannels(gateway.channels),
    sockets: () =>
      Array.from(gateway.openSockets.owners(), ({ caller, credential }) => ({
        client: caller.client?.name ?? null,
        credential,
      })),
  });
}

function* credentialStates({ credentials, upstream }: ObservedRuntime) {
  for (const credential of credentials.list()) {
    const { config, source, pool } = credential;
    const { name, isRequired } = config;
    const { renewal, expiresAt } = source.state();
    const limits = upstream.tokenLimits(name) ?? [];
    const tokens =
      pool?.states().map(({ number, token }) => ({ number, token, used: limits[number - 1]?.used ?? 0 })) ?? [];
    const pooled = pool && { max: pool.max, tokens };
    yield { name, isRequired, token: credential.tokenState(), renewal, expiresAt, pool: pooled };
  }
}

function sharedStoreSample({ redis, store, quota }: Observed) {
  if (redis === null || quota === null || store.instances === null) return null;
  const { state, gaps } = redis.status();
  const { toldAgain, unwritten } = store.state();
  const { permits, degradedSeconds } = quota.status();
  const instances = redis.instances.length;
  const { lockWaits, tokensFromPeers } = store.instances;
  const told = { gaps, toldAgain, unwritten, instances, lockWaits, tokensFromPeers };
  return { isUp: state === 'ok', ...told, permits, degradedSeconds };
}

/** The limits in force, each by a key of its own. */
function* limitStates({ upstream }: ObservedRuntime): Iterable<readonly [key: string, state: Record<string, unknown>]> {
  for (const state of upstream.limits()) yield [`${state.credential} ${state.name}`, { ...state }];
}

/** How much of the limits of credentials as a whole is used. */
function* usedLimits({ upstream, config }: ObservedRuntime): Iterable<readonly [credential: string, used: number]> {
  const names = new Set(config.credentials.map(({ name }) => name));
  for (const { credential, scope, routes, used } of upstream.limits())
    if (scope === 'token' && routes === null && credential !== null && names.has(credential)) yield [credential, used];
}

/** The last reload as the program reports it; null where there was none. */
function lastReloadOf({ program }: Observed): Reload | null {
  const { reload } = (program.status?.() ?? {}) as { readonly reload?: { readonly last: Reload | null } };
  return reload?.last ?? null;
}

/** Clients with their ends and what was seen of their secrets. */
function* clientUses({ runtime, activity, blocks }: Observed) {
  for (const { name, expiresAt } of runtime.config.clients) {
    const { rejected, secrets } = activity.of(name);
    yield { name, expiresAt, isBlocked: blocks.since(name) !== null, rejected, secrets };
  }
}

/** Channels made with the credentials' own tokens: those of sessions count for their users. */
function* ownChannels(channels: Channels) {
  for (const { credential, session, clients } of channels.accounts())
    if (session === null) for (const one of clients) yield { client: one.client, credential, channels: one.channels };
}

/** Calls that wait for a limit or a connection, by credential. */
function queueLengths({ upstream }: ObservedRuntime): Map<string, number> {
  const lengths = new Map<string, number>();
  const add = (limitKey: string, waiting: number) => {
    const name = credentialOfLimit(limitKey);
    lengths.set(name, (lengths.get(name) ?? 0) + waiting);
  };
  for (const { credential, organization, waiting } of upstream.limits()) {
    if (credential !== null) add(credential, waiting);
    // Of several credentials; it is not known whose.
    else if (organization !== null) add('other', waiting);
  }
  for (const [credential, waiting] of upstream.dispatcher.waiting()) add(credential, waiting);
  return lengths;
}
