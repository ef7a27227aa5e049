// Renders one exchange as a JSON line. Written out by hand, because this runs once a request: a generic serialiser costs three times as much.
// Field order and names are the product's contract; whatever comes from the wire is redacted here.

import type { BodyCapture, ExchangeRecord, RawHeaders } from './exchange-record.ts';
import type { RecordLevel } from './levels.ts';
import { redactHeaders, redactTarget } from './redact.ts';

/** What a record shows beyond its fixed fields. */
export interface ExchangeDetail {
  readonly requestHeaders: boolean;
  readonly responseHeaders: boolean;
}

/** Whether the exchange went wrong: status 400 and above, or an error after the status had been sent. */
export function exchangeLevel(record: ExchangeRecord): 'info' | 'error' {
  return record.status >= 400 || record.errorCode !== null ? 'error' : 'info';
}

/** One line with its newline. */
export function exchangeLine(record: ExchangeRecord, level: RecordLevel, time: string, detail: ExchangeDetail): string {
  let line = `{"level":"${level}","time":"${time}","msg":"exchange","requestId":${text(record.requestId)},"client":${text(record.client)},"credential":${text(
    record.credential,
  )},"method":${text(record.method)},"path":${text(redactTarget(record.target))},"route":${text(record.route)},"status":${record.status},"durationMs":${tidy(
    record.durationMs,
  )},"upstreamMs":${tidy(record.upstreamMs)},"tokenWaitMs":${tidy(record.tokenWaitMs)},"queueMs":${tidy(record.queueMs)},"attempts":${
    record.attempts
  },"requestBytes":${record.requestBytes},"responseBytes":${record.responseBytes},"correlationId":${text(record.correlationId)},"tokenFingerprint":${text(
    record.tokenFingerprint,
  )},"errorCode":${text(record.errorCode)},"authorizationReplaced":${record.authorizationReplaced},"source":"${record.source}"`;
  if (record.retryReasons !== null) line += `,"retries":${JSON.stringify(record.retryReasons)}`;
  if (record.closeCode !== null) line += `,"closeCode":${record.closeCode}`;
  if (record.heldBy !== null) line += `,"heldBy":${JSON.stringify(record.heldBy)}`;
  if (record.aborted) line += ',"aborted":true';
  if (record.traceId !== null) line += `,"traceId":${text(record.traceId)}`;
  if (record.spanId !== null) line += `,"spanId":${text(record.spanId)}`;
  if (detail.requestHeaders && record.requestHeaders !== null) line += `,"requestHeaders":${headers(record.requestHeaders)}`;
  if (detail.responseHeaders && record.responseHeaders !== null) line += `,"responseHeaders":${headers(record.responseHeaders)}`;
  if (record.requestBody !== null) line += `,"requestBody":${body(record.requestBody)}`;
  if (record.responseBody !== null) line += `,"responseBody":${body(record.responseBody)}`;
  return `${line}}\n`;
}

function text(value: string | null): string {
  return value === null ? 'null' : JSON.stringify(value);
}

/** Hundredths of a ms are enough; NaN and infinities would not be JSON. */
export function tidy(ms: number): number {
  return Math.round(ms * 100) / 100 || 0;
}

function headers(raw: RawHeaders): string {
  return JSON.stringify(redactHeaders(raw));
}

function body(capture: BodyCapture): string {
  return JSON.stringify(capture.render());
}
