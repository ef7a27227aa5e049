// The login endpoints that an SDK looks for on its gateway: POST /oauth/token, GET /oauth/authorize, GET /logout.
// Prefixes are off already. Reads, responds, and says where a redirect leads; which grant is performed is decided
// elsewhere.

import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { Caller } from '../../auth/callers/caller.ts';
import { withFetchedSession } from '../../auth/callers/session-fetches.ts';
import { defaultCredential } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import { type ExchangeRecord, noteError } from '../../logging/exchange-record.ts';
import { isFailedAuthentication, unauthenticated } from '../authentication-error.ts';
import { namedCredential, unknownCredential } from '../authorize.ts';
import { claimedClient, isRefusedProof } from '../claimed-client.ts';
import { credentialConfig, type ServerRuntime } from '../context.ts';
import { type Exchange, exchangeOf, noteCaller } from '../exchange.ts';
import { AUTHORIZE_PATH, LOGOUT_PATH, TOKEN_PATH } from '../own-routes.ts';
import { OAuthRefusal, respondWithError, sendJson, toOAuthRefusal } from '../responses.ts';
import { readBodiesAsText } from '../routes/access.ts';
import { FacadeGrants, type IssuedToken, LARGEST_FORM_BYTES, readTokenRequest, type TokenRequest } from './grants.ts';

/** Registers the login endpoints. */
export function registerFacade(app: FastifyInstance): void {
  app.register(async (scope) => {
    readBodiesAsText(scope, LARGEST_FORM_BYTES);
    scope.post(TOKEN_PATH, async (request, reply) => {
      reply.hijack();
      const exchange = exchangeOf(request.raw);
      try {
        await issueToken(exchange, typeof request.body === 'string' ? request.body : '');
      } catch (error) {
        await refuseToken(exchange, error);
      }
    });
    scope.setErrorHandler(async (error, request, reply) => {
      reply.hijack();
      const { statusCode = 500 } = error as { statusCode?: number };
      const refusal =
        statusCode === 413
          ? new GatewayError('gateway.body.too.large', 'the form is too large')
          : new GatewayError('gateway.request.invalid', 'the form could not be read', { statusCode: 400 });
      await refuseToken(exchangeOf(request.raw), refusal);
    });
  });
  for (const path of [AUTHORIZE_PATH, LOGOUT_PATH] as const) {
    app.get(path, (request, reply) => {
      const exchange = exchangeOf(request.raw);
      const { route, record, runtime } = exchange;
      const query = route.kind === 'local' ? route.query : '';
      const location = facadeLocation(path, query, namedCredential(exchange), runtime);
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

/**
 * Goes by the configuration in use when the form is there: a body takes as long as its sender likes, and what proves
 * the caller may be in it.
 */
async function issueToken(exchange: Exchange, body: string): Promise<void> {
  const { gateway, request, response, record, role } = exchange;
  const { authenticator } = gateway.runtime;
  const asked = readTokenRequest(request.headers['content-type'], body, request.headers.authorization);
  try {
    const caller = await withFetchedSession(() => applicantOf(exchange, asked));
    noteCaller(record, caller);
    gateway.activity.seen(caller, record.peer);
    const peer = authenticator.peerOf(request, role);
    const applicant = { caller, arrival: role, peer, named: namedCredential(exchange) };
    const token = await new FacadeGrants(gateway, applicant).perform(asked);
    record.credential = token.credential;
    record.status = 200;
    sendLocalToken(response, token, record);
  } catch (error) {
    if (isRefusedProof(error) || toOAuthRefusal(error).oauthError === 'invalid_client')
      record.claimedClient = claimedClient(request, gateway.runtime, asked.clientId);
    throw error;
  }
}

function applicantOf({ gateway, request, role }: Exchange, { clientCredentials }: TokenRequest): Caller {
  const { authenticator } = gateway.runtime;
  const caller = authenticator.authenticateForToken(request, clientCredentials, role);
  try {
    authenticator.assertAdmitted(caller, role);
  } catch (error) {
    // Said in words for somebody who sent an id and a secret, and counted as a guess when one was sent.
    if (clientCredentials === null) throw error;
    throw unauthenticated('client not found: that is no client of this gateway');
  }
  return caller;
}

/** Responds to a token request. */
function sendLocalToken(
  response: ServerResponse,
  { handle, expiresInS, refreshHandle }: IssuedToken,
  record: ExchangeRecord,
): void {
  const reply = {
    access_token: handle,
    token_type: 'bearer',
    expires_in: expiresInS,
    ...(refreshHandle !== null && { refresh_token: refreshHandle }),
  };
  sendJson(response, 200, reply, record);
}

async function refuseToken(exchange: Exchange, thrown: unknown): Promise<void> {
  const { gateway, request, record, runtime } = exchange;
  const refusal = asTokenEndpointStatus(toOAuthRefusal(thrown));
  noteError(record, refusal.error);
  if (isFailedAuthentication(thrown)) {
    const { until, isOverflow } = gateway.throttle.delayFailure(runtime.trustedProxies.peerOf(request));
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
function asTokenEndpointStatus(refusal: OAuthRefusal): OAuthRefusal {
  const { code, message, statusCode } = refusal.error;
  return statusCode === 401 && code !== 'gateway.session.ended'
    ? new OAuthRefusal(refusal.oauthError, new GatewayError(code, message, { statusCode: 400 }))
    : refusal;
}

/** The parts of a configuration that say where a redirect leads. */
export type RedirectRules = Pick<
  ServerRuntime,
  'access' | 'clients' | 'config' | 'credentials' | 'placeholderCredential'
>;

/**
 * Where a browser goes from GET /oauth/authorize or /logout: on to the region's login host with every parameter as it
 * came, but for a client_id that is a name of ours. `query` is raw, without its `?`. Throws gateway.credential.unknown.
 */
export function facadeLocation(
  path: typeof AUTHORIZE_PATH | typeof LOGOUT_PATH,
  query: string,
  named: string | null,
  runtime: RedirectRules,
): string {
  const { access, clients, config } = runtime;
  const clientId = new URLSearchParams(query).get('client_id');
  const caller = clientId === null ? undefined : clients.get(clientId);
  const name = named ?? (caller === undefined ? (defaultCredential(config)?.name ?? null) : access.defaultFor(caller));
  const base = credentialConfig(runtime, name);
  if (base === undefined) throw unknownCredential();
  const mapped = caller === undefined || base.clientId === null ? query : replaceClientId(query, base.clientId);
  const { origin, pathPrefix } = base.hosts.login;
  return `${origin}${pathPrefix}${path}${mapped === '' ? '' : `?${mapped}`}`;
}

/** A query with another client_id; order, escapes and everything else stay octet for octet. */
function replaceClientId(query: string, clientId: string): string {
  return query
    .split('&')
    .map((pair) =>
      decodeName(pair.split('=', 1)[0] as string) === 'client_id' ? `client_id=${encodeURIComponent(clientId)}` : pair,
    )
    .join('&');
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return name;
  }
}
