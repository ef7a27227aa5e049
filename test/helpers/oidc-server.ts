// An OAuth server that knows nothing of this project (npm oidc-provider), mounted where the platform's endpoints are,
// with an API behind its tokens.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
// @ts-expect-error: the package brings no types
import { Provider } from 'oidc-provider';
import type { Test } from 'tap';

/** What this test uses of it. */
interface StoredModel {
  readonly jti: string;
}
interface ProviderLike {
  callback(): (request: IncomingMessage, response: ServerResponse) => void;
  on(event: string, listener: (model: StoredModel) => void): void;
  interactionDetails(
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<{ prompt: { name: string }; params: { client_id: string }; session?: { accountId: string } }>;
  interactionFinished(request: IncomingMessage, response: ServerResponse, result: object): Promise<void>;
  readonly Grant: new (properties: object) => { addOIDCScope(scope: string): void; save(): Promise<string> };
  readonly AccessToken: { find(value: string): Promise<{ accountId: string } | undefined> };
  readonly ClientCredentials: { find(value: string): Promise<{ clientId: string } | undefined> };
}

/** Ids and secrets without characters that an encoding would change. */
export const OIDC_CLIENTS = {
  desktop: { id: 'desktop-client' },
  web: { id: 'web-client', secret: 'webclientsecretwebclientsecret' },
  service: { id: 'service-client', secret: 'serviceclientsecretserviceclient' },
} as const;

/** A running one. */
export interface OidcServer {
  readonly origin: string;
  /** Refresh tokens in the order in which they were issued. */
  readonly refreshTokens: string[];
  /** Codes that were redeemed, token requests that were refused. */
  readonly events: { granted: number; refused: number };
}

/** Rotates every refresh token, ends the whole grant when a used one comes back, and says yes to every login. */
export async function startOidcServer(t: Test): Promise<OidcServer> {
  const refreshTokens: string[] = [];
  const events = { granted: 0, refused: 0 };
  const server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const redirects = {
    redirect_uris: ['http://127.0.0.1/-/callback'],
    application_type: 'native',
    response_types: ['code'],
  };
  const withCode = { ...redirects, grant_types: ['authorization_code', 'refresh_token'] };
  const provider = new Provider(origin, {
    clients: [
      { client_id: OIDC_CLIENTS.desktop.id, token_endpoint_auth_method: 'none', ...withCode },
      { client_id: OIDC_CLIENTS.web.id, client_secret: OIDC_CLIENTS.web.secret, ...withCode },
      {
        client_id: OIDC_CLIENTS.service.id,
        client_secret: OIDC_CLIENTS.service.secret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    routes: { token: '/oauth/token', authorization: '/oauth/authorize' },
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
    interactions: { url: (_context: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    findAccount: (_context: unknown, accountId: string) => ({ accountId, claims: () => ({ sub: accountId }) }),
    issueRefreshToken: (_context: unknown, client: { grantTypeAllowed(grant: string): boolean }) =>
      client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    pkce: {
      required: (_context: unknown, client: { tokenEndpointAuthMethod?: string; clientAuthMethod?: string }) =>
        (client.clientAuthMethod ?? client.tokenEndpointAuthMethod) === 'none',
    },
    cookies: { keys: ['a key for this test alone'] },
    ttl: {
      AccessToken: 3_600,
      ClientCredentials: 3_600,
      RefreshToken: 86_400,
      Session: 86_400,
      Interaction: 600,
      Grant: 86_400,
      IdToken: 3_600,
    },
    jwks: { keys: [await signingKey()] },
  }) as ProviderLike;
  provider.on('refresh_token.saved', ({ jti }) => {
    if (!refreshTokens.includes(jti)) refreshTokens.push(jti);
  });
  provider.on('grant.success', () => {
    events.granted += 1;
  });
  provider.on('grant.error', () => {
    events.refused += 1;
  });
  const handle = provider.callback();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? '';
    if (url.startsWith('/api/v2/')) await answerApi(request, response);
    else if (url.startsWith('/interaction/')) await consentToAll(request, response);
    else handle(request, response);
  }

  async function answerApi(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const value = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const person = await provider.AccessToken.find(value);
    const service = await provider.ClientCredentials.find(value);
    const who = person?.accountId ?? service?.clientId;
    response.writeHead(who === undefined ? 401 : 200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(who === undefined ? { code: 'bad.credentials' } : { who }));
  }

  async function consentToAll(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, params, session } = await provider.interactionDetails(request, response);
    if (prompt.name === 'login')
      return provider.interactionFinished(request, response, { login: { accountId: 'ada' } });
    const grant = new provider.Grant({ accountId: session?.accountId, clientId: params.client_id });
    grant.addOIDCScope('openid offline_access');
    return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
  }

  return { origin, refreshTokens, events };
}

async function signingKey(): Promise<Record<string, unknown>> {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256',
  };
  const { privateKey } = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const { kty, n, e, d, p, q, dp, dq, qi } = await crypto.subtle.exportKey('jwk', privateKey);
  return { kty, n, e, d, p, q, dp, dq, qi };
}
