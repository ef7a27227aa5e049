// POST /-/reload: reads the configuration again and answers how that went. What a reload is, is reload.ts's business.

import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../errors.ts';
import type { AdminGuard } from './admin/guard.ts';
import { sendJson } from './answer.ts';

/** The outcome as it is answered. */
interface Outcome {
  readonly applied: boolean;
  readonly changed: readonly string[];
  readonly restart: readonly string[];
  readonly problems: readonly string[];
}

/** What the route needs. */
export interface ReloadRoute {
  readonly guard: AdminGuard;
  readonly reload: () => Outcome;
}

/** So many problems are told in an answer; the log has them all. */
const MOST_PROBLEMS = 20;

/** Registers the route: 200 with the keys that changed, 422 gateway.request.invalid with what is wrong. */
export function registerReload(app: FastifyInstance, { guard, reload }: ReloadRoute): void {
  app.post('/-/reload', (request, reply) => {
    const { response, record } = guard.change(request);
    const { applied, changed, restart, problems } = reload();
    if (!applied) {
      const told = problems.slice(0, MOST_PROBLEMS).join('; ');
      throw new GatewayError('gateway.request.invalid', `the configuration was refused, the previous one stays in use: ${told}`, { statusCode: 422 });
    }
    reply.hijack();
    record.status = 200;
    sendJson(response, 200, { status: 'reloaded', changed, restart }, record.requestId);
  });
}
