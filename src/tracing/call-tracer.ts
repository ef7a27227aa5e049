// The port of what makes and exports spans: what a running gateway tells it, and by which way it sends. No code; whoever
// knows this knows nothing of OpenTelemetry.

import type { ExchangeRecord } from '../logging/exchange-record.ts';

/** What is known of a call when it begins. */
export interface CallStart {
  /** The caller's header. */
  readonly traceparent: string | readonly string[] | undefined;
  /** Whether its sampled flag counts: the caller proved who it is, or is on this machine. */
  readonly mayDecide: boolean;
  readonly isTls: boolean;
  /** As in `CallSpan`. */
  readonly hasOwnToken: boolean;
}

/** One token request that has ended. Times in monotonic ms. */
export interface TokenRequest {
  readonly credential: string;
  readonly grant: string;
  readonly result: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly url: string;
  readonly statusCode: number | null;
  readonly errorCode: string | null;
  readonly tokenFingerprint: string | null;
  /** For a session of an application's own user: no call of another caller waited for it. */
  readonly isOfSession: boolean;
}

/** What makes the spans of one configuration. Nothing of it throws, and nothing waits. */
export interface CallTracer {
  /**
   * A call begins that was let in: decides whether it has spans, once. Those of a caller who may decide it have them as
   * its traceparent says. Its record gets the ids that its spans will have.
   */
  begin(record: ExchangeRecord, start: CallStart): void;
  /** A call with spans has ended. */
  ended(record: ExchangeRecord): void;
  tokenRequest(request: TokenRequest): void;
  /** Spans that wait to be sent. */
  readonly waiting: number;
  /** Sends what waits, within `withinMs`; what is left then is dropped. */
  close(withinMs: number): Promise<void>;
}

/** One POST over the way out of calls. Rejects with a GatewayError, and reads no more than `maxBodyBytes`. */
export type SpanPost = (request: {
  readonly url: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  readonly timeoutMs: number;
  readonly maxBodyBytes: number;
}) => Promise<{ statusCode: number; headers: Record<string, string | undefined>; body: Buffer }>;
