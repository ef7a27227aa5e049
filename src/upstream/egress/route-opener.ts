// Opens the raw connection to the endpoint over the first route of a list that works. TLS to the endpoint comes on top
// of it, elsewhere.

import type { LookupFunction, Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { upstreamError } from '../errors.ts';
import { type DialContext, openTcp, withinDeadline } from './dial-context.ts';
import { mayFallThrough } from './proxy-error.ts';
import { authority, type Endpoint, type ProxyRoute, routeName } from './proxy-route.ts';
import { createHttpTunnels, type HttpTunnels, openSocksTunnel } from './proxy-tunnels.ts';
import type { TlsLayer, Trust } from './tls.ts';

interface RouteContext {
  readonly dial: DialContext;
  readonly lookup: LookupFunction | undefined;
}

/** Opens connections over routes, and remembers which proxies were not there. */
export interface RouteOpener {
  /**
   * Tries `routes` in order, each with a fair share of the time left, and passes over those that failed a short while
   * ago as long as there are others. A proxy that refuses is obeyed; one that is not there is passed over. Rejects with
   * GatewayErrors only.
   */
  open(routes: readonly ProxyRoute[], endpoint: Endpoint, context: RouteContext): Promise<Socket>;
}

/** How long a proxy that was not there is tried last. */
const AVOID_MS = 60_000;
/** A script may name ever new ones. */
const MOST_AVOIDED = 1000;

/** `tls` and `trust` are for proxies that are spoken to over TLS. */
export function createRouteOpener({ clock, tls, trust }: { clock: Clock; tls: TlsLayer; trust: Trust }): RouteOpener {
  const tunnels = createHttpTunnels({ tls, trust });
  const avoidUntil = new LRUCache<string, number>({ max: MOST_AVOIDED });
  const isAvoided = (route: ProxyRoute) => (avoidUntil.get(routeName(route)) ?? 0) > clock.monotonic();
  return {
    async open(routes, endpoint, context) {
      const [only] = routes;
      if (only && routes.length === 1) return openRoute(only, endpoint, context, tunnels);
      const ordered = [...routes.filter((route) => !isAvoided(route)), ...routes.filter(isAvoided)];
      const failures: string[] = [];
      for (const [index, route] of ordered.entries()) {
        const isLast = index === ordered.length - 1;
        try {
          const socket = await withShare(context.dial, { clock, parts: ordered.length - index }, (dial) =>
            openRoute(route, endpoint, { ...context, dial }, tunnels),
          );
          avoidUntil.delete(routeName(route));
          return socket;
        } catch (error) {
          if (!isGatewayError(error)) throw error;
          if (isLast || !mayFallThrough(error) || context.dial.signal.aborted) throw withHistory(error, failures);
          if (route.kind === 'proxy') avoidUntil.set(routeName(route), clock.monotonic() + AVOID_MS);
          failures.push(`${routeName(route)} (${error.code})`);
        }
      }
      throw new GatewayError('gateway.proxy.refused', 'the PAC file names no route');
    },
  };
}

async function openRoute(
  route: ProxyRoute,
  endpoint: Endpoint,
  { dial, lookup }: RouteContext,
  tunnels: HttpTunnels,
): Promise<Socket> {
  if (route.kind === 'proxy') {
    if (route.protocol === 'http' || route.protocol === 'https') return tunnels.open(route, endpoint, dial);
    return openSocksTunnel(route, endpoint, { dial, lookup });
  }
  dial.waitFor('gateway.upstream.timeout', authority(endpoint.host, endpoint.port));
  try {
    return await openTcp({ host: endpoint.host, port: endpoint.port, dial, lookup });
  } catch (error) {
    throw upstreamError(error as Error, endpoint);
  }
}

/** One of `parts` equal shares of what is left of the dial. */
function withShare<T extends Socket>(
  whole: DialContext,
  { clock, parts }: { clock: Clock; parts: number },
  work: (dial: DialContext) => Promise<T>,
): Promise<T> {
  const limits = { clock, limitMs: Math.ceil(whole.remainingMs() / parts), closed: whole.signal, times: whole.times };
  return withinDeadline(limits, (part) =>
    work({
      ...part,
      waitFor(code, what) {
        part.waitFor(code, what);
        whole.waitFor(code, what);
      },
    }),
  );
}

function withHistory(error: GatewayError, failures: readonly string[]): GatewayError {
  if (failures.length === 0) return error;
  return new GatewayError(
    error.code,
    `${error.message} (tried before: ${failures.join(', ')})`,
    error.cause instanceof Error ? { cause: error.cause } : {},
  );
}
