// What a failed response of the platform says: its error code, how long to wait. Reads a copy and leaves the response
// whole; decides nothing.

import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';
import { type Clock, withDeadline } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { LONGEST_LIMIT_MS, parseRetryAfter } from '../retry-after.ts';
import type { UpstreamResponse } from './call.ts';

/** How much of a response that the gateway must understand is read, and decoded in a copy. */
const INSPECTED_BYTES = 64 * 1024;
/** How long its body is waited for at least, however late its head came. */
const SHORTEST_READ_MS = 1_000;

/**
 * The platform's error code of a response, or null when it has none that can be read. Waits and rejects as
 * `platformBody` does.
 */
export async function platformCode(response: UpstreamResponse, clock: Clock, waitMs: number): Promise<string | null> {
  const body = await platformBody(response, clock, waitMs);
  return typeof body?.code === 'string' ? body.code : null;
}

/**
 * The platform's JSON body (of an error: message, code, limit…) of at most `limitBytes`, decoded in a copy; null when it is
 * not one. Leaves the body whole for whoever sends it on. Rejects when it breaks off, or has not come within `waitMs`:
 * its caller is not held up for it any longer.
 */
export async function platformBody(
  response: UpstreamResponse,
  clock: Clock,
  waitMs: number,
  limitBytes = INSPECTED_BYTES,
): Promise<Record<string, unknown> | null> {
  const late = () => new GatewayError('gateway.upstream.timeout', 'the body of the answer did not come in time');
  const { bytes, complete } = await withDeadline(
    clock,
    Math.max(waitMs, SHORTEST_READ_MS),
    late,
    response.peek(limitBytes),
  );
  if (!complete) return null;
  try {
    const decoded = await decode(bytes, headerValue(response, 'content-encoding'), limitBytes);
    const parsed: unknown = JSON.parse(decoded.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : null;
  } catch {
    // Not JSON, or not the encoding it claims: then there is no code to be read, which has a meaning of its own.
    return null;
  }
}

type Decode = (bytes: Buffer, options: { readonly maxOutputLength: number }) => Promise<Buffer>;

/** Functions: Node's compression takes a while to load, and few errors are compressed. */
const DECODERS: Readonly<Record<string, () => Decode>> = {
  gzip: () => promisify(gunzip),
  br: () => promisify(brotliDecompress),
  deflate: () => promisify(inflate),
};

async function decode(bytes: Buffer, encoding: string | null, limitBytes: number): Promise<Buffer> {
  if (encoding === null || encoding === 'identity') return bytes;
  const decoder = DECODERS[encoding.trim().toLowerCase()]?.();
  if (!decoder) throw new Error('an encoding that cannot be read here');
  return decoder(bytes, { maxOutputLength: limitBytes });
}

/** The first value of a header of the response; the name in lower case. */
export function headerValue(response: UpstreamResponse, name: string): string | null {
  const { rawHeaders } = response;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const field = rawHeaders[i] as Buffer;
    if (field.length === name.length && field.toString('latin1').toLowerCase() === name)
      return (rawHeaders[i + 1] as Buffer).toString('latin1');
  }
  return null;
}

/**
 * The Retry-After of a response, measured by the response's own clock where it tells it; undefined without a readable
 * one.
 */
export function retryAfterMs(response: UpstreamResponse, clock: Clock): number | undefined {
  const value = headerValue(response, 'retry-after');
  return value === null
    ? undefined
    : parseRetryAfter(value, clock.now(), headerValue(response, 'date') ?? undefined, LONGEST_LIMIT_MS);
}
