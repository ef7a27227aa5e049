// Callers that wait for a token: each with its own deadline, all answered together. It starts nothing.

import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import type { Token } from './token.ts';

/** The queue of one source. */
export interface Waiters {
  /** Waits for the next `resolveAll` or `rejectAll`; throws gateway.credential.timeout when the wait ends first. */
  wait(): Promise<Token>;
  resolveAll(token: Token): void;
  rejectAll(error: GatewayError): void;
}

interface Waiter {
  resolve(token: Token): void;
  reject(error: GatewayError): void;
}

/** `waitMaxMs` is `refresh_token_wait_max`, as it is when somebody begins to wait. */
export function createWaiters(deps: { name: string; clock: Clock; waitMaxMs: () => number }): Waiters {
  const { name, clock } = deps;
  let waiting = new Set<Waiter>();

  const takeAll = () => {
    const taken = waiting;
    waiting = new Set();
    return taken;
  };

  return {
    wait: () =>
      new Promise<Token>((resolve, reject) => {
        const waitMaxMs = deps.waitMaxMs();
        const timer = clock.after(waitMaxMs, () => {
          waiting.delete(waiter);
          reject(new GatewayError('gateway.credential.timeout', `no token for credential ${name} came within ${waitMaxMs / 1000} s`));
        });
        const waiter: Waiter = {
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
      for (const waiter of takeAll()) waiter.resolve(token);
    },
    rejectAll: (error) => {
      for (const waiter of takeAll()) waiter.reject(error);
    },
  };
}
