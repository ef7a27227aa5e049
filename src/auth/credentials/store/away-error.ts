// The failure of a shared store that is away or refuses: what the connection threw, in the store's terms.

import { RedisError } from '../../../redis/redis-error.ts';
import { StoreError } from './store.ts';

/** A failure of the connection, as the store tells it. */
export class AwayError extends StoreError {
  /** The server may do it all the same, now or later. */
  readonly isUncertain: boolean;

  constructor(code: 'absent' | 'unwritable', message: string, isUncertain: boolean) {
    super(code, message);
    this.isUncertain = isUncertain;
  }
}

/** What the connection threw, as the store throws it. */
export function awayError(error: unknown): AwayError {
  if (!(error instanceof RedisError)) return new AwayError('absent', 'the store failed', true);
  const { kind, message, isUncertain } = error;
  return new AwayError(kind === 'refused' ? 'unwritable' : 'absent', message, isUncertain);
}
