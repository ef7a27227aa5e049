// Tells the world that a credential's state changed: one log record and one callback for each change. It decides
// nothing.

import type { ErrorCode } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import type { RenewalState, TokenState } from './token-source.ts';

/** One change of state. Holds no secret. */
export interface TokenTransition {
  readonly credential: string;
  readonly fromToken: TokenState;
  readonly toToken: TokenState;
  readonly fromRenewal: RenewalState;
  readonly toRenewal: RenewalState;
  readonly fingerprint: string | null;
  /** The failure that caused it, where one did. */
  readonly errorCode: ErrorCode | null;
  readonly nextAttemptInMs: number | null;
}

/** Both halves of the state at one moment. */
export interface StatePair {
  readonly token: TokenState;
  readonly renewal: RenewalState;
}

/** Remembers what was last told, so that each change is told once. */
export interface TransitionReporter {
  report(
    now: StatePair,
    details: {
      fingerprint: string | null;
      error: { code: ErrorCode; message: string } | null;
      nextAttemptInMs: number | null;
    },
  ): void;
}

/** `warn` for a state somebody should look at, else `info`. */
export function createTransitionReporter(deps: {
  name: string;
  log: Log;
  onTransition?: ((transition: TokenTransition) => void) | undefined;
}): TransitionReporter {
  const { name, log, onTransition } = deps;
  let told: StatePair = { token: 'none', renewal: 'idle' };
  return {
    report(now, { fingerprint, error, nextAttemptInMs }) {
      if (now.token === told.token && now.renewal === told.renewal) return;
      const from = told;
      told = { token: now.token, renewal: now.renewal };
      const transition: TokenTransition = {
        credential: name,
        fromToken: from.token,
        toToken: now.token,
        fromRenewal: from.renewal,
        toRenewal: now.renewal,
        fingerprint,
        errorCode: error?.code ?? null,
        nextAttemptInMs,
      };
      const isTrouble = error !== null || now.token === 'expired';
      const fields = error === null ? transition : { ...transition, error: error.message };
      log[isTrouble ? 'warn' : 'info']({ ...fields }, 'token state');
      onTransition?.(transition);
    },
  };
}
