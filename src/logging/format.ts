// How records are written: JSON lines for machines, text for people; and their times.

import { ERROR_TABLE, type ErrorCode } from '../errors.ts';
import type { ExchangeRecord } from './exchange-record.ts';
import type { RecordLevel } from './log.ts';
import { shownMs } from './milliseconds.ts';
import { type LiveSecrets, maskStrings } from './redact/live-secrets.ts';
import { isFingerprinting } from './redact/mask.ts';
import { cutLong, redactHeaders, redactTarget } from './redact/redact.ts';
import { redactText, redactWords } from './redact/text.ts';
import { sentenceOf } from './sentences.ts';

/** What a record shows beyond its fixed fields, and what it never shows. */
export interface ExchangeDetail {
  readonly requestHeaders: boolean;
  readonly responseHeaders: boolean;
  /** Bodies, where they were captured. */
  readonly bodies: boolean;
  readonly mask: LiveSecrets['mask'];
}

/**
 * How much a record matters: faults of the platform and of ours are `error`, what we refuse is `warn`, what the
 * platform refuses is the caller's business, `info`.
 */
export function exchangeLevel({ status, errorCode, source, isPoll }: ExchangeRecord): RecordLevel {
  if (status >= 500) return 'error';
  if (errorCode === null)
    return source === 'gateway' && status >= 400 ? 'warn' : isPoll && status < 400 ? 'debug' : 'info';
  if (status >= 400) return 'warn';
  // Broken off after its status was sent: the code tells whose fault that was.
  return (ERROR_TABLE[errorCode as ErrorCode]?.status ?? 500) >= 500 ? 'error' : 'warn';
}

/** Whether a call failed: these are written at every level but `none`, as the SDKs do it. */
export function isFailed({ status, errorCode }: ExchangeRecord): boolean {
  return status >= 400 || errorCode !== null;
}

/** One line with its newline. What there is nothing to say about is left out. */
export function exchangeLine(record: ExchangeRecord, level: RecordLevel, time: string, detail: ExchangeDetail): string {
  const { mask } = detail;
  let line = `{"level":"${level}","time":"${time}","msg":"exchange","requestId":${text(record.requestId)}`;
  if (record.client !== null) line += `,"client":${text(record.client)}`;
  if (record.credential !== null) line += `,"credential":${text(record.credential)}`;
  line +=
    `,"method":${text(record.method)},"path":${text(shownTarget(record, mask))},"route":${text(record.route)}` +
    `,"status":${record.status},"durationMs":${shownMs(record.durationMs)},"upstreamMs":${shownMs(record.upstreamMs)}` +
    `,"tokenWaitMs":${shownMs(record.tokenWaitMs)},"queueMs":${shownMs(record.queueMs)},"attempts":${record.attempts}` +
    `,"requestBytes":${record.requestBytes},"responseBytes":${record.responseBytes}`;
  if (record.correlationId !== null) line += `,"correlationId":${text(shownCorrelation(record, mask))}`;
  if (record.tokenFingerprint !== null) line += `,"tokenFingerprint":"${record.tokenFingerprint}"`;
  if (record.peer !== null) line += `,"peer":${text(record.peer)}`;
  if (record.userAgent !== null) line += `,"userAgent":${text(shownUserAgent(record.userAgent, mask))}`;
  line += `,"source":"${record.source}"${failureFields(record, mask)}${callerFields(record, mask)}`;
  if (record.refused !== null) line += `,"refused":${text(shownRefused(record.refused, mask))}`;
  if (record.retryAfterMs !== null) line += `,"retryAfterMs":${shownMs(record.retryAfterMs)}`;
  if (record.authorizationReplaced) line += ',"authorizationReplaced":true';
  if (record.operation !== null) line += `,"operation":"${record.operation}"`;
  if (record.explanation !== null) line += `,"explanation":${text(mask(record.explanation))}`;
  if (record.retryReasons !== null) line += `,"retries":${JSON.stringify(record.retryReasons)}`;
  if (record.closeCode !== null) line += `,"closeCode":${record.closeCode}`;
  if (record.heldBy !== null) line += `,"heldBy":${JSON.stringify(record.heldBy)}`;
  if (record.limit !== null) line += `,"limit":"${record.limit}"`;
  if (record.aborted) line += ',"aborted":true';
  if (record.replayOf !== null) line += `,"replayOf":${text(record.replayOf)},"replayedBy":${text(record.replayedBy)}`;
  if (record.traceId !== null) line += `,"traceId":${text(record.traceId)}`;
  if (record.spanId !== null) line += `,"spanId":${text(record.spanId)}`;
  if (detail.requestHeaders && record.requestHeaders !== null)
    line += `,"requestHeaders":${structure(redactHeaders(record.requestHeaders), mask)}`;
  if (detail.responseHeaders && record.responseHeaders !== null)
    line += `,"responseHeaders":${structure(redactHeaders(record.responseHeaders), mask)}`;
  if (detail.bodies && record.requestBody !== null)
    line += `,"requestBody":${structure(record.requestBody.render(), mask)}`;
  if (detail.bodies && record.responseBody !== null)
    line += `,"responseBody":${structure(record.responseBody.render(), mask)}`;
  return `${line}}\n`;
}

/** Why a call failed, or a rule would have refused it. */
function failureFields({ error, errorCode, rule }: ExchangeRecord, mask: LiveSecrets['mask']): string {
  if (errorCode === null && rule === null) return '';
  let fields = '';
  if (errorCode !== null) fields += `,"errorCode":${text(errorCode)}`;
  if (error !== null) fields += `,"error":${text(shownWords(error, mask))}`;
  if (rule !== null) fields += `,"rule":${text(mask(rule))}`;
  return fields;
}

/** What is known of who called, beside its name. */
function callerFields(record: ExchangeRecord, mask: LiveSecrets['mask']): string {
  const { secretFingerprint, claimedClient, sessionUser } = record;
  let fields = '';
  if (secretFingerprint !== null) fields += `,"secretFingerprint":"${secretFingerprint}"`;
  if (claimedClient !== null) fields += `,"claimedClient":${text(mask(claimedClient))}`;
  if (sessionUser !== null) fields += `,"sessionUser":${text(mask(sessionUser))}`;
  return fields;
}

/** Printable ASCII but quote and backslash: JSON shows it as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;

function text(value: string | null): string {
  return value !== null && PLAIN.test(value) ? `"${value}"` : JSON.stringify(value);
}

/** The target as every record shows it. */
export function shownTarget({ target }: Pick<ExchangeRecord, 'target'>, mask: LiveSecrets['mask']): string {
  return mask(cutLong(target, redactTarget));
}

/** The platform's id as it shows it; whoever answers may have put anything there. */
export function shownCorrelation({ correlationId }: ExchangeRecord, mask: LiveSecrets['mask']): string | null {
  return correlationId === null ? null : mask(cutLong(correlationId, redactText, LONGEST_CORRELATION));
}

const LONGEST_CORRELATION = 1024;

/** The last User-Agent and what was left of it: one program sends the same with each call. */
const lastUserAgent = { full: '', redacted: '' };

/** A User-Agent as a record shows it. */
function shownUserAgent(userAgent: string, mask: LiveSecrets['mask']): string {
  if (isFingerprinting()) return mask(cutLong(userAgent, redactText, LONGEST_USER_AGENT));
  if (userAgent !== lastUserAgent.full) {
    lastUserAgent.redacted = cutLong(userAgent, redactText, LONGEST_USER_AGENT);
    lastUserAgent.full = userAgent;
  }
  return mask(lastUserAgent.redacted);
}

const LONGEST_USER_AGENT = 256;

/** A Host or Origin as a record shows it: whoever called may have put anything there. */
function shownRefused(name: string, mask: LiveSecrets['mask']): string {
  return mask(cutLong(name, redactText, LONGEST_REFUSED));
}

const LONGEST_REFUSED = 256;

/** A sentence of ours as a record shows it. */
function shownWords(words: string, mask: LiveSecrets['mask']): string {
  return mask(cutLong(words, redactWords, LONGEST_WORDS));
}

const LONGEST_WORDS = 2048;

/**
 * Masked string by string, before it is a line: no value, however odd, can take a piece out of the line's own shape.
 */
function structure(value: string | object, mask: LiveSecrets['mask']): string {
  return JSON.stringify(maskStrings(value, mask));
}

/** C0, DEL, C1, line and paragraph separators, and the marks that reorder text. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

const RED = 31;
const GREEN = 32;
const YELLOW = 33;
const CYAN = 36;
const GREY = 90;
const COLOURS: Record<RecordLevel, number> = { error: RED, warn: YELLOW, info: GREEN, debug: CYAN, trace: GREY };

/** The colour of a status, by its first digit. */
const STATUS_COLOURS = [GREY, GREEN, GREEN, CYAN, YELLOW, RED] as const;

/** A wait shorter than this is not worth a person's attention. */
const NOTABLE_WAIT_MS = 100;
/** A call that takes longer stands out, and one that takes very long stands out more. */
const SLOW_MS = 1_000;
const VERY_SLOW_MS = 5_000;

function coloured(text: string, colour: number | null, hasColour: boolean): string {
  return hasColour && colour !== null ? `\x1b[${colour}m${text}\x1b[0m` : text;
}

function statusText({ status }: ExchangeRecord, hasColour: boolean): string {
  const shown = status === 0 ? '---' : String(status);
  return coloured(shown, STATUS_COLOURS[Math.trunc(status / 100)] ?? RED, hasColour);
}

function durationText({ durationMs, closeCode }: ExchangeRecord, hasColour: boolean): string {
  // A socket is open as long as its caller wants it.
  const colour = closeCode !== null || durationMs < SLOW_MS ? null : durationMs < VERY_SLOW_MS ? YELLOW : RED;
  return coloured(`${Math.round(durationMs) || 0}ms`, colour, hasColour);
}

/** The text on one line, control characters as `\x1b`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (char) => {
    const code = char.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** JSON with the same characters as `\u001b`: it says the same, and drives no terminal. */
export function escapeUnprintable(json: string): string {
  return json.replace(UNPRINTABLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
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
  const call = printable(`${record.method || '-'} ${shownTarget(record, mask)}`);
  const more = explanations(record, mask).map((part) => ` ${printable(part)}`);
  let out =
    `${head(level, time, hasColour)}${call} ${statusText(record, hasColour)} ${durationText(record, hasColour)}` +
    more.join('');
  if (record.explanation !== null) out += `\n    ${printable(mask(record.explanation))}`;
  if (detail.requestHeaders && record.requestHeaders !== null)
    out += block('request headers', shown(redactHeaders(record.requestHeaders)));
  if (detail.bodies && record.requestBody !== null) out += block('request body', shown(record.requestBody.render()));
  if (detail.responseHeaders && record.responseHeaders !== null)
    out += block('response headers', shown(redactHeaders(record.responseHeaders)));
  if (detail.bodies && record.responseBody !== null) out += block('response body', shown(record.responseBody.render()));
  return `${out}\n`;
}

/** Who called, and what explains a failure or a delay: for a person, so what is usual is left out. */
function explanations(record: ExchangeRecord, mask: LiveSecrets['mask']): string[] {
  const { client, credential, claimedClient, error, errorCode, rule, heldBy, peer } = record;
  const parts: string[] = [];
  if (client !== null) parts.push(client);
  if (credential !== null) parts.push(`as ${credential}`);
  if (errorCode !== null) parts.push(error === null ? errorCode : `${errorCode}: ${shownWords(error, mask)}`);
  else if (rule !== null) parts.push(`(a rule would refuse: ${mask(rule)})`);
  if (claimedClient !== null) parts.push(`(said to be ${mask(claimedClient)})`);
  if (record.replayOf !== null) parts.push(`(sent again by ${record.replayedBy}, as ${record.replayOf} was)`);
  if (record.closeCode !== null) parts.push(`(closed with ${record.closeCode})`);
  if (record.aborted) parts.push(errorCode === 'gateway.draining' ? '(cut)' : '(the caller left)');
  if (record.retryReasons !== null) parts.push(`(sent again: ${record.retryReasons.join(', ')})`);
  if (record.limit !== null) parts.push(`(limited by ${record.limit})`);
  if (record.tokenWaitMs >= NOTABLE_WAIT_MS) parts.push(`(waited ${Math.round(record.tokenWaitMs)}ms for a token)`);
  if (record.queueMs >= NOTABLE_WAIT_MS)
    parts.push(`(queued ${Math.round(record.queueMs)}ms${heldBy === null ? '' : ` for ${heldBy}`})`);
  if (isFailed(record)) {
    if (peer !== null && !LOOPBACK.test(peer)) parts.push(`from=${peer}`);
    parts.push(`request=${record.requestId}`);
    if (record.correlationId !== null) parts.push(`correlation=${shownCorrelation(record, mask)}`);
  }
  return parts;
}

/** On this machine it is clear who called. */
const LOOPBACK = /^(?:127\.|::1$|unix)/;

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
  const sentence = sentenceOf(msg, fields);
  if (sentence !== null) return `${head(level, time, hasColour)}${printable(sentence)}\n`;
  let out = head(level, time, hasColour) + printable(msg);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    const shown =
      typeof value === 'string' ? (/^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)) : JSON.stringify(value);
    out += ` ${printable(`${name}=${shown}`)}`;
  }
  return `${out}\n`;
}

function head(level: RecordLevel, time: string, hasColour: boolean): string {
  const word = level.toUpperCase().padEnd(5);
  return `${time} ${coloured(word, COLOURS[level], hasColour)} `;
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
