// The way to Genesys Cloud that one configuration describes: the layers of a call on one page, retry → rate limit →
// token → dispatch, over connections that a reload which does not change how we dial keeps open.

import type { Dispatcher } from 'undici';
import type { TokenTransport } from '../auth/credentials/token-endpoint.ts';
import type { Clock } from '../clock.ts';
import { isSameSetting } from '../config/compare.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import { createRouteTemplates } from '../logging/metrics/route-template.ts';
import type { Send, WaitingRoom } from './call.ts';
import { createDispatcher, type UpstreamDispatcher } from './dispatcher.ts';
import { Egress } from './egress/egress.ts';
import { toGatewayError } from './errors.ts';
import type { GatesByOrigin } from './gate.ts';
import { createRateLimits, type RateLimits } from './rate-limit/rate-limit.ts';
import { withRetry } from './retry.ts';
import { withToken } from './token.ts';

/** What an outbound is made with. */
export type OutboundDeps = ConnectionsDeps;

/** The way out of the configuration before. `isKept` tells of which credentials the limits go on to count. */
export interface PreviousOutbound {
  readonly config: GatewayConfig;
  readonly outbound: Upstream;
  readonly isKept: (credential: string) => boolean;
}

/** One way out, shared by calls, token requests and sockets. */
export interface Upstream {
  readonly egress: Egress;
  readonly dispatcher: UpstreamDispatcher;
  readonly transport: TokenTransport;
  /** All layers: retry, pace, token and replay, dispatch. */
  readonly send: Send;
  /** What the platform's limits are doing, for status and metrics. */
  readonly limits: RateLimits['states'];
  /** For the next configuration's way out. */
  readonly parts: { readonly line: SharedConnections; readonly pacing: RateLimits };
  /**
   * Resolves when what still runs has ended and its connections are closed, save those that a later configuration
   * shares.
   */
  retire(): Promise<void>;
  /** Ends connections; exchanges that still run are cut. */
  close(): Promise<void>;
}

/** Endpoint limits are told apart by route; beyond so many routes they share one. */
const LIMITED_ROUTES = 2_000;

/** Opens nothing before the first call. Shares the connections of `previous` where both dial alike. */
export function createUpstream(config: GatewayConfig, deps: OutboundDeps, previous?: PreviousOutbound): Upstream {
  const { clock, random, log } = deps;
  const templates = createRouteTemplates({ maxTemplates: LIMITED_ROUTES });
  const { rateLimit: settings, retry, clients } = config;
  const routeOf = (method: string, target: string) => `${method} ${templates.of(target)}`;
  const kept = previous && { limits: previous.outbound.parts.pacing.limits, isKept: previous.isKept };
  const pacing = createRateLimits({ clock, random, log, settings, retry, clients, routeOf }, kept);
  const isShared = previous !== undefined && dialAlike(previous.config, config);
  const line = isShared
    ? previous.outbound.parts.line.retain()
    : createConnections(config, deps, pacing.limits.room, previous?.outbound.parts.line.gates);
  const { egress, dispatcher } = line;
  const once = withToken(line.send, { clock, routeOf: templates.of });
  const send = withRetry(pacing.wrap(once), {
    clock,
    random,
    settings: config.retry,
    totalWaitMs: config.timeouts.totalWaitMs,
  });
  return {
    ...{ egress, dispatcher, send },
    transport: createTokenTransport(dispatcher.agent),
    limits: pacing.states,
    parts: { line, pacing },
    retire: line.release,
    close: line.destroy,
  };
}

function dialAlike(a: GatewayConfig, b: GatewayConfig): boolean {
  const { connectMs, headersMs, bodyMs } = a.timeouts;
  const isInTime =
    connectMs === b.timeouts.connectMs && headersMs === b.timeouts.headersMs && bodyMs === b.timeouts.bodyMs;
  const areAsMany = a.rateLimit.connections === b.rateLimit.connections;
  return isInTime && areAsMany && isSameSetting(a.proxy, b.proxy) && isSameSetting(a.tls, b.tls);
}

/** A line in use. Whoever makes or shares it lets go of it once. */
export interface SharedConnections {
  readonly egress: Egress;
  readonly dispatcher: UpstreamDispatcher;
  /** Its gates, and those of earlier lines. */
  readonly gates: GatesByOrigin;
  /** One attempt, once there is a connection for it; shed while its origin cannot be reached. */
  readonly send: Send;
  /** One more user. */
  retain(): SharedConnections;
  /** One user less; the last one's resolves when what still runs has ended and the connections are closed. */
  release(): Promise<void>;
  /** Closes it at once, whoever uses it. */
  destroy(): Promise<void>;
}

/** The settings that a line is made of. */
export type LineSettings = Pick<GatewayConfig, 'proxy' | 'tls' | 'timeouts' | 'rateLimit'>;

/** What a line is made with. `random` is 0 (inclusive) to 1 (exclusive). */
export interface ConnectionsDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * Opens nothing before the first call. Calls that find no connection free wait in `room`; those at `gates` have some of
 * them.
 */
export function createConnections(
  { proxy, tls, timeouts, rateLimit }: LineSettings,
  { env, clock, random, log }: ConnectionsDeps,
  room: WaitingRoom,
  gates: GatesByOrigin = new Map(),
): SharedConnections {
  const egress = new Egress({ proxy, tls, timeouts, env, clock, log });
  const dispatcher = createDispatcher({
    ...{
      connect: egress.connect,
      headersMs: timeouts.headersMs,
      bodyMs: timeouts.bodyMs,
      connections: rateLimit.connections,
      gates,
      room,
      clock,
      random,
    },
    onChange: (origin, state) =>
      (state === 'open' ? log.warn : log.info).call(log, { origin, state }, 'upstream reachability'),
  });
  let users = 1;
  const line: SharedConnections = {
    egress,
    dispatcher,
    gates,
    send: dispatcher.send,
    retain() {
      users += 1;
      return line;
    },
    async release() {
      users -= 1;
      if (users > 0) return;
      await dispatcher.close();
      egress.close();
    },
    async destroy() {
      egress.close();
      await dispatcher.destroy();
    },
  };
  return line;
}

/**
 * Makes the transport. It rejects with a GatewayError of the upstream or proxy group, and reads no more than it was
 * told to.
 */
export function createTokenTransport(agent: Dispatcher): TokenTransport {
  return async ({ url, headers, body, timeoutMs, maxBodyBytes }) => {
    const { origin, pathname, search } = new URL(url);
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const answer = await agent.request({
        origin,
        path: pathname + search,
        method: 'POST',
        headers: [...headers],
        body,
        signal,
      });
      const received: Record<string, string | undefined> = {};
      for (const [name, value] of Object.entries(answer.headers))
        received[name] = Array.isArray(value) ? value.join(', ') : value;
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        // Leaving the loop destroys the body, and the connection with it.
        if (size > maxBodyBytes)
          throw new GatewayError('gateway.upstream.invalid', `the answer is larger than ${maxBodyBytes} bytes`);
        chunks.push(chunk);
      }
      return { statusCode: answer.statusCode, headers: received, body: Buffer.concat(chunks) };
    } catch (error) {
      if (signal.aborted)
        throw new GatewayError('gateway.upstream.timeout', `${origin} did not answer within ${timeoutMs / 1000} s`);
      throw toGatewayError(error, origin);
    }
  };
}
