// Callers that wait for a token: each with its own deadline, answered together by a token, or by a failure when the
// next attempt comes too late for them. It starts nothing.

import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import type { Token } from './token-source.ts';

/** The queue of one source. */
export interface Waiters {
  /**
   * Waits for a token, `waitMs` at most; throws what `reject` is given, or gateway.credential.timeout when the wait
   * ends first.
   */
  wait(waitMs: number): Promise<Token>;
  resolveAll(token: Token): void;
  /**
   * Ends the wait of everybody who would not be there any more at `nextAttemptMono`, when the next attempt begins;
   * `Infinity`: there is none.
   */
  reject(error: GatewayError, nextAttemptMono: number): void;
}

interface Waiter {
  readonly endsMono: number;
  resolve(token: Token): void;
  reject(error: GatewayError): void;
}

/** `name` is the credential's, for messages. */
export function createWaiters({ name, clock }: { name: string; clock: Clock }): Waiters {
  let waiting = new Set<Waiter>();

  return {
    wait: (waitMs) =>
      new Promise<Token>((resolve, reject) => {
        const timer = clock.after(waitMs, () => {
          waiting.delete(waiter);
          const seconds = Math.round(waitMs / 100) / 10;
          reject(
            new GatewayError('gateway.credential.timeout', `no token for credential ${name} came within ${seconds} s`),
          );
        });
        const waiter: Waiter = {
          endsMono: clock.monotonic() + waitMs,
          resolve: (token) => {
            timer.cancel();
            resolve(token);
          },
          reject: (error) => {
            timer.cancel();
            reject(error);
          },
        };
        waiting.add(waiter);
      }),
    resolveAll: (token) => {
      const served = waiting;
      waiting = new Set();
      for (const waiter of served) waiter.resolve(token);
    },
    reject: (error, nextAttemptMono) => {
      for (const waiter of waiting) {
        if (waiter.endsMono > nextAttemptMono) continue;
        waiting.delete(waiter);
        waiter.reject(error);
      }
    },
  };
}
