// Whether a value fits a switch. Types say so inside the program; this says so for JSON that came over HTTP.

import type { Switches } from './switches.ts';

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
    Object.entries(value).every(([name, member]) => member === undefined || (Object.hasOwn(members, name) && members[name]?.(member) === true));

const orOff =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);

const OCCASION = { next: isCount, every: isCount, method: isText, path: isText };
const RETRY_AFTER = { retryAfterS: isCount, retryAfterAs: oneOf('seconds', 'date') };
const LIMIT = { perMinute: isCount, key: isText, namespace: isText };
const FAULTS = ['down', 'hang', 'slow', 'status', 'empty', 'html', 'malformed', 'lost', 'cut', 'gzip', 'huge', 'no-token', 'line-break', 'drip'];
const isLimit = shaped({ ...LIMIT, route: isText }, ['route', 'perMinute']);
const isFinalStatus: Check = (value) => Number.isInteger(value) && Number(value) >= 200 && Number(value) <= 599;

const CHECKS: Readonly<Record<keyof Switches, Check>> = {
  latencyMs: isCount,
  rateLimit: orOff(
    shaped({
      ...LIMIT,
      retryAfterAs: oneOf('seconds', 'date'),
      endpoints: (value) => Array.isArray(value) && value.length <= 1000 && value.every(isLimit),
    }),
  ),
  serverError: orOff(shaped({ ...OCCASION, ...RETRY_AFTER, status: oneOf(500, 502, 503, 504) }, ['status'])),
  unauthorized: orOff(shaped({ ...OCCASION, code: oneOf('bad.credentials', 'credentials.expired', 'authentication.required') })),
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
        fault: oneOf(...FAULTS),
        status: isFinalStatus,
        delayMs: isCount,
        bytes: (value) => isCount(value) && Number(value) <= 2 ** 28,
      },
      ['fault'],
    ),
  ),
  tokenLifetimeS: orOff(isCount),
  expiresIn: orOff(shaped({ value: (value) => value === null || typeof value === 'string' || typeof value === 'number' })),
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
