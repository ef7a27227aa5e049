// How the gateway answers by itself: the platform's error shape, JSON pages, and the headers that go on each. The only place that renders a GatewayError.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GatewayError } from '../errors.ts';
import { BROKEN } from './connection.ts';

/** The body of an error in the platform's own shape, with the request id as its context id. */
export function errorBody(error: GatewayError, requestId: string): string {
  return JSON.stringify({ message: error.message, code: error.code, status: error.statusCode, contextId: requestId, details: [], errors: [] });
}

/** What is forwarded. */
const FORWARDED = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Flat header list of an answer made here. */
export function errorHeaders(error: GatewayError, requestId: string, bodyBytes: number): string[] {
  const headers = ['Content-Type', 'application/json', 'Content-Length', String(bodyBytes), 'Cache-Control', 'no-store'];
  headers.push('X-Gateway-Request-Id', requestId, 'X-Gateway-Error', error.code);
  // Not below one second: SDKs read 0 as "at once".
  if (error.retryAfterMs !== undefined) headers.push('Retry-After', String(Math.max(1, Math.ceil(error.retryAfterMs / 1000))));
  // Basic is taken, and not asked for: a browser would ask a person for it, keep it, and send it along with whatever page asks.
  if (error.statusCode === 401) headers.push('WWW-Authenticate', 'Bearer realm="genesys-cloud-gateway"');
  if (error.statusCode === 405) headers.push('Allow', (error.allow ?? FORWARDED).join(', '));
  return headers;
}

/** Sends an error as the whole answer. Nothing happens when an answer was already begun. `close` also ends the connection. */
export function sendError(response: ServerResponse, error: GatewayError, requestId: string, options: { close?: boolean } = {}): void {
  if (response.headersSent || response.destroyed) return;
  const body = errorBody(error, requestId);
  const headers = errorHeaders(error, requestId, Buffer.byteLength(body));
  if (options.close) headers.push('Connection', 'close');
  response.writeHead(error.statusCode, headers);
  if (response.req.method !== 'HEAD') response.write(body);
  if (options.close && !response.req.complete) endWhenRead(response);
  else response.end();
}

/** How long a caller may go on with an upload that nobody wants any more. */
const LINGER_MS = 2000;

/**
 * Ends an answer, and its connection, once the caller has stopped sending. Closed at once, what still arrives would be answered by a reset,
 * which may overtake the answer (RFC 9112, section 9.6). Of the upload nothing is kept.
 */
function endWhenRead(response: ServerResponse): void {
  const { req: request } = response;
  const end = () => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(end, LINGER_MS);
  request.once('end', end).once('close', end).once(BROKEN, end);
  dropRest(request);
}

/** Tells a caller that waits for it (`Expect: 100-continue`) to send its body; called when the body is about to be read, and not before. */
export function inviteBody(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.expect !== undefined && request.httpVersionMinor === 1) response.writeContinue();
}

/** Reads and drops what is left of a request's body, also when somebody was reading it. */
export function dropRest(request: IncomingMessage): void {
  const drop = () => {
    while (request.read() !== null);
  };
  request.on('readable', drop);
  drop();
}

/** Sends a JSON document made here; never cached. */
export function sendJson(response: ServerResponse, statusCode: number, document: unknown, requestId: string): void {
  const body = `${JSON.stringify(document)}\n`;
  response.writeHead(statusCode, [
    ...['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body)), 'Cache-Control', 'no-store'],
    ...['X-Gateway-Request-Id', requestId],
  ]);
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
