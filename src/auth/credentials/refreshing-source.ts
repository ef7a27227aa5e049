// A token source that keeps its token fresh: renews ahead of expiry, once for all callers, backs off, cools down
// (docs/tokens.md is its state table). How a token is obtained is given to it.

import { type Clock, type Timer, withDeadline } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { isValid, lifeLeftMs, placeToken, type TokenLife, tokenStateOf, untilNextState } from './token-life.ts';
import {
  type CredentialState,
  isUsable,
  type ManagedTokenSource,
  type Obtain,
  type ObtainReason,
  type RenewalState,
  type Token,
  TokenFailure,
  type TokenState,
  toTokenFailure,
} from './token-source.ts';
import { createTransitionReporter, type TokenTransition } from './transition.ts';
import { createWaiters } from './waiters.ts';

/** What a refreshing source needs. */
export interface CachedSourceDeps {
  readonly name: string;
  readonly obtain: Obtain;
  readonly clock: Clock;
  /** 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
  /** Looked at whenever they decide: getters will do. */
  readonly settings: { readonly refreshAccessToken: boolean; readonly refreshTokenWaitMaxMs: number };
  /** Changes when a secret may have changed; cheap, never throws. Looked at once a second. */
  readonly revision?: (() => string) | undefined;
  /** What is wrong with the store, for `state()`; null when nothing is. */
  readonly storeError?: (() => string | null) | undefined;
  readonly log: Log;
  readonly onTransition?: ((transition: TokenTransition) => void) | undefined;
}

/** After a suspect token was replaced, another 401 passes through for this long. */
const GRACE_MS = 60_000;

/** Secret files are looked at this often. */
const REVISION_POLL_MS = 1_000;

/**
 * The wall clock is looked at this often, because timers stand still while a machine sleeps and know nothing of steps.
 */
const WALL_CLOCK_POLL_MS = 60_000;

/**
 * No attempt holds up the next for longer than this: above every deadline inside one (token request, assertion command,
 * lock).
 */
const ATTEMPT_MAX_MS = 60_000;

interface Attempt {
  readonly promise: Promise<Token>;
  /** Epoch ms. */
  readonly begunAt: number;
  /** Its outcome no longer decides: it ran into the ceiling, or a token came from elsewhere. */
  isSuperseded: boolean;
  /** Its token is not wanted any more: somebody logged out meanwhile. */
  isAbandoned: boolean;
}

/** One source for all callers. `start()` or the first `token()` sets it going; `close()` stops its timer. */
export function createRefreshingSource(deps: CachedSourceDeps): ManagedTokenSource {
  const { name, obtain, clock, random, settings, log } = deps;
  const revision = deps.revision ?? (() => '');
  const waiters = createWaiters({ name, clock });
  const reporter = createTransitionReporter({ name, log, onTransition: deps.onTransition });

  let life: TokenLife | null = null;
  let lastHeld: Token | null = null;
  let renewal: RenewalState = 'idle';
  let attempt: Attempt | null = null;
  let attemptEndedMono = Number.NEGATIVE_INFINITY;
  let nextAttemptMono: number | null = null;
  let failure: TokenFailure | null = null;
  let lastError: CredentialState['lastError'] = null;
  /** The upstream refused the token held, or the one held before it was dropped: nothing has replaced it since. */
  let suspicion: { readonly route: string } | null = null;
  let graceEndsMono = Number.NEGATIVE_INFINITY;
  let seenRevision = revision();
  let failuresInRow = 0;
  let renewals = 0;
  let failures = 0;
  let timer: Timer | null = null;
  let isClosed = false;

  function current(): Token | null {
    return life !== null && isValid(life, clock) ? life.token : null;
  }

  function tokenState(): TokenState {
    const state = tokenStateOf(life, clock);
    return suspicion !== null && isUsable(state) ? 'suspect' : state;
  }

  /** With renewal switched off only the first token is obtained without being asked for. */
  const mayRenewByItself = () => settings.refreshAccessToken || lastHeld === null;

  function tell(error: TokenFailure | null = null): void {
    const nextAttemptInMs =
      nextAttemptMono === null ? null : Math.max(0, Math.round(nextAttemptMono - clock.monotonic()));
    const details = { fingerprint: life?.token.fingerprint ?? null, error: error?.error ?? null, nextAttemptInMs };
    reporter.report({ token: tokenState(), renewal }, details);
  }

  /** Looks at clocks and secrets, starts what is due, and sets the timer for the next look. */
  function step(): void {
    settleSwitchedOff();
    tell();
    if (attempt === null) {
      const reason = dueReason();
      if (reason !== null) begin(reason);
    }
    timer?.cancel();
    timer = null;
    const waitMs = untilNextStep();
    if (!isClosed && waitMs !== Number.POSITIVE_INFINITY) timer = clock.after(Math.ceil(waitMs), step);
  }

  function dueReason(): ObtainReason | null {
    if (!mayRenewByItself()) return null;
    if (revision() !== seenRevision) return 'changed';
    if (nextAttemptMono !== null) return clock.monotonic() >= nextAttemptMono ? 'retry' : null;
    if (renewal !== 'idle') return null;
    if (suspicion !== null) return 'invalidated';
    const state = tokenStateOf(life, clock);
    return state === 'due' || state === 'expired' ? state : null;
  }

  function untilNextStep(): number {
    const untilAttempt =
      nextAttemptMono === null || attempt !== null ? Number.POSITIVE_INFINITY : nextAttemptMono - clock.monotonic();
    const untilState = untilNextState(life, clock);
    const next = Math.min(
      untilAttempt,
      untilState,
      untilState === Number.POSITIVE_INFINITY ? untilState : WALL_CLOCK_POLL_MS,
    );
    return Math.max(0, Math.min(next, deps.revision === undefined ? next : REVISION_POLL_MS));
  }

  /** Renewal switched off and the token gone or refused: from now on somebody has to ask. */
  function settleSwitchedOff(): void {
    if (mayRenewByItself() || attempt !== null || renewal !== 'idle' || (current() !== null && suspicion === null))
      return;
    const what = `the token of credential ${name} ${suspicion === null ? 'has ended' : 'was refused by the upstream'}`;
    const advice = `renew it by POST /-/credentials/${name}/refresh`;
    failure = new TokenFailure('login_required', `${what} and refresh_access_token is off: ${advice}`);
    renewal = 'login_required';
    tell(failure);
  }

  /** Starts an attempt; there must be none. */
  function begin(reason: ObtainReason, keepsDistance = true): Attempt {
    seenRevision = revision();
    const sinceLastMs = clock.monotonic() - attemptEndedMono;
    const pauseMs = keepsDistance ? Math.max(0, SHORTEST_WAIT_MS - sinceLastMs) : 0;
    const held = lastHeld;
    const work = (async () => {
      if (pauseMs > 0) await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
      return obtain({ reason, held });
    })();
    let isPastCeiling = false;
    const tooLong = () => {
      isPastCeiling = true;
      return new TokenFailure(
        'transient',
        `obtaining a token for credential ${name} took longer than ${ATTEMPT_MAX_MS / 1000} s`,
      );
    };
    const bounded = withDeadline(clock, ATTEMPT_MAX_MS, tooLong, work);
    const begun: Attempt = {
      promise: bounded.then(arrived, failed),
      begunAt: clock.now(),
      isSuperseded: false,
      isAbandoned: false,
    };
    attempt = begun;
    renewal = 'running';
    nextAttemptMono = null;
    // A token that comes after the ceiling is as good as any other; a failure that comes late says nothing new.
    work.then((token) => isPastCeiling && take(token, begun)).catch(() => undefined);
    begun.promise.catch(() => undefined);
    tell();
    return begun;

    function arrived(token: Token): Token {
      return take(token, begun);
    }
    function failed(thrown: unknown): never {
      throw fail(toTokenFailure(thrown), begun).error;
    }
  }

  function take(token: Token, by: Attempt | null, atMostMs?: number): Token {
    if (by?.isAbandoned)
      throw new GatewayError('gateway.login.required', `credential ${name} was logged out meanwhile`);
    const placed = placeToken(token, clock, random(), atMostMs);
    if (!isValid(placed, clock)) {
      const arrivedDead = new TokenFailure(
        'transient',
        `credential ${name} was given a token that had already expired on arrival`,
      );
      throw by === null ? arrivedDead.error : fail(arrivedDead, by).error;
    }
    const isLate = by?.isSuperseded === true;
    const kept = current();
    if (isLate && suspicion === null && kept !== null && life !== null && life.expiresMono >= placed.expiresMono)
      return kept;
    if (suspicion !== null) {
      // One that another process had left in the store: nothing was renewed yet for the 401.
      const isFromBefore = by !== null && token.obtainedAt < by.begunAt;
      graceEndsMono = isFromBefore ? Number.NEGATIVE_INFINITY : clock.monotonic() + GRACE_MS;
      suspicion = null;
    }
    life = placed;
    lastHeld = token;
    renewals += 1;
    failuresInRow = 0;
    failure = null;
    lastError = null;
    if (isLate && attempt !== null) attempt.isSuperseded = true;
    const attemptedMono = attemptEndedMono;
    end('idle', null);
    // What comes from elsewhere is no attempt of this source.
    if (by === null) attemptEndedMono = attemptedMono;
    waiters.resolveAll(token);
    step();
    return token;
  }

  function fail(reason: TokenFailure, by: Attempt): TokenFailure {
    if (by.isSuperseded) return reason;
    by.isSuperseded = true;
    failure = reason;
    failures += 1;
    failuresInRow += 1;
    lastError = { code: reason.error.code, message: reason.message, at: clock.now() };
    if (!mayRenewByItself()) end('idle', null, reason);
    else if (reason.kind === 'login_required') end('login_required', null, reason);
    else if (reason.kind === 'refused') end('rejected', Math.max(REFUSED_WAIT_MS, reason.retryAfterMs ?? 0), reason);
    else end('backoff', backoffMs(failuresInRow, random(), reason.retryAfterMs), reason);
    waiters.reject(errorNow(reason), nextChanceMono(reason));
    step();
    return reason;
  }

  function end(next: RenewalState, waitMs: number | null, reason: TokenFailure | null = null): void {
    attempt = null;
    attemptEndedMono = clock.monotonic();
    renewal = next;
    nextAttemptMono = waitMs === null ? null : attemptEndedMono + waitMs;
    tell(reason);
  }

  /** The failure as it is told to a caller now. */
  function errorNow(reason: TokenFailure): GatewayError {
    if (reason.kind !== 'transient' || nextAttemptMono === null) return reason.error;
    return new GatewayError(reason.error.code, reason.message, {
      retryAfterMs: Math.max(0, nextAttemptMono - clock.monotonic()),
    });
  }

  /** When the next attempt begins that may mend this failure; `Infinity` where waiting for it is no use. */
  function nextChanceMono(reason: TokenFailure): number {
    return reason.kind === 'transient' && nextAttemptMono !== null && !isClosed
      ? nextAttemptMono
      : Number.POSITIVE_INFINITY;
  }

  /** The next token that is taken into use. */
  function awaitNext(withinMs: number): Promise<Token> {
    const waitMs = Math.min(withinMs, settings.refreshTokenWaitMaxMs);
    step();
    if (attempt === null && renewal === 'idle') begin(lastHeld === null ? 'start' : 'expired');
    if (attempt === null && failure !== null && nextChanceMono(failure) >= clock.monotonic() + waitMs)
      throw errorNow(failure);
    return waiters.wait(waitMs);
  }

  return {
    current,
    leftMs: () => (life === null ? 0 : lifeLeftMs(life, clock)),

    token: async (withinMs = Number.POSITIVE_INFINITY) => current() ?? awaitNext(withinMs),

    invalidate(token, route) {
      if (life === null || life.token.authorization !== token.authorization) return true;
      if (suspicion !== null) {
        if (route !== null && route !== suspicion.route) life = null;
      } else {
        if (route === null || clock.monotonic() < graceEndsMono) return false;
        suspicion = { route };
      }
      step();
      return true;
    },

    async successor(refused, withinMs = Number.POSITIVE_INFINITY) {
      const atHand = current();
      const isRefused = suspicion !== null && atHand?.authorization === refused.authorization;
      return atHand === null || isRefused ? awaitNext(withinMs) : atHand;
    },

    async refresh({ isPatient = false } = {}) {
      if (!isPatient) graceEndsMono = Number.NEGATIVE_INFINITY;
      else if (attempt === null && nextAttemptMono !== null && failure !== null) throw errorNow(failure);
      return (attempt ?? begin('forced', isPatient)).promise;
    },

    state() {
      const expiresAt = life === null || life.expiresAt === Number.POSITIVE_INFINITY ? null : endsAt(life);
      return {
        token: tokenState(),
        renewal,
        expiresAt,
        fingerprint: life?.token.fingerprint ?? null,
        nextAttemptAt: nextAttemptMono === null ? null : Math.round(clock.now() + nextAttemptMono - clock.monotonic()),
        lastError,
        renewals,
        failures,
        storeError: deps.storeError?.() ?? null,
      };
    },

    start() {
      if (attempt === null && renewal === 'idle' && lastHeld === null) begin('start');
      step();
    },

    close() {
      isClosed = true;
      timer?.cancel();
      timer = null;
      // No attempt will begin by itself any more.
      if (attempt === null && failure !== null) waiters.reject(errorNow(failure), Number.POSITIVE_INFINITY);
    },

    accept(token, atMostMs) {
      if (attempt !== null) attempt.isSuperseded = true;
      take(token, null, atMostMs);
    },

    drop(reason) {
      if (attempt !== null) Object.assign(attempt, { isSuperseded: true, isAbandoned: true });
      life = null;
      suspicion = null;
      failure = reason;
      end('login_required', null, reason);
      waiters.reject(reason.error, Number.POSITIVE_INFINITY);
      seenRevision = revision();
      step();
    },
  };

  /** Epoch ms of the earlier of the two ends. */
  function endsAt(held: TokenLife): number {
    return Math.round(Math.min(held.expiresAt, clock.now() + held.expiresMono - clock.monotonic()));
  }
}

/** Never less than this between two attempts, whatever the reason. */
export const SHORTEST_WAIT_MS = 1_000;

const LONGEST_WAIT_MS = 60_000;

/** A refused credential is tried again after this: it may have been mended on the platform's side. */
export const REFUSED_WAIT_MS = 60_000;

/**
 * Exponential with full jitter: somewhere from 1 s up to 2, 4, 8 … 60 s after the 1st, 2nd, 3rd … failure in a row.
 * `random` is 0–1. Never sooner than `retryAfterMs`.
 */
export function backoffMs(failuresInRow: number, random: number, retryAfterMs = 0): number {
  const ceiling = Math.min(LONGEST_WAIT_MS, SHORTEST_WAIT_MS * 2 ** failuresInRow);
  return Math.max(SHORTEST_WAIT_MS, random * ceiling, retryAfterMs);
}
