// Renders one exchange as a JSON line. Written out by hand, because this runs once a request: a generic serialiser costs three times as much.
// Field order and names are the product's contract; whatever comes from the wire is redacted here.

import type { ExchangeRecord } from './exchange-record.ts';
import type { RecordLevel } from './levels.ts';
import { type LiveSecrets, maskStrings } from './live-secrets.ts';
import { cutLong, redactHeaders, redactTarget } from './redact.ts';
import { redactText } from './redact-text.ts';

/** What a record shows beyond its fixed fields, and what it never shows. */
export interface ExchangeDetail {
  readonly requestHeaders: boolean;
  readonly responseHeaders: boolean;
  readonly mask: LiveSecrets['mask'];
}

/** Whether the exchange went wrong: status 400 and above, or an error after the status had been sent. */
export function exchangeLevel(record: ExchangeRecord): 'info' | 'error' {
  return record.status >= 400 || record.errorCode !== null ? 'error' : 'info';
}

/** One line with its newline. */
export function exchangeLine(record: ExchangeRecord, level: RecordLevel, time: string, detail: ExchangeDetail): string {
  const { mask } = detail;
  let line = `{"level":"${level}","time":"${time}","msg":"exchange","requestId":${text(record.requestId)},"client":${text(record.client)},"credential":${text(
    record.credential,
  )},"method":${text(record.method)},"path":${text(shownTarget(record, mask))},"route":${text(record.route)},"status":${record.status},"durationMs":${tidy(
    record.durationMs,
  )},"upstreamMs":${tidy(record.upstreamMs)},"tokenWaitMs":${tidy(record.tokenWaitMs)},"queueMs":${tidy(record.queueMs)},"attempts":${
    record.attempts
  },"requestBytes":${record.requestBytes},"responseBytes":${record.responseBytes},"correlationId":${text(shownCorrelation(record, mask))},"tokenFingerprint":${text(
    record.tokenFingerprint,
  )},"errorCode":${text(record.errorCode)},"authorizationReplaced":${record.authorizationReplaced},"source":"${record.source}"`;
  if (record.retryReasons !== null) line += `,"retries":${JSON.stringify(record.retryReasons)}`;
  if (record.closeCode !== null) line += `,"closeCode":${record.closeCode}`;
  if (record.heldBy !== null) line += `,"heldBy":${JSON.stringify(record.heldBy)}`;
  if (record.aborted) line += ',"aborted":true';
  if (record.traceId !== null) line += `,"traceId":${text(record.traceId)}`;
  if (record.spanId !== null) line += `,"spanId":${text(record.spanId)}`;
  if (detail.requestHeaders && record.requestHeaders !== null) line += `,"requestHeaders":${structure(redactHeaders(record.requestHeaders), mask)}`;
  if (detail.responseHeaders && record.responseHeaders !== null)
    line += `,"responseHeaders":${structure(redactHeaders(record.responseHeaders), mask)}`;
  if (record.requestBody !== null) line += `,"requestBody":${structure(record.requestBody.render(), mask)}`;
  if (record.responseBody !== null) line += `,"responseBody":${structure(record.responseBody.render(), mask)}`;
  return `${line}}\n`;
}

function text(value: string | null): string {
  return value === null ? 'null' : JSON.stringify(value);
}

/** Hundredths of a ms are enough; NaN and infinities would not be JSON. */
export function tidy(ms: number): number {
  return Math.round(ms * 100) / 100 || 0;
}

/** The target as every record shows it. */
export function shownTarget({ target }: ExchangeRecord, mask: LiveSecrets['mask']): string {
  return mask(cutLong(target, redactTarget));
}

/** The platform's id as it shows it; whoever answers may have put anything there. */
export function shownCorrelation({ correlationId }: ExchangeRecord, mask: LiveSecrets['mask']): string | null {
  return correlationId === null ? null : mask(cutLong(correlationId, redactText, LONGEST_CORRELATION));
}

const LONGEST_CORRELATION = 1024;

/** Masked string by string, before it is a line: no value, however odd, can take a piece out of the line's own shape. */
function structure(value: string | object, mask: LiveSecrets['mask']): string {
  return JSON.stringify(maskStrings(value, mask));
}
