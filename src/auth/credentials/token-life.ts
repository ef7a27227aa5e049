// How good a token is at a moment, when it should be renewed, and how long after a failure that is tried again. Always
// by both clocks, so that a step of either is harmless. Starts no timer and renews nothing.

import type { Clock } from '../../clock.ts';
import { isUsable, type Token, type TokenState } from './token-source.ts';

/** A token with its ends on both clocks. It is expired as soon as either clock says so. */
export interface TokenLife {
  readonly token: Token;
  /** Wall clock (epoch ms). */
  readonly expiresAt: number;
  readonly dueAt: number;
  /** Monotonic clock (ms). */
  readonly expiresMono: number;
  readonly dueMono: number;
}

const SHORTEST_MARGIN_MS = 5_000;
const LONGEST_MARGIN_MS = 5 * 60_000;

/**
 * How long before its end a token is renewed: 10 % of its life between 5 s and 5 min, at most half its life; up to 20 %
 * earlier by `jitter` (0–1).
 */
export function renewalMarginMs(lifeMs: number, jitter: number): number {
  const margin = Math.min(Math.max(lifeMs * 0.1, SHORTEST_MARGIN_MS), LONGEST_MARGIN_MS, lifeMs / 2);
  return margin * (1 + 0.2 * jitter);
}

/**
 * Places a token on both clocks at the moment it is taken into use. What is left of it is what the wall clock says, but
 * never more than its whole life, nor than `atMostMs`: the wall clock may have been stepped back since the token was
 * obtained.
 */
export function placeToken(token: Token, clock: Clock, jitter: number, atMostMs = Number.POSITIVE_INFINITY): TokenLife {
  const mono = clock.monotonic();
  const lifeMs = token.expiresAt - token.obtainedAt;
  if (lifeMs === Number.POSITIVE_INFINITY) {
    return { token, expiresAt: lifeMs, dueAt: lifeMs, expiresMono: lifeMs, dueMono: lifeMs };
  }
  const marginMs = renewalMarginMs(lifeMs, jitter);
  const expiresMono = mono + Math.min(token.expiresAt - clock.now(), lifeMs, atMostMs);
  return {
    token,
    expiresAt: token.expiresAt,
    dueAt: token.expiresAt - marginMs,
    expiresMono,
    dueMono: expiresMono - marginMs,
  };
}

/** Whether the token may still be sent. On every request's path: two clock readings, two comparisons. */
export function isValid(life: TokenLife, clock: Clock): boolean {
  return clock.now() < life.expiresAt && clock.monotonic() < life.expiresMono;
}

/** Milliseconds for which the token may still be sent; 0 when it may not. */
function lifeLeftMs({ expiresAt, expiresMono }: TokenLife, clock: Clock): number {
  return Math.max(0, Math.min(expiresAt - clock.now(), expiresMono - clock.monotonic()));
}

/** The token's state now, by the clocks alone. */
function tokenStateOf(life: TokenLife | null, clock: Clock): TokenState {
  if (life === null) return 'none';
  if (!isValid(life, clock)) return 'expired';
  return clock.now() < life.dueAt && clock.monotonic() < life.dueMono ? 'fresh' : 'due';
}

/** Milliseconds until the state changes next by itself; `Infinity` when it will not. */
function untilNextState(life: TokenLife | null, clock: Clock): number {
  const state = tokenStateOf(life, clock);
  if (life === null || state === 'expired') return Number.POSITIVE_INFINITY;
  const [at, mono] = state === 'fresh' ? [life.dueAt, life.dueMono] : [life.expiresAt, life.expiresMono];
  return Math.min(at - clock.now(), mono - clock.monotonic());
}

/** After a suspect token was replaced, another 401 passes through for this long. */
const GRACE_MS = 60_000;

/**
 * The token half of a credential's state: the token in use, its ends on both clocks, and whether the upstream refused
 * it. Changes by itself only as time passes.
 */
export class TokenInUse {
  readonly #clock: Clock;
  /** The token with its ends; it may be past them. Null before the first and once dropped. */
  #life: TokenLife | null = null;
  /** The token last in use, also after it was dropped. */
  #last: Token | null = null;
  /** Where the upstream refused the token in use, or the one just dropped; null once another was taken into use. */
  #suspicion: { readonly route: string } | null = null;
  /** Until then a 401 for the token in use is not believed, because it has just replaced a suspect one. */
  #graceEndsMono = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The token, where it may be sent. On every request's path. */
  current(): Token | null {
    return this.#life !== null && isValid(this.#life, this.#clock) ? this.#life.token : null;
  }

  /** The token last in use, whether or not it may still be sent; null before the first. */
  get last(): Token | null {
    return this.#last;
  }

  get isSuspect(): boolean {
    return this.#suspicion !== null;
  }

  /** Whether `token` is the one in use, and was refused. */
  isRefused({ authorization }: Token): boolean {
    return this.isSuspect && this.#life?.token.authorization === authorization;
  }

  /** Of the token in use, also where it has ended; null without one. */
  get fingerprint(): string | null {
    return this.#life?.token.fingerprint ?? null;
  }

  state(): TokenState {
    const state = tokenStateOf(this.#life, this.#clock);
    return this.isSuspect && isUsable(state) ? 'suspect' : state;
  }

  /** Milliseconds for which it may still be sent; 0 without one. */
  leftMs(): number {
    return this.#life === null ? 0 : lifeLeftMs(this.#life, this.#clock);
  }

  untilNextState(): number {
    return untilNextState(this.#life, this.#clock);
  }

  /** Epoch ms of the earlier of the two ends; null without a token or when its life is not known. */
  endsAt(): number | null {
    if (this.#life === null || this.#life.expiresAt === Number.POSITIVE_INFINITY) return null;
    const { expiresAt, expiresMono } = this.#life;
    return Math.round(Math.min(expiresAt, this.#clock.now() + expiresMono - this.#clock.monotonic()));
  }

  /** Whether the token in use is valid and lasts at least as long as `other`. */
  outlasts(other: TokenLife): boolean {
    return this.#life !== null && isValid(this.#life, this.#clock) && this.#life.expiresMono >= other.expiresMono;
  }

  /** Takes another token into use. `isNewer`: made since the one before was refused, so that its grace begins. */
  replace(life: TokenLife, isNewer: boolean): void {
    if (this.#suspicion !== null) {
      this.#graceEndsMono = isNewer ? this.#clock.monotonic() + GRACE_MS : Number.NEGATIVE_INFINITY;
      this.#suspicion = null;
    }
    this.#life = life;
    this.#last = life.token;
  }

  /**
   * The upstream answered 401 to `token` on `route` (null: no evidence). Makes the token in use suspect, or drops it
   * when it was refused on two routes. `passes`: the 401 is not believed. `gone`: it was for another token.
   */
  refused(token: Token, route: string | null): 'passes' | 'gone' | 'suspect' {
    if (this.#life === null || this.#life.token.authorization !== token.authorization) return 'gone';
    if (this.#suspicion !== null) {
      if (route !== null && route !== this.#suspicion.route) this.#life = null;
    } else {
      if (route === null || this.#clock.monotonic() < this.#graceEndsMono) return 'passes';
      this.#suspicion = { route };
    }
    return 'suspect';
  }

  /** From now on a 401 is believed again. */
  endGrace(): void {
    this.#graceEndsMono = Number.NEGATIVE_INFINITY;
  }

  /** Logged out: there is no token, and none was refused. */
  drop(): void {
    this.#life = null;
    this.#suspicion = null;
  }
}

/** Never less than this between two renewals, whatever the reason. */
export const SHORTEST_WAIT_MS = 1_000;

const LONGEST_WAIT_MS = 60_000;

/** A refused credential is tried again after this: the platform's side may have been corrected. */
export const REFUSED_WAIT_MS = 60_000;

/**
 * Exponential backoff with full jitter: from 1 s up to 2, 4, 8 … 60 s after the 1st, 2nd, 3rd … failure in a row.
 * `random` is 0–1. Never sooner than `retryAfterMs`.
 */
export function backoffMs(failuresInRow: number, random: number, retryAfterMs = 0): number {
  const ceiling = Math.min(LONGEST_WAIT_MS, SHORTEST_WAIT_MS * 2 ** failuresInRow);
  return Math.max(SHORTEST_WAIT_MS, random * ceiling, retryAfterMs);
}
