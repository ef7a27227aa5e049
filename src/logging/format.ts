// How records are written: JSON lines for machines, text for people; and their times.

import type { ExchangeRecord } from './exchange-record.ts';
import type { RecordLevel } from './log.ts';
import { type LiveSecrets, maskStrings } from './redact/live-secrets.ts';
import { cutLong, redactHeaders, redactTarget } from './redact/redact.ts';
import { redactText } from './redact/text.ts';

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
  let line =
    `{"level":"${level}","time":"${time}","msg":"exchange","requestId":${text(record.requestId)}` +
    `,"client":${text(record.client)},"credential":${text(record.credential)},"method":${text(record.method)}` +
    `,"path":${text(shownTarget(record, mask))},"route":${text(record.route)},"status":${record.status}` +
    `,"durationMs":${tidy(record.durationMs)},"upstreamMs":${tidy(record.upstreamMs)}` +
    `,"tokenWaitMs":${tidy(record.tokenWaitMs)},"queueMs":${tidy(record.queueMs)},"attempts":${record.attempts}` +
    `,"requestBytes":${record.requestBytes},"responseBytes":${record.responseBytes}` +
    `,"correlationId":${text(shownCorrelation(record, mask))},"tokenFingerprint":${text(record.tokenFingerprint)}` +
    `,"errorCode":${text(record.errorCode)},"authorizationReplaced":${record.authorizationReplaced}` +
    `,"source":"${record.source}"`;
  if (record.retryReasons !== null) line += `,"retries":${JSON.stringify(record.retryReasons)}`;
  if (record.closeCode !== null) line += `,"closeCode":${record.closeCode}`;
  if (record.heldBy !== null) line += `,"heldBy":${JSON.stringify(record.heldBy)}`;
  if (record.aborted) line += ',"aborted":true';
  if (record.traceId !== null) line += `,"traceId":${text(record.traceId)}`;
  if (record.spanId !== null) line += `,"spanId":${text(record.spanId)}`;
  if (detail.requestHeaders && record.requestHeaders !== null)
    line += `,"requestHeaders":${structure(redactHeaders(record.requestHeaders), mask)}`;
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

/**
 * Masked string by string, before it is a line: no value, however odd, can take a piece out of the line's own shape.
 */
function structure(value: string | object, mask: LiveSecrets['mask']): string {
  return JSON.stringify(maskStrings(value, mask));
}

/** C0, DEL, C1, line and paragraph separators, and the marks that reorder text. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

const COLOURS: Record<RecordLevel, number> = { error: 31, warn: 33, info: 32, debug: 36, trace: 90 };

/** A wait shorter than this is not worth a person's attention. */
const NOTABLE_WAIT_MS = 100;

/** The text on one line, control characters as `\x1b`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (char) => {
    const code = char.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** `12:00:01.123 INFO  GET /api/v2/users 200 43ms crm as default`, and what explains a failure or a delay. */
export function exchangeText(
  record: ExchangeRecord,
  level: RecordLevel,
  time: string,
  detail: ExchangeDetail,
  hasColour: boolean,
): string {
  const { mask } = detail;
  const shown = (content: string | object) => maskStrings(content, mask) as string | object;
  const parts = [
    record.method || '-',
    shownTarget(record, mask),
    record.status === 0 ? '---' : String(record.status),
    `${Math.round(tidy(record.durationMs))}ms`,
  ];
  if (record.client !== null) parts.push(record.client);
  if (record.credential !== null) parts.push(`as ${record.credential}`);
  if (record.errorCode !== null) parts.push(record.errorCode);
  if (record.closeCode !== null) parts.push(`(closed with ${record.closeCode})`);
  if (record.aborted) parts.push('(the caller left)');
  if (record.retryReasons !== null) parts.push(`(sent again: ${record.retryReasons.join(', ')})`);
  if (record.tokenWaitMs >= NOTABLE_WAIT_MS) parts.push(`(waited ${Math.round(record.tokenWaitMs)}ms for a token)`);
  if (record.queueMs >= NOTABLE_WAIT_MS)
    parts.push(`(queued ${Math.round(record.queueMs)}ms${record.heldBy === null ? '' : ` for ${record.heldBy}`})`);
  if (level === 'error') {
    parts.push(`request=${record.requestId}`);
    if (record.correlationId !== null) parts.push(`correlation=${shownCorrelation(record, mask)}`);
  }
  let out = head(level, time, hasColour) + printable(parts.join(' '));
  if (detail.requestHeaders && record.requestHeaders !== null)
    out += block('request headers', shown(redactHeaders(record.requestHeaders)));
  if (record.requestBody !== null) out += block('request body', shown(record.requestBody.render()));
  if (detail.responseHeaders && record.responseHeaders !== null)
    out += block('response headers', shown(redactHeaders(record.responseHeaders)));
  if (record.responseBody !== null) out += block('response body', shown(record.responseBody.render()));
  return `${out}\n`;
}

/**
 * Any other record: `12:00:01.123 WARN  token renewal failed credential=crm attempt=2`. `fields` are redacted already.
 */
export function recordText(
  fields: Record<string, unknown>,
  msg: string,
  level: RecordLevel,
  time: string,
  hasColour: boolean,
): string {
  let out = head(level, time, hasColour) + printable(msg);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const shown =
      typeof value === 'string' ? (/^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)) : JSON.stringify(value);
    out += ` ${printable(`${name}=${shown}`)}`;
  }
  return `${out}\n`;
}

function head(level: RecordLevel, time: string, hasColour: boolean): string {
  const word = level.toUpperCase().padEnd(5);
  return `${time} ${hasColour ? `\x1b[${COLOURS[level]}m${word}\x1b[0m` : word} `;
}

function block(title: string, content: string | object): string {
  const isHeaders = title.endsWith('headers');
  const lines = isHeaders
    ? Object.entries(content).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`))
    : (typeof content === 'string' ? content : JSON.stringify(content, null, 2)).split('\n');
  return `\n    ${title}:${lines.map((line) => `\n      ${printable(line)}`).join('')}`;
}

/** `2026-11-24T12:00:01.123Z`, from epoch ms. */
export function createIsoClock(now: () => number): () => string {
  let second = Number.NaN;
  let prefix = '';
  return () => {
    const ms = Math.trunc(now());
    const current = Math.floor(ms / 1000);
    if (current !== second) {
      second = current;
      prefix = new Date(current * 1000).toISOString().slice(0, 20);
    }
    const rest = ms - current * 1000;
    return `${prefix}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
  };
}

/** `12:00:01.123` in local time, for a person at a terminal. */
export function localTime(ms: number): string {
  const at = new Date(ms);
  const padded = (value: number, length = 2) => String(value).padStart(length, '0');
  const seconds = `${padded(at.getSeconds())}.${padded(at.getMilliseconds(), 3)}`;
  return `${padded(at.getHours())}:${padded(at.getMinutes())}:${seconds}`;
}
