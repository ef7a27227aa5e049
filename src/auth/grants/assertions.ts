// Where a SAML2 credential's assertion comes from: one posted by an admin, else the configured secret, else the configured command.

import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import type { Secret } from '../../config/secret.ts';
import { TokenFailure } from '../token-failure.ts';
import { runAssertionCommand } from './assertion-command.ts';

/** The assertions of one credential. A posted one lives in memory only. */
export interface Assertions {
  /** Throws TokenFailure `login_required` when there is none. */
  read(): Promise<Secret>;
  /** Takes one into use until the platform refuses it. */
  post(assertion: Secret): void;
  /** The platform refused `assertion`: forgets it if it was posted; answers what the caller is to be told. */
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
      const isPosted = posted !== null && posted.reveal() === used.reveal();
      if (isPosted) posted = null;
      if (isPosted && assertion === null && assertionCommand.length === 0) {
        return new TokenFailure('login_required', `the SAML assertion of credential ${name} was refused: ${advice}`, { code });
      }
      const origin = assertion?.origin ?? 'assertion_command';
      const message = `the SAML assertion of credential ${name} was refused: renew the one from ${origin}, or ${advice}`;
      return new TokenFailure('refused', message, { code });
    },
  };
}
