// POST /-/reload: reads the configuration again and answers how that went. What a reload does is the reloader's
// business.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '../../errors.ts';
import { ignoreBodies } from '../app.ts';
import { sendJson } from '../responses.ts';
import type { AdminGuard } from './admin-guard.ts';

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
  /** Absent where the configuration did not come from files: the demo, and programs that embed the gateway. */
  readonly reload?: (() => Outcome) | undefined;
}

const NOTHING_TO_READ =
  'this gateway runs without a configuration file, so there is nothing to read again: start it by `gcg serve ' +
  '--config FILE` (`gcg init` writes one), or restart it';

/** So many problems are told in an answer; the log has them all. */
const MOST_PROBLEMS = 20;

/**
 * Registers the route: 200 with the keys that changed, gateway.request.invalid 422 with what is wrong, 400 where there
 * is nothing to read.
 */
export function registerReload(app: FastifyInstance, { guard, reload }: ReloadRoute): void {
  app.register(async (scope) => {
    // `curl -d ''` sends a type, too; nothing is read of a body.
    ignoreBodies(scope);
    scope.post('/-/reload', (request, reply) => answerReload(guard, reload, request, reply));
  });
}

function answerReload(
  guard: AdminGuard,
  reload: ReloadRoute['reload'],
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const { response, record } = guard.change(request);
  if (reload === undefined) throw new GatewayError('gateway.request.invalid', NOTHING_TO_READ);
  const { applied, changed, restart, problems } = reload();
  if (!applied) {
    const told = problems.slice(0, MOST_PROBLEMS).join('; ');
    throw new GatewayError(
      'gateway.request.invalid',
      `the configuration was refused, the previous one stays in use: ${told}`,
      { statusCode: 422 },
    );
  }
  reply.hijack();
  record.status = 200;
  sendJson(response, 200, { status: 'reloaded', changed, restart }, record.requestId);
}
