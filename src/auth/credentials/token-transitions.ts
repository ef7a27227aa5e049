// The changes of a token's state as the log and the metrics are told them, each once.

import type { Log } from '../../logging/log.ts';
import type { RenewalState, TokenFailure, TokenState, TokenTransition } from './token-source.ts';

/** Of whom, and who is told. */
export interface TokenTransitionsDeps {
  /** Of the credential or session. */
  readonly name: string;
  /** The number of one of several tokens, from 2 on. */
  readonly number?: number | undefined;
  readonly log: Log;
  readonly onTransition?: ((transition: TokenTransition) => void) | undefined;
  /** Whether calls may do without it: a login that nobody has made yet is no trouble then. */
  readonly isOptional?: boolean;
}

/** Both halves of a state, and what belongs to it. */
export interface ReportedState {
  readonly token: TokenState;
  readonly renewal: RenewalState;
  readonly fingerprint: string | null;
  /** Whether there ever was a token. */
  readonly hadToken: boolean;
  readonly nextAttemptInMs: number | null;
  /** The failure that led to it, where one did. */
  readonly failure: TokenFailure | null;
}

/** Tells of one source. */
export class TokenTransitions {
  readonly #deps: TokenTransitionsDeps;
  /** The pair that was told last. */
  #told: Pick<ReportedState, 'token' | 'renewal'> = { token: 'none', renewal: 'idle' };
  /** Whether the last record of a change was a `warn`. */
  #isInTrouble = false;

  constructor(deps: TokenTransitionsDeps) {
    this.#deps = deps;
  }

  /**
   * Tells of a change of either half by one call and one log record: `warn` where somebody should look, `info` when that
   * is over, else `debug`. Does nothing where neither has changed.
   */
  note(state: ReportedState): void {
    const { token, renewal, fingerprint, nextAttemptInMs, failure } = state;
    const from = this.#told;
    if (token === from.token && renewal === from.renewal) return;
    this.#told = { token, renewal };
    const { name: credential, number, log, onTransition } = this.#deps;
    const transition: TokenTransition = {
      credential,
      ...(number !== undefined && { number }),
      fromToken: from.token,
      toToken: token,
      fromRenewal: from.renewal,
      toRenewal: renewal,
      fingerprint,
      errorCode: failure?.error.code ?? null,
      nextAttemptInMs: nextAttemptInMs === null ? null : Math.round(nextAttemptInMs),
    };
    // What there is nothing to say about is left out, as in each record.
    const fields = Object.entries({ ...transition, error: failure?.error.message ?? null });
    log[this.#levelOf(state)](Object.fromEntries(fields.filter(([, value]) => value !== null)), 'token state');
    onTransition?.(transition);
  }

  #levelOf({ token, renewal, hadToken, failure }: ReportedState): 'warn' | 'info' | 'debug' {
    if (failure !== null || token === 'expired') {
      // Nobody has logged in yet, and nobody needs to.
      if (failure?.kind === 'login_required' && this.#deps.isOptional === true && !hadToken) return 'info';
      this.#isInTrouble = true;
      return 'warn';
    }
    if (!this.#isInTrouble || renewal !== 'idle') return 'debug';
    this.#isInTrouble = false;
    return 'info';
  }
}
