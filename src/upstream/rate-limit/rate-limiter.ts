// One limit at work: who may go, who waits and in what order, who is told at once that waiting is of no use. Knows no
// HTTP.

import type { Clock, Timer } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import { beginWait, type CallerConnection, endWait, type QueueCapacity, type QueuedCall } from '../call.ts';
import { ClientClosedRequest } from '../errors.ts';
import { FairQueue } from './fair-queue.ts';
import type { CountedCall, LimitWindow } from './rate-window.ts';
import type { Shares } from './shares.ts';

/** What a rate limiter is made of. */
export interface RateLimiterDeps {
  /** For messages and records: `client.credentials.token.rate of credential crm`. */
  readonly name: string;
  readonly clock: Clock;
  readonly window: LimitWindow;
  readonly capacity: QueueCapacity;
  /** Null where only one client can come. */
  readonly shares: Shares | null;
}

/** A call as a limiter sees it. `waitUntil` in monotonic ms. */
export interface LimitedWait {
  readonly client: string;
  readonly waitUntil: number;
  readonly connection: CallerConnection;
  /** The call itself, where one of several tokens is to be chosen for it. */
  readonly call?: CountedCall;
  /** It waited for this limiter before and comes back: it does not lose its place. */
  readonly isReturning: boolean;
}

interface Waiter extends QueuedCall {
  readonly waitUntil: number;
  readonly call: CountedCall | undefined;
  readonly connection: CallerConnection;
  go(): void;
  reject(error: Error): void;
}

/** A call that waits, and when it may start as things stand (monotonic ms). */
export interface QueuedStart {
  readonly client: string;
  readonly connection: CallerConnection;
  readonly startsAt: number;
}

/** How long a change of the order may go unnoticed by those who are pushed back. */
const LOOK_AGAIN_MS = 20;

/**
 * One limit. Every successful acquisition is followed by one `complete` or one `cancel`. Sets a timer only while
 * somebody waits.
 */
export class RateLimiter {
  name: string;
  /** Among whom the limit is shared from now on. */
  shares: Shares | null;
  window: LimitWindow;
  /** Where the limit is that of several tokens: the limiter of the calls that are bound to the first. */
  first: RateLimiter | null = null;
  readonly #clock: Clock;
  readonly #capacity: QueueCapacity;
  readonly #queue = new FairQueue<Waiter>();
  /** Monotonic, like all times here. */
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #timer: Timer | null = null;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor({ name, clock, window, capacity, shares }: RateLimiterDeps) {
    this.name = name;
    this.shares = shares;
    this.window = window;
    this.#clock = clock;
    this.#capacity = capacity;
  }

  get pausedUntil(): number {
    return this.#pausedUntil;
  }

  /** Those that are bound to the first of several tokens included. */
  get waiting(): number {
    return this.#queue.size + (this.first?.waiting ?? 0);
  }

  /** The first `most` of those that wait, in the order in which they will go. */
  line(most: number): QueuedStart[] {
    const next = this.window.openings(this.#clock.monotonic());
    const own = this.#queue
      .inOrder()
      .slice(0, most)
      .map(({ client, entry: { connection } }) => {
        return { client, connection, startsAt: Math.max(next(), this.#pausedUntil) };
      });
    return this.first === null ? own : [...own, ...this.first.line(most - own.length)];
  }

  /** Lets the call pass at once, or returns false. Allocates nothing. */
  tryAcquire(client: string, call?: CountedCall): boolean {
    const now = this.#clock.monotonic();
    this.shares?.noteAsked(client, now);
    if (now < this.#pausedUntil) return false;
    // Waiting calls are served first; what is free after that they may not take.
    if (this.#queue.size > 0) this.#serve(now);
    const free = this.window.free(now);
    if (free <= 0 || free <= this.#reservedForOthers(client, now)) return false;
    this.#pass(client, now, call);
    return true;
  }

  /** Lets a call pass that is nobody's: where nobody waits, and as many as `leaving` others could pass after it. */
  tryAcquireAside(leaving: number): boolean {
    const now = this.#clock.monotonic();
    if (now < this.#pausedUntil || this.#queue.size > 0 || this.window.free(now) <= leaving) return false;
    this.window.acquire(now);
    return true;
  }

  /**
   * Waits for its turn. Rejects at once with gateway.rate.limited when that comes too late or too many wait already,
   * later when it becomes too late, and when the client disconnects.
   */
  async acquire({ client, waitUntil, connection, call, isReturning }: LimitedWait): Promise<void> {
    const now = this.#clock.monotonic();
    if (connection.disconnected) throw new ClientClosedRequest();
    const at = isReturning ? Math.max(this.window.openings(now)(), this.#pausedUntil) : this.#startsAt(client, now);
    if (at > waitUntil) throw this.#tooLate(at - now);
    // No limit is known, so no call is refused for one.
    if (this.#capacity.isFull && this.window.perMinute === Number.POSITIVE_INFINITY && now >= this.#pausedUntil)
      return this.#pass(client, now, call);
    let waiter: Waiter | null = null;
    try {
      await new Promise<void>((resolve, reject) => {
        const evict = () => {
          this.#queue.remove(client, entry);
          const at = this.#clock.monotonic();
          reject(this.#tooLate(this.#startsAt(client, at) - at));
        };
        const entry: Waiter = { waitUntil, call, connection, go: resolve, reject, evict };
        if (!this.#capacity.acquire(client, entry)) return reject(this.#tooLate(this.#startsAt(client, now) - now));
        waiter = entry;
        this.#queue.push(client, entry, isReturning);
        beginWait(connection, { what: this.name, since: now, until: waitUntil }, (error) => {
          this.#queue.remove(client, entry);
          reject(error);
        });
        connection.onDisconnect = () => connection.rejectWait?.(new ClientClosedRequest());
        if (this.#queue.size === 1 || this.window.free(now) > 0) this.reconsider();
        else if (this.#queue.clients > 1) this.#wakeAt(now + LOOK_AGAIN_MS);
      });
    } finally {
      connection.onDisconnect = null;
      endWait(connection);
      if (waiter !== null) this.#capacity.release(client, waiter);
    }
  }

  /** Passes without regard to the limit (report mode). */
  acquireUnchecked(client: string, call?: CountedCall): void {
    this.#pass(client, this.#clock.monotonic(), call);
  }

  /** The call has been answered, or may have arrived. */
  complete(arrivedAt: number, call?: CountedCall): void {
    this.window.complete(arrivedAt, call);
    if (this.#queue.size === 0) return;
    const now = this.#clock.monotonic();
    this.#serve(now);
    // The time when this slot opens is known now; it may be earlier than assumed.
    if (this.#queue.size > 0) this.#wakeAt(Math.max(now + 1, this.window.openings(now)(), this.#pausedUntil));
  }

  /** The call did not count. */
  cancel(call?: CountedCall): void {
    this.window.cancel(call);
    if (this.#queue.size > 0) this.#serve(this.#clock.monotonic());
  }

  /** Nobody passes before `until`; where there are several tokens, nobody with that of `call`. */
  pauseUntil(until: number, call?: CountedCall): void {
    const isOneOfMany = call !== undefined && this.window.pause(until, call);
    if (!isOneOfMany && until <= this.#pausedUntil) return;
    if (!isOneOfMany) this.#pausedUntil = until;
    this.reconsider();
  }

  /** Looks again at who may go: after the window's limit was changed, for one. */
  reconsider(): void {
    if (this.#queue.size === 0) return;
    const now = this.#clock.monotonic();
    this.#serve(now);
    this.#rejectLate(now);
    if (this.#queue.size === 0) {
      this.#timer?.cancel();
      this.#timer = null;
      return;
    }
    // What is reserved for others may be given up at any time, so a free slot is looked at again soon.
    const opensAt = this.window.free(now) > 0 ? now + 10 * LOOK_AGAIN_MS : this.window.openings(now)();
    this.#wakeAt(Math.max(now + 1, opensAt, this.#pausedUntil));
  }

  #pass(client: string, now: number, call: CountedCall | undefined): void {
    this.window.acquire(now, call);
    this.shares?.noteServed(client, now);
  }

  #serve(now: number): void {
    while (this.#queue.size > 0 && now >= this.#pausedUntil) {
      const free = this.window.free(now);
      if (free <= 0) break;
      const next = this.#queue.shift((client) => free > this.#reservedForOthers(client, now));
      if (next === undefined) break;
      this.#pass(next.client, now, next.entry.call);
      next.entry.go();
    }
  }

  /** Refuses whoever cannot be served in time any more. */
  #rejectLate(now: number): void {
    const next = this.window.openings(now);
    let at = Math.max(next(), this.#pausedUntil);
    for (const { client, entry } of this.#queue.inOrder()) {
      if (at <= entry.waitUntil) {
        at = Math.max(next(), this.#pausedUntil);
        continue;
      }
      this.#queue.remove(client, entry);
      entry.reject(this.#tooLate(at - now));
    }
  }

  #wakeAt(at: number): void {
    if (this.#timer !== null && this.#timerAt <= at) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#clock.after(Math.max(0, at - this.#clock.monotonic()), () => {
      this.#timer = null;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.reconsider();
    });
  }

  /** When a further call of this client could start, as things stand. */
  #startsAt(client: string, now: number): number {
    const next = this.window.openings(now);
    let at = now;
    for (let left = this.#queue.positionOf(client) + this.#reservedForOthers(client, now); left > 0; left -= 1)
      at = next();
    return Math.max(at, this.#pausedUntil);
  }

  #reservedForOthers(client: string, now: number): number {
    const { shares, window } = this;
    if (shares === null || window.perMinute === Number.POSITIVE_INFINITY) return 0;
    return shares.reservedForOthers(client, window.perMinute, now, this.#queue);
  }

  #tooLate(waitMs: number): GatewayError {
    const message = `${this.name} is used up for the moment: try again after the time in Retry-After`;
    return new GatewayError('gateway.rate.limited', message, { retryAfterMs: Math.max(1, waitMs) });
  }
}
