// The grants by which credentials acquire tokens (RFC 6749, RFC 7523): what each sends to the token endpoint, as data,
// and which parts of the configuration it needs. It sends nothing itself.

import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import type { CredentialConfig, GrantType } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import type { Secret, SecretSource } from '../../secret.ts';
import { RefreshTokenSource } from './refresh-token-source.ts';
import { createAssertions } from './saml-assertion.ts';
import type { StoredToken, StoreKey, TokenStore } from './store/store.ts';
import { StoredSource } from './stored-source.ts';
import {
  basicAuth,
  type ClientAuth,
  type FormFields,
  NO_CLIENT_AUTH,
  publicClientAuth,
  type TokenEndpoint,
} from './token-endpoint.ts';
import type { TokenPeers } from './token-record.ts';
import { parseTokenReply } from './token-reply.ts';
import { type Acquire, createToken, isHeaderSafeToken, type Token, TokenFailure } from './token-source.ts';

/** What came back from the login page. */
export type LoginAnswer =
  | { readonly kind: 'code'; readonly code: string; readonly redirectUri: string; readonly verifier: string | null }
  | { readonly kind: 'fragment'; readonly fields: Readonly<Record<string, string | undefined>> };

/** The grant of one credential at work. A member that is missing means that the grant has nothing of the kind. */
export interface Grant {
  readonly acquire: Acquire;
  readonly revision?: (() => string) | undefined;
  readonly storeError?: () => string | null;
  /** Null where instances share no tokens. */
  readonly peers?: () => TokenPeers | null;
  /** Turns a login's answer into a stored token. Throws TokenFailure or GatewayError. */
  readonly redeem?: (answer: LoginAnswer) => Promise<Token>;
  readonly postAssertion?: (assertion: Secret) => Promise<void>;
  readonly forget?: () => Promise<void>;
  /**
   * Resolves when nothing is under way that the end of the process would lose: a refresh, or a write in the background.
   * Never rejects.
   */
  readonly settled?: () => Promise<void>;
  /** Tokens that the store would not take yet, for the grant that takes this one's place. */
  readonly pendingWrite?: () => StoredToken | null;
  readonly close?: () => void;
}

/** What a grant may use. */
export interface GrantDeps {
  readonly config: CredentialConfig;
  readonly endpoint: TokenEndpoint;
  readonly store: TokenStore;
  /** Whose tokens it stores: of the credential, or of one of its further tokens. */
  readonly key: StoreKey;
  /** One of several tokens of its credential, from the second on. */
  readonly isFurther?: boolean;
  /** `timeouts.token`. */
  readonly requestMs: number;
  readonly clock: Clock;
  /** 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number;
  readonly log: Log;
  /** Of the grant before, where that kept its tokens under the same key. */
  readonly pendingWrite?: StoredToken | null | undefined;
}

/** The one table of grants. */
const GRANTS: Record<GrantType, (deps: GrantDeps) => Grant> = {
  client_credentials(deps) {
    const { config } = deps;
    return stored(
      deps,
      async () => (await call(deps, confidential(config), clientCredentialsForm(config.scope))).token,
    );
  },

  access_token({ config, clock }) {
    return {
      acquire: async () => readAccessToken(required(config, 'access_token', config.accessToken), clock.now()),
      revision: secretsRevision([config.accessToken]),
    };
  },

  saml2_bearer(deps) {
    const { config, clock } = deps;
    const assertions = createAssertions(config, clock, deps);
    const grant = stored(deps, async () => {
      const assertion = await assertions.read();
      const form = saml2BearerForm(required(config, 'org_name', config.orgName), assertion.reveal(), config.scope);
      try {
        return (await call(deps, confidential(config), form)).token;
      } catch (thrown) {
        throw thrown instanceof TokenFailure && thrown.oauthError === 'invalid_grant'
          ? assertions.refused(assertion)
          : thrown;
      }
    });
    return { ...grant, postAssertion: assertions.post };
  },

  authorization_code(deps) {
    return withUser(deps, (answer) => authorizationCodeForm(answer.code, answer.redirectUri), confidential);
  },

  pkce(deps) {
    const clientId = (config: CredentialConfig) => required(config, 'client_id', config.clientId);
    const exchange: UserExchange = ({ code, redirectUri, verifier }) =>
      pkceForm({ code, redirectUri, verifier: verifier ?? '', clientId: clientId(deps.config) });
    return withUser(deps, exchange, (config) => publicClientAuth(clientId(config)), NO_CLIENT_AUTH);
  },

  implicit(deps) {
    const { config, clock } = deps;
    const acquire: Acquire = async () => {
      throw new TokenFailure(
        'login_required',
        `credential ${config.name} cannot renew a token of the implicit grant: ${loginAdvice(config.name)}`,
      );
    };
    const keeper = new StoredSource({ ...storing(deps), acquire, advice: loginAdvice(config.name) });
    return {
      ...storedParts(keeper, deps.store.isShared ? () => keeper.revision() : undefined),
      async redeem(answer) {
        if (answer.kind !== 'fragment')
          throw new GatewayError('gateway.request.invalid', 'this login expects a token in the fragment');
        const token = acceptFragmentToken(answer.fields, clock.now());
        await keeper.save(token);
        return token;
      },
    };
  },
};

/** Makes the grant of one configured credential. Asks nothing of network or store yet. */
export function createGrant(deps: GrantDeps): Grant {
  return GRANTS[deps.config.grantType](deps);
}

/** What a person has to do, for messages. */
export function loginAdvice(name: string): string {
  return `run \`gcg login ${name}\`, or open /-/login/${name}`;
}

/** The identity under which a credential's tokens are stored; `number` tells further ones apart, from 2 on. */
export function storeKeyOf({ name, clientId, hosts }: CredentialConfig, number = 1): StoreKey {
  // No name of a credential has a # in it.
  const own = number === 1 ? name : `${name}#${number}`;
  return { name: own, clientId: clientId ?? '', host: `${hosts.login.origin}${hosts.login.pathPrefix}` };
}

type UserExchange = (answer: Extract<LoginAnswer, { kind: 'code' }>) => FormFields;

/** `auth` for refreshes, and for the exchange too unless `exchangeAuth` is given. */
function withUser(
  deps: GrantDeps,
  form: UserExchange,
  auth: (config: CredentialConfig) => ClientAuth,
  exchangeAuth?: ClientAuth,
): Grant {
  const { config } = deps;
  const source = new RefreshTokenSource({
    ...storing(deps),
    refresh: (refreshToken) => call(deps, auth(config), refreshTokenForm(refreshToken), 'refresh_token'),
    initialRefreshToken: config.refreshToken,
    secretsRevision: secretsRevision([config.clientSecret]),
    advice: loginAdvice(config.name),
    pendingWrite: deps.pendingWrite,
  });
  return {
    acquire: (request) => source.acquire(request),
    revision: () => source.revision(),
    storeError: () => source.storeError(),
    peers: () => source.peers(),
    forget: () => source.forget(),
    settled: () => source.settled(),
    pendingWrite: () => source.pendingWrite(),
    close: () => source.close(),
    async redeem(answer) {
      if (answer.kind !== 'code') throw new GatewayError('gateway.request.invalid', 'this login expects a code');
      return source.save(await call(deps, exchangeAuth ?? auth(config), form(answer)));
    },
  };
}

/** A grant that is performed again for each token. A store that ends with the process would not help it. */
function stored(deps: GrantDeps, acquire: Acquire): Grant {
  const { clientSecret, assertion } = deps.config;
  const revision = secretsRevision([clientSecret, assertion]);
  if (!deps.store.isDurable) return { acquire, revision };
  const advice = `renew it by POST /-/credentials/${deps.config.name}/refresh`;
  const keeper = new StoredSource({ ...storing(deps), acquire, secretsRevision: revision, advice });
  return storedParts(keeper, deps.store.isShared ? () => keeper.revision() : revision);
}

function storedParts(keeper: StoredSource, revision: Grant['revision']) {
  return {
    acquire: (request: Parameters<Acquire>[0]) => keeper.acquire(request),
    revision,
    storeError: () => keeper.storeError(),
    peers: () => keeper.peers(),
    forget: () => keeper.forget(),
    settled: () => keeper.settled(),
    close: () => keeper.close(),
  };
}

function storing({ config, store, key, clock, random, log, requestMs, isFurther }: GrantDeps) {
  return { name: config.name, key, store, clock, random, log, requestMs, isFurther };
}

function call({ config, endpoint }: GrantDeps, auth: ClientAuth, form: FormFields, grant: string = config.grantType) {
  return endpoint({ credential: config.name, grant, hosts: config.hosts, auth, form });
}

function confidential(config: CredentialConfig): ClientAuth {
  return basicAuth(
    required(config, 'client_id', config.clientId),
    required(config, 'client_secret', config.clientSecret),
  );
}

/** `value`, which the loader requires for this grant. A credential made elsewhere gets an error that names the key. */
function required<T extends string | SecretSource>(config: CredentialConfig, key: string, value: T | null): T {
  if (value === null) throw new TokenFailure('refused', `credential ${config.name} (${config.location}) has no ${key}`);
  return value;
}

/** Form fields in the SDKs' order. */
export function clientCredentialsForm(scope: string | null): FormFields {
  return [['grant_type', 'client_credentials'], ...scopeField(scope)];
}

/** Form fields in the SDKs' order. `redirectUri` must be the one the authorise URL named. */
export function authorizationCodeForm(code: string, redirectUri: string): FormFields {
  return [
    ['grant_type', 'authorization_code'],
    ['code', code],
    ['redirect_uri', redirectUri],
  ];
}

/** RFC 7636 section 4.1. */
const SHORTEST_VERIFIER_CHARS = 43;
const LONGEST_VERIFIER_CHARS = 128;

/**
 * A code verifier of 128 characters: random bytes in base64url, where each character carries six whole bits, so that
 * there is no bias.
 */
export function createCodeVerifier(random: (bytes: number) => Buffer = randomBytes): string {
  return random((LONGEST_VERIFIER_CHARS * 6) / 8).toString('base64url');
}

/** The S256 challenge of a verifier: its SHA-256 in base64url. Throws RangeError for a verifier RFC 7636 forbids. */
export function codeChallenge(verifier: string): string {
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) {
    throw new RangeError(
      `a code verifier has ${SHORTEST_VERIFIER_CHARS} to ${LONGEST_VERIFIER_CHARS} characters of A-Z a-z 0-9 - . _ ~`,
    );
  }
  return createHash('sha256').update(verifier, 'ascii').digest('base64url');
}

/** Form fields in the SDKs' order; the client id is one of them, so that no further client authentication is sent. */
export function pkceForm(exchange: {
  code: string;
  verifier: string;
  clientId: string;
  redirectUri: string;
}): FormFields {
  return [
    ['grant_type', 'authorization_code'],
    ['code', exchange.code],
    ['code_verifier', exchange.verifier],
    ['client_id', exchange.clientId],
    ['redirect_uri', exchange.redirectUri],
  ];
}

/** Form fields in the SDKs' order. No scope: the grant keeps what it had. */
export function refreshTokenForm(refreshToken: Secret): FormFields {
  return [
    ['grant_type', 'refresh_token'],
    ['refresh_token', refreshToken.reveal()],
  ];
}

/** Form fields in the SDKs' order. */
export function saml2BearerForm(orgName: string, assertion: string, scope: string | null): FormFields {
  return [
    ['grant_type', 'urn:ietf:params:oauth:grant-type:saml2-bearer'],
    ['orgName', orgName],
    ['assertion', encodeAssertion(assertion)],
    ...scopeField(scope),
  ];
}

/**
 * The assertion as the platform wants it, base64 on one line: XML is encoded, line breaks that `base64` and editors add
 * are removed.
 */
export function encodeAssertion(assertion: string): string {
  const trimmed = assertion.trim();
  return trimmed.startsWith('<') ? Buffer.from(trimmed, 'utf8').toString('base64') : trimmed.replaceAll(/\s+/g, '');
}

/** The token in a fragment's fields, as the page posted them. Throws gateway.request.invalid when there is none. */
export function acceptFragmentToken(fields: Readonly<Record<string, string | undefined>>, nowMs: number): Token {
  const { access_token, expires_in, token_type } = fields;
  const parsed = parseTokenReply(Buffer.from(JSON.stringify({ access_token, expires_in, token_type })));
  if ('problem' in parsed)
    throw new GatewayError(
      'gateway.request.invalid',
      `the login page answered with ${parsed.problem}: start the login again`,
    );
  return createToken({ accessToken: parsed.accessToken, obtainedAt: nowMs, expiresAt: nowMs + parsed.lifeMs });
}

/**
 * The configured access token, read again at each call. Throws GatewayError `gateway.credential.rejected` (unreadable)
 * or TokenFailure (unusable).
 */
export function readAccessToken(source: SecretSource, nowMs: number): Token {
  const accessToken = source.read();
  if (!isHeaderSafeToken(accessToken.reveal())) {
    throw new TokenFailure(
      'refused',
      `the access token from ${source.origin} holds spaces, line breaks or other characters no token has`,
    );
  }
  return createToken({ accessToken, obtainedAt: nowMs, expiresAt: Number.POSITIVE_INFINITY });
}

/** The scope field; nothing when no scope is configured. */
export function scopeField(scope: string | null): FormFields {
  const joined = joinScopes(scope);
  return joined === '' ? [] : [['scope', joined]];
}

/** Scopes joined by single spaces: `a, b  c` becomes `a b c`. */
export function joinScopes(scope: string | null): string {
  return (scope ?? '')
    .split(/[\s,]+/)
    .filter((word) => word !== '')
    .join(' ');
}

/** The joint revision of secrets; undefined when none of them can change, so that nobody polls in vain. */
export function secretsRevision(sources: readonly (SecretSource | null)[]): (() => string) | undefined {
  const changeable = sources.filter(
    (source) => source !== null && !source.revision().startsWith('inline'),
  ) as SecretSource[];
  if (changeable.length === 0) return undefined;
  return () => changeable.map((source) => source.revision()).join('|');
}
