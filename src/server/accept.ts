// The first step of every request, before the framework sees it: framing, target, Host and Origin. What it refuses is answered here;
// what it lets through reaches the router with nothing left for the framework to interpret (content types, bodies, odd escapes).

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HeldBack } from '../auth/clients/failure-delay.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { inviteBody, sendError } from './answer.ts';
import { allowOrigin } from './cors.ts';
import { bindExchange, type Exchange, type ListenerRole, openExchange } from './exchange.ts';
import { asksForToken } from './facade.ts';
import { sendOAuthRefusal, toOAuthRefusal } from './facade-answer.ts';
import { assertFraming } from './framing.ts';
import { guessIn, isFailedAuthentication } from './identify.ts';
import { admit, type Gate } from './identify-gate.ts';
import { answerPreflight, isPreflight } from './preflight.ts';
import { FACADE_PATHS, isForApplications, parseTarget, type Route } from './request-target.ts';
import { noteTraceContext } from './trace-context.ts';
import { notFound } from './wrong-method.ts';

/** What accept needs from the rest of the server. */
export interface AcceptOptions {
  readonly gate: () => Gate;
  /** Serves what must not reach the forwarding path (tokens-me.ts); false when there is nothing of the kind. May throw GatewayError. */
  readonly serveOwn: (exchange: Exchange) => boolean;
  /** Slows the refusal of a wrong secret, or the answer to a caller who showed the wrong secret `served` and is served without. */
  readonly holdBack: (request: IncomingMessage, served: string | null) => HeldBack;
  readonly isDraining: () => boolean;
  /** The framework's request handler. */
  readonly route: (request: IncomingMessage, response: ServerResponse) => void;
  /** Told when a request has arrived. */
  readonly begun: () => void;
  /** Takes the finished record of every exchange that is not forwarded. */
  readonly finish: (record: ExchangeRecord) => void;
}

/** Where the forwarding path is mounted in the router. */
export const MOUNT = '/api/v2/';

/** A caller of a local route that neither sends nor is answered for so long is cut off. */
const LOCAL_IDLE_MS = 60_000;

/** Sockets on which a request was refused for its framing: whatever was read ahead on them is not looked at. */
const refusedSockets = new WeakSet<object>();

/** Whether a request on this connection was refused in a way that leaves nothing behind it to be looked at. */
export function wasRefused(socket: object): boolean {
  return refusedSockets.has(socket);
}

/** Makes the request listener of a node:http server with the given role. */
export function createAccept(options: AcceptOptions): (role: ListenerRole) => (request: IncomingMessage, response: ServerResponse) => void {
  return (role) => (request, response) => {
    if (refusedSockets.has(request.socket)) return;
    const { record, caller } = openExchange(request, response, role);
    options.begun();
    noteTraceContext(record, request.headers.traceparent);
    try {
      const framing = assertFraming(request);
      const route = parseTarget(framing.target);
      assertServedHere(request, route, role);
      const gate = options.gate();
      const { origin } = request.headers;
      if (origin !== undefined && gate.boundary.corsOrigins.has(origin) && isForApplications(route)) {
        if (isPreflight(request)) return finishPreflight(request, response, record, origin, options);
        allowOrigin(response, origin);
      }
      const identity = admit(request, framing.host, route, role, gate);
      const exchange: Exchange = { request, response, record, caller, role, route, identity };
      const guess = guessIn(request);
      if (guess === null) serve(exchange, options);
      else serveLater(exchange, framing.host, options.holdBack(request, guess), options);
    } catch (error) {
      refuseFor(error, request, response, record, options);
    }
  };
}

/** Sends an admitted request on its way. */
function serve(exchange: Exchange, options: AcceptOptions): void {
  const { request, response, record, route, identity } = exchange;
  record.client = identity.client?.name ?? null;
  if (options.isDraining() && route.kind === 'forward') throw new GatewayError('gateway.draining', 'the gateway is shutting down: try again');
  if (options.serveOwn(exchange)) return;
  // The router decodes a path before it compares; the door has compared it as it was sent.
  if (route.kind === 'local' && route.path.includes('%')) throw notFound();
  bindExchange(exchange);
  if (route.kind === 'local') {
    // A forwarded body has its own bound where it is read; one that is read here has this.
    request.setTimeout(LOCAL_IDLE_MS, () => request.socket.destroy());
    finishLocal(response, record, options);
    inviteBody(request, response);
  }
  setAside(request, route);
  options.route(request, response);
}

/** For a caller who showed a wrong secret and is served without: what it may do tells whether the secret was right, so it waits as a refusal does. */
function serveLater(exchange: Exchange, host: string, { until, isOverflow }: HeldBack, options: AcceptOptions): void {
  const { request, response, record, caller, route, role } = exchange;
  const go = () => {
    if (caller.left) {
      options.finish(record);
      return;
    }
    try {
      // Who may call without proof may have changed meanwhile.
      serve(until === null ? exchange : { ...exchange, identity: admit(request, host, route, role, options.gate()) }, options);
    } catch (error) {
      response.once('close', () => options.finish(record));
      refuse(request, response, record, failureOf(error));
    }
  };
  if (isOverflow) dropGuess(request, response, record, options);
  else if (until === null) go();
  else void until.then(go);
}

/** Too many guesses of one peer at a time: no answer, and no connection. */
function dropGuess(request: IncomingMessage, response: ServerResponse, record: ExchangeRecord, options: AcceptOptions): void {
  response.once('close', () => options.finish(record));
  record.errorCode = 'gateway.client.unauthenticated';
  record.heldBy = 'wrong secrets';
  request.socket.destroy();
}

function failureOf(error: unknown): GatewayError {
  return isGatewayError(error) ? error : new GatewayError('gateway.internal', 'the request could not be read');
}

function refuseFor(error: unknown, request: IncomingMessage, response: ServerResponse, record: ExchangeRecord, options: AcceptOptions): void {
  const failure = failureOf(error);
  const held = isFailedAuthentication(failure) || guessIn(request) !== null ? options.holdBack(request, null) : null;
  if (held?.isOverflow) {
    dropGuess(request, response, record, options);
    return;
  }
  response.once('close', () => options.finish(record));
  if (held?.until == null) refuse(request, response, record, failure);
  else void held.until.then(() => refuse(request, response, record, failure));
}

function finishPreflight(request: IncomingMessage, response: ServerResponse, record: ExchangeRecord, origin: string, options: AcceptOptions): void {
  response.once('close', () => options.finish(record));
  record.status = 204;
  answerPreflight(request, response, origin, record.requestId);
}

/** What is answered here need not think of its record. */
function finishLocal(response: ServerResponse, record: ExchangeRecord, options: AcceptOptions): void {
  response.once('close', () => {
    if (record.status === 0 && response.headersSent) record.status = response.statusCode;
    options.finish(record);
  });
}

function refuse(request: IncomingMessage, response: ServerResponse, record: ExchangeRecord, error: GatewayError): void {
  record.status = error.statusCode;
  record.errorCode = error.code;
  // A request that is not understood leaves a connection that is not understood.
  const isBroken = error.code === 'gateway.request.invalid' || error.code === 'gateway.internal';
  if (isBroken) refusedSockets.add(request.socket);
  const isLast = isBroken || error.code === 'gateway.draining';
  if (asksForToken(request)) sendOAuthRefusal(response, toOAuthRefusal(error), record.requestId, isLast);
  else sendError(response, error, record.requestId, { close: isLast });
}

/** What a health listener serves, by GET. */
const PROBE_PATHS = new Set(['/livez', '/healthz', '/readyz', '/metrics']);

/** A listener for health or administration forwards nothing and logs nobody in; one for health alone only answers probes. */
function assertServedHere({ method }: IncomingMessage, route: Route, role: ListenerRole): void {
  if (role.data) return;
  if (route.kind === 'forward' || FACADE_PATHS.has(route.path)) {
    throw new GatewayError('gateway.route.not.found', 'this address does not forward calls');
  }
  if (role.admin) return;
  if (!PROBE_PATHS.has(route.path)) throw new GatewayError('gateway.route.not.found', 'this address answers /livez, /readyz and /metrics');
  if (method === 'GET' || method === 'HEAD') return;
  throw new GatewayError('gateway.request.invalid', 'this address answers GET only', { statusCode: 405, allow: ['GET', 'HEAD'] });
}

/**
 * Leaves the framework a plain route and no body to interpret. Of a forwarded request it sees one fixed GET: lone `%`s, empty content types
 * and unusual methods are the upstream's business. The octets stay in the exchange, in `rawHeaders` and in the message's stream.
 */
function setAside(request: IncomingMessage, route: Route): void {
  if (route.kind === 'forward') {
    request.url = MOUNT;
    request.method = 'GET';
  } else {
    request.url = route.query === '' ? route.path : `${route.path}?${route.query}`;
  }
}
