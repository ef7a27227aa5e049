// The innermost `Send`: a gate and a connection pool for each origin, and one attempt over them, with deadlines of our
// own. It retries nothing and obtains no tokens.

import type { Dispatcher } from 'undici';
import { GatewayError } from '../errors.ts';
import type { BreakerDeps, BreakerState } from './breaker.ts';
import type { QueueCapacity, Send, UpstreamRequest } from './call.ts';
import { type ConnectionCounts, ConnectionPool } from './connection-pool.ts';
import { ClientClosedRequest, failureReason, TOKEN_ENDED, toGatewayError, UpstreamError } from './errors.ts';
import { type ConnectionPermit, Gate, type GatesByOrigin } from './gate.ts';
import type { ConnectionsDeps, WarmSettings } from './origin-connections.ts';
import { retryAfterMs } from './platform-error.ts';
import { AttemptHandler, type AttemptLimits } from './response.ts';

/** One origin that calls went to: whether it can be reached, and how many calls are with it, and wait to be. */
export interface OriginState {
  readonly origin: string;
  readonly breaker: BreakerState;
  readonly running: number;
  readonly waiting: number;
}

/** What the dispatcher is made of. Times in ms. */
export interface DispatcherOptions extends BreakerDeps, ConnectionsDeps {
  readonly headersMs: number;
  /** By default no host is kept warm. */
  readonly warm?: WarmSettings;
  /** Told of each request when it begins to be written, each further attempt included. */
  readonly onSent?: AttemptLimits['onSent'];
  /** How many calls may be under way to one origin; as many again where their callers hold them up. */
  readonly connections: number;
  /** Whose calls count as well, and where those of this one are added. */
  readonly gates?: GatesByOrigin;
  /** Bounds how many calls wait beyond that. */
  readonly capacity: QueueCapacity;
}

/**
 * The gates and connection pools of one way out. Connects to nothing before the first call. `close` waits for running
 * exchanges, `destroy` ends them.
 */
export class UpstreamDispatcher {
  /**
   * For requests of the gateway's own (token endpoint): dialled alike, undici's plain interface. They wait behind no call,
   * as the gates do not count them: the calls may be waiting for them.
   */
  readonly agent: Dispatcher;
  readonly #options: DispatcherOptions;
  readonly #limits: AttemptLimits;
  /** Unlimited: the gates let no more calls through than there may be. */
  readonly #pool: ConnectionPool;
  readonly #gates = new Map<string, Gate>();

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { headersMs, bodyMs: stalledReaderMs, onSent } = options;
    this.#limits = { headersMs, stalledReaderMs, onSent, now: options.clock.now };
    this.#pool = new ConnectionPool({
      ...options,
      warm: options.warm ?? { keepWarmMs: 0, hosts: null },
      // While a host cannot be reached, its calls find out when it can.
      mayDial: (origin) => (this.#gates.get(origin)?.breaker.state ?? 'closed') === 'closed',
    });
    this.agent = this.#pool;
  }

  /** One attempt, once there is a connection for it; bound, to be handed around. */
  readonly send: Send = async (request) => {
    const { record, connection } = request;
    if (connection.disconnected) throw new ClientClosedRequest();
    const trace = record.trace?.attempt() ?? null;
    let permit: ConnectionPermit;
    try {
      permit =
        this.#gateOf(request.base.origin).tryAcquire(record.client ?? '', request.limitKey) ??
        (await this.#waitForPermit(request));
    } catch (error) {
      trace?.ended(failureReason(error as GatewayError));
      throw error;
    }
    if (trace !== null) {
      trace.permitted();
      trace.name(request.headers);
    }
    const startedAt = performance.now();
    const attempt = new AttemptHandler(request.base.origin, this.#limits, request, permit, trace);
    // Not a closure made here: one that captures an async function's variables keeps every exchange alive until a full
    // collection.
    connection.onDisconnect = attempt.abandon;
    record.attempts += 1;
    try {
      this.#pool.dispatch(dispatchOptions(request), attempt);
      const response = await attempt.head;
      if (trace !== null) trace.retryAfterMs = retryAfterMs(response, this.#options.clock) ?? null;
      return response;
    } catch (error) {
      throw asUpstreamError(error, request.base.origin, attempt);
    } finally {
      const now = performance.now();
      record.upstreamMs += now - startedAt;
      record.answerMs = attempt.wasSent ? now - attempt.writtenAt : 0;
    }
  };

  /** Connections that are open, over all origins. */
  connections(): ConnectionCounts {
    return this.#pool.counts;
  }

  /** Keeps hosts warm by other settings from now on, and those that `previous` kept, whose place it takes. */
  keepWarm(warm: WarmSettings, previous?: UpstreamDispatcher): void {
    this.#pool.keepWarm(warm, previous === undefined ? undefined : previous.#pool);
  }

  /** Each origin that calls went to, as it is now. */
  origins(): OriginState[] {
    return Array.from(this.#gates, ([origin, { breaker, running, waiting }]) => {
      return { origin, breaker: breaker.state, running, waiting };
    });
  }

  /** Calls under way, and calls that wait for a connection. */
  occupancy(): { readonly running: number; readonly waiting: number } {
    let running = 0;
    let waiting = 0;
    for (const gate of this.#gates.values()) {
      running += gate.running;
      waiting += gate.waiting;
    }
    return { running, waiting };
  }

  /** How many calls wait, by `UpstreamRequest.limitKey`. */
  waiting(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const gate of this.#gates.values()) gate.countWaiting(counts);
    return counts;
  }

  async close(): Promise<void> {
    await this.#pool.close();
    for (const gate of this.#gates.values()) gate.close();
  }

  async destroy(): Promise<void> {
    for (const gate of this.#gates.values())
      gate.rejectAll(() => new GatewayError('gateway.draining', 'the gateway is shutting down: try again'));
    await this.#pool.destroy();
  }

  async #waitForPermit(request: UpstreamRequest): Promise<ConnectionPermit> {
    const { connection, token } = request;
    const permit = await this.#gateOf(request.base.origin).acquire(request);
    const isTokenEnded = token !== undefined && this.#options.clock.now() >= token.expiresAt;
    if (!connection.disconnected && !isTokenEnded) return permit;
    permit.release();
    throw connection.disconnected ? new ClientClosedRequest() : TOKEN_ENDED;
  }

  #gateOf(origin: string): Gate {
    let gate = this.#gates.get(origin);
    if (gate === undefined) {
      gate = new Gate(origin, this.#options);
      this.#gates.set(origin, gate);
    }
    return gate;
  }
}

function dispatchOptions(request: UpstreamRequest): Dispatcher.DispatchOptions {
  const { base } = request;
  return {
    origin: base.origin,
    path: base.pathPrefix + request.target,
    method: request.method as Dispatcher.HttpMethod,
    headers: request.headers,
    // What may be sent twice may go by a connection that the other side is about to end.
    idempotent: request.mayRepeat === true,
    body: request.body.attempt() as NonNullable<Dispatcher.DispatchOptions['body']> | null,
  };
}

function asUpstreamError(error: unknown, origin: string, { wasSent, isStale }: AttemptHandler): UpstreamError {
  if (error instanceof UpstreamError) return error;
  const { code, message, statusCode, retryAfterMs, cause: original } = toGatewayError(error, origin);
  const cause = original as Error | undefined;
  return new UpstreamError(code, message, { statusCode, retryAfterMs, cause, wasSent, isStale });
}
