// Puts captures on a record for the bodies that are to be logged. Not called at all where that is switched off.

import type { GatewayConfig } from '../config/gateway-config.ts';
import { createBodyCapture } from '../logging/body-capture.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';

/** Which bodies are captured, and how much of each. */
export interface BodyLogging {
  readonly request: boolean;
  readonly response: boolean;
  readonly maxBytes: number;
}

/** Null where no body will ever be shown. */
export function bodyLoggingOf({
  level,
  requestBody,
  responseBody,
  bodyMaxBytes,
}: GatewayConfig['logging']): BodyLogging | null {
  if (level === 'none' || !(requestBody || responseBody)) return null;
  return { request: requestBody, response: responseBody, maxBytes: bodyMaxBytes };
}

/** For a request's body, before the first of it is read. */
export function captureRequestBody(
  record: ExchangeRecord,
  headers: NodeJS.Dict<string | string[]>,
  maxBytes: number,
): void {
  const contentEncoding = headers['content-encoding'];
  record.requestBody = createBodyCapture({
    maxBytes,
    contentType: headers['content-type'] as string | undefined,
    contentEncoding: Array.isArray(contentEncoding) ? contentEncoding.join(',') : contentEncoding,
  });
}

/** For an answer's body; `headers` is a flat list of names and values. */
export function captureResponseBody(record: ExchangeRecord, headers: readonly string[], maxBytes: number): void {
  let contentType: string | null = null;
  let contentEncoding: string | null = null;
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = (headers[at] as string).toLowerCase();
    if (name === 'content-type') contentType = headers[at + 1] as string;
    else if (name === 'content-encoding')
      contentEncoding =
        contentEncoding === null ? (headers[at + 1] as string) : `${contentEncoding},${headers[at + 1]}`;
  }
  record.responseBody = createBodyCapture({ maxBytes, contentType, contentEncoding });
}
