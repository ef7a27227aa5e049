// What is said to a request that no route takes: 405 with the methods of its address where that is a route for other methods, behind the same
// door as the route itself; 404 everywhere else. It answers nothing.

import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../errors.ts';
import type { Exchange } from './exchange.ts';

/** Throws, as the route at `path` itself would, to callers who may not know that there is one. */
export type RouteDoor = (exchange: Exchange, path: string) => void;

/** A route of plain segments and `:names`; others are the framework's own to match. */
const SIMPLE = /^(?:\/(?::?[\w.~-]+)?)+$/;

interface KnownRoute {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

/** Learns the routes that are added to `app` from now on; gives what judges a request that none of them took. */
export function createMissJudge(app: FastifyInstance, door: RouteDoor): (exchange: Exchange) => GatewayError {
  const known = new Map<string, KnownRoute>();
  app.addHook('onRoute', ({ url, method }) => {
    if (!SIMPLE.test(url)) return;
    const route = known.get(url) ?? { pattern: new RegExp(`^${url.replaceAll('.', '\\.').replaceAll(/:[\w~-]+/g, '[^/]+')}$`), methods: new Set() };
    for (const one of [method].flat()) route.methods.add(one);
    known.set(url, route);
  });
  return (exchange) => {
    const { route, record } = exchange;
    if (route.kind !== 'local') return notFound();
    const methods = [...known.values()].filter(({ pattern }) => pattern.test(route.path)).flatMap((one) => [...one.methods]);
    if (methods.length === 0) return notFound();
    door(exchange, route.path);
    const allow = [...new Set(methods)].sort();
    return new GatewayError('gateway.request.invalid', `this address takes ${allow.join(' and ')}, not ${record.method}`, { statusCode: 405, allow });
  };
}

/** 404, with where calls go. */
export function notFound(): GatewayError {
  return new GatewayError('gateway.route.not.found', 'no such route: calls go to /api/v2/…, health to /livez and /readyz');
}
