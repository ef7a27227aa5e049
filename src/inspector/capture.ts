// Headers and bodies of calls, kept for a while because somebody asked for them: redacted before they are kept, bounded
// in number, size and time. Who may ask is decided elsewhere.

import { Buffer } from 'node:buffer';
import type { Clock, Timer } from '../clock.ts';
import type { BodyCapture, ExchangeRecord, RawHeaders } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import { type LiveSecrets, maskJson, maskStrings } from '../logging/redact/live-secrets.ts';
import { withFingerprints } from '../logging/redact/mask.ts';
import { redactHeaderList } from '../logging/redact/redact.ts';
import type { Call, CallAnswer, CaptureState } from './wire.ts';

/** What is to be captured. */
export interface CaptureOrder {
  readonly what: 'headers' | 'bodies';
  /** Of the calls that end, those that are kept. */
  readonly matches: (call: Call) => boolean;
  readonly calls: number;
  readonly seconds: number;
  /** Who asked, for those who watch. */
  readonly by: string | null;
}

/** What a capture is made of. */
export interface CaptureDeps {
  readonly clock: Clock;
  readonly log: Pick<Log, 'info'>;
  /** Makes calls be traced; returns what ends that. */
  readonly watch: () => () => void;
  readonly mask: LiveSecrets['mask'];
  /** The mark of a secret that its mask carries. */
  readonly fingerprint: (secret: string) => string;
}

export const MOST_CAPTURED_CALLS = 500;
export const LONGEST_CAPTURE_S = 900;

/** As much of one body is kept. */
export const LARGEST_CAPTURED_BODY = 64 * 1024;
/** All that is kept, and that running calls may still come to. */
const MOST_BYTES = 16 * 1024 * 1024;
/** What is kept when a capture has ended is forgotten after this. */
const KEPT_MS = 10 * 60_000;
/** What a running call may come to. */
const RESERVED_BYTES = 2 * LARGEST_CAPTURED_BODY;

type Captured = NonNullable<CallAnswer['captured']>;

/** One order at a time; what earlier ones kept stays until it has to go. Whoever makes it closes it. */
export class Capture {
  /** Told when a capture begins and ends. */
  onChange: ((state: CaptureState) => void) | null = null;
  readonly #deps: CaptureDeps;
  #order: CaptureOrder | null = null;
  #startedAt = 0;
  #untilMs = 0;
  #taken = 0;
  /** Calls of the order that found no room. */
  #missed = 0;
  #unwatch: (() => void) | null = null;
  #end: Timer | null = null;
  #forget: Timer | null = null;
  /** By request id, the oldest first. */
  readonly #kept = new Map<string, Buffer>();
  #keptBytes = 0;
  #reservedBytes = 0;

  constructor(deps: CaptureDeps) {
    this.#deps = deps;
  }

  get state(): CaptureState {
    const order = this.#order;
    return {
      what: order?.what ?? null,
      until: order === null ? null : new Date(this.#untilMs).toISOString(),
      by: order?.by ?? null,
      left: order === null ? 0 : order.calls - this.#taken,
      kept: this.#kept.size,
      missed: this.#missed,
    };
  }

  /** Calls that begin from now on are captured, in the place of an order before. */
  start(order: CaptureOrder): CaptureState {
    const { clock, watch, log } = this.#deps;
    this.#stop();
    this.#forget?.cancel();
    this.#order = order;
    this.#taken = this.#missed = 0;
    this.#startedAt = clock.monotonic();
    this.#untilMs = clock.now() + order.seconds * 1000;
    this.#unwatch = watch();
    this.#end = clock.after(order.seconds * 1000, () => this.stop());
    log.info({ what: order.what, seconds: order.seconds, calls: order.calls, by: order.by }, 'capture started');
    this.#tell();
    return this.state;
  }

  /** Ends the capture; where none runs, what is kept is forgotten. */
  stop(): CaptureState {
    if (this.#order === null) this.forget();
    else {
      this.#stop();
      this.#deps.log.info({ calls: this.#taken }, 'capture ended');
      this.#forget = this.#deps.clock.after(KEPT_MS, () => this.forget());
      this.#tell();
    }
    return this.state;
  }

  /** Ends the capture, and forgets what is kept. */
  abandon(): void {
    if (this.#order !== null) this.stop();
    this.#forget?.cancel();
    this.forget();
  }

  /** Forgets what is kept. */
  forget(): void {
    this.#kept.clear();
    this.#keptBytes = 0;
  }

  close(): void {
    this.#stop();
    this.#forget?.cancel();
    this.forget();
  }

  /** A call is forwarded. Whoever calls this calls `ended` once. */
  begun(record: ExchangeRecord): void {
    const order = this.#order;
    if (order === null || record.trace === null) return;
    record.trace.isHeadWanted = true;
    if (order.what === 'headers' || record.captured !== null) return;
    if (this.#keptBytes + this.#reservedBytes + RESERVED_BYTES > MOST_BYTES) {
      this.#missed += 1;
      return;
    }
    this.#reservedBytes += RESERVED_BYTES;
    record.captured = { maxBytes: LARGEST_CAPTURED_BODY, requestBody: null, responseBody: null };
  }

  /**
   * A call has ended: `line` is its record as JSON, null for what is not looked at. Keeps what the order asks for that
   * it began under, if that still runs.
   */
  ended(record: ExchangeRecord, line: string | null): void {
    if (record.captured !== null) this.#reservedBytes -= RESERVED_BYTES;
    const order = this.#order;
    if (order === null || line === null || record.trace === null || record.trace.startedAt < this.#startedAt) return;
    if (!order.matches(JSON.parse(line) as Call)) return;
    const kept = Buffer.from(JSON.stringify(this.#shown(record)));
    if (this.#keptBytes + this.#reservedBytes + kept.length > MOST_BYTES) {
      this.#missed += 1;
      return;
    }
    this.#kept.set(record.requestId, kept);
    this.#keptBytes += kept.length;
    this.#taken += 1;
    if (this.#taken >= order.calls) this.stop();
  }

  /** What was kept of a call, without what became a secret since; undefined where nothing was. */
  of(requestId: string): Captured | undefined {
    const kept = this.#kept.get(requestId);
    if (kept === undefined) return undefined;
    const { mask, fingerprint } = this.#deps;
    return JSON.parse(withFingerprints(fingerprint, () => maskJson(kept.toString(), mask))) as Captured;
  }

  #stop(): void {
    this.#order = null;
    this.#end?.cancel();
    this.#unwatch?.();
    this.#unwatch = null;
  }

  #tell(): void {
    this.onChange?.(this.state);
  }

  /** All of it redacted, and masked string by string. */
  #shown(record: ExchangeRecord): Captured {
    const { mask, fingerprint } = this.#deps;
    const { requestBody = null, responseBody = null } = record.captured ?? {};
    const list = (headers: RawHeaders) =>
      redactHeaderList(headers).map(([name, value]) => [mask(name), mask(value)] as const);
    const body = (capture: BodyCapture) => {
      const rendered = maskStrings(capture.render(), mask);
      return typeof rendered === 'string' ? rendered : JSON.stringify(rendered);
    };
    return withFingerprints(fingerprint, () => ({
      ...(record.requestHeaders !== null && { requestHeaders: list(record.requestHeaders) }),
      ...(record.trace?.sentHead != null && { sentHeaders: list(headersIn(record.trace.sentHead)) }),
      ...(record.responseHeaders !== null && { responseHeaders: list(record.responseHeaders) }),
      ...(requestBody !== null && shownRequestBody(body(requestBody), requestBody.whole(), mask)),
      ...(responseBody !== null && { responseBody: body(responseBody) }),
    }));
  }
}

/** The body as it came where nothing in it had to be masked: that can be sent again. */
function shownRequestBody(
  shown: string,
  whole: string | null,
  mask: LiveSecrets['mask'],
): Pick<Captured, 'requestBody' | 'isRequestBodyWhole'> {
  const isWhole = whole !== null && mask(whole) === whole && (shown === whole || isSameJson(shown, whole));
  return isWhole ? { requestBody: whole, isRequestBodyWhole: true } : { requestBody: shown };
}

/**
 * Whether `shown`, which is what was read of `whole` and written again, says all that stands there: of members with one
 * name only the last is read, and so is only the last redacted.
 */
function isSameJson(shown: string, whole: string): boolean {
  try {
    return JSON.stringify(JSON.parse(whole)) === shown && countStrings(whole) === countStrings(shown);
  } catch {
    return false;
  }
}

function countStrings(json: string): number {
  return json.match(/"(?:[^"\\]|\\.)*"/g)?.length ?? 0;
}

/** The header lines of a request's head, as a flat list. */
function headersIn(head: string): string[] {
  return head
    .split('\r\n')
    .slice(1)
    .flatMap((line) => {
      const colon = line.indexOf(':');
      return colon < 1 ? [] : [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
}
