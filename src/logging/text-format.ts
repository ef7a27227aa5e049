// Renders records for people: one line each, details indented below. Everything that came from outside loses its control characters,
// so that no request can forge a line or steer a terminal.

import { type ExchangeDetail, shownCorrelation, shownTarget, tidy } from './exchange-line.ts';
import type { ExchangeRecord } from './exchange-record.ts';
import type { RecordLevel } from './levels.ts';
import { maskStrings } from './live-secrets.ts';
import { redactHeaders } from './redact.ts';

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
export function exchangeText(record: ExchangeRecord, level: RecordLevel, time: string, detail: ExchangeDetail, hasColour: boolean): string {
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
  if (detail.requestHeaders && record.requestHeaders !== null) out += block('request headers', shown(redactHeaders(record.requestHeaders)));
  if (record.requestBody !== null) out += block('request body', shown(record.requestBody.render()));
  if (detail.responseHeaders && record.responseHeaders !== null) out += block('response headers', shown(redactHeaders(record.responseHeaders)));
  if (record.responseBody !== null) out += block('response body', shown(record.responseBody.render()));
  return `${out}\n`;
}

/** Any other record: `12:00:01.123 WARN  token renewal failed credential=crm attempt=2`. `fields` are redacted already. */
export function recordText(fields: Record<string, unknown>, msg: string, level: RecordLevel, time: string, hasColour: boolean): string {
  let out = head(level, time, hasColour) + printable(msg);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const shown = typeof value === 'string' ? (/^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)) : JSON.stringify(value);
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
