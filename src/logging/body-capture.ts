// Captures bodies for the log as they stream by, up to a bound; decodes and redacts them when the record is written.

import {
  brotliDecompressSync,
  constants,
  gunzipSync,
  inflateRawSync,
  inflateSync,
  zstdDecompressSync,
} from 'node:zlib';
import type { GatewayConfig } from '../config/gateway-config.ts';
import type { BodyCapture, ExchangeRecord } from './exchange-record.ts';
import { cutMark } from './redact/live-secrets.ts';
import { redactParams } from './redact/redact.ts';
import { redactText } from './redact/text.ts';
import { redactValue } from './redact/value.ts';

export interface BodyCaptureOptions {
  /** At most this much is kept, and at most this much is shown. */
  readonly maxBytes: number;
  readonly contentType: string | null | undefined;
  readonly contentEncoding: string | null | undefined;
}

/** One capture serves one body. Its memory is bounded by `maxBytes`; nothing needs closing. */
export function createBodyCapture({ maxBytes, contentType, contentEncoding }: BodyCaptureOptions): BodyCapture {
  const type = parseContentType(contentType ?? '');
  const kept: Buffer[] = [];
  let keptBytes = 0;
  let totalBytes = 0;
  return {
    write(chunk) {
      totalBytes += chunk.length;
      if (type.kind === 'binary' || keptBytes >= maxBytes) return;
      // Copied, not referenced: a slice would hold its whole network buffer.
      const part = Buffer.from(chunk.subarray(0, maxBytes - keptBytes));
      kept.push(part);
      keptBytes += part.length;
    },
    render() {
      if (totalBytes === 0) return '';
      const summary =
        `[${type.name || 'no content type'}, ${totalBytes} ` +
        `bytes${contentEncoding ? ` as ${contentEncoding.slice(0, 32)}` : ''}]`;
      if (type.kind === 'binary') return summary;
      try {
        return renderBody(Buffer.concat(kept), totalBytes, maxBytes, type, contentEncoding ?? '') ?? summary;
      } catch {
        // A body must never cost its record.
        return summary;
      }
    },
    whole() {
      if (keptBytes < totalBytes || contentEncoding || type.kind === 'binary') return null;
      const raw = Buffer.concat(kept);
      const text = raw.toString();
      return Buffer.from(text).equals(raw) ? text : null;
    },
  };
}

/** How a body is redacted. */
type BodyKind = 'json' | 'form' | 'text';

interface ContentType {
  readonly name: string;
  readonly kind: BodyKind | 'binary' | 'unknown';
  readonly encoding: 'utf8' | 'latin1';
}

function parseContentType(header: string): ContentType {
  const name = (/^\s*[\w.+-]+\/[\w.+-]+/.exec(header.slice(0, 200))?.[0] ?? '').trim().toLowerCase();
  const charset = /charset\s*=\s*"?([\w-]+)/i.exec(header.slice(0, 500))?.[1]?.toLowerCase() ?? 'utf-8';
  const encoding = /^(?:iso-8859-1|latin1|windows-1252)$/.test(charset) ? 'latin1' : 'utf8';
  // In an encoding we do not read, secrets could not be recognised.
  const isReadable = encoding === 'latin1' || /^(?:utf-?8|us-ascii|ascii)$/.test(charset);
  return { name, encoding, kind: isReadable ? kindOf(name) : 'binary' };
}

function kindOf(name: string): ContentType['kind'] {
  if (name === '') return 'unknown';
  if (/[/+]json$/.test(name)) return 'json';
  if (name === 'application/x-www-form-urlencoded') return 'form';
  if (/^text\/|[/+](?:xml|javascript|graphql|x-ndjson|ndjson)$/.test(name)) return 'text';
  return 'binary';
}

function renderBody(
  raw: Buffer,
  totalBytes: number,
  maxBytes: number,
  type: ContentType,
  contentEncoding: string,
): string | object | null {
  const decoded = decodeBody(raw, contentEncoding, maxBytes);
  if (decoded === null) return null;
  const isWhole = decoded.isWhole && raw.length === totalBytes;
  // NUL: binary after all, or UTF-16, in which names would not be recognised.
  if (decoded.bytes.includes(0)) return null;
  const kind = type.kind === 'unknown' || type.kind === 'binary' ? 'text' : type.kind;
  if (isWhole) {
    const text = decoded.bytes.toString(type.encoding);
    return type.kind === 'unknown' && text.includes('\ufffd') ? null : redactBody(text, kind);
  }
  // A character that the cut went through shows as one replacement character.
  const text = decoded.bytes.toString(type.encoding).replace(/\ufffd$/, '');
  const of = contentEncoding === '' ? `${totalBytes}` : `${totalBytes} bytes ${contentEncoding.slice(0, 32)}`;
  return redactCutBody(text, kind) + cutMark(decoded.bytes.length, `bytes of ${of}`);
}

/** A whole body. */
function redactBody(text: string, kind: BodyKind): string | object {
  const parsed = parseJson(text, kind);
  if (parsed === undefined) return redactPlainBody(text, kind);
  const redacted = redactValue(parsed);
  return typeof redacted === 'object' && redacted !== null ? redacted : JSON.stringify(redacted);
}

/**
 * The beginning of a longer body: what the cut went through is left out, so that no half secret slips by unrecognised.
 */
function redactCutBody(text: string, kind: BodyKind): string {
  if (looksLikeJson(text)) {
    const closed = closeCutJson(text);
    const parsed = closed === null ? undefined : parseJson(closed, kind);
    if (parsed !== undefined)
      return trimEnd(JSON.stringify(redactValue(parsed)), (char) => char === '}' || char === ']');
  }
  const whole =
    kind === 'form' ? text.slice(0, text.lastIndexOf('&') + 1) : trimEnd(text, (char) => !/[\s,;&<>]/.test(char));
  return redactPlainBody(whole, kind);
}

/** By hand: the regular expression for it would be quadratic. */
function trimEnd(text: string, isTrimmed: (char: string) => boolean): string {
  let end = text.length;
  while (end > 0 && isTrimmed(text[end - 1] as string)) end--;
  return text.slice(0, end);
}

function redactPlainBody(text: string, kind: BodyKind): string {
  return redactText(kind === 'form' ? redactParams(text) : text);
}

function looksLikeJson(text: string): boolean {
  return /^[\s\ufeff]*["[{]/.test(text);
}

function parseJson(text: string, kind: BodyKind): unknown {
  if (kind !== 'json' && !looksLikeJson(text)) return undefined;
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''));
  } catch {
    return undefined;
  }
}

/**
 * The text up to its last complete value, with what was open closed; null when nothing complete was seen. The value the
 * cut went through is gone: half a token is never kept.
 */
function closeCutJson(text: string): string | null {
  const closers: string[] = [];
  let complete = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (isInString) {
      if (char === '\\') at++;
      else if (char === '"') isInString = false;
      continue;
    }
    if (char === '"') isInString = true;
    else if (char === ',') complete = at;
    else if (char === '{' || char === '[') {
      closers.push(char === '{' ? '}' : ']');
      complete = at + 1;
    } else if (char === '}' || char === ']') {
      closers.pop();
      complete = at + 1;
    }
  }
  return complete === 0 ? null : text.slice(0, complete) + closers.reverse().join('');
}

/** What came out, at most the limit. `isWhole`: nothing is missing at the end. */
export interface Decoded {
  readonly bytes: Buffer;
  readonly isWhole: boolean;
}

type Decode = (input: Buffer, maxOutputLength: number) => Buffer;

const decoders: Readonly<Record<string, Decode>> = {
  gzip: (input, maxOutputLength) => gunzipSync(input, { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH }),
  deflate: (input, maxOutputLength) => {
    const options = { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH };
    // "deflate" is zlib's format by RFC 9110, and raw deflate from some servers.
    const isZlib =
      input.length > 1 &&
      ((input[0] as number) & 0x0f) === 8 &&
      (((input[0] as number) << 8) | (input[1] as number)) % 31 === 0;
    return isZlib ? inflateSync(input, options) : inflateRawSync(input, options);
  },
  br: (input, maxOutputLength) =>
    brotliDecompressSync(input, { maxOutputLength, finishFlush: constants.BROTLI_OPERATION_FLUSH }),
  zstd: (input, maxOutputLength) => zstdDecompressSync(input, { maxOutputLength, finishFlush: constants.ZSTD_e_flush }),
};

const MOST_ENCODINGS = 3;

/**
 * The body behind `contentEncoding`, up to `maxBytes` of it; null when the encoding is unknown or the bytes are not
 * what they claim to be.
 */
export function decodeBody(input: Buffer, contentEncoding: string, maxBytes: number): Decoded | null {
  const encodings = contentEncoding
    .split(',')
    .map((name) => name.trim().toLowerCase().replace(/^x-/, ''))
    .filter((name) => name !== '' && name !== 'identity');
  if (encodings.length > MOST_ENCODINGS) return null;
  let current: Decoded = { bytes: input, isWhole: true };
  for (const name of encodings.reverse()) {
    const decode = Object.hasOwn(decoders, name) ? decoders[name] : undefined;
    const next = decode && decodeBounded(decode, current.bytes, maxBytes);
    if (!next) return null;
    current = { bytes: next.bytes, isWhole: current.isWhole && next.isWhole };
  }
  return current;
}

/**
 * zlib gives nothing at all when the output would be too large, so less and less of the input is tried: a bomb costs a
 * few bounded attempts.
 */
function decodeBounded(decode: Decode, input: Buffer, maxBytes: number): Decoded | null {
  const maxOutputLength = maxBytes * 4 + 1024;
  for (let length = input.length; length > 0; length = Math.floor(length / 2)) {
    try {
      const bytes = decode(input.subarray(0, length), maxOutputLength);
      return { bytes: bytes.subarray(0, maxBytes), isWhole: length === input.length && bytes.length <= maxBytes };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') return null;
    }
  }
  return { bytes: Buffer.alloc(0), isWhole: input.length === 0 };
}

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

/** For a request's body, before the first of it is read: for the log, where `logging` says so, and for who captures. */
export function captureRequestBody(
  record: ExchangeRecord,
  headers: NodeJS.Dict<string | string[]>,
  logging: BodyLogging | null,
): void {
  const { captured } = record;
  if (!logging?.request && captured === null) return;
  const encodings = headers['content-encoding'];
  const contentType = headers['content-type'] as string | undefined;
  const contentEncoding = Array.isArray(encodings) ? encodings.join(',') : encodings;
  const capture = (maxBytes: number) => createBodyCapture({ maxBytes, contentType, contentEncoding });
  if (logging?.request) record.requestBody = capture(logging.maxBytes);
  if (captured !== null) captured.requestBody = capture(captured.maxBytes);
}

/** What the chunks of a request's body are told; null where nobody keeps them. */
export function requestBodyObserver({ requestBody, captured }: ExchangeRecord): ((chunk: Buffer) => void) | null {
  const other = captured?.requestBody ?? null;
  if (other === null) return requestBody && ((chunk) => requestBody.write(chunk));
  return (chunk) => {
    requestBody?.write(chunk);
    other.write(chunk);
  };
}

/** The same for an answer's body; `headers` is a flat list of names and values. */
export function captureResponseBody(
  record: ExchangeRecord,
  headers: readonly string[],
  logging: BodyLogging | null,
): void {
  const { captured } = record;
  if (!logging?.response && captured === null) return;
  const content = contentOf(headers);
  if (logging?.response) record.responseBody = createBodyCapture({ maxBytes: logging.maxBytes, ...content });
  if (captured !== null) captured.responseBody = createBodyCapture({ maxBytes: captured.maxBytes, ...content });
}

/** A failure that says what is wrong in JSON is short. */
const LONGEST_FAILURE_BYTES = 4096;

/** For the body of a failed answer, where it is JSON: whatever passes it is the platform's own words. */
export function captureFailure(record: ExchangeRecord, headers: readonly string[]): void {
  const content = contentOf(headers);
  if (content.contentType == null || parseContentType(content.contentType).kind !== 'json') return;
  record.failureBody = createBodyCapture({ maxBytes: LONGEST_FAILURE_BYTES, ...content });
}

function contentOf(headers: readonly string[]): Pick<BodyCaptureOptions, 'contentType' | 'contentEncoding'> {
  let contentType: string | null = null;
  let contentEncoding: string | null = null;
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = (headers[at] as string).toLowerCase();
    if (name === 'content-type') contentType = headers[at + 1] as string;
    else if (name === 'content-encoding')
      contentEncoding =
        contentEncoding === null ? (headers[at + 1] as string) : `${contentEncoding},${headers[at + 1]}`;
  }
  return { contentType, contentEncoding };
}
