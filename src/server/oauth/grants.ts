// POST /oauth/token for applications: client credentials become a handle at once, grants of users are performed
// upstream and become a session. Which id stands for which credential is decided here; how a request is read and an
// answer written is not.

import type { Access } from '../../auth/callers/access.ts';
import { networkOf } from '../../auth/callers/auth-throttle.ts';
import type { Arrival } from '../../auth/callers/caller.ts';
import { ANYBODY, type Caller, ownerKey, ownerKeyOf } from '../../auth/callers/caller.ts';
import { isHandle } from '../../auth/callers/client-handle.ts';
import type { Clients } from '../../auth/callers/clients.ts';
import { HANDLE_EXPIRES_IN_S, type Handles } from '../../auth/callers/handles.ts';
import {
  authOf,
  handleOf,
  REFRESH_PREFIX,
  type SessionOwner,
  type SessionTokens,
  sessionIssuer,
} from '../../auth/callers/session.ts';
import type { Sessions } from '../../auth/callers/sessions.ts';
import type { TokenEndpoint } from '../../auth/credentials/token-endpoint.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import { Secret } from '../../secret.ts';
import type { Authenticator } from '../authenticate.ts';
import { type LocalToken, refuse } from '../responses.ts';
import type { GrantPace } from './grant-pace.ts';
import type { TokenRequest } from './token-request.ts';

/** Parts of one configuration, and what outlives it. */
export interface FacadeGrants {
  readonly access: Access;
  readonly clients: Clients;
  readonly handles: Handles;
  readonly sessions: Sessions;
  readonly authenticator: Pick<Authenticator, 'provedBy'>;
  readonly endpoint: TokenEndpoint;
  /** The credential of that name, or for null a placeholder with the general hosts; undefined for a name there is not. */
  readonly credential: (name: string | null) => CredentialConfig | undefined;
  readonly now: () => number;
}

const USER_GRANTS = new Map([
  ['authorization_code', 'authorization_code'],
  ['refresh_token', 'refresh_token'],
  ['urn:ietf:params:oauth:grant-type:saml2-bearer', 'saml2_bearer'],
]);

/**
 * Asks the platform in its turn: `pace` for a caller that is told apart from others by `peer` where it is no client.
 */
export interface GrantTurn {
  readonly pace: GrantPace;
  readonly peer: string;
}

/** Who asks, and for what by the path or header. */
export interface AskingCaller {
  readonly caller: Caller;
  readonly arrival: Arrival;
  /** A credential. */
  readonly named: string | null;
}

/** Carries out one request of an admitted caller. Throws OAuthRefusal, TokenFailure or GatewayError. */
export async function performFacadeGrant(
  request: TokenRequest,
  asking: AskingCaller,
  parts: FacadeGrants,
  turn: GrantTurn,
): Promise<LocalToken & { readonly credential: string | null }> {
  const { caller, named } = asking;
  if (named !== null) assertMayUse(caller, named, parts);
  if (request.grantType === 'client_credentials') return giveHandle(request, asking, parts);
  const grant = USER_GRANTS.get(request.grantType);
  if (grant === undefined) throw refuse('unsupported_grant_type', 'this grant is not served here');
  const shown = request.get('refresh_token');
  // An access handle refreshes nothing, and is not the platform's to see.
  if (grant === 'refresh_token' && shown !== undefined && (shown.startsWith(REFRESH_PREFIX) || isHandle(shown))) {
    return refreshSession(shown, asking, parts, turn);
  }
  return openSession(request, grant, caller, named, parts, turn);
}

function assertMayUse(caller: Caller, name: string, { access, credential }: FacadeGrants): void {
  if (credential(name) === undefined) {
    throw new GatewayError(
      'gateway.credential.unknown',
      'no credential of that name is configured: `gcg config` lists them',
    );
  }
  if (!access.mayUse(caller, name))
    throw new GatewayError('gateway.client.forbidden', `the credential ${name} is not listed for this caller`);
}

function giveHandle({ clientId }: TokenRequest, { caller, named }: AskingCaller, parts: FacadeGrants) {
  const { access, handles } = parts;
  const isOwnName = clientId === null || clientId === caller.client?.name;
  const credential = named ?? (isOwnName ? null : (access.byClientId(caller, clientId)?.name ?? null));
  if (credential === null && !isOwnName && caller.client !== null) throw clientNotFound();
  const serving = credential ?? access.defaultFor(caller);
  if (serving === null)
    throw refuse(
      'invalid_client',
      'no credential is the default: put /NAME before the path, or mark one with default = true',
    );
  const handle = handles.issue({
    client: caller.client?.name ?? null,
    credential,
    authFingerprint: caller.authFingerprint,
  });
  return { handle, expiresInS: HANDLE_EXPIRES_IN_S, refreshHandle: null, credential: serving };
}

/** Performs a grant with an OAuth client in this caller's turn. */
function inTurn<T>(
  { pace, peer }: GrantTurn,
  caller: Caller,
  config: CredentialConfig,
  clientId: string,
  perform: () => Promise<T>,
): Promise<T> {
  return pace.perform(
    `${sessionIssuer(config)} ${clientId}`,
    caller.client === null ? `peer ${networkOf(peer)}` : `client ${caller.client.name}`,
    perform,
  );
}

async function refreshSession(
  refreshHandle: string,
  { caller, arrival }: AskingCaller,
  parts: FacadeGrants,
  turn: GrantTurn,
) {
  const { sessions, authenticator, now } = parts;
  const owner = sessions.ownerOf(handleOf(refreshHandle));
  const isOwn = owner !== null && mayRefresh(caller, owner) && authenticator.provedBy(owner, arrival) !== null;
  if (isOwn && owner.credential !== null) assertMayUse(caller, owner.credential, parts);
  const found = isOwn ? sessions.findByRefreshHandle(refreshHandle) : null;
  if (found === null) {
    throw refuse('invalid_grant', 'the refresh token is unknown here, has expired or was revoked: log in again');
  }
  const { source, config } = found.session;
  await inTurn(turn, caller, config(), found.session.owner.clientId, () => source.refresh());
  return { handle: found.handle, refreshHandle, ...describe(found.session.owner, found.session.tokens, now()) };
}

/** A session that belongs to nobody in particular is refreshed by who has its handle, and is no client. */
function mayRefresh(caller: Caller, owner: SessionOwner): boolean {
  const key = ownerKey(owner);
  return key === ownerKeyOf(caller) || (key === ANYBODY && caller.client === null);
}

async function openSession(
  request: TokenRequest,
  grant: string,
  caller: Caller,
  named: string | null,
  parts: FacadeGrants,
  turn: GrantTurn,
) {
  const owner = sessionOwnerOf(request, caller, named, parts);
  const config = parts.credential(owner.credential) as CredentialConfig;
  const auth = authOf(owner, config);
  const form = request.fields
    .filter(([name]) => name !== 'client_secret')
    .map(([name, value]) => [name, name === 'client_id' ? owner.clientId : value] as const);
  const isIdInForm = request.get('client_id') !== undefined;
  const call = {
    credential: owner.credential ?? 'session',
    grant: request.get('code_verifier') === undefined ? grant : 'pkce',
    hosts: config.hosts,
    auth: isIdInForm ? { ...auth, formFields: [] } : auth,
    form,
  };
  const granted = await inTurn(turn, caller, config, owner.clientId, () => parts.endpoint(call));
  const { handle, refreshHandle } = await parts.sessions.open(owner, granted, sessionIssuer(config));
  return { handle, refreshHandle, ...describe(owner, granted, parts.now()) };
}

/**
 * What an id stands for: the caller itself, a permitted credential's OAuth client, or an OAuth client that only the
 * application knows.
 */
function sessionOwnerOf(
  { clientId, login }: TokenRequest,
  caller: Caller,
  named: string | null,
  parts: FacadeGrants,
): SessionOwner {
  const { access, clients, credential } = parts;
  if (clientId === null) throw refuse('invalid_client', 'client authentication is missing');
  const client = caller.client?.name ?? null;
  const { authFingerprint } = caller;
  if (clientId === client) {
    const base = named ?? access.defaultFor(caller);
    const config = base === null ? undefined : credential(base);
    if (config?.clientId == null)
      throw refuse('unauthorized_client', 'no credential with a client_id is listed for this client');
    return { client, authFingerprint, credential: config.name, clientId: config.clientId, secret: 'credential' };
  }
  if (clients.get(clientId) !== undefined)
    throw refuse('invalid_client', 'authentication failed: this client must show its secret');
  const own = named === null ? access.byClientId(caller, clientId) : credential(named);
  if (own?.clientId === clientId)
    return { client, authFingerprint, credential: own.name, clientId, secret: 'credential' };
  return {
    client,
    authFingerprint,
    credential: named ?? access.defaultFor(caller),
    clientId,
    secret: login === null ? null : new Secret(login.secret),
  };
}

/**
 * How long the application is told its handle is good: a session that renews itself is good for longer than anybody
 * asks.
 */
function describe(owner: SessionOwner, { token, refreshToken }: SessionTokens, now: number) {
  const endsAt = token?.expiresAt ?? now;
  const expiresInS = refreshToken !== null ? HANDLE_EXPIRES_IN_S : Math.max(1, Math.floor((endsAt - now) / 1000));
  return { expiresInS, credential: owner.credential };
}

function clientNotFound() {
  return refuse(
    'invalid_client',
    'client not found: neither a client of this gateway nor the client_id of a credential that this caller may use',
  );
}
