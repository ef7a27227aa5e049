// Keeps the beginning of a body that streams by, and renders it for the log: decoded, redacted, cut and marked.
// It sees copies: the chunks themselves go on untouched, and nothing waits for it.

import { decodeBody } from './decode-body.ts';
import type { BodyCapture } from './exchange-record.ts';
import { cutMark } from './live-secrets.ts';
import { type BodyKind, redactBody, redactCutBody } from './redact-body.ts';

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
      const summary = `[${type.name || 'no content type'}, ${totalBytes} bytes${contentEncoding ? ` as ${contentEncoding.slice(0, 32)}` : ''}]`;
      if (type.kind === 'binary') return summary;
      try {
        return renderBody(Buffer.concat(kept), totalBytes, maxBytes, type, contentEncoding ?? '') ?? summary;
      } catch {
        // A body must never cost its record.
        return summary;
      }
    },
  };
}

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

function renderBody(raw: Buffer, totalBytes: number, maxBytes: number, type: ContentType, contentEncoding: string): string | object | null {
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
