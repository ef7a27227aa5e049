// CORS (Fetch standard): what a response says to a page of an origin in `server.cors_origins`, and preflights. Exact
// origins only, no wildcard, no cookies: a page authenticates with a header or not at all.

import type { IncomingMessage, ServerResponse } from 'node:http';

/** Headers a page may read beside the few that it always may. */
const EXPOSED = [
  'X-Gateway-Request-Id',
  'X-Gateway-Error',
  'X-Gateway-Explain',
  'X-Gateway-Explain-Url',
  'ININ-Correlation-Id',
  'Retry-After',
  'Location',
  'WWW-Authenticate',
  'Content-Disposition',
];

/** Puts the headers on whatever response follows. Call it only for listed origins. */
export function allowOrigin(response: ServerResponse, origin: string): void {
  response.setHeader('Access-Control-Allow-Origin', origin);
  response.setHeader('Access-Control-Expose-Headers', EXPOSED.join(', '));
  response.setHeader('Vary', 'Origin');
}

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';
/** Browsers cap it at two hours and less. */
const MAX_AGE_S = 600;
const HEADER_LIST = /^[\w!#$%&'*+.^`|~-]+(?:\s*,\s*[\w!#$%&'*+.^`|~-]+)*$/;

/** Whether a request asks on behalf of a page, and does not act. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
}

/**
 * The whole response, 204, for an origin that is listed. The headers asked for are allowed: what they may do is decided
 * when they come.
 */
export function respondToPreflight(
  request: IncomingMessage,
  response: ServerResponse,
  origin: string,
  requestId: string,
): void {
  const { headers } = request;
  const asked = headers['access-control-request-headers'];
  allowOrigin(response, origin);
  response.setHeader('Vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers');
  response.setHeader('Access-Control-Allow-Methods', METHODS);
  if (typeof asked === 'string' && HEADER_LIST.test(asked)) response.setHeader('Access-Control-Allow-Headers', asked);
  // A public page reaching into a private network must be told that it may.
  if (headers['access-control-request-private-network'] === 'true')
    response.setHeader('Access-Control-Allow-Private-Network', 'true');
  response.setHeader('Access-Control-Max-Age', String(MAX_AGE_S));
  response.setHeader('X-Gateway-Request-Id', requestId);
  response.statusCode = 204;
  response.end();
}
