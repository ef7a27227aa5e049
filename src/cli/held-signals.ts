// The signals of the process from its first moment, before anything slow is loaded: until somebody takes them they are
// kept, not obeyed. Without this a SIGHUP during the start ends the process, a SIGTERM does so with a signal instead of
// a code, and process 1 never hears it.

import { setImmediate as nextTurn } from 'node:timers/promises';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/** A signal that is held. */
export type HeldSignal = (typeof SIGNALS)[number];

/** Made once, as early as possible. Imports nothing slow, so that it can be. */
export class HeldSignals {
  #came: HeldSignal[] = [];
  readonly #hold = (signal: NodeJS.Signals) => {
    this.#came.push(signal as HeldSignal);
  };

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#hold);
  }

  /** From now on these go to `listener`, those that came meanwhile first, in their order. */
  take(signals: readonly HeldSignal[], listener: (signal: HeldSignal) => void): void {
    for (const signal of signals) process.on(signal, listener as NodeJS.SignalsListener).off(signal, this.#hold);
    const came = this.#came.filter((signal) => signals.includes(signal));
    this.#came = this.#came.filter((signal) => !signals.includes(signal));
    for (const signal of came) listener(signal);
  }

  /**
   * From now on each but SIGUSR1 does what it does to any program, and what came meanwhile does it now: for commands
   * that serve nobody.
   */
  async letGo(): Promise<void> {
    // One that has come is told in the turn after, and would be lost with its listener.
    await nextTurn();
    // SIGUSR1 is held for good: it would start the inspector, which shows whoever connects every secret in memory.
    const released = SIGNALS.filter((signal) => signal !== 'SIGUSR1');
    for (const signal of released) process.off(signal, this.#hold);
    for (const signal of this.#came.splice(0)) if (signal !== 'SIGUSR1') process.kill(process.pid, signal);
  }
}
