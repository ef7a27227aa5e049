// The layer that keeps calls within the platform's limits, and meets a 429 by waiting where that helps. Product contract, section 10.
// Lanes do the counting and queueing; this is the one place that leads a call through them. It retries nothing but 429s.

import type { Clock } from '../clock.ts';
import type { ClientConfig, GatewayConfig } from '../config/gateway-config.ts';
import { noteRetry } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import { retryWaitMs } from './backoff.ts';
import type { Send, UpstreamRequest, UpstreamResponse } from './call.ts';
import { wasNeverSent } from './dispatcher.ts';
import type { Lane } from './pacing/lane.ts';
import { readLimitNotice } from './pacing/limit-notice.ts';
import { createLimits, type LimitState } from './pacing/limits.ts';
import { createReport } from './pacing/report.ts';
import type { TrafficObserver } from './traffic-observer.ts';
import { waitLeftMs } from './waiting.ts';

/** What the layer is made of. `random` is 0 (inclusive) to 1 (exclusive). */
export interface PacingDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly settings: GatewayConfig['rateLimit'];
  readonly retry: GatewayConfig['retry'];
  readonly clients: readonly ClientConfig[];
  /** Method and route template: what an endpoint's limit is counted by. Bounded in its values. */
  readonly routeOf: (method: string, target: string) => string;
  readonly observer?: TrafficObserver | undefined;
}

/** The layer, and what its limits are doing. */
export interface Pacing {
  wrap(send: Send): Send;
  states(): LimitState[];
}

/** A request reaches the platform within this, so an answer that takes longer says no more about when it was counted. */
const LONGEST_WAY_MS = 1_000;
/** `Retry-After: 0` is not taken at its word: the same call was refused a moment ago. */
const SHORTEST_PAUSE_MS = 1_000;
/** After a pause that our own count did not foresee, few calls are risked at once for so long. */
const WARY_MS = 60_000;

/**
 * In mode `enforce` calls wait for their turn, at most until `waitUntil`, and are refused with gateway.rate.limited at once when it would
 * come later. A 429 pauses what it limits; its call is sent again when that fits, else the 429 passes untouched. `report` counts,
 * and logs what it would have held; `off` does nothing.
 */
export function createPacing(deps: PacingDeps): Pacing {
  const { clock, settings, observer } = deps;
  const limits = createLimits({ clock, settings, clients: deps.clients });
  const isEnforced = settings.mode === 'enforce';
  const report = createReport(deps.log, clock);

  /** Leads the call through one lane. */
  const pass = async (lane: Lane, request: UpstreamRequest, isReturning: boolean): Promise<void> => {
    const client = request.record.client ?? '';
    if (lane.tryEnter(client)) return;
    const held = { limit: lane.name, reportOnly: !isEnforced, waitMs: 0 };
    if (!isEnforced) {
      held.waitMs = Math.max(0, lane.startsAt(client) - clock.monotonic());
      lane.force(client);
      report.held(lane.name);
      observer?.onHeld?.(request, { ...held, outcome: held.waitMs <= waitLeftMs(request, clock) ? 'waited' : 'refused' });
      return;
    }
    const startedAt = clock.monotonic();
    let outcome: 'waited' | 'refused' = 'refused';
    try {
      request.heldBy = lane.name;
      await lane.enter({ client, waitUntil: request.waitUntil ?? Number.POSITIVE_INFINITY, caller: request.caller, isReturning });
      outcome = 'waited';
    } finally {
      held.waitMs = clock.monotonic() - startedAt;
      request.record.queueMs += held.waitMs;
      observer?.onHeld?.(request, { ...held, outcome });
    }
  };

  /** A place in every lane, the narrowest first, so that a wide one is not taken by a call that cannot go yet. */
  const passAll = async (lanes: readonly Lane[], request: UpstreamRequest, isReturning: boolean): Promise<void> => {
    for (let entered = 0; entered < lanes.length; entered += 1) {
      try {
        await pass(lanes[entered] as Lane, request, isReturning);
      } catch (error) {
        for (const lane of lanes.slice(0, entered)) lane.refund();
        throw error;
      }
    }
  };

  /** Pauses what was limited; true when the call is to be sent again. */
  const absorb = async (request: UpstreamRequest, response: UpstreamResponse, route: () => string, rounds: number): Promise<boolean> => {
    const notice = await readLimitNotice(response, clock);
    const lane = limits.learn(request.credential, route, notice);
    const now = clock.monotonic();
    // Our own count left room, so somebody else draws on the same limit, or its size is not known.
    if (lane.window.free(now) > 0) lane.window.beWary(now + (notice.retryAfterMs ?? 0) + WARY_MS);
    let absorbed = isEnforced && request.body.canReplay && !request.caller.left;
    if (notice.retryAfterMs !== undefined) {
      lane.pauseUntil(now + Math.max(SHORTEST_PAUSE_MS, notice.retryAfterMs));
      absorbed &&= Math.max(lane.pausedUntil, lane.window.openings(now)()) <= (request.waitUntil ?? Number.POSITIVE_INFINITY);
    } else {
      // Nothing is said of how long: our own patience, and nobody else is held up for it.
      const waitMs = retryWaitMs(rounds, deps.random(), deps.retry);
      absorbed &&= rounds < deps.retry.max && waitMs <= waitLeftMs(request, clock);
      if (absorbed) lane.pauseUntil(now + waitMs);
    }
    observer?.onRateLimited?.(request, { scope: notice.scope, key: notice.key, absorbed });
    return absorbed;
  };

  const wrap =
    (send: Send): Send =>
    async (request) => {
      const route = () => deps.routeOf(request.method, request.target);
      const { record } = request;
      for (let rounds = 0; ; rounds += 1) {
        const whole = limits.ofCredential(request.credential);
        const endpoint = limits.ofEndpoint(request.credential, route);
        const own = limits.ofClient(record.client);
        if (endpoint === undefined && own === undefined) {
          if (!whole.tryEnter(record.client ?? '')) await passAll([whole], request, rounds > 0);
        } else
          await passAll(
            [own, endpoint, whole].filter((lane) => lane !== undefined),
            request,
            rounds > 0,
          );
        const upstreamMs = record.upstreamMs;
        const settle = (isCounted: boolean) => {
          const now = clock.monotonic();
          const arrivedAt = Math.min(now, now - (record.upstreamMs - upstreamMs) + LONGEST_WAY_MS);
          for (const lane of [own, endpoint, whole]) {
            if (isCounted) lane?.leave(now, arrivedAt);
            else lane?.refund();
          }
        };
        let response: UpstreamResponse;
        try {
          response = await send(request);
        } catch (error) {
          settle(!wasNeverSent(error as Error));
          throw error;
        }
        settle(response.statusCode !== 429);
        if (response.statusCode !== 429 || !(await absorb(request, response, route, rounds))) return response;
        response.discard();
        noteRetry(record, '429');
        observer?.onRetry?.(request, '429');
      }
    };

  return { wrap: (send) => (settings.mode === 'off' ? send : wrap(send)), states: limits.states };
}
