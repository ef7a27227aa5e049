// Health for probes: /livez (and /healthz) says that the process answers, /readyz that calls would be served. JSON without secrets.

import type { FastifyInstance } from 'fastify';
import { isUsable, type RenewalState, type TokenState } from '../auth/token-source.ts';
import { sendJson } from './answer.ts';
import { exchangeOf } from './exchange.ts';

/** What readiness looks at. */
export interface HealthSource {
  readonly isDraining: () => boolean;
  readonly credentials: () => readonly { name: string; isRequired: boolean; token: TokenState; renewal: RenewalState }[];
}

/** Ready: listening, not draining, and every required credential holds a valid token. */
export function registerHealth(app: FastifyInstance, source: HealthSource): void {
  const live = () => ({ status: 'ok' });
  const ready = () => {
    const credentials = source.credentials().map(({ name, isRequired, token, renewal }) => ({ name, required: isRequired, token, renewal }));
    const isWaiting = credentials.some(({ required, token }) => required && !isUsable(token));
    return { status: source.isDraining() ? 'draining' : isWaiting ? 'waiting' : 'ready', credentials };
  };
  const answer = (url: string, document: () => { status: string }) =>
    app.get(url, (request, reply) => {
      reply.hijack();
      const body = document();
      const isGood = body.status === 'ok' || body.status === 'ready';
      sendJson(reply.raw, isGood ? 200 : 503, body, exchangeOf(request.raw).record.requestId);
    });
  answer('/livez', live);
  answer('/healthz', live);
  answer('/readyz', ready);
}
