// How long each phase of a dial took, and since when its connection is free: kept on the socket itself, for whoever
// shows where the time of a call went. Stamped for every connection: there are few.

import type { DialPhases } from '../../logging/call-trace.ts';

type Phase = keyof DialPhases;

/** In their order. */
const PHASES: readonly Phase[] = ['dns', 'tcp', 'proxy', 'tls'];

/** The times of one connection, in ms. */
export class ConnectionTimes implements DialPhases {
  dns: number | null = null;
  tcp: number | null = null;
  proxy: number | null = null;
  tls: number | null = null;
  /** When it was there; infinite before. */
  readyAt = Number.POSITIVE_INFINITY;
  /** Since when no attempt uses it; null while one does, and where nobody noted it. */
  freeSince: number | null = null;
  /** The stretch of being watched in which it was used last. */
  usedInPeriod = 0;
  readonly #now: () => number;
  #phase: Phase | null = null;
  #phaseBeganAt = 0;

  /** `now`: monotonic ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A phase begins, and the one before it is over. One that comes again, as with a second route, adds to its time. */
  enter(phase: Phase): void {
    this.#leave();
    this.#phase = phase;
  }

  /** The dial is over: the connection is there. */
  ready(): void {
    this.failed();
    this.readyAt = this.#phaseBeganAt;
  }

  /** What of its phases came after `at`: a dial that began in the background began before the attempt that takes it. */
  since(at: number): DialPhases {
    let before = at - this.readyAt;
    for (const phase of PHASES) before += this[phase] ?? 0;
    if (before <= 0) return this;
    const left: Record<Phase, number | null> = { dns: null, tcp: null, proxy: null, tls: null };
    for (const phase of PHASES) {
      const ms = this[phase];
      if (ms === null) continue;
      const cut = Math.min(ms, before);
      before -= cut;
      left[phase] = ms - cut;
    }
    return left;
  }

  /** The attempt that used it is over, and it can be used again. */
  freed(at: number): void {
    this.freeSince = at;
  }

  /** The dial is over, in the phase that it was in. */
  failed(): void {
    this.#leave();
    this.#phase = null;
  }

  #leave(): void {
    const now = this.#now();
    if (this.#phase !== null) this[this.#phase] = (this[this.#phase] ?? 0) + now - this.#phaseBeganAt;
    this.#phaseBeganAt = now;
  }
}

const TIMES = Symbol('connection times');

type Timed = { [TIMES]?: ConnectionTimes };

/** Keeps the times on what a dial gave: the socket, or the error that it failed by. */
export function keepTimes(outcome: object, times: ConnectionTimes): void {
  (outcome as Timed)[TIMES] = times;
}

/** The times of a socket, or of the dial that an error ended; undefined for what no dial gave. */
export function timesOf(outcome: object): ConnectionTimes | undefined {
  return (outcome as Timed)[TIMES];
}
