// Reads the ids of a W3C trace context for the record. The headers themselves go on as they came: this gateway takes no part in a trace,
// it only lets its records be found by it.

import type { ExchangeRecord } from '../logging/exchange-record.ts';

/** Version, trace id, parent id, flags; later versions may append more (https://www.w3.org/TR/trace-context/, section 3.2). */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?$/;

/**
 * Notes trace and span id of a request's `traceparent`. Without one, or with one that is not valid, the record gets a span id of its own,
 * made of the request id, and no trace id.
 */
export function noteTraceContext(record: ExchangeRecord, traceparent: string | readonly string[] | undefined): void {
  const found = typeof traceparent === 'string' ? TRACEPARENT.exec(traceparent) : null;
  if (found === null) {
    // The variant bits of a UUID make sure that it is not all zeros.
    record.spanId = record.requestId.slice(19, 23) + record.requestId.slice(24);
    return;
  }
  record.traceId = found[1] as string;
  record.spanId = found[2] as string;
}
