// One limit at work: who may go, who waits and in what order, who is told at once that waiting is of no use. Knows no
// HTTP.

import type { Clock, Timer } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import { beginWait, type CallerConnection, endWait, type QueueCapacity, type QueuedCall } from '../call.ts';
import { ClientClosedRequest } from '../errors.ts';
import { FairQueue } from './fair-queue.ts';
import type { CountedCall, LimitWindow, PlaceQueue } from './rate-window.ts';
import { DUE, evened, type Forecast, NOT_YET, type Shares } from './shares.ts';

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
  /** Its client asks for no more than its share: it goes before all others. */
  readonly isDue: boolean;
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
export class RateLimiter implements PlaceQueue {
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
    window.serve(this);
  }

  get sharers(): number {
    return this.shares?.size ?? 0;
  }

  waitingOf(): Iterable<readonly [client: string, calls: number]> {
    return this.#queue.counts();
  }

  get pausedUntil(): number {
    return this.#pausedUntil;
  }

  /** Those that are bound to the first of several tokens included. */
  get waiting(): number {
    return this.#queue.size + (this.first?.waiting ?? 0);
  }

  /** The first `most` of those that wait, in the order in which they may start as things stand. */
  line(most: number): QueuedStart[] {
    const now = this.#clock.monotonic();
    const all = this.#queue.inOrder();
    const forecast = this.#forecast(now, all.length);
    const opensAt = Math.max(this.window.openings(now)(), this.#pausedUntil);
    const waiting = new Map<string, number>();
    const own = all.map(({ client, entry: { connection, isDue } }, at) => {
      const nth = (waiting.get(client) ?? 0) + 1;
      waiting.set(client, nth);
      const startsAt = isDue ? opensAt : Math.max(forecast(at + 1, client, nth), this.#pausedUntil);
      return { client, connection, startsAt };
    });
    const others = this.first?.line(most) ?? [];
    return [...own, ...others].sort((a, b) => a.startsAt - b.startsAt).slice(0, most);
  }

  /** Lets the call pass at once, or returns false. Allocates nothing. */
  tryAcquire(client: string, call?: CountedCall): boolean {
    const now = this.#clock.monotonic();
    if (now < this.#pausedUntil) return false;
    // Waiting calls are served first; what is free after that they may not take.
    if (this.#queue.size > 0) this.#serve(now);
    const free = this.window.free(now);
    if (free <= 0 || (!this.#isDue(client, now) && this.#precedence(client, 1, now, free) === NOT_YET)) return false;
    this.#pass(client, now, call);
    return true;
  }

  /** Lets a call pass that is nobody's: where nobody waits, and as many as `leaving` others could pass after it. */
  async tryAcquireAside(leaving: number): Promise<boolean> {
    const answer = this.window.freeAside(this.#clock.monotonic());
    const free = typeof answer === 'number' ? answer : await answer;
    const now = this.#clock.monotonic();
    if (now < this.#pausedUntil || this.#queue.size > 0 || free <= leaving) return false;
    if (this.keepsBack(now, free - leaving)) return false;
    this.window.acquire(now);
    return true;
  }

  /** Whether the `free` places, at least one, are kept for clients that ask for less than the one that asks for most. */
  keepsBack(now: number, free: number): boolean {
    return this.#precedence('', Number.POSITIVE_INFINITY, now, free) === NOT_YET;
  }

  /** Until when the next place is. */
  keptUntil(now: number): number {
    if (this.shares === null || this.window.isGranted(now)) return now;
    return this.shares.opensAt(this.window, now);
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
          this.#giveUp(client, entry);
          const at = this.#clock.monotonic();
          reject(this.#tooLate(this.#startsAt(client, at) - at));
        };
        const isDue = this.#isDue(client, now);
        const entry: Waiter = { waitUntil, call, connection, isDue, go: resolve, reject, evict };
        if (!this.#capacity.acquire(client, entry)) return reject(this.#tooLate(this.#startsAt(client, now) - now));
        waiter = entry;
        this.#queue.push(client, entry, isReturning);
        if (isDue) this.#count(client, now);
        if (isDue || this.#queue.size === 1) this.window.awaited(now, isDue);
        beginWait(connection, { what: this.name, since: now, until: waitUntil }, (error) => {
          this.#giveUp(client, entry);
          reject(error);
        });
        connection.onDisconnect = () => connection.rejectWait?.(new ClientClosedRequest());
        if (this.#queue.size === 1) this.reconsider();
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
    if (this.#queue.size > 0) this.#wakeAt(this.#opensAt(now));
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
    this.window.notePause(until, isOneOfMany ? call : undefined);
    this.reconsider();
  }

  /** Looks again at who may go: after the window's limit was changed, for one. */
  reconsider(): void {
    if (this.#queue.size === 0) return;
    const now = this.#clock.monotonic();
    this.#serve(now);
    if (this.#queue.size > 0) this.#rejectLate(now);
    if (this.#queue.size === 0) {
      this.#timer?.cancel();
      this.#timer = null;
      return;
    }
    this.#wakeAt(this.#opensAt(now));
  }

  #pass(client: string, now: number, call: CountedCall | undefined): void {
    this.window.acquire(now, call, client);
    this.#count(client, now);
  }

  #count(client: string, now: number): void {
    this.shares?.count(client, this.window, now);
  }

  /** Whether a call that comes now is due. One that comes back was counted already, as one of its client's. */
  #isDue(client: string, now: number): boolean {
    return this.shares !== null && this.#queue.countOf(client) === 0 && this.shares.isDue(client, now);
  }

  /** `more`: calls of the client beside those that wait. */
  #precedence(client: string, more: number, now: number, free: number): number {
    if (this.shares === null) return 0;
    if (this.window.isGranted(now)) return this.shares.order(client, this.window, now);
    return this.shares.precedence(client, this.#queue.countOf(client) + more, this.window, now, free);
  }

  /** Takes a call out that was not served. */
  #giveUp(client: string, entry: Waiter): void {
    if (this.#queue.remove(client, entry) && !entry.isDue) this.#count(client, this.#clock.monotonic());
  }

  #serve(now: number): void {
    while (this.#queue.size > 0 && now >= this.#pausedUntil) {
      const free = this.window.free(now);
      if (free <= 0) break;
      const next = this.#queue.shift((client, { isDue }) => (isDue ? DUE : this.#precedence(client, 0, now, free)));
      if (next === undefined) break;
      this.window.acquire(now, next.entry.call, next.client);
      if (!next.entry.isDue) this.#count(next.client, now);
      next.entry.go();
    }
  }

  /** Refuses whoever cannot be served in time any more. */
  #rejectLate(now: number): void {
    const all = this.#queue.inOrder();
    const forecast = this.#forecast(now, all.length);
    const first = Math.max(this.window.openings(now)(), this.#pausedUntil);
    const kept = new Map<string, number>();
    let position = 1;
    for (const { client, entry } of all) {
      const waiting = (kept.get(client) ?? 0) + 1;
      const at = entry.isDue ? first : Math.max(forecast(position, client, waiting), this.#pausedUntil);
      if (at <= entry.waitUntil) {
        kept.set(client, waiting);
        position += 1;
        continue;
      }
      this.#giveUp(client, entry);
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

  /** When it is worth looking again: a place opens, or one that is kept is given out. */
  #opensAt(now: number): number {
    const { shares, window } = this;
    const opensAt =
      shares === null || window.free(now) <= 0 || window.isGranted(now)
        ? window.openings(now)()
        : Math.min(shares.opensAt(window, now), now + 10 * LOOK_AGAIN_MS);
    return Math.max(now + 1, opensAt, this.#pausedUntil);
  }

  /** When a further call of this client could start, as things stand. */
  #startsAt(client: string, now: number): number {
    if (this.#isDue(client, now)) return Math.max(this.window.openings(now)(), this.#pausedUntil);
    const position = this.#queue.positionOf(client);
    const forecast = this.#forecast(now, position);
    return Math.max(forecast(position, client, this.#queue.countOf(client) + 1), this.#pausedUntil);
  }

  #forecast(now: number, count: number): Forecast {
    if (this.shares !== null && !this.window.isGranted(now)) return this.shares.forecast(this.window, now, count);
    const openings = evened(this.window.openings(now), count, Number.POSITIVE_INFINITY);
    return (position) => openings[position - 1] as number;
  }

  #tooLate(waitMs: number): GatewayError {
    const message = `${this.name} is used up for the moment: try again after the time in Retry-After`;
    return new GatewayError('gateway.rate.limited', message, { retryAfterMs: Math.max(1, waitMs) });
  }
}
