// One exchange as the server sees it: the two messages, the connection, where the request leads, who is served, and the record. Made at accept,
// ended once.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Caller } from '../auth/callers/caller.ts';
import { createExchangeRecord, type ExchangeRecord } from '../logging/exchange-record.ts';
import type { CallerPresence } from '../upstream/call.ts';
import type { Route } from './request-target.ts';

/** What a listener serves. The data listener may serve all three. */
export interface ListenerRole {
  readonly data: boolean;
  readonly admin: boolean;
  readonly health: boolean;
  /** Whether nobody but users of this machine can reach it, judged by the address that it is bound to. Known once it is open, false before. */
  readonly isLocal: boolean;
}

/** An exchange of which nothing has been read yet. */
export interface OpenedExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly record: ExchangeRecord;
  readonly caller: CallerPresence & { left: boolean };
  readonly role: ListenerRole;
  /** Null until the request target is understood. */
  route: Route | null;
}

/** An exchange in progress. */
export interface Exchange extends OpenedExchange {
  readonly route: Route;
  /** Who makes the call. */
  readonly identity: Caller;
}

/** Opens an exchange and its record, with an id of its own: a caller's X-Gateway-Request-Id is not believed. */
export function openExchange(request: IncomingMessage, response: ServerResponse, role: ListenerRole): OpenedExchange {
  const record = createExchangeRecord();
  record.requestId = randomUUID();
  record.method = request.method ?? '';
  record.target = request.url ?? '';
  record.requestHeaders = request.rawHeaders;
  const caller: OpenedExchange['caller'] = { left: false, onLeave: null };
  enterConnection({
    request,
    response,
    onOver() {
      if (response.writableFinished || caller.left) return;
      caller.left = true;
      record.aborted = true;
      caller.onLeave?.();
    },
  });
  return { request, response, record, caller, role, route: null };
}

/** The property under which a request carries its exchange. A WeakMap would say the same and cost the garbage collector dearly. */
const EXCHANGE = Symbol('exchange');

type AcceptedRequest = IncomingMessage & { [EXCHANGE]?: Exchange };

/** Ties an exchange to its request while the framework routes it. */
export function bindExchange(exchange: Exchange): void {
  (exchange.request as AcceptedRequest)[EXCHANGE] = exchange;
}

/** The exchange of a routed request. Every request that reaches the framework has one. */
export function exchangeOf(request: IncomingMessage): Exchange {
  const exchange = (request as AcceptedRequest)[EXCHANGE];
  if (!exchange) throw new Error('a request reached the router without being accepted');
  return exchange;
}

/** An exchange as its connection sees it. */
export interface OpenExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Called when the exchange is over, whole or not, or given up; may be called twice. */
  onOver(): void;
}

interface Connection {
  readonly open: Set<OpenExchange>;
  isBroken: boolean;
  /** A request on it was refused for its framing. */
  isRefused: boolean;
  onIdle: (() => void) | null;
}

/** Whether every exchange on a connection is over. */
export function isQuiet(socket: Duplex): boolean {
  const { open, isBroken } = connectionOf(socket);
  return open.size === 0 && !isBroken;
}

/** Whether a request on this connection was refused in a way that leaves nothing behind it to be looked at: whatever was read ahead is ignored. */
export function wasRefused(socket: Duplex): boolean {
  return (socket as CallerSocket)[CONNECTION]?.isRefused === true;
}

/** Notes such a refusal. */
export function noteRefused(socket: Duplex): void {
  connectionOf(socket).isRefused = true;
}

/** Event of a request whose body cannot be read on. Who listens has written an answer of ours already, and ends it now. */
export const BROKEN = Symbol('broken');

/** The property under which a socket carries its connection. */
const CONNECTION = Symbol('connection');

type CallerSocket = Duplex & { [CONNECTION]?: Connection };

function connectionOf(socket: CallerSocket): Connection {
  const known = socket[CONNECTION];
  if (known) return known;
  const connection: Connection = { open: new Set(), isBroken: false, isRefused: false, onIdle: null };
  socket[CONNECTION] = connection;
  socket.once('close', () => {
    // Node's own listeners come first: they close the response whose turn it was.
    process.nextTick(() => {
      for (const { response } of [...connection.open]) response.emit('close');
    });
  });
  return connection;
}

/** Notes an exchange on its connection until it is over. */
export function enterConnection(exchange: OpenExchange): void {
  const connection = connectionOf(exchange.request.socket);
  connection.open.add(exchange);
  exchange.response.once('close', () => {
    connection.open.delete(exchange);
    exchange.onOver();
    if (connection.open.size === 0) connection.onIdle?.();
  });
}

/**
 * Calls `answer` when something can be written on a connection past its exchanges: at once, or after the answers that are owed for earlier
 * requests. A request that broke off in its body is given up for it. Where half an answer of the upstream's stands already, the socket is
 * destroyed instead. Only the first call has an effect: the connection ends with it.
 */
export function answerLast(socket: Duplex, answer: () => void): void {
  const connection = connectionOf(socket);
  if (connection.isBroken) return;
  connection.isBroken = true;
  const open = [...connection.open];
  const last = open.at(-1);
  if (last === undefined) answer();
  else if (last.request.complete) connection.onIdle = answer;
  else if (open.length === 1 && !last.response.headersSent) {
    answer();
    last.onOver();
  } else if (!last.request.emit(BROKEN)) socket.destroy();
}

/** Lets a connection end with the answers that are owed on it: those that have not begun say `Connection: close`. */
export function endAfterAnswers(socket: Duplex): void {
  for (const { response } of (socket as CallerSocket)[CONNECTION]?.open ?? []) if (!response.headersSent) response.shouldKeepAlive = false;
}

/** Version, trace id, parent id, flags; later versions may append more (https://www.w3.org/TR/trace-context/, section 3.2). */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?$/;

/**
 * Notes trace and span id of a request's `traceparent`. Without one, or with one that is not valid, the record gets a span id of its own,
 * made of the request id, and no trace id.
 */
export function noteTraceContext(record: ExchangeRecord, traceparent: string | readonly string[] | undefined): void {
  const found = typeof traceparent === 'string' ? TRACEPARENT.exec(traceparent) : null;
  if (found === null) {
    // The variant bits of a UUID make sure that it is not all zeros.
    record.spanId = record.requestId.slice(19, 23) + record.requestId.slice(24);
    return;
  }
  record.traceId = found[1] as string;
  record.spanId = found[2] as string;
}
