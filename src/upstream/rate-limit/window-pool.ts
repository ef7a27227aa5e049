// The limit of a credential that holds several tokens: a window for each, and which of them a call is let in for. It
// asks for one more token when those in hand have little room left.

import type { TokenPool } from '../../auth/credentials/token-pool.ts';
import { FirstPlace, type Place } from './first-place.ts';
import { RateLimiter, type RateLimiterDeps } from './rate-limiter.ts';
import type { CountedCall, LimitWindow, PlaceQueue, TokenChoice, WindowMaker } from './rate-window.ts';

/** What the platform grants a token of client credentials that nobody has negotiated about, calls a minute. */
const USUAL_PER_MINUTE = 300;
/** One more token is asked for when the room left is less than this part of a token's limit. */
const SPARE_PART = 1 / 3;
/** Of the first token's limit this part is given out last: some calls can be sent with that one only. */
const BOUND_PART = 1 / 10;

/** Above what a token is ever used in a minute. */
const MOST_USED = 1e9;
/** A token that comes within this is waited for, where no limit is known. */
const SOON_MS = 5_000;
/** Calls that are held for it look so often whether it is there. */
const LOOK_AGAIN_MS = 100;

/** What the limit of one token is doing. */
export interface TokenLimitState {
  /** Null while no limit is known. */
  readonly perMinute: number | null;
  /** Calls of the last minute. */
  readonly used: number;
  /** Milliseconds until calls go on with it, 0 when they are not paused. */
  readonly pausedMs: number;
}

/** What the windows of a pool are made of. */
interface PoolDeps {
  readonly tokens: TokenPool;
  /** Of the calls that may be sent with any of them. */
  readonly limiter: RateLimiter;
  readonly windows: WindowMaker;
  /** As for `LimitWindow.identify`, of the place with this index. */
  readonly identityOf: (place: number) => string;
}

/** The openings of one place, none before `from`; `at` is the next one. */
interface Head {
  readonly next: () => number;
  readonly from: number;
  at: number;
}

/** Those who wait for the first token. */
type Bound = Pick<RateLimiter, 'waiting' | 'waitingOf' | 'reconsider' | 'keepsBack' | 'keptUntil'>;

/**
 * The windows of a pool. A token that is not good has no room; where none is, calls wait for the first. Calls without a
 * `pool` of their own are bound to the first.
 */
export class WindowPool implements LimitWindow, TokenChoice {
  /** Its room is theirs before it is anybody's. */
  bound: Bound | null = null;
  readonly #deps: PoolDeps;
  readonly #tokens: TokenPool;
  readonly #places: Place[] = [];
  #limit: number;
  #metUntil: number;
  /** How many tokens were good when that was last looked at. */
  #good = 1;
  /** Whether there is room below what is usual, or about to be: then no token is tried beyond that. */
  #isUsualEnough = false;

  /** Goes on with what `first` counted, and still counts. */
  constructor(deps: PoolDeps) {
    this.#deps = deps;
    this.#tokens = deps.tokens;
    const { window } = deps.limiter;
    this.#limit = window.limit;
    this.#metUntil = window.metUntil;
    this.#add(window);
  }

  get perMinute(): number {
    return this.#limit * (this.#isFirstTaken() ? this.#good - 1 : this.#good);
  }

  get limit(): number {
    return this.#limit;
  }

  set limit(perMinute: number) {
    this.#limit = perMinute;
    for (const { window } of this.#places) window.limit = perMinute;
  }

  get metUntil(): number {
    return this.#metUntil;
  }

  set metUntil(until: number) {
    this.#metUntil = until;
    for (const { window } of this.#places) window.metUntil = until;
  }

  acquire(now: number, call?: CountedCall, client?: string): void {
    const isBound = call?.pool === undefined || call.pool === null;
    this.#give(call, isBound ? 0 : Math.max(0, this.#roomiest(now)), now, client);
  }

  complete(arrivedAt: number, call?: CountedCall): void {
    const place = call?.place ?? 0;
    this.#at(place).window.complete(arrivedAt);
    if (place === 0) this.#tellBound();
  }

  cancel(call?: CountedCall): void {
    const place = call?.place ?? 0;
    this.#at(place).window.cancel();
    if (place === 0) this.#tellBound();
  }

  moveOn(call: CountedCall, now: number): boolean {
    const place = this.#roomiest(now, call.place ?? 0);
    if (place < 0 || this.#freeAt(place, now) <= 0) return false;
    // The one before has ended, or is refused: what its successor may do begins anew.
    this.cancel(call);
    this.#give(call, place, now);
    return true;
  }

  /** Asks for one more token where little is free. */
  free(now: number): number {
    const { max } = this.#tokens;
    let spare = 0;
    let good = 0;
    let roomy = 0;
    for (let place = 0; place < max; place += 1) {
      if (!this.#tokens.isGood(place)) continue;
      good += 1;
      const { window, pausedUntil } = this.#at(place);
      if (now < pausedUntil) continue;
      roomy += 1;
      // What is the first one's alone is no room for the others.
      const isKept = place === 0 && window.free(now) > 0 && this.#freeAt(0, now) <= 0;
      if (!isKept) spare += Math.max(0, this.#assumed() - window.used(now));
    }
    this.#good = Math.max(1, good);
    this.#isUsualEnough = spare > 0 || this.#tokens.untilNextMs() <= SOON_MS;
    const wanted = this.#assumed() * SPARE_PART;
    this.#tokens.need(Math.max(1, roomy - Math.floor((spare - wanted) / this.#assumed())), roomy);
    if (good === 0) return now < this.#at(0).pausedUntil ? 0 : this.#freeAt(0, now);
    let free = 0;
    for (let place = 0; place < max; place += 1) {
      if (this.#tokens.isGood(place) && now >= this.#at(place).pausedUntil)
        free += Math.max(0, this.#freeAt(place, now));
    }
    return free;
  }

  freeFor(now: number, call?: CountedCall): number {
    return this.#at(call?.place ?? 0).window.free(now);
  }

  used(now: number): number {
    let used = 0;
    for (const { window } of this.#places) used += window.used(now);
    return used;
  }

  enterSlowStart(until: number, call?: CountedCall): void {
    if (call === undefined) for (const { window } of this.#places) window.enterSlowStart(until);
    else this.#at(call.place ?? 0).window.enterSlowStart(until);
  }

  pause(until: number, call: CountedCall): boolean {
    const place = this.#at(call.place ?? 0);
    place.pausedUntil = Math.max(place.pausedUntil, until);
    return true;
  }

  notePause(until: number, call?: CountedCall): void {
    if (call !== undefined) this.#at(call.place ?? 0).window.notePause(until);
    else for (const { window } of this.#places) window.notePause(until);
  }

  /** Each place has an identity of its own. */
  identify(): void {}

  /** Who waits is known from the start. */
  serve(): void {}

  awaited(now: number, isDue: boolean): void {
    for (let place = 0; place < this.#tokens.max; place += 1)
      if (this.#tokens.isGood(place)) this.#at(place).window.awaited(now, isDue);
  }

  isGranted(now: number): boolean {
    return this.#at(0).window.isGranted(now);
  }

  freeAside(now: number): number | Promise<number> {
    return this.#at(0).window.freeAside(now);
  }

  /** How many calls of each client wait that may be sent with the token of this place. */
  *waitingAt(place: number): Iterable<readonly [client: string, calls: number]> {
    for (const [client, calls] of this.#deps.limiter.waitingOf()) {
      const isOwn = this.#tokens.isGood(place) || (place === 0 && this.#isFirstAwaited());
      if (isOwn) yield [client, Math.ceil(calls / this.#good)];
    }
    if (place === 0 && this.bound !== null) yield* this.bound.waitingOf();
  }

  /** Another instance was told to pause: calls of the token of this place. */
  pauseAt(place: number, until: number): void {
    const own = this.#at(place);
    own.pausedUntil = Math.max(own.pausedUntil, until);
    this.reconsider(place);
  }

  /** Looks again at who may go, with the token of this place. */
  reconsider(place: number): void {
    if (place === 0) this.#tellBound();
    this.#deps.limiter.reconsider();
  }

  get sharers(): number {
    return this.#deps.limiter.sharers;
  }

  /** Those of tokens that are still to come are among them: a call need not wait for longer than for one of these. */
  openings(now: number): () => number {
    const heads: Head[] = [];
    const isFirstAwaited = this.#isFirstAwaited();
    let comesAt = now + this.#tokens.untilNextMs();
    for (let place = 0; place < this.#tokens.max; place += 1) {
      if (place === 0 && this.#isFirstTaken()) continue;
      if (this.#tokens.isGood(place) || (place === 0 && isFirstAwaited)) heads.push(this.#headOf(place, now, now));
      else if (comesAt < Number.POSITIVE_INFINITY) {
        heads.push(this.#headOf(place, comesAt, now));
        comesAt += BETWEEN_TOKENS_MS;
      }
    }
    if (heads.length === 0) heads.push(this.#headOf(0, now, now));
    return () => {
      let first = heads[0] as Head;
      for (const head of heads) if (head.at < first.at) first = head;
      const { at } = first;
      first.at = Math.max(first.from, first.next());
      return at;
    };
  }

  /** In the order of the tokens' numbers; those that never were there are left out. */
  states(now: number): TokenLimitState[] {
    return this.#places.map(({ window, pausedUntil }) => ({
      perMinute: window.perMinute === Number.POSITIVE_INFINITY ? null : window.perMinute,
      used: window.used(now),
      pausedMs: Math.max(0, Math.round(pausedUntil - now)) || 0,
    }));
  }

  /** The part of it that is the first token's. */
  ofFirst(): FirstPlace {
    return new FirstPlace(this.#at(0));
  }

  /** A token's limit, or what is taken for one where none is known yet. */
  #assumed(): number {
    return this.#limit === Number.POSITIVE_INFINITY ? USUAL_PER_MINUTE : this.#limit;
  }

  /** Whether calls wait for the first of several tokens: then its next places are theirs, and no others' to reckon with. */
  #isFirstTaken(): boolean {
    return this.#good > 1 && this.bound !== null && this.bound.waiting > 0;
  }

  /** Whether no token is good: whoever is let in then waits for the first, in another layer. */
  #isFirstAwaited(): boolean {
    for (let place = 0; place < this.#tokens.max; place += 1) if (this.#tokens.isGood(place)) return false;
    return true;
  }

  #headOf(place: number, from: number, now: number): Head {
    const { window, pausedUntil } = this.#at(place);
    const next = window.openings(now);
    const isHeld = this.#limit === Number.POSITIVE_INFINITY && this.#freeAt(place, now) <= 0;
    const keptUntil = place === 0 && this.bound !== null ? this.bound.keptUntil(now) : now;
    const notBefore = Math.max(from, pausedUntil, isHeld ? now + LOOK_AGAIN_MS : now, keptUntil);
    return { next, from: notBefore, at: Math.max(notBefore, next()) };
  }

  #at(place: number): Place {
    while (this.#places.length <= place) {
      const window = this.#deps.windows.make({ perMinute: this.#limit, isCautious: true });
      window.metUntil = this.#metUntil;
      window.identify(this.#deps.identityOf(this.#places.length));
      this.#add(window);
    }
    return this.#places[place] as Place;
  }

  #add(window: LimitWindow): void {
    window.serve(new PlaceLine(this, this.#places.length));
    this.#places.push({ window, pausedUntil: Number.NEGATIVE_INFINITY });
  }

  /** How many calls that are bound to no token may start with that of a place. */
  #freeAt(place: number, now: number): number {
    const { window } = this.#at(place);
    let free = window.free(now);
    if (this.#isUsualEnough && this.#limit === Number.POSITIVE_INFINITY)
      free = Math.min(free, USUAL_PER_MINUTE - window.used(now));
    if (place !== 0 || this.bound === null) return free;
    free -= this.bound.waiting;
    // Nor may a burst of the others take what is kept there for clients whose calls can be sent with no other.
    return free > 0 && this.bound.keepsBack(now, free) ? 0 : free;
  }

  /** The place with most room, leaving one out; -1 where none is good. */
  #roomiest(now: number, besides = -1): number {
    let best = -1;
    let most = Number.NEGATIVE_INFINITY;
    for (let place = 0; place < this.#tokens.max; place += 1) {
      if (place === besides || !this.#tokens.isGood(place)) continue;
      const { window, pausedUntil } = this.#at(place);
      if (now < pausedUntil) continue;
      let room = this.#freeAt(place, now);
      // What is not known is no measure: the least used is the one to take.
      if (this.#limit === Number.POSITIVE_INFINITY && room > 0) room = MOST_USED - window.used(now);
      // The last of the first token's room is still room.
      if (place === 0 && room > 0) room = Math.max(room - this.#assumed() * BOUND_PART, room / MOST_USED);
      if (room <= most) continue;
      most = room;
      best = place;
    }
    return best;
  }

  #give(call: CountedCall | undefined, place: number, now: number, client?: string): void {
    this.#at(place).window.acquire(now, call, client);
    if (call === undefined) return;
    call.place = place;
    if (call.pool === undefined || call.pool === null) return;
    call.source = this.#tokens.sourceAt(place);
    call.choice = this;
  }

  #tellBound(): void {
    if (this.bound !== null && this.bound.waiting > 0) this.bound.reconsider();
  }
}

/** Those who wait for the places of one token. */
class PlaceLine implements PlaceQueue {
  readonly #pool: WindowPool;
  readonly #place: number;

  constructor(pool: WindowPool, place: number) {
    this.#pool = pool;
    this.#place = place;
  }

  get sharers(): number {
    return this.#pool.sharers;
  }

  waitingOf(): Iterable<readonly [client: string, calls: number]> {
    return this.#pool.waitingAt(this.#place);
  }

  reconsider(): void {
    this.#pool.reconsider(this.#place);
  }

  pauseUntil(until: number): void {
    this.#pool.pauseAt(this.#place, until);
  }
}

/** Two tokens come about so far apart. */
const BETWEEN_TOKENS_MS = 1_500;

/**
 * Makes a limiter, which counts for one token so far, that of a pool's tokens. Who waits in it goes on waiting. `shares`
 * are for the calls that are bound to the first.
 */
export function spreadOver(
  { clock, capacity, shares }: Pick<RateLimiterDeps, 'clock' | 'capacity' | 'shares'>,
  deps: PoolDeps,
): void {
  const { tokens, limiter } = deps;
  const windows = new WindowPool(deps);
  const name = `${limiter.name}, its first token`;
  limiter.first = new RateLimiter({ name, clock, window: windows.ofFirst(), capacity, shares });
  limiter.window = windows;
  windows.bound = limiter.first;
  tokens.onRoom = () => {
    // Where nobody waits, and one more token is needed all the same.
    windows.free(clock.monotonic());
    limiter.reconsider();
  };
}
