// What an answer says to a page of an origin in `server.cors_origins`. Exact origins only, no wildcard, no credentials (cookies): a page proves
// itself with a header or not at all. Preflights are preflight.ts.

import type { ServerResponse } from 'node:http';

/** Headers a page may read beside the few that it always may. */
const EXPOSED = [
  'X-Gateway-Request-Id',
  'X-Gateway-Error',
  'ININ-Correlation-Id',
  'Retry-After',
  'Location',
  'WWW-Authenticate',
  'Content-Disposition',
];

/** Puts the headers on whatever answer follows. Call it only for listed origins. */
export function allowOrigin(response: ServerResponse, origin: string): void {
  response.setHeader('Access-Control-Allow-Origin', origin);
  response.setHeader('Access-Control-Expose-Headers', EXPOSED.join(', '));
  response.setHeader('Vary', 'Origin');
}

/** An answer passed on may bring a Vary of its own, which would take the place of ours: then both go out. */
export function keepVary(response: ServerResponse, headers: string[]): void {
  if (response.hasHeader('access-control-allow-origin')) headers.push('Vary', 'Origin');
}
