// The login endpoints that an SDK looks for on its gateway: POST /oauth/token, GET /oauth/authorize, GET /logout.
// Prefixes are off already. Mounts them and writes their answers; which grant is performed and where a redirect leads
// is decided elsewhere.

import type { FastifyInstance } from 'fastify';
import type { AuthThrottle } from '../../auth/callers/auth-throttle.ts';
import { GatewayError } from '../../errors.ts';
import { readBodiesAsText } from '../app.ts';
import { isFailedAuthentication, unauthenticated } from '../authenticate.ts';
import { namedCredential } from '../authorize.ts';
import type { ServerRuntime } from '../context.ts';
import { type Exchange, exchangeOf } from '../exchange.ts';
import { AUTHORIZE_PATH, LOGOUT_PATH, TOKEN_PATH } from '../own-routes.ts';
import { OAuthRefusal, respondWithError, sendLocalToken, toOAuthRefusal } from '../responses.ts';
import type { GrantPace } from './grant-pace.ts';
import { performFacadeGrant } from './grants.ts';
import { facadeLocation } from './redirects.ts';
import { LARGEST_FORM_BYTES, readTokenRequest } from './token-request.ts';

/** What outlives a configuration; the rest is in the exchange. */
export interface FacadeOptions {
  readonly throttle: AuthThrottle;
  readonly pace: GrantPace;
  /** Of the configuration in use: a body takes as long as its sender likes, and what proves the caller may be in it. */
  readonly runtime: () => ServerRuntime;
}

/** Adds the routes. */
export function registerFacade(app: FastifyInstance, options: FacadeOptions): void {
  app.register(async (scope) => {
    readBodiesAsText(scope, LARGEST_FORM_BYTES);
    scope.post(TOKEN_PATH, async (request, reply) => {
      reply.hijack();
      const exchange = exchangeOf(request.raw);
      try {
        await answerToken(exchange, typeof request.body === 'string' ? request.body : '', options);
      } catch (error) {
        await answerRefusal(exchange, error, options);
      }
    });
    scope.setErrorHandler(async (error, request, reply) => {
      reply.hijack();
      const { statusCode = 500 } = error as { statusCode?: number };
      const refusal =
        statusCode === 413
          ? new GatewayError('gateway.body.too.large', 'the form is too large')
          : new GatewayError('gateway.request.invalid', 'the form could not be read', { statusCode: 400 });
      await answerRefusal(exchangeOf(request.raw), refusal, options);
    });
  });
  for (const path of [AUTHORIZE_PATH, LOGOUT_PATH] as const) {
    app.get(path, (request, reply) => {
      const exchange = exchangeOf(request.raw);
      const { route, record } = exchange;
      const location = facadeLocation(
        path,
        route.kind === 'local' ? route.query : '',
        namedCredential(exchange),
        exchange.runtime.facade,
      );
      record.status = 302;
      reply.hijack();
      reply.raw.writeHead(302, [
        'Location',
        location,
        'Content-Length',
        '0',
        'Cache-Control',
        'no-store',
        'X-Gateway-Request-Id',
        record.requestId,
      ]);
      reply.raw.end();
    });
  }
}

async function answerToken(exchange: Exchange, body: string, options: FacadeOptions): Promise<void> {
  const { request, response, record, role } = exchange;
  const runtime = options.runtime();
  const { authenticator, facade } = runtime;
  const asked = readTokenRequest(request.headers['content-type'], body, request.headers.authorization);
  const caller = authenticator.authenticateForToken(request, asked.login, role);
  record.client = caller.client?.name ?? null;
  try {
    authenticator.assertAdmitted(caller, role);
  } catch (error) {
    // Said in words for somebody who sent an id and a secret, and counted as a guess when one was sent.
    throw asked.login === null ? error : unauthenticated('client not found: that is no client of this gateway');
  }
  const asking = { caller, arrival: role, named: namedCredential(exchange) };
  const reply = await performFacadeGrant(asked, asking, facade, { pace: options.pace, peer: runtime.peerOf(request) });
  record.credential = reply.credential;
  record.status = 200;
  sendLocalToken(response, reply, record.requestId);
}

async function answerRefusal(exchange: Exchange, thrown: unknown, { throttle }: FacadeOptions): Promise<void> {
  const { request, record, runtime } = exchange;
  const refusal = inPlatformsWay(toOAuthRefusal(thrown));
  record.errorCode = refusal.error.code;
  if (isFailedAuthentication(thrown)) {
    const { until, isOverflow } = throttle.delayFailure(runtime.peerOf(request));
    if (isOverflow) {
      record.heldBy = 'wrong secrets';
      request.socket.destroy();
      return;
    }
    await until;
  }
  respondWithError(exchange, refusal);
}

/**
 * The platform says 400 where a client is not known, and SDKs expect no 401 from a login. A handle that has ended is
 * 401 everywhere.
 */
function inPlatformsWay(refusal: OAuthRefusal): OAuthRefusal {
  const { code, message, statusCode } = refusal.error;
  return statusCode === 401 && code !== 'gateway.session.ended'
    ? new OAuthRefusal(refusal.oauthError, new GatewayError(code, message, { statusCode: 400 }))
    : refusal;
}
