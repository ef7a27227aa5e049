// What the handlers of our own routes have in common: who may use admin pages and metrics, how a body is read, and what
// is said to a request that no route takes. It responds to nothing.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Credential } from '../../auth/credentials/credentials.ts';
import { GatewayError } from '../../errors.ts';
import type { Authenticator } from '../authenticate.ts';
import { unknownCredential } from '../authorize.ts';
import type { ServerContext } from '../context.ts';
import { type Exchange, exchangeOf } from '../exchange.ts';
import { OWN_ROUTES, patternOf } from '../own-routes.ts';
import { notFound } from '../responses.ts';

/**
 * The exchange of an admin route that changes nothing. Throws on a listener without admin pages, and for a caller who
 * may not administer: a client without `admin` where clients are configured.
 */
export function adminExchange({ raw }: FastifyRequest): Exchange {
  const exchange = exchangeOf(raw);
  const { caller, role, gateway } = exchange;
  assertAdminListener(exchange);
  // A body takes as long as its sender likes: whoever may not administer any more by then does not.
  const { authenticator } = gateway.runtime;
  const peer = authenticator.peerOf(exchange.request, role);
  authenticator.assertAdmin(authenticator.assertRenewed(caller, role, peer), role);
  return exchange;
}

/**
 * The exchange of an admin route that changes something: it needs the header that no form or link can send, too. Its
 * outcome is a line of the audit trail, where there is one.
 */
export function changingExchange(request: FastifyRequest): Exchange {
  const exchange = adminExchange(request);
  assertCsrfHeader(exchange);
  const { response, record, runtime } = exchange;
  if (runtime.audit !== null) {
    const { audit } = runtime;
    const peer = runtime.trustedProxies.peerOf(request.raw);
    response.once('close', () => audit.writeAdmin(record, peer));
  }
  return exchange;
}

/** Throws gateway.origin.forbidden unless the request carries the header that makes browsers ask first. */
export function assertCsrfHeader(exchange: Pick<Exchange, 'request'>): void {
  assertRequestHeader(exchange, 'changes need');
}

/** The same for what no page of another origin may even read. */
export function assertRequestHeader({ request }: Pick<Exchange, 'request'>, what = 'this needs'): void {
  if (request.headers['x-gateway-request'] === '1') return;
  throw new GatewayError(
    'gateway.origin.forbidden',
    `${what} the header X-Gateway-Request: 1, which no link or form of a web page can send`,
  );
}

/** Throws gateway.route.not.found on a listener without metrics, gateway.client.* to who may not see them. */
export function assertMetricsServed({ role, caller }: Exchange, authenticator: Authenticator): void {
  if (!role.health && !role.admin)
    throw new GatewayError('gateway.route.not.found', 'metrics are served on the admin and health listeners');
  if (role.admin) authenticator.assertAdmin(caller, role);
}

/** Throws gateway.route.not.found on a listener without admin pages. */
export function assertAdminListener({ role }: Pick<Exchange, 'role'>): void {
  if (role.admin) return;
  throw new GatewayError(
    'gateway.route.not.found',
    'the admin pages are not served at this address: see server.admin_listen, 127.0.0.1:8081 for instance, which ' +
      'counts after a restart',
  );
}

/** Throws gateway.credential.unknown for a name that no credential of the configuration in use has. */
export function configuredCredential({ runtime }: ServerContext, name: string): Credential {
  const found = runtime.credentials.get(name);
  if (found === undefined) throw unknownCredential();
  return found;
}

/**
 * Makes bodies of every type text, up to `limitBytes`; the framework's 413 beyond, before it is read whole. Their size
 * goes into the record.
 */
export function readBodiesAsText(scope: FastifyInstance, limitBytes: number): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: limitBytes }, ({ raw }, body: Buffer, done) => {
    exchangeOf(raw).record.requestBytes = body.length;
    done(null, body.toString());
  });
}

/** Reads nothing of a body, whatever its type says: what is wrong or right about the request lies elsewhere. */
export function ignoreBodies(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
}

/** Routes of plain segments and `:names`; others are the framework's own to match. */
const SIMPLE = /^(?:\/(?::?[\w.~-]+)?)+$/;

/**
 * The routes of a Fastify instance by path, our own and those that the embedding program adds, to tell a request that
 * no route took why: 405 with the methods of its path where other methods are served there, else 404. A 405 tells that
 * there is a route, so it is for callers who may use the route.
 */
export class RouteMethods {
  /** The embedding program's routes, by path. */
  readonly #added = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();

  /** Learns the routes that are registered from now on. */
  constructor(app: FastifyInstance) {
    app.addHook('onRoute', ({ url, method }) => {
      if (OWN_ROUTES.some(({ path }) => path === url) || !SIMPLE.test(url)) return;
      const route = this.#added.get(url) ?? { pattern: patternOf(url), methods: new Set() };
      for (const one of [method].flat()) route.methods.add(one);
      this.#added.set(url, route);
    });
  }

  /** The error for a request that no route took: gateway.request.invalid 405, or gateway.route.not.found. */
  methodNotAllowed(exchange: Exchange): GatewayError {
    const { route, record, role, caller, gateway } = exchange;
    if (route.kind !== 'local') return notFound(role.admin);
    const allow = [...new Set(route.own?.methods ?? this.#at(route.path))].sort();
    if (allow.length === 0) return notFound(role.admin, route);
    const { authenticator } = gateway.runtime;
    if (route.own?.kind === 'metrics') assertMetricsServed(exchange, authenticator);
    else if (route.own?.isInspection) assertAdminListener(exchange);
    else if (route.own?.kind === 'admin') {
      assertAdminListener(exchange);
      authenticator.assertAdmin(caller, role);
    }
    return new GatewayError(
      'gateway.request.invalid',
      `this address takes ${allow.join(' and ')}, not ${record.method}`,
      { statusCode: 405, allow },
    );
  }

  #at(path: string): string[] {
    return [...this.#added.values()].filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => [...methods]);
  }
}
