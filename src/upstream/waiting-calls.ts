// The calls that wait just now: for a limit, a connection, a token, another try. Ends their waits together, and says of
// each that waits long what it waits for: to the person at the other end it looks like a hang.

import type { Clock, Timer } from '../clock.ts';
import type { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import { cutLong, redactTarget } from '../logging/redact/redact.ts';
import type { CallerConnection, CallWaits } from './call.ts';

/** A call that waits, with the record of its exchange. */
export interface WaitingCall extends CallerConnection {
  readonly record: Pick<
    ExchangeRecord,
    'requestId' | 'client' | 'credential' | 'method' | 'target' | 'startedAt' | 'runningAt'
  >;
  /** Whether the log was told that it waits: once is enough, however often it does. */
  isWaitTold: boolean;
}

/** A call that waits longer is told of. */
const LONG_MS = 2_000;
const LOOK_MS = 500;
const MINUTE_MS = 60_000;
/** So many things to wait for are told apart in a minute; the names of endpoints' limits are many. */
const MOST_NAMES = 100;
/** Stands for all others. */
const OTHERS = '';

/** What is made of them, and how much is told of what waits for one thing in a minute. */
export interface WaitingCallsDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** One where machines read, some where a person does. */
  readonly mostAMinute: number;
}

/** Sets a timer only while calls wait. Whoever makes it closes it. */
export class WaitingCalls implements CallWaits {
  readonly #deps: WaitingCallsDeps;
  readonly #calls = new Set<CallerConnection>();
  #timer: Timer | null = null;
  /** What calls are told that begin to wait; null while they may. */
  #refusal: GatewayError | null = null;
  /** How many were told of in this minute, by what they wait for. */
  readonly #told = new Map<string, number>();
  #minuteEndsAt = Number.NEGATIVE_INFINITY;

  constructor(deps: WaitingCallsDeps) {
    this.#deps = deps;
  }

  add(call: CallerConnection): void {
    this.#calls.add(call);
    this.#timer ??= this.#deps.clock.after(LOOK_MS, this.#look);
    // Not at once: a wait is noted before it is known whether it ends in the same turn.
    if (this.#refusal !== null) setImmediate(this.#refuse);
  }

  delete(call: CallerConnection): void {
    this.#calls.delete(call);
  }

  /** Those that wait now. */
  list(): Iterable<WaitingCall> {
    return this.#calls as Set<WaitingCall>;
  }

  /**
   * Ends the waits of all calls, which are on their way to nobody, and from now on those of calls that begin to wait:
   * they are told `error`.
   */
  rejectAll(error: GatewayError): void {
    this.#refusal = error;
    this.#refuse();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  readonly #refuse = (): void => {
    if (this.#refusal !== null) for (const { rejectWait } of [...this.#calls]) rejectWait?.(this.#refusal);
  };

  readonly #look = (): void => {
    const now = this.#deps.clock.monotonic();
    for (const call of this.#calls as Set<WaitingCall>) {
      if (now - (call.waitsSince ?? now) < LONG_MS || call.isWaitTold) continue;
      call.isWaitTold = true;
      this.#tell(call, now);
    }
    this.#timer = this.#calls.size > 0 ? this.#deps.clock.after(LOOK_MS, this.#look) : null;
  };

  #tell({ record, waitsFor = '', waitsSince = 0, waitsUntil = 0 }: WaitingCall, now: number): void {
    const { log, mostAMinute } = this.#deps;
    if (now >= this.#minuteEndsAt) {
      this.#told.clear();
      this.#minuteEndsAt = now + MINUTE_MS;
    }
    const name = this.#told.has(waitsFor) || this.#told.size < MOST_NAMES ? waitsFor : OTHERS;
    const told = this.#told.get(name) ?? 0;
    this.#told.set(name, told + 1);
    if (told >= mostAMinute) return;
    const { requestId, client, credential, method, target } = record;
    const fields: Record<string, unknown> = { requestId };
    if (client !== null) fields.client = client;
    if (credential !== null) fields.credential = credential;
    Object.assign(fields, { method, path: cutLong(target, redactTarget), heldBy: waitsFor });
    fields.waitedMs = Math.round(now - waitsSince);
    if (waitsUntil !== Number.POSITIVE_INFINITY) fields.atMostMs = Math.max(0, Math.round(waitsUntil - waitsSince));
    fields.waiting = this.#calls.size;
    log.info(fields, 'waiting');
  }
}
