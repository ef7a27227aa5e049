// SAML assertions for the grant saml2_bearer: posted, from a file or setting, or printed by a command (an argv, no
// shell, a deadline).

import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { Secret } from '../../secret.ts';
import { runSecretCommand } from '../../secret-command.ts';
import { nextGeneration, type StoredToken, type StoreKey, type TokenStore } from './store/store.ts';
import { TokenFailure, toTokenFailure } from './token-source.ts';

/** The assertions of one credential. A posted one lives in memory, and in a store that instances share. */
export interface Assertions {
  /**
   * The posted assertion, at whatever instance, else the configured one. Throws TokenFailure `login_required` when there
   * is none.
   */
  read(): Promise<Secret>;
  /** Uses `assertion` until the platform refuses it. Never throws: where others cannot be told, it is used here. */
  post(assertion: Secret): Promise<void>;
  /** To be called when the platform refused `assertion`: forgets it if it was posted; returns the caller's error. */
  refused(assertion: Secret): TokenFailure;
}

/** Where a posted assertion reaches the other instances. */
export interface AssertionShare {
  readonly store: TokenStore;
  /** Of the credential's tokens. */
  readonly key: StoreKey;
}

/** The platform takes an assertion for minutes, and nobody would look for one of yesterday. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/** Runs nothing before `read()`. */
export function createAssertions(config: CredentialConfig, clock: Clock, share: AssertionShare): Assertions {
  const { name, assertion, assertionCommand } = config;
  const advice = `send a fresh one to POST /-/credentials/${name}/assertion`;
  const shared = share.store.isShared ? new SharedAssertion(share, clock) : null;
  let posted: Secret | null = null;
  return {
    async read() {
      const elsewhere = await shared?.read();
      if (elsewhere !== undefined) posted = elsewhere;
      if (posted !== null) return posted;
      if (assertion !== null) return assertion.read();
      if (assertionCommand.length > 0) return runAssertionCommand(assertionCommand, clock);
      throw new TokenFailure('login_required', `credential ${name} has no SAML assertion: ${advice}`);
    },
    async post(fresh) {
      posted = fresh;
      await shared?.post(fresh);
    },
    refused(used) {
      const code = 'gateway.login.required';
      const what = `the SAML assertion of credential ${name} was refused`;
      const isPosted = posted !== null && posted.reveal() === used.reveal();
      if (isPosted) {
        posted = null;
        void shared?.forget(used);
      }
      if (isPosted && assertion === null && assertionCommand.length === 0) {
        return new TokenFailure('login_required', `${what}: ${advice}`, { code });
      }
      const origin = assertion?.origin ?? 'assertion_command';
      return new TokenFailure('refused', `${what}: renew the one from ${origin}, or ${advice}`, { code });
    },
  };
}

/** The posted assertion of one credential in a shared store. Never throws. */
class SharedAssertion {
  readonly #store: TokenStore;
  readonly #key: StoreKey;
  readonly #clock: Clock;

  constructor({ store, key }: AssertionShare, clock: Clock) {
    this.#store = store;
    // No name of a credential has a # in it.
    this.#key = { ...key, name: `${key.name}#assertion` };
    this.#clock = clock;
  }

  /** Null where there is none; undefined where the store does not say. */
  async read(): Promise<Secret | null | undefined> {
    try {
      return (await this.#store.get(this.#key))?.value.accessToken ?? null;
    } catch {
      // What was posted here is used as long as nobody can say more.
      return undefined;
    }
  }

  async post(assertion: Secret): Promise<void> {
    const now = this.#clock.now();
    const existing = await this.#store.get(this.#key).catch(() => null);
    const value: StoredToken = {
      accessToken: assertion,
      refreshToken: null,
      expiresAt: 0,
      obtainedAt: now,
      initialFingerprint: null,
      generation: nextGeneration(existing, now),
    };
    // A store that is away is told later.
    await this.#store.put(this.#key, value, { keptForMs: KEPT_MS }).catch(() => undefined);
  }

  /** Does nothing where another one was posted meanwhile. */
  async forget(assertion: Secret): Promise<void> {
    const stored = await this.read();
    if (stored?.reveal() === assertion.reveal()) await this.#store.delete(this.#key).catch(() => undefined);
  }
}

const LARGEST_ASSERTION_BYTES = 1024 * 1024;

/** What the command prints, as `runSecretCommand` runs it. Throws a transient TokenFailure when there is nothing. */
export async function runAssertionCommand(
  argv: readonly string[],
  clock: Clock,
  environment?: NodeJS.ProcessEnv,
): Promise<Secret> {
  const key = 'assertion_command';
  try {
    const run = { key, clock, environment, mostBytes: LARGEST_ASSERTION_BYTES };
    const output = (await runSecretCommand(argv, run)).trim();
    if (output === '') throw new TokenFailure('transient', `${key} ${argv[0]} printed nothing`);
    return new Secret(output);
  } catch (thrown) {
    throw toTokenFailure(thrown);
  }
}
