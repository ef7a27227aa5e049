// Who passes the door: Origin, then who it is, then Host (not asked of callers who proved who they are), then whether anybody may call without proof.
// Health, the facade and the login callback have their own terms, all of them named here.

import type { IncomingMessage } from 'node:http';
import { ANONYMOUS, type Caller } from '../auth/clients/caller.ts';
import { assertAllowedHost, assertDestination, assertOrigin, type BoundaryRules, isAllowedHost, isNavigation } from './boundary.ts';
import type { ListenerRole } from './exchange.ts';
import { readLogin } from './facade-request.ts';
import { type Identity, isFailedAuthentication } from './identify.ts';
import { FACADE_PATHS, isForApplications, type Route, TOKEN_PATH } from './request-target.ts';

/** What the door asks by; both belong to one configuration. */
export interface Gate {
  readonly boundary: BoundaryRules;
  readonly identity: Identity;
}

/** Which any Host may ask for: probes call by address or by service name. */
const HEALTH_PATHS: ReadonlySet<string> = new Set(['/livez', '/healthz', '/readyz']);

/** Where a browser arrives from elsewhere, with nothing to prove: these pages only send it on, or take a one-time answer. */
const LANDING_PATHS: ReadonlySet<string> = new Set(['/-/callback', '/oauth/authorize', '/logout']);

/**
 * Lets a request in, or throws gateway.origin.forbidden, gateway.host.forbidden, gateway.session.ended or gateway.client.*. `otherProof` is asked
 * for a caller who shows none of the usual proofs.
 */
export function admit(
  request: IncomingMessage,
  host: string,
  route: Route,
  role: ListenerRole,
  gate: Gate,
  otherProof: () => Caller | null = () => null,
): Caller {
  const path = route.kind === 'local' ? route.path : null;
  if (!(path !== null && LANDING_PATHS.has(path) && isNavigation(request))) assertOrigin(request, host, gate.boundary, isForApplications(route));
  if (route.kind === 'forward') assertDestination(request);
  if (path !== null && HEALTH_PATHS.has(path)) return ANONYMOUS;
  if (path !== null && isProbe(path, role)) {
    // Names of credentials, clients and routes, which a page could read whose own name was rebound to this address.
    assertAllowedHost(host, gate.boundary);
    return ANONYMOUS;
  }
  const shown = path !== null && FACADE_PATHS.has(path) ? callerAtFacade(request, path, host, role, gate) : gate.identity.identify(request, role);
  const caller = shown.isAuthenticated ? shown : (otherProof() ?? shown);
  if (!caller.isAuthenticated) {
    assertAllowedHost(host, gate.boundary);
    if (path === null || !(FACADE_PATHS.has(path) || LANDING_PATHS.has(path))) gate.identity.assertAdmitted(caller, role);
  }
  return caller;
}

/** Metrics are open where nothing but health is served; elsewhere they belong to the admin pages. */
function isProbe(path: string, role: ListenerRole): boolean {
  return path === '/metrics' && role.health && !role.data && !role.admin;
}

/** A wrong secret is answered by the token endpoint itself, in its own words; until then its caller is nobody. */
function callerAtFacade(request: IncomingMessage, path: string, host: string, role: ListenerRole, { identity, boundary }: Gate): Caller {
  if (path !== TOKEN_PATH) return ANONYMOUS;
  try {
    return identity.identifyForToken(request, readLogin(request.headers.authorization), role);
  } catch (error) {
    // A right secret is not asked for a Host of ours: refused at once for it, a wrong one would be told apart without being slowed.
    if (isFailedAuthentication(error) && !isAllowedHost(host, boundary)) throw error;
    return ANONYMOUS;
  }
}
