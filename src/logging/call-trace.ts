// Where the time of one call goes: the layers note it in the record while somebody watches, and where its spans are
// exported. It decides nothing, and no log line shows it.

import { shownMs } from './milliseconds.ts';

/** What a call waited for before it had a connection: its turn at a limit, a token, the time before another try. */
export type WaitKind = 'queue' | 'token' | 'pause';

/** How a connection came to be: ms of each phase, null for one that there was not. */
export interface DialPhases {
  readonly dns: number | null;
  readonly tcp: number | null;
  readonly proxy: number | null;
  readonly tls: number | null;
}

/**
 * One wait that is over. `what`: the name of the limit, or the fingerprint of the token that came; null: none.
 * `attempts`: how many had been made before.
 */
export interface TracedWait {
  readonly for: WaitKind;
  readonly at: number;
  readonly ms: number;
  readonly what: string | null;
  readonly attempts: number;
}

/** The span of a call whose spans are exported. Ids as traceparent writes them. */
export interface CallSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** The caller's span; null where the trace begins here. */
  readonly parentId: string | null;
  readonly isTls: boolean;
  /** The tokens of its credential serve it, and not those of a session. */
  readonly hasOwnToken: boolean;
  /** Where its attempts go; null until that is known. */
  upstreamOrigin: string | null;
  /** Where the value of traceparent is among the headers that go upstream; -1: nowhere. */
  traceparentAt: number;
  /** Makes the id of one more span. */
  newId(): string;
}

/** The notes of one call. Times in ms of the clock that it was made with, until they are shown. */
export class CallTrace {
  /** The clock: monotonic ms. */
  readonly now: () => number;
  readonly startedAt: number;
  readonly waits: TracedWait[] = [];
  readonly attempts: AttemptTrace[] = [];
  /** Null where its spans are not exported. */
  span: CallSpan | null = null;
  #handedOverAt: number | null = null;
  /** How long the answer stood still because the caller did not read it. */
  stalledMs = 0;
  /** Whether the head of the request is wanted as it is written, and that of the last attempt, secrets and all. */
  isHeadWanted = false;
  sentHead: string | null = null;

  constructor(now: () => number, startedAt = now()) {
    this.now = now;
    this.startedAt = startedAt;
  }

  /** The call leaves admission and rules, and goes to the layers. */
  handOver(): void {
    this.#handedOverAt = this.now();
  }

  /** Notes a wait that began at `from` and is over. */
  waited(kind: WaitKind, from: number, what: string | null = null): void {
    this.waits.push({ for: kind, at: from, ms: this.now() - from, what, attempts: this.attempts.length });
  }

  /** Another attempt begins. */
  attempt(): AttemptTrace {
    const attempt = new AttemptTrace(this);
    this.attempts.push(attempt);
    return attempt;
  }

  /**
   * What is shown of it, as JSON: offsets from when the call was accepted. Made for every call while somebody watches,
   * so put together by hand.
   */
  text(): string {
    const { startedAt } = this;
    const waits = this.waits.map(
      (wait) => `{"for":"${wait.for}","at":${shown(wait.at - startedAt)},"ms":${shown(wait.ms)}}`,
    );
    const attempts = this.attempts.map((attempt) => attempt.text(startedAt));
    return (
      `{"rules":${shown((this.#handedOverAt ?? this.now()) - startedAt)},"waits":[${waits.join(',')}],` +
      `"attempts":[${attempts.join(',')}],"stalled":${shown(this.stalledMs)}}`
    );
  }
}

/** When an attempt came to each of its phases, null for one that it did not come to, and how it ended. */
export interface AttemptMarks {
  readonly at: number;
  readonly permittedAt: number | null;
  readonly answeredAt: number | null;
  readonly endedAt: number | null;
  readonly dial: DialPhases | null;
  /** How old its connection was, where that was there already. */
  readonly ageMs: number | null;
  readonly status: number | null;
  readonly error: string | null;
}

/** The notes of one attempt. A phase that it did not come to is left out. */
export class AttemptTrace {
  readonly call: CallTrace;
  readonly #at: number;
  #permittedAt: number | null = null;
  #connectedAt: number | null = null;
  #sentAt: number | null = null;
  #answeredAt: number | null = null;
  #endedAt: number | null = null;
  #stalledSince: number | null = null;
  #dial: DialPhases | null = null;
  #idleMs: number | null = null;
  #ageMs: number | null = null;
  #status: number | null = null;
  #error: string | null = null;
  /** What the response asks for by Retry-After. */
  retryAfterMs: number | null = null;
  /** Of its span, where spans are exported and it was to be sent. */
  spanId: string | null = null;
  /** What carries it, and is told when that is free again. */
  connection: { freed(at: number): void } | null = null;

  constructor(call: CallTrace) {
    this.call = call;
    this.#at = call.now();
  }

  /** It may have a connection: what comes before was the wait for one. */
  permitted(): void {
    this.#permittedAt = this.call.now();
  }

  /** Gives its span an id, and the upstream that id as the parent of what it does. */
  name(headers: string[]): void {
    const { span } = this.call;
    if (span === null) return;
    this.spanId = span.newId();
    if (span.traceparentAt >= 0) headers[span.traceparentAt] = `00-${span.traceId}-${this.spanId}-01`;
  }

  /** What was noted of it so far. */
  marks(): AttemptMarks {
    return {
      at: this.#at,
      permittedAt: this.#permittedAt,
      answeredAt: this.#answeredAt,
      endedAt: this.#endedAt,
      dial: this.#dial,
      ageMs: this.#ageMs,
      status: this.#status,
      error: this.#error,
    };
  }

  /** Its connection is in hand, and the request begins to be written. */
  connected(): void {
    this.#connectedAt = this.call.now();
  }

  /** How its connection was made, or was tried to be. */
  dialled(phases: DialPhases): void {
    this.#dial = phases;
  }

  /** Its connection was there already, since `readyAt`; `freeSince` is null where nobody knows. */
  reused(readyAt: number, freeSince: number | null): void {
    const now = this.#connectedAt ?? this.call.now();
    this.#idleMs = freeSince === null ? null : now - freeSince;
    this.#ageMs = now - readyAt;
  }

  /** When it was permitted. */
  get permittedAt(): number {
    return this.#permittedAt ?? this.#at;
  }

  /** The last octet of the request was written. */
  sent(): void {
    this.#sentAt ??= this.call.now();
  }

  /** The head of its response is there. */
  answered(status: number): void {
    this.#status = status;
    this.#answeredAt = this.call.now();
    this.#sentAt ??= this.#answeredAt;
  }

  /** The caller does not take what there is, or takes it again. */
  stalled(isStalled: boolean): void {
    if (isStalled) this.#stalledSince ??= this.call.now();
    else if (this.#stalledSince !== null) {
      this.call.stalledMs += this.call.now() - this.#stalledSince;
      this.#stalledSince = null;
    }
  }

  /** It is over; `error` names what broke it. Only the first call counts. */
  ended(error: string | null = null): void {
    if (this.#endedAt !== null) return;
    this.stalled(false);
    this.#error = error;
    this.#endedAt = this.call.now();
    if (error === null) this.connection?.freed(this.#endedAt);
  }

  /** `startedAt`: when its call was accepted. */
  text(startedAt: number): string {
    const at = this.#at;
    const endedAt = this.#endedAt ?? this.call.now();
    let text = `{"at":${shown(at - startedAt)},"ms":${shown(endedAt - at)},"pool":${shown((this.#permittedAt ?? endedAt) - at)}`;
    if (this.#dial !== null) text += `,"dial":${dialText(this.#dial)}`;
    if (this.#idleMs !== null) text += `,"idle":${shown(this.#idleMs)}`;
    if (this.#ageMs !== null) text += `,"age":${shown(this.#ageMs)}`;
    if (this.#connectedAt !== null) text += `,"send":${shown((this.#sentAt ?? endedAt) - this.#connectedAt)}`;
    if (this.#sentAt !== null) text += `,"wait":${shown((this.#answeredAt ?? endedAt) - this.#sentAt)}`;
    if (this.#answeredAt !== null) text += `,"body":${shown(endedAt - this.#answeredAt)}`;
    if (this.#status !== null) text += `,"status":${this.#status}`;
    if (this.#error !== null) text += `,"error":${JSON.stringify(this.#error)}`;
    if (this.retryAfterMs !== null) text += `,"retryAfter":${shown(this.retryAfterMs)}`;
    return `${text}}`;
  }
}

function dialText(dial: DialPhases): string {
  const phases = DIAL_PHASES.flatMap((name) => {
    const ms = dial[name];
    return ms === null ? [] : `"${name}":${shown(ms)}`;
  });
  return `{${phases.join(',')}}`;
}

const DIAL_PHASES = ['dns', 'tcp', 'proxy', 'tls'] as const;

/** Never negative, whatever the clock does. */
function shown(ms: number): string {
  return shownMs(Math.max(0, ms));
}
