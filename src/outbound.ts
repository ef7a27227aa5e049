// The way to the upstream that one configuration describes: egress, connection pools, and the layers of a call in their order.

import type { TokenTransport } from './auth/token-endpoint.ts';
import type { Clock } from './clock.ts';
import type { GatewayConfig } from './config/gateway-config.ts';
import type { Log } from './logging/log.ts';
import { createRouteTemplates } from './logging/route-template.ts';
import { withBreaker } from './upstream/breaker.ts';
import type { Send } from './upstream/call.ts';
import { createDispatcher, type UpstreamDispatcher } from './upstream/dispatcher.ts';
import { createEgress, type Egress } from './upstream/egress/egress.ts';
import { createPacing, type Pacing } from './upstream/pacing.ts';
import { withRetry } from './upstream/retry.ts';
import { withToken } from './upstream/token-replay.ts';
import { createTokenTransport } from './upstream/token-transport.ts';

/** What an outbound is made with. */
export interface OutboundDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  /** 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
  readonly log: Log;
}

/** One way out, shared by calls, token requests and sockets. */
export interface Outbound {
  readonly egress: Egress;
  readonly dispatcher: UpstreamDispatcher;
  readonly transport: TokenTransport;
  /** All layers: retry, pace, token and replay, shed, dispatch. */
  readonly send: Send;
  /** What the platform's limits are doing, for status and metrics. */
  readonly limits: Pacing['states'];
  /** Ends connections; exchanges that still run are cut. */
  close(): Promise<void>;
}

/** Endpoint limits are told apart by route; beyond so many routes they share one. */
const LIMITED_ROUTES = 2_000;

/** Opens nothing before the first call. */
export function createOutbound(config: GatewayConfig, { env, clock, random, log }: OutboundDeps): Outbound {
  const egress = createEgress({ proxy: config.proxy, tls: config.tls, timeouts: config.timeouts, env, clock, log });
  const dispatcher = createDispatcher({ connect: egress.connect, headersMs: config.timeouts.headersMs, bodyMs: config.timeouts.bodyMs });
  const templates = createRouteTemplates({ maxTemplates: LIMITED_ROUTES });
  const pacing = createPacing({
    ...{ clock, random, log },
    settings: config.rateLimit,
    retry: config.retry,
    clients: config.clients,
    routeOf: (method, target) => `${method} ${templates.of(target)}`,
  });
  const once = withToken(withBreaker(dispatcher.send, { clock, random }), clock);
  const send = withRetry(pacing.wrap(once), { clock, random, settings: config.retry, totalWaitMs: config.timeouts.totalWaitMs });
  return {
    ...{ egress, dispatcher, send },
    transport: createTokenTransport(dispatcher.agent),
    limits: pacing.states,
    async close() {
      egress.close();
      await dispatcher.destroy();
    },
  };
}
