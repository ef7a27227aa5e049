// SAML assertions for the grant saml2_bearer: posted, from a file or setting, or printed by a command (an argv, no
// shell, a deadline).

import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { Secret } from '../../secret.ts';
import { runSecretCommand } from '../../secret-command.ts';
import { TokenFailure, toTokenFailure } from './token-source.ts';

/** The assertions of one credential. A posted one lives in memory only. */
export interface Assertions {
  /** The posted assertion, else the configured one. Throws TokenFailure `login_required` when there is none. */
  read(): Promise<Secret>;
  /** Uses `assertion` until the platform refuses it. */
  post(assertion: Secret): void;
  /** To be called when the platform refused `assertion`: forgets it if it was posted; returns the caller's error. */
  refused(assertion: Secret): TokenFailure;
}

/** Runs nothing before `read()`. */
export function createAssertions(config: CredentialConfig, clock: Clock): Assertions {
  const { name, assertion, assertionCommand } = config;
  const advice = `send a fresh one to POST /-/credentials/${name}/assertion`;
  let posted: Secret | null = null;
  return {
    async read() {
      if (posted !== null) return posted;
      if (assertion !== null) return assertion.read();
      if (assertionCommand.length > 0) return runAssertionCommand(assertionCommand, clock);
      throw new TokenFailure('login_required', `credential ${name} has no SAML assertion: ${advice}`);
    },
    post(fresh) {
      posted = fresh;
    },
    refused(used) {
      const code = 'gateway.login.required';
      const what = `the SAML assertion of credential ${name} was refused`;
      const isPosted = posted !== null && posted.reveal() === used.reveal();
      if (isPosted) posted = null;
      if (isPosted && assertion === null && assertionCommand.length === 0) {
        return new TokenFailure('login_required', `${what}: ${advice}`, { code });
      }
      const origin = assertion?.origin ?? 'assertion_command';
      return new TokenFailure('refused', `${what}: renew the one from ${origin}, or ${advice}`, { code });
    },
  };
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
