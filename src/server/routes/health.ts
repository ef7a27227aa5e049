// Health for probes: /livez (and /healthz) says that the process answers, /readyz that calls would be served. JSON
// without secrets.

import type { FastifyInstance } from 'fastify';
import { isUsable, type RenewalState, type TokenState } from '../../auth/credentials/token-source.ts';
import { type BoundaryRules, isAllowedHost } from '../admission.ts';
import { exchangeOf } from '../exchange.ts';
import { sendJson } from '../responses.ts';

/** What readiness looks at, and who may see of what it is made. */
export interface HealthSource {
  readonly isDraining: () => boolean;
  readonly boundary: () => BoundaryRules;
  readonly credentials: () => readonly {
    name: string;
    isRequired: boolean;
    token: TokenState;
    renewal: RenewalState;
  }[];
}

/** Ready: listening, not draining, and every required credential holds a valid token. */
export function registerHealth(app: FastifyInstance, source: HealthSource): void {
  const live = () => ({ status: 'ok' });
  const ready = (host: string) => {
    const credentials = source
      .credentials()
      .map(({ name, isRequired, token, renewal }) => ({ name, required: isRequired, token, renewal }));
    const isWaiting = credentials.some(({ required, token }) => required && !isUsable(token));
    const status = source.isDraining() ? 'draining' : isWaiting ? 'waiting' : 'ready';
    // Probes by any name need the status; a page whose own name was rebound to this address must not learn the names of
    // credentials.
    return isAllowedHost(host, source.boundary()) ? { status, credentials } : { status };
  };
  const answer = (url: string, document: (host: string) => { status: string }) =>
    app.get(url, (request, reply) => {
      reply.hijack();
      const body = document(request.raw.headers.host ?? '');
      const isGood = body.status === 'ok' || body.status === 'ready';
      sendJson(reply.raw, isGood ? 200 : 503, body, exchangeOf(request.raw).record.requestId);
    });
  answer('/livez', live);
  answer('/healthz', live);
  answer('/readyz', ready);
}
