// Reads and checks the parameters of GET /oauth/authorize, the redirect URI against the registered ones included. It
// knows no page, session or code.

import type { SandboxClient } from './clients.ts';
import { OAuthError } from './faults.ts';
import type { SandboxState } from './state.ts';

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

/** Where to redirect to: known before the rest is checked, so that errors can be sent there too. */
export type ReturnAddress = Pick<AuthorizeRequest, 'client' | 'redirectUri' | 'responseType' | 'state'>;

/**
 * The client and its redirect URI. Throws OAuthError when either is not known: such an error is shown on a page and
 * never redirected (RFC 6749 section 4.1.2.1).
 */
export function readReturnAddress(sandbox: SandboxState, query: URLSearchParams): ReturnAddress {
  for (const name of query.keys()) {
    if (query.getAll(name).length > 1) throw new OAuthError('invalid_request', `${name} is given twice`);
  }
  const client = sandbox.clients.find(query.get('client_id') ?? '');
  if (!client) throw new OAuthError('invalid_client', 'client not found');
  const redirectUri = query.get('redirect_uri') ?? '';
  if (!isRegisteredRedirect(client.redirectUris ?? [], redirectUri)) {
    throw new OAuthError('invalid_request', 'redirect_uri is not registered for this client');
  }
  const responseType = query.get('response_type') === 'token' ? 'token' : 'code';
  return { client, redirectUri, responseType, state: query.get('state') ?? undefined };
}

/** Reads the whole request. Throws OAuthErrors that go to the redirect URI. */
export function readAuthorizeRequest(
  sandbox: SandboxState,
  query: URLSearchParams,
  address: ReturnAddress,
): AuthorizeRequest {
  const { client, responseType } = address;
  const given = (name: string) => query.get(name) || undefined;
  if (given('response_type') !== responseType)
    throw new OAuthError('unsupported_response_type', 'response_type must be code or token');
  if (!client.grants.includes(responseType === 'code' ? 'code' : 'implicit')) {
    throw new OAuthError('unauthorized_client', 'client is not authorized for this response type');
  }
  const [org, provider] = [given('org'), given('provider')];
  if ((org === undefined) !== (provider === undefined))
    throw new OAuthError('invalid_request', 'org and provider go together');
  const { organization } = sandbox.directory;
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
function readChallenge(
  client: SandboxClient,
  responseType: string,
  challenge: string | undefined,
  method: string | undefined,
): string | undefined {
  if (challenge === undefined) {
    if (responseType === 'code' && client.secret === undefined)
      throw new OAuthError('invalid_request', 'code_challenge is missing');
    return undefined;
  }
  if (method !== 'S256') throw new OAuthError('invalid_request', 'code_challenge_method must be S256');
  if (!/^[A-Za-z0-9_-]{43}$/.test(challenge))
    throw new OAuthError('invalid_request', 'code_challenge is not a SHA-256 in base64url');
  return challenge;
}

/**
 * Exact match, except that the port of a loopback one is not compared (RFC 8252 section 7.3). Never with a fragment or
 * user info.
 */
export function isRegisteredRedirect(registered: readonly string[], shown: string): boolean {
  if (shown.includes('#')) return false;
  const url = URL.parse(shown);
  if (url?.username !== '' || url.password !== '') return false;
  if (registered.includes(shown)) return true;
  if (url.protocol !== 'http:' || !['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)) return false;
  return registered.some((candidate) => {
    const known = URL.parse(candidate);
    return (
      known?.protocol === 'http:' &&
      known.hostname === url.hostname &&
      known.pathname === url.pathname &&
      known.search === url.search
    );
  });
}

/** The URI with the fields added: to the query for codes, as the fragment for tokens. */
export function addToRedirect(
  redirectUri: string,
  part: 'query' | 'fragment',
  fields: Readonly<Record<string, string | undefined>>,
): string {
  const url = new URL(redirectUri);
  const given = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined);
  if (part === 'fragment') url.hash = new URLSearchParams(given).toString();
  else for (const [name, value] of given) url.searchParams.append(name, value);
  return url.href;
}

/**
 * What `form-action` must allow so that a browser follows the redirect after the form: an origin, or a scheme where CSP
 * cannot express the host.
 */
export function toFormActionSource(redirectUri: string): string {
  const url = new URL(redirectUri);
  return (url.protocol === 'http:' || url.protocol === 'https:') && !url.hostname.startsWith('[')
    ? url.origin
    : url.protocol;
}
