// Admission, in order: Origin, authentication, Host (skipped for authenticated callers), then whether anonymous callers
// are allowed. And the browser boundary it goes by: which Host and which Origin may speak to a gateway that every web
// page can reach.

import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { ANONYMOUS, type Caller } from '../auth/callers/caller.ts';
import { SessionElsewhere } from '../auth/callers/session-fetches.ts';
import { GatewayError } from '../errors.ts';
import { type Authenticator, readBasicCredentials } from './authenticate.ts';
import { isFailedAuthentication } from './authentication-error.ts';
import type { ListenerRole } from './listener-plan.ts';
import type { OwnRoute } from './own-routes.ts';
import { isForApplications, type Route } from './request-target.ts';

/** What admission goes by, of one configuration. */
export interface AdmissionRules {
  readonly boundary: BoundaryRules;
  readonly authenticator: Authenticator;
}

/**
 * Lets a request in, or throws gateway.origin.forbidden, gateway.host.forbidden, gateway.session.ended or
 * gateway.client.*. `fallback` authenticates a caller whom nothing else does.
 */
export function admit(
  request: IncomingMessage,
  host: string,
  route: Route,
  role: ListenerRole,
  rules: AdmissionRules,
  fallback: () => Caller | null = () => null,
): Caller {
  const own = route.kind === 'local' ? route.own : null;
  if (!(own?.isReturn && isNavigation(request))) assertOrigin(request, host, rules.boundary, isForApplications(route));
  if (route.kind === 'forward') assertNotRendered(request);
  if (own?.isAnyHost) return ANONYMOUS;
  if (own?.kind === 'metrics' && !role.data && !role.admin) {
    // Open where nothing but health is served. Metrics name credentials, clients and routes, and a page could read them
    // by DNS rebinding: so the Host is checked.
    assertAllowedHost(host, rules.boundary);
    return ANONYMOUS;
  }
  const shown = authenticatesItself(own)
    ? callerAtLogin(request, own, host, role, rules)
    : isOurPage(own)
      ? rules.authenticator.authenticateForPage(request, role)
      : rules.authenticator.authenticate(request, role);
  const caller = shown.isAuthenticated ? shown : (fallback() ?? shown);
  if (!caller.isAuthenticated) {
    assertAllowedHost(host, rules.boundary);
    if (!own?.isOpen) rules.authenticator.assertAdmitted(caller, role);
  }
  return caller;
}

/** Whether a route is one that our own pages call. */
function isOurPage(own: OwnRoute | null): boolean {
  return own !== null && (own.kind === 'admin' || own.kind === 'inspector' || own.kind === 'page-key');
}

/** Whether callers of a route are authenticated in the route's own way, or need not be. */
function authenticatesItself(own: OwnRoute | null): own is OwnRoute {
  return own !== null && (own.kind === 'token' || own.kind === 'login-redirect');
}

/** The token endpoint itself responds to a wrong secret, in its own words; until then its caller is anonymous. */
function callerAtLogin(
  request: IncomingMessage,
  own: OwnRoute,
  host: string,
  role: ListenerRole,
  { authenticator, boundary }: AdmissionRules,
): Caller {
  if (own.kind !== 'token') return ANONYMOUS;
  try {
    return authenticator.authenticateForToken(request, readBasicCredentials(request.headers.authorization), role);
  } catch (error) {
    if (error instanceof SessionElsewhere) throw error;
    // A right secret is accepted under any Host. If only a wrong one were refused for its Host, and at once, an attacker
    // could tell the two apart without the delay.
    if (isFailedAuthentication(error) && !isAllowedHost(host, boundary)) throw error;
    return ANONYMOUS;
  }
}

/** What the boundary needs of a request. Values as Node hands them out, names in lower case. */
export interface BoundaryRequest {
  readonly host: string;
  readonly origin: string | undefined;
  readonly fetchSite: string | undefined;
  readonly isEncrypted: boolean;
}

/** What is allowed beyond the obvious; built once from the configuration. */
export interface BoundaryRules {
  /** Lower-case names, with or without a port. */
  readonly allowedHosts: ReadonlySet<string>;
  /** Exact origins. */
  readonly corsOrigins: ReadonlySet<string>;
  /** Origin of `server.public_url`, or null. */
  readonly publicOrigin: string | null;
}

/** The rules of one configuration. */
export function createBoundaryRules(server: {
  allowedHosts: readonly string[];
  corsOrigins: readonly string[];
  publicUrl: string | null;
}): BoundaryRules {
  const publicUrl = server.publicUrl === null ? null : new URL(server.publicUrl);
  return {
    allowedHosts: new Set([
      ...server.allowedHosts.map((host) => host.toLowerCase()),
      ...(publicUrl ? [publicUrl.hostname, publicUrl.host] : []),
    ]),
    corsOrigins: new Set(server.corsOrigins),
    publicOrigin: publicUrl?.origin ?? null,
  };
}

const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(\d{1,5}))?$/i;

/** Splits a Host value; null when it is not one. The name comes back in lower case, IPv6 in its brackets. */
export function parseHost(host: string): { name: string; port: string | null } | null {
  const match = HOST.exec(host);
  if (!match) return null;
  const port = match[2] ?? null;
  if (port !== null && Number(port) > 65_535) return null;
  return { name: (match[1] as string).toLowerCase(), port };
}

/**
 * Whether a Host is one of a gateway: an IP literal, a loopback name, or listed. Names that merely resolve to loopback
 * are not (DNS rebinding).
 */
export function isAllowedHost(host: string, rules: BoundaryRules): boolean {
  const parsed = parseHost(host);
  if (!parsed) return false;
  const { name } = parsed;
  if (name === 'localhost' || name === 'localhost.' || name.endsWith('.localhost')) return true;
  if (name.startsWith('[') ? isIP(name.slice(1, -1)) === 6 : isIP(name) === 4) return true;
  return rules.allowedHosts.has(name) || rules.allowedHosts.has(host.toLowerCase());
}

/** Throws gateway.host.forbidden for a Host that is not the gateway's. */
export function assertAllowedHost(host: string, rules: BoundaryRules): void {
  if (isAllowedHost(host, rules)) return;
  throw new GatewayError(
    'gateway.host.forbidden',
    'this Host is not served here: call the gateway by localhost or an IP address, or list the name in ' +
      'server.allowed_hosts',
  );
}

/** Whether an Origin is the gateway's own, as seen by this request. */
export function isOwnOrigin(request: BoundaryRequest, rules: BoundaryRules): boolean {
  const { origin } = request;
  if (origin === undefined) return false;
  return (
    origin === `${request.isEncrypted ? 'https' : 'http'}://${request.host.toLowerCase()}` ||
    origin === rules.publicOrigin
  );
}

/**
 * Throws gateway.origin.forbidden for a request that a page of another origin made. `isOpen`: pages of listed origins
 * are let in where it leads.
 */
export function assertAllowedOrigin(request: BoundaryRequest, rules: BoundaryRules, isOpen: boolean): void {
  const { origin, fetchSite } = request;
  const isListed = origin !== undefined && rules.corsOrigins.has(origin);
  if (isListed && isOpen) return;
  const isForeign = fetchSite === 'cross-site' || fetchSite === 'same-site';
  if (!isForeign && (origin === undefined || isOwnOrigin(request, rules))) return;
  throw new GatewayError(
    'gateway.origin.forbidden',
    isListed
      ? 'server.cors_origins opens the API and the login endpoints alone: this address is for pages of the gateway ' +
          'itself'
      : 'a web page of another origin may not use the gateway: list its origin in server.cors_origins if it should',
  );
}

/** `assertAllowedOrigin` for a request as it came. */
export function assertOrigin(
  { headers, socket }: IncomingMessage,
  host: string,
  rules: BoundaryRules,
  isOpen: boolean,
): void {
  const { origin } = headers;
  const fetchSite = headers['sec-fetch-site'];
  if (origin === undefined && fetchSite === undefined) return;
  const isEncrypted = (socket as { encrypted?: boolean }).encrypted === true;
  assertAllowedOrigin(
    { host, origin, fetchSite: typeof fetchSite === 'string' ? fetchSite : undefined, isEncrypted },
    rules,
    isOpen,
  );
}

/** Whether a browser goes to a page as a whole, as links and redirects make it: not into a frame, not from a script. */
export function isNavigation({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}

/** Destinations (Fetch standard, section 2.2.5) where a response runs, or becomes a part of the page that asked. */
const RUNNING = /^(?:script|(?:shared|service)?worker|(?:audio|paint)worklet|xslt|i?frame|fencedframe|object|embed)$/i;

/**
 * Throws gateway.origin.forbidden where a page would run, frame or embed a response of the upstream: that would be done
 * as this gateway. A browser without Sec-Fetch-Dest says at least when it looks for a service worker.
 */
export function assertNotRendered({ headers }: IncomingMessage): void {
  const destination = headers['sec-fetch-dest'];
  if (headers['service-worker'] === undefined && (typeof destination !== 'string' || !RUNNING.test(destination)))
    return;
  throw new GatewayError(
    'gateway.origin.forbidden',
    'what the API answers is for reading: a page may fetch it, and neither run it as a script or worker nor put it ' +
      'into a frame',
  );
}
