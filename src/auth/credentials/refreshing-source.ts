// A token source that keeps its token fresh: it renews ahead of expiry, once for all callers, backs off after failures
// and cools down after refusals (docs/tokens.md is its state table). How a token is acquired is given to it.

import { type Clock, type Timer, withDeadline } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import { RENEWAL_MAX_MS, type Renewal, renewalIsOff, tookTooLong } from './renewal.ts';
import { backoffMs, isValid, placeToken, REFUSED_WAIT_MS, SHORTEST_WAIT_MS, TokenInUse } from './token-life.ts';
import {
  type Acquire,
  type AcquireReason,
  type CredentialState,
  type RenewalState,
  type Token,
  TokenFailure,
  type TokenSource,
  toTokenFailure,
} from './token-source.ts';
import { TokenTransitions, type TokenTransitionsDeps } from './token-transitions.ts';
import { Waiters } from './waiters.ts';

/** What a refreshing source needs. */
export interface RefreshingSourceDeps extends TokenTransitionsDeps {
  readonly acquire: Acquire;
  readonly clock: Clock;
  /** 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
  /** Read at each decision, so getters follow a new configuration. */
  readonly settings: { readonly refreshAccessToken: boolean; readonly refreshTokenWaitMaxMs: number };
  /** Changes when a secret may have changed; cheap, never throws. Read once a second. */
  readonly revision?: (() => string) | undefined;
  /** What is wrong with the store, for `state()`; null when nothing is. */
  readonly storeError?: (() => string | null) | undefined;
  /** Asked before a token that ends, or that could not be had, is asked for again. False: it is left at that. */
  readonly isWanted?: ((source: RefreshingTokenSource) => boolean) | undefined;
  /** Told each token once it is in use. `isRenewal`: this source acquired it; else it came from elsewhere. */
  readonly onToken?: ((token: Token, isRenewal: boolean) => void) | undefined;
}

/** Secret files are checked this often. */
const REVISION_POLL_MS = 1_000;

/** The wall clock is read this often, because timers stand still while a machine sleeps and do not follow steps. */
const WALL_CLOCK_POLL_MS = 60_000;

const { POSITIVE_INFINITY, NEGATIVE_INFINITY } = Number;

/** One source for all callers. `start()` or the first `token()` sets it going; `close()` stops its timer. */
export class RefreshingTokenSource implements TokenSource {
  readonly #deps: RefreshingSourceDeps;
  readonly #clock: Clock;
  /** The callers that wait for the next token. */
  readonly #waiters: Waiters;
  readonly #transitions: TokenTransitions;
  /** The token half of the state; the fields below are the renewal half. */
  readonly #inUse: TokenInUse;
  #renewalState: RenewalState = 'idle';
  /** The renewal whose end is awaited; there is never a second. */
  #running: Renewal | null = null;
  /** When the last renewal ended: the next one keeps a distance to it. */
  #lastEndedMono = NEGATIVE_INFINITY;
  /** When the next renewal begins by itself after a failure; null when none is planned. */
  #nextAttemptMono: number | null = null;
  /** The failure that callers are told; null after a success. */
  #failure: TokenFailure | null = null;
  /** The same failure for `state()`, with its time. */
  #lastError: CredentialState['lastError'] = null;
  /** Failures since the last success, for the backoff. */
  #failuresInRow = 0;
  /** Totals for `state()`. */
  #renewals = 0;
  #failures = 0;
  /** The revision of the secrets that the last renewal began with. */
  #seenRevision: string;
  /** Runs the next tick. */
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(deps: RefreshingSourceDeps) {
    this.#deps = deps;
    this.#clock = deps.clock;
    this.#waiters = new Waiters(deps.name, deps.clock);
    this.#transitions = new TokenTransitions(deps);
    this.#inUse = new TokenInUse(deps.clock);
    this.#seenRevision = this.#revision();
  }

  current(): Token | null {
    return this.#inUse.current();
  }

  leftMs(): number {
    return this.#inUse.leftMs();
  }

  /** Whether it has a valid token that the upstream has not refused. */
  get isGood(): boolean {
    return this.#inUse.current() !== null && !this.#inUse.isSuspect;
  }

  /** Milliseconds until the next attempt begins by itself; 0 where none need wait, Infinity where a person has to. */
  untilNextAttemptMs(): number {
    if (this.#renewalState === 'login_required') return POSITIVE_INFINITY;
    return this.#nextAttemptMono === null ? 0 : Math.max(0, this.#nextAttemptMono - this.#clock.monotonic());
  }

  async token(withinMs = POSITIVE_INFINITY): Promise<Token> {
    return this.current() ?? this.#awaitNext(withinMs);
  }

  invalidate(token: Token, route: string | null): boolean {
    const outcome = this.#inUse.refused(token, route);
    if (outcome === 'suspect') this.#tick();
    return outcome !== 'passes';
  }

  async successor(refused: Token, withinMs = POSITIVE_INFINITY): Promise<Token> {
    const atHand = this.current();
    return atHand === null || this.#inUse.isRefused(refused) ? this.#awaitNext(withinMs) : atHand;
  }

  async refresh({ isPatient = false } = {}): Promise<Token> {
    if (!isPatient) this.#inUse.endGrace();
    else if (this.#running === null && this.#nextAttemptMono !== null && this.#failure !== null)
      throw this.#errorNow(this.#failure);
    return (this.#running ?? this.#begin('forced', isPatient)).promise;
  }

  state(): CredentialState {
    return {
      token: this.#inUse.state(),
      renewal: this.#renewalState,
      expiresAt: this.#inUse.endsAt(),
      fingerprint: this.#inUse.fingerprint,
      nextAttemptAt:
        this.#nextAttemptMono === null
          ? null
          : Math.round(this.#clock.now() + this.#nextAttemptMono - this.#clock.monotonic()),
      lastError: this.#lastError,
      renewals: this.#renewals,
      failures: this.#failures,
      storeError: this.#deps.storeError?.() ?? null,
    };
  }

  /** Looks now whether a secret or the store has changed, instead of within a second. Never throws. */
  look(): void {
    if (!this.#isClosed) this.#tick();
  }

  start(): void {
    if (this.#running === null && this.#renewalState === 'idle' && this.#inUse.last === null) this.#begin('start');
    this.#tick();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = null;
    // No renewal will begin by itself any more.
    if (this.#running === null && this.#failure !== null)
      this.#waiters.reject(this.#errorNow(this.#failure), POSITIVE_INFINITY);
  }

  /**
   * Takes a token acquired elsewhere into use (a finished login, a stored session): ends all waits, a backoff, and the
   * need for a login. `atMostMs` is what another source knows to be left of it. Throws
   * gateway.credential.unavailable when that is nothing.
   */
  accept(token: Token, atMostMs?: number): void {
    if (this.#running !== null) this.#running.isSuperseded = true;
    this.#take(token, null, atMostMs);
  }

  /**
   * Logs out: the token is gone, and callers get `failure` until a token is accepted, forced, or acquired because a
   * secret changed.
   */
  drop(failure: TokenFailure): void {
    if (this.#running !== null) {
      this.#running.isSuperseded = true;
      this.#running.isAbandoned = true;
    }
    this.#inUse.drop();
    this.#failure = failure;
    this.#end('login_required', null, failure);
    this.#waiters.reject(failure.error, POSITIVE_INFINITY);
    this.#seenRevision = this.#revision();
    this.#tick();
  }

  /** Resolves with the next token that is taken into use. */
  #awaitNext(withinMs: number): Promise<Token> {
    const waitMs = Math.min(withinMs, this.#deps.settings.refreshTokenWaitMaxMs);
    this.#tick();
    if (this.#running === null && this.#renewalState === 'idle')
      this.#begin(this.#inUse.last === null ? 'start' : 'expired');
    const failure = this.#failure;
    if (this.#running === null && failure !== null) {
      if (this.#nextChanceMono(failure) >= this.#clock.monotonic() + waitMs) throw this.#errorNow(failure);
    }
    return this.#waiters.wait(waitMs);
  }

  /** Reads clocks and secrets, starts what is due, and sets the timer for the next tick. */
  #tick(): void {
    this.#demandLogin();
    this.#reportTransition();
    if (this.#running === null) {
      const reason = this.#dueReason();
      if (reason !== null) this.#begin(reason);
    }
    this.#timer?.cancel();
    this.#timer = null;
    const waitMs = this.#untilNextTick();
    if (!this.#isClosed && waitMs !== POSITIVE_INFINITY)
      this.#timer = this.#clock.after(Math.ceil(waitMs), () => this.#tick());
  }

  #dueReason(): AcquireReason | null {
    if (!this.#mayRenewByItself()) return null;
    if (this.#revision() !== this.#seenRevision) return 'changed';
    if (this.#nextAttemptMono !== null)
      return this.#clock.monotonic() >= this.#nextAttemptMono && this.#isWanted() ? 'retry' : null;
    if (this.#renewalState !== 'idle') return null;
    if (this.#inUse.isSuspect) return this.#isWanted() ? 'invalidated' : null;
    const state = this.#inUse.state();
    return (state === 'due' || state === 'expired') && this.#isWanted() ? state : null;
  }

  #isWanted(): boolean {
    return this.#deps.isWanted?.(this) ?? true;
  }

  #untilNextTick(): number {
    const untilAttempt =
      this.#nextAttemptMono === null || this.#running !== null
        ? POSITIVE_INFINITY
        : this.#nextAttemptMono - this.#clock.monotonic();
    const untilState = this.#inUse.untilNextState();
    const untilPoll = untilState === POSITIVE_INFINITY ? untilState : WALL_CLOCK_POLL_MS;
    const next = Math.min(untilAttempt, untilState, untilPoll);
    return Math.max(0, Math.min(next, this.#deps.revision === undefined ? next : REVISION_POLL_MS));
  }

  /** Becomes `login_required` when renewal is switched off and the token has ended or was refused. */
  #demandLogin(): void {
    if (this.#mayRenewByItself() || this.#running !== null || this.#renewalState !== 'idle' || this.isGood) return;
    this.#failure = renewalIsOff(this.#deps.name, this.#inUse.isSuspect);
    this.#renewalState = 'login_required';
    this.#reportTransition(this.#failure);
  }

  /** Starts a renewal; none may be running. */
  #begin(reason: AcquireReason, keepsDistance = true): Renewal {
    this.#seenRevision = this.#revision();
    const pauseMs = keepsDistance ? this.#lastEndedMono + SHORTEST_WAIT_MS - this.#clock.monotonic() : 0;
    const work = this.#acquire(reason, this.#inUse.last, pauseMs);
    let isTooLate = false;
    const tooLong = () => {
      isTooLate = true;
      return tookTooLong(this.#deps.name);
    };
    const renewal: Renewal = {
      promise: withDeadline(this.#clock, RENEWAL_MAX_MS, tooLong, work).then(
        (token) => this.#take(token, renewal),
        (thrown: unknown) => {
          throw this.#fail(toTokenFailure(thrown), renewal).error;
        },
      ),
      begunAt: this.#clock.now(),
      reason,
      isSuperseded: false,
      isAbandoned: false,
    };
    this.#running = renewal;
    this.#renewalState = 'running';
    this.#nextAttemptMono = null;
    // A token that comes after the deadline is as good as any other; a failure that comes late says nothing new.
    work.then((token) => isTooLate && this.#take(token, renewal)).catch(() => undefined);
    renewal.promise.catch(() => undefined);
    this.#reportTransition();
    return renewal;
  }

  async #acquire(reason: AcquireReason, previous: Token | null, pauseMs: number): Promise<Token> {
    if (pauseMs > 0) await new Promise<void>((resolve) => this.#clock.after(pauseMs, resolve));
    return this.#deps.acquire({ reason, previous });
  }

  /** Takes a token into use; `by` is null when it came from elsewhere. Returns the token that is in use then. */
  #take(token: Token, by: Renewal | null, atMostMs?: number): Token {
    const { name, random } = this.#deps;
    if (by?.isAbandoned)
      throw new GatewayError('gateway.login.required', `credential ${name} was logged out meanwhile`);
    if (by?.reason === 'changed' && !by.isSuperseded && this.#inUse.isRefused(token)) {
      // It was only read again, and says nothing of the refusal: whoever waits, waits for another.
      this.#end('idle', null);
      this.#tick();
      return token;
    }
    const placed = placeToken(token, this.#clock, random(), atMostMs);
    if (!isValid(placed, this.#clock)) {
      const message = `credential ${name} was given a token that had already expired on arrival`;
      const failure = new TokenFailure('transient', message);
      throw by === null ? failure.error : this.#fail(failure, by).error;
    }
    const isLate = by?.isSuperseded === true;
    const existing = this.current();
    if (isLate && existing !== null && !this.#inUse.isSuspect && this.#inUse.outlasts(placed)) return existing;
    // A token that another process stored before this renewal says nothing of a 401: no grace period for it.
    this.#inUse.replace(placed, by === null || token.obtainedAt >= by.begunAt);
    this.#renewals += 1;
    this.#failuresInRow = 0;
    this.#failure = null;
    this.#lastError = null;
    if (isLate && this.#running !== null) this.#running.isSuperseded = true;
    const lastEndedMono = this.#lastEndedMono;
    this.#end('idle', null);
    // A token from elsewhere is no renewal: the next one need not keep a distance to it.
    if (by === null) this.#lastEndedMono = lastEndedMono;
    this.#waiters.resolveAll(token);
    this.#tick();
    this.#deps.onToken?.(token, by !== null);
    return token;
  }

  /** Notes a failed renewal, plans the next and ends the waits that are too short for it. Returns the failure. */
  #fail(failure: TokenFailure, by: Renewal): TokenFailure {
    if (by.isSuperseded) return failure;
    by.isSuperseded = true;
    const { kind, retryAfterMs } = failure;
    if (failure.isEnded) this.#inUse.drop();
    this.#failure = failure;
    this.#failures += 1;
    this.#failuresInRow += 1;
    this.#lastError = { code: failure.error.code, message: failure.message, at: this.#clock.now() };
    if (!this.#mayRenewByItself()) this.#end('idle', null, failure);
    else if (kind === 'login_required') this.#end('login_required', null, failure);
    else if (kind === 'refused') this.#end('rejected', Math.max(REFUSED_WAIT_MS, retryAfterMs ?? 0), failure);
    else this.#end('backoff', backoffMs(this.#failuresInRow, this.#deps.random(), retryAfterMs), failure);
    this.#waiters.reject(this.#errorNow(failure), this.#nextChanceMono(failure));
    this.#tick();
    return failure;
  }

  #end(next: RenewalState, waitMs: number | null, failure: TokenFailure | null = null): void {
    this.#running = null;
    this.#lastEndedMono = this.#clock.monotonic();
    this.#renewalState = next;
    this.#nextAttemptMono = waitMs === null ? null : this.#lastEndedMono + waitMs;
    this.#reportTransition(failure);
  }

  #reportTransition(failure: TokenFailure | null = null): void {
    this.#transitions.note({
      token: this.#inUse.state(),
      renewal: this.#renewalState,
      fingerprint: this.#inUse.fingerprint,
      hadToken: this.#inUse.last !== null,
      nextAttemptInMs: this.#nextAttemptMono === null ? null : this.untilNextAttemptMs(),
      failure,
    });
  }

  /** The failure as a caller is told it now. */
  #errorNow({ kind, error, message, comesBack }: TokenFailure): GatewayError {
    if (kind !== 'transient' || this.#nextAttemptMono === null) return error;
    const untilNextMs = Math.max(0, this.#nextAttemptMono - this.#clock.monotonic());
    const retryAfterMs = comesBack ? Math.min(untilNextMs, SHORTEST_WAIT_MS) : untilNextMs;
    return new GatewayError(error.code, message, { retryAfterMs });
  }

  /** When the next renewal begins that may succeed after this failure; `Infinity` where waiting is useless. */
  #nextChanceMono({ kind }: TokenFailure): number {
    return kind === 'transient' && !this.#isClosed ? (this.#nextAttemptMono ?? POSITIVE_INFINITY) : POSITIVE_INFINITY;
  }

  /** False once there was a token and renewal is switched off. */
  #mayRenewByItself(): boolean {
    return this.#deps.settings.refreshAccessToken || this.#inUse.last === null;
  }

  #revision(): string {
    return this.#deps.revision?.() ?? '';
  }
}
