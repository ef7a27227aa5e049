// The grants of POST /oauth/token: each takes the form and the client, and gives the reply or throws an OAuthError.
// Reading the request and every fault are token-route.ts.

import { type AuthenticatedClient, assertGrantAllowed, assertProved } from './client-auth.ts';
import { matchesChallenge } from './codes.ts';
import { OAuthError } from './faults.ts';
import { readAssertion } from './saml-assertion.ts';
import type { AccessToken, TokenSubject } from './tokens.ts';
import type { World } from './world.ts';

/** The body of a successful answer (RFC 6749 section 5.1). */
interface TokenReply {
  access_token: string;
  token_type: 'bearer';
  expires_in: number;
  refresh_token?: string;
}

/** What a grant gave: the reply, and the token for the record. */
export interface GrantOutcome {
  reply: TokenReply;
  token: AccessToken;
}

/** The form, with each field given at most once. */
export type TokenForm = ReadonlyMap<string, string>;

const SAML2_BEARER = 'urn:ietf:params:oauth:grant-type:saml2-bearer';

/** The name a request is counted under; PKCE is told from a code with secret by its verifier. */
export function nameGrant(form: TokenForm): string {
  switch (form.get('grant_type')) {
    case 'client_credentials':
      return 'client_credentials';
    case 'authorization_code':
      return form.has('code_verifier') ? 'pkce' : 'authorization_code';
    case 'refresh_token':
      return 'refresh_token';
    case SAML2_BEARER:
      return 'saml2_bearer';
    default:
      return 'unknown';
  }
}

/** Carries out the grant that `grant_type` names. */
export function performGrant(world: World, form: TokenForm, authenticated: AuthenticatedClient): GrantOutcome {
  switch (nameGrant(form)) {
    case 'client_credentials':
      return grantClientCredentials(world, authenticated);
    case 'authorization_code':
    case 'pkce':
      return grantCode(world, form, authenticated);
    case 'refresh_token':
      return grantRefresh(world, form, authenticated);
    case 'saml2_bearer':
      return grantSaml2Bearer(world, form, authenticated);
    default:
      throw new OAuthError('unsupported_grant_type', 'unsupported grant type');
  }
}

/** Mints an access token for a subject, as long-lived as the switch or the client says. */
export function mintToken(world: World, subject: TokenSubject): GrantOutcome {
  const lifetimeS = world.switches.now.tokenLifetimeS ?? world.clients.find(subject.clientId)?.accessTokenLifetimeS ?? 86_400;
  const token = world.tokens.issue(subject, lifetimeS);
  return { token, reply: { access_token: token.value, token_type: 'bearer', expires_in: lifetimeS } };
}

function grantClientCredentials(world: World, authenticated: AuthenticatedClient): GrantOutcome {
  assertProved(authenticated);
  assertGrantAllowed(authenticated.client, 'client_credentials');
  return mintToken(world, { clientId: authenticated.client.id, grant: 'client_credentials', scope: authenticated.client.scope });
}

function grantCode(world: World, form: TokenForm, authenticated: AuthenticatedClient): GrantOutcome {
  const { client, proved } = authenticated;
  const code = required(form, 'code');
  const redirectUri = required(form, 'redirect_uri');
  const verifier = form.get('code_verifier');
  if (verifier === undefined) assertProved(authenticated);
  assertGrantAllowed(client, 'code');
  const taken = world.codes.take(code);
  if (taken.kind === 'used' && taken.familyId !== undefined) endLogin(world, taken.familyId);
  if (taken.kind !== 'ok') throw new OAuthError('invalid_grant', 'code not found, expired or already used');
  const { challenge, subject } = taken.grant;
  if (subject.clientId !== client.id) throw new OAuthError('invalid_grant', 'code was issued to another client');
  if (redirectUri !== taken.grant.redirectUri) throw new OAuthError('invalid_grant', 'redirect_uri differs from the one the code was issued for');
  if (challenge === undefined && !proved) throw new OAuthError('invalid_client', 'authentication failed');
  if ((challenge === undefined) !== (verifier === undefined)) throw new OAuthError('invalid_grant', 'code_verifier and code_challenge go together');
  if (challenge !== undefined && verifier !== undefined && !matchesChallenge(verifier, challenge)) {
    throw new OAuthError('invalid_grant', 'code_verifier does not match');
  }
  const refresh = world.refreshTokens.issue(subject);
  world.codes.settle(code, refresh.familyId);
  const outcome = mintToken(world, { ...subject, familyId: refresh.familyId });
  return { ...outcome, reply: { ...outcome.reply, refresh_token: refresh.value } };
}

function grantRefresh(world: World, form: TokenForm, authenticated: AuthenticatedClient): GrantOutcome {
  assertProved(authenticated);
  const policy = world.switches.now;
  const redeemed = world.refreshTokens.redeem(required(form, 'refresh_token'), authenticated.client.id, policy);
  if (redeemed.kind === 'reused') {
    world.stats.add('refreshReuse');
    endLogin(world, redeemed.familyId);
  }
  if (redeemed.kind !== 'ok') throw new OAuthError('invalid_grant', 'refresh token not found, expired or revoked');
  if (redeemed.grace) world.stats.add('refreshGraceUses');
  const outcome = mintToken(world, { ...redeemed.subject, familyId: redeemed.familyId });
  if (!redeemed.rotated && policy.replyRefreshToken === 'when-changed') return outcome;
  return { ...outcome, reply: { ...outcome.reply, refresh_token: redeemed.refreshToken } };
}

function grantSaml2Bearer(world: World, form: TokenForm, authenticated: AuthenticatedClient): GrantOutcome {
  assertProved(authenticated);
  assertGrantAllowed(authenticated.client, 'saml2_bearer');
  const { organization } = world.directory;
  const orgName = required(form, 'orgName');
  if (![organization.name, organization.shortName].includes(orgName)) throw new OAuthError('invalid_request', 'organization not found');
  const subject = readAssertion(required(form, 'assertion'), world.clock.now());
  const user = world.directory.findByEmail(subject);
  if (user?.state !== 'active') throw new OAuthError('invalid_grant', 'the assertion names no active user of the organization');
  return mintToken(world, { clientId: authenticated.client.id, grant: 'saml2_bearer', userId: user.id, scope: authenticated.client.scope });
}

/** Ends a login: its refresh tokens and every access token that came of it. */
export function endLogin(world: World, familyId: string): void {
  world.refreshTokens.revokeFamily(familyId);
  world.tokens.revoke((token) => token.familyId === familyId);
}

function required(form: TokenForm, name: string): string {
  const value = form.get(name);
  if (value === undefined || value === '') throw new OAuthError('invalid_request', `${name} is missing`);
  return value;
}
