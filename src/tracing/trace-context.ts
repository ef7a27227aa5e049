// The W3C trace context of a request (https://www.w3.org/TR/trace-context/): what a caller's traceparent says, and where
// ours goes among the headers of a call. Pure.

/** A traceparent that is valid. */
export interface TraceParent {
  readonly traceId: string;
  /** The caller's span. */
  readonly parentId: string;
  readonly isSampled: boolean;
}

/** Version, trace id, parent id, flags; later versions may append more (section 3.2). */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

/** What a traceparent says; null without one, and for what is none: several of them are none, too. */
export function parseTraceparent(value: string | readonly string[] | undefined): TraceParent | null {
  const found = typeof value === 'string' ? TRACEPARENT.exec(value) : null;
  if (found === null) return null;
  const [, traceId = '', parentId = '', flags = ''] = found;
  return { traceId, parentId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/**
 * Makes room for a traceparent of ours in the flat list of a call's headers: in the place of the caller's, else before
 * the last pair. Gives the index of its value. `isNew`: no caller's trace goes on, so no tracestate does either.
 */
export function placeTraceparent(headers: string[], isNew: boolean): number {
  let at = -1;
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    const name = (headers[i] as string).toLowerCase();
    if (name === 'traceparent') {
      if (at >= 0) headers.splice(at, 2);
      at = i;
    } else if (isNew && name === 'tracestate') {
      headers.splice(i, 2);
      if (at >= 0) at -= 2;
    }
  }
  if (at < 0) {
    at = Math.max(0, headers.length - 2);
    headers.splice(at, 0, 'traceparent', '');
  }
  return at + 1;
}
