// One exchange as the server sees it: the two messages, where the request leads, who is served, and the record. Made at accept, ended once.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../auth/callers/caller.ts';
import { createExchangeRecord, type ExchangeRecord } from '../logging/exchange-record.ts';
import type { CallerPresence } from '../upstream/call.ts';
import { enterConnection } from './connection.ts';
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
