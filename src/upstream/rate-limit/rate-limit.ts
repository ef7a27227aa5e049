// The layer that keeps to the platform's limits: waits for a turn before a call is sent, and takes note of each 429.

import type { Clock } from '../../clock.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { noteRetry } from '../../logging/exchange-record.ts';
import type { Log } from '../../logging/log.ts';
import { pause, type Send, type UpstreamRequest, type UpstreamResponse, waitLeftMs } from '../call.ts';
import { UpstreamError } from '../errors.ts';
import { type LimitNotice, readLimitNotice } from '../platform-error.ts';
import { retryWaitMs } from '../retry.ts';
import {
  createLimits,
  createReport,
  type LimitSettings,
  type LimitState,
  type Limits,
  type PreviousLimits,
} from './limits.ts';
import type { Lane } from './rate-limiter.ts';

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
}

/** The layer, and what its limits are doing. */
export interface RateLimits {
  wrap(send: Send): Send;
  states(): LimitState[];
  readonly limits: Limits;
}

/**
 * A request reaches the platform within this, so an answer that takes longer says no more about when it was counted.
 */
const LONGEST_WAY_MS = 1_000;
/** `Retry-After: 0` is not taken at its word: the same call was refused a moment ago. */
const SHORTEST_PAUSE_MS = 1_000;
/** After a pause that our own count did not foresee, few calls are risked at once for so long. */
const WARY_MS = 60_000;

/**
 * In mode `enforce` calls wait for their turn, at most until `waitUntil`, and are refused with gateway.rate.limited at
 * once when it would come later. A 429 pauses what it limits; its call is sent again when that fits, else the 429
 * passes untouched. `report` counts, and logs what it would have held; `off` does nothing. `previous`: goes on with
 * what that pacing counted and learnt.
 */
export function createRateLimits(deps: RateLimitDeps, previous?: PreviousLimits): RateLimits {
  const { clock, settings } = deps;
  const limits = createLimits({ clock, settings, clients: deps.clients, routeOf: deps.routeOf }, previous);
  const isEnforced = settings.mode === 'enforce';
  const report = createReport(deps.log, clock);

  /** Waits for a lane that did not let the call pass at once. */
  const wait = async (lane: Lane, request: UpstreamRequest, isReturning: boolean): Promise<void> => {
    const client = request.record.client ?? '';
    if (!isEnforced) {
      lane.force(client);
      report.held(lane.name);
      return;
    }
    const startedAt = clock.monotonic();
    try {
      request.record.heldBy = lane.name;
      request.body.readAhead?.();
      await lane.enter({
        client,
        waitUntil: request.waitUntil ?? Number.POSITIVE_INFINITY,
        connection: request.connection,
        isReturning,
      });
    } finally {
      request.record.queueMs += clock.monotonic() - startedAt;
    }
  };

  /** A place in every lane, the narrowest first, so that a wide one is not taken by a call that cannot go yet. */
  const passAll = async (
    lanes: readonly (Lane | undefined)[],
    request: UpstreamRequest,
    isReturning: boolean,
  ): Promise<void> => {
    for (let entered = 0; entered < lanes.length; entered += 1) {
      const lane = lanes[entered];
      if (lane === undefined || lane.tryEnter(request.record.client ?? '')) continue;
      try {
        await wait(lane, request, isReturning);
      } catch (error) {
        for (const taken of lanes.slice(0, entered)) taken?.refund();
        throw error;
      }
    }
  };

  const leave = (
    own: Lane | undefined,
    endpoint: Lane | undefined,
    whole: Lane,
    isCounted: boolean,
    upstreamMs: number,
  ): void => {
    const now = clock.monotonic();
    const arrivedAt = Math.min(now, now - upstreamMs + LONGEST_WAY_MS);
    if (isCounted) {
      own?.leave(arrivedAt);
      endpoint?.leave(arrivedAt);
      whole.leave(arrivedAt);
    } else {
      own?.refund();
      endpoint?.refund();
      whole.refund();
    }
  };

  /** Learns from a refusal and pauses what was limited. Gives the lane concerned. */
  const heed = (request: UpstreamRequest, notice: LimitNotice): Lane => {
    const lane = limits.learn(request, notice);
    const now = clock.monotonic();
    // Our own count left room, so somebody else draws on the same limit, or its size is not known.
    if (lane.window.free(now) > 0) lane.window.beWary(now + (notice.retryAfterMs ?? 0) + WARY_MS);
    if (notice.retryAfterMs !== undefined) lane.pauseUntil(now + Math.max(SHORTEST_PAUSE_MS, notice.retryAfterMs));
    return lane;
  };

  /** How long a refused call waits by itself before it queues again; null when its caller is to have the 429. */
  const patienceMs = (request: UpstreamRequest, notice: LimitNotice, lane: Lane, rounds: number): number | null => {
    if (!isEnforced || !request.body.canReplay || request.connection.disconnected) return null;
    const leftMs = waitLeftMs(request, clock);
    if (notice.retryAfterMs === undefined) {
      // Nothing is said of how long: nobody else is held up for a guess of ours.
      const waitMs = retryWaitMs(rounds, deps.random(), deps.retry);
      return rounds < deps.retry.max && waitMs <= leftMs ? waitMs : null;
    }
    const now = clock.monotonic();
    return Math.max(lane.pausedUntil, lane.window.openings(now)()) - now <= leftMs ? 0 : null;
  };

  const send = async (next: Send, request: UpstreamRequest): Promise<UpstreamResponse> => {
    const { record } = request;
    for (let rounds = 0; ; rounds += 1) {
      const whole = limits.ofCredential(request.credential);
      const endpoint = limits.ofEndpoint(request);
      const own = limits.ofClient(record.client);
      if (endpoint === undefined && own === undefined) {
        if (!whole.tryEnter(record.client ?? '')) await wait(whole, request, rounds > 0);
      } else await passAll([own, endpoint, whole], request, rounds > 0);
      const { upstreamMs, attempts } = record;
      let notice: LimitNotice | null = null;
      let limited = whole;
      let response: UpstreamResponse;
      let isCounted = true;
      try {
        response = await next(request);
        isCounted = response.statusCode !== 429;
        if (!isCounted) {
          notice = await readLimitNotice(response, clock, waitLeftMs(request, clock));
          // Before the place is given back: else the next call would be let in and refused as well.
          limited = heed(request, notice);
        }
      } catch (error) {
        // A call that had no token, or no connection, used nothing up.
        isCounted = record.attempts > attempts && !(error instanceof UpstreamError && !error.wasSent);
        throw error;
      } finally {
        leave(own, endpoint, whole, isCounted, record.upstreamMs - upstreamMs);
      }
      if (notice === null) return response;
      const waitMs = patienceMs(request, notice, limited, rounds);
      if (waitMs === null) return response;
      response.discard();
      if (waitMs > 0) {
        await pause(request, clock, waitMs);
        record.queueMs += waitMs;
      }
      noteRetry(record, '429');
    }
  };

  return {
    wrap: (next) => (settings.mode === 'off' ? next : (request) => send(next, request)),
    states: limits.states,
    limits,
  };
}
