// Wires the framework by name and in order; never listens, handles no signals. `accept` stands before it, `forward`
// behind its one mount.

import httpProxy from '@fastify/http-proxy';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Dispatcher } from 'undici';
import { GatewayError, isGatewayError } from '../errors.ts';
import { exchangeOf } from './exchange.ts';
import { forward } from './forward.ts';
import { registerFacade } from './oauth/routes.ts';
import { FORWARD_MOUNT } from './own-routes.ts';
import { internalError, notFound, respondWithError } from './responses.ts';
import { ignoreBodies, RouteMethods } from './routes/access.ts';
import { registerAdmin } from './routes/admin.ts';
import { registerProbes } from './routes/probes.ts';

/**
 * Builds the app, ready to route. Its `routing` takes accepted requests; `close` ends it. `agent` is lent to
 * `@fastify/http-proxy`, which never uses it: its own default would switch certificate checks off. `plugins` add routes
 * of the embedding program, after ours.
 */
export async function createApp(
  agent: Dispatcher,
  plugins: readonly ((app: FastifyInstance) => void)[] = [],
): Promise<FastifyInstance> {
  const app = Fastify({
    logger: false,
    genReqId: () => '',
    exposeHeadRoutes: true,
    frameworkErrors: respondToError,
    // Routes of ours have no schemas; those of an embedding program may.
    ...(plugins.length === 0 && { schemaController: { compilersFactory: NO_SCHEMAS } }),
  });
  app.setErrorHandler(respondToError);
  const routes = new RouteMethods(app);
  registerProbes(app);
  registerFacade(app);
  registerAdmin(app);
  for (const plugin of plugins) plugin(app);
  await app.register(httpProxy, {
    prefix: FORWARD_MOUNT.slice(0, -1),
    // Asked for, never dialled.
    upstream: 'http://upstream.invalid',
    httpMethods: ['GET'],
    undici: agent,
    destroyAgent: false,
    // Before the mount's handler, which is then not called: its own forwarding path has no certificate checks, retries
    // and re-encodings that we do not want, no cancellation, and parses the target into URLs three times on the way.
    preHandler(request, reply) {
      reply.hijack();
      void forward(exchangeOf(request.raw));
    },
  });
  app.register(async (scope) => {
    // What nobody asked for is not read before it is refused: whatever its type, it is the address that is wrong.
    ignoreBodies(scope);
    scope.setNotFoundHandler((request) => {
      throw routes.methodNotAllowed(exchangeOf(request.raw));
    });
  });
  await app.ready();
  return app;
}

/** Stands in for compilers of JSON Schemas, which take 20 ms to load: nothing asks it. */
const NO_SCHEMAS = { buildValidator: noCompiler, buildSerializer: noCompiler };

function noCompiler(): never {
  throw new Error('no route has a schema');
}

function respondToError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const exchange = exchangeOf(request.raw);
  const { code, statusCode = 500, name } = error as { code?: string; statusCode?: number; name: string };
  let failure: GatewayError;
  if (isGatewayError(error)) failure = error;
  else if (code === 'FST_ERR_BAD_URL') failure = notFound(exchange.role.admin, exchange.route);
  else if (statusCode < 500)
    failure = new GatewayError('gateway.request.invalid', 'the request is not understood here', { statusCode });
  else {
    exchange.gateway.log.error({ requestId: exchange.record.requestId, error: name }, 'internal error');
    failure = internalError();
  }
  reply.hijack();
  respondWithError(exchange, failure);
}
