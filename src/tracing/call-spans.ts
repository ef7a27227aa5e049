// The spans of one call, made of its record and of the notes of where its time went when it has ended: the call itself,
// what it waited for, each attempt. Names and values are OpenTelemetry's where it has them, else begin with `gcg.`.
// Nothing that a caller wrote is in them: paths are those of routes, and their ids stay in the log.

import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_REQUEST_RESEND_COUNT,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_ROUTE,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_URL_FULL,
  ATTR_URL_PATH,
  ATTR_URL_SCHEME,
} from '@opentelemetry/semantic-conventions';
import type { AttemptMarks, AttemptTrace, CallSpan, CallTrace, TracedWait } from '../logging/call-trace.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { shownCorrelation } from '../logging/format.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import {
  type AttributeValue,
  CLIENT,
  INTERNAL,
  makeSpan,
  type ReadableSpan,
  SERVER,
  type SpanLink,
  type SpanOrigin,
} from './span.ts';

/** What the spans of calls are made with. */
export interface CallSpansDeps extends SpanOrigin {
  /** Epoch ms of a monotonic time. */
  readonly epochOf: (monotonic: number) => number;
  /** Masks the values of secrets in use. */
  readonly mask: LiveSecrets['mask'];
  /** The token requests that a wait for a token was a wait for. */
  readonly loginsOf: (wait: TracedWait, call: CallSpan, credential: string | null) => readonly SpanLink[];
}

/** So many waits and attempts of a call have spans; a call may be refused for minutes. */
const MOST_CHILDREN = 100;

/** All spans of a call that has just ended, its own first. */
export function callSpans(
  record: ExchangeRecord,
  trace: CallTrace,
  span: CallSpan,
  deps: CallSpansDeps,
): ReadableSpan[] {
  const endedAt = trace.now();
  const { attempts, waits } = trace;
  const children: ReadableSpan[] = [];
  let next = 0;
  for (let resends = 0; resends <= attempts.length && children.length < MOST_CHILDREN; resends += 1) {
    const before = attempts[resends - 1];
    const attempt = attempts[resends];
    // They are in the order of their ends: those between two attempts stand together.
    for (; waits[next]?.attempts === resends && children.length < MOST_CHILDREN; next += 1)
      children.push(waitSpan(record, { span, before, wait: waits[next] as TracedWait }, deps));
    if (attempt !== undefined && children.length < MOST_CHILDREN)
      children.push(attemptSpan(record, { span, attempt, resends, before, endedAt }, deps));
  }
  const isCut = children.length < attempts.length + waits.length;
  const server = makeSpan(
    {
      name: `${methodOf(record)} ${record.route}`,
      kind: SERVER,
      traceId: span.traceId,
      spanId: span.spanId,
      parentId: span.parentId,
      hasRemoteParent: true,
      startedAt: deps.epochOf(trace.startedAt),
      endedAt: deps.epochOf(endedAt),
      attributes: { ...callAttributes(record, span, deps), 'gcg.spans_left_out': isCut ? true : null },
      hasFailed: record.status >= 500 || (record.errorCode !== null && record.status < 400 && !record.aborted),
    },
    deps,
  );
  return [server, ...children];
}

function callAttributes(record: ExchangeRecord, { isTls }: CallSpan, { mask }: CallSpansDeps) {
  const shown = (value: string | null) => value && mask(value);
  const attributes: Record<string, AttributeValue> = {
    [ATTR_HTTP_REQUEST_METHOD]: methodOf(record),
    [ATTR_URL_SCHEME]: isTls ? 'https' : 'http',
    [ATTR_URL_PATH]: record.route,
    [ATTR_HTTP_ROUTE]: record.route,
    [ATTR_HTTP_RESPONSE_STATUS_CODE]: record.status === 0 ? null : record.status,
    [ATTR_ERROR_TYPE]: record.errorCode ?? (record.status >= 500 ? String(record.status) : null),
    'http.request.body.size': record.requestBytes,
    'http.response.body.size': record.responseBytes,
    'gcg.request_id': record.requestId,
    'gcg.client': shown(record.client),
    'gcg.credential': shown(record.credential),
    'gcg.operation': record.operation,
    'gcg.source': record.source,
    'gcg.correlation_id': shownCorrelation(record, mask),
    'gcg.limit': shown(record.limit),
    'gcg.close_code': record.closeCode,
    'gcg.aborted': record.aborted ? true : null,
    'gcg.replay_of': record.replayOf,
  };
  return attributes;
}

/** An attempt among those of its call. */
interface AttemptPlace {
  readonly span: CallSpan;
  readonly attempt: AttemptTrace;
  /** How many came before it, and the last of these. */
  readonly resends: number;
  readonly before: AttemptTrace | undefined;
  /** When the call ended: so does what had not by then. */
  readonly endedAt: number;
}

function attemptSpan(
  record: ExchangeRecord,
  { span, attempt, resends, before, endedAt }: AttemptPlace,
  deps: CallSpansDeps,
): ReadableSpan {
  const marks = attempt.marks();
  const method = methodOf(record);
  const failure = marks.error ?? (marks.status !== null && marks.status >= 400 ? String(marks.status) : null);
  return makeSpan(
    {
      name: `${method} ${record.route}`,
      kind: CLIENT,
      traceId: span.traceId,
      spanId: attempt.spanId ?? span.newId(),
      parentId: span.spanId,
      startedAt: deps.epochOf(marks.at),
      endedAt: deps.epochOf(marks.endedAt ?? endedAt),
      attributes: {
        [ATTR_HTTP_REQUEST_METHOD]: method,
        ...serverAttributes(span.upstreamOrigin),
        [ATTR_URL_FULL]: span.upstreamOrigin && span.upstreamOrigin + record.route,
        'url.template': record.route,
        [ATTR_HTTP_RESPONSE_STATUS_CODE]: marks.status,
        [ATTR_ERROR_TYPE]: failure,
        [ATTR_HTTP_REQUEST_RESEND_COUNT]: resends > 0 ? resends : null,
        'gcg.retry.reason': before && outcomeOf(before.marks()),
        'gcg.retry_after_ms': attempt.retryAfterMs,
        ...connectionAttributes(marks),
      },
      hasFailed: failure !== null,
    },
    deps,
  );
}

/** How long it waited for a connection, and what making one took. */
function connectionAttributes({ at, permittedAt, dial, ageMs }: AttemptMarks): Record<string, AttributeValue> {
  const waitMs = permittedAt === null ? 0 : permittedAt - at;
  return {
    'gcg.connection.wait_ms': waitMs > 0.1 ? rounded(waitMs) : null,
    'gcg.connection.age_ms': rounded(ageMs),
    'gcg.dial.dns_ms': rounded(dial?.dns),
    'gcg.dial.tcp_ms': rounded(dial?.tcp),
    'gcg.dial.proxy_ms': rounded(dial?.proxy),
    'gcg.dial.tls_ms': rounded(dial?.tls),
  };
}

function rounded(ms: number | null | undefined): number | null {
  return ms == null ? null : Math.round(ms * 100) / 100;
}

const WAIT_NAMES = { queue: 'wait for limit', token: 'wait for token', pause: 'wait before retry' } as const;

function waitSpan(
  record: ExchangeRecord,
  {
    span,
    before,
    wait,
  }: { readonly span: CallSpan; readonly before: AttemptTrace | undefined; readonly wait: TracedWait },
  deps: CallSpansDeps,
): ReadableSpan {
  return makeSpan(
    {
      name: WAIT_NAMES[wait.for],
      kind: INTERNAL,
      traceId: span.traceId,
      spanId: span.newId(),
      parentId: span.spanId,
      startedAt: deps.epochOf(wait.at),
      endedAt: deps.epochOf(wait.at + wait.ms),
      attributes: {
        'gcg.wait.after': before && outcomeOf(before.marks()),
        'gcg.limit': wait.for === 'queue' ? wait.what && deps.mask(wait.what) : null,
      },
      hasFailed: false,
      links: wait.for === 'token' ? deps.loginsOf(wait, span, record.credential) : [],
    },
    deps,
  );
}

/** `429`, `ECONNRESET`: why there was another attempt after this one. */
function outcomeOf({ error, status }: AttemptMarks): string | null {
  return error ?? (status === null ? null : String(status));
}

/** Host and port of an origin. */
export function serverAttributes(origin: string | null): Record<string, AttributeValue> {
  if (origin === null) return {};
  const { protocol, hostname, port } = new URL(origin);
  const usual = protocol === 'https:' || protocol === 'wss:' ? 443 : 80;
  return {
    [ATTR_SERVER_ADDRESS]: hostname.replace(/^\[|\]$/g, ''),
    [ATTR_SERVER_PORT]: port === '' ? usual : Number(port),
  };
}

const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);

function methodOf({ method }: ExchangeRecord): string {
  return KNOWN_METHODS.has(method) ? method : '_OTHER';
}
