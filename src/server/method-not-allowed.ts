// What is said to a request that no route takes: 405 with the methods of its path where that is a route for other
// methods, 404 everywhere else. A 405 tells that there is a route, so it is for callers who may use the route. It
// answers nothing.

import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../errors.ts';
import type { Authenticator } from './authenticate.ts';
import type { Exchange } from './exchange.ts';
import { OWN_ROUTES, patternOf } from './own-routes.ts';
import { assertAdminPage } from './routes/admin-guard.ts';
import { assertMetricsServed } from './routes/metrics.ts';

/** Routes of plain segments and `:names`; others are the framework's own to match. */
const SIMPLE = /^(?:\/(?::?[\w.~-]+)?)+$/;

/** Gives what judges a request that no route took. Learns the routes that the embedding program adds from now on. */
export function createMissJudge(
  app: FastifyInstance,
  authenticator: () => Authenticator,
): (exchange: Exchange) => GatewayError {
  const added = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    if (OWN_ROUTES.some(({ path }) => path === url) || !SIMPLE.test(url)) return;
    const route = added.get(url) ?? { pattern: patternOf(url), methods: new Set() };
    for (const one of [method].flat()) route.methods.add(one);
    added.set(url, route);
  });
  const methodsAt = (path: string) =>
    [...added.values()].filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => [...methods]);
  return (exchange) => {
    const { route, record } = exchange;
    if (route.kind !== 'local') return notFound();
    const allow = [...new Set(route.own?.methods ?? methodsAt(route.path))].sort();
    if (allow.length === 0) return notFound();
    if (route.own?.kind === 'metrics') assertMetricsServed(exchange, authenticator());
    else if (route.own?.kind === 'admin') assertAdminPage(exchange, authenticator());
    return new GatewayError(
      'gateway.request.invalid',
      `this address takes ${allow.join(' and ')}, not ${record.method}`,
      { statusCode: 405, allow },
    );
  };
}

/** 404, with where calls go. */
export function notFound(): GatewayError {
  return new GatewayError(
    'gateway.route.not.found',
    'no such route: calls go to /api/v2/…, health to /livez and /readyz',
  );
}
