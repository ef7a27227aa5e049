// Catches the signals of the process from its first moment, before anything slow is loaded, and keeps them until a
// listener takes them. Without this a SIGHUP during the start ends the process, a SIGTERM ends it by the signal instead
// of an exit code, and process 1 never receives it. A file of its own, so that it loads before all others.

import { setImmediate as nextTurn } from 'node:timers/promises';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/** A signal that is caught. */
export type HeldSignal = (typeof SIGNALS)[number];

/** Created once, as early as possible. */
export class HeldSignals {
  #came: HeldSignal[] = [];
  readonly #hold = (signal: NodeJS.Signals) => {
    this.#came.push(signal as HeldSignal);
  };

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#hold);
  }

  /** From now on `listener` receives these signals, first those that have come already, in their order. */
  take(signals: readonly HeldSignal[], listener: (signal: HeldSignal) => void): void {
    for (const signal of signals) process.on(signal, listener as NodeJS.SignalsListener).off(signal, this.#hold);
    const came = this.#came.filter((signal) => signals.includes(signal));
    this.#came = this.#came.filter((signal) => !signals.includes(signal));
    for (const signal of came) listener(signal);
  }

  /**
   * Restores the default effect of all signals but SIGUSR1, also for those that have come already: for commands that
   * serve nothing.
   */
  async release(): Promise<void> {
    // A signal that has just come is emitted one turn later, and would be lost with its listener.
    await nextTurn();
    // SIGUSR1 stays caught: it would start the inspector, which shows whoever connects every secret in memory.
    const released = SIGNALS.filter((signal) => signal !== 'SIGUSR1');
    for (const signal of released) process.off(signal, this.#hold);
    for (const signal of this.#came.splice(0)) if (signal !== 'SIGUSR1') process.kill(process.pid, signal);
  }
}
