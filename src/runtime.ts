// Everything that is made from one configuration and replaced with it as a whole: the way to the upstream, the
// credentials, who may call and what.

import { randomUUID } from 'node:crypto';
import type { AuditTrail } from './audit/audit-trail.ts';
import { CallAudit } from './audit/call-audit.ts';
import { type Access, createAccess } from './auth/callers/access.ts';
import type { ClientBlocks } from './auth/callers/client-blocks.ts';
import { type Clients, createClients, type Exposure } from './auth/callers/clients.ts';
import type { Handles } from './auth/callers/handles.ts';
import type { PageKeys } from './auth/callers/page-keys.ts';
import { placeholderCredential } from './auth/callers/session.ts';
import type { Sessions } from './auth/callers/sessions.ts';
import { Standing } from './auth/callers/standing.ts';
import { type Credentials, createCredentials, isSameAccount } from './auth/credentials/credentials.ts';
import type { TokenStore } from './auth/credentials/store/store.ts';
import {
  createTokenEndpoint,
  type TokenEndpoint,
  type TokenRequestOutcome,
  type TokenTransport,
} from './auth/credentials/token-endpoint.ts';
import type { TokenTransition } from './auth/credentials/token-source.ts';
import type { ClientCas } from './cert-subject.ts';
import type { Clock } from './clock.ts';
import type { CredentialConfig, GatewayConfig } from './config/gateway-config.ts';
import { isSameSetting } from './config/gateway-config.ts';
import type { GatewayError } from './errors.ts';
import type { Inspector } from './inspector/inspector.ts';
import { type BodyLogging, bodyLoggingOf } from './logging/body-capture.ts';
import type { Metrics, TokenRequestResult } from './logging/metrics/metrics.ts';
import type { LiveSecrets } from './logging/redact/live-secrets.ts';
import type { RedisConnection } from './redis/connection.ts';
import { type BoundaryRules, createBoundaryRules } from './server/admission.ts';
import { Authenticator } from './server/authenticate.ts';
import { ClientRules } from './server/authorize.ts';
import { TrustedProxies } from './server/connection.ts';
import type { ServerRuntime } from './server/context.ts';
import { createOwnHeaders, type OwnHeaders, redirectBase } from './server/headers.ts';
import type { Channels } from './server/websocket/shared-channels.ts';
import type { Spans } from './tracing/spans.ts';
import type { AskedLimits } from './upstream/asked-limits.ts';
import type { Identities } from './upstream/identities.ts';
import { createReplayBudget, type ReplayBudget } from './upstream/request-body.ts';
import { createUpstream, type PreviousUpstream, type Upstream, type UpstreamDeps } from './upstream/upstream.ts';
import { WaitingCalls } from './upstream/waiting-calls.ts';
import type { Budgets } from './usage/budgets.ts';

/** What outlives a configuration. */
export interface Shared extends UpstreamDeps {
  readonly store: TokenStore;
  /** The connection to a store that instances share; null where each has its own. */
  readonly redis: Pick<RedisConnection, 'meta'> | null;
  readonly handles: Handles;
  readonly sessions: Sessions;
  /** The clients that an administrator has blocked. */
  readonly blocks: ClientBlocks;
  /** The keys of the live page. */
  readonly pageKeys: PageKeys;
  /** The notification channels that were issued. */
  readonly channels: Channels;
  readonly metrics: Metrics;
  /** Where spans of calls and of token requests go. */
  readonly spans: Spans;
  /** Null where nobody can look. */
  readonly inspector: Inspector | null;
  /** Null where no file is configured. */
  readonly auditTrail: AuditTrail | null;
  readonly budgets: Budgets;
  /** Told, after `metrics`, of each change of state of a configured credential; read anew each time. */
  readonly onTransition: () => void;
  /** The log's, told each token that is obtained, so that it can mask them. */
  readonly liveSecrets: LiveSecrets | undefined;
  /** What certificates of callers are verified by; null where none are asked for. */
  readonly clientCas: ClientCas | null;
  /** The listeners, where clients authenticate. */
  readonly listenerPlan: Exposure;
  /** Whose the tokens are. */
  readonly identities: Identities;
  /** What limits they have. */
  readonly askedLimits: AskedLimits;
  /** The way to the token endpoint of the runtime in use: credentials outlive the one they were made for. */
  readonly transport: TokenTransport;
}

/**
 * Recognises our own requests when they come back; one per process. Where instances share a store they have one name
 * together: a chain through another of them is a loop too.
 */
const INSTANCE_ID = randomUUID();

/**
 * The parts of one configuration at work. Asks nothing of the network before `credentials.start()`. What `previous` has
 * and this configuration does not change is shared with it: connections, token sources, what is known of limits.
 */
export class Runtime implements ServerRuntime {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly upstream: Upstream;
  readonly credentials: Credentials;
  readonly tokenEndpoint: TokenEndpoint;
  readonly placeholderCredential: CredentialConfig;
  readonly clients: Clients;
  readonly access: Access;
  readonly authenticator: Authenticator;
  readonly rules: ClientRules;
  readonly boundary: BoundaryRules;
  readonly trustedProxies: TrustedProxies;
  readonly handles: Handles;
  readonly sessions: Sessions;
  readonly channels: Channels;
  readonly budget: ReplayBudget;
  readonly ownHeaders: OwnHeaders;
  readonly redirectBase: string;
  readonly #isChained: boolean;
  readonly #gatewayId: () => string | null;
  readonly bodies: BodyLogging | null;
  readonly audit: CallAudit | null;
  readonly budgets: Budgets;
  readonly waits: WaitingCalls;
  /** Forwarded calls that run. */
  #running = 0;
  /** Set when it is replaced: called when the last of them has ended. */
  #onIdle: (() => void) | null = null;

  constructor(config: GatewayConfig, shared: Shared, previous?: Runtime) {
    const { clock, log, random, store, handles, sessions, transport } = shared;
    const { server } = config;
    this.config = config;
    this.clock = clock;
    this.upstream = createUpstream(config, shared, previous && keptBy(previous, config));
    const onSecret = shared.liveSecrets?.add;
    this.credentials = createCredentials(
      {
        config,
        transport,
        store,
        clock,
        random,
        log,
        onTransition: tellTransitions(shared),
        onToken: (name, token, isRenewal) => {
          shared.identities.noteToken(name, token, isRenewal);
          shared.askedLimits.noteToken(name, token, isRenewal);
        },
        onTokenRequest: tellTokenRequests(shared, false),
        onSecret,
      },
      previous?.credentials,
    );
    this.tokenEndpoint = createTokenEndpoint({
      transport,
      clock,
      log,
      timeoutMs: config.timeouts.tokenMs,
      onTokenRequest: tellTokenRequests(shared, true),
      onSecret,
    });
    this.placeholderCredential = placeholderCredential(config.general.hosts);
    this.clients = createClients(config.clients, clock, shared.listenerPlan);
    this.access = createAccess(config);
    this.trustedProxies = new TrustedProxies(server.trustedProxies);
    this.authenticator = new Authenticator({
      clients: this.clients,
      handles,
      sessions,
      standing: new Standing(config.clients, clock, shared.blocks),
      trustedProxies: this.trustedProxies,
      pageKeys: shared.pageKeys,
      isAnonymousServed: server.anonymousCredentials !== null,
      unsafeAllowAnonymous: server.unsafeAllowAnonymous,
      clientCas: shared.clientCas,
    });
    this.rules = new ClientRules(config, log);
    this.boundary = createBoundaryRules(server);
    this.handles = handles;
    this.sessions = sessions;
    this.channels = shared.channels;
    this.budget = previous?.budget ?? createReplayBudget();
    this.ownHeaders = createOwnHeaders(config.upstreamHeaders);
    this.redirectBase = redirectBase(server.publicUrl);
    this.#isChained = isChained(config);
    this.#gatewayId = () => shared.redis?.meta?.gatewayId ?? null;
    this.bodies = bodyLoggingOf(config.logging);
    this.audit =
      shared.auditTrail && new CallAudit(shared.auditTrail, config.audit, shared.liveSecrets?.mask ?? ((text) => text));
    this.budgets = shared.budgets;
    this.waits = new WaitingCalls({ clock, log, mostAMinute: config.logging.format === 'text' ? 20 : 1 });
  }

  get instanceId(): string | null {
    return this.#isChained ? (this.#gatewayId() ?? INSTANCE_ID) : null;
  }

  enter(): void {
    this.#running += 1;
  }

  leave(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#onIdle?.();
  }

  /**
   * After `next` has taken its place: resolves when the calls that still run here have ended and what `next` does not
   * share is closed.
   */
  async retire(next: Runtime): Promise<void> {
    this.credentials.close(next.credentials);
    next.upstream.takeOver(this.upstream);
    if (this.#running > 0)
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    this.waits.close();
    await this.credentials.settled();
    await this.upstream.retire();
  }

  /**
   * Ends the waits of all calls that are not on their way to the upstream, and lets none begin any more: they are told
   * `error`.
   */
  rejectWaits(error: GatewayError): void {
    this.waits.rejectAll(error);
  }

  /** Ends timers and connections; exchanges that still run are cut. */
  async close(): Promise<void> {
    this.credentials.close();
    this.waits.close();
    await this.upstream.close();
  }
}

/** The way to the upstream before, and which credentials go on to draw on the same limits of the platform. */
function keptBy({ config, upstream }: Runtime, next: GatewayConfig): PreviousUpstream {
  const before = new Map(config.credentials.map((credential) => [credential.name, credential]));
  const kept = new Set<string>();
  for (const credential of next.credentials) {
    const old = before.get(credential.name);
    if (old !== undefined && isSameAccount(old, credential)) kept.add(credential.name);
  }
  // Sessions that no configured credential stands behind.
  const { name } = placeholderCredential(next.general.hosts);
  if (!next.credentials.some((one) => one.name === name) && isSameSetting(config.general.hosts, next.general.hosts))
    kept.add(name);
  return { config, upstream, isKept: (credential) => kept.has(credential) };
}

/** Whether calls go to a `[gateway]` host, which may lead back here, and not straight to a region. */
function isChained(config: GatewayConfig): boolean {
  return config.credentials.some(({ hosts }) => hosts.api.origin !== `https://api.${hosts.domain}`);
}

const RESULTS: Record<TokenRequestOutcome['result'], TokenRequestResult> = {
  success: 'ok',
  transient: 'transient',
  refused: 'rejected',
  login_required: 'rejected',
};

/** Counts token requests of credentials and sessions alike, and lets them have spans. `isOfSession` as in `TokenRequest`. */
function tellTokenRequests(
  { metrics, spans, clock }: Pick<Shared, 'metrics' | 'spans' | 'clock'>,
  isOfSession: boolean,
): (outcome: TokenRequestOutcome) => void {
  return (outcome) => {
    const { credential, grant, result, startedAt, url, statusCode, errorCode, tokenFingerprint } = outcome;
    metrics.tokenRequest(credential, grant, RESULTS[result]);
    spans.tokenRequest({
      credential,
      grant,
      result,
      startedAt,
      endedAt: clock.monotonic(),
      url,
      statusCode: statusCode ?? null,
      errorCode: errorCode ?? null,
      tokenFingerprint: tokenFingerprint ?? null,
      isOfSession,
    });
  };
}

/** Counts the changes of state of configured credentials; sessions are not counted: their number has no bound. */
function tellTransitions(
  shared: Pick<Shared, 'metrics' | 'inspector' | 'onTransition'>,
): (transition: TokenTransition) => void {
  return (transition) => {
    const { credential, number, toToken, toRenewal } = transition;
    // Those of further tokens are the pool's business: what is watched is whether calls can be served.
    if (number === undefined) shared.metrics.tokenTransition(credential, toToken, toRenewal);
    shared.inspector?.tokenChanged(transition);
    shared.onTransition();
  };
}
