// The limit that a 429 of the platform names. Reads a copy and leaves the response whole; decides nothing.

import type { Clock } from '../../clock.ts';
import type { UpstreamResponse } from '../call.ts';
import { platformBody, retryAfterMs } from '../platform-error.ts';

/** A limit that a call ran into, as the 429 tells it. */
export interface LimitNotice {
  /**
   * `token`: it holds for everything done with this credential. `endpoint`: for this method and route; also when
   * nothing is said.
   */
  readonly scope: 'token' | 'endpoint';
  /** The platform's name of the limit. */
  readonly key: string | null;
  /** Calls a minute; null when not said, or said for another period. */
  readonly perMinute: number | null;
  /** What the platform asks for; undefined when it asks for nothing. */
  readonly retryAfterMs: number | undefined;
}

/**
 * `client.credentials.token.rate`, `token.rate.per.minute`, `org.app.user.rate`, `org.user.rate`: counted over all
 * endpoints.
 */
const TOKEN_WIDE = /(^|\.)(token|user|app|org)\.rate(\.per\.[a-z]+)?$/i;
const OTHER_PERIOD = /\.per\.(second|hour|day|week|month)/i;

/**
 * Reads a 429; the response stays whole. A body that cannot be read, breaks off, or does not come within `waitMs`,
 * tells nothing.
 */
export async function readLimitNotice(response: UpstreamResponse, clock: Clock, waitMs: number): Promise<LimitNotice> {
  const wishedMs = retryAfterMs(response, clock);
  // The failure shows again when the response is passed on, if it is.
  const body = await platformBody(response, clock, waitMs).catch(() => null);
  const limit = typeof body?.limit === 'object' && body.limit !== null ? (body.limit as Record<string, unknown>) : {};
  const key = typeof limit.key === 'string' ? limit.key : null;
  const value =
    typeof limit.value === 'number' && Number.isFinite(limit.value) && limit.value >= 1
      ? Math.floor(limit.value)
      : null;
  return {
    scope: key !== null && TOKEN_WIDE.test(key) ? 'token' : 'endpoint',
    key,
    perMinute: key !== null && OTHER_PERIOD.test(key) ? null : value,
    retryAfterMs: wishedMs,
  };
}
