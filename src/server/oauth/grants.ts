// POST /oauth/token for applications: a request is read, client credentials become a handle at once, grants of users
// are performed upstream and become a session. Which id stands for which credential is decided here; a response is not
// written here.

import { networkOf } from '../../auth/callers/auth-throttle.ts';
import { ANYBODY, type Arrival, type Caller, ownerKey, ownerKeyOf } from '../../auth/callers/caller.ts';
import { isHandle } from '../../auth/callers/client-handle.ts';
import { HANDLE_EXPIRES_IN_S } from '../../auth/callers/handles.ts';
import {
  authOf,
  handleOf,
  REFRESH_PREFIX,
  type SessionOwner,
  type SessionTokens,
  sessionIssuer,
} from '../../auth/callers/session.ts';
import { type FormFields, NO_CLIENT_AUTH } from '../../auth/credentials/token-endpoint.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { Secret } from '../../secret.ts';
import { type ClientCredentials, readBasicCredentials } from '../authenticate.ts';
import { notListed, unknownCredential } from '../authorize.ts';
import { credentialConfig, type ServerContext, type ServerRuntime } from '../context.ts';
import { refuse } from '../responses.ts';

/** Room for a SAML assertion and no more. */
export const LARGEST_FORM_BYTES = 256 * 1024;

/** A request of the token endpoint, and who the application says it is. */
export interface TokenRequest {
  /** In wire order, each at most once. */
  readonly fields: FormFields;
  readonly grantType: string;
  get(name: string): string | undefined;
  /** Basic, or client_id and client_secret of the form. */
  readonly clientCredentials: ClientCredentials | null;
  /** The id of these, or a client_id alone. */
  readonly clientId: string | null;
}

/** Reads a request strictly; looks nothing up. Throws an OAuthRefusal `invalid_request`. */
export function readTokenRequest(
  contentType: string | undefined,
  body: string,
  authorization: string | undefined,
): TokenRequest {
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(contentType ?? '')) {
    throw refuse('invalid_request', 'the body must be application/x-www-form-urlencoded');
  }
  const fields = [...new URLSearchParams(body)];
  const form = new Map(fields);
  if (form.size !== fields.length) throw refuse('invalid_request', 'a field is given twice');
  const grantType = form.get('grant_type');
  if (grantType === undefined) throw refuse('invalid_request', 'grant_type is missing');
  const clientCredentials = readBasicCredentials(authorization) ?? formCredentials(form);
  const formId = form.get('client_id');
  if (clientCredentials !== null && formId !== undefined && formId !== clientCredentials.name) {
    throw refuse('invalid_request', 'client_id differs from the Authorization header');
  }
  const clientId = clientCredentials?.name ?? formId ?? null;
  return { fields, grantType, get: (name) => form.get(name), clientCredentials, clientId };
}

function formCredentials(form: ReadonlyMap<string, string>): ClientCredentials | null {
  const name = form.get('client_id');
  const secret = form.get('client_secret');
  return name === undefined || secret === undefined ? null : { name, secret };
}

const USER_GRANTS = new Map([
  ['authorization_code', 'authorization_code'],
  ['refresh_token', 'refresh_token'],
  ['urn:ietf:params:oauth:grant-type:saml2-bearer', 'saml2_bearer'],
]);

/** Who asks for a token, from where, and for which credential by the path or header. */
export interface TokenApplicant {
  readonly caller: Caller;
  readonly arrival: Arrival;
  /** The address it comes from, which tells callers apart that are no clients; null where it is not known. */
  readonly peer: string | null;
  readonly named: string | null;
}

/** What an application gets, and the credential behind it. */
export interface IssuedToken {
  readonly handle: string;
  readonly expiresInS: number;
  readonly refreshHandle: string | null;
  readonly credential: string | null;
}

/** Carries out the grants of one admitted caller, by the configuration in use. */
export class FacadeGrants {
  readonly #gateway: ServerContext;
  readonly #runtime: ServerRuntime;
  readonly #applicant: TokenApplicant;

  constructor(gateway: ServerContext, applicant: TokenApplicant) {
    this.#gateway = gateway;
    this.#runtime = gateway.runtime;
    this.#applicant = applicant;
  }

  /** Carries out one request. Throws OAuthRefusal, TokenFailure or GatewayError. */
  async perform(request: TokenRequest): Promise<IssuedToken> {
    const { named } = this.#applicant;
    if (named !== null) this.#assertMayUse(named);
    if (request.grantType === 'client_credentials') return this.#issueHandle(request.clientId);
    const grant = USER_GRANTS.get(request.grantType);
    if (grant === undefined) throw refuse('unsupported_grant_type', 'this grant is not served here');
    const shown = request.get('refresh_token');
    // An access handle refreshes nothing, and is not the platform's to see.
    if (grant === 'refresh_token' && shown !== undefined && (shown.startsWith(REFRESH_PREFIX) || isHandle(shown)))
      return this.#refreshSession(shown);
    return this.#openSession(request, grant);
  }

  #assertMayUse(name: string): void {
    if (credentialConfig(this.#runtime, name) === undefined) throw unknownCredential();
    if (!this.#runtime.access.mayUse(this.#applicant.caller, name))
      throw notListed(name, this.#applicant.caller, this.#runtime);
  }

  #issueHandle(clientId: string | null): IssuedToken {
    const { access, handles } = this.#runtime;
    const { caller, named } = this.#applicant;
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

  async #refreshSession(refreshHandle: string): Promise<IssuedToken> {
    const { sessions, authenticator } = this.#runtime;
    const { caller, arrival, peer } = this.#applicant;
    await sessions.fetchHandle(handleOf(refreshHandle));
    const owner = sessions.ownerOf(handleOf(refreshHandle));
    const isOwn =
      owner !== null && mayRefresh(caller, owner) && authenticator.reauthenticate(owner, arrival, peer) !== null;
    if (isOwn && owner.credential !== null) this.#assertMayUse(owner.credential);
    const found = isOwn ? sessions.findByRefreshHandle(refreshHandle) : null;
    if (found === null)
      throw refuse('invalid_grant', 'the refresh token is unknown here, has expired or was revoked: log in again');
    const { session, handle } = found;
    await this.#inTurn(session.config(), session.owner.clientId, () => session.source.refresh());
    return { handle, refreshHandle, ...this.#describe(session.owner, session.tokens) };
  }

  async #openSession(request: TokenRequest, grant: string): Promise<IssuedToken> {
    const { tokenEndpoint, sessions } = this.#runtime;
    const owner = this.#ownerOf(request);
    const config = credentialConfig(this.#runtime, owner.credential) as CredentialConfig;
    const auth = authOf(owner, config);
    const form = request.fields
      .filter(([name]) => name !== 'client_secret')
      .map(([name, value]) => [name, name === 'client_id' ? owner.clientId : value] as const);
    const isIdInForm = request.get('client_id') !== undefined;
    const call = {
      credential: owner.credential ?? 'session',
      grant: request.get('code_verifier') === undefined ? grant : 'pkce',
      hosts: config.hosts,
      auth: isIdInForm && auth.kind === 'public' ? NO_CLIENT_AUTH : auth,
      form,
    };
    const granted = await this.#inTurn(config, owner.clientId, () => tokenEndpoint(call));
    const { handle, refreshHandle } = await sessions.open(owner, granted, sessionIssuer(config));
    return { handle, refreshHandle, ...this.#describe(owner, granted) };
  }

  /** Performs a grant with an OAuth client when it is this caller's turn. */
  #inTurn<T>(config: CredentialConfig, clientId: string, perform: () => Promise<T>): Promise<T> {
    const { caller, peer } = this.#applicant;
    return this.#gateway.grantPace.perform(
      `${sessionIssuer(config)} ${clientId}`,
      caller.client === null ? `peer ${networkOf(peer ?? '')}` : `client ${caller.client.name}`,
      perform,
    );
  }

  /**
   * What an id stands for: the caller itself, a permitted credential's OAuth client, or an OAuth client that only the
   * application knows.
   */
  #ownerOf({ clientId, clientCredentials }: TokenRequest): SessionOwner {
    const { access, clients } = this.#runtime;
    const { caller, named } = this.#applicant;
    if (clientId === null) throw refuse('invalid_client', 'client authentication is missing');
    const client = caller.client?.name ?? null;
    const { authFingerprint } = caller;
    if (clientId === client) {
      const base = named ?? access.defaultFor(caller);
      const config = base === null ? undefined : credentialConfig(this.#runtime, base);
      if (config?.clientId == null)
        throw refuse('unauthorized_client', 'no credential with a client_id is listed for this client');
      return { client, authFingerprint, credential: config.name, clientId: config.clientId, secret: 'credential' };
    }
    if (clients.get(clientId) !== undefined)
      throw refuse('invalid_client', 'authentication failed: this client must show its secret');
    const own = named === null ? access.byClientId(caller, clientId) : credentialConfig(this.#runtime, named);
    if (own?.clientId === clientId)
      return { client, authFingerprint, credential: own.name, clientId, secret: 'credential' };
    return {
      client,
      authFingerprint,
      credential: named ?? access.defaultFor(caller),
      clientId,
      secret: clientCredentials === null ? null : new Secret(clientCredentials.secret),
    };
  }

  /**
   * How long the application is told its handle is good: a session that renews itself is good for longer than anybody
   * asks.
   */
  #describe({ credential }: SessionOwner, { token, refreshToken }: SessionTokens) {
    const now = this.#gateway.clock.now();
    const endsAt = token?.expiresAt ?? now;
    const expiresInS = refreshToken !== null ? HANDLE_EXPIRES_IN_S : Math.max(1, Math.floor((endsAt - now) / 1000));
    return { expiresInS, credential };
  }
}

/** A session that belongs to nobody in particular is refreshed by who has its handle, and is no client. */
function mayRefresh(caller: Caller, owner: SessionOwner): boolean {
  const key = ownerKey(owner);
  return key === ownerKeyOf(caller) || (key === ANYBODY && caller.client === null);
}

function clientNotFound() {
  return refuse(
    'invalid_client',
    'client not found: neither a client of this gateway nor the client_id of a credential that this caller may use',
  );
}
