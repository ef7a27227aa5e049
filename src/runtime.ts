// Everything that is made from one configuration and replaced with it as a whole: the way out, the credentials, the layers of a call.

import { randomUUID } from 'node:crypto';
import { createAccess } from './auth/clients/access.ts';
import { createClients } from './auth/clients/clients.ts';
import { type Credentials, createCredentials } from './auth/credentials.ts';
import type { Handles } from './auth/handles/handles.ts';
import { sessionCredential } from './auth/sessions/session-config.ts';
import type { Sessions } from './auth/sessions/sessions.ts';
import type { TokenStore } from './auth/store/store.ts';
import { createTokenEndpoint, type TokenRequestOutcome } from './auth/token-endpoint.ts';
import type { GatewayConfig } from './config/gateway-config.ts';
import type { ExchangeRecord } from './logging/exchange-record.ts';
import { createOutbound, type Outbound, type OutboundDeps } from './outbound.ts';
import { bodyLoggingOf } from './server/body-logging.ts';
import { type BoundaryRules, createBoundaryRules } from './server/boundary.ts';
import { chooseCredential } from './server/choose-credential.ts';
import type { Exchange } from './server/exchange.ts';
import type { FacadeOptions } from './server/facade.ts';
import { createForward } from './server/forward.ts';
import { createOwnHeaders } from './server/headers.ts';
import { createIdentity, type Identity } from './server/identify.ts';
import { createRuleCheck } from './server/identify-rules.ts';
import { createReplayBudget } from './upstream/request-body.ts';

/** What outlives a configuration. */
export interface RuntimeDeps extends OutboundDeps {
  readonly store: TokenStore;
  readonly handles: Handles;
  readonly sessions: Sessions;
  /** Takes each finished exchange's record. */
  readonly finish: (record: ExchangeRecord) => void;
  readonly onTokenRequest?: (outcome: TokenRequestOutcome) => void;
  /** Told each token that is obtained, so that logs can mask it wherever it turns up. */
  readonly onSecret?: (value: string) => void;
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
  /** Ends timers and connections; exchanges that still run are cut. */
  close(): Promise<void>;
}

/** Recognises our own requests when they come back; one per process. */
const INSTANCE_ID = randomUUID();

/** Builds the runtime; asks nothing of the network before `credentials.start()`. */
export function createRuntime(config: GatewayConfig, deps: RuntimeDeps): Runtime {
  const { clock, log, random, store, handles, sessions, onTokenRequest, onSecret } = deps;
  const outbound = createOutbound(config, deps);
  const { transport } = outbound;
  const credentials = createCredentials({ config, transport, store, clock, random, log, onTokenRequest, onSecret });
  const clients = createClients(config.clients, clock);
  const access = createAccess(config);
  const identity = createIdentity({
    ...{ clients, handles, sessions },
    isAnonymousServed: config.server.anonymousCredentials !== null,
    hasClientCa: config.server.tls?.clientCaFile != null,
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
  const forward = createForward({
    chooseCredential(exchange) {
      assertRules(exchange);
      return chooseCredential(exchange, choice);
    },
    send: outbound.send,
    ownHeaders: createOwnHeaders(config.upstreamHeaders),
    budget: createReplayBudget(),
    maxBodyBytes: config.server.maxBodyBytes,
    bodyIdleMs: config.timeouts.bodyMs,
    instanceId: isChained(config) ? INSTANCE_ID : null,
    bodies: bodyLoggingOf(config.logging),
    finish: deps.finish,
  });
  return {
    config,
    boundary: createBoundaryRules(config.server),
    identity,
    facade,
    credentials,
    outbound,
    forward,
    async close() {
      credentials.close();
      await outbound.close();
    },
  };
}

/** Whether calls go to a `[gateway]` host, which may lead back here, and not straight to a region. */
function isChained(config: GatewayConfig): boolean {
  return config.credentials.some(({ hosts }) => hosts.api.origin !== `https://api.${hosts.domain}`);
}
