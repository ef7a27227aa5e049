// Wires the framework by name and in order; never listens, handles no signals. `accept` stands before it, `forward`
// behind its one mount.

import httpProxy from '@fastify/http-proxy';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Dispatcher } from 'undici';
import { GatewayError, isGatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { Log } from '../logging/log.ts';
import { FORWARD_MOUNT } from './accept.ts';
import type { Authenticator } from './authenticate.ts';
import { exchangeOf } from './exchange.ts';
import { forward } from './forward.ts';
import { createMissJudge, notFound } from './method-not-allowed.ts';
import { internalError, respondWithError } from './responses.ts';
import { type HealthSource, registerHealth } from './routes/health.ts';

/** The parts the app is wired from. */
export interface AppOptions {
  /** Takes the finished record of every forwarded exchange. */
  readonly finish: (record: ExchangeRecord) => void;
  readonly health: HealthSource;
  /** Who may do what, by the configuration in use. */
  readonly authenticator: () => Authenticator;
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
  const judgeMiss = createMissJudge(app, options.authenticator);

  registerHealth(app, options.health);
  for (const plugin of options.plugins ?? []) plugin(app);
  await app.register(httpProxy, {
    prefix: FORWARD_MOUNT.slice(0, -1),
    // Asked for, never dialled.
    upstream: 'http://upstream.invalid',
    httpMethods: ['GET'],
    undici: options.agent,
    destroyAgent: false,
    // Its own forwarding path is not used: no certificate checks, retries and re-encodings that we do not want, no
    // cancellation.
    handler(request, reply) {
      reply.hijack();
      void forward(exchangeOf(request.raw), options.finish);
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
  const exchange = exchangeOf(request.raw);
  let failure: GatewayError;
  if (isGatewayError(error)) failure = error;
  else if ((error as { code?: string }).code === 'FST_ERR_BAD_URL') failure = notFound();
  else {
    const statusCode = (error as { statusCode?: number }).statusCode ?? 500;
    if (statusCode < 500)
      failure = new GatewayError('gateway.request.invalid', 'the request is not understood here', { statusCode });
    else {
      log.error({ requestId: exchange.record.requestId, error: (error as Error).name }, 'internal error');
      failure = internalError();
    }
  }
  reply.hijack();
  respondWithError(exchange, failure);
}

/** Bodies of every type are text, up to `limitBytes`; the framework's 413 beyond, before it is read whole. */
export function readBodiesAsText(scope: FastifyInstance, limitBytes: number): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', { parseAs: 'string', bodyLimit: limitBytes }, (_request, body, done) =>
    done(null, body),
  );
}

/** Nothing is read of a body, whatever its type says: what is wrong or right about the request lies elsewhere. */
export function ignoreBodies(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
}
