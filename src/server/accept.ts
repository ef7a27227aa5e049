// The first step of every request, before the framework sees it: framing, target, Host and Origin. What it refuses is
// answered here; what it lets through reaches the router with nothing left for the framework to interpret (content
// types, bodies, odd escapes).

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AuthThrottle, ResponseDelay } from '../auth/callers/auth-throttle.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { admit, type ListenerRole } from './admission.ts';
import { guessIn, isFailedAuthentication } from './authenticate.ts';
import { noteRefused, wasRefused } from './connection.ts';
import type { ServerRuntime } from './context.ts';
import { allowOrigin, answerPreflight, isPreflight } from './cors.ts';
import { bindExchange, type Exchange, noteTraceContext, type OpenedExchange, openExchange } from './exchange.ts';
import { assertFraming } from './framing.ts';
import { notFound } from './method-not-allowed.ts';
import { isTokenRevocation, revokeOwnToken } from './oauth/revocation.ts';
import { isForApplications, noteRoute, parseTarget, type Route } from './request-target.ts';
import { internalError, respondWithError, sendContinue } from './responses.ts';

/** What accept needs from the rest of the server. */
export interface AcceptOptions {
  /** Of the configuration in use. */
  readonly runtime: () => ServerRuntime;
  readonly throttle: AuthThrottle;
  readonly isDraining: () => boolean;
  /** The framework's request handler. */
  readonly route: (request: IncomingMessage, response: ServerResponse) => void;
  /** Told when a request has arrived. */
  readonly begun: () => void;
  /** Takes the finished record of every exchange that is not forwarded. */
  readonly finish: (record: ExchangeRecord) => void;
}

/**
 * Slows the refusal of a wrong secret, or the answer to a caller who showed the wrong secret `served` and is served
 * without.
 */
export function delayGuess(throttle: AuthThrottle, peer: string, served: string | null): ResponseDelay {
  return served === null ? throttle.delayFailure(peer) : throttle.delayGuess(peer, served);
}

/** Where the forwarding path is mounted in the router. */
export const FORWARD_MOUNT = '/api/v2/';

/** A caller of a local route that neither sends nor is answered for so long is cut off. */
const LOCAL_IDLE_MS = 60_000;

/** Makes the request listener of a node:http server with the given role. */
export function createAccept(
  options: AcceptOptions,
): (role: ListenerRole) => (request: IncomingMessage, response: ServerResponse) => void {
  return (role) => (request, response) => {
    if (wasRefused(request.socket)) return;
    const opened = openExchange(options.runtime(), role, request, response);
    const { record, runtime } = opened;
    options.begun();
    noteTraceContext(record, request.headers.traceparent);
    try {
      const { host, target } = assertFraming(request);
      const route = parseTarget(target);
      opened.route = route;
      noteRoute(record, route);
      assertServedHere(request, route, role);
      const { origin } = request.headers;
      if (origin !== undefined && runtime.boundary.corsOrigins.has(origin) && isForApplications(route)) {
        if (isPreflight(request)) return finishPreflight(opened, origin, options);
        allowOrigin(response, origin);
      }
      const caller = admit(request, host, route, role, runtime);
      const exchange: Exchange = {
        request,
        response,
        record,
        runtime,
        connection: opened.connection,
        role,
        route,
        caller,
      };
      const guess = guessIn(request);
      if (guess === null) serve(exchange, options);
      else serveLater(exchange, host, delayGuess(options.throttle, runtime.peerOf(request), guess), options);
    } catch (error) {
      refuseFor(error, opened, options);
    }
  };
}

/** Sends an admitted request on its way. */
function serve(exchange: Exchange, options: AcceptOptions): void {
  const { request, response, record, route, caller } = exchange;
  record.client = caller.client?.name ?? null;
  if (options.isDraining() && route.kind === 'forward')
    throw new GatewayError('gateway.draining', 'the gateway is shutting down: try again');
  if (isTokenRevocation(exchange)) return void revokeOwnToken(exchange, options.finish);
  // The router decodes a path before it compares; the door has compared it as it was sent.
  if (route.kind === 'local' && route.path.includes('%')) throw notFound();
  bindExchange(exchange);
  if (route.kind === 'local') {
    // A forwarded body has its own bound where it is read; one that is read here has this.
    request.setTimeout(LOCAL_IDLE_MS, () => request.socket.destroy());
    finishLocal(exchange, options);
    sendContinue(request, response);
  }
  rewriteForRouter(request, route);
  options.route(request, response);
}

/**
 * For a caller who showed a wrong secret and is served without: what it may do tells whether the secret was right, so
 * it waits as a refusal does.
 */
function serveLater(
  exchange: Exchange,
  host: string,
  { until, isOverflow }: ResponseDelay,
  options: AcceptOptions,
): void {
  const { response, record, connection } = exchange;
  const go = () => {
    if (connection.disconnected) {
      options.finish(record);
      return;
    }
    try {
      // Who may call without proof may have changed meanwhile.
      serve(until === null ? exchange : readmit(exchange, host, options.runtime()), options);
    } catch (error) {
      response.once('close', () => options.finish(record));
      refuse(exchange, error);
    }
  };
  if (isOverflow) dropGuess(exchange, options);
  else if (until === null) go();
  else void until.then(go);
}

/** The exchange as it would be accepted now. */
function readmit(exchange: Exchange, host: string, runtime: ServerRuntime): Exchange {
  const { request, route, role } = exchange;
  return { ...exchange, runtime, caller: admit(request, host, route, role, runtime) };
}

/** Too many guesses of one peer at a time: no answer, and no connection. */
function dropGuess({ request, response, record }: OpenedExchange, options: AcceptOptions): void {
  response.once('close', () => options.finish(record));
  record.errorCode = 'gateway.client.unauthenticated';
  record.heldBy = 'wrong secrets';
  request.socket.destroy();
}

function refuseFor(error: unknown, opened: OpenedExchange, options: AcceptOptions): void {
  const { request, response, record, runtime } = opened;
  const held =
    isFailedAuthentication(error) || guessIn(request) !== null
      ? delayGuess(options.throttle, runtime.peerOf(request), null)
      : null;
  if (held?.isOverflow) {
    dropGuess(opened, options);
    return;
  }
  response.once('close', () => options.finish(record));
  if (held?.until == null) refuse(opened, error);
  else void held.until.then(() => refuse(opened, error));
}

function finishPreflight({ request, response, record }: OpenedExchange, origin: string, options: AcceptOptions): void {
  response.once('close', () => options.finish(record));
  record.status = 204;
  answerPreflight(request, response, origin, record.requestId);
}

/** What is answered here need not think of its record. */
function finishLocal({ response, record }: Exchange, options: AcceptOptions): void {
  response.once('close', () => {
    if (record.status === 0 && response.headersSent) record.status = response.statusCode;
    options.finish(record);
  });
}

function refuse(opened: OpenedExchange, thrown: unknown): void {
  const error = isGatewayError(thrown) ? thrown : internalError();
  // A request that is not understood leaves a connection that is not understood.
  const isBroken = error.code === 'gateway.request.invalid' || error.code === 'gateway.internal';
  if (isBroken) noteRefused(opened.request.socket);
  respondWithError(opened, error, { close: isBroken || error.code === 'gateway.draining' });
}

/**
 * A listener for health or administration forwards nothing and logs nobody in; one for health alone only answers
 * probes.
 */
function assertServedHere({ method }: IncomingMessage, route: Route, role: ListenerRole): void {
  if (role.data) return;
  if (route.kind === 'forward' || route.own?.isData)
    throw new GatewayError('gateway.route.not.found', 'this address does not forward calls');
  if (role.admin) return;
  if (!route.own?.isProbe)
    throw new GatewayError('gateway.route.not.found', 'this address answers /livez, /readyz and /metrics');
  if (method === 'GET' || method === 'HEAD') return;
  throw new GatewayError('gateway.request.invalid', 'this address answers GET only', {
    statusCode: 405,
    allow: route.own.methods,
  });
}

/**
 * Leaves the framework a plain route and no body to interpret. Of a forwarded request it sees one fixed GET: lone `%`s,
 * empty content types and unusual methods are the upstream's business. The octets stay in the exchange, in `rawHeaders`
 * and in the message's stream.
 */
function rewriteForRouter(request: IncomingMessage, route: Route): void {
  if (route.kind === 'forward') {
    request.url = FORWARD_MOUNT;
    request.method = 'GET';
  } else {
    request.url = route.query === '' ? route.path : `${route.path}?${route.query}`;
  }
}
