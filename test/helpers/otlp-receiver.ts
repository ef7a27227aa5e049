// A collector for tests: takes OTLP over HTTP and decodes its protobuf by the field numbers of the published schema, with
// no code of what wrote it.

import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Test } from 'tap';

/** One span as it was received. Times in ms, ids in hex, the parent of a root is ''. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly name: string;
  readonly kind: number;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status: number;
  readonly hasRemoteParent: boolean;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly scope: string;
}

/** One request as it came. */
export interface ReceivedExport {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly spans: readonly ReceivedSpan[];
  /** Whether the sender showed a certificate. */
  readonly showedCertificate: boolean;
}

export interface OtlpReceiver {
  readonly endpoint: string;
  readonly exports: ReceivedExport[];
  readonly spans: ReceivedSpan[];
  /** Answers the next requests; 200 without a body by default. */
  answer: (response: ServerResponse, count: number) => void;
  /** Resolves when there is a request, or a span, that fits. */
  until<T>(find: () => T | undefined | false): Promise<T>;
}

/** Listens on a free port until the test ends. With `tls` it speaks https. */
export async function startOtlpReceiver(t: Test, tls?: ServerOptions): Promise<OtlpReceiver> {
  const exports: ReceivedExport[] = [];
  const spans: ReceivedSpan[] = [];
  let wake: (() => void)[] = [];
  const listener: RequestListener = async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const decoded = decodeExport(body);
    const shown = (request.socket as Partial<TLSSocket>).getPeerCertificate?.() ?? {};
    const showedCertificate = Object.keys(shown).length > 0;
    exports.push({ path: request.url ?? '', headers: request.headers, body, spans: decoded, showedCertificate });
    spans.push(...decoded);
    receiver.answer(response, exports.length);
    const waiting = wake;
    wake = [];
    for (const each of waiting) each();
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.on('error', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const receiver: OtlpReceiver = {
    endpoint: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/v1/traces`,
    exports,
    spans,
    answer: (response) => void response.end(),
    async until(find) {
      for (;;) {
        const found = find();
        if (found !== undefined && found !== false) return found;
        await new Promise<void>((resolve) => wake.push(resolve));
      }
    },
  };
  return receiver;
}

/** A field of a message: a number, or octets. */
type Field = readonly [number: number, value: bigint | Buffer];

/** The fields of a protobuf message (https://protobuf.dev/programming-guides/encoding/). Throws for what is none. */
export function fieldsOf(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const octet = message[at];
      if (octet === undefined || shift > 63n) throw new Error('cut off in a number');
      at += 1;
      value |= BigInt(octet & 0x7f) << shift;
      if (octet < 0x80) return BigInt.asUintN(64, value);
    }
  };
  const take = (length: number) => {
    if (at + length > message.length) throw new Error('cut off in a field');
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = Number(varint());
    const number = tag >> 3;
    switch (tag & 7) {
      case 0:
        fields.push([number, varint()]);
        break;
      case 1:
        fields.push([number, take(8).readBigUInt64LE()]);
        break;
      case 2:
        fields.push([number, take(Number(varint()))]);
        break;
      case 5:
        fields.push([number, BigInt(take(4).readUInt32LE())]);
        break;
      default:
        throw new Error(`wire type ${tag & 7}`);
    }
  }
  return fields;
}

const all = (fields: readonly Field[], wanted: number) =>
  fields.filter(([number]) => number === wanted).map(([, value]) => value as Buffer);
const hex = (fields: readonly Field[], wanted: number) => all(fields, wanted)[0]?.toString('hex') ?? '';
const text = (fields: readonly Field[], wanted: number) => all(fields, wanted)[0]?.toString('utf8') ?? '';
const number = (fields: readonly Field[], wanted: number) =>
  (fields.find(([found]) => found === wanted)?.[1] as bigint | undefined) ?? 0n;
const ms = (nanoseconds: bigint) => Number(nanoseconds / 1_000n) / 1_000;

/** ExportTraceServiceRequest, opentelemetry/proto/collector/trace/v1. */
function decodeExport(body: Buffer): ReceivedSpan[] {
  return all(fieldsOf(body), 1).flatMap((resourceSpans) => {
    const inResource = fieldsOf(resourceSpans);
    const resource = attributesIn(fieldsOf(all(inResource, 1)[0] ?? Buffer.alloc(0)), 1);
    return all(inResource, 2).flatMap((scopeSpans) => {
      const inScope = fieldsOf(scopeSpans);
      const scope = text(fieldsOf(all(inScope, 1)[0] ?? Buffer.alloc(0)), 1);
      return all(inScope, 2).map((span) => decodeSpan(fieldsOf(span), resource, scope));
    });
  });
}

function decodeSpan(span: readonly Field[], resource: ReceivedSpan['resource'], scope: string): ReceivedSpan {
  return {
    traceId: hex(span, 1),
    spanId: hex(span, 2),
    parentId: hex(span, 4),
    name: text(span, 5),
    kind: Number(number(span, 6)),
    startedAt: ms(number(span, 7)),
    endedAt: ms(number(span, 8)),
    attributes: attributesIn(span, 9),
    links: all(span, 13).map((link) => ({ traceId: hex(fieldsOf(link), 1), spanId: hex(fieldsOf(link), 2) })),
    status: Number(number(fieldsOf(all(span, 15)[0] ?? Buffer.alloc(0)), 3)),
    hasRemoteParent: (number(span, 16) & 0x200n) !== 0n,
    resource,
    scope,
  };
}

function attributesIn(fields: readonly Field[], wanted: number): Record<string, unknown> {
  return Object.fromEntries(
    all(fields, wanted).map((keyValue) => {
      const pair = fieldsOf(keyValue);
      return [text(pair, 1), anyValueIn(fieldsOf(all(pair, 2)[0] ?? Buffer.alloc(0)))];
    }),
  );
}

function anyValueIn(fields: readonly Field[]): unknown {
  const [kind, value] = fields[0] ?? [0, 0n];
  if (kind === 1) return (value as Buffer).toString('utf8');
  if (kind === 2) return value === 1n;
  if (kind === 3) return Number(BigInt.asIntN(64, value as bigint));
  if (kind !== 4) return undefined;
  const octets = Buffer.alloc(8);
  octets.writeBigUInt64LE(value as bigint);
  return octets.readDoubleLE();
}

/** The spans of a trace as an indented text, in their order; ids and instances left out. */
export function treeOf(spans: readonly ReceivedSpan[], describe: (span: ReceivedSpan) => string): string {
  const known = new Set(spans.map(({ spanId }) => spanId));
  const under = (parentId: string | null, indent: string): string[] =>
    spans
      .filter((span) => (parentId === null ? !known.has(span.parentId) : span.parentId === parentId))
      .toSorted((a, b) => a.startedAt - b.startedAt || a.endedAt - b.endedAt)
      .flatMap((span) => [indent + describe(span), ...under(span.spanId, `${indent}  `)]);
  return under(null, '').join('\n');
}
