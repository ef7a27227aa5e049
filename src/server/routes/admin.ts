// The admin listener's routes: status for machines and people, what can be changed while the gateway runs, and the
// login. Further ones are registered beside it with the same guard.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Credential } from '../../auth/credentials/credentials.ts';
import type { Logins } from '../../auth/credentials/login.ts';
import { GatewayError } from '../../errors.ts';
import { Secret } from '../../secret.ts';
import { readBodiesAsText } from '../app.ts';
import type { Exchange } from '../exchange.ts';
import { sendPage } from '../pages/page.ts';
import { renderStatusPage } from '../pages/status-page.ts';
import { sendJson } from '../responses.ts';
import type { AdminGuard } from './admin-guard.ts';
import { registerLogin } from './login.ts';
import { createStatus, credentialStatus, type StatusDeps } from './status.ts';

/** What the routes work with. */
export interface AdminDeps extends StatusDeps {
  readonly guard: AdminGuard;
  readonly logins: Logins;
  /** Begins to drain, and ends the process where there is one to end. Called after the answer has been sent. */
  readonly quit: () => void;
}

/** Room for a SAML assertion and no more; a fragment with a token is smaller. */
const LARGEST_BODY_BYTES = 256 * 1024;

type NamedRoute = { Params: { name: string } };

/** Adds the routes. */
export function registerAdmin(app: FastifyInstance, deps: AdminDeps): void {
  app.register(async (scope) => {
    readBodiesAsText(scope, LARGEST_BODY_BYTES);
    scope.setErrorHandler((error) => {
      if ((error as { statusCode?: number }).statusCode !== 413) throw error;
      throw new GatewayError(
        'gateway.body.too.large',
        `the body is larger than the ${LARGEST_BODY_BYTES / 1024} KiB that an assertion may have`,
      );
    });
    registerRoutes(scope, deps);
  });
}

function registerRoutes(app: FastifyInstance, deps: AdminDeps): void {
  const { guard, logins, parts } = deps;
  const status = createStatus(deps);

  function credential(name: string): Credential {
    const found = parts().credentials.get(name);
    if (found === undefined)
      throw new GatewayError(
        'gateway.credential.unknown',
        'no credential of that name is configured: `gcg config` lists them',
      );
    return found;
  }

  app.get('/', (request, reply) => {
    const { response, record } = guard.read(request);
    const page = renderStatusPage(status());
    reply.hijack();
    record.status = 200;
    sendPage(response, 200, page, record.requestId);
  });

  app.get('/-/status', (request, reply) => answer(guard.read(request), reply, 200, status()));

  change('refresh', (found) => found.source.refresh());

  change('logout', (found) => found.logout());

  change('assertion', (found, request) => {
    const assertion = typeof request.body === 'string' ? request.body.trim() : '';
    if (assertion === '')
      throw new GatewayError('gateway.request.invalid', 'the body must be the assertion, in base64 or as XML', {
        statusCode: 400,
      });
    return found.postAssertion(new Secret(assertion));
  });

  app.post('/-/quit', (request, reply) => {
    const exchange = guard.change(request);
    exchange.response.once('close', deps.quit);
    answer(exchange, reply, 202, { status: 'draining' });
  });

  registerLogin(app, { guard, logins, credential, publicUrl: () => parts().config.server.publicUrl });

  /** A change of one credential, answered with what it is afterwards. */
  function change(verb: string, perform: (found: Credential, request: FastifyRequest) => Promise<unknown>): void {
    app.post<NamedRoute>(`/-/credentials/:name/${verb}`, async (request, reply) => {
      const exchange = guard.change(request);
      const found = credential(request.params.name);
      exchange.record.credential = found.config.name;
      await perform(found, request);
      answer(exchange, reply, 200, credentialStatus(found, deps));
    });
  }
}

function answer({ response, record }: Exchange, reply: FastifyReply, statusCode: number, document: unknown): void {
  reply.hijack();
  record.status = statusCode;
  sendJson(response, statusCode, document, record.requestId);
}
