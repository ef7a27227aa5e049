// The record of one exchange: a plain mutable object that the data path fills in and the logger writes once, when the
// exchange ends. It holds raw, unredacted references; redaction is the writer's job, so nothing here is ever serialised
// as it is.

import type { CallTrace } from './call-trace.ts';

/**
 * Header lines as Node and undici hand them out: a flat list (name, value, name, value…; buffers are latin1) or a
 * dictionary. Only a reference is kept, and it is rendered (redacted) only at the level that shows it.
 */
export type RawHeaders =
  | readonly (string | Buffer)[]
  | Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a record needs of a captured body. `render` gives the redacted body, cut and marked; it never throws. */
export interface BodyCapture {
  /** Takes note of a chunk as it streams by. Keeps no more than the limit and never changes the chunk. */
  write(chunk: Buffer): void;
  render(): string | object;
  /** The body octet for octet, as text, unredacted; null where it was cut, is packed, or is no UTF-8. */
  whole(): string | null;
}

/** The bodies of a call that somebody who looks at calls captures, beside what is logged. */
export interface CapturedBodies {
  /** As much of each is kept. */
  readonly maxBytes: number;
  requestBody: BodyCapture | null;
  responseBody: BodyCapture | null;
}

/** One exchange between a caller and the gateway. Durations and `startedAt` in ms, sizes in bytes. */
export interface ExchangeRecord {
  requestId: string;
  /** Name of the authenticated local client; null for an anonymous caller. */
  client: string | null;
  /** The `secretFingerprint` of what authenticated that client; null for certificates and anonymous callers. */
  secretFingerprint: string | null;
  /**
   * The client that a proof names which was not taken: a wrong secret's, an ended handle's. As `shownClaim` gives it.
   */
  claimedClient: string | null;
  /** The platform's user behind the session that the call was made with, where that is known. */
  sessionUser: string | null;
  /** The caller's address, the one behind trusted proxies, or `unix:` and the path of the listener's socket. */
  peer: string | null;
  /** The caller's User-Agent as it came. */
  userAgent: string | null;
  /** Name of the credential used; null when none was chosen. */
  credential: string | null;
  /** The platform's operationId of a call, `unlisted` where the table has none; null for what is no call. */
  operation: string | null;
  method: string;
  /** The request target octet for octet, secrets and all. Logged only as the redacted `path`. */
  target: string;
  /** Route template: the operation's, or that of a route of our own; `other` for what leads nowhere. Empty before. */
  route: string;
  /** Asked every few seconds by machines: counted, and not logged, since a record each would bury all others. */
  isProbe: boolean;
  /** Asked every second by a command of ours that waits: logged at `debug` while all is well. */
  isPoll: boolean;
  /** Made by whoever looks at calls: they would see little else. */
  isInspection: boolean;
  /** Status the caller was answered with; 0 while there is none (and when the client disconnected before). */
  status: number;
  /** Monotonic. */
  startedAt: number;
  durationMs: number;
  /** Time spent waiting for the upstream's response, summed over attempts. */
  upstreamMs: number;
  /** From when the last attempt's request began to be written to its response; 0 where none was. */
  answerMs: number;
  tokenWaitMs: number;
  queueMs: number;
  /** Requests sent upstream; 0 when the gateway answered by itself. */
  attempts: number;
  requestBytes: number;
  responseBytes: number;
  /** The platform's `ININ-Correlation-Id`. */
  correlationId: string | null;
  tokenFingerprint: string | null;
  /** The gateway's code, where it failed the call. */
  errorCode: string | null;
  /** The sentence beside that code, as the caller was told it. Ours, safe to show. */
  error: string | null;
  /** The rule that refused the call, or would have (mode `report`). */
  rule: string | null;
  /** The Host or the Origin that was not let in. */
  refused: string | null;
  /** When the caller was told to try again. */
  retryAfterMs: number | null;
  /** Why the platform refused the call, or will, in words of ours and names of the platform's. */
  explanation: string | null;
  /** The caller sent an `Authorization` of its own, and it was replaced. */
  authorizationReplaced: boolean;
  /** How a WebSocket ended: the code of its close frame, 1006 where there was none. Null for anything but a socket. */
  closeCode: number | null;
  /** Who made the response. */
  source: 'upstream' | 'gateway';
  /** Why each further attempt was made: `401`, `429`, `503`, `ECONNRESET`; null when there was one attempt or none. */
  retryReasons: string[] | null;
  /**
   * The limit that this call waited for, or was refused by, last; null when none held it. Gateway's words, no input in
   * it.
   */
  heldBy: string | null;
  /**
   * The platform's name of the limit that refused it last (429), `directory:user.rate.per.minute`; null where none did,
   * or none was named.
   */
  limit: string | null;
  /** The client disconnected before its response was complete. */
  aborted: boolean;
  /** Its place among the calls that watchers are told of while they run; -1 where it has none. */
  runningAt: number;
  /** Where its time goes; null while nobody watches. */
  trace: CallTrace | null;
  traceId: string | null;
  spanId: string | null;
  requestHeaders: RawHeaders | null;
  responseHeaders: RawHeaders | null;
  /** Set only when `log_request_body` is on. */
  requestBody: BodyCapture | null;
  /** Set only when `log_response_body` is on. */
  responseBody: BodyCapture | null;
  /** The beginning of what the platform says of a failure; null where nobody asks. */
  failureBody: BodyCapture | null;
  /** Set only while somebody captures calls. */
  captured: CapturedBodies | null;
  /** The call that it repeats, by its request id, and who asked for that; null for what a caller sent. */
  replayOf: string | null;
  replayedBy: string | null;
  /** Who is to make it when it is made again, and the listener it came by: the server's own objects, nothing to show. */
  sender: object | null;
  listener: object | null;
  /** Set while it has a place in its client's budget and was not sent yet. */
  holdsBudget: boolean;
  /** Set when its line in the audit trail was made. */
  isAudited: boolean;
  /** Set when its end was reported; later reports are ignored. */
  isEnded: boolean;
}

/**
 * A record with every property in place, so that all records share one hidden class. Made once a request: a single
 * allocation. Times are stamped by the caller's monotonic clock; `durationMs` is set where the exchange ends.
 */
export function createExchangeRecord(startedAt: number = performance.now()): ExchangeRecord {
  return {
    requestId: '',
    client: null,
    secretFingerprint: null,
    claimedClient: null,
    sessionUser: null,
    peer: null,
    userAgent: null,
    credential: null,
    operation: null,
    method: '',
    target: '',
    route: '',
    isProbe: false,
    isPoll: false,
    isInspection: false,
    status: 0,
    startedAt,
    durationMs: 0,
    upstreamMs: 0,
    answerMs: 0,
    tokenWaitMs: 0,
    queueMs: 0,
    attempts: 0,
    requestBytes: 0,
    responseBytes: 0,
    correlationId: null,
    tokenFingerprint: null,
    errorCode: null,
    error: null,
    rule: null,
    refused: null,
    retryAfterMs: null,
    explanation: null,
    authorizationReplaced: false,
    closeCode: null,
    source: 'gateway',
    retryReasons: null,
    heldBy: null,
    limit: null,
    aborted: false,
    runningAt: -1,
    trace: null,
    traceId: null,
    spanId: null,
    requestHeaders: null,
    responseHeaders: null,
    requestBody: null,
    responseBody: null,
    failureBody: null,
    captured: null,
    replayOf: null,
    replayedBy: null,
    sender: null,
    listener: null,
    holdsBudget: false,
    isAudited: false,
    isEnded: false,
  };
}

/** Notes the error of ours that fails a call. */
export function noteError(
  record: ExchangeRecord,
  {
    code,
    message,
    retryAfterMs,
  }: { readonly code: string; readonly message: string; readonly retryAfterMs?: number | undefined },
): void {
  record.errorCode = code;
  record.error = message;
  if (retryAfterMs !== undefined) record.retryAfterMs = retryAfterMs;
}

/** Notes why one more attempt is made. */
export function noteRetry(record: ExchangeRecord, reason: string): void {
  if (record.retryReasons === null) record.retryReasons = [reason];
  else record.retryReasons.push(reason);
}
