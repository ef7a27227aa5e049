// Everything that is made from one configuration and replaced with it as a whole: the way out, the credentials, the layers of a call.

import { randomUUID } from 'node:crypto';
import { type Credentials, createCredentials } from './auth/credentials.ts';
import type { TokenStore } from './auth/store/store.ts';
import type { Clock } from './clock.ts';
import type { GatewayConfig } from './config/gateway-config.ts';
import type { ExchangeRecord } from './logging/exchange-record.ts';
import type { Log } from './logging/log.ts';
import { type BoundaryRules, createBoundaryRules } from './server/boundary.ts';
import { chooseCredential } from './server/choose-credential.ts';
import type { Exchange } from './server/exchange.ts';
import { createForward } from './server/forward.ts';
import { createOwnHeaders } from './server/headers.ts';
import { withBreaker } from './upstream/breaker.ts';
import { createDispatcher, type UpstreamDispatcher } from './upstream/dispatcher.ts';
import { createEgress } from './upstream/egress/egress.ts';
import { createReplayBudget } from './upstream/request-body.ts';
import { withRetry } from './upstream/retry.ts';
import { withToken } from './upstream/token-replay.ts';
import { createTokenTransport } from './upstream/token-transport.ts';

/** What outlives a configuration. */
export interface RuntimeDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  /** 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
  readonly log: Log;
  readonly store: TokenStore;
  /** Takes each finished exchange's record. */
  readonly finish: (record: ExchangeRecord) => void;
}

/** The parts of one configuration at work. */
export interface Runtime {
  readonly config: GatewayConfig;
  readonly boundary: BoundaryRules;
  readonly credentials: Credentials;
  readonly dispatcher: UpstreamDispatcher;
  readonly forward: (exchange: Exchange) => Promise<void>;
  /** Ends timers and connections; exchanges that still run are cut. */
  close(): Promise<void>;
}

/** Recognises our own requests when they come back; one per process. */
const INSTANCE_ID = randomUUID();

/** Builds the runtime; asks nothing of the network before `credentials.start()`. */
export function createRuntime(config: GatewayConfig, deps: RuntimeDeps): Runtime {
  const { clock, log, env, random, store } = deps;
  const egress = createEgress({ proxy: config.proxy, tls: config.tls, timeouts: config.timeouts, env, clock, log });
  const dispatcher = createDispatcher({ connect: egress.connect, headersMs: config.timeouts.headersMs, bodyMs: config.timeouts.bodyMs });
  const credentials = createCredentials({ config, transport: createTokenTransport(dispatcher.agent), store, clock, random, log });
  const { anonymousCredentials } = config.server;
  const mayUseAll = anonymousCredentials?.includes('*') ?? false;
  const choice = {
    get: credentials.get,
    defaultName: () => credentials.default()?.config.name ?? null,
    mayUse: (name: string) =>
      mayUseAll || (anonymousCredentials === null ? name === credentials.default()?.config.name : anonymousCredentials.includes(name)),
    names: () => config.credentials.map(({ name }) => name),
  };
  const forward = createForward({
    chooseCredential: (exchange) => chooseCredential(exchange, choice),
    send: withRetry(withToken(withBreaker(dispatcher.send, { clock, random }), clock), {
      clock,
      random,
      settings: config.retry,
      totalWaitMs: config.timeouts.totalWaitMs,
    }),
    ownHeaders: createOwnHeaders(config.upstreamHeaders),
    budget: createReplayBudget(),
    maxBodyBytes: config.server.maxBodyBytes,
    bodyIdleMs: config.timeouts.bodyMs,
    instanceId: isChained(config) ? INSTANCE_ID : null,
    finish: deps.finish,
  });
  return {
    config,
    boundary: createBoundaryRules(config.server),
    credentials,
    dispatcher,
    forward,
    async close() {
      credentials.close();
      egress.close();
      await dispatcher.destroy();
    },
  };
}

/** Whether calls go to a `[gateway]` host, which may lead back here, and not straight to a region. */
function isChained(config: GatewayConfig): boolean {
  return config.credentials.some(({ hosts }) => hosts.api.origin !== `https://api.${hosts.domain}`);
}
