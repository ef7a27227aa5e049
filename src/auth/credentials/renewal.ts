// One attempt to acquire a token: what is known of it while it runs, and the failures that nobody but us makes.

import { type AcquireReason, type Token, TokenFailure } from './token-source.ts';

/**
 * No renewal delays the next for longer than this: above every deadline inside one (token request, assertion command,
 * lock).
 */
export const RENEWAL_MAX_MS = 60_000;

/** A renewal that runs, or the last one. */
export interface Renewal {
  readonly promise: Promise<Token>;
  readonly reason: AcquireReason;
  /** Epoch ms. */
  readonly begunAt: number;
  /** Its outcome no longer decides: it took too long, or a token came from elsewhere. */
  isSuperseded: boolean;
  /** Its token is not wanted any more: somebody logged out meanwhile. */
  isAbandoned: boolean;
}

/** The failure of a renewal that did not end in time. */
export function tookTooLong(name: string): TokenFailure {
  const seconds = RENEWAL_MAX_MS / 1000;
  return new TokenFailure('transient', `obtaining a token for credential ${name} took longer than ${seconds} s`);
}

/** The failure where renewal is switched off and the token has ended, or `isRefused`. */
export function renewalIsOff(name: string, isRefused: boolean): TokenFailure {
  const what = isRefused ? 'was refused by the upstream' : 'has ended';
  const advice = `renew it by POST /-/credentials/${name}/refresh`;
  const message = `the token of credential ${name} ${what} and refresh_access_token is off: ${advice}`;
  return new TokenFailure('login_required', message);
}
