// The circuit breaker of one origin: refuses calls to a host that cannot be reached, before each of them waits for a
// dial of its own to fail. Only failures to connect count: a host that responds, however badly, is there. It holds no
// calls; the gate does.

import type { Clock } from '../clock.ts';
import { type ErrorCode, GatewayError } from '../errors.ts';

/** `open`: calls are shed, except for one probe; `recovering`: a growing number dials at a time. */
export type BreakerState = 'closed' | 'open' | 'recovering';

/** `random` is 0 (inclusive) to 1 (exclusive). */
export interface BreakerDeps {
  readonly clock: Clock;
  readonly random: () => number;
  /** Told when the state of an origin changes; must not throw. */
  readonly onChange?: (origin: string, state: BreakerState) => void;
}

/** Consecutive failed dials before the breaker opens. */
const THRESHOLD = 5;
const SHORTEST_INTERVAL_MS = 1_000;
const LONGEST_INTERVAL_MS = 30_000;
/** How many may dial at a time after the first success; the number doubles with each round of successes. */
const FIRST_ROUND = 2;
/** The number at which the breaker closes. */
const FULL_FLOW = 64;

const COUNTED_CODES: ReadonlySet<ErrorCode> = new Set([
  'gateway.upstream.unreachable',
  'gateway.upstream.timeout',
  'gateway.proxy.timeout',
  'gateway.proxy.refused',
]);
/** Refusals by a host or proxy that is there; each is worth its own message. */
const ANSWERED_CODES: ReadonlySet<ErrorCode> = new Set(['gateway.upstream.tls', 'gateway.proxy.auth']);

/**
 * What is known of a dial when it begins. `began` is the state it began in: the only one that begins in `open` is the
 * probe.
 */
export interface Dial {
  readonly round: number;
  readonly began: BreakerState;
}

/**
 * The state of one origin. After five failed dials in a row calls are to be answered 503 gateway.upstream.unavailable,
 * without a dial, except for one probe at a time at growing intervals (1 to 30 s). The first dial that gets through
 * opens the way for a few at a time, these for more. Each `begin` is followed by one `connected`, `failed` or
 * `dropped`.
 */
export class Breaker {
  readonly #origin: string;
  readonly #deps: BreakerDeps;
  #state: BreakerState = 'closed';
  #failuresInRow = 0;
  #intervalMs = 0;
  /** Monotonic. */
  #nextProbeAt = 0;
  #isProbing = false;
  /** While recovering: how many may dial at a time, and do, of those that began since. */
  #permits = 0;
  #dialling = 0;
  /** Counts the recoveries: failures of dials that began before the last one do not count. */
  #round = 0;
  #lastFailure = '';

  constructor(origin: string, deps: BreakerDeps) {
    this.#origin = origin;
    this.#deps = deps;
  }

  get state(): BreakerState {
    return this.#state;
  }

  get round(): number {
    return this.#round;
  }

  /** Whether one more may dial now. */
  get mayBegin(): boolean {
    if (this.#state === 'closed') return true;
    if (this.#state === 'recovering') return this.#dialling < this.#permits;
    return !this.#isProbing && !this.isShedding;
  }

  /** Whether calls are to be refused at once: no probe runs whose outcome they could wait for, and none is due. */
  get isShedding(): boolean {
    return this.#state === 'open' && !this.#isProbing && this.#deps.clock.monotonic() < this.#nextProbeAt;
  }

  /** The error that a call is refused with. */
  shed(): GatewayError {
    const waitMs = Math.max(
      this.#nextProbeAt - this.#deps.clock.monotonic(),
      this.isShedding ? 0 : SHORTEST_INTERVAL_MS,
    );
    const message =
      `calls to ${this.#origin} are held off, because it could not be reached repeatedly (last: ` +
      `${this.#lastFailure}): try again later`;
    return new GatewayError('gateway.upstream.unavailable', message, { retryAfterMs: waitMs });
  }

  /** Notes that one more dials. Only while `mayBegin` holds. */
  begin(): void {
    if (this.#state === 'open') this.#isProbing = true;
    else if (this.#state === 'recovering') this.#dialling += 1;
  }

  /** Notes that a dial has its connection: the host is there, whatever it will say. */
  connected(dial: Dial): void {
    this.dropped(dial);
    if (this.#failuresInRow > 0 || this.#state !== 'closed') this.#reached();
  }

  /** Notes that a dial has failed. */
  failed(dial: Dial, error: GatewayError): void {
    this.dropped(dial);
    if (dial.round !== this.#round) return;
    if (ANSWERED_CODES.has(error.code) && dial.began === 'open') this.#reached();
    if (!COUNTED_CODES.has(error.code)) return;
    this.#failuresInRow += 1;
    this.#lastFailure = error.message;
    if (this.#state === 'closed' && this.#failuresInRow < THRESHOLD) return;
    if (this.#state === 'open' && dial.began !== 'open') return;
    const isFirst = this.#state !== 'open';
    this.#intervalMs = isFirst ? SHORTEST_INTERVAL_MS : Math.min(LONGEST_INTERVAL_MS, this.#intervalMs * 2);
    // Half of it is jitter: gateways that lost the same host must not probe it in step.
    this.#nextProbeAt = this.#deps.clock.monotonic() + this.#intervalMs * (0.75 + this.#deps.random() / 2);
    if (isFirst) this.#enter('open');
  }

  /** Notes that a dial ended without telling anything about the host. */
  dropped({ round, began }: Dial): void {
    if (round !== this.#round) return;
    if (began === 'open') this.#isProbing = false;
    else if (began === 'recovering') this.#dialling -= 1;
  }

  #reached(): void {
    this.#failuresInRow = 0;
    if (this.#state === 'open') {
      this.#permits = FIRST_ROUND;
      this.#dialling = 0;
      this.#isProbing = false;
      this.#round += 1;
      this.#enter('recovering');
    } else if (this.#state === 'recovering') {
      this.#permits += 1;
      if (this.#permits >= FULL_FLOW) this.#enter('closed');
    }
  }

  #enter(state: BreakerState): void {
    this.#state = state;
    this.#deps.onChange?.(this.#origin, state);
  }
}
