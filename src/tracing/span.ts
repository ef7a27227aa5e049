// A finished span as the serializer takes it, and the times of spans. It exports nothing.

import type { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';

/** A span that has ended, in OpenTelemetry's own form. */
export type ReadableSpan = Parameters<(typeof ProtobufTraceSerializer)['serializeRequest']>[0][number];

/** Values that an attribute may have; null and undefined are left out. */
export type AttributeValue = string | number | boolean | null | undefined;

/** The kinds of spans that there are here, as OpenTelemetry numbers them. */
export const INTERNAL = 0;
export const SERVER = 1;
export const CLIENT = 2;

/** What all spans of a gateway have in common. */
export type SpanOrigin = Pick<ReadableSpan, 'resource' | 'instrumentationScope'>;

/** A span that another one is linked to. Ids as traceparent writes them. */
export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
}

/** One span. Times in epoch ms, ids as traceparent writes them. */
export interface SpanParts {
  readonly name: string;
  readonly kind: typeof INTERNAL | typeof SERVER | typeof CLIENT;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | null;
  /** The parent is a span of another process. */
  readonly hasRemoteParent?: boolean;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly hasFailed: boolean;
  /** Other spans that it has to do with. */
  readonly links?: readonly SpanLink[];
}

const SAMPLED = 1;
const UNSET = 0;
const ERROR = 2;

/** Makes it. An end before its start, which clocks can give, is its start. */
export function makeSpan(parts: SpanParts, { resource, instrumentationScope }: SpanOrigin): ReadableSpan {
  const { traceId, spanId, parentId, startedAt, links = [] } = parts;
  const endedAt = Math.max(startedAt, parts.endedAt);
  const context = { traceId, spanId, traceFlags: SAMPLED };
  const span: ReadableSpan = {
    name: parts.name,
    kind: parts.kind,
    spanContext: () => context,
    startTime: hrTime(startedAt),
    endTime: hrTime(endedAt),
    duration: hrTime(endedAt - startedAt),
    status: { code: parts.hasFailed ? ERROR : UNSET },
    attributes: withoutGaps(parts.attributes),
    links: links.map((link) => ({ context: { traceId: link.traceId, spanId: link.spanId, traceFlags: SAMPLED } })),
    events: [],
    ended: true,
    resource,
    instrumentationScope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
  if (parentId === null) return span;
  const parent = { traceId, spanId: parentId, traceFlags: SAMPLED, isRemote: parts.hasRemoteParent ?? false };
  return Object.assign(span, { parentSpanContext: parent });
}

/** Seconds and nanoseconds. */
function hrTime(ms: number): [seconds: number, nanoseconds: number] {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.floor((ms - seconds * 1_000) * 1_000_000)];
}

function withoutGaps(attributes: SpanParts['attributes']): Record<string, string | number | boolean> {
  const given: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(attributes)) if (value != null) given[name] = value;
  return given;
}
