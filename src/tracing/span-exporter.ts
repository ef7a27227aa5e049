// Sends finished spans to a collector, in batches and in the background: OTLP over HTTP, as protobuf. What waits is
// bounded; what cannot be delivered is counted and dropped, and nobody waits for it.

import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { type Clock, type Timer, withDeadline } from '../clock.ts';
import { GatewayError, isGatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import { parseRetryAfter } from '../retry-after.ts';
import type { SpanPost } from './call-tracer.ts';
import { type CollectorHeader, collectorRequest } from './collector-request.ts';
import type { ReadableSpan } from './span.ts';
import type { SpanCounts } from './span-counts.ts';

/** What an exporter is made with. `random` is 0 (inclusive) to 1 (exclusive). */
export interface SpanExporterDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly post: SpanPost;
  readonly counts: SpanCounts;
}

/** The settings of one exporter. */
export interface ExporterSettings extends CollectorHeader {
  readonly endpoint: string;
  readonly timeoutMs: number;
}

/** So many spans wait at most, beside those that are being sent. */
const MOST_WAITING = 2_048;
/** Of one request. Its octets are made at once, while calls wait: 256 spans take about a millisecond. */
const BATCH = 256;
/** A span waits so long for others to go with it. */
const GATHER_MS = 5_000;
/** Statuses after which the same request may be sent again; of any other one the spans are lost (OTLP/HTTP, "Failures"). */
const RETRIED = new Set([429, 502, 503, 504]);
const MOST_TRIES = 5;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/** Failures that follow one another are told so often. */
const TELL_EVERY_MS = 5 * 60_000;

/** How one request ended. */
type Outcome =
  | { readonly kind: 'delivered'; readonly rejected: number }
  | { readonly kind: 'again'; readonly why: string; readonly retryAfterMs: number | undefined }
  | { readonly kind: 'refused'; readonly why: string };

/** The exporter of one endpoint. `close` ends it; a span that comes later is dropped. */
export class SpanExporter {
  readonly #settings: ExporterSettings;
  readonly #deps: SpanExporterDeps;
  #waiting: ReadableSpan[] = [];
  /** Runs the next round, and the wait that it was set for; infinite without one. */
  #timer: Timer | null = null;
  #plannedMs = Number.POSITIVE_INFINITY;
  #round: Promise<void> | null = null;
  /** Ends the pause before the next try. */
  #endPause: (() => void) | null = null;
  #failuresInRow = 0;
  #toldAt = Number.NEGATIVE_INFINITY;
  /** The log was told of a failure, and of no delivery since. */
  #isFailureTold = false;
  /** Monotonic ms; set by `close`. */
  #endsAt: number | null = null;

  constructor(settings: ExporterSettings, deps: SpanExporterDeps) {
    this.#settings = settings;
    this.#deps = deps;
  }

  /** Spans that wait, those that are being sent left out. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes the spans of a call, all or none of them: part of a call would look like another one. Never throws. */
  add(spans: readonly ReadableSpan[]): void {
    const { counts } = this.#deps;
    if (this.#endsAt !== null) counts.dropped('ended', spans.length);
    else if (this.#waiting.length + spans.length > MOST_WAITING) counts.dropped('queue_full', spans.length);
    else {
      this.#waiting.push(...spans);
      if (this.#waiting.length >= BATCH) this.#wake(0);
      else this.#wake(GATHER_MS);
    }
  }

  /** Sends what waits, within `withinMs`; what is left then is dropped. Resolves when nothing is under way any more. */
  async close(withinMs: number): Promise<void> {
    const { clock, counts } = this.#deps;
    this.#endsAt ??= clock.monotonic() + withinMs;
    this.#timer?.cancel();
    this.#timer = null;
    this.#endPause?.();
    const late = () => new GatewayError('gateway.draining', 'spans are left');
    await withDeadline(clock, withinMs, late, this.#begin()).catch(() => undefined);
    counts.dropped('ended', this.#waiting.length);
    this.#waiting = [];
  }

  /** A round begins after `delayMs`, unless one runs, or one that is planned begins sooner. */
  #wake(delayMs: number): void {
    if (this.#round !== null || delayMs >= this.#plannedMs) return;
    this.#timer?.cancel();
    this.#plannedMs = delayMs;
    this.#timer = this.#deps.clock.after(delayMs, () => {
      this.#timer = null;
      this.#plannedMs = Number.POSITIVE_INFINITY;
      void this.#begin();
    });
  }

  /** The round that runs, or a new one. */
  #begin(): Promise<void> {
    this.#round ??= this.#deliverAll().finally(() => {
      this.#round = null;
      if (this.#waiting.length > 0 && this.#endsAt === null) this.#wake(GATHER_MS);
    });
    return this.#round;
  }

  /** Sends batch after batch, as long as there is a whole one, or the end has come. Never rejects. */
  async #deliverAll(): Promise<void> {
    do {
      const batch = this.#waiting.splice(0, BATCH);
      if (batch.length > 0) await this.#deliver(batch);
    } while (
      this.#waiting.length >= BATCH ||
      (this.#endsAt !== null && this.#waiting.length > 0 && this.#leftMs() > 0)
    );
  }

  async #deliver(batch: readonly ReadableSpan[]): Promise<void> {
    const { counts } = this.#deps;
    let body: Uint8Array;
    try {
      body = ProtobufTraceSerializer.serializeRequest([...batch]) ?? new Uint8Array();
    } catch {
      // It is made of our own values: a fault of ours, which must not end the process.
      counts.dropped('refused', batch.length);
      return;
    }
    for (let tries = 1; ; tries += 1) {
      const outcome = await this.#send(body);
      if (outcome.kind === 'delivered') {
        const rejected = Math.min(outcome.rejected, batch.length);
        counts.sent += batch.length - rejected;
        counts.dropped('refused', rejected);
        this.#tellRecovery();
        return;
      }
      counts.failed(outcome.why, this.#deps.clock.now());
      this.#failuresInRow += 1;
      // At the end each batch is tried once more at most.
      const isOver = this.#endsAt !== null || tries >= MOST_TRIES;
      if (outcome.kind === 'refused' || isOver) {
        counts.dropped(outcome.kind === 'refused' ? 'refused' : 'undelivered', batch.length);
        this.#tellFailure(outcome.why);
        return;
      }
      this.#tellFailure(outcome.why);
      await this.#pause(outcome.retryAfterMs);
    }
  }

  async #send(body: Uint8Array): Promise<Outcome> {
    const { clock, post } = this.#deps;
    const { endpoint } = this.#settings;
    const timeoutMs = Math.max(1, Math.ceil(Math.min(this.#settings.timeoutMs, this.#leftMs())));
    try {
      const request = await collectorRequest(endpoint, this.#settings, body, timeoutMs);
      const late = () => new GatewayError('gateway.upstream.timeout', 'no answer within tracing.timeout');
      return judge(await withDeadline(clock, timeoutMs, late, post(request)), clock.now());
    } catch (error) {
      const code = isGatewayError(error) ? error.code : 'gateway.internal';
      // An answer that cannot be read may have been a yes: sent again, its spans would be there twice.
      if (code === 'gateway.upstream.invalid') return { kind: 'refused', why: code };
      return { kind: 'again', why: code, retryAfterMs: undefined };
    }
  }

  #pause(retryAfterMs: number | undefined): Promise<void> {
    const { clock, random } = this.#deps;
    const usual = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failuresInRow - 1));
    const waitMs = Math.min(LONGEST_PAUSE_MS, retryAfterMs ?? usual * (0.5 + random() / 2));
    return new Promise((resolve) => {
      const timer = clock.after(waitMs, resolve);
      this.#endPause = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** What is left until the end; infinite where that has not come. */
  #leftMs(): number {
    return this.#endsAt === null ? Number.POSITIVE_INFINITY : this.#endsAt - this.#deps.clock.monotonic();
  }

  #tellFailure(why: string): void {
    const { clock, log, counts } = this.#deps;
    const now = clock.monotonic();
    if (now - this.#toldAt < TELL_EVERY_MS) return;
    this.#toldAt = now;
    this.#isFailureTold = true;
    const { origin } = new URL(this.#settings.endpoint);
    log.warn({ origin, reason: why, waiting: this.#waiting.length, ...counts.summary() }, 'spans are not delivered');
  }

  #tellRecovery(): void {
    this.#failuresInRow = 0;
    if (!this.#isFailureTold) return;
    this.#isFailureTold = false;
    const { log, counts } = this.#deps;
    log.info({ origin: new URL(this.#settings.endpoint).origin, ...counts.summary() }, 'spans are delivered again');
  }
}

function judge({ statusCode, headers, body }: Awaited<ReturnType<SpanPost>>, nowMs: number): Outcome {
  if (statusCode >= 200 && statusCode <= 299) return { kind: 'delivered', rejected: rejectedOf(headers, body) };
  const why = `status ${statusCode}`;
  if (!RETRIED.has(statusCode)) return { kind: 'refused', why };
  return { kind: 'again', why, retryAfterMs: parseRetryAfter(headers['retry-after'], nowMs, headers.date) };
}

/** How many spans a collector did not take of a request that it took. What it says in words is its own. */
function rejectedOf(headers: Record<string, string | undefined>, body: Buffer): number {
  if (body.length === 0 || !headers['content-type']?.startsWith('application/x-protobuf')) return 0;
  try {
    const rejected = Number(ProtobufTraceSerializer.deserializeResponse(body).partialSuccess?.rejectedSpans ?? 0);
    return Number.isFinite(rejected) && rejected > 0 ? rejected : 0;
  } catch {
    return 0;
  }
}
