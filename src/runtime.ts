// Everything that is made from one configuration and replaced with it as a whole: the way out, the credentials, the
// layers of a call.

import { randomUUID } from 'node:crypto';
import { createAccess } from './auth/callers/access.ts';
import { createClients, type Exposure } from './auth/callers/clients.ts';
import type { Handles } from './auth/callers/handles.ts';
import { placeholderCredential } from './auth/callers/session.ts';
import type { Sessions } from './auth/callers/sessions.ts';
import { type Credentials, createCredentials, isSameAccount } from './auth/credentials/credentials.ts';
import type { TokenStore } from './auth/credentials/store/store.ts';
import {
  createTokenEndpoint,
  type TokenRequestOutcome,
  type TokenTransport,
} from './auth/credentials/token-endpoint.ts';
import type { TokenTransition } from './auth/credentials/token-source.ts';
import type { ClientCas } from './config/cert-subject.ts';
import { isSameSetting } from './config/compare.ts';
import type { GatewayConfig } from './config/gateway-config.ts';
import type { GatewayError } from './errors.ts';
import { createBoundaryRules } from './server/admission.ts';
import { createAuthenticator } from './server/authenticate.ts';
import { createRuleCheck } from './server/authorize.ts';
import { bodyLoggingOf } from './server/body-logging.ts';
import type { ServerRuntime } from './server/context.ts';
import { createOwnHeaders } from './server/headers.ts';
import { redirectBase } from './server/location.ts';
import { createPeerOf } from './server/peer.ts';
import type { ChannelRegister } from './server/websocket/channels.ts';
import type { CallerConnection } from './upstream/call.ts';
import { createReplayBudget } from './upstream/request-body.ts';
import { createUpstream, type PreviousUpstream, type Upstream, type UpstreamDeps } from './upstream/upstream.ts';

/** What outlives a configuration. */
export interface RuntimeDeps extends UpstreamDeps {
  readonly store: TokenStore;
  readonly handles: Handles;
  readonly sessions: Sessions;
  /** What certificates of callers are verified by, where they are asked for. */
  readonly clientCas: ClientCas | null;
  /** The listeners, as a place where clients prove themselves. */
  readonly exposure?: Exposure;
  /** The notification channels that were issued. */
  readonly channels: ChannelRegister;
  readonly onTokenRequest?: (outcome: TokenRequestOutcome) => void;
  readonly onTransition?: (transition: TokenTransition) => void;
  /** Told each token that is obtained, so that logs can mask it wherever it turns up. */
  readonly onSecret?: (value: string, origin: 'received' | 'sent') => void;
  /** The way to the token endpoint of the runtime in use: credentials outlive the one they were made for. */
  readonly transport?: TokenTransport;
}

/** The parts of one configuration at work. */
export interface Runtime extends ServerRuntime {
  readonly credentials: Credentials;
  readonly upstream: Upstream;
  /**
   * After `next` has taken its place: resolves when the calls that still run here have ended and what `next` does not
   * share is closed.
   */
  retire(next: Runtime): Promise<void>;
  /** Ends the waits of all calls that are not on their way to the upstream: they are told `error`. */
  rejectWaits(error: GatewayError): void;
  /** Ends timers and connections; exchanges that still run are cut. */
  close(): Promise<void>;
}

/** Recognises our own requests when they come back; one per process. */
const INSTANCE_ID = randomUUID();

/**
 * Builds the runtime; asks nothing of the network before `credentials.start()`. What `previous` has and this
 * configuration does not change is shared with it: connections, token sources, what is known of limits.
 */
export function createRuntime(config: GatewayConfig, deps: RuntimeDeps, previous?: Runtime): Runtime {
  const { clock, log, random, store, handles, sessions, onTokenRequest, onTransition, onSecret } = deps;
  const upstream = createUpstream(config, deps, previous && withKept(previous, config));
  const transport = deps.transport ?? upstream.transport;
  const credentialsDeps = { config, transport, store, clock, random, log, onTokenRequest, onTransition, onSecret };
  const credentials = createCredentials(credentialsDeps, previous?.credentials);
  const clients = createClients(config.clients, clock, deps.exposure);
  const access = createAccess(config);
  const authenticator = createAuthenticator({
    ...{ clients, handles, sessions },
    isAnonymousServed: config.server.anonymousCredentials !== null,
    unsafeAllowAnonymous: config.server.unsafeAllowAnonymous,
    clientCas: deps.clientCas,
  });
  const placeholder = placeholderCredential(config.general.hosts);
  const facade: Runtime['facade'] = {
    ...{ access, clients, handles, sessions, authenticator, now: clock.now },
    endpoint: createTokenEndpoint({
      transport,
      clock,
      log,
      timeoutMs: config.timeouts.tokenMs,
      onTokenRequest,
      onSecret,
    }),
    credential: (name) => (name === null ? placeholder : credentials.get(name)?.config),
    defaultName: credentials.default()?.config.name ?? null,
  };
  const waits = new Set<CallerConnection>();
  let running = 0;
  let onIdle: (() => void) | null = null;
  return {
    config,
    boundary: createBoundaryRules(config.server),
    authenticator,
    facade,
    credentials,
    upstream,
    channels: deps.channels,
    budget: previous?.budget ?? createReplayBudget(),
    peerOf: createPeerOf(config.server.trustedProxies),
    assertRules: createRuleCheck(config.clients, log),
    choice: { get: credentials.get, access, names: () => config.credentials.map(({ name }) => name) },
    ownHeaders: createOwnHeaders(config.upstreamHeaders),
    redirectBase: redirectBase(config.server.publicUrl),
    instanceId: isChained(config) ? INSTANCE_ID : null,
    bodies: bodyLoggingOf(config.logging),
    clock,
    waits,
    enter() {
      running += 1;
    },
    leave() {
      running -= 1;
      if (running === 0) onIdle?.();
    },
    async retire(next) {
      credentials.close(next.credentials);
      if (running > 0)
        await new Promise<void>((resolve) => {
          onIdle = resolve;
        });
      await credentials.settled();
      await upstream.retire();
    },
    rejectWaits(error) {
      for (const { rejectWait } of [...waits]) rejectWait?.(error);
    },
    async close() {
      credentials.close();
      await upstream.close();
    },
  };
}

/** The way out before, and which credentials go on to draw on the same limits of the platform. */
function withKept({ config, upstream }: Runtime, next: GatewayConfig): PreviousUpstream {
  const before = new Map(config.credentials.map((credential) => [credential.name, credential]));
  const kept = new Set<string>();
  for (const credential of next.credentials) {
    const old = before.get(credential.name);
    if (old !== undefined && isSameAccount(old, credential)) kept.add(credential.name);
  }
  // Sessions that no configured credential stands behind.
  const placeholder = placeholderCredential(next.general.hosts).name;
  if (
    !next.credentials.some(({ name }) => name === placeholder) &&
    isSameSetting(config.general.hosts, next.general.hosts)
  )
    kept.add(placeholder);
  return { config, upstream, isKept: (name) => kept.has(name) };
}

/** Whether calls go to a `[gateway]` host, which may lead back here, and not straight to a region. */
function isChained(config: GatewayConfig): boolean {
  return config.credentials.some(({ hosts }) => hosts.api.origin !== `https://api.${hosts.domain}`);
}
