// Decides which calls have spans, makes them when the calls have ended, and hands them to the exporter. One for each
// configuration of [tracing]; loaded only where there is one.

import { randomFillSync, randomUUID } from 'node:crypto';
import { ATTR_SERVICE_INSTANCE_ID, ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions';
import type { TracingConfig } from '../config/sections/tracing.ts';
import { type CallSpan, CallTrace } from '../logging/call-trace.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import { VERSION } from '../version.ts';
import { type CallSpansDeps, callSpans } from './call-spans.ts';
import type { CallStart, CallTracer, TokenRequest } from './call-tracer.ts';
import { LoginSpans } from './login-spans.ts';
import type { SpanOrigin } from './span.ts';
import { SpanExporter, type SpanExporterDeps } from './span-exporter.ts';
import { parseTraceparent } from './trace-context.ts';

/** What a tracer is made with. */
export interface TracerDeps extends SpanExporterDeps {
  readonly mask: LiveSecrets['mask'];
}

/** This process among others of the same name. */
const INSTANCE_ID = randomUUID();

/** Clocks that drift apart by more are read anew. */
const DRIFT_MS = 20;

/** The tracer over OpenTelemetry's protocol. */
export class Tracer implements CallTracer {
  readonly exporter: SpanExporter;
  readonly #config: TracingConfig;
  readonly #deps: TracerDeps;
  readonly #logins: LoginSpans;
  readonly #spans: CallSpansDeps;
  /** How far the wall clock is ahead of the monotonic one: the same for all spans, as long as nobody steps it. */
  #wallAheadMs: number;

  /** `endpoint` is that of `config`, which has one. */
  constructor(endpoint: string, config: TracingConfig, deps: TracerDeps) {
    const { clock, mask } = deps;
    const { headerName, headerValue, timeoutMs } = config;
    this.#config = config;
    this.#deps = deps;
    this.exporter = new SpanExporter({ endpoint, headerName, headerValue, timeoutMs }, deps);
    this.#wallAheadMs = clock.now() - clock.monotonic();
    const origin = originOf(config);
    const epochOf = (monotonic: number) => this.#wallAheadMs + monotonic;
    this.#logins = new LoginSpans({
      ...origin,
      epochOf,
      mask,
      newTraceId,
      newSpanId,
      export: (span) => this.exporter.add([span]),
    });
    const loginsOf: CallSpansDeps['loginsOf'] = (wait, call, credential) =>
      this.#logins.linksOf(wait, call, credential);
    this.#spans = { ...origin, epochOf, mask, loginsOf };
  }

  begin(record: ExchangeRecord, { traceparent, mayDecide, isTls, hasOwnToken }: CallStart): void {
    const parent = parseTraceparent(traceparent);
    const { parentBased, sampleRatio } = this.#config;
    const isSampled =
      parent !== null && mayDecide && parentBased ? parent.isSampled : this.#deps.random() < sampleRatio;
    if (!isSampled) return;
    const { monotonic } = this.#deps.clock;
    record.trace ??= new CallTrace(monotonic, monotonic() - (performance.now() - record.startedAt));
    const span = new SampledCall(parent?.traceId ?? newTraceId(), parent?.parentId ?? null, isTls, hasOwnToken);
    record.trace.span = span;
    record.traceId = span.traceId;
    record.spanId = span.spanId;
  }

  ended(record: ExchangeRecord): void {
    const { trace } = record;
    if (trace === null || trace.span === null) return;
    this.#followWallClock();
    this.exporter.add(callSpans(record, trace, trace.span, this.#spans));
  }

  tokenRequest(request: TokenRequest): void {
    this.#followWallClock();
    this.#logins.note(request, this.#deps.random() < this.#config.sampleRatio);
  }

  get waiting(): number {
    return this.exporter.waiting;
  }

  close(withinMs: number): Promise<void> {
    return this.exporter.close(withinMs);
  }

  #followWallClock(): void {
    const { clock } = this.#deps;
    const aheadMs = clock.now() - clock.monotonic();
    if (Math.abs(aheadMs - this.#wallAheadMs) > DRIFT_MS) this.#wallAheadMs = aheadMs;
  }
}

/** The span of a call that is sampled. */
class SampledCall implements CallSpan {
  readonly traceId: string;
  readonly spanId = newSpanId();
  readonly parentId: string | null;
  readonly isTls: boolean;
  readonly hasOwnToken: boolean;
  readonly newId = newSpanId;
  upstreamOrigin: string | null = null;
  traceparentAt = -1;

  constructor(traceId: string, parentId: string | null, isTls: boolean, hasOwnToken: boolean) {
    this.traceId = traceId;
    this.parentId = parentId;
    this.isTls = isTls;
    this.hasOwnToken = hasOwnToken;
  }
}

/** Random octets for many ids: asking for those of each one costs more than all the rest of a span. */
const pool = Buffer.allocUnsafe(4_096);
let used = pool.length;

/** All zeros would be no id. */
function newId(bytes: number): string {
  for (;;) {
    if (used + bytes > pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    const id = pool.toString('hex', used, used + bytes);
    used += bytes;
    if (/[^0]/.test(id)) return id;
  }
}

function newTraceId(): string {
  return newId(16);
}

function newSpanId(): string {
  return newId(8);
}

/** What all spans say of this gateway. */
function originOf({ serviceName, resourceAttributes }: TracingConfig): SpanOrigin {
  const attributes = {
    ...Object.fromEntries(resourceAttributes),
    [ATTR_SERVICE_NAME]: serviceName,
    [ATTR_SERVICE_VERSION]: VERSION,
    [ATTR_SERVICE_INSTANCE_ID]: INSTANCE_ID,
  };
  const resource: SpanOrigin['resource'] = { attributes, merge: () => resource, getRawAttributes: () => [] };
  return { resource, instrumentationScope: { name: 'genesys-cloud-gateway', version: VERSION } };
}
