// What GET /oauth/authorize was asked: its parameters read and checked. No page, no session, no code here.

import type { SandboxClient } from './clients.ts';
import { OAuthError } from './faults.ts';
import { isRegisteredRedirect } from './redirect-uri.ts';
import type { World } from './world.ts';

/** A request that may be shown to a person. */
export interface AuthorizeRequest {
  client: SandboxClient;
  redirectUri: string;
  responseType: 'code' | 'token';
  state: string | undefined;
  challenge: string | undefined;
  org: string | undefined;
  provider: string | undefined;
  target: string | undefined;
  prompt: string | undefined;
  loginHint: string | undefined;
}

/** Where an answer may be sent: known before the rest has been checked, so that errors can go there too. */
export type ReturnAddress = Pick<AuthorizeRequest, 'client' | 'redirectUri' | 'responseType' | 'state'>;

/**
 * The client and its redirect URI. Throws OAuthError when either is not known: such an error is shown on a page and
 * never redirected (RFC 6749 section 4.1.2.1).
 */
export function readReturnAddress(world: World, query: URLSearchParams): ReturnAddress {
  for (const name of query.keys()) {
    if (query.getAll(name).length > 1) throw new OAuthError('invalid_request', `${name} is given twice`);
  }
  const client = world.clients.find(query.get('client_id') ?? '');
  if (!client) throw new OAuthError('invalid_client', 'client not found');
  const redirectUri = query.get('redirect_uri') ?? '';
  if (!isRegisteredRedirect(client.redirectUris ?? [], redirectUri)) {
    throw new OAuthError('invalid_request', 'redirect_uri is not registered for this client');
  }
  const responseType = query.get('response_type') === 'token' ? 'token' : 'code';
  return { client, redirectUri, responseType, state: query.get('state') ?? undefined };
}

/** The whole request. Throws OAuthErrors that go to the redirect URI. */
export function readAuthorizeRequest(world: World, query: URLSearchParams, address: ReturnAddress): AuthorizeRequest {
  const { client, responseType } = address;
  const given = (name: string) => query.get(name) || undefined;
  if (given('response_type') !== responseType) throw new OAuthError('unsupported_response_type', 'response_type must be code or token');
  if (!client.grants.includes(responseType === 'code' ? 'code' : 'implicit')) {
    throw new OAuthError('unauthorized_client', 'client is not authorized for this response type');
  }
  const [org, provider] = [given('org'), given('provider')];
  if ((org === undefined) !== (provider === undefined)) throw new OAuthError('invalid_request', 'org and provider go together');
  const { organization } = world.directory;
  if (org !== undefined && ![organization.name, organization.shortName].includes(org))
    throw new OAuthError('invalid_request', 'organization not found');
  return {
    ...address,
    challenge: readChallenge(client, responseType, given('code_challenge'), given('code_challenge_method')),
    org,
    provider,
    target: given('target'),
    prompt: given('prompt'),
    loginHint: given('login_hint'),
  };
}

/** Only S256 is offered, and a client without a secret must use it. */
function readChallenge(client: SandboxClient, responseType: string, challenge: string | undefined, method: string | undefined): string | undefined {
  if (challenge === undefined) {
    if (responseType === 'code' && client.secret === undefined) throw new OAuthError('invalid_request', 'code_challenge is missing');
    return undefined;
  }
  if (method !== 'S256') throw new OAuthError('invalid_request', 'code_challenge_method must be S256');
  if (!/^[A-Za-z0-9_-]{43}$/.test(challenge)) throw new OAuthError('invalid_request', 'code_challenge is not a SHA-256 in base64url');
  return challenge;
}
