// The data path of one forwarded call, as one readable sequence: rules → credential → clean headers → body → send
// (retry, rate limit, token and replay inside) → response → record. Each step is a module of its own; accept came before, the record is
// written when the exchange ends.

import type { ServerResponse } from 'node:http';
import type { TokenPool } from '../auth/credentials/token-pool.ts';
import type { CredentialConfig } from '../config/gateway-config.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import {
  captureFailure,
  captureRequestBody,
  captureResponseBody,
  requestBodyObserver,
} from '../logging/body-capture.ts';
import { noteError } from '../logging/exchange-record.ts';
import { placeTraceparent } from '../tracing/trace-context.ts';
import type { UpstreamRequest, UpstreamResponse } from '../upstream/call.ts';
import { ClientClosedRequest } from '../upstream/errors.ts';
import { headerValue, retryAfterMs } from '../upstream/platform-error.ts';
import { hasNoBody, NO_BODY, type RequestBody, readRequestBody } from '../upstream/request-body.ts';
import { chooseCredential, type ForwardCredential, namedCredential } from './authorize.ts';
import { callPageHeader } from './call-page.ts';
import { beginSpans, type Exchange, finishExchange } from './exchange.ts';
import { explainRefusal, foresee, mayNeedExplaining } from './explain-refusal.ts';
import { cleanRequestHeaders, cleanResponseHeaders, rewriteLocation } from './headers.ts';
import { NOT_WANTED, ResponseSink } from './response-sink.ts';
import { drainRequest, internalError, respondWithError, sendContinue } from './responses.ts';
import { isChannelCall, requestUncompressed, rewriteChannels } from './websocket/channel-responses.ts';

/** Serves one forwarded exchange and finishes it. Never throws. */
export async function forward(exchange: Exchange): Promise<void> {
  const { record, runtime } = exchange;
  runtime.enter();
  const { inspector } = exchange.gateway;
  if (inspector !== null) {
    inspector.begun(exchange.connection);
    noteSender(exchange);
  }
  beginSpans(exchange);
  let body: RequestBody | null = null;
  let upstreamResponse: UpstreamResponse | null = null;
  try {
    // Never otherwise: accept answers 404 where the router would decode a path into this mount (`/%61pi/v2/…`).
    if (exchange.route.kind !== 'forward')
      throw new GatewayError('gateway.route.not.found', 'no such route: calls go to /api/v2/… literally');
    const credential = authorize(exchange, exchange.route.target);
    record.credential = credential.config.name;
    runtime.audit?.assertWritable(record.method);
    if (exchange.caller.client !== null) runtime.budgets.reserve(exchange.caller.client, record);
    const { headers, hadAuthorization, instances } = cleanRequestHeaders(
      exchange.request.rawHeaders,
      runtime.ownHeaders,
    );
    record.authorizationReplaced = hadAuthorization;
    markInstance(headers, instances, runtime.instanceId);
    if (record.trace !== null) inspector?.capture.begun(record);
    captureRequestBody(record, exchange.request.headers, runtime.bodies);
    const isForChannels = isChannelCall(record.method, exchange.route.target);
    if (isForChannels) requestUncompressed(headers);
    foresee(exchange, credential);
    if (record.trace !== null && record.trace.span !== null) {
      const { span } = record.trace;
      span.upstreamOrigin = credential.config.hosts.api.origin;
      span.traceparentAt = placeTraceparent(headers, span.parentId === null);
    }
    const read = readBody(exchange);
    body = read instanceof Promise ? await read : read;
    record.trace?.handOver();
    upstreamResponse = await runtime.upstream.send(upstreamRequest(exchange, credential, headers, body));
    if (isForChannels) upstreamResponse = await rewriteChannels(exchange, credential.config, upstreamResponse);
    if (mayNeedExplaining(record, upstreamResponse)) await explainRefusal(exchange, credential, upstreamResponse);
    const audited = auditCall(exchange, upstreamResponse);
    if (audited !== null) await audited;
    await passResponse(exchange, upstreamResponse, credential.config);
    // Responded to before its upload was over: what still comes must not be taken for the next request, nor hold it up.
    if (!exchange.request.complete) drainRequest(exchange.request);
  } catch (error) {
    upstreamResponse?.abort(NOT_WANTED);
    try {
      await respondToFailure(exchange, error);
    } catch {
      // Whatever is wrong with the response: one exchange must not end the process with it.
      exchange.response.destroy();
    }
  } finally {
    record.requestBytes = body?.receivedBytes ?? 0;
    body?.release();
    runtime.budgets.release(record);
    finishExchange(exchange);
    runtime.leave();
  }
}

/** Notes who would make the call if it were made again. Objects that are there anyway, and outlive the call. */
function noteSender({ record, caller, role }: Exchange): void {
  record.sender = caller.handle ?? caller.session?.owner ?? caller;
  record.listener = role;
}

/** The credential that serves a call, if its client's rules permit it. */
function authorize(exchange: Exchange, target: string): ForwardCredential {
  const { caller, request, record, runtime } = exchange;
  runtime.rules.assertPermitted(caller.client, {
    method: record.method,
    target,
    headers: request.headers,
    record,
    operation: record.operation,
  });
  return chooseCredential(caller, namedCredential(exchange), runtime);
}

function upstreamRequest(
  exchange: Exchange,
  credential: ForwardCredential,
  headers: string[],
  body: RequestBody,
): UpstreamRequest {
  const { route, record, connection } = exchange;
  if (route.kind !== 'forward') throw new GatewayError('gateway.internal', 'a local route reached the forwarding path');
  return {
    method: record.method,
    base: credential.config.hosts.api,
    target: route.target,
    headers,
    body,
    limitKey: credential.limitKey ?? credential.config.name,
    source: credential.source,
    pool: poolFor(record.route, credential),
    place: 0,
    choice: null,
    record,
    connection,
  };
}

/**
 * The tokens that a call of a route may be sent with; null where there is one, or where it concerns the token itself:
 * channels live as long as the token that made them, so one token must have made them all.
 */
function poolFor(route: string, { pool = null }: ForwardCredential): TokenPool | null {
  if (pool === null) return null;
  return route.startsWith('/api/v2/notifications/') || route.startsWith('/api/v2/tokens/') ? null : pool;
}

function readBody(exchange: Exchange): RequestBody | Promise<RequestBody> {
  const { request, record, runtime } = exchange;
  if (hasNoBody(request)) return NO_BODY;
  const length = request.headers['content-length'];
  return readRequestBody(request, length === undefined ? null : Number(length), {
    maxBytes: runtime.config.server.maxBodyBytes,
    idleMs: runtime.config.timeouts.bodyMs,
    budget: runtime.budget,
    invite: () => sendContinue(request, exchange.response),
    observe: requestBodyObserver(record),
  });
}

/**
 * Adds our mark to the headers. A request that carries it already has come back: another round would repeat for ever.
 */
function markInstance(headers: string[], instances: string | null, instanceId: string | null): void {
  if (instanceId === null) return;
  const seen = instances === null ? [] : instances.split(',').map((id) => id.trim());
  if (seen.includes(instanceId) || seen.length >= 8) {
    throw new GatewayError(
      'gateway.loop',
      'this request has been here before: [gateway] host leads back to this gateway, point it elsewhere',
    );
  }
  // In the place of the last pair, which is Authorization's and moves on.
  headers[headers.length - 2] = 'X-Gateway-Instance';
  headers[headers.length - 1] = instances === null ? instanceId : [...seen, instanceId].join(', ');
  headers.push('Authorization', '');
}

/**
 * Passes the upstream's response on, unbuffered; resolves when the caller has it whole, rejects when either side breaks
 * off.
 */
function passResponse(
  exchange: Exchange,
  upstreamResponse: UpstreamResponse,
  credential: CredentialConfig,
): Promise<void> {
  const { response, record, route, runtime } = exchange;
  const prefix = route.credential === null ? '' : `/${route.credential}`;
  const toOurs = (location: string) => rewriteLocation(location, credential.hosts.api, runtime.redirectBase + prefix);
  const { rawHeaders, statusCode } = upstreamResponse;
  const { headers, correlationId } = cleanResponseHeaders(rawHeaders, statusCode, toOurs);
  headers.push('X-Gateway-Request-Id', record.requestId);
  if (record.explanation !== null && exchange.request.headers['x-gateway-explain'] === '1')
    headers.push('X-Gateway-Explain', record.explanation);
  if (statusCode >= 400) headers.push(...callPageHeader(exchange));
  appendVary(response, headers);
  record.status = statusCode;
  record.source = 'upstream';
  record.correlationId = correlationId;
  if (statusCode === 429 || statusCode === 503)
    record.retryAfterMs = retryAfterMs(upstreamResponse, runtime.clock) ?? null;
  record.responseHeaders = headers;
  captureResponseBody(record, headers, runtime.bodies);
  if (statusCode >= 400 && keepsWords(exchange)) captureFailure(record, headers);
  // The upstream's Date or none: a second clock would contradict it.
  response.sendDate = false;
  writeHead(response, upstreamResponse, headers);
  const sink = new ResponseSink(response, record, upstreamResponse);
  exchange.connection.onDisconnect = sink.abandon;
  upstreamResponse.pipe(sink);
  // Node keeps a head back until there is something of the body, which may take its time: a stream of events opens
  // before the first of them.
  if (record.responseBytes === 0 && !response.writableEnded) response.flushHeaders();
  return sink.done;
}

/** Whether the platform's own words for a failure are kept. */
function keepsWords({ gateway, runtime }: Exchange): boolean {
  return gateway.inspector !== null && runtime.config.inspector.capture === 'errors';
}

/** Adds our Vary to the headers of a response that is passed on: a Vary of its own would take the place of ours. */
function appendVary(response: ServerResponse, headers: string[]): void {
  if (response.hasHeader('access-control-allow-origin')) headers.push('Vary', 'Origin');
}

function writeHead(response: ServerResponse, { statusCode, statusText }: UpstreamResponse, headers: string[]): void {
  try {
    response.writeHead(statusCode, statusText, headers);
  } catch {
    // Node is stricter than undici about a few octets in header values and reason phrases, and would keep the phrase
    // for our own response.
    response.statusMessage = '';
    throw new GatewayError('gateway.upstream.invalid', 'the upstream answered with a header that is not valid HTTP');
  }
}

/**
 * Writes the line of a call that was sent into the audit trail, once. Null where nobody has to wait for the disk; else
 * the response may go out when it resolves.
 */
function auditCall(exchange: Exchange, response: UpstreamResponse): Promise<void> | null {
  const { record, runtime } = exchange;
  if (runtime.audit === null || !runtime.audit.covers(record.method)) return null;
  record.correlationId = headerValue(response, 'inin-correlation-id');
  const peer = runtime.trustedProxies.peerOf(exchange.request);
  const written = runtime.audit.write(record, response.statusCode, peer);
  return written === null ? null : written.then(() => assertConnected(exchange));
}

/** While a response is held back, nothing else notices that its caller leaves. */
function assertConnected({ connection }: Exchange): void {
  if (connection.disconnected) throw new ClientClosedRequest();
}

/** The error that a caller is told, after the line of its call was written where it was sent. */
async function auditFailure(exchange: Exchange, failure: GatewayError | null): Promise<GatewayError | null> {
  const { record, runtime, request } = exchange;
  try {
    await runtime.audit?.write(record, failure?.statusCode ?? 0, runtime.trustedProxies.peerOf(request));
    return failure;
  } catch (error) {
    return failure === null || !isGatewayError(error) ? failure : error;
  }
}

async function respondToFailure(exchange: Exchange, error: unknown): Promise<void> {
  const { response, record, request, connection } = exchange;
  const hasLeft = error instanceof ClientClosedRequest || connection.disconnected;
  const known = hasLeft ? null : isGatewayError(error) ? error : internalError();
  const failure = exchange.runtime.audit === null ? known : await auditFailure(exchange, known);
  if (failure === null || connection.disconnected) {
    response.destroy();
    return;
  }
  noteError(record, failure);
  if (response.headersSent) {
    // Half a response must not look like a whole one: the connection goes with it.
    response.destroy();
    return;
  }
  record.source = 'gateway';
  // What is still being uploaded will not be read: say so by ending the connection after the response.
  const isUploading =
    !request.complete && (request.headers['content-length'] ?? request.headers['transfer-encoding'] ?? '0') !== '0';
  respondWithError(exchange, failure, { close: isUploading || failure.code === 'gateway.draining' });
}
