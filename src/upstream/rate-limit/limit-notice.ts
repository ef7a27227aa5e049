// The limit that a 429 of the platform names: which one it is, and whose. Reads a copy and leaves the response whole;
// decides nothing.

import type { Clock } from '../../clock.ts';
import type { LiveSecrets } from '../../logging/redact/live-secrets.ts';
import type { UpstreamResponse } from '../call.ts';
import { platformBody, retryAfterMs } from '../platform-error.ts';

/**
 * Whose a limit is. `token`: all calls with one token. `user`: all of one user, also with one application. `service`:
 * of one service of the platform, for one credential. `organization`: shared by all credentials of an organisation.
 * `route`: one method and route; also when nothing is said.
 */
export type LimitScope = 'token' | 'user' | 'service' | 'organization' | 'route';

/** A limit that a call ran into, as the 429 tells it. */
export interface LimitNotice {
  readonly scope: LimitScope;
  /** The platform's name of the limit, `user.rate.per.minute`; null when it is not said. */
  readonly key: string | null;
  /** The service that it belongs to, `directory`; null when it is not said. */
  readonly namespace: string | null;
  /** Calls a minute; null when not said, or said of something else. */
  readonly perMinute: number | null;
  /** What the platform asks for; undefined when it asks for nothing. */
  readonly retryAfterMs: number | undefined;
}

/** The namespace of the limits that the platform's API has as a whole. */
export const PLATFORM_NAMESPACE = 'platform.api';

/** The limits of that namespace that calls run into, and whose they are; https://developer.genesys.cloud/organization/organization/limits#platform-api */
const PLATFORM_LIMITS: ReadonlyMap<string, LimitScope> = new Map<string, LimitScope>([
  ['client.credentials.token.rate.per.minute', 'token'],
  ['token.rate.per.minute', 'token'],
  ['ui.token.rate.per.minute', 'token'],
  ['token.rate.per.day', 'token'],
  ['org.app.user.rate.per.minute', 'user'],
  ['org.user.rate.per.minute', 'user'],
]);

const PER_MINUTE = /\.rate\.per\.minute$/;
/** No limit of a minute is as large; what is larger counts something else, or nothing. */
const LARGEST_LIMIT = 1_000_000;
/** What a name of a limit or a namespace is made of: it is shown, logged and a label of metrics. */
const NAME = /^[a-z0-9][\w.-]{0,99}$/i;

/**
 * Reads a 429; the response stays whole. A body that cannot be read, breaks off, or does not come within `waitMs`,
 * tells nothing. A name in which one of `secrets` stands is none: a platform that lies may tell us our own.
 */
export async function readLimitNotice(
  response: UpstreamResponse,
  clock: Clock,
  waitMs: number,
  secrets?: Pick<LiveSecrets, 'find'>,
): Promise<LimitNotice> {
  const wishedMs = retryAfterMs(response, clock);
  // The failure shows again when the response is passed on, if it is.
  const body = await platformBody(response, clock, waitMs).catch(() => null);
  const limit = typeof body?.limit === 'object' && body.limit !== null ? (body.limit as Record<string, unknown>) : {};
  const nameOf = (value: unknown) =>
    typeof value === 'string' && NAME.test(value) && (secrets?.find(value) ?? -1) < 0 ? value : null;
  const key = nameOf(limit.key);
  // The platform's own limits are known by name, whether or not their namespace is said.
  const own = key === null ? undefined : PLATFORM_LIMITS.get(key);
  const namespace = key === null ? null : (nameOf(limit.namespace) ?? (own ? PLATFORM_NAMESPACE : null));
  return {
    scope: own ?? scopeOf(key, namespace),
    key,
    namespace,
    perMinute: key === null ? null : perMinuteOf(key, limit.value),
    retryAfterMs: wishedMs,
  };
}

/** `directory:user.rate.per.minute`; null where the platform names no limit. */
export function limitName({ key, namespace }: Pick<LimitNotice, 'key' | 'namespace'>): string | null {
  return key === null || namespace === null ? key : `${namespace}:${key}`;
}

/** The calls a minute that a limit's value says; null for what is no number of calls, or no limit of a minute. */
export function perMinuteOf(key: string, value: unknown): number | null {
  if (!PER_MINUTE.test(key) || typeof value !== 'number') return null;
  return value >= 1 && value <= LARGEST_LIMIT ? Math.floor(value) : null;
}

function scopeOf(key: string | null, namespace: string | null): LimitScope {
  if (key === null) return 'route';
  if (/^org\./i.test(key)) return 'organization';
  return namespace === null ? 'route' : 'service';
}
