// How good a token is at a moment, and when it should be renewed. Pure: both clocks are arguments, so that a step of
// either is harmless.

import type { Clock } from '../../clock.ts';
import type { Token, TokenState } from './token-source.ts';

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

/** Milliseconds for which it may still be sent; 0 when it may not. */
export function lifeLeftMs({ expiresAt, expiresMono }: TokenLife, clock: Clock): number {
  return Math.max(0, Math.min(expiresAt - clock.now(), expiresMono - clock.monotonic()));
}

/** The token's state now. */
export function tokenStateOf(life: TokenLife | null, clock: Clock): TokenState {
  if (life === null) return 'none';
  if (!isValid(life, clock)) return 'expired';
  return clock.now() < life.dueAt && clock.monotonic() < life.dueMono ? 'fresh' : 'due';
}

/** Milliseconds until the state changes next by itself; `Infinity` when it will not. */
export function untilNextState(life: TokenLife | null, clock: Clock): number {
  const state = tokenStateOf(life, clock);
  if (life === null || state === 'expired') return Number.POSITIVE_INFINITY;
  const [at, mono] = state === 'fresh' ? [life.dueAt, life.dueMono] : [life.expiresAt, life.expiresMono];
  return Math.min(at - clock.now(), mono - clock.monotonic());
}
