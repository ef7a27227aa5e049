// For probes and scrapers. /livez (and /healthz) says that the process responds, /readyz that calls would be served:
// JSON without secrets. /metrics is open on a health listener, for administrators on an admin listener, and not served
// on one for data alone.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isAllowedHost } from '../admission.ts';
import type { ServerContext } from '../context.ts';
import { exchangeOf } from '../exchange.ts';
import { sendJson } from '../responses.ts';
import { assertMetricsServed } from './access.ts';
import { readinessOf } from './status.ts';

/**
 * Registers the probes and /metrics. Ready: not draining, and every required credential holds a token that calls go up
 * with.
 */
export function registerProbes(app: FastifyInstance): void {
  for (const path of ['/livez', '/healthz'])
    app.get(path, (request, reply) => respond(request, reply, 200, { status: 'ok' }));
  app.get('/readyz', (request, reply) => {
    const readiness = describeReadiness(exchangeOf(request.raw).gateway, request.raw.headers.host ?? '');
    respond(request, reply, readiness.status === 'ready' ? 200 : 503, readiness);
  });
  app.get('/metrics', sendMetrics);
}

/**
 * Probes by any name need the status; a page whose own name was rebound to this address must not learn the names of
 * credentials.
 */
function describeReadiness(gateway: ServerContext, host: string) {
  const { credentials, boundary } = gateway.runtime;
  const states = credentials.list().map(({ config: { name, isRequired }, source }) => {
    const { token, renewal } = source.state();
    return { name, required: isRequired, token, renewal };
  });
  const status = readinessOf(gateway.phase, states);
  return isAllowedHost(host, boundary) ? { status, credentials: states } : { status };
}

function respond(request: FastifyRequest, reply: FastifyReply, statusCode: number, document: object): void {
  reply.hijack();
  sendJson(reply.raw, statusCode, document, exchangeOf(request.raw).record.requestId);
}

/** Sends the metrics, which hold names of credentials, clients and routes, and no secret. */
async function sendMetrics(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const exchange = exchangeOf(request.raw);
  const { metrics, runtime } = exchange.gateway;
  assertMetricsServed(exchange, runtime.authenticator);
  const body = await metrics.render();
  reply.hijack();
  reply.raw.writeHead(200, [
    'Content-Type',
    metrics.contentType,
    'Content-Length',
    String(Buffer.byteLength(body)),
    'Cache-Control',
    'no-store',
    'X-Gateway-Request-Id',
    exchange.record.requestId,
  ]);
  reply.raw.end(request.raw.method === 'HEAD' ? undefined : body);
}
