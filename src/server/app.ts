// Wires the framework by name and in order; never listens, handles no signals. `accept` stands before it, `forward` behind its one mount.

import httpProxy from '@fastify/http-proxy';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Dispatcher } from 'undici';
import { GatewayError, isGatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import { MOUNT } from './accept.ts';
import { sendError } from './answer.ts';
import { type Exchange, exchangeOf } from './exchange.ts';
import { asksForToken } from './facade.ts';
import { sendOAuthRefusal, toOAuthRefusal } from './facade-answer.ts';
import { type HealthSource, registerHealth } from './health.ts';
import { ignoreBodies } from './local-body.ts';
import { createMissJudge, notFound, type RouteDoor } from './wrong-method.ts';

/** The parts the app is wired from. */
export interface AppOptions {
  readonly forward: (exchange: Exchange) => Promise<void>;
  readonly health: HealthSource;
  /** Before an address is told to know other methods only. */
  readonly door: RouteDoor;
  /** Lent to @fastify/http-proxy, which never uses it: its own default would switch certificate checks off. */
  readonly agent: Dispatcher;
  readonly log: Log;
  /** Further local routes, registered after health. */
  readonly plugins?: readonly ((app: FastifyInstance) => void)[];
}

/** Builds the app, ready to route. Its `routing` takes accepted requests; `close` ends it. */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const app = Fastify({
    logger: false,
    genReqId: () => '',
    exposeHeadRoutes: true,
    frameworkErrors: (error, request, reply) => answerError(options.log, error, request, reply),
  });
  app.setErrorHandler((error, request, reply) => answerError(options.log, error, request, reply));
  const judgeMiss = createMissJudge(app, options.door);

  registerHealth(app, options.health);
  for (const plugin of options.plugins ?? []) plugin(app);
  await app.register(httpProxy, {
    prefix: MOUNT.slice(0, -1),
    // Asked for, never dialled.
    upstream: 'http://upstream.invalid',
    httpMethods: ['GET'],
    undici: options.agent,
    destroyAgent: false,
    // Its own forwarding path is not used: no certificate checks, retries and re-encodings that we do not want, no cancellation.
    handler(request, reply) {
      reply.hijack();
      void options.forward(exchangeOf(request.raw));
      return reply;
    },
  });
  app.register(async (scope) => {
    // What nobody asked for is not read before it is refused: whatever its type, it is the address that is wrong.
    ignoreBodies(scope);
    scope.setNotFoundHandler((request) => {
      throw judgeMiss(exchangeOf(request.raw));
    });
  });
  await app.ready();
  return app;
}

function answerError(log: Log, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { record } = exchangeOf(request.raw);
  let failure: GatewayError;
  if (isGatewayError(error)) failure = error;
  else if ((error as { code?: string }).code === 'FST_ERR_BAD_URL') failure = notFound();
  else {
    const statusCode = (error as { statusCode?: number }).statusCode ?? 500;
    if (statusCode < 500) failure = new GatewayError('gateway.request.invalid', 'the request is not understood here', { statusCode });
    else {
      log.error({ requestId: record.requestId, error: (error as Error).name }, 'internal error');
      failure = new GatewayError('gateway.internal', 'the gateway failed: please report it with the request id');
    }
  }
  record.status = failure.statusCode;
  record.errorCode = failure.code;
  reply.hijack();
  if (asksForToken(request.raw)) sendOAuthRefusal(reply.raw, toOAuthRefusal(failure), record.requestId);
  else sendError(reply.raw, failure, record.requestId);
}
