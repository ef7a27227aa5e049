// Counts the calls of a sliding minute against a limit whose size and other users are not known for certain.

import type { TokenPool } from '../../auth/credentials/token-pool.ts';
import type { TokenSource } from '../../auth/credentials/token-source.ts';

/** The period that the platform's limits speak of. */
export const MINUTE_MS = 60_000;

/**
 * Counts events over a sliding period, in buckets. Times are monotonic ms and may be a little older than earlier ones.
 */
export class RollingCount {
  readonly #bucketMs: number;
  /** Buckets of a period. */
  readonly #span: number;
  readonly #buckets: Uint32Array;
  /** The number of the newest bucket. */
  #last = 0;
  #recent = 0;

  /** `periodMs` is a whole number of buckets. */
  constructor({ bucketMs = 100, periodMs = MINUTE_MS } = {}) {
    this.#bucketMs = bucketMs;
    this.#span = Math.round(periodMs / bucketMs);
    this.#buckets = new Uint32Array(this.#span + 1);
  }

  add(at: number): void {
    const index = Math.floor(at / this.#bucketMs);
    if (index > this.#last) this.#advance(at);
    const kept = this.#slot(Math.max(index, this.#last - this.#span));
    this.#buckets[kept] = (this.#buckets[kept] as number) + 1;
    this.#recent += 1;
  }

  /** Events of the last period. */
  recent(now: number): number {
    this.#advance(now);
    return this.#recent;
  }

  /**
   * Calls `visit` for each bucket of the last period that is not empty, oldest first, until it returns false: when it
   * stops to count, and its events.
   */
  each(now: number, visit: (endsAt: number, count: number) => boolean): void {
    this.#advance(now);
    for (let index = this.#last - this.#span; index <= this.#last; index += 1) {
      const count = this.#buckets[this.#slot(index)] as number;
      if (count > 0 && !visit((index + 1 + this.#span) * this.#bucketMs, count)) return;
    }
  }

  #slot(index: number): number {
    const size = this.#buckets.length;
    return ((index % size) + size) % size;
  }

  #advance(now: number): void {
    const index = Math.floor(now / this.#bucketMs);
    if (index - this.#last > this.#buckets.length) {
      this.#buckets.fill(0);
      this.#recent = 0;
      this.#last = index;
    }
    while (this.#last < index) {
      this.#last += 1;
      // The place of the newest bucket is that of the one that expires.
      const reused = this.#slot(this.#last);
      this.#recent -= this.#buckets[reused] as number;
      this.#buckets[reused] = 0;
    }
  }
}

/** A call as a window sees it: one over several tokens notes in it for which of them the call was let in. */
export interface CountedCall {
  readonly pool?: TokenPool | null;
  source: TokenSource;
  place?: number;
  choice?: TokenChoice | null;
}

/** The tokens that a call could also be sent with. */
export interface TokenChoice {
  /**
   * Gives a call that is counted already to another token, which is good and has room; false when there is none.
   */
  moveOn(call: CountedCall, now: number): boolean;
}

/**
 * What a limiter counts in. Times are monotonic ms. Every `acquire` is followed by one `complete` or one `cancel`, of
 * the same call where the window is one over several tokens.
 */
export interface LimitWindow {
  /** Calls a minute; Infinity while no limit is known. */
  readonly perMinute: number;
  /** The same of a single token. */
  limit: number;
  /** Until when that is believed, where a 429 told it; else -Infinity. Set before `limit`. */
  metUntil: number;
  acquire(now: number, call?: CountedCall, client?: string): void;
  /** The call has reached the platform, `arrivedAt` at the latest: from then on it counts for a minute. */
  complete(arrivedAt: number, call?: CountedCall): void;
  /** The call never reached the platform, or was refused uncounted. */
  cancel(call?: CountedCall): void;
  /** How many calls may start now; may be Infinity, or negative after a limit has come down. */
  free(now: number): number;
  /** How many of them could be sent with the call's token. */
  freeFor(now: number, call?: CountedCall): number;
  /** Calls of the last minute, those under way included. */
  used(now: number): number;
  /** Slow start: the limit is unknown or shared with other programs, so few calls run at a time until `until`. */
  enterSlowStart(until: number, call?: CountedCall): void;
  /** Holds back the calls of one token only, that of `call`. False where there is no other: then all have to wait. */
  pause(until: number, call: CountedCall): boolean;
  /** Takes note that calls are held back, with the token of `call`, or with any. */
  notePause(until: number, call?: CountedCall): void;
  /** Says whose limit it is: windows of one identity count together, where instances share their limits. */
  identify(identity: string): void;
  /** Says who waits for its places, once it is known. */
  serve(queue: PlaceQueue): void;
  /** Calls wait, for which there is no place; `isDue`: one that goes before all others is new among them. */
  awaited(now: number, isDue: boolean): void;
  /** Whether what is free was given to this instance: then nothing more is to be kept back for others. */
  isGranted(now: number): boolean;
  /** How many calls could start now that are nobody's; may need a moment to find out. */
  freeAside(now: number): number | Promise<number>;
  /**
   * When calls may start, one after the other: each call of the result gives the next time, `now` for those that may
   * start at once.
   */
  openings(now: number): () => number;
}

/** Those who wait for the places of a window. */
export interface PlaceQueue {
  /** How many clients share the limit; 0 where only one can come. */
  readonly sharers: number;
  /** How many calls of each client wait. */
  waitingOf(): Iterable<readonly [client: string, calls: number]>;
  /** Looks again at who may go. */
  reconsider(): void;
  /** Nobody passes before `until`: another instance was told so. */
  pauseUntil(until: number): void;
}

/** What a window begins with. `isCautious`: see `RateWindow`. */
export interface WindowSettings {
  readonly perMinute: number;
  readonly isCautious: boolean;
}

/** Makes windows: of this instance alone, or of several together. */
export interface WindowMaker {
  make(settings: WindowSettings): LimitWindow;
}

/** Each instance for itself. */
export const LOCAL_WINDOWS: WindowMaker = { make: (settings) => new RateWindow(settings) };

/** The rate below which no limit of the platform is near: 300 a minute is the least that it grants a token. */
const CALM_PER_MINUTE = 240;
/**
 * Calls that may be under way unconfirmed while a limit is near that is not known: they are what a refusal can cost.
 */
const FIRST_PROBES = 8;
const SLOW_START_PROBES = 4;
/** A refusal comes at once: a call that has been under way for longer than this was let in. */
const PROBE_MS = 500;
const PROBE_BUCKET_MS = 100;
/** A slot that is taken opens again after this, at the latest: calls are counted in buckets of 100 ms. */
const REOPENS_MS = MINUTE_MS + 100;

/**
 * A limit's minute. `isCautious`: while `perMinute` is unknown and the rate is near the platform's usual limits, few
 * calls run unconfirmed at a time.
 */
export class RateWindow implements LimitWindow {
  perMinute: number;
  metUntil = Number.NEGATIVE_INFINITY;
  /** Calls of the last minute that are known to be others', of the same limit. */
  elsewhere = 0;
  readonly #isCautious: boolean;
  readonly #counted = new RollingCount();
  /** Calls that began so lately that they may still be refused. */
  readonly #started = new RollingCount({ bucketMs: PROBE_BUCKET_MS, periodMs: PROBE_MS });
  #inFlight = 0;
  /** How many calls may run unconfirmed while probing; grows like a congestion window (TCP slow start). */
  #probeWindow = FIRST_PROBES;
  #slowStartUntil = Number.NEGATIVE_INFINITY;

  constructor({ perMinute, isCautious }: WindowSettings) {
    this.perMinute = perMinute;
    this.#isCautious = isCautious;
  }

  acquire(now: number): void {
    // One more for each round.
    this.#probeWindow = this.#isProbing(now) ? this.#probeWindow + 1 / this.#probeWindow : FIRST_PROBES;
    this.#inFlight += 1;
    this.#started.add(now);
  }

  get limit(): number {
    return this.perMinute;
  }

  set limit(perMinute: number) {
    this.perMinute = perMinute;
  }

  complete(arrivedAt: number): void {
    this.#inFlight -= 1;
    this.#counted.add(arrivedAt);
  }

  cancel(): void {
    this.#inFlight -= 1;
  }

  free(now: number): number {
    const left = this.perMinute - this.#inFlight - this.#counted.recent(now);
    if (!this.#isProbing(now)) return left;
    return Math.min(left, Math.floor(this.#probeWindow) - Math.min(this.#inFlight, this.#started.recent(now)));
  }

  freeFor(now: number): number {
    return this.free(now);
  }

  used(now: number): number {
    return this.#inFlight + this.#counted.recent(now);
  }

  pause(): boolean {
    return false;
  }

  notePause(): void {}

  identify(): void {}

  serve(): void {}

  awaited(): void {}

  isGranted(): boolean {
    return false;
  }

  freeAside(now: number): number {
    return this.free(now);
  }

  /** Calls under way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** As `RollingCount.each`, of the calls that have arrived. */
  eachCounted(now: number, visit: (endsAt: number, count: number) => boolean): void {
    this.#counted.each(now, visit);
  }

  enterSlowStart(until: number): void {
    this.#slowStartUntil = Math.max(this.#slowStartUntil, until);
    this.#probeWindow = SLOW_START_PROBES;
  }

  openings(now: number): () => number {
    const limit = this.perMinute;
    if (limit === Number.POSITIVE_INFINITY) return this.#guessedOpenings(now);
    /** Pairs: when a bucket stops to count, and how many of its calls are not given away yet. */
    const known: number[] = [];
    this.#counted.each(now, (endsAt, count) => known.push(endsAt, count) > 0);
    const used = this.used(now);
    let atOnce = Math.max(0, limit - used);
    let flying = this.#inFlight;
    let at = 0;
    const given: number[] = [];
    const next = (): number => {
      while (at < known.length && known[at + 1] === 0) at += 2;
      let opensAt: number;
      if (atOnce > 0) {
        atOnce -= 1;
        opensAt = now;
      } else if (at < known.length) {
        known[at + 1] = (known[at + 1] as number) - 1;
        opensAt = known[at] as number;
      } else if (flying > 0) {
        flying -= 1;
        opensAt = now + REOPENS_MS;
      } else {
        // Every slot is given away once: the first of them opens again.
        opensAt = (given[given.length - Math.max(1, Math.floor(limit))] ?? now) + REOPENS_MS;
      }
      given.push(opensAt);
      return opensAt;
    };
    // A limit that came down has to be caught up with before anything starts.
    for (let owed = used - limit; owed > 0; owed -= 1) next();
    given.length = 0;
    return next;
  }

  /** Openings while no limit is known. They are never late enough to refuse a call: a guess is no reason to. */
  #guessedOpenings(now: number): () => number {
    let nth = 0;
    const free = this.free(now);
    return () => {
      nth += 1;
      return nth <= free ? now : now + PROBE_BUCKET_MS;
    };
  }

  #isProbing(now: number): boolean {
    if (now < this.#slowStartUntil) return true;
    if (!this.#isCautious || this.perMinute !== Number.POSITIVE_INFINITY) return false;
    return this.#counted.recent(now) + this.#inFlight + this.elsewhere >= CALM_PER_MINUTE;
  }
}
