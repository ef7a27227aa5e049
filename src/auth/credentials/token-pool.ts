// The tokens of one credential of client credentials: the first, which is always there, and further ones that are got
// one by one as their room is needed. Each has a source of its own. Which of them a call takes is decided elsewhere.

import type { Clock } from '../../clock.ts';
import type { RefreshingTokenSource } from './refreshing-source.ts';
import {
  type CredentialState,
  isUsable,
  type TokenFailure,
  type TokenSource,
  type TokenState,
} from './token-source.ts';

/** The source of a further token, with what its end takes. */
export interface PooledSource {
  readonly source: RefreshingTokenSource;
  /** Removes what is stored of it. Throws StoreError. */
  forget(): Promise<void>;
  /** Resolves when what was acquired is stored, or could not be. */
  settled(): Promise<void>;
}

/** What a configuration gives a pool. */
export interface PoolSettings {
  /** The most tokens that it may hold. */
  readonly max: number;
  /** The source of the first token, which is the credential's own. */
  readonly first: RefreshingTokenSource;
  /** Makes the source of a further token; `number` counts from 2. Starts nothing. */
  readonly make: (number: number) => PooledSource;
}

/** The state of one token, for the status and metrics. */
export interface PooledState extends CredentialState {
  /** From 1 on. */
  readonly number: number;
}

/** How long a token is renewed after its room was last needed; a source's timers cost nothing in between. */
const KEPT_FOR_MS = 10 * 60_000;

/**
 * The pool of one account, for as long as a configuration has it: a reload gives it other settings. A place is a
 * token's index, from 0 on. Sets no timer. `onRoom` is called when a token came that calls can be sent with, and when
 * the settings have changed.
 */
export class TokenPool {
  onRoom: () => void = () => undefined;
  readonly #clock: Clock;
  #settings: PoolSettings;
  /** By place, from 1 on; 0 stays empty. Those beyond the settings' `max` are closed, and their tokens still good. */
  readonly #more: (PooledSource | undefined)[] = [];
  /** When so many tokens were needed last (monotonic ms), by their number less one. */
  readonly #neededAt: number[] = [];
  #isClosed = false;

  constructor(clock: Clock, settings: PoolSettings) {
    this.#clock = clock;
    this.#settings = settings;
  }

  /** The most tokens that there may be. */
  get max(): number {
    return this.#settings.max;
  }

  /**
   * Takes other settings into use. Further tokens stay, where there is a place for them, and are renewed by what the
   * settings make; the sources before are closed.
   */
  use(settings: PoolSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    for (const [place, held] of this.#more.entries()) {
      if (held === undefined) continue;
      const isInPlace = place < settings.max;
      const wasInPlace = place < before.max;
      if (isInPlace && wasInPlace && settings.make === before.make) continue;
      held.source.close();
      if (isInPlace) this.#start(place, held.source);
      // In memory it stays: its number may come back, and what is under way with it may need it.
      else if (wasInPlace) held.forget().catch(() => undefined);
    }
    this.onRoom();
  }

  /** The source of a place, which a call was given: of the first where the place is empty by now. */
  sourceAt(place: number): TokenSource {
    return this.#more[place]?.source ?? this.#settings.first;
  }

  /** The sources that have a token, of the first one first. */
  sources(): TokenSource[] {
    const all = [this.#settings.first, ...this.#more.filter(isHeld).map(({ source }) => source)];
    return all.filter((source) => source.current() !== null);
  }

  /** Whether calls are to be sent with the token of a place: it is valid, and the upstream has not refused it. */
  isGood(place: number): boolean {
    if (place === 0) return this.#settings.first.isGood;
    return place < this.#settings.max && this.#more[place]?.source.isGood === true;
  }

  /**
   * Told how many tokens would have room enough for now, and how many have some. Asks for one more in the background
   * where these are fewer, and none is on its way.
   */
  need(tokens: number, good: number): void {
    const { max } = this.#settings;
    if (max === 1) return;
    this.#neededAt[Math.min(tokens, max) - 1] = this.#clock.monotonic();
    if (tokens <= good || good >= max || this.#isClosed || this.#settings.first.current() === null) return;
    let free = 0;
    for (let place = 1; place < max; place += 1) {
      const held = this.#more[place];
      if (held === undefined) free ||= place;
      else if (!held.source.isGood) return;
    }
    if (free > 0) this.#start(free);
  }

  /** Milliseconds until one more token may be there, as far as can be told; Infinity while none will be asked for. */
  untilNextMs(): number {
    const { max, first } = this.#settings;
    if (this.#isClosed) return Number.POSITIVE_INFINITY;
    // The others follow it.
    if (first.current() === null) return first.untilNextAttemptMs() + USUAL_MS;
    let waitMs = Number.POSITIVE_INFINITY;
    for (let place = 1; place < max; place += 1) {
      const held = this.#more[place];
      if (held === undefined) waitMs = Math.min(waitMs, USUAL_MS);
      else if (!held.source.isGood) return USUAL_MS + held.source.untilNextAttemptMs();
    }
    return waitMs;
  }

  /** Renews all further tokens, one after the other, in the background: the first one's renewal has succeeded. */
  renewMore(): void {
    for (const { source } of this.#more.slice(0, this.max).filter(isHeld)) source.refresh().catch(() => undefined);
  }

  /** Drops the further tokens and removes what is stored of them. Throws StoreError. */
  async drop(failure: TokenFailure): Promise<void> {
    const dropped = this.#more.filter(isHeld);
    this.#more.length = 0;
    for (const { source } of dropped) {
      source.drop(failure);
      source.close();
    }
    await Promise.all(dropped.map((one) => one.forget()));
  }

  /** In the order of their numbers. */
  states(): PooledState[] {
    const { max, first } = this.#settings;
    const states = [{ number: 1, ...first.state() }];
    for (const [place, held] of this.#more.entries())
      if (held !== undefined && place < max) states.push({ number: place + 1, ...held.source.state() });
    return states;
  }

  /** The state of the token that calls go up with: of the first, or of another where that has none. */
  tokenState(): TokenState {
    const state = this.#settings.first.state().token;
    if (isUsable(state)) return state;
    return this.states().find(({ token }) => isUsable(token))?.token ?? state;
  }

  async settled(): Promise<void> {
    await Promise.all(this.#more.filter(isHeld).map((one) => one.settled()));
  }

  close(): void {
    this.#isClosed = true;
    for (const { source } of this.#more.filter(isHeld)) source.close();
  }

  /**
   * Whether the token of a place that is about to end, or that could not be had, is worth another request. Where it is
   * not, its place is empty from now on; what is under way with it goes on.
   */
  isWanted(place: number, source: RefreshingTokenSource): boolean {
    if (this.#more[place]?.source !== source) return false;
    let count = 1;
    for (let other = 1; other < this.#settings.max; other += 1) if (this.#more[other] !== undefined) count += 1;
    const since = this.#clock.monotonic() - KEPT_FOR_MS;
    for (let index = count - 1; index < this.#neededAt.length; index += 1)
      if ((this.#neededAt[index] ?? Number.NEGATIVE_INFINITY) > since) return true;
    this.#more[place] = undefined;
    source.close();
    return false;
  }

  #start(place: number, before?: RefreshingTokenSource): void {
    const made = this.#settings.make(place + 1);
    this.#more[place] = made;
    if (before !== undefined) inherit(made.source, before);
    made.source.start();
  }
}

function isHeld(one: PooledSource | undefined): one is PooledSource {
  return one !== undefined;
}

/**
 * Gives the token of one source to another, for as long as the first would have used it: a clock may have been stepped
 * back meanwhile. False when there was none to give.
 */
export function inherit(source: RefreshingTokenSource, from: RefreshingTokenSource): boolean {
  const token = from.current();
  if (token === null) return false;
  try {
    source.accept(token, from.leftMs());
    return true;
  } catch {
    // It expired at this very moment.
    return false;
  }
}

/** A token takes about so long: the distance between two requests, and the request. */
const USUAL_MS = 2_000;
