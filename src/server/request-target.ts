// Where a request target leads: pure, on the raw octets. The part that is forwarded is never decoded, only looked at.

import { RESERVED_NAMES } from '../config/layers.ts';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { identifyOperation } from '../operations/table.ts';
import { findOwnRoute, type OwnRoute, TOKEN_PATH } from './own-routes.ts';

/** Where a request goes. */
export type Route =
  /** Forwarded: `target` begins with `/api/v2`; `credential` is the path's NAME, if any. */
  | { readonly kind: 'forward'; readonly credential: string | null; readonly target: string }
  /**
   * Served here; `path` is without the query and without the SDK's own prefix; `credential` as above. `own` is null
   * where it is no path of ours: it may be one of the embedding program's.
   */
  | {
      readonly kind: 'local';
      readonly credential: string | null;
      readonly path: string;
      readonly query: string;
      readonly own: OwnRoute | null;
    };

/** What may follow a credential's name: `/hello/there` begins with no such name. */
const AFTER_NAME = new Set(['api', 'login', 'logout', 'oauth', 'streaming']);

const NAME = /^[a-z0-9][a-z0-9-]*$/;
/** Anything in a path that needs a closer look: dots, escapes, backslashes, path parameters. */
const SUSPICIOUS = /[.%\\;\0]/;
const MALFORMED = 'the request target is ambiguous: send it without dot segments, backslashes, NUL or a fragment';

/**
 * Parses an origin-form target. Throws gateway.request.invalid for what is ambiguous; what is merely unknown becomes a
 * local route.
 */
export function parseTarget(target: string): Route {
  if (target.charCodeAt(0) !== 47 /* / */ || target.includes('#'))
    throw new GatewayError('gateway.request.invalid', MALFORMED);
  const queryAt = target.indexOf('?');
  const path = queryAt < 0 ? target : target.slice(0, queryAt);
  if (SUSPICIOUS.test(path)) assertPlainPath(path);
  if (isApiPath(path)) return { kind: 'forward', credential: null, target };

  let rest = path;
  let credential: string | null = null;
  const first = firstSegment(rest);
  if (NAME.test(first) && !RESERVED_NAMES.has(first)) {
    const after = rest.slice(first.length + 1);
    if (AFTER_NAME.has(firstSegment(after))) {
      credential = first;
      rest = after;
    }
  }
  const prefix = firstSegment(rest);
  // The SDKs put path_params_login and path_params_api before everything they send: /login/oauth/token,
  // /api/api/v2/users.
  if (prefix === 'login' || (prefix === 'api' && !isApiPath(rest))) {
    const after = rest.slice(prefix.length + 1);
    // Before nothing else: no other route of ours has a second address.
    if (isApiPath(after) || isLogin(after)) rest = after;
  }
  const query = queryAt < 0 ? '' : target.slice(queryAt + 1);
  if (isApiPath(rest))
    return { kind: 'forward', credential, target: rest + (queryAt < 0 ? '' : target.slice(queryAt)) };
  return { kind: 'local', credential, path: rest, query, own: findOwnRoute(rest) };
}

/** Notes in the record which operation of the platform a call is, or which route of our own. The one look-up of it. */
export function noteRoute(record: ExchangeRecord, route: Route): void {
  if (route.kind === 'forward') {
    const { id, template } = identifyOperation(record.method, route.target);
    record.operation = id;
    record.route = template;
    return;
  }
  if (route.own === null) return;
  record.route = route.own.template;
  record.isProbe = route.own.isProbe;
  record.isInspection = route.own.isInspection;
}

/** Whether pages of listed origins are let in where a route leads. */
export function isForApplications(route: Route): boolean {
  return route.kind === 'forward' || route.own?.isForApplications === true;
}

/**
 * The shape of errors where a route of ours leads. What looks for the token endpoint and misses it, `//oauth/token`, is
 * an OAuth client: it shows its user `error` and `error_description`, and of any other body nothing.
 */
export function errorFormatOf({ own, path }: Extract<Route, { kind: 'local' }>): OwnRoute['errorFormat'] {
  if (own !== null) return own.errorFormat;
  return path.endsWith(TOKEN_PATH) ? 'oauth' : 'api';
}

/** Whether a path is one of those at which applications log in and out. */
function isLogin(path: string): boolean {
  const kind = findOwnRoute(path)?.kind;
  return kind === 'token' || kind === 'login-redirect';
}

function isApiPath(path: string): boolean {
  return path.startsWith('/api/v2') && (path.length === 7 || path.charCodeAt(7) === 47);
}

function firstSegment(path: string): string {
  const end = path.indexOf('/', 1);
  return end < 0 ? path.slice(1) : path.slice(1, end);
}

/** Refuses what some server on the way might read as another path than the one that was checked. */
function assertPlainPath(path: string): void {
  const decoded = path.replace(/%(2e|2f|3b|5c|00)/gi, (octet) =>
    String.fromCharCode(Number.parseInt(octet.slice(1), 16)),
  );
  if (/[\\\0]/.test(decoded)) throw new GatewayError('gateway.request.invalid', MALFORMED);
  for (const segment of decoded.split('/')) {
    const name = segment.split(';', 1)[0];
    if (name === '.' || name === '..') throw new GatewayError('gateway.request.invalid', MALFORMED);
  }
}
