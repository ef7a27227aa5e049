// For probes and scrapers. /livez (and /healthz) says that the process responds, /readyz that calls would be served:
// JSON without secrets. /metrics is open on a health listener, for administrators on an admin listener, and not served
// on one for data alone.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ANONYMOUS } from '../../auth/callers/caller.ts';
import { isUsable } from '../../auth/credentials/token-source.ts';
import { VERSION } from '../../version.ts';
import { isAllowedHost } from '../admission.ts';
import { isForwarded } from '../connection.ts';
import { type Exchange, exchangeOf } from '../exchange.ts';
import { sendJson } from '../responses.ts';
import { assertMetricsServed } from './access.ts';
import { readinessOf } from './status.ts';
import { sharedStoreState } from './store-status.ts';

/**
 * Registers the probes and /metrics. Ready: not draining, and every required credential holds a token that calls go up
 * with. A shared store that is away does not count: it would take all instances out at once.
 */
export function registerProbes(app: FastifyInstance): void {
  for (const path of ['/livez', '/healthz'])
    app.get(path, (request, reply) => {
      const who = isFromThisMachine(exchangeOf(request.raw)) ? { version: VERSION, pid: process.pid } : {};
      respond(request, reply, 200, { status: 'ok', ...who });
    });
  app.get('/readyz', (request, reply) => {
    const readiness = describeReadiness(exchangeOf(request.raw));
    respond(request, reply, readiness.status === 'ready' ? 200 : 503, readiness);
  });
  app.get('/metrics', sendMetrics);
}

/**
 * Probes by any name need the status; a page whose own name was rebound to this address must not learn the names of
 * credentials. Why there is no token is told where a call with that credential would be answered the same sentence: a
 * probe proves nothing, so that is where anonymous callers may use it.
 */
function describeReadiness({ gateway, request, role }: Exchange) {
  const { credentials, boundary, access, authenticator } = gateway.runtime;
  const mayCall = role.data && authenticator.isAdmitted(ANONYMOUS, role);
  const states = credentials.list().map((credential) => {
    const { name, isRequired } = credential.config;
    const token = credential.tokenState();
    const { renewal, lastError } = credential.source.state();
    const isTold = lastError !== null && !isUsable(token) && mayCall && access.mayUse(ANONYMOUS, name);
    const error = isTold ? { code: lastError.code, message: lastError.message } : undefined;
    return { name, required: isRequired, token, renewal, ...(error && { error }) };
  });
  const status = readinessOf(gateway.phase, states);
  const store = sharedStoreState(gateway);
  const shared = store === null ? {} : { store: { state: store } };
  return isAllowedHost(request.headers.host ?? '', boundary) ? { status, credentials: states, ...shared } : { status };
}

/** Whether a request was sent on this machine to this machine, as far as can be told; for what is public there anyway. */
function isFromThisMachine({ role, request: { headers }, gateway }: Exchange): boolean {
  if (!role.isLocal || !isAllowedHost(headers.host ?? '', gateway.runtime.boundary)) return false;
  return !isForwarded(headers);
}

function respond(request: FastifyRequest, reply: FastifyReply, statusCode: number, document: object): void {
  reply.hijack();
  sendJson(reply.raw, statusCode, document, exchangeOf(request.raw).record);
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
