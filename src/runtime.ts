// Everything that is made from one configuration and replaced with it as a whole: the way out, the credentials, the layers of a call.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { createAccess } from './auth/callers/access.ts';
import { createClients, type ProvingPlace } from './auth/callers/clients.ts';
import type { Handles } from './auth/callers/handles.ts';
import { sessionCredential } from './auth/callers/session.ts';
import type { Sessions } from './auth/callers/sessions.ts';
import { type Credentials, createCredentials, isSameAccount } from './auth/credentials/credentials.ts';
import type { TokenStore } from './auth/credentials/store/store.ts';
import { createTokenEndpoint, type TokenRequestOutcome, type TokenTransport } from './auth/credentials/token-endpoint.ts';
import type { TokenTransition } from './auth/credentials/transition.ts';
import type { ClientCas } from './config/cert-subject.ts';
import { isSameSetting } from './config/compare.ts';
import type { GatewayConfig } from './config/gateway-config.ts';
import { isGatewayError } from './errors.ts';
import type { ExchangeRecord } from './logging/exchange-record.ts';
import { type BoundaryRules, createBoundaryRules } from './server/admission.ts';
import { createIdentity, type Identity } from './server/authenticate.ts';
import { chooseCredential, createRuleCheck, namedCredential } from './server/authorize.ts';
import { bodyLoggingOf } from './server/body-logging.ts';
import type { Exchange } from './server/exchange.ts';
import { createForward } from './server/forward.ts';
import { createOwnHeaders } from './server/headers.ts';
import { redirectBase } from './server/location.ts';
import type { FacadeOptions } from './server/oauth/routes.ts';
import { createPeerOf } from './server/peer.ts';
import { createChannelAnswers } from './server/websocket/channel-responses.ts';
import type { ChannelRegister } from './server/websocket/channels.ts';
import type { SocketRuntime } from './server/websocket/upgrade.ts';
import { createReplayBudget, type ReplayBudget } from './upstream/request-body.ts';
import { createOutbound, type Outbound, type OutboundDeps, type PreviousOutbound } from './upstream/upstream.ts';

/** What outlives a configuration. */
export interface RuntimeDeps extends OutboundDeps {
  readonly store: TokenStore;
  readonly handles: Handles;
  readonly sessions: Sessions;
  /** What certificates of callers are verified by, where they are asked for. */
  readonly clientCas: ClientCas | null;
  /** The listeners, as a place where clients prove themselves. */
  readonly provingPlace?: ProvingPlace;
  /** The notification channels that were issued. */
  readonly channels: ChannelRegister;
  /** Takes each finished exchange's record. */
  readonly finish: (record: ExchangeRecord) => void;
  readonly onTokenRequest?: (outcome: TokenRequestOutcome) => void;
  readonly onTransition?: (transition: TokenTransition) => void;
  /** Told each token that is obtained, so that logs can mask it wherever it turns up. */
  readonly onSecret?: (value: string, origin: 'received' | 'sent') => void;
  /** The way to the token endpoint of the runtime in use: credentials outlive the one they were made for. */
  readonly transport?: TokenTransport;
}

/** The parts of one configuration at work. */
export interface Runtime {
  readonly config: GatewayConfig;
  readonly boundary: BoundaryRules;
  /** Who calls. */
  readonly identity: Identity;
  /** What the login endpoints for SDKs work with; sessions renew themselves by its `endpoint`. */
  readonly facade: ReturnType<FacadeOptions['grants']>;
  readonly credentials: Credentials;
  readonly outbound: Outbound;
  readonly forward: (exchange: Exchange) => Promise<void>;
  /** What all calls together keep for replays, those of earlier configurations included. */
  readonly budget: ReplayBudget;
  /** What notification sockets are opened by. */
  readonly sockets: SocketRuntime;
  /** The address a request comes from, for slowing down guesses. */
  readonly peerOf: (request: IncomingMessage) => string;
  /** After `next` has taken its place: resolves when the calls that still run here have ended and what `next` does not share is closed. */
  retire(next: Runtime): Promise<void>;
  /** Ends timers and connections; exchanges that still run are cut. */
  close(): Promise<void>;
}

/** The call that makes a channel: a channel's events are for who may make channels. */
const MAKE_CHANNEL = { method: 'POST', target: '/api/v2/notifications/channels' } as const;

/** Recognises our own requests when they come back; one per process. */
const INSTANCE_ID = randomUUID();

/**
 * Builds the runtime; asks nothing of the network before `credentials.start()`. What `previous` has and this configuration does not change
 * is shared with it: connections, token sources, what is known of limits.
 */
export function createRuntime(config: GatewayConfig, deps: RuntimeDeps, previous?: Runtime): Runtime {
  const { clock, log, random, store, handles, sessions, onTokenRequest, onTransition, onSecret } = deps;
  const outbound = createOutbound(config, deps, previous && withKept(previous, config));
  const transport = deps.transport ?? outbound.transport;
  const credentialsDeps = { config, transport, store, clock, random, log, onTokenRequest, onTransition, onSecret };
  const credentials = createCredentials(credentialsDeps, previous?.credentials);
  const clients = createClients(config.clients, clock, deps.provingPlace);
  const access = createAccess(config);
  const identity = createIdentity({
    ...{ clients, handles, sessions },
    isAnonymousServed: config.server.anonymousCredentials !== null,
    unsafeAllowAnonymous: config.server.unsafeAllowAnonymous,
    clientCas: deps.clientCas,
  });
  const standIn = sessionCredential(config.general.hosts);
  const facade: Runtime['facade'] = {
    ...{ access, clients, handles, sessions, identity, now: clock.now },
    endpoint: createTokenEndpoint({ transport, clock, log, timeoutMs: config.timeouts.tokenMs, onTokenRequest, onSecret }),
    credential: (name) => (name === null ? standIn : credentials.get(name)?.config),
    defaultName: credentials.default()?.config.name ?? null,
  };
  const assertRules = createRuleCheck(config.clients, log);
  const choice = { get: credentials.get, access, names: () => config.credentials.map(({ name }) => name) };
  const budget = previous?.budget ?? createReplayBudget();
  let running = 0;
  let onIdle: (() => void) | null = null;
  const finish = (record: ExchangeRecord) => {
    running -= 1;
    deps.finish(record);
    if (running === 0) onIdle?.();
  };
  const ownHeaders = createOwnHeaders(config.upstreamHeaders);
  const forward = createForward({
    chooseCredential(exchange) {
      const { identity, route, request, record } = exchange;
      if (route.kind === 'forward') {
        const { method, requestId } = record;
        assertRules(identity.client, { method, target: route.target, headers: request.headers, requestId });
      }
      return chooseCredential(identity, namedCredential(exchange), choice);
    },
    send: outbound.send,
    ownHeaders,
    budget,
    channelAnswers: createChannelAnswers({ register: deps.channels, access, publicUrl: config.server.publicUrl }),
    redirectBase: redirectBase(config.server.publicUrl),
    maxBodyBytes: config.server.maxBodyBytes,
    bodyIdleMs: config.timeouts.bodyMs,
    instanceId: isChained(config) ? INSTANCE_ID : null,
    bodies: bodyLoggingOf(config.logging),
    finish,
  });
  const credentialFor: SocketRuntime['credentialFor'] = (caller, named, headers = {}, requestId = '') => {
    assertRules(caller.client, { ...MAKE_CHANNEL, headers, requestId });
    return chooseCredential(caller, named, choice).config.name;
  };
  return {
    config,
    boundary: createBoundaryRules(config.server),
    identity,
    facade,
    credentials,
    outbound,
    budget,
    peerOf: createPeerOf(config.server.trustedProxies),
    sockets: {
      egress: outbound.egress,
      headersMs: config.timeouts.headersMs,
      stalledMs: config.timeouts.bodyMs,
      ownHeaders,
      credentialFor,
      whyEnded({ caller, arrival, credential }) {
        const gone = identity.whyEnded(caller, arrival);
        if (gone !== null) return gone;
        const present = { ...caller, client: caller.client && (clients.get(caller.client.name)?.client ?? null) };
        try {
          // What a session is for is in its terms.
          credentialFor(present, caller.session === null ? credential : null);
          return null;
        } catch (error) {
          if (isGatewayError(error)) return error;
          throw error;
        }
      },
    },
    forward(exchange) {
      running += 1;
      return forward(exchange);
    },
    async retire(next) {
      credentials.close(next.credentials);
      if (running > 0)
        await new Promise<void>((resolve) => {
          onIdle = resolve;
        });
      await credentials.settled();
      await outbound.retire();
    },
    async close() {
      credentials.close();
      await outbound.close();
    },
  };
}

/** The way out before, and which credentials go on to draw on the same limits of the platform. */
function withKept({ config, outbound }: Runtime, next: GatewayConfig): PreviousOutbound {
  const before = new Map(config.credentials.map((credential) => [credential.name, credential]));
  const kept = new Set<string>();
  for (const credential of next.credentials) {
    const old = before.get(credential.name);
    if (old !== undefined && isSameAccount(old, credential)) kept.add(credential.name);
  }
  // Sessions that no configured credential stands behind.
  const standIn = sessionCredential(next.general.hosts).name;
  if (!next.credentials.some(({ name }) => name === standIn) && isSameSetting(config.general.hosts, next.general.hosts)) kept.add(standIn);
  return { config, outbound, isKept: (name) => kept.has(name) };
}

/** Whether calls go to a `[gateway]` host, which may lead back here, and not straight to a region. */
function isChained(config: GatewayConfig): boolean {
  return config.credentials.some(({ hosts }) => hosts.api.origin !== `https://api.${hosts.domain}`);
}
