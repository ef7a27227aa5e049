// The faults and policies that can be switched on: their shapes, their defaults (all off), valid values, when each one
// acts on a call. The effect of a switch belongs to whatever answers the call.

import type { RefreshPolicy } from './tokens.ts';

/**
 * When a switch acts: on the next `next` calls that match, on every `every`th, else on each. `path` is a prefix of the
 * raw path.
 */
interface Occasion {
  next?: number;
  every?: number;
  method?: string;
  path?: string;
}

/** A limit that the calls of several paths draw on together. */
export interface ServiceLimit {
  readonly namespace: string;
  readonly key: string;
  readonly perMinute: number;
  /** Beginnings of path templates. */
  readonly paths: readonly string[];
  /** Counted over all tokens of the organisation, not for each. */
  readonly isShared?: boolean;
  /** A page of more than 25 counts as several calls. */
  readonly byPageSize?: boolean;
}

/** `Retry-After`, in seconds or as a date that many seconds ahead of the simulation's clock. */
export interface RetryAfter {
  retryAfterS?: number;
  retryAfterAs?: 'seconds' | 'date';
}

/**
 * Calls a minute per token, and further limits of single endpoints (`route` as in `GET /api/v2/users/{userId}`) and of
 * services. `key`: by default the platform's, by the token's grant. `isUnnamed`: the 429 names no limit.
 */
export interface RateLimit {
  perMinute?: number;
  key?: string;
  namespace?: string;
  retryAfterAs?: 'seconds' | 'date' | 'none';
  isUnnamed?: boolean;
  /** Each call counts for a minute of its own; default: for what is left of a window that began with the first one. */
  isSliding?: boolean;
  services?: readonly ServiceLimit[];
  endpoints?: readonly { route: string; perMinute: number; key?: string; namespace?: string }[];
}

/**
 * Ways for the token endpoint to misbehave. No grant is carried out for `down`, `hang` (until `release`), `status`,
 * `empty`, `html`, `malformed`; for the others it is, and the answer suffers: `lost` (closed before it), `cut` (half of
 * it), `gzip` (unasked), `huge`, `no-token`, `line-break`, `drip`.
 */
const TOKEN_FAULTS = [
  'down',
  'hang',
  'slow',
  'status',
  'empty',
  'html',
  'malformed',
  'lost',
  'cut',
  'gzip',
  'huge',
  'no-token',
  'line-break',
  'drip',
] as const;

export type TokenFault = (typeof TOKEN_FAULTS)[number];

/** Every switch. `null`, `false` and 0 are off. */
export interface Switches extends RefreshPolicy {
  /** Real milliseconds before every API answer. */
  latencyMs: number;
  rateLimit: RateLimit | null;
  /** What every token is granted, `routing:queue:view`, with `*`; routes that need more answer 403. */
  permissions: readonly string[] | null;
  /** API calls answered with a server error. */
  serverError: (Occasion & RetryAfter & { status: 500 | 502 | 503 | 504 }) | null;
  /** API calls answered 401 although the token is good. */
  unauthorized: (Occasion & { code?: 'bad.credentials' | 'credentials.expired' | 'authentication.required' }) | null;
  /** API answers cut in the middle of their body. */
  cutBody: Occasion | null;
  /** Connections closed before an API answer. */
  closeBeforeAnswer: Occasion | null;
  /** API calls held until `release`. */
  holdApi: Occasion | null;
  /** Upgrades of channel sockets refused. */
  refuseSocket: (Occasion & { status: number }) | null;
  /** `Set-Cookie` on API answers. */
  cookies: boolean;
  /** HTTP 400 `invalid_request` "rate limit exceeded" from the token endpoint. */
  throttleLogin: (Occasion & RetryAfter) | null;
  /** `status` goes with fault `status`, `delayMs` with `slow` and `drip`, `bytes` with `huge` (default 20 MiB). */
  tokenEndpoint:
    | (Occasion & RetryAfter & { fault: TokenFault; status?: number; delayMs?: number; bytes?: number })
    | null;
  /** Seconds that new access tokens live, whatever the client says. */
  tokenLifetimeS: number | null;
  /** What the reply says instead of the truth; `{}` leaves `expires_in` out. */
  expiresIn: { value?: string | number | null } | null;
  /** The login page decides at once: for a user (id or email), or refusing. */
  login: { approve: string } | { deny: string } | null;
}

export const SWITCHES_OFF: Switches = {
  latencyMs: 0,
  rateLimit: null,
  permissions: null,
  serverError: null,
  unauthorized: null,
  cutBody: null,
  closeBeforeAnswer: null,
  holdApi: null,
  refuseSocket: null,
  cookies: false,
  throttleLogin: null,
  tokenEndpoint: null,
  tokenLifetimeS: null,
  expiresIn: null,
  rotation: 'none',
  graceMs: 30_000,
  replyRefreshToken: 'always',
  login: null,
};

/** Switches that act on occasions. */
type OccasionalSwitch =
  | 'serverError'
  | 'unauthorized'
  | 'cutBody'
  | 'closeBeforeAnswer'
  | 'holdApi'
  | 'refuseSocket'
  | 'throttleLogin'
  | 'tokenEndpoint';

/** The switches as they stand. */
export interface SwitchBoard {
  readonly now: Readonly<Switches>;
  /**
   * Sets the named ones and starts their counts anew; leaves the others. Throws a TypeError, with nothing set, for a
   * name or value that does not fit.
   */
  set(changes: Partial<Switches>): void;
  /** The switch when it acts on this call, counting the call; else `undefined`. */
  take<K extends OccasionalSwitch>(
    name: K,
    call: { method: string; path: string },
  ): NonNullable<Switches[K]> | undefined;
}

export function createSwitchBoard(initial: Partial<Switches> = {}): SwitchBoard {
  const now: Switches = { ...SWITCHES_OFF };
  const seen = new Map<string, number>();
  const board: SwitchBoard = {
    now,
    set(changes) {
      assertSwitchValues(changes);
      for (const key of Object.keys(changes)) seen.delete(key);
      Object.assign(now, changes);
    },
    take(name, call) {
      const current = now[name];
      if (!current) return undefined;
      if (current.method !== undefined && current.method !== call.method) return undefined;
      if (current.path !== undefined && !call.path.startsWith(current.path)) return undefined;
      const count = (seen.get(name) ?? 0) + 1;
      seen.set(name, count);
      if (current.every !== undefined && count % current.every !== 0) return undefined;
      if (current.next !== undefined && count > current.next) return undefined;
      return current;
    },
  };
  board.set(initial);
  return board;
}

/**
 * The value of a `Retry-After` header, or `undefined` when none is wanted. A date has whole seconds, so it is rounded
 * up.
 */
export function formatRetryAfter(wanted: RetryAfter, nowMs: number): string | undefined {
  if (wanted.retryAfterS === undefined) return undefined;
  if (wanted.retryAfterAs !== 'date') return String(wanted.retryAfterS);
  return new Date(Math.ceil(nowMs / 1000 + wanted.retryAfterS) * 1000).toUTCString();
}

type Check = (value: unknown) => boolean;

/** Thirty years of seconds, and whatever else is counted: beyond it dates end. */
const LARGEST_COUNT = 1e9;
const isCount: Check = (value) => typeof value === 'number' && value >= 0 && value <= LARGEST_COUNT;
const isText: Check = (value) => typeof value === 'string';
const oneOf =
  (...allowed: readonly unknown[]): Check =>
  (value) =>
    allowed.includes(value);

/** An object with no members but these, the ones in `required` present. */
const shaped =
  (members: Readonly<Record<string, Check>>, required: readonly string[] = []): Check =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    required.every((name) => Object.hasOwn(value, name)) &&
    Object.entries(value).every(
      ([name, member]) => member === undefined || (Object.hasOwn(members, name) && members[name]?.(member) === true),
    );

const orOff =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);

const OCCASION = { next: isCount, every: isCount, method: isText, path: isText };
const RETRY_AFTER = { retryAfterS: isCount, retryAfterAs: oneOf('seconds', 'date') };
const LIMIT = { perMinute: isCount, key: isText, namespace: isText };
const isLimit = shaped({ ...LIMIT, route: isText }, ['route', 'perMinute']);
const isServiceLimit = shaped(
  {
    ...LIMIT,
    paths: (value) => Array.isArray(value) && value.length <= 1000 && value.every(isText),
    isShared: oneOf(true, false),
    byPageSize: oneOf(true, false),
  },
  ['namespace', 'key', 'perMinute', 'paths'],
);
const isFinalStatus: Check = (value) => Number.isInteger(value) && Number(value) >= 200 && Number(value) <= 599;

/** What a permission looks like. */
export const PERMISSION = /^[\w*-]+:[\w*-]+:[\w*-]+$/;

const CHECKS: Readonly<Record<keyof Switches, Check>> = {
  latencyMs: isCount,
  rateLimit: orOff(
    shaped({
      ...LIMIT,
      retryAfterAs: oneOf('seconds', 'date', 'none'),
      isUnnamed: oneOf(true, false),
      isSliding: oneOf(true, false),
      services: (value) => Array.isArray(value) && value.length <= 1000 && value.every(isServiceLimit),
      endpoints: (value) => Array.isArray(value) && value.length <= 1000 && value.every(isLimit),
    }),
  ),
  permissions: orOff(
    (value) =>
      Array.isArray(value) && value.length <= 10_000 && value.every((one) => isText(one) && PERMISSION.test(one)),
  ),
  serverError: orOff(shaped({ ...OCCASION, ...RETRY_AFTER, status: oneOf(500, 502, 503, 504) }, ['status'])),
  unauthorized: orOff(
    shaped({ ...OCCASION, code: oneOf('bad.credentials', 'credentials.expired', 'authentication.required') }),
  ),
  cutBody: orOff(shaped(OCCASION)),
  closeBeforeAnswer: orOff(shaped(OCCASION)),
  holdApi: orOff(shaped(OCCASION)),
  refuseSocket: orOff(shaped({ ...OCCASION, status: isFinalStatus }, ['status'])),
  cookies: oneOf(true, false),
  throttleLogin: orOff(shaped({ ...OCCASION, ...RETRY_AFTER })),
  tokenEndpoint: orOff(
    shaped(
      {
        ...OCCASION,
        ...RETRY_AFTER,
        fault: oneOf(...TOKEN_FAULTS),
        status: isFinalStatus,
        delayMs: isCount,
        bytes: (value) => isCount(value) && Number(value) <= 2 ** 28,
      },
      ['fault'],
    ),
  ),
  tokenLifetimeS: orOff(isCount),
  expiresIn: orOff(
    shaped({ value: (value) => value === null || typeof value === 'string' || typeof value === 'number' }),
  ),
  rotation: oneOf('none', 'grace', 'strict'),
  graceMs: isCount,
  replyRefreshToken: oneOf('always', 'when-changed'),
  login: orOff((value) => shaped({ approve: isText }, ['approve'])(value) || shaped({ deny: isText }, ['deny'])(value)),
};

/** Throws a TypeError that names the first switch that does not exist or that cannot hold its value. */
export function assertSwitchValues(changes: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(changes)) {
    const check = Object.hasOwn(CHECKS, name) ? CHECKS[name as keyof Switches] : undefined;
    if (!check) throw new TypeError(`no such switch: ${name}`);
    if (!check(value)) throw new TypeError(`switch ${name} cannot hold ${JSON.stringify(value)}`);
  }
}
