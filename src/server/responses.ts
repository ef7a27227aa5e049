// The gateway's own responses: errors in the platform's shape or in OAuth's, JSON documents, and what is written on a
// bare socket. The only place that renders an error.

import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { TokenFailure } from '../auth/credentials/token-source.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import { type ExchangeRecord, noteError } from '../logging/exchange-record.ts';
import { callPageHeader, type TellingExchange } from './call-page.ts';
import { REQUEST_ABORTED, respondLast } from './connection.ts';
import { TOKEN_PATH } from './own-routes.ts';
import { renderErrorPage } from './pages/error-page.ts';
import { sendPage } from './pages/page.ts';
import { errorFormatOf, type Route } from './request-target.ts';

/** The body of an error in the platform's own shape, with the request id as its context id. */
export function errorBody(error: GatewayError, requestId: string): string {
  return JSON.stringify({
    message: error.message,
    code: error.code,
    status: error.statusCode,
    contextId: requestId,
    details: [],
    errors: [],
  });
}

/** The methods that are forwarded. */
const FORWARDED = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Flat header list of an error response. */
export function errorHeaders(error: GatewayError, requestId: string, bodyBytes: number): string[] {
  const headers = ['Content-Type', 'application/json', 'Content-Length', String(bodyBytes)];
  headers.push('Cache-Control', 'no-store', 'X-Gateway-Request-Id', requestId, ...errorMarks(error));
  return headers;
}

/** What marks an error of ours, whatever its body is. */
function errorMarks(error: GatewayError): string[] {
  const headers = ['X-Gateway-Error', error.code];
  // Not below one second: SDKs read 0 as "at once".
  if (error.retryAfterMs !== undefined)
    headers.push('Retry-After', String(Math.max(1, Math.ceil(error.retryAfterMs / 1000))));
  // Basic is taken, and not asked for: a browser would ask a person for it, keep it, and send it along with whatever
  // page asks.
  if (error.statusCode === 401) headers.push('WWW-Authenticate', 'Bearer realm="genesys-cloud-gateway"');
  if (error.statusCode === 405) headers.push('Allow', (error.allow ?? FORWARDED).join(', '));
  return headers;
}

/** What an error is the response to. `route` is null while it is not known. */
export interface FailedExchange extends TellingExchange {
  readonly record: ExchangeRecord;
  readonly route: Route | null;
}

/**
 * Sends an error as the whole response, in the shape of its route, and notes it in the record. What is no error of ours
 * is told as an internal one. Nothing is sent where a response was already begun. `close` also ends the connection. A
 * browser that opens an address for people gets a page.
 */
export function respondWithError(exchange: FailedExchange, thrown: unknown, { close = false } = {}): void {
  const { response, record, route, role } = exchange;
  const isOAuth = route?.kind === 'local' && errorFormatOf(route) === 'oauth';
  const refusal = isOAuth ? toOAuthRefusal(thrown) : null;
  const error = refusal?.error ?? (isGatewayError(thrown) ? thrown : internalError());
  record.status = error.statusCode;
  noteError(record, error);
  if (response.headersSent || response.destroyed) return;
  const path = !close && response.req.method === 'GET' && route?.kind === 'local' ? route.path : null;
  if (path !== null && isForPeople(path) && wantsPage(response.req)) {
    const statusHref = role?.admin && path !== '/' ? '../'.repeat(path.split('/').length - 2) : null;
    const page = renderErrorPage(error, record.requestId, statusHref);
    const marks = [...errorMarks(error), ...callPageHeader(exchange)];
    sendPage(response, error.statusCode, page, record.requestId, marks);
    return;
  }
  const body = refusal === null ? errorBody(error, record.requestId) : oauthErrorBody(refusal);
  const headers = errorHeaders(error, record.requestId, Buffer.byteLength(body));
  headers.push(...callPageHeader(exchange));
  if (isOAuth) headers.push('Pragma', 'no-cache');
  if (close) headers.push('Connection', 'close');
  response.writeHead(error.statusCode, headers);
  if (response.req.method !== 'HEAD') {
    response.write(body);
    record.responseBytes = Buffer.byteLength(body);
  }
  if (close && !response.req.complete) lingeringClose(response);
  else response.end();
}

/** Whether an address is one that people open: the status page, and what it leads to. */
function isForPeople(path: string): boolean {
  return path === '/' || path.startsWith('/-/');
}

/** Whether the caller asks for HTML by name, as browsers do where a person opens an address, and programs do not. */
function wantsPage({ headers }: IncomingMessage): boolean {
  return /(?:^|,)\s*text\/html\s*(?:[;,]|$)/i.test(headers.accept ?? '');
}

/** An error of which nothing more can be told. */
export function internalError(): GatewayError {
  return new GatewayError('gateway.internal', 'the gateway failed: please report it with the request id');
}

/** For the record of a connection that is closed without a response. */
export function tooManyGuesses(): GatewayError {
  return new GatewayError(
    'gateway.client.unauthenticated',
    'too many wrong secrets came from this address at a time: the connection was closed',
  );
}

/**
 * 404, with where calls go, and where people look: on a listener with admin pages. Who looked for the token endpoint and
 * missed it, mostly by a slash, is told where that is.
 */
export function notFound(hasStatusPage: boolean, route: Route | null = null): GatewayError {
  const page = hasStatusPage ? ', and the status page is /' : '';
  const where =
    route?.kind === 'local' && errorFormatOf(route) === 'oauth'
      ? `logins go to ${TOKEN_PATH}, or to /NAME${TOKEN_PATH} for a credential; does the base path end with a slash?`
      : `calls go to /api/v2/…, health to /livez and /readyz${page}`;
  return new GatewayError('gateway.route.not.found', `no such route: ${where}`);
}

/** The error for calls that come while the gateway drains. */
export function draining(): GatewayError {
  return new GatewayError('gateway.draining', 'the gateway is shutting down: try again');
}

/** How long a caller may go on with an upload that nobody wants any more. */
const LINGER_MS = 2000;

/**
 * Ends a response, and its connection, once the caller has stopped sending. Closed at once, what still arrives would be
 * met by a reset, which may overtake the response (RFC 9112, section 9.6). Of the upload nothing is kept.
 */
function lingeringClose(response: ServerResponse): void {
  const { req: request } = response;
  const end = () => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(end, LINGER_MS);
  request.once('end', end).once('close', end).once(REQUEST_ABORTED, end);
  drainRequest(request);
}

/**
 * Tells a caller that waits for it (`Expect: 100-continue`) to send its body; called when the body is about to be read,
 * and not before.
 */
export function sendContinue(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.expect !== undefined && request.httpVersionMinor === 1) response.writeContinue();
}

/** Reads and drops what is left of a request's body, also when somebody was reading it. */
export function drainRequest(request: IncomingMessage): void {
  const drop = () => {
    while (request.read() !== null);
  };
  request.on('readable', drop);
  drop();
}

/** Sends a JSON document made here, and notes its size in the record; never cached. */
export function sendJson(
  response: ServerResponse,
  statusCode: number,
  document: unknown,
  record: Pick<ExchangeRecord, 'requestId' | 'responseBytes'>,
): void {
  const body = `${JSON.stringify(document)}\n`;
  const bytes = Buffer.byteLength(body);
  response.writeHead(statusCode, [
    'Content-Type',
    'application/json',
    'Content-Length',
    String(bytes),
    'Cache-Control',
    'no-store',
    'X-Gateway-Request-Id',
    record.requestId,
  ]);
  if (response.req.method === 'HEAD') {
    response.end();
    return;
  }
  record.responseBytes = bytes;
  response.end(body);
}

/** An error in OAuth's words; `description` is safe to show. Carries the gateway's own code beside it. */
export class OAuthRefusal extends Error {
  override readonly name = 'OAuthRefusal';
  readonly oauthError: string;
  readonly error: GatewayError;

  constructor(oauthError: string, error: GatewayError) {
    super(error.message);
    this.oauthError = oauthError;
    this.error = error;
  }
}

/** A refusal with HTTP 400, as the platform has it. */
export function refuse(oauthError: string, message: string): OAuthRefusal {
  return new OAuthRefusal(oauthError, new GatewayError('gateway.request.invalid', message));
}

/** Any failure in OAuth's words. Of the platform's own refusals only the error code is kept; the text is ours. */
export function toOAuthRefusal(thrown: unknown): OAuthRefusal {
  if (thrown instanceof OAuthRefusal) return thrown;
  if (thrown instanceof TokenFailure) {
    const { kind, message, oauthError, retryAfterMs, error } = thrown;
    if (kind !== 'transient')
      return refuse(oauthError === undefined || oauthError === 'other' ? 'invalid_request' : oauthError, message);
    return new OAuthRefusal('temporarily_unavailable', new GatewayError(error.code, message, { retryAfterMs }));
  }
  if (!isGatewayError(thrown))
    return new OAuthRefusal('server_error', new GatewayError('gateway.internal', 'the gateway failed'));
  return new OAuthRefusal(oauthErrorOf(thrown), thrown);
}

function oauthErrorOf({ code, statusCode }: GatewayError): string {
  if (code === 'gateway.client.unauthenticated') return 'invalid_client';
  if (code === 'gateway.client.forbidden') return 'unauthorized_client';
  if (code === 'gateway.session.ended') return 'invalid_grant';
  if (code === 'gateway.rate.limited') return 'temporarily_unavailable';
  return statusCode < 500 ? 'invalid_request' : statusCode === 500 ? 'server_error' : 'temporarily_unavailable';
}

function oauthErrorBody({ oauthError, error }: OAuthRefusal): string {
  return JSON.stringify({ error: oauthError, description: error.message, error_description: error.message });
}

/** How long a peer may go on sending after its connection was given up. */
const SOCKET_LINGER_MS = 1000;

/** Writes an error as a whole HTTP response and ends the socket. `extra` are further header lines, flat. */
export function endWithError(
  socket: Duplex,
  error: GatewayError,
  requestId: string = randomUUID(),
  extra: readonly string[] = [],
): void {
  if (socket.writable) endWith(socket, errorResponse(error, requestId, extra));
  else socket.destroy();
}

/** A whole HTTP response that tells an error and ends the connection. */
function errorResponse(error: GatewayError, requestId: string, extra: readonly string[] = []): Buffer {
  const body = errorBody(error, requestId);
  const headers = [...errorHeaders(error, requestId, Buffer.byteLength(body)), ...extra];
  let text = `HTTP/1.1 ${error.statusCode} ${STATUS_CODES[error.statusCode] ?? 'Error'}\r\nConnection: close\r\n`;
  for (let i = 0; i + 1 < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return Buffer.from(`${text}\r\n${body}`);
}

/** Ends a socket with a whole response; a peer that does not close its side then is cut off. */
export function endWith(socket: Duplex, response: Buffer): void {
  socket.end(response);
  // Closed at once, what the peer still sends would be met by a reset, which may overtake the response (RFC 9112,
  // section 9.6).
  const cut = setTimeout(() => socket.destroy(), SOCKET_LINGER_MS);
  socket.once('close', () => clearTimeout(cut));
}

/** Refuses an upgrade or a CONNECT. */
export function refuseUpgrade(socket: Duplex, statusCode: number, what: string): void {
  socket.on('error', () => {
    // The peer may be gone already; there is nobody left to tell.
  });
  respondLast(socket, () => endWithError(socket, new GatewayError('gateway.request.invalid', what, { statusCode })));
}

/** Responds to what node:http calls a `clientError`: its parser refused the request, or headers came too slowly. */
export function respondToBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [statusCode, what] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'the request header is larger than 64 KiB']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'the request header did not come in time (server.header_timeout)']
        : [400, 'the request is not valid HTTP/1.1'];
  respondLast(socket, () => endWithError(socket, new GatewayError('gateway.request.invalid', what, { statusCode })));
}

/**
 * Responds to a TLS handshake at a plain listener. Most TLS clients only say that it is no TLS; some (Go's) say that it
 * is HTTP.
 */
export function respondToTlsHello(socket: Duplex): void {
  const what = 'this address speaks plain http, and the request came over TLS: write http://';
  respondLast(socket, () => endWithError(socket, new GatewayError('gateway.request.invalid', what)));
}

/**
 * Writes, in clear, the response to a plain request at a TLS listener. `socket` is the one beneath the TLS that failed;
 * whoever calls this ends it.
 */
export function respondToPlainRequest(socket: Duplex): void {
  const what = 'this address speaks TLS, and the request came as plain http: write https://';
  socket.on('error', () => {
    // The peer may be gone already; there is nobody left to tell.
  });
  socket.write(errorResponse(new GatewayError('gateway.request.invalid', what), randomUUID()));
}
