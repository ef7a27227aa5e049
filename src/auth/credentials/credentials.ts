// The configured credentials, each with its own token source. Two of them share nothing but the network and the store.

import type { Clock } from '../../clock.ts';
import {
  type CredentialConfig,
  defaultCredential,
  type GatewayConfig,
  isSameSetting,
} from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import type { Secret } from '../../secret.ts';
import { createGrant, type LoginAnswer, loginAdvice, storeKeyOf } from './grants.ts';
import { RefreshingTokenSource } from './refreshing-source.ts';
import type { TokenStore } from './store/store.ts';
import {
  createTokenEndpoint,
  type TokenEndpoint,
  type TokenRequestOutcome,
  type TokenTransport,
} from './token-endpoint.ts';
import type { PendingWrite } from './token-record.ts';
import { type Acquire, type CredentialState, type Token, TokenFailure, type TokenTransition } from './token-source.ts';

/** One configured credential. */
export interface Credential {
  readonly config: CredentialConfig;
  readonly source: RefreshingTokenSource;
  /** Whether a person logs in for it. */
  readonly hasLogin: boolean;
  /** Exchanges a login's answer for a token, stores and uses it. Throws TokenFailure or GatewayError. Call it once per login. */
  redeem(answer: LoginAnswer): Promise<void>;
  /**
   * Takes a SAML assertion into use and acquires a token with it. Throws the renewal's error; gateway.request.invalid
   * for other grants.
   */
  postAssertion(assertion: Secret): Promise<Token>;
  /**
   * Drops the token and removes what is stored; the platform is not asked to revoke it. Throws gateway.internal when
   * the store cannot remove it.
   */
  logout(): Promise<void>;
}

/** The credentials of one configuration. */
export interface Credentials {
  get(name: string): Credential | undefined;
  /** The default credential, if there is one. */
  default(): Credential | undefined;
  /** In the order of the configuration. */
  list(): readonly Credential[];
  states(): Readonly<Record<string, CredentialState>>;
  /** Begins acquiring first tokens; never throws, waits for nothing. */
  start(): void;
  /** Stops all timers, save those of credentials that `next` has taken over. Renewals that run are left to end. */
  close(next?: Credentials): void;
  /**
   * Resolves when no refresh token is being exchanged or written any more (its result could not be acquired again), and
   * when the other tokens acquired so far are in the store or could not be written. Never rejects.
   */
  settled(): Promise<void>;
  /** A credential for the next configuration, which may take it over. */
  made(name: string): MadeCredential | undefined;
}

/** A credential with what the next configuration needs to compare it and take it over. */
export interface MadeCredential {
  readonly credential: Credential;
  readonly settings: CredentialSettings;
  readonly settled: () => Promise<void>;
  readonly pendingWrite: () => PendingWrite | null;
  readonly close: () => void;
}

/** The settings that its source was made with. */
interface CredentialSettings {
  readonly config: CredentialConfig;
  readonly reauthentication: GatewayConfig['reauthentication'];
  readonly tokenMs: number;
}

/** What credentials are made with. `random` is 0 (inclusive) to 1 (exclusive). The store is closed by its maker. */
export interface CredentialsDeps {
  readonly config: GatewayConfig;
  /** Reaches the network by the configuration in use at the time: credentials may outlive theirs. */
  readonly transport: TokenTransport;
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly onTransition?: ((transition: TokenTransition) => void) | undefined;
  /** Told each token that a credential takes into use. `isRenewal` is false for one that a login or another source gave. */
  readonly onToken?: ((credential: string, token: Token, isRenewal: boolean) => void) | undefined;
  readonly onTokenRequest?: ((outcome: TokenRequestOutcome) => void) | undefined;
  /** Told each token that is taken into use, wherever it comes from. */
  readonly onSecret?: ((value: string, origin: 'received' | 'sent') => void) | undefined;
}

/**
 * Makes the credentials of a configuration; uses no network before `start()`. `previous` are those of the configuration
 * before: a credential that stays the same keeps its source, one that is still the same account keeps its token.
 */
export function createCredentials(deps: CredentialsDeps, previous?: Credentials): Credentials {
  const { config, transport, clock, log, onTokenRequest, onSecret } = deps;
  const endpoint = createTokenEndpoint({
    transport,
    clock,
    log,
    timeoutMs: config.timeouts.tokenMs,
    onTokenRequest,
    onSecret,
  });
  const made = new Map<string, MadeCredential>();
  const inherited = new Map<
    RefreshingTokenSource,
    { readonly from: RefreshingTokenSource; readonly isSecretNew: boolean }
  >();
  for (const credential of config.credentials) {
    const settings: CredentialSettings = {
      config: credential,
      reauthentication: config.reauthentication,
      tokenMs: config.timeouts.tokenMs,
    };
    const before = previous?.made(credential.name);
    if (before !== undefined && isSameSetting(before.settings, settings, ROLE_KEYS)) {
      made.set(credential.name, { ...before, credential: { ...before.credential, config: credential } });
      continue;
    }
    const one = { ...createCredential(credential, endpoint, deps, before), settings };
    made.set(credential.name, one);
    if (before === undefined || !isSameAccount(before.settings.config, credential)) continue;
    const isSecretNew = !isSameSetting(before.settings.config, credential, ROLE_KEYS);
    inherited.set(one.credential.source, { from: before.credential.source, isSecretNew });
  }
  const byName = new Map([...made].map(([name, { credential }]) => [name, credential]));
  const defaultName = defaultCredential(config)?.name;

  return {
    get: (name) => byName.get(name),
    default: () => (defaultName === undefined ? undefined : byName.get(defaultName)),
    list: () => [...byName.values()],
    states: () => Object.fromEntries([...byName].map(([name, { source }]) => [name, source.state()])),
    start() {
      for (const { source } of byName.values()) {
        const before = inherited.get(source);
        const hasToken = before !== undefined && inherit(source, before.from);
        source.start();
        // Tests the new secret now, while the token that it will replace is still valid.
        if (hasToken && before.isSecretNew) source.refresh().catch(() => undefined);
      }
      inherited.clear();
    },
    close(next) {
      for (const [name, { credential, close }] of made) if (next?.get(name)?.source !== credential.source) close();
    },
    async settled() {
      await Promise.all([...made.values()].map((one) => one.settled()));
    },
    made: (name) => made.get(name),
  };
}

/**
 * Gives the token of one source to another, for as long as the first would have used it: a clock may have been stepped
 * back meanwhile. False when there was none to give.
 */
function inherit(source: RefreshingTokenSource, from: RefreshingTokenSource): boolean {
  const token = from.current();
  if (token === null) return false;
  try {
    source.accept(token, from.leftMs());
    return true;
  } catch {
    // It expired at this very moment.
    return false;
  }
}

/** Settings of a credential's role, which its token source does not depend on. */
const ROLE_KEYS = ['isDefault', 'isRequired'];

/**
 * Whether two credentials lead to tokens of the same account: then the token of one serves the other, and counts
 * against the same limits.
 */
export function isSameAccount(a: CredentialConfig, b: CredentialConfig): boolean {
  const isGiven = a.grantType === 'access_token';
  return isSameSetting(
    a,
    b,
    isGiven
      ? ROLE_KEYS
      : [...ROLE_KEYS, 'clientSecret', 'assertion', 'assertionCommand', 'redirectUri', 'prompt', 'loginHint'],
  );
}

function createCredential(
  config: CredentialConfig,
  endpoint: TokenEndpoint,
  deps: CredentialsDeps,
  before: MadeCredential | undefined,
) {
  const { store, clock, random, log, onTransition, onToken, onSecret } = deps;
  const { name, grantType } = config;
  const { reauthentication } = deps.config;
  const isSameEntry = before !== undefined && isSameSetting(storeKeyOf(before.settings.config), storeKeyOf(config));
  const grant = createGrant({
    config,
    endpoint,
    store,
    clock,
    log,
    pendingWrite: isSameEntry ? before.pendingWrite() : null,
  });
  const { revision, storeError } = grant;
  const acquire: Acquire = async (request) => {
    const token = await grant.acquire(request);
    onSecret?.(token.accessToken.reveal(), 'received');
    return token;
  };
  // A configured token is only read again, which is no renewal that could be switched off.
  const settings = grantType === 'access_token' ? { ...reauthentication, refreshAccessToken: true } : reauthentication;
  const source = new RefreshingTokenSource({
    name,
    acquire,
    clock,
    random,
    settings,
    revision,
    storeError,
    log,
    onTransition,
    isOptional: !config.isRequired,
    onToken: onToken && ((token, isRenewal) => onToken(name, token, isRenewal)),
  });

  const credential: Credential = {
    config,
    source,
    hasLogin: grant.redeem !== undefined,
    async redeem(answer) {
      if (grant.redeem === undefined)
        throw new GatewayError('gateway.request.invalid', `credential ${name} (${grantType}) has no login`);
      source.accept(await grant.redeem(answer));
    },
    async postAssertion(assertion) {
      if (grant.postAssertion === undefined) {
        throw new GatewayError('gateway.request.invalid', `credential ${name} (${grantType}) takes no assertion`);
      }
      grant.postAssertion(assertion);
      // A renewal that runs may have begun with the assertion before: how that ends says nothing of this one.
      if (source.state().renewal === 'running') await source.refresh().catch(() => undefined);
      return source.refresh();
    },
    async logout() {
      await grant.forget?.().catch(() => {
        throw new GatewayError(
          'gateway.internal',
          `credential ${name}: its stored tokens could not be removed (${storeError?.() ?? 'store failed'})`,
        );
      });
      const what = grant.redeem === undefined ? `renew it by POST /-/credentials/${name}/refresh` : loginAdvice(name);
      source.drop(new TokenFailure('login_required', `credential ${name} was logged out: ${what}`));
    },
  };
  const close = () => {
    source.close();
    grant.close?.();
  };
  return {
    credential,
    close,
    settled: async () => grant.settled?.(),
    pendingWrite: () => grant.pendingWrite?.() ?? null,
  };
}
