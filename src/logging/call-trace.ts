// Where the time of one call goes: the layers note it in the record while somebody watches. It decides nothing, and no
// log line shows it.

/** What a call waited for before it had a connection: its turn at a limit, a token, the time before another try. */
export type WaitKind = 'queue' | 'token' | 'pause';

/** How a connection came to be: ms of each phase, null for one that there was not. */
export interface DialPhases {
  readonly dns: number | null;
  readonly tcp: number | null;
  readonly proxy: number | null;
  readonly tls: number | null;
}

interface Wait {
  readonly for: WaitKind;
  readonly at: number;
  readonly ms: number;
}

/** The notes of one call. Times in ms of the clock that it was made with, until they are shown. */
export class CallTrace {
  /** The clock: monotonic ms. */
  readonly now: () => number;
  readonly startedAt: number;
  readonly #waits: Wait[] = [];
  readonly #attempts: AttemptTrace[] = [];
  #handedOverAt: number | null = null;
  /** How long the answer stood still because the caller did not read it. */
  stalledMs = 0;
  /** Whether the head of the request is wanted as it is written, and that of the last attempt, secrets and all. */
  isHeadWanted = false;
  sentHead: string | null = null;

  constructor(now: () => number) {
    this.now = now;
    this.startedAt = now();
  }

  /** The call leaves admission and rules, and goes to the layers. */
  handOver(): void {
    this.#handedOverAt = this.now();
  }

  /** Notes a wait that began at `from` and is over. */
  waited(kind: WaitKind, from: number): void {
    this.#waits.push({ for: kind, at: from, ms: this.now() - from });
  }

  /** Another attempt begins. */
  attempt(): AttemptTrace {
    const attempt = new AttemptTrace(this);
    this.#attempts.push(attempt);
    return attempt;
  }

  /** What is shown of it: offsets from when the call was accepted, in hundredths of a ms. */
  show(): object {
    const offset = (time: number) => tidy(time - this.startedAt);
    return {
      rules: offset(this.#handedOverAt ?? this.now()),
      waits: this.#waits.map((wait) => ({ for: wait.for, at: offset(wait.at), ms: tidy(wait.ms) })),
      attempts: this.#attempts.map((attempt) => attempt.show(offset)),
      stalled: tidy(this.stalledMs),
    };
  }
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
  /** What carries it, and is told when that is free again. */
  connection: { freed(): void } | null = null;

  constructor(call: CallTrace) {
    this.call = call;
    this.#at = call.now();
  }

  /** It may have a connection: what comes before was the wait for one. */
  permitted(): void {
    this.#permittedAt = this.call.now();
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
    const now = this.call.now();
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
    if (error === null) this.connection?.freed();
    this.#endedAt = this.call.now();
  }

  show(offset: (time: number) => number): object {
    const endedAt = this.#endedAt ?? this.call.now();
    const span = (from: number | null, to: number | null) => (from === null ? undefined : tidy((to ?? endedAt) - from));
    return {
      at: offset(this.#at),
      ms: tidy(endedAt - this.#at),
      pool: tidy((this.#permittedAt ?? endedAt) - this.#at),
      ...(this.#dial !== null && { dial: shownDial(this.#dial) }),
      ...(this.#idleMs !== null && { idle: tidy(this.#idleMs) }),
      ...(this.#ageMs !== null && { age: tidy(this.#ageMs) }),
      send: span(this.#connectedAt, this.#sentAt),
      wait: span(this.#sentAt, this.#answeredAt),
      body: span(this.#answeredAt, this.#endedAt),
      status: this.#status ?? undefined,
      error: this.#error ?? undefined,
      retryAfter: this.retryAfterMs ?? undefined,
    };
  }
}

function shownDial({ dns, tcp, proxy, tls }: DialPhases): object {
  const shown: Record<string, number> = {};
  for (const [name, ms] of Object.entries({ dns, tcp, proxy, tls })) if (ms !== null) shown[name] = tidy(ms);
  return shown;
}

/** Never negative, whatever the clock does. */
function tidy(ms: number): number {
  return Math.max(0, Math.round(ms * 100) / 100) || 0;
}
