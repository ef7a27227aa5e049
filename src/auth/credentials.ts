// All configured credentials, each with its own source of tokens. Nothing is shared between two of them but the network and the store.

import type { Clock } from '../clock.ts';
import { type CredentialConfig, defaultCredential, type GatewayConfig } from '../config/gateway-config.ts';
import type { Log } from '../logging/log.ts';
import { createCachedSource, type ManagedTokenSource } from './cached-source.ts';
import { OBTAIN } from './grants/perform.ts';
import { secretsRevision } from './secrets-revision.ts';
import type { TokenStore } from './store/store.ts';
import { createTokenEndpoint, type TokenRequestOutcome, type TokenTransport } from './token-endpoint.ts';
import type { CredentialState } from './token-source.ts';
import type { TokenTransition } from './transition.ts';

/** One configured credential. */
export interface Credential {
  readonly config: CredentialConfig;
  readonly source: ManagedTokenSource;
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
}

/** Makes the registry; asks nothing of the network before `start()`. */
export function createCredentials(deps: CredentialsDeps): Credentials {
  const { config, transport, clock, random, log, onTransition, onTokenRequest } = deps;
  const endpoint = createTokenEndpoint({ transport, clock, log, timeoutMs: config.timeouts.tokenMs, onTokenRequest });

  const byName = new Map<string, Credential>();
  for (const credential of config.credentials) {
    const { name, grantType } = credential;
    // A given token is only read again, which is no renewal that could be switched off.
    const settings = grantType === 'access_token' ? { ...config.reauthentication, refreshAccessToken: true } : config.reauthentication;
    const source = createCachedSource({
      name,
      obtain: OBTAIN[grantType]({ config: credential, endpoint, clock }),
      clock,
      random,
      settings,
      revision: secretsRevision([credential.clientSecret, credential.assertion, credential.accessToken, credential.refreshToken]),
      log,
      onTransition,
    });
    byName.set(name, { config: credential, source });
  }
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
      for (const { source } of byName.values()) source.close();
    },
  };
}
