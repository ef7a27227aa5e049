// Answers CORS preflights (Fetch standard, section 4.8) for listed origins; nothing of them goes upstream, and they prove nothing.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { allowOrigin } from './cors.ts';

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';
/** Browsers cap it at two hours and less. */
const MAX_AGE_S = 600;
const HEADER_LIST = /^[\w!#$%&'*+.^`|~-]+(?:\s*,\s*[\w!#$%&'*+.^`|~-]+)*$/;

/** Whether a request asks on behalf of a page, and does not act. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
}

/** The whole answer, 204, for an origin that is listed. The headers asked for are allowed: what they may do is decided when they come. */
export function answerPreflight(request: IncomingMessage, response: ServerResponse, origin: string, requestId: string): void {
  const { headers } = request;
  const asked = headers['access-control-request-headers'];
  allowOrigin(response, origin);
  response.setHeader('Vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers');
  response.setHeader('Access-Control-Allow-Methods', METHODS);
  if (typeof asked === 'string' && HEADER_LIST.test(asked)) response.setHeader('Access-Control-Allow-Headers', asked);
  // A public page reaching into a private network must be told that it may.
  if (headers['access-control-request-private-network'] === 'true') response.setHeader('Access-Control-Allow-Private-Network', 'true');
  response.setHeader('Access-Control-Max-Age', String(MAX_AGE_S));
  response.setHeader('X-Gateway-Request-Id', requestId);
  response.statusCode = 204;
  response.end();
}
