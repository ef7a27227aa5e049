// Who passes the door: Origin, then who it is, then Host (not asked of callers who proved who they are), then whether anybody may call without proof.
// Health, the facade and the login callback have their own terms, all of them named here.

import type { IncomingMessage } from 'node:http';
import { ANONYMOUS, type Caller } from '../auth/callers/caller.ts';
import { assertAllowedHost, assertDestination, assertOrigin, type BoundaryRules, isAllowedHost, isNavigation } from './boundary.ts';
import type { ListenerRole } from './exchange.ts';
import { readLogin } from './facade-request.ts';
import { type Identity, isFailedAuthentication } from './identify.ts';
import { isForApplications, type Route } from './request-target.ts';
import type { OwnRoute } from './routes.ts';

/** What the door asks by; both belong to one configuration. */
export interface Gate {
  readonly boundary: BoundaryRules;
  readonly identity: Identity;
}

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
  const own = route.kind === 'local' ? route.own : null;
  if (!(own?.isLanding && isNavigation(request))) assertOrigin(request, host, gate.boundary, isForApplications(route));
  if (route.kind === 'forward') assertDestination(request);
  if (own?.isAnyHost) return ANONYMOUS;
  if (own?.kind === 'metrics' && !role.data && !role.admin) {
    // Open where nothing but health is served. It names credentials, clients and routes, which a page could read whose name was rebound to this address.
    assertAllowedHost(host, gate.boundary);
    return ANONYMOUS;
  }
  const shown = showsAtLogin(own) ? callerAtLogin(request, own, host, role, gate) : gate.identity.identify(request, role);
  const caller = shown.isAuthenticated ? shown : (otherProof() ?? shown);
  if (!caller.isAuthenticated) {
    assertAllowedHost(host, gate.boundary);
    if (!own?.isOpen) gate.identity.assertAdmitted(caller, role);
  }
  return caller;
}

/** Where callers prove themselves in the request's own way, or need not. */
function showsAtLogin(own: OwnRoute | null): own is OwnRoute {
  return own !== null && (own.kind === 'token' || own.kind === 'login-redirect');
}

/** A wrong secret is answered by the token endpoint itself, in its own words; until then its caller is nobody. */
function callerAtLogin(request: IncomingMessage, own: OwnRoute, host: string, role: ListenerRole, { identity, boundary }: Gate): Caller {
  if (own.kind !== 'token') return ANONYMOUS;
  try {
    return identity.identifyForToken(request, readLogin(request.headers.authorization), role);
  } catch (error) {
    // A right secret is not asked for a Host of ours: refused at once for it, a wrong one would be told apart without being slowed.
    if (isFailedAuthentication(error) && !isAllowedHost(host, boundary)) throw error;
    return ANONYMOUS;
  }
}
