// One exchange as the server sees it: the two messages, where the request leads, who makes it, the record, and the
// runtime it was accepted under. Opened at accept, ended once.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Caller } from '../auth/callers/caller.ts';
import { secretFingerprint } from '../auth/callers/clients.ts';
import { GatewayError } from '../errors.ts';
import { createExchangeRecord, type ExchangeRecord, noteError } from '../logging/exchange-record.ts';
import { parseTraceparent } from '../tracing/trace-context.ts';
import type { WaitingCall } from '../upstream/waiting-calls.ts';
import { enterConnection, isForwarded } from './connection.ts';
import type { ServerContext, ServerRuntime } from './context.ts';
import type { ListenerRole } from './listener-plan.ts';
import type { Route } from './request-target.ts';

/** An exchange of which nothing has been read yet. */
export interface OpenedExchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly record: ExchangeRecord;
  readonly gateway: ServerContext;
  /** The parts of the configuration that was in use when it was accepted: a reload never changes it. */
  readonly runtime: ServerRuntime;
  readonly connection: WaitingCall & { disconnected: boolean };
  readonly role: ListenerRole;
  /** Null until the request target is understood. */
  route: Route | null;
  /** Who makes the call; null until it is admitted. */
  caller: Caller | null;
}

/** An admitted exchange. */
export interface Exchange extends OpenedExchange {
  route: Route;
  caller: Caller;
}

/**
 * A call that is made again inside the process. Who makes it is known already: nothing in its request says so, and
 * nothing in a request of anybody else could.
 */
export interface Replay {
  /** Marks its record. */
  begun(record: ExchangeRecord): void;
  /**
   * Who makes it, as that caller is under the configuration it was accepted by. Throws what the caller would be refused
   * with today.
   */
  admit(exchange: OpenedExchange, route: Route): Caller;
}

/** Opens an exchange and its record. */
export function openExchange(
  gateway: ServerContext,
  role: ListenerRole,
  request: IncomingMessage,
  response: ServerResponse,
): OpenedExchange {
  const { runtime } = gateway;
  const record = openRecord(request, role, runtime);
  if (gateway.tracing.isOn) gateway.tracing.begin(record);
  noteTraceContext(record, request.headers.traceparent);
  const connection: OpenedExchange['connection'] = {
    disconnected: false,
    onDisconnect: null,
    rejectWait: null,
    waits: runtime.waits,
    record,
    waitsFor: '',
    waitsSince: 0,
    waitsUntil: 0,
    isWaitTold: false,
  };
  enterConnection({
    request,
    response,
    onOver() {
      if (response.writableFinished || connection.disconnected) return;
      connection.disconnected = true;
      record.aborted = true;
      if (gateway.isCutting) noteError(record, CUT);
      connection.onDisconnect?.();
    },
  });
  gateway.observer.begun();
  return { request, response, record, gateway, runtime, connection, role, route: null, caller: null };
}

/** For the record of a call that did not end before the gateway did. */
export const CUT = new GatewayError('gateway.draining', 'the gateway ended before the call did, and cut it');

/** The record of a request that has arrived, with an id of its own: a caller's X-Gateway-Request-Id is not believed. */
export function openRecord(
  request: IncomingMessage,
  { peerName }: Pick<ListenerRole, 'peerName'>,
  { trustedProxies }: Pick<ServerRuntime, 'trustedProxies'>,
): ExchangeRecord {
  const record = createExchangeRecord();
  record.requestId = randomUUID();
  record.method = request.method ?? '';
  record.target = request.url ?? '';
  record.requestHeaders = request.rawHeaders;
  const peer = trustedProxies.peerOf(request);
  record.peer = peer === 'local' ? (peerName ?? null) : peer;
  record.userAgent = request.headers['user-agent'] ?? null;
  return record;
}

/** Notes who calls, and what proved it. */
export function noteCaller(record: ExchangeRecord, { client, authFingerprint, session }: Caller): void {
  record.client = client?.name ?? null;
  record.secretFingerprint = secretFingerprint(authFingerprint);
  record.sessionUser = session?.tokens.user ?? null;
}

/** The same exchange, once its caller is admitted. */
export function admittedExchange(opened: OpenedExchange, route: Route, caller: Caller): Exchange {
  opened.route = route;
  opened.caller = caller;
  return opened as Exchange;
}

/**
 * Lets an exchange have spans, where it is sampled. To be called once it is known who makes it: what is refused before
 * has none.
 */
export function beginSpans({
  gateway,
  record,
  request,
  caller,
  role,
}: Pick<Exchange, 'gateway' | 'record' | 'request' | 'caller' | 'role'>): void {
  const { traceparent } = request.headers;
  gateway.spans.tracer?.begin(record, {
    traceparent,
    // A proxy on this machine passes on what others send.
    mayDecide: caller.isAuthenticated || (traceparent !== undefined && role.isLocal && !isForwarded(request.headers)),
    isTls: (request.socket as Partial<TLSSocket>).encrypted === true,
    hasOwnToken: caller.session === null,
  });
}

/** Hands the finished record of an exchange to metrics and log. Only the first call counts. */
export function finishExchange({ gateway, record }: Pick<OpenedExchange, 'gateway' | 'record'>): void {
  gateway.observer.ended(record);
}

/**
 * The property under which a request carries its exchange. A WeakMap would say the same and cost the garbage collector
 * dearly.
 */
const EXCHANGE = Symbol('exchange');

type AcceptedRequest = IncomingMessage & { [EXCHANGE]?: Exchange };

/** Binds an exchange to its request while the framework routes it. */
export function bindExchange(exchange: Exchange): void {
  (exchange.request as AcceptedRequest)[EXCHANGE] = exchange;
}

/** The exchange of a routed request. Every request that reaches the framework has one. */
export function exchangeOf(request: IncomingMessage): Exchange {
  const exchange = (request as AcceptedRequest)[EXCHANGE];
  if (!exchange) throw new Error('a request reached the router without being accepted');
  return exchange;
}

/**
 * Notes trace and span id of a request's `traceparent`. Without one, or with one that is not valid, the record gets a
 * span id of its own, made of the request id, and no trace id.
 */
export function noteTraceContext(record: ExchangeRecord, traceparent: string | readonly string[] | undefined): void {
  const found = parseTraceparent(traceparent);
  if (found === null) {
    // The variant bits of a UUID make sure that it is not all zeros.
    record.spanId = record.requestId.slice(19, 23) + record.requestId.slice(24);
    return;
  }
  record.traceId = found.traceId;
  record.spanId = found.parentId;
}
