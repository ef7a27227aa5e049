// The innermost `Send`: connection pools and one attempt over them, with deadlines of our own. It retries nothing and knows no tokens.

import { Agent, type buildConnector, type Dispatcher } from 'undici';
import type { GatewayError } from '../errors.ts';
import type { Send, UpstreamRequest } from './call.ts';
import { AttemptHandler, CALLER_LEFT } from './response.ts';
import { toGatewayError } from './upstream-errors.ts';

/** What the dispatcher is made of. Times in ms. */
export interface DispatcherOptions {
  /** Opens every connection: TLS, corporate proxy, dial deadline (egress). */
  readonly connect: buildConnector.connector;
  readonly headersMs: number;
  readonly bodyMs: number;
  /** The wall clock by which tokens end, epoch ms. */
  readonly now: () => number;
  /** Open connections per origin for calls whose request is whole; calls that still upload, and those beside stalled readers, have others. */
  readonly connections?: number;
}

/** Owns the connection pools. `close` waits for running exchanges, `destroy` ends them. */
export interface UpstreamDispatcher {
  readonly send: Send;
  /** For calls of the gateway's own (token endpoint): dialled alike, undici's plain interface. */
  readonly agent: Dispatcher;
  /** Connections open at the moment, over all origins. */
  connectionCount(): number;
  /** The same, told apart: carrying a call, and kept for the next. */
  connections(): { readonly active: number; readonly idle: number };
  close(): Promise<void>;
  destroy(): Promise<void>;
}

/** Makes the pools; connects to nothing yet. Throws nothing. */
export function createDispatcher(options: DispatcherOptions): UpstreamDispatcher {
  const createAgent = (connections: number | null) =>
    new Agent({
      connect: options.connect,
      connections,
      // HTTP/2 is off on purpose: one bad header would end every exchange that shares the connection.
      allowH2: false,
      pipelining: 1,
      // The head's deadline is ours (response.ts): undici's does not run while a call waits for a connection.
      headersTimeout: 0,
      bodyTimeout: options.bodyMs,
      maxHeaderSize: 64 * 1024,
    });
  const connections = options.connections ?? 64;
  const whole = createAgent(connections);
  // Slow uploads must not take the connections of everybody else, nor of each other: each has a connection of its own, as its caller has.
  // Token requests wait behind no call: the calls may be waiting for them.
  const apart = createAgent(null);
  const limits = { headersMs: options.headersMs, stalledReaderMs: options.bodyMs, now: options.now, stalled: { count: 0 } };
  // Nor must readers that stall: where they hold half of the connections, calls go on beside them.
  const mostStalled = connections / 2;

  const send: Send = async (request) => {
    const { record, caller } = request;
    if (caller.left) throw CALLER_LEFT;
    const startedAt = performance.now();
    const attempt = new AttemptHandler(request.base.origin, limits, request);
    // Not a closure made here: one that captures an async function's variables keeps every exchange alive until a full collection.
    caller.onLeave = attempt.abandon;
    record.attempts += 1;
    try {
      (request.body.isStreaming || limits.stalled.count >= mostStalled ? apart : whole).dispatch(dispatchOptions(request), attempt);
      return await attempt.head;
    } catch (error) {
      throw markAttempt(toGatewayError(error, request.base.origin), attempt);
    } finally {
      record.upstreamMs += performance.now() - startedAt;
    }
  };

  return {
    send,
    agent: apart,
    connectionCount: () =>
      [whole, apart].flatMap((agent) => Object.values(agent.stats)).reduce((sum, stats) => sum + (stats.connected ? Number(stats.connected) : 0), 0),
    connections() {
      let active = 0;
      let idle = 0;
      for (const agent of [whole, apart]) {
        for (const stats of Object.values(agent.stats) as { connected?: unknown; free?: number; running?: number }[]) {
          const connected = Number(stats.connected ?? 0);
          const free = stats.free ?? Math.max(0, connected - (stats.running ?? 0));
          active += connected - free;
          idle += free;
        }
      }
      return { active, idle };
    },
    close: async () => void (await Promise.all([whole.close(), apart.close()])),
    destroy: async () => void (await Promise.all([whole.destroy(), apart.destroy()])),
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

/** Failures of attempts of which no octet was written: these may be tried again whatever the method. */
const unsent = new WeakSet<Error>();

/** Among these, failures of the connection itself: not of a deadline, nor of a caller that left while it waited for one. */
const dialFailures = new WeakSet<Error>();

function markAttempt(error: GatewayError, attempt: AttemptHandler): GatewayError {
  if (!attempt.wasSent) unsent.add(error);
  if (attempt.failedToConnect) dialFailures.add(error);
  return error;
}

/** Whether a failed attempt certainly never reached the upstream. */
export function wasNeverSent(error: Error): boolean {
  return unsent.has(error);
}

/** Whether an attempt failed because no connection to the upstream (or to the corporate proxy) could be opened. */
export function isConnectFailure(error: Error): boolean {
  return dialFailures.has(error);
}

/** Whether the exchange ended because its caller left: nobody is there to be answered. */
export function isCallerGone(error: unknown): boolean {
  return error === CALLER_LEFT;
}
