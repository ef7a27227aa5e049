// The innermost `Send`: a gate and a connection pool for each origin, and one attempt over them, with deadlines of our
// own. It retries nothing and obtains no tokens.

import { Agent, type buildConnector, type Dispatcher } from 'undici';
import { GatewayError } from '../errors.ts';
import type { BreakerDeps } from './breaker.ts';
import type { Send, UpstreamRequest, WaitingRoom } from './call.ts';
import { ClientClosedRequest, TOKEN_ENDED, toGatewayError, UpstreamError } from './errors.ts';
import { Gate, type GatesByOrigin } from './gate.ts';
import { AttemptHandler } from './response.ts';

/** What the dispatcher is made of. Times in ms. */
export interface DispatcherOptions extends BreakerDeps {
  /** Opens every connection: TLS, corporate proxy, dial deadline (egress). */
  readonly connect: buildConnector.connector;
  readonly headersMs: number;
  readonly bodyMs: number;
  /** How many calls may be under way to one origin; as many again where their callers hold them up. */
  readonly connections: number;
  /** Whose calls count as well, and where those of this one are added. */
  readonly gates?: GatesByOrigin;
  /** Where calls wait beyond that. */
  readonly room: WaitingRoom;
}

/** Owns the gates and the connection pools. `close` waits for running exchanges, `destroy` ends them. */
export interface UpstreamDispatcher {
  readonly send: Send;
  /** For calls of the gateway's own (token endpoint): dialled alike, undici's plain interface. */
  readonly agent: Dispatcher;
  /** Connections open at the moment, over all origins. */
  connectionCount(): number;
  /** The same, told apart: carrying a call, and kept for the next. */
  connections(): { readonly active: number; readonly idle: number };
  /** Calls under way, and calls that wait for a connection. */
  occupancy(): { readonly running: number; readonly waiting: number };
  /** The latter by what their limits are counted by (`UpstreamRequest.credential`). */
  waiting(): ReadonlyMap<string, number>;
  close(): Promise<void>;
  destroy(): Promise<void>;
}

/** Makes the pools; connects to nothing yet. Throws nothing. */
export function createDispatcher(options: DispatcherOptions): UpstreamDispatcher {
  const createAgent = () =>
    new Agent({
      connect: options.connect,
      // The gates let no more calls through than there may be. A bound of the pool's own would let them wait in its
      // queue, and for ever: for each request that undici refuses to write, a pool of 7.30 takes one of its clients for
      // busy and never for free again.
      connections: null,
      // HTTP/2 is off on purpose: one bad header would end every exchange that shares the connection.
      allowH2: false,
      pipelining: 1,
      // The head's deadline is ours: undici's is restarted by informational answers.
      headersTimeout: 0,
      bodyTimeout: options.bodyMs,
      maxHeaderSize: 64 * 1024,
    });
  const calls = createAgent();
  // Token requests wait behind no call: the calls may be waiting for them.
  const apart = createAgent();
  const limits = { headersMs: options.headersMs, stalledReaderMs: options.bodyMs, now: options.clock.now };
  const gates = new Map<string, Gate>();

  const gateOf = (origin: string): Gate => {
    let gate = gates.get(origin);
    if (gate === undefined) {
      gate = new Gate(origin, options);
      gates.set(origin, gate);
    }
    return gate;
  };

  const send: Send = async (request) => {
    const { record, connection, token } = request;
    if (connection.disconnected) throw new ClientClosedRequest();
    const gate = gateOf(request.base.origin);
    let place = gate.tryEnter(record.client ?? '', request.credential);
    if (place === null) {
      place = await gate.enter(request);
      const isTokenEnded = token !== undefined && options.clock.now() >= token.expiresAt;
      if (connection.disconnected || isTokenEnded) {
        place.leave();
        throw connection.disconnected ? new ClientClosedRequest() : TOKEN_ENDED;
      }
    }
    const startedAt = performance.now();
    const attempt = new AttemptHandler(request.base.origin, limits, request, place);
    // Not a closure made here: one that captures an async function's variables keeps every exchange alive until a full
    // collection.
    connection.onDisconnect = attempt.abandon;
    record.attempts += 1;
    try {
      calls.dispatch(dispatchOptions(request), attempt);
      return await attempt.head;
    } catch (error) {
      throw asUpstreamError(error, request.base.origin, attempt.wasSent);
    } finally {
      record.upstreamMs += performance.now() - startedAt;
    }
  };

  return {
    send,
    agent: apart,
    connectionCount: () =>
      [calls, apart]
        .flatMap((agent) => Object.values(agent.stats))
        .reduce((sum, stats) => sum + (stats.connected ? Number(stats.connected) : 0), 0),
    connections() {
      let active = 0;
      let idle = 0;
      for (const agent of [calls, apart]) {
        for (const stats of Object.values(agent.stats) as { connected?: unknown; free?: number; running?: number }[]) {
          const connected = Number(stats.connected ?? 0);
          const free = stats.free ?? Math.max(0, connected - (stats.running ?? 0));
          active += connected - free;
          idle += free;
        }
      }
      return { active, idle };
    },
    occupancy() {
      let running = 0;
      let waiting = 0;
      for (const gate of gates.values()) {
        running += gate.running;
        waiting += gate.waiting;
      }
      return { running, waiting };
    },
    waiting() {
      const counts = new Map<string, number>();
      for (const gate of gates.values()) gate.countWaiting(counts);
      return counts;
    },
    async close() {
      await Promise.all([calls.close(), apart.close()]);
      for (const gate of gates.values()) gate.close();
    },
    async destroy() {
      for (const gate of gates.values())
        gate.turnAllAway(() => new GatewayError('gateway.draining', 'the gateway is shutting down: try again'));
      await Promise.all([calls.destroy(), apart.destroy()]);
    },
  };
}

function dispatchOptions(request: UpstreamRequest): Dispatcher.DispatchOptions {
  const { base } = request;
  return {
    origin: base.origin,
    path: base.pathPrefix + request.target,
    method: request.method as Dispatcher.HttpMethod,
    headers: request.headers,
    body: request.body.attempt() as NonNullable<Dispatcher.DispatchOptions['body']> | null,
  };
}

function asUpstreamError(error: unknown, origin: string, wasSent: boolean): UpstreamError {
  if (error instanceof UpstreamError) return error;
  const { code, message, statusCode, retryAfterMs, cause } = toGatewayError(error, origin);
  return new UpstreamError(code, message, { statusCode, retryAfterMs, cause: cause as Error | undefined, wasSent });
}
