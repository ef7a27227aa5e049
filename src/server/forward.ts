// The data path of one forwarded call, as one readable sequence: which credential → clean headers → body → send (token,
// replay, retry inside) → response → record. Each step is a module of its own; accept came before, the record is
// written when the exchange ends.

import type { ServerResponse } from 'node:http';
import type { CredentialConfig } from '../config/gateway-config.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { BodySink, UpstreamRequest, UpstreamResponse } from '../upstream/call.ts';
import { ClientClosedRequest } from '../upstream/errors.ts';
import { type RequestBody, readRequestBody } from '../upstream/request-body.ts';
import { chooseCredential, type ForwardCredential, namedCredential } from './authorize.ts';
import { captureRequestBody, captureResponseBody } from './body-logging.ts';
import { appendVary } from './cors.ts';
import type { Exchange } from './exchange.ts';
import { cleanRequestHeaders, cleanResponseHeaders } from './headers.ts';
import { rewriteLocation } from './location.ts';
import { drainRequest, internalError, respondWithError, sendContinue } from './responses.ts';
import { isChannelCall, requestUncompressed, rewriteChannels } from './websocket/channel-responses.ts';

/** Serves one forwarded exchange. Never throws, and hands its finished record to `finish`. */
export async function forward(exchange: Exchange, finish: (record: ExchangeRecord) => void): Promise<void> {
  const { record, runtime } = exchange;
  runtime.enter();
  let body: RequestBody | null = null;
  let answer: UpstreamResponse | null = null;
  try {
    // The router decodes before it compares, `/%61pi/v2/…` for one; what is forwarded must begin with the prefix
    // literally.
    if (exchange.route.kind !== 'forward')
      throw new GatewayError('gateway.route.not.found', 'no such route: calls go to /api/v2/… literally');
    const credential = authorize(exchange, exchange.route.target);
    record.credential = credential.config.name;
    const { headers, hadAuthorization, instances } = cleanRequestHeaders(
      exchange.request.rawHeaders,
      runtime.ownHeaders,
    );
    record.authorizationReplaced = hadAuthorization;
    markInstance(headers, instances, runtime.instanceId);
    if (runtime.bodies?.request) captureRequestBody(record, exchange.request.headers, runtime.bodies.maxBytes);
    const isForChannels = isChannelCall(record.method, exchange.route.target);
    if (isForChannels) requestUncompressed(headers);
    body = await readBody(exchange);
    answer = await runtime.upstream.send(upstreamRequest(exchange, credential, headers, body));
    if (isForChannels) answer = await rewriteChannels(exchange, credential.config, answer);
    await passAnswer(exchange, answer, credential.config);
    // Answered before its upload was over: what still comes must not be taken for the next request, nor hold it up.
    if (!exchange.request.complete) drainRequest(exchange.request);
  } catch (error) {
    answer?.abort(NOT_WANTED);
    try {
      answerFailure(exchange, error);
    } catch {
      // Whatever is wrong with the answer: one exchange must not end the process with it.
      exchange.response.destroy();
    }
  } finally {
    record.requestBytes = body?.receivedBytes ?? 0;
    body?.release();
    finish(record);
    runtime.leave();
  }
}

/** The credential that serves a call, if its client's rules permit it. */
function authorize(exchange: Exchange, target: string): ForwardCredential {
  const { caller, request, record, runtime } = exchange;
  runtime.assertRules(caller.client, {
    method: record.method,
    target,
    headers: request.headers,
    requestId: record.requestId,
  });
  return chooseCredential(caller, namedCredential(exchange), runtime.choice);
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
    record,
    connection,
  };
}

async function readBody(exchange: Exchange): Promise<RequestBody> {
  const { request, record, runtime } = exchange;
  const length = request.headers['content-length'];
  return readRequestBody(request, length === undefined ? null : Number(length), {
    maxBytes: runtime.config.server.maxBodyBytes,
    idleMs: runtime.config.timeouts.bodyMs,
    budget: runtime.budget,
    invite: () => sendContinue(request, exchange.response),
    observe: record.requestBody ? (chunk) => record.requestBody?.write(chunk) : null,
  });
}

/** A request that already carries our mark has come back to us: another round would carry it for ever. */
function markInstance(headers: string[], instances: string | null, instanceId: string | null): void {
  if (instanceId === null) return;
  const seen = instances === null ? [] : instances.split(',').map((id) => id.trim());
  if (seen.includes(instanceId) || seen.length >= 8) {
    throw new GatewayError(
      'gateway.loop',
      'this request has been here before: [gateway] host leads back to this gateway, point it elsewhere',
    );
  }
  headers.splice(headers.length - 2, 0, 'X-Gateway-Instance', [...seen, instanceId].join(', '));
}

/**
 * Sends the upstream's answer on, unbuffered; resolves when the caller has it whole, rejects when either side breaks
 * off.
 */
function passAnswer(exchange: Exchange, answer: UpstreamResponse, credential: CredentialConfig): Promise<void> {
  const { response, record, route, runtime } = exchange;
  const { bodies } = runtime;
  const prefix = route.credential === null ? '' : `/${route.credential}`;
  const toOurs = (location: string) => rewriteLocation(location, credential.hosts.api, runtime.redirectBase + prefix);
  const { headers, correlationId } = cleanResponseHeaders(answer.rawHeaders, answer.statusCode, toOurs);
  headers.push('X-Gateway-Request-Id', record.requestId);
  appendVary(response, headers);
  record.status = answer.statusCode;
  record.source = 'upstream';
  record.correlationId = correlationId;
  record.responseHeaders = headers;
  if (bodies?.response) captureResponseBody(record, headers, bodies.maxBytes);
  // The upstream's Date or none: a second clock would contradict it.
  response.sendDate = false;
  writeHead(response, answer, headers);
  const sink = new ResponseSink(response, record, answer);
  exchange.connection.onDisconnect = sink.abandon;
  answer.pipe(sink);
  // Node keeps a head back until there is something of the body, which may take its time: a stream of events opens
  // before the first of them.
  if (record.responseBytes === 0 && !response.writableEnded) response.flushHeaders();
  return sink.done;
}

function writeHead(response: ServerResponse, answer: UpstreamResponse, headers: string[]): void {
  try {
    response.writeHead(answer.statusCode, answer.statusText, headers);
  } catch {
    // Node is stricter than undici about a few octets in header values and reason phrases, and would keep the phrase
    // for our own answer.
    response.statusMessage = '';
    throw new GatewayError('gateway.upstream.invalid', 'the upstream answered with a header that is not valid HTTP');
  }
}

function answerFailure(exchange: Exchange, error: unknown): void {
  const { response, record, request } = exchange;
  if (error instanceof ClientClosedRequest || exchange.connection.disconnected) {
    response.destroy();
    return;
  }
  const failure = isGatewayError(error) ? error : internalError();
  record.errorCode = failure.code;
  if (response.headersSent) {
    // Half an answer must not look like a whole one: the connection goes with it.
    response.destroy();
    return;
  }
  record.source = 'gateway';
  // What is still being uploaded will not be read: say so by ending the connection after the answer.
  const isUploading =
    !request.complete && (request.headers['content-length'] ?? request.headers['transfer-encoding'] ?? '0') !== '0';
  respondWithError(exchange, failure, { close: isUploading || failure.code === 'gateway.draining' });
}

/** Why an answer is given up whose caller is gone or was answered otherwise. */
export const NOT_WANTED = new GatewayError('gateway.internal', 'the answer is not wanted any more');

/** `done` resolves when the caller's side has taken the whole answer, and rejects when either side breaks off. */
export class ResponseSink implements BodySink {
  readonly done: Promise<void>;
  readonly #response: ServerResponse;
  readonly #record: ExchangeRecord;
  readonly #answer: UpstreamResponse;
  /** Also while what was read ahead is written, chunk after chunk. */
  #isFull = false;
  #resolve!: () => void;
  #reject!: (error: Error) => void;

  constructor(response: ServerResponse, record: ExchangeRecord, answer: UpstreamResponse) {
    this.#response = response;
    this.#record = record;
    this.#answer = answer;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** The caller left: nothing more can be written. Bound, to be handed around. */
  readonly abandon = (): void => this.#reject(NOT_WANTED);

  write(chunk: Buffer): boolean {
    this.#record.responseBytes += chunk.length;
    this.#record.responseBody?.write(chunk);
    if (this.#response.write(chunk)) return true;
    if (!this.#isFull) {
      this.#isFull = true;
      this.#response.once('drain', this.#goOn);
    }
    return false;
  }

  readonly #goOn = (): void => {
    this.#isFull = false;
    this.#answer.resume();
  };

  end(): void {
    this.#response.end(this.#resolve);
  }

  fail(error: Error): void {
    this.#reject(error);
  }
}
