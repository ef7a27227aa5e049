// What a configured credential is made of, by grant type: one table. Each entry puts a form, a client authentication, the token endpoint
// and the store together; the state machine over it is the same for all.

import type { Clock } from '../clock.ts';
import type { CredentialConfig, GrantType } from '../config/gateway-config.ts';
import type { Secret } from '../config/secret.ts';
import type { SecretSource } from '../config/secret-source.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import { basicAuth, type ClientAuth, type FormFields, publicClientAuth } from './client-auth.ts';
import { readAccessToken } from './grants/access-token.ts';
import { createAssertions } from './grants/assertions.ts';
import { authorizationCodeForm } from './grants/authorization-code.ts';
import { clientCredentialsForm } from './grants/client-credentials.ts';
import { acceptFragmentToken } from './grants/implicit.ts';
import { pkceForm } from './grants/pkce.ts';
import { refreshTokenForm } from './grants/refresh-token.ts';
import { saml2BearerForm } from './grants/saml2-bearer.ts';
import { secretsRevision } from './secrets-revision.ts';
import type { StoreKey, TokenStore } from './store/store.ts';
import { createStoredSource, type StoredSource } from './stored-source.ts';
import type { Token } from './token.ts';
import type { TokenEndpoint } from './token-endpoint.ts';
import { TokenFailure } from './token-failure.ts';
import type { Obtain } from './token-source.ts';
import type { Unwritten } from './user-record.ts';
import { createUserSource } from './user-source.ts';

/** What came back from the login page. */
export type LoginAnswer =
  | { readonly kind: 'code'; readonly code: string; readonly redirectUri: string; readonly verifier: string | null }
  | { readonly kind: 'fragment'; readonly fields: Readonly<Record<string, string | undefined>> };

/** The parts; a missing one means that this grant has nothing of the kind. */
export interface CredentialParts {
  readonly obtain: Obtain;
  readonly revision?: (() => string) | undefined;
  readonly storeError?: () => string | null;
  /** Turns a login's answer into a stored token. Throws TokenFailure or GatewayError. */
  readonly redeem?: (answer: LoginAnswer) => Promise<Token>;
  readonly postAssertion?: (assertion: Secret) => void;
  readonly forget?: () => Promise<void>;
  /** Resolves when nothing is under way that would be lost were the process to end: a refresh, or a write behind a caller's back. Never rejects. */
  readonly settled?: () => Promise<void>;
  /** Tokens that the store would not take yet, for the parts that take the place of these. */
  readonly unwritten?: () => Unwritten | null;
  readonly close?: () => void;
}

/** What the parts may use. */
export interface PartsDeps {
  readonly config: CredentialConfig;
  readonly endpoint: TokenEndpoint;
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Of the parts before, where those kept their tokens under the same key. */
  readonly unwritten?: Unwritten | null | undefined;
}

/** The one table of grants. */
const PARTS: Record<GrantType, (deps: PartsDeps) => CredentialParts> = {
  client_credentials(deps) {
    const { config } = deps;
    return stored(deps, async () => (await call(deps, confidential(config), clientCredentialsForm(config.scope))).token);
  },

  access_token({ config, clock }) {
    return {
      obtain: async () => readAccessToken(required(config, 'access_token', config.accessToken), clock.now()),
      revision: secretsRevision([config.accessToken]),
    };
  },

  saml2_bearer(deps) {
    const { config, clock } = deps;
    const assertions = createAssertions(config, clock);
    const parts = stored(deps, async () => {
      const assertion = await assertions.read();
      const form = saml2BearerForm(required(config, 'org_name', config.orgName), assertion.reveal(), config.scope);
      try {
        return (await call(deps, confidential(config), form)).token;
      } catch (thrown) {
        throw thrown instanceof TokenFailure && thrown.oauthError === 'invalid_grant' ? assertions.refused(assertion) : thrown;
      }
    });
    return { ...parts, postAssertion: assertions.post };
  },

  authorization_code(deps) {
    return withUser(deps, (answer) => authorizationCodeForm(answer.code, answer.redirectUri), confidential);
  },

  pkce(deps) {
    const clientId = (config: CredentialConfig) => required(config, 'client_id', config.clientId);
    const exchange: UserExchange = ({ code, redirectUri, verifier }) =>
      pkceForm({ code, redirectUri, verifier: verifier ?? '', clientId: clientId(deps.config) });
    return withUser(deps, exchange, (config) => publicClientAuth(clientId(config)), { headers: [], formFields: [] });
  },

  implicit(deps) {
    const { config, clock } = deps;
    const obtain: Obtain = async () => {
      throw new TokenFailure('login_required', `credential ${config.name} cannot renew a token of the implicit grant: ${loginAdvice(config.name)}`);
    };
    const keeper = createStoredSource({ ...storing(deps), obtain });
    return {
      ...storedParts(keeper),
      obtain: keeper.obtain,
      async redeem(answer) {
        if (answer.kind !== 'fragment') throw new GatewayError('gateway.request.invalid', 'this login expects a token in the fragment');
        const token = acceptFragmentToken(answer.fields, clock.now());
        await keeper.save(token);
        return token;
      },
    };
  },
};

/** The parts of one configured credential. Asks nothing of network or store yet. */
export function createCredentialParts(deps: PartsDeps): CredentialParts {
  return PARTS[deps.config.grantType](deps);
}

/** What a person has to do, for messages. */
export function loginAdvice(name: string): string {
  return `run \`gcg login ${name}\`, or open /-/login/${name}`;
}

/** The identity under which a credential's tokens are stored. */
export function storeKeyOf({ name, clientId, hosts }: CredentialConfig): StoreKey {
  return { name, clientId: clientId ?? '', host: `${hosts.login.origin}${hosts.login.pathPrefix}` };
}

type UserExchange = (answer: Extract<LoginAnswer, { kind: 'code' }>) => FormFields;

/** `auth` for refreshes, and for the exchange too unless `exchangeAuth` is given. */
function withUser(deps: PartsDeps, form: UserExchange, auth: (config: CredentialConfig) => ClientAuth, exchangeAuth?: ClientAuth): CredentialParts {
  const { config } = deps;
  const source = createUserSource({
    ...storing(deps),
    refresh: (refreshToken) => call(deps, auth(config), refreshTokenForm(refreshToken), 'refresh_token'),
    seed: config.refreshToken,
    secretsRevision: secretsRevision([config.clientSecret]),
    advice: loginAdvice(config.name),
    unwritten: deps.unwritten,
  });
  return {
    ...source,
    async redeem(answer) {
      if (answer.kind !== 'code') throw new GatewayError('gateway.request.invalid', 'this login expects a code');
      return source.adopt(await call(deps, exchangeAuth ?? auth(config), form(answer)));
    },
  };
}

/** A grant that is simply performed again. A store that ends with the process would not help it. */
function stored(deps: PartsDeps, obtain: Obtain): CredentialParts {
  const { clientSecret, assertion } = deps.config;
  const revision = secretsRevision([clientSecret, assertion]);
  if (!deps.store.isDurable) return { obtain, revision };
  const keeper = createStoredSource({ ...storing(deps), obtain });
  return { ...storedParts(keeper), obtain: keeper.obtain, revision };
}

function storedParts({ storeError, forget, settled }: StoredSource) {
  return { storeError, forget, settled };
}

function storing({ config, store, clock, log }: PartsDeps) {
  return { name: config.name, key: storeKeyOf(config), store, clock, log };
}

function call({ config, endpoint }: PartsDeps, auth: ClientAuth, form: FormFields, grant: string = config.grantType) {
  return endpoint({ credential: config.name, grant, hosts: config.hosts, auth, form });
}

function confidential(config: CredentialConfig): ClientAuth {
  return basicAuth(required(config, 'client_id', config.clientId), required(config, 'client_secret', config.clientSecret));
}

/** The configuration's loader makes sure of it; a credential made elsewhere gets a plain word instead of a crash. */
function required<T extends string | SecretSource>(config: CredentialConfig, key: string, value: T | null): T {
  if (value === null) throw new TokenFailure('refused', `credential ${config.name} (${config.origin}) has no ${key}`);
  return value;
}
