// One request to a collector: OTLP over HTTP, as protobuf. It sends nothing, and knows nothing of spans.

import type { TracingConfig } from '../config/sections/tracing.ts';
import { fetchSecret } from '../secret.ts';
import { VERSION } from '../version.ts';
import type { SpanPost } from './call-tracer.ts';

/** What a collector says is short. */
const LARGEST_ANSWER_BYTES = 64 * 1024;

/** The header by which a collector knows us. */
export type CollectorHeader = Pick<TracingConfig, 'headerName' | 'headerValue'>;

/** The request with that body. Reads the header's value anew; throws GatewayError where that cannot be read. */
export async function collectorRequest(
  url: string,
  { headerName, headerValue }: CollectorHeader,
  body: Uint8Array,
  timeoutMs: number,
): Promise<Parameters<SpanPost>[0]> {
  const headers = ['content-type', 'application/x-protobuf', 'user-agent', `genesys-cloud-gateway/${VERSION}`];
  if (headerValue !== null) headers.push(headerName, (await fetchSecret(headerValue)).reveal().trim());
  return { url, headers, body, timeoutMs, maxBodyBytes: LARGEST_ANSWER_BYTES };
}
