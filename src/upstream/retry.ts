// The outermost layer: tries a call again where that cannot do anything twice. It knows nothing of 401 and 429, and
// never touches a response that has begun to be passed on.

import type { Clock } from '../clock.ts';
import { type GatewayError, isGatewayError } from '../errors.ts';
import { noteRetry } from '../logging/exchange-record.ts';
import { pause, type Send, type UpstreamRequest, type UpstreamResponse, waitLeftMs } from './call.ts';
import { ClientClosedRequest, causeCode, failureReason, UpstreamError } from './errors.ts';
import { retryAfterMs } from './platform-error.ts';

/** What the layer is made of. `random` is 0 (inclusive) to 1 (exclusive). */
export interface RetryDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly settings: BackoffSettings & { readonly max: number };
  /** `timeouts.total_wait`: no wait of any layer ends later than this after the call came in. */
  readonly totalWaitMs: number;
}

/** Methods that may be executed twice without harm (RFC 9110 section 9.2.1), as far as they are worth retrying. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Statuses by which the platform, or what stands before it, says that it could not serve the call just now. */
const RETRIED_STATUSES = new Set([502, 503, 504]);

/**
 * Failures that may pass by themselves. A certificate or a proxy's refusal does not, nor does a response that is not
 * HTTP.
 */
const PASSING_CODES = new Set([
  'gateway.upstream.unreachable',
  'gateway.upstream.timeout',
  'gateway.proxy.timeout',
  'gateway.proxy.refused',
]);

/**
 * Wraps `send`. GET, HEAD and OPTIONS are sent again after 502, 503, 504 and failures of the connection; any other
 * method only when no octet of it was sent and its body is at hand. A Retry-After of the response takes the place of
 * our own wait; when it, or the attempts, exceed what is allowed, the last response passes untouched (an error: is
 * thrown).
 */
export function withRetry(send: Send, deps: RetryDeps): Send {
  const { clock, random, settings, totalWaitMs } = deps;

  /** Milliseconds to wait before the next attempt, or null when there is to be none. */
  const nextWaitMs = (request: UpstreamRequest, retries: number, wishedMs: number | undefined): number | null => {
    if (retries >= settings.max || request.connection.disconnected || !request.body.canReplay) return null;
    const waitMs = wishedMs !== undefined && wishedMs > 0 ? wishedMs : retryWaitMs(retries, random(), settings);
    return waitMs <= waitLeftMs(request, clock) ? waitMs : null;
  };

  const rest = async (request: UpstreamRequest, reason: string, waitMs: number) => {
    if (waitMs > 0) await pause(request, clock, waitMs);
    noteRetry(request.record, reason);
  };

  return async (request) => {
    request.waitUntil = clock.monotonic() + totalWaitMs;
    const isSafe = SAFE_METHODS.has(request.method);
    for (let retries = 0; ; retries += 1) {
      let response: UpstreamResponse;
      request.mayRepeat = isSafe && retries < settings.max && request.body.canReplay;
      try {
        response = await send(request);
      } catch (error) {
        let waitMs = mayHelp(error, isSafe) ? nextWaitMs(request, retries, undefined) : null;
        // Nothing is the matter with the upstream.
        if (waitMs !== null && retries === 0 && error instanceof UpstreamError && error.isStale) waitMs = 0;
        if (waitMs === null) throw error;
        await rest(request, failureReason(error as GatewayError), waitMs);
        continue;
      }
      if (!isSafe || !RETRIED_STATUSES.has(response.statusCode)) return response;
      const waitMs = nextWaitMs(request, retries, retryAfterMs(response, clock));
      if (waitMs === null) return response;
      response.discard();
      await rest(request, String(response.statusCode), waitMs);
    }
  };
}

/** Whether another attempt may succeed and can do no harm. */
function mayHelp(error: unknown, isSafe: boolean): boolean {
  if (!isGatewayError(error) || error instanceof ClientClosedRequest || !PASSING_CODES.has(error.code)) return false;
  if (causeCode(error) === 'PROXY_DENIED') return false;
  return isSafe || (error instanceof UpstreamError && !error.wasSent);
}

/** `[retry]`, in ms. */
export interface BackoffSettings {
  readonly waitMinMs: number;
  readonly waitMaxMs: number;
}

/**
 * Exponential with jitter over the whole range: from the shortest wait up to 2, 4, 8 … times it, never above the
 * longest. `retriesSoFar` is 0 before the first retry, `random` 0 (inclusive) to 1 (exclusive).
 */
export function retryWaitMs(retriesSoFar: number, random: number, { waitMinMs, waitMaxMs }: BackoffSettings): number {
  const ceilingMs = Math.max(waitMinMs, Math.min(waitMaxMs, waitMinMs * 2 ** (retriesSoFar + 1)));
  return waitMinMs + random * (ceilingMs - waitMinMs);
}
