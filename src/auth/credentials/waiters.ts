// Callers that wait for a token: each has its own deadline, and all are answered together, by a token or by the failure
// of a renewal when the next one comes too late for them. Starts no renewal.

import type { Clock } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import type { Token } from './token-source.ts';

interface Waiter {
  readonly endsMono: number;
  resolve(token: Token): void;
  reject(error: GatewayError): void;
}

/** The queue of one source. */
export class Waiters {
  readonly #name: string;
  readonly #clock: Clock;
  /** In the order of their arrival. */
  #waiting = new Set<Waiter>();

  /** `name` is the credential's, for messages. */
  constructor(name: string, clock: Clock) {
    this.#name = name;
    this.#clock = clock;
  }

  /** Throws what `reject` is given, or gateway.credential.timeout when the wait of `waitMs` ends first. */
  wait(waitMs: number): Promise<Token> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(waitMs, () => {
        this.#waiting.delete(waiter);
        const what = `no token for credential ${this.#name} came within ${Math.round(waitMs / 100) / 10} s`;
        reject(new GatewayError('gateway.credential.timeout', what));
      });
      const waiter: Waiter = {
        endsMono: this.#clock.monotonic() + waitMs,
        resolve(token) {
          timer.cancel();
          resolve(token);
        },
        reject(error) {
          timer.cancel();
          reject(error);
        },
      };
      this.#waiting.add(waiter);
    });
  }

  resolveAll(token: Token): void {
    const served = this.#waiting;
    this.#waiting = new Set();
    for (const waiter of served) waiter.resolve(token);
  }

  /** Ends every wait that will be over at `nextAttemptMono`, when the next renewal begins; `Infinity`: never. */
  reject(error: GatewayError, nextAttemptMono: number): void {
    for (const waiter of this.#waiting) {
      if (waiter.endsMono > nextAttemptMono) continue;
      this.#waiting.delete(waiter);
      waiter.reject(error);
    }
  }
}
