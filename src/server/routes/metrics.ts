// GET /metrics, for Prometheus: open on a health listener, for administrators on an admin listener, not there on one
// for data alone.

import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../../errors.ts';
import type { Metrics } from '../../logging/metrics/metrics.ts';
import type { Authenticator } from '../authenticate.ts';
import { type Exchange, exchangeOf } from '../exchange.ts';

/** What the route needs; `authenticator` is that of the configuration in use. */
export interface MetricsRoute {
  readonly metrics: Pick<Metrics, 'render' | 'contentType'>;
  readonly authenticator: () => Authenticator;
}

/** Registers the route. Its answer holds names of credentials, clients and routes, and no secret. */
export function registerMetrics(app: FastifyInstance, { metrics, authenticator }: MetricsRoute): void {
  app.get('/metrics', async (request, reply) => {
    const exchange = exchangeOf(request.raw);
    const { record } = exchange;
    assertMetricsServed(exchange, authenticator());
    const body = await metrics.render();
    reply.hijack();
    reply.raw.writeHead(200, [
      ...[
        'Content-Type',
        metrics.contentType,
        'Content-Length',
        String(Buffer.byteLength(body)),
        'Cache-Control',
        'no-store',
      ],
      ...['X-Gateway-Request-Id', record.requestId],
    ]);
    reply.raw.end(request.raw.method === 'HEAD' ? undefined : body);
  });
}

/** Throws gateway.route.not.found on a listener without metrics, gateway.client.* to who may not see them. */
export function assertMetricsServed(
  { role, caller }: Pick<Exchange, 'role' | 'caller'>,
  authenticator: Pick<Authenticator, 'assertAdmin'>,
): void {
  if (!role.health && !role.admin)
    throw new GatewayError('gateway.route.not.found', 'metrics are served on the admin and health listeners');
  if (role.admin) authenticator.assertAdmin(caller, role);
}
