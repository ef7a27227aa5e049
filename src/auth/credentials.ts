// All configured credentials, each with its own source of tokens. Nothing is shared between two of them but the network and the store.

import type { Clock } from '../clock.ts';
import { type CredentialConfig, defaultCredential, type GatewayConfig } from '../config/gateway-config.ts';
import type { Secret } from '../config/secret.ts';
import { GatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import { createCachedSource } from './cached-source.ts';
import { createCredentialParts, type LoginAnswer, loginAdvice } from './credential-parts.ts';
import type { TokenStore } from './store/store.ts';
import type { Token } from './token.ts';
import { createTokenEndpoint, type TokenRequestOutcome, type TokenTransport } from './token-endpoint.ts';
import { TokenFailure } from './token-failure.ts';
import type { CredentialState, ManagedTokenSource, Obtain } from './token-source.ts';
import type { TokenTransition } from './transition.ts';

/** One configured credential. */
export interface Credential {
  readonly config: CredentialConfig;
  readonly source: ManagedTokenSource;
  /** Whether a person logs in for it. */
  readonly hasLogin: boolean;
  /** Takes a login's answer: exchanges, stores, uses. Throws TokenFailure or GatewayError. Called by login.ts, once a login. */
  redeem(answer: LoginAnswer): Promise<void>;
  /** Takes a SAML assertion into use and obtains a token with it. Throws the attempt's error; gateway.request.invalid for other grants. */
  postAssertion(assertion: Secret): Promise<Token>;
  /** Drops the token and forgets what is stored. The platform is not told. Throws gateway.internal when the store cannot forget. */
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
  /** Stops all timers. Attempts that run are left to end. */
  close(): void;
}

/** `random` is 0 (inclusive) to 1 (exclusive). The store is closed by whoever made it. */
export interface CredentialsDeps {
  readonly config: GatewayConfig;
  readonly transport: TokenTransport;
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly onTransition?: ((transition: TokenTransition) => void) | undefined;
  readonly onTokenRequest?: ((outcome: TokenRequestOutcome) => void) | undefined;
  /** Told each token that is taken into use, wherever it comes from. */
  readonly onSecret?: ((value: string) => void) | undefined;
}

/** Makes the registry; asks nothing of the network before `start()`. */
export function createCredentials(deps: CredentialsDeps): Credentials {
  const { config, transport, clock, log, onTokenRequest, onSecret } = deps;
  const endpoint = createTokenEndpoint({ transport, clock, log, timeoutMs: config.timeouts.tokenMs, onTokenRequest, onSecret });
  const made = config.credentials.map((credential) => createCredential(credential, endpoint, deps));
  const byName = new Map(made.map((one) => [one.credential.config.name, one.credential]));
  const defaultName = defaultCredential(config)?.name;

  return {
    get: (name) => byName.get(name),
    default: () => (defaultName === undefined ? undefined : byName.get(defaultName)),
    list: () => [...byName.values()],
    states: () => Object.fromEntries([...byName].map(([name, { source }]) => [name, source.state()])),
    start() {
      for (const { source } of byName.values()) source.start();
    },
    close() {
      for (const { close } of made) close();
    },
  };
}

function createCredential(config: CredentialConfig, endpoint: ReturnType<typeof createTokenEndpoint>, deps: CredentialsDeps) {
  const { store, clock, random, log, onTransition, onSecret } = deps;
  const { name, grantType } = config;
  const { reauthentication } = deps.config;
  const parts = createCredentialParts({ config, endpoint, store, clock, log });
  const { revision, storeError } = parts;
  const obtain: Obtain = async (request) => {
    const token = await parts.obtain(request);
    onSecret?.(token.accessToken.reveal());
    return token;
  };
  // A given token is only read again, which is no renewal that could be switched off.
  const settings = grantType === 'access_token' ? { ...reauthentication, refreshAccessToken: true } : reauthentication;
  const source = createCachedSource({ name, obtain, clock, random, settings, revision, storeError, log, onTransition });

  const credential: Credential = {
    config,
    source,
    hasLogin: parts.redeem !== undefined,
    async redeem(answer) {
      if (parts.redeem === undefined) throw new GatewayError('gateway.request.invalid', `credential ${name} (${grantType}) has no login`);
      source.accept(await parts.redeem(answer));
    },
    async postAssertion(assertion) {
      if (parts.postAssertion === undefined) {
        throw new GatewayError('gateway.request.invalid', `credential ${name} (${grantType}) takes no assertion`);
      }
      parts.postAssertion(assertion);
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
  return { credential, close };
}
