// All configured credentials, each with its own source of tokens. Nothing is shared between two of them but the network
// and the store.

import type { Clock } from '../../clock.ts';
import { isSameSetting } from '../../config/compare.ts';
import { type CredentialConfig, defaultCredential, type GatewayConfig } from '../../config/gateway-config.ts';
import { GatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import type { Secret } from '../../secret.ts';
import { createCredentialParts, type LoginAnswer, loginAdvice, storeKeyOf } from './grants.ts';
import { createRefreshingSource } from './refreshing-source.ts';
import type { TokenStore } from './store/store.ts';
import {
  createTokenEndpoint,
  type TokenEndpoint,
  type TokenRequestOutcome,
  type TokenTransport,
} from './token-endpoint.ts';
import type { Unwritten } from './token-record.ts';
import {
  type CredentialState,
  type ManagedTokenSource,
  type Obtain,
  type Token,
  TokenFailure,
} from './token-source.ts';
import type { TokenTransition } from './transition.ts';

/** One configured credential. */
export interface Credential {
  readonly config: CredentialConfig;
  readonly source: ManagedTokenSource;
  /** Whether a person logs in for it. */
  readonly hasLogin: boolean;
  /** Takes a login's answer: exchanges, stores, uses. Throws TokenFailure or GatewayError. Called once a login. */
  redeem(answer: LoginAnswer): Promise<void>;
  /**
   * Takes a SAML assertion into use and obtains a token with it. Throws the attempt's error; gateway.request.invalid
   * for other grants.
   */
  postAssertion(assertion: Secret): Promise<Token>;
  /**
   * Drops the token and forgets what is stored. The platform is not told. Throws gateway.internal when the store cannot
   * forget.
   */
  logout(): Promise<void>;
}

/** The registry. */
export interface Credentials {
  get(name: string): Credential | undefined;
  /** The default credential, if there is one. */
  default(): Credential | undefined;
  /** In the order of the configuration. */
  list(): readonly Credential[];
  states(): Readonly<Record<string, CredentialState>>;
  /** Begins obtaining first tokens; never throws, waits for nothing. */
  start(): void;
  /** Stops all timers, save those of credentials that `next` has taken over. Attempts that run are left to end. */
  close(next?: Credentials): void;
  /**
   * Resolves when no refresh token is being exchanged or written any more (what such a one brings cannot be had again),
   * and when the other tokens obtained so far are in the store or could not be written. Never rejects.
   */
  settled(): Promise<void>;
  /** For the registry of the next configuration. */
  made(name: string): MadeCredential | undefined;
}

/** A credential and what it was made of. */
export interface MadeCredential {
  readonly credential: Credential;
  readonly terms: Terms;
  readonly settled: () => Promise<void>;
  readonly unwritten: () => Unwritten | null;
  readonly close: () => void;
}

/** The settings of its source. */
interface Terms {
  readonly config: CredentialConfig;
  readonly reauthentication: GatewayConfig['reauthentication'];
  readonly tokenMs: number;
}

/** `random` is 0 (inclusive) to 1 (exclusive). The store is closed by whoever made it. */
export interface CredentialsDeps {
  readonly config: GatewayConfig;
  /** For a registry that may be taken over: the transport in use at the time. */
  readonly transport: TokenTransport;
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly onTransition?: ((transition: TokenTransition) => void) | undefined;
  readonly onTokenRequest?: ((outcome: TokenRequestOutcome) => void) | undefined;
  /** Told each token that is taken into use, wherever it comes from. */
  readonly onSecret?: ((value: string, origin: 'received' | 'sent') => void) | undefined;
}

/**
 * Makes the registry; asks nothing of the network before `start()`. `previous` is that of the configuration before: a
 * credential that stays the same keeps its source, one that is still the same account keeps its token.
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
  const inherited = new Map<ManagedTokenSource, { readonly from: ManagedTokenSource; readonly isSecretNew: boolean }>();
  for (const credential of config.credentials) {
    const terms: Terms = {
      config: credential,
      reauthentication: config.reauthentication,
      tokenMs: config.timeouts.tokenMs,
    };
    const before = previous?.made(credential.name);
    if (before !== undefined && isSameSetting(before.terms, terms, ROLE_KEYS)) {
      made.set(credential.name, { ...before, credential: { ...before.credential, config: credential } });
      continue;
    }
    const one = { ...createCredential(credential, endpoint, deps, before), terms };
    made.set(credential.name, one);
    if (before === undefined || !isSameAccount(before.terms.config, credential)) continue;
    const isSecretNew = !isSameSetting(before.terms.config, credential, ROLE_KEYS);
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
        // Whether the new secret is good is found out now, while the token that it will replace still serves.
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
 * The token of one source for another, for as long as the first would have used it: a clock may have been stepped back
 * meanwhile.
 */
function inherit(source: ManagedTokenSource, from: ManagedTokenSource): boolean {
  const token = from.current();
  if (token === null) return false;
  try {
    source.accept(token, from.leftMs());
    return true;
  } catch {
    // It ended this very moment.
    return false;
  }
}

/** What others see in a credential; its source knows nothing of these. */
const ROLE_KEYS = ['isDefault', 'isRequired'];

/**
 * Whether two settings lead to tokens for the same: then the token of one serves the other, and counts against the same
 * limits.
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
  const { store, clock, random, log, onTransition, onSecret } = deps;
  const { name, grantType } = config;
  const { reauthentication } = deps.config;
  const isSameEntry = before !== undefined && isSameSetting(storeKeyOf(before.terms.config), storeKeyOf(config));
  const parts = createCredentialParts({
    config,
    endpoint,
    store,
    clock,
    log,
    unwritten: isSameEntry ? before.unwritten() : null,
  });
  const { revision, storeError } = parts;
  const obtain: Obtain = async (request) => {
    const token = await parts.obtain(request);
    onSecret?.(token.accessToken.reveal(), 'received');
    return token;
  };
  // A given token is only read again, which is no renewal that could be switched off.
  const settings = grantType === 'access_token' ? { ...reauthentication, refreshAccessToken: true } : reauthentication;
  const source = createRefreshingSource({
    name,
    obtain,
    clock,
    random,
    settings,
    revision,
    storeError,
    log,
    onTransition,
  });

  const credential: Credential = {
    config,
    source,
    hasLogin: parts.redeem !== undefined,
    async redeem(answer) {
      if (parts.redeem === undefined)
        throw new GatewayError('gateway.request.invalid', `credential ${name} (${grantType}) has no login`);
      source.accept(await parts.redeem(answer));
    },
    async postAssertion(assertion) {
      if (parts.postAssertion === undefined) {
        throw new GatewayError('gateway.request.invalid', `credential ${name} (${grantType}) takes no assertion`);
      }
      parts.postAssertion(assertion);
      // An attempt that is under way may have begun with the one before: how that ends says nothing of this one.
      if (source.state().renewal === 'running') await source.refresh().catch(() => undefined);
      return source.refresh();
    },
    async logout() {
      await parts.forget?.().catch(() => {
        throw new GatewayError(
          'gateway.internal',
          `credential ${name}: its stored tokens could not be removed (${storeError?.() ?? 'store failed'})`,
        );
      });
      const what = parts.redeem === undefined ? `renew it by POST /-/credentials/${name}/refresh` : loginAdvice(name);
      source.drop(new TokenFailure('login_required', `credential ${name} was logged out: ${what}`));
    },
  };
  const close = () => {
    source.close();
    parts.close?.();
  };
  return { credential, close, settled: async () => parts.settled?.(), unwritten: () => parts.unwritten?.() ?? null };
}
