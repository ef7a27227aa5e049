// The first step of every request, before the framework sees it: framing → target → CORS → admission → router. What it
// refuses is responded to here; what it admits reaches the router with nothing left for the framework to interpret
// (content types, bodies, odd escapes).

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResponseDelay } from '../auth/callers/auth-throttle.ts';
import { MOST_FETCHES, SessionElsewhere, storeAway } from '../auth/callers/session-fetches.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import { noteError } from '../logging/exchange-record.ts';
import { admit } from './admission.ts';
import { guessIn } from './authenticate.ts';
import { isFailedAuthentication } from './authentication-error.ts';
import { claimedClient, isRefusedProof } from './claimed-client.ts';
import { noteRefused, wasRefused } from './connection.ts';
import type { ServerContext } from './context.ts';
import { allowOrigin, isPreflight, respondToPreflight } from './cors.ts';
import {
  admittedExchange,
  bindExchange,
  type Exchange,
  finishExchange,
  noteCaller,
  type OpenedExchange,
  openExchange,
  type Replay,
} from './exchange.ts';
import { assertFraming } from './framing.ts';
import type { ListenerRole } from './listener-plan.ts';
import { isTokenRevocation, revokeOwnToken } from './oauth/revocation.ts';
import { FORWARD_MOUNT } from './own-routes.ts';
import { isForApplications, noteRoute, parseTarget, type Route } from './request-target.ts';
import { draining, internalError, notFound, respondWithError, sendContinue, tooManyGuesses } from './responses.ts';

/** A caller of a local route that neither sends nor is sent anything for so long is cut off. */
const LOCAL_IDLE_MS = 60_000;

/**
 * Takes a request that came in by a listener of `role`: admits it and hands it on, or refuses it. `replay` is what a
 * request of our own stands for, null for all others. Never throws.
 */
export function accept(
  gateway: ServerContext,
  role: ListenerRole,
  request: IncomingMessage,
  response: ServerResponse,
  replay: Replay | null = null,
): void {
  if (wasRefused(request.socket)) return;
  const opened = openExchange(gateway, role, request, response);
  replay?.begun(opened.record);
  admitOpened(opened, replay, 1);
}

/** Admits what was opened. Where it shows a session that is asked of the store, again when the store has answered. */
function admitOpened(opened: OpenedExchange, replay: Replay | null, tries: number): void {
  const { request, response, role } = opened;
  try {
    const { host, target } = assertFraming(request);
    const route = parseTarget(target);
    opened.route = route;
    noteRoute(opened.record, route);
    assertServedHere(request, route, role);
    const origin = listedOrigin(opened, route);
    if (origin !== null) {
      allowOrigin(response, origin);
      if (isPreflight(request)) {
        preflight(opened, origin);
        return;
      }
    }
    const caller = replay === null ? admit(request, host, route, role, opened.runtime) : replay.admit(opened, route);
    const exchange = admittedExchange(opened, route, caller);
    // A wrong Bearer of a caller who is served as anonymous.
    const guess = guessIn(request);
    if (guess === null) dispatch(exchange);
    else dispatchLater(exchange, host, delayFor(opened, guess));
  } catch (error) {
    if (error instanceof SessionElsewhere) admitLater(opened, replay, tries, error);
    else refuseInTime(opened, error);
  }
}

function admitLater(opened: OpenedExchange, replay: Replay | null, tries: number, { fetched }: SessionElsewhere): void {
  if (tries >= MOST_FETCHES) {
    refuseInTime(opened, storeAway());
    return;
  }
  fetched.then(
    () => {
      if (opened.connection.disconnected) finishExchange(opened);
      else admitOpened(opened, replay, tries + 1);
    },
    (failure: unknown) => refuseInTime(opened, failure),
  );
}

/** Sends an admitted exchange on: to the end of its own token, to a route of ours, or to the forwarding path. */
function dispatch(exchange: Exchange): void {
  const { gateway, request, response, record, route, caller, role } = exchange;
  noteCaller(record, caller);
  const isSeen = record.replayOf === null && (caller.client !== null || route.kind === 'forward');
  if (isSeen) gateway.activity.seen(caller, record.peer);
  if (gateway.phase === 'draining' && route.kind === 'forward') throw draining();
  if (isTokenRevocation(exchange)) return void revokeOwnToken(exchange);
  // The router decodes a path before it compares; admission has compared it as it was sent.
  if (route.kind === 'local' && route.path.includes('%')) throw notFound(role.admin, route);
  bindExchange(exchange);
  if (route.kind === 'local') {
    // A forwarded body has its own bound where it is read; one that is read here has this.
    request.setTimeout(LOCAL_IDLE_MS, () => request.socket.destroy());
    finishWithResponse(exchange);
    sendContinue(request, response);
  }
  rewriteForRouter(request, route);
  gateway.app.routing(request, response);
}

/**
 * As `dispatch`, for an anonymous caller who showed a wrong secret: the response would tell that the secret is wrong, so
 * it is delayed like a refusal.
 */
function dispatchLater(exchange: Exchange, host: string, { until, isOverflow }: ResponseDelay): void {
  const go = () => {
    if (exchange.connection.disconnected) {
      finishExchange(exchange);
      return;
    }
    try {
      dispatch(until === null ? exchange : readmit(exchange, host));
    } catch (error) {
      finishWithResponse(exchange);
      refuse(exchange, error);
    }
  };
  if (isOverflow) dropGuess(exchange);
  else if (until === null) go();
  else void until.then(go);
}

/** The exchange as it would be accepted now: who may call anonymously may have changed meanwhile. */
function readmit(exchange: Exchange, host: string): Exchange {
  const { gateway, request, route, role } = exchange;
  const { runtime } = gateway;
  return { ...exchange, runtime, caller: admit(request, host, route, role, runtime) };
}

/** Refuses a request; where it showed a wrong secret, when its peer's turn has come. */
function refuseInTime(opened: OpenedExchange, error: unknown): void {
  // What is refused to a replay was right when it was shown.
  const isGuess =
    opened.record.replayOf === null && (isFailedAuthentication(error) || guessIn(opened.request) !== null);
  const delay = isGuess ? delayFor(opened, null) : null;
  if (delay?.isOverflow) {
    dropGuess(opened);
    return;
  }
  finishWithResponse(opened);
  if (delay?.until == null) refuse(opened, error);
  else void delay.until.then(() => refuse(opened, error));
}

function refuse(opened: OpenedExchange, thrown: unknown): void {
  const error = isGatewayError(thrown) ? thrown : internalError();
  if (error.code === 'gateway.origin.forbidden') opened.record.refused = opened.request.headers.origin ?? null;
  else if (error.code === 'gateway.host.forbidden') opened.record.refused = opened.request.headers.host ?? null;
  if (opened.record.replayOf === null && isRefusedProof(error))
    opened.record.claimedClient = claimedClient(opened.request, opened.runtime);
  // A request that is not understood leaves a connection that is not understood.
  const isBroken = error.code === 'gateway.request.invalid' || error.code === 'gateway.internal';
  if (isBroken) noteRefused(opened.request.socket);
  respondWithError(opened, error, { close: isBroken || error.code === 'gateway.draining' });
}

/** How long a refusal waits; or the response to an anonymous caller who showed `wrongSecret`. */
export function delayFor(
  { gateway, runtime, request }: Pick<OpenedExchange, 'gateway' | 'runtime' | 'request'>,
  wrongSecret: string | null,
): ResponseDelay {
  const peer = runtime.trustedProxies.peerOf(request);
  return wrongSecret === null ? gateway.throttle.delayFailure(peer) : gateway.throttle.delayGuess(peer, wrongSecret);
}

/** Ends the connection without a response: its peer has too many guesses at a time. */
function dropGuess(opened: OpenedExchange): void {
  const { request, record, runtime } = opened;
  finishWithResponse(opened);
  noteError(record, tooManyGuesses());
  record.claimedClient = claimedClient(request, runtime);
  record.heldBy = 'wrong secrets';
  request.socket.destroy();
}

/** The origin of a page that `server.cors_origins` lets in where the request leads; null for all other requests. */
function listedOrigin({ request, runtime }: OpenedExchange, route: Route): string | null {
  const { origin } = request.headers;
  if (origin === undefined || !runtime.boundary.corsOrigins.has(origin)) return null;
  return isForApplications(route) ? origin : null;
}

function preflight(opened: OpenedExchange, origin: string): void {
  const { request, response, record } = opened;
  finishWithResponse(opened);
  record.status = 204;
  respondToPreflight(request, response, origin, record.requestId);
}

/** Finishes an exchange when its response closes, so that whoever responds need not think of the record. */
function finishWithResponse(opened: OpenedExchange): void {
  const { response, record } = opened;
  response.once('close', () => {
    if (record.status === 0 && response.headersSent) record.status = response.statusCode;
    finishExchange(opened);
  });
}

/**
 * Throws where a listener does not serve a route: one for health or administration forwards nothing and logs nobody in;
 * one for health alone only answers probes.
 */
function assertServedHere({ method }: IncomingMessage, route: Route, role: ListenerRole): void {
  if (role.data) return;
  if (route.kind === 'forward' || route.own?.isData)
    throw new GatewayError(
      'gateway.route.not.found',
      'calls are not forwarded from this address: send them to the one that server.listen names',
    );
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
