// One attempt's response: undici's dispatch handler on one side, `UpstreamResponse` on the other. It holds the body
// back until someone wants it, and knows nothing of tokens, retries or the caller's HTTP.

import { STATUS_CODES } from 'node:http';
import { GatewayError } from '../errors.ts';
import type { AttemptTrace } from '../logging/call-trace.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { BodySink, UpstreamRequest, UpstreamResponse } from './call.ts';
import { timesOf } from './egress/connection-times.ts';
import { ClientClosedRequest, failureReason, TOKEN_ENDED, toGatewayError } from './errors.ts';
import type { ConnectionPermit } from './gate.ts';
import type { CarriedHandler, Carrier } from './pooled-connection.ts';
import type { RequestBody } from './request-body.ts';
import { beginsToWrite } from './tracing.ts';

/** A rest of up to this much is read to keep the connection; a longer one costs more than a new handshake. */
const DISCARD_LIMIT_BYTES = 64 * 1024;
/** Nor is one waited for longer: it takes a connection that others wait for. */
const DISCARD_MS = 1_000;
/**
 * A short response is usually whole before its head is looked at: this much is taken before the upstream is asked to
 * pause.
 */
const PENDING_LIMIT_BYTES = 64 * 1024;

/** Why a response that was given up is cut. */
const NOT_WANTED = new GatewayError('gateway.internal', 'the rest of an answer was not wanted');

/** Times that bound an attempt. */
export interface AttemptLimits {
  /** The wall clock, epoch ms. */
  readonly now: () => number;
  /** From the connection's being in hand (or the last octet sent) to the final response's head. */
  readonly headersMs: number;
  /** Told when undici begins to write a request. */
  readonly onSent?: ((record: ExchangeRecord) => void) | undefined;
  /** Longest pause of the caller while it reads the response; the upstream's own pauses are undici's bodyTimeout. */
  readonly stalledReaderMs: number;
}

/**
 * The handler in undici 7's first form (onConnect, onHeaders…), which hands out raw header buffers in the order and
 * casing of the wire and is what its HTTP/1 client calls without a wrapper. `head` settles once: with the response, or
 * with a GatewayError. Its permit is released when undici has let go of it: with onComplete or onError, one of which
 * ends every dispatch.
 */
export class AttemptHandler implements CarriedHandler, UpstreamResponse {
  readonly head: Promise<UpstreamResponse>;
  readonly #host: string;
  readonly #limits: AttemptLimits;
  readonly #body: Pick<RequestBody, 'isAwaitingCaller'>;
  readonly #record: ExchangeRecord;
  readonly #permit: ConnectionPermit;
  readonly #tokenEndsAt: number;
  readonly #trace: AttemptTrace | null;
  statusCode = 0;
  statusText = '';
  rawHeaders: readonly Buffer[] = [];
  /** True once undici began to write the request: from then on it may have reached the upstream. */
  wasSent = false;
  /** When that was; `performance.now()`. */
  writtenAt = 0;
  /** The connection, kept from before, ended without a response. */
  isStale = false;
  carrier: Carrier | null = null;
  #resolve!: (response: UpstreamResponse) => void;
  #reject!: (error: Error) => void;
  #abort: ((error?: Error) => void) | null = null;
  #resume: (() => void) | null = null;
  #sink: BodySink | null = null;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #isPaused = false;
  #isConnected = false;
  #isUploading: boolean;
  /** Paused for the sake of a reader. */
  #isStalled = false;
  #isComplete = false;
  #failure: Error | null = null;
  #peek: { limitBytes: number; resolve(): void; reject(error: Error): void } | null = null;
  #discarding = false;
  #timer: NodeJS.Timeout;
  #progressAt = performance.now();

  constructor(
    host: string,
    limits: AttemptLimits,
    { body, token, record }: Pick<UpstreamRequest, 'body' | 'token' | 'record'>,
    permit: ConnectionPermit,
    trace: AttemptTrace | null = null,
  ) {
    this.#host = host;
    this.#limits = limits;
    this.#body = body;
    this.#record = record;
    this.#permit = permit;
    this.#trace = trace;
    this.#isUploading = body.isStreaming;
    if (this.#isUploading) this.#tellHoldUp();
    this.#tokenEndsAt = token?.expiresAt ?? Number.POSITIVE_INFINITY;
    this.head = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#timer = setTimeout(this.#onHeadersDeadline, limits.headersMs);
  }

  /** `abort` for the caller's sake, bound, to be handed around. */
  readonly abandon = (): void => this.abort(new ClientClosedRequest({ wasSent: this.wasSent }));

  /** Ends the attempt, whatever it is doing: queued, connecting, sending or receiving. Safe to repeat. */
  abort(error: Error): void {
    if (this.#isComplete || this.#failure) return;
    this.#fail(error);
    this.#abort?.(error);
  }

  onConnect(abort: (error?: Error) => void): void {
    this.#abort = abort;
    this.#isConnected = true;
    this.writtenAt = performance.now();
    this.#progressAt = this.writtenAt;
    this.#permit.connected();
    // It may have waited for long, and the machine may have slept.
    if (this.#limits.now() >= this.#tokenEndsAt) this.#fail(TOKEN_ENDED);
    if (this.#failure) {
      abort(this.#failure);
      return;
    }
    this.wasSent = true;
    if (this.#trace !== null) {
      this.#trace.connected();
      beginsToWrite(this.#trace, this.carrier?.socket ?? null);
    }
    this.#limits.onSent?.(this.#record);
  }

  onBodySent(): void {
    this.#progressAt = performance.now();
  }

  onRequestSent(): void {
    this.#isUploading = false;
    this.#tellHoldUp();
    this.#trace?.sent();
  }

  onHeaders(statusCode: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean {
    // Informational responses concern the hop; they do not move the deadline, so that a flood of them ends.
    if (statusCode < 200) return true;
    clearTimeout(this.#timer);
    this.#trace?.answered(statusCode);
    this.statusCode = statusCode;
    this.statusText = reasonPhrase(statusCode, statusText);
    this.rawHeaders = rawHeaders;
    this.#resume = resume;
    this.#resolve(this);
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (this.#sink) {
      if (this.#sink.write(chunk)) return true;
      this.#pause();
      return false;
    }
    this.#pendingBytes += chunk.length;
    if (this.#discarding) {
      if (this.#pendingBytes > DISCARD_LIMIT_BYTES) this.abort(NOT_WANTED);
      return true;
    }
    this.#pending.push(chunk);
    if (this.#pendingBytes < (this.#peek?.limitBytes ?? PENDING_LIMIT_BYTES)) return true;
    this.#settlePeek();
    this.#isPaused = true;
    return false;
  }

  onComplete(): void {
    this.#isComplete = true;
    this.#settleStall();
    clearTimeout(this.#timer);
    this.#settlePeek();
    this.#trace?.ended();
    this.#permit.release();
    this.#sink?.end();
  }

  onError(error: Error): void {
    // A 304 names the length of the body that it leaves out (RFC 9110, section 8.6), which undici takes for a body that
    // was cut.
    const isBodiless = this.statusCode === 304 || this.statusCode === 204;
    if (isBodiless && !this.#failure && (error as { code?: string }).code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') {
      this.onComplete();
      return;
    }
    // undici refuses a request it would not write before it looks for a connection: that says nothing about the way to
    // the upstream.
    const isRefused = (error as { code?: string }).code === 'UND_ERR_INVALID_ARG';
    if (this.wasSent && this.statusCode === 0 && !this.#failure && this.carrier?.isReused && isEnd(error)) {
      this.isStale = true;
      this.carrier.suspect();
    }
    if (!this.#isConnected && !isRefused) this.#permit.failed(toGatewayError(error, this.#host));
    const dial = this.#isConnected ? undefined : timesOf(error);
    if (dial !== undefined) this.#trace?.dialled(dial);
    this.#permit.release();
    this.#fail(error);
  }

  pipe(sink: BodySink): void {
    this.#sink = sink;
    const pending = this.#pending;
    this.#pending = [];
    const last = this.#isComplete ? pending.pop() : undefined;
    let wantsMore = true;
    for (const chunk of pending) wantsMore = sink.write(chunk) && wantsMore;
    if (this.#isComplete) sink.end(last);
    else if (this.#failure) sink.fail(this.#failure);
    else if (!wantsMore) this.#pause();
    else this.resume();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#settleStall();
    clearTimeout(this.#timer);
    this.#resume?.();
  }

  async peek(limitBytes: number): Promise<{ bytes: Buffer; complete: boolean }> {
    if (!this.#isComplete && !this.#failure && this.#pendingBytes < limitBytes) {
      await new Promise<void>((resolve, reject) => {
        this.#peek = { limitBytes, resolve, reject };
        this.resume();
      });
    }
    if (this.#failure) throw this.#failure;
    return { bytes: Buffer.concat(this.#pending).subarray(0, limitBytes), complete: this.#isComplete };
  }

  discard(): void {
    this.#discarding = true;
    this.#pending = [];
    this.resume();
    if (this.#isComplete || this.#failure) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.abort(NOT_WANTED), DISCARD_MS);
    this.#timer.unref();
  }

  /** The body is held back for the sake of a reader that does not read: not for ever. */
  #pause(): void {
    this.#isPaused = true;
    this.#isStalled = true;
    this.#trace?.stalled(true);
    this.#tellHoldUp();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.abort(new GatewayError('gateway.upstream.timeout', 'the caller stopped reading the answer'));
    }, this.#limits.stalledReaderMs);
    this.#timer.unref();
  }

  #settleStall(): void {
    this.#isStalled = false;
    this.#trace?.stalled(false);
    this.#tellHoldUp();
  }

  /** What its own caller holds up takes no connection from others. */
  #tellHoldUp(): void {
    this.#permit.isHeldUp = this.#isUploading || this.#isStalled;
  }

  #settlePeek(): void {
    this.#peek?.resolve();
    this.#peek = null;
  }

  #onHeadersDeadline = (): void => {
    // A caller that stalls has a deadline of its own, where its body is read, and is told so in other words. A dial has
    // its own too (timeouts.connect).
    if (this.#body.isAwaitingCaller || !this.#isConnected) this.#progressAt = performance.now();
    const leftMs = this.#progressAt + this.#limits.headersMs - performance.now();
    if (leftMs > 1) {
      this.#timer = setTimeout(this.#onHeadersDeadline, leftMs);
      return;
    }
    const seconds = this.#limits.headersMs / 1000;
    this.abort(
      new GatewayError(
        'gateway.upstream.timeout',
        `${this.#host} did not answer within ${seconds} s (timeouts.headers): try again`,
      ),
    );
  };

  #fail(error: Error): void {
    if (this.#isComplete || this.#failure) return;
    this.#settleStall();
    clearTimeout(this.#timer);
    const failure = toGatewayError(error, this.#host);
    this.#failure = failure;
    this.#trace?.ended(failureReason(failure));
    if (this.statusCode === 0) this.#reject(failure);
    this.#peek?.reject(failure);
    this.#peek = null;
    this.#sink?.fail(failure);
  }
}

/** Codes of a connection that ended; our name for a reset is one, of sockets that the egress has opened. */
const ENDS = new Set(['GCG_RESET', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

/** Whether the connection ended: undici says so of a response that nothing asked for as well. */
function isEnd(error: Error): boolean {
  return ENDS.has((error as { code?: string }).code ?? '') && !error.message.startsWith('bad ');
}

/**
 * The octets of the reason phrase, one a character. undici has read them as UTF-8; where they were none they are lost,
 * and the usual phrase stands in.
 */
function reasonPhrase(statusCode: number, decoded: string): string {
  if (/^[\x00-\x7f]*$/.test(decoded)) return decoded;
  return decoded.includes('\ufffd')
    ? (STATUS_CODES[statusCode] ?? '')
    : Buffer.from(decoded, 'utf8').toString('latin1');
}
