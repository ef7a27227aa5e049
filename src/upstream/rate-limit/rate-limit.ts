// The layer that keeps to the platform's limits: waits for a turn before a call is sent, and takes note of each 429.

import type { Clock } from '../../clock.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import { noteRetry } from '../../logging/exchange-record.ts';
import type { Log } from '../../logging/log.ts';
import type { LiveSecrets } from '../../logging/redact/live-secrets.ts';
import { pause, type Send, type UpstreamRequest, type UpstreamResponse, waitLeftMs } from '../call.ts';
import { UpstreamError } from '../errors.ts';
import { retryWaitMs } from '../retry.ts';
import { type LimitNotice, limitName, readLimitNotice } from './limit-notice.ts';
import { type LimitSettings, Limits, type PreviousLimits } from './limits.ts';
import { RateLimiter } from './rate-limiter.ts';
import type { WindowMaker } from './rate-window.ts';

/** What the layer is made of. `random` is 0 (inclusive) to 1 (exclusive). */
export interface RateLimitDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly settings: LimitSettings;
  readonly retry: GatewayConfig['retry'];
  readonly clients: readonly ClientConfig[];
  /** Method and route template: what an endpoint's limit is counted by. Bounded in its values. */
  readonly routeOf: (method: string, target: string) => string;
  /** As for `Limits`. */
  readonly organizations?: ReadonlyMap<string, string> | undefined;
  /** As for `Limits`. */
  readonly windows?: WindowMaker | undefined;
  /** Those in use, which no name of a limit may hold. */
  readonly secrets?: Pick<LiveSecrets, 'find'> | undefined;
}

/**
 * A request that is written reaches the platform within the first, so a response that takes longer says no more about
 * when it was counted. Where most responses take longer than half of it the way may be what is slow: then within twice
 * what is usual, up to the second; more would cost too much of a limit where it is the answers that take so long.
 */
const LONG_WAY_MS = 1_000;
const LONGEST_WAY_MS = 5_000;
/** By how much an answer moves what is usual: a median goes up and down by the same. */
const USUAL_STEP = 1.5;
/** `Retry-After: 0` is not taken at its word: the same call was refused a moment ago. */
const SHORTEST_PAUSE_MS = 1_000;
/** How long few calls run at a time after a pause that our own count did not foresee. */
const SLOW_START_MS = 60_000;

/** So many calls of others must fit beside a call of our own. */
const ROOM_FOR_OTHERS = 8;

/** How often the log is told of calls that would have been held back. */
const REPORT_PERIOD_MS = 10_000;

/**
 * The rate-limit layer. In mode `enforce` calls wait for their turn, at most until `waitUntil`, and are refused with
 * gateway.rate.limited at once when it would come later. A 429 pauses what it limits; its call is sent again when that
 * fits, else the 429 passes untouched. `report` counts, and logs what it would have held; `off` does nothing.
 * `previous`: goes on with what that layer counted and learnt.
 */
export class RateLimits {
  readonly limits: Limits;
  readonly #deps: RateLimitDeps;
  readonly #isEnforced: boolean;
  /** When the log was last told of calls that would have been held back, and how many there were since. */
  #reportedAt = Number.NEGATIVE_INFINITY;
  #unreported = 0;
  /** How long it takes until a response comes: about as many took longer as did not. */
  #usualMs = LONG_WAY_MS / 10;

  constructor(deps: RateLimitDeps, previous?: PreviousLimits) {
    const { clock, settings, clients, routeOf, organizations, windows } = deps;
    this.#deps = deps;
    this.limits = new Limits({ clock, settings, clients, routeOf, organizations, windows }, previous);
    this.#isEnforced = settings.mode === 'enforce';
  }

  /** The layer around `send`. */
  wrap(send: Send): Send {
    return this.#deps.settings.mode === 'off' ? send : (request) => this.#send(send, request);
  }

  /**
   * Sends a call that is nobody's: only where much is free and nobody waits; else it is refused with
   * gateway.rate.limited. It counts as any other, and a 429 teaches as much; it is not sent again.
   */
  async sendAside(next: Send, request: UpstreamRequest): Promise<UpstreamResponse> {
    const { clock, settings, secrets } = this.#deps;
    if (settings.mode === 'off') return next(request);
    const whole = this.limits.ofCall(request);
    const limiters = [...this.limits.ofParts(request), whole];
    for (const [at, limiter] of limiters.entries()) {
      if (await limiter.tryAcquireAside(limiter === whole ? ROOM_FOR_OTHERS : 0)) continue;
      for (const taken of limiters.slice(0, at)) taken.cancel(request);
      throw new GatewayError('gateway.rate.limited', `${limiter.name} leaves no room for it at the moment`);
    }
    let isCounted = true;
    try {
      const response = await next({ ...request, waitUntil: clock.monotonic() });
      isCounted = response.statusCode !== 429;
      if (!isCounted) this.#applyLimit(request, await readLimitNotice(response, clock, 0, secrets));
      return response;
    } catch (error) {
      isCounted = !(error instanceof UpstreamError && !error.wasSent);
      throw error;
    } finally {
      for (const limiter of limiters) {
        if (isCounted) limiter.complete(clock.monotonic(), request);
        else limiter.cancel(request);
      }
    }
  }

  async #send(next: Send, request: UpstreamRequest): Promise<UpstreamResponse> {
    const { record } = request;
    for (let rounds = 0; ; rounds += 1) {
      const whole = this.limits.ofCall(request);
      const parts = this.limits.ofParts(request);
      const own = this.limits.ofClient(record.client);
      // What is limited by more than its credential's limit is the exception, and may cost a list.
      const limiters = parts.length === 0 && own === undefined ? null : [...(own ? [own] : []), ...parts, whole];
      const hasWaited = limiters !== null || !whole.tryAcquire(record.client ?? '', request);
      if (limiters !== null) await this.#acquireAll(limiters, request, rounds > 0);
      else if (hasWaited) await this.#wait(whole, request, rounds > 0);
      // While it waited its route may have met a limit of its own: it waits for that as well, and is not refused for it.
      if (hasWaited && this.#isEnforced && this.limits.ofParts(request).length > parts.length) {
        this.#release(limiters ?? whole, request, null);
        continue;
      }
      const { attempts } = record;
      let notice: LimitNotice | null = null;
      let limited = whole;
      let response: UpstreamResponse;
      let isCounted = true;
      try {
        response = await next(request);
        isCounted = response.statusCode !== 429;
        if (!isCounted) {
          const { clock, secrets } = this.#deps;
          notice = await readLimitNotice(response, clock, waitLeftMs(request, clock), secrets);
          // Before the slot is given back: else the next call would be let in and refused as well.
          limited = this.#applyLimit(request, notice);
          if (limited.first === whole) limited = whole;
        }
      } catch (error) {
        // A call that had no token, or no connection, used nothing up.
        isCounted = record.attempts > attempts && !(error instanceof UpstreamError && !error.wasSent);
        throw error;
      } finally {
        this.#release(limiters ?? whole, request, isCounted ? record.answerMs : null);
      }
      if (notice === null) return response;
      const delayMs = this.#retryDelayMs(request, notice, limited, rounds);
      if (delayMs === null) return response;
      response.discard();
      if (delayMs > 0) {
        await pause(request, this.#deps.clock, delayMs);
        record.queueMs += delayMs;
      }
      noteRetry(record, '429');
    }
  }

  /** Waits for a limiter that did not let the call pass at once. */
  async #wait(limiter: RateLimiter, request: UpstreamRequest, isReturning: boolean): Promise<void> {
    const { clock } = this.#deps;
    const client = request.record.client ?? '';
    if (!this.#isEnforced) {
      limiter.acquireUnchecked(client, request);
      this.#report(limiter.name);
      return;
    }
    const startedAt = clock.monotonic();
    const { record } = request;
    const from = record.trace?.now() ?? 0;
    try {
      record.heldBy = limiter.name;
      request.body.readAhead?.();
      await limiter.acquire({
        client,
        waitUntil: request.waitUntil ?? Number.POSITIVE_INFINITY,
        connection: request.connection,
        call: request,
        isReturning,
      });
    } finally {
      record.queueMs += clock.monotonic() - startedAt;
      record.trace?.waited('queue', from, limiter.name);
    }
  }

  /** A slot of every limiter, the narrowest first, so that a wide one is not taken by a call that cannot go yet. */
  async #acquireAll(limiters: readonly RateLimiter[], request: UpstreamRequest, isReturning: boolean): Promise<void> {
    for (const [acquired, limiter] of limiters.entries()) {
      if (limiter.tryAcquire(request.record.client ?? '', request)) continue;
      try {
        await this.#wait(limiter, request, isReturning);
      } catch (error) {
        for (const taken of limiters.slice(0, acquired)) taken.cancel(request);
        throw error;
      }
    }
  }

  /** Gives back what the call took, of one or of several: it counts for a minute from its arrival, or, with null, not at all. */
  #release(taken: RateLimiter | readonly RateLimiter[], request: UpstreamRequest, answerMs: number | null): void {
    const now = this.#deps.clock.monotonic();
    const arrivedAt = answerMs === null ? null : Math.min(now, now - answerMs + this.#wayMs(answerMs));
    if (taken instanceof RateLimiter) release(taken, request, arrivedAt);
    else for (const limiter of taken) release(limiter, request, arrivedAt);
  }

  /** How long the request may have been under way that was answered after so long. */
  #wayMs(answerMs: number): number {
    const moved = answerMs > this.#usualMs ? this.#usualMs * USUAL_STEP : this.#usualMs / USUAL_STEP;
    this.#usualMs = Math.max(LONG_WAY_MS / 10, Math.min(LONGEST_WAY_MS, moved));
    return Math.max(LONG_WAY_MS, Math.min(LONGEST_WAY_MS, 2 * this.#usualMs));
  }

  /** Learns from a refusal and pauses what was limited. Gives the limiter concerned. */
  #applyLimit(request: UpstreamRequest, notice: LimitNotice): RateLimiter {
    const limiter = this.limits.learn(request, notice);
    request.record.limit = limitName(notice);
    const now = this.#deps.clock.monotonic();
    // Our own count left room, so somebody else draws on the same limit, or its size is not known.
    const { retryAfterMs = 0 } = notice;
    // A user's limit is that of all tokens.
    const one = notice.scope === 'user' ? undefined : request;
    if (limiter.window.freeFor(now, request) > 0)
      limiter.window.enterSlowStart(now + retryAfterMs + SLOW_START_MS, one);
    if (notice.retryAfterMs !== undefined) limiter.pauseUntil(now + Math.max(SHORTEST_PAUSE_MS, retryAfterMs), one);
    return limiter;
  }

  /** How long a refused call waits by itself before it queues again; null when its client is to have the 429. */
  #retryDelayMs(request: UpstreamRequest, notice: LimitNotice, limiter: RateLimiter, rounds: number): number | null {
    if (!this.#isEnforced || !request.body.canReplay || request.connection.disconnected) return null;
    const { clock, random, retry } = this.#deps;
    const leftMs = waitLeftMs(request, clock);
    if (notice.retryAfterMs === undefined) {
      // Nothing is said of how long: nobody else is held up for a guess of ours.
      const waitMs = retryWaitMs(rounds, random(), retry);
      return rounds < retry.max && waitMs <= leftMs ? waitMs : null;
    }
    const now = clock.monotonic();
    return Math.max(limiter.pausedUntil, limiter.window.openings(now)()) - now <= leftMs ? 0 : null;
  }

  /** Counts in between; the next line tells the number. */
  #report(limit: string): void {
    const now = this.#deps.clock.monotonic();
    this.#unreported += 1;
    if (now - this.#reportedAt < REPORT_PERIOD_MS) return;
    this.#reportedAt = now;
    const fields = { limit, calls: this.#unreported };
    this.#deps.log.warn(fields, 'calls would have been held back (rate_limit.mode = report)');
    this.#unreported = 0;
  }
}

function release(limiter: RateLimiter, request: UpstreamRequest, arrivedAt: number | null): void {
  if (arrivedAt === null) limiter.cancel(request);
  else limiter.complete(arrivedAt, request);
}
