// The first step of every request, before the framework sees it: framing, target, Host and Origin. What it refuses is answered here;
// what it lets through reaches the router with nothing left for the framework to interpret (content types, bodies, odd escapes).

import type { IncomingMessage, ServerResponse } from 'node:http';
import { GatewayError, isGatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { sendError } from './answer.ts';
import { assertAllowedHost, assertAllowedOrigin, type BoundaryRules } from './boundary.ts';
import { bindExchange, type ListenerRole, openExchange } from './exchange.ts';
import { assertFraming } from './framing.ts';
import { parseTarget, type Route } from './request-target.ts';

/** What accept needs from the rest of the server. */
export interface AcceptOptions {
  readonly boundary: () => BoundaryRules;
  readonly isDraining: () => boolean;
  /** The framework's request handler. */
  readonly route: (request: IncomingMessage, response: ServerResponse) => void;
  /** Takes the finished record of a refused request. */
  readonly finish: (record: ExchangeRecord) => void;
}

/** Where the forwarding path is mounted in the router. */
export const MOUNT = '/api/v2/';

/** The paths of health, which any Host may ask for: probes call by address or by service name. */
const HEALTH_PATHS = new Set(['/livez', '/healthz', '/readyz']);

/** Sockets on which a request was refused for its framing: whatever was read ahead on them is not looked at. */
const refusedSockets = new WeakSet<object>();

/** Makes the request listener of a node:http server with the given role. */
export function createAccept(options: AcceptOptions): (role: ListenerRole) => (request: IncomingMessage, response: ServerResponse) => void {
  return (role) => (request, response) => {
    if (refusedSockets.has(request.socket)) return;
    const { record, caller } = openExchange(request, response, role);
    try {
      const framing = assertFraming(request);
      const route = parseTarget(framing.target);
      assertServedHere(route, role);
      if (!isHealth(route)) assertBoundary(request, framing.host, options.boundary());
      if (options.isDraining() && route.kind === 'forward') throw new GatewayError('gateway.draining', 'the gateway is shutting down: try again');
      bindExchange({ request, response, record, caller, role, route });
      setAside(request, route);
      options.route(request, response);
    } catch (error) {
      refuse(request, response, record, isGatewayError(error) ? error : new GatewayError('gateway.internal', 'the request could not be read'));
      response.once('close', () => options.finish(record));
    }
  };
}

function refuse(request: IncomingMessage, response: ServerResponse, record: ExchangeRecord, error: GatewayError): void {
  record.status = error.statusCode;
  record.errorCode = error.code;
  // A request that is not understood leaves a connection that is not understood.
  const isBroken = error.code === 'gateway.request.invalid' || error.code === 'gateway.internal';
  if (isBroken) refusedSockets.add(request.socket);
  sendError(response, error, record.requestId, { close: isBroken || error.code === 'gateway.draining' });
}

function isHealth(route: Route): boolean {
  return route.kind === 'local' && HEALTH_PATHS.has(route.path);
}

/** A listener for health or administration forwards nothing. */
function assertServedHere(route: Route, role: ListenerRole): void {
  if (route.kind === 'forward' && !role.data) throw new GatewayError('gateway.route.not.found', 'this address does not forward calls');
}

function assertBoundary(request: IncomingMessage, host: string, rules: BoundaryRules): void {
  assertAllowedHost(host, rules);
  const { origin } = request.headers;
  const fetchSite = request.headers['sec-fetch-site'];
  if (origin === undefined && fetchSite === undefined) return;
  const isEncrypted = (request.socket as { encrypted?: boolean }).encrypted === true;
  assertAllowedOrigin({ host, origin, fetchSite: typeof fetchSite === 'string' ? fetchSite : undefined, isEncrypted }, rules);
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
