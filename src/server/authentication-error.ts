// How a request that is not authenticated is refused: what the caller is told, and whether it counts as a guess. Who is
// authenticated by what is decided elsewhere.

import { holdsHandle } from '../auth/callers/caller.ts';
import type { Bar } from '../auth/callers/standing.ts';
import { GatewayError } from '../errors.ts';

/**
 * 401 for a caller that did not authenticate. `isGuess`: a wrong secret was shown, so the response is delayed when that
 * repeats.
 */
export class AuthenticationError extends GatewayError {
  readonly isGuess: boolean;

  constructor(message: string, isGuess: boolean) {
    super('gateway.client.unauthenticated', message);
    this.isGuess = isGuess;
  }
}

/** Whether an error refuses a secret that somebody tried; a call without any proof guesses nothing. */
export function isFailedAuthentication(error: unknown): boolean {
  return error instanceof AuthenticationError && error.isGuess;
}

/** A 401 that says how to authenticate. */
export function unauthenticated(what: string, isGuess = true): AuthenticationError {
  const advice = 'send its secret as Bearer, as Basic NAME:secret or in X-Gateway-Key (`gcg client add` makes one)';
  return new AuthenticationError(`${what}: ${advice}`, isGuess);
}

/** The refusal of a key of the live page. */
export function wrongPageKey(): AuthenticationError {
  return new AuthenticationError(
    'this key of the live page is not good any more, or never was: the gateway was started again, or the key was idle ' +
      'too long; `gcg open` opens the page with another one',
    true,
  );
}

/**
 * The refusal of a client that has proved who it is. From a wrong address a right secret counts as a guess: it may have
 * been stolen.
 */
export function barred({ reason, message }: Bar, caller: Parameters<typeof holdsHandle>[0]): GatewayError {
  if (reason !== 'address' && holdsHandle(caller)) return new GatewayError('gateway.session.ended', message);
  return new AuthenticationError(message, reason === 'address');
}

/** 403 for proofs of different callers in one request. */
export function contradicted(): GatewayError {
  return new GatewayError(
    'gateway.client.forbidden',
    'the proofs in this request belong to different callers: send one of them',
  );
}
