// The admin listener's routes: status for machines and people, what can be changed while the gateway runs, and the
// login.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Credential } from '../../auth/credentials/credentials.ts';
import { GatewayError } from '../../errors.ts';
import { Secret } from '../../secret.ts';
import type { Exchange } from '../exchange.ts';
import { sendPage } from '../pages/page.ts';
import { renderStatusPage } from '../pages/status-page.ts';
import { sendJson } from '../responses.ts';
import { adminExchange, changingExchange, configuredCredential, ignoreBodies, readBodiesAsText } from './access.ts';
import { registerBlocks } from './client-blocks.ts';
import { registerLogin } from './login.ts';
import { credentialStatus, statusOf } from './status.ts';
import { usageOf } from './usage.ts';

/** Room for a SAML assertion and no more; a fragment with a token is smaller. */
const LARGEST_BODY_BYTES = 256 * 1024;

type NamedRoute = { Params: { name: string } };

/** Registers the admin routes. */
export function registerAdmin(app: FastifyInstance): void {
  app.register(async (scope) => {
    readBodiesAsText(scope, LARGEST_BODY_BYTES);
    scope.setErrorHandler((error) => {
      if ((error as { statusCode?: number }).statusCode !== 413) throw error;
      throw new GatewayError(
        'gateway.body.too.large',
        `the body is larger than the ${LARGEST_BODY_BYTES / 1024} KiB that an assertion may have`,
      );
    });
    registerStatus(scope);
    registerChange(scope, 'refresh', (found) => found.source.refresh());
    registerChange(scope, 'logout', (found) => found.logout());
    registerChange(scope, 'assertion', postAssertion);
    scope.post('/-/quit', quit);
    registerLogin(scope);
  });
  app.register(async (scope) => {
    // `curl -d ''` sends a type, too; nothing is read of a body.
    ignoreBodies(scope);
    scope.post('/-/reload', reload);
    registerBlocks(scope);
  });
}

function registerStatus(app: FastifyInstance): void {
  app.get('/', (request, reply) => {
    const { response, record, gateway } = adminExchange(request);
    const page = renderStatusPage(statusOf(gateway));
    reply.hijack();
    record.status = 200;
    sendPage(response, 200, page, record.requestId);
  });
  app.get('/-/status', (request, reply) => {
    const exchange = adminExchange(request);
    // Our own commands send it with all they ask; while they wait they ask several times a second.
    exchange.record.isPoll = request.headers['x-gateway-request'] === '1';
    respond(exchange, reply, 200, statusOf(exchange.gateway));
  });
  app.get('/-/usage', async (request, reply) => {
    const exchange = adminExchange(request);
    respond(exchange, reply, 200, await usageOf(exchange.gateway, request.query as { month?: unknown }));
  });
}

/** Registers a change of one credential; the response is its state afterwards. */
function registerChange(
  app: FastifyInstance,
  verb: string,
  perform: (found: Credential, request: FastifyRequest) => Promise<unknown>,
): void {
  app.post<NamedRoute>(`/-/credentials/:name/${verb}`, async (request, reply) => {
    const exchange = changingExchange(request);
    const { gateway, record } = exchange;
    const found = configuredCredential(gateway, request.params.name);
    record.credential = found.config.name;
    await perform(found, request);
    respond(exchange, reply, 200, credentialStatus(found, gateway));
  });
}

function postAssertion(found: Credential, { body }: FastifyRequest): Promise<unknown> {
  const assertion = typeof body === 'string' ? body.trim() : '';
  if (assertion === '')
    throw new GatewayError('gateway.request.invalid', 'the body must be the assertion, in base64 or as XML', {
      statusCode: 400,
    });
  return found.postAssertion(new Secret(assertion));
}

function quit(request: FastifyRequest, reply: FastifyReply): void {
  const exchange = changingExchange(request);
  exchange.response.once('close', () => exchange.gateway.program.quit());
  respond(exchange, reply, 202, { status: 'draining' });
}

const NOTHING_TO_READ =
  'this gateway runs without a configuration file, so there is nothing to read again: start it by `gcg serve ' +
  '--config FILE` (`gcg init` writes one), or restart it';

/** So many problems are told in a response; the log has them all. */
const MOST_PROBLEMS = 20;

/**
 * Reads the configuration again: 200 with the keys that changed, gateway.request.invalid 422 with what is wrong, 400
 * where there is nothing to read.
 */
function reload(request: FastifyRequest, reply: FastifyReply): void {
  const exchange = changingExchange(request);
  const { program } = exchange.gateway;
  if (program.reload === undefined) throw new GatewayError('gateway.request.invalid', NOTHING_TO_READ);
  const { applied, changed, restart, problems } = program.reload();
  if (!applied) {
    const told = problems.slice(0, MOST_PROBLEMS).join('; ');
    throw new GatewayError(
      'gateway.request.invalid',
      `the configuration was refused, the previous one stays in use: ${told}`,
      { statusCode: 422 },
    );
  }
  respond(exchange, reply, 200, { status: 'reloaded', changed, restart });
}

function respond({ response, record }: Exchange, reply: FastifyReply, statusCode: number, document: unknown): void {
  reply.hijack();
  record.status = statusCode;
  sendJson(response, statusCode, document, record.requestId);
}
