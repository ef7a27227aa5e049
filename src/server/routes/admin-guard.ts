// The door of every admin route: which listener it came in by, who may administer, and that no page of another origin
// can change anything. It answers nothing.

import type { FastifyRequest } from 'fastify';
import { GatewayError } from '../../errors.ts';
import type { Authenticator } from '../authenticate.ts';
import { type Exchange, exchangeOf } from '../exchange.ts';

/** Call one of these first in each admin route. All throw GatewayError. */
export interface AdminGuard {
  /** For what only looks: an admin listener, and a client with `admin` where clients are configured. */
  read(request: FastifyRequest): Exchange;
  /** For what changes something: as `read`, and the header that no form or link of a page can send. */
  change(request: FastifyRequest): Exchange;
  /**
   * For what a browser brings back from the login page: any listener that lets it in (one of health alone does not),
   * and nothing to prove but the login's state.
   */
  callback(request: FastifyRequest): Exchange;
}

/** Makes the guard. `authenticator` gives the recogniser of the configuration at work. */
export function createAdminGuard(authenticator: () => Pick<Authenticator, 'present' | 'assertAdmin'>): AdminGuard {
  const open = (request: FastifyRequest): Exchange => exchangeOf(request.raw);
  const read = (request: FastifyRequest): Exchange => {
    const exchange = open(request);
    if (!exchange.role.admin) throw notHere();
    // A body takes as long as its sender likes: whoever may not administer any more by then does not.
    const caller = authenticator().present(exchange.caller, exchange.role);
    assertAdminPage({ role: exchange.role, caller }, authenticator());
    return exchange;
  };
  return {
    read,
    change(request) {
      const exchange = read(request);
      assertCsrfHeader(exchange);
      return exchange;
    },
    callback: open,
  };
}

/** Throws gateway.route.not.found on a listener without admin pages, gateway.client.* to who may not administer. */
export function assertAdminPage(
  { role, caller }: Pick<Exchange, 'role' | 'caller'>,
  authenticator: Pick<Authenticator, 'assertAdmin'>,
): void {
  if (!role.admin) throw notHere();
  authenticator.assertAdmin(caller, role);
}

/** Throws gateway.origin.forbidden unless the request carries the header that makes browsers ask first. */
export function assertCsrfHeader({ request }: Pick<Exchange, 'request'>): void {
  if (request.headers['x-gateway-request'] === '1') return;
  throw new GatewayError(
    'gateway.origin.forbidden',
    'changes need the header X-Gateway-Request: 1, which no link or form of a web page can send',
  );
}

function notHere(): GatewayError {
  return new GatewayError(
    'gateway.route.not.found',
    'the admin pages are not served at this address: see server.admin_listen',
  );
}
