// The admin listener's routes: status for machines and people, what can be changed while the gateway runs, and the
// login.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Credential } from '../../auth/credentials/credentials.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { Secret } from '../../secret.ts';
import { revokeToken } from '../../upstream/own-calls.ts';
import type { ServerContext } from '../context.ts';
import type { Exchange } from '../exchange.ts';
import { sendPage } from '../pages/page.ts';
import { renderStatusPage } from '../pages/status-page.ts';
import { sendJson } from '../responses.ts';
import { adminExchange, changingExchange, configuredCredential, ignoreBodies, readBodiesAsText } from './access.ts';
import { registerBlocks } from './client-blocks.ts';
import { registerCalls } from './inspector/calls.ts';
import { registerCapture } from './inspector/capture.ts';
import { registerEvents } from './inspector/events.ts';
import { registerExport } from './inspector/export.ts';
import { registerInsight } from './inspector/insight.ts';
import { registerPage } from './inspector/page.ts';
import { registerPageKeys } from './inspector/page-key.ts';
import { registerReplay } from './inspector/replay.ts';
import { inspectorFor } from './inspector/viewer.ts';
import { registerLogin } from './login.ts';
import { operationsOf } from './operations.ts';
import { credentialStatus, statusOf } from './status.ts';
import { usageOf } from './usage.ts';

/** Room for a SAML assertion and no more; a fragment with a token is smaller. */
const LARGEST_BODY_BYTES = 256 * 1024;

/** What came of the wish to end a token at the platform. */
export interface Revocation {
  readonly revoked: boolean;
  readonly problem: string | null;
}

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
    registerChange(scope, 'refresh', (found) => found.refresh());
    registerLogout(scope);
    registerChange(scope, 'assertion', postAssertion);
    scope.post('/-/quit', quit);
    registerLogin(scope);
  });
  registerPageKeys(app);
  registerCapture(app);
  registerExport(app);
  registerReplay(app);
  app.register(async (scope) => {
    // `curl -d ''` sends a type, too; nothing is read of a body.
    ignoreBodies(scope);
    scope.post('/-/reload', reload);
    registerBlocks(scope);
    registerCalls(scope);
    registerPage(scope);
    registerEvents(scope);
    registerInsight(scope);
  });
}

function registerStatus(app: FastifyInstance): void {
  app.get('/', (request, reply) => {
    const exchange = adminExchange(request);
    const { response, record, gateway } = exchange;
    const page = renderStatusPage(statusOf(gateway), {
      address: addressOf(exchange),
      refreshS: refreshWish(exchange),
      hasLivePage: inspectorFor(exchange) !== null,
    });
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
  app.get('/-/operations', async (request, reply) => {
    const exchange = adminExchange(request);
    respond(exchange, reply, 200, await operationsOf(exchange.gateway));
  });
}

/**
 * The address of this gateway as the reader of the page knows it, without a slash at its end; null where it cannot be
 * told, as on a Unix socket.
 */
function addressOf({ request, gateway }: Exchange): string | null {
  const { publicUrl } = gateway.runtime.config.server;
  if (publicUrl !== null) return publicUrl.replace(/\/+$/, '');
  const { host = '', 'x-forwarded-host': throughProxy } = request.headers;
  const socket = request.socket as { encrypted?: boolean; remoteAddress?: string };
  // It becomes part of a command that people copy.
  if (socket.remoteAddress === undefined || throughProxy !== undefined || !/^[\w.:[\]-]+$/.test(host)) return null;
  return `${socket.encrypted === true ? 'https' : 'http'}://${host}`;
}

/** The wish of the query, `?refresh=5`, for a page that loads itself again; null without one that can be served. */
function refreshWish({ route }: Exchange): number | null {
  const wish = route.kind === 'local' ? new URLSearchParams(route.query).get('refresh') : null;
  const seconds = wish !== null && /^\d{1,4}$/.test(wish) ? Number(wish) : 0;
  return seconds >= 2 ? seconds : null;
}

/**
 * Registers the logout. With `?revoke=true` the platform ends the token, too: the response says whether it did; the
 * token is forgotten here in any case.
 */
function registerLogout(app: FastifyInstance): void {
  app.post<NamedRoute>('/-/credentials/:name/logout', async (request, reply) => {
    const exchange = changingExchange(request);
    const { gateway, record, route } = exchange;
    const found = configuredCredential(gateway, request.params.name);
    record.credential = found.config.name;
    const query = new URLSearchParams(route.kind === 'local' ? route.query : '');
    const revocation = query.get('revoke') === 'true' ? await revoke(found, gateway) : null;
    await found.logout();
    gateway.identities.prune();
    respond(exchange, reply, 200, { ...credentialStatus(found, gateway), revocation });
  });
}

/** Whoever runs `gcg logout` waits 30 s at most. */
const LONGEST_REVOCATION_MS = 20_000;

/** Whether the platform has ended the token, all of them where there are several, and why not. */
async function revoke({ config, source: first, pool }: Credential, { runtime }: ServerContext): Promise<Revocation> {
  const sources = pool?.sources() ?? [first];
  let problem: string | null = sources.length === 0 ? NO_TOKEN : null;
  const endsAt = performance.now() + LONGEST_REVOCATION_MS;
  for (const source of sources) {
    const token = source.current();
    try {
      if (token === null) problem ??= NO_TOKEN;
      else {
        const timeoutMs = Math.max(1, endsAt - performance.now());
        // A person asked for it: it waits its turn as any call.
        await revokeToken({ send: runtime.upstream.send, credential: { config, source }, token, timeoutMs });
      }
    } catch (error) {
      if (!isGatewayError(error)) throw error;
      problem ??= error.message;
    }
  }
  return { revoked: problem === null, problem };
}

const NO_TOKEN = 'there is no token that could be revoked';

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
  'this gateway has no configuration file that it reads again (a rehearsal reads its file once): start it by `gcg ' +
  'serve --config FILE` (`gcg init` writes one), or restart it';

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
  sendJson(response, statusCode, document, record);
}
