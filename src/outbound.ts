// The way to the upstream that one configuration describes: egress, connection pools, and the layers of a call in their order.

import type { TokenTransport } from './auth/credentials/token-endpoint.ts';
import { isSameSetting } from './config/compare.ts';
import type { GatewayConfig } from './config/gateway-config.ts';
import { createRouteTemplates } from './logging/metrics/route-template.ts';
import type { Send } from './upstream/call.ts';
import type { UpstreamDispatcher } from './upstream/dispatcher.ts';
import type { Egress } from './upstream/egress/egress.ts';
import { createLine, type Line, type LineDeps } from './upstream/line.ts';
import { createPacing, type Pacing } from './upstream/pacing.ts';
import { withRetry } from './upstream/retry.ts';
import { withToken } from './upstream/token-replay.ts';
import { createTokenTransport } from './upstream/token-transport.ts';

/** What an outbound is made with. */
export type OutboundDeps = LineDeps;

/** The way out of the configuration before. `isKept` tells of which credentials the limits go on to count. */
export interface PreviousOutbound {
  readonly config: GatewayConfig;
  readonly outbound: Outbound;
  readonly isKept: (credential: string) => boolean;
}

/** One way out, shared by calls, token requests and sockets. */
export interface Outbound {
  readonly egress: Egress;
  readonly dispatcher: UpstreamDispatcher;
  readonly transport: TokenTransport;
  /** All layers: retry, pace, token and replay, dispatch. */
  readonly send: Send;
  /** What the platform's limits are doing, for status and metrics. */
  readonly limits: Pacing['states'];
  /** For the next configuration's way out. */
  readonly parts: { readonly line: Line; readonly pacing: Pacing };
  /** Resolves when what still runs has ended and its connections are closed, save those that a later configuration shares. */
  retire(): Promise<void>;
  /** Ends connections; exchanges that still run are cut. */
  close(): Promise<void>;
}

/** Endpoint limits are told apart by route; beyond so many routes they share one. */
const LIMITED_ROUTES = 2_000;

/** Opens nothing before the first call. Shares the connections of `previous` where both dial alike. */
export function createOutbound(config: GatewayConfig, deps: OutboundDeps, previous?: PreviousOutbound): Outbound {
  const { clock, random, log } = deps;
  const templates = createRouteTemplates({ maxTemplates: LIMITED_ROUTES });
  const { rateLimit: settings, retry, clients } = config;
  const routeOf = (method: string, target: string) => `${method} ${templates.of(target)}`;
  const kept = previous && { limits: previous.outbound.parts.pacing.limits, isKept: previous.isKept };
  const pacing = createPacing({ clock, random, log, settings, retry, clients, routeOf }, kept);
  const isShared = previous !== undefined && dialAlike(previous.config, config);
  const line = isShared ? previous.outbound.parts.line.share() : createLine(config, deps, pacing.limits.room);
  const { egress, dispatcher } = line;
  const once = withToken(line.send, { clock, routeOf: templates.of });
  const send = withRetry(pacing.wrap(once), { clock, random, settings: config.retry, totalWaitMs: config.timeouts.totalWaitMs });
  return {
    ...{ egress, dispatcher, send },
    transport: createTokenTransport(dispatcher.agent),
    limits: pacing.states,
    parts: { line, pacing },
    retire: line.letGo,
    close: line.cut,
  };
}

function dialAlike(a: GatewayConfig, b: GatewayConfig): boolean {
  const { connectMs, headersMs, bodyMs } = a.timeouts;
  const isInTime = connectMs === b.timeouts.connectMs && headersMs === b.timeouts.headersMs && bodyMs === b.timeouts.bodyMs;
  const areAsMany = a.rateLimit.connections === b.rateLimit.connections;
  return isInTime && areAsMany && isSameSetting(a.proxy, b.proxy) && isSameSetting(a.tls, b.tls);
}
