// How long each phase of a dial took, and since when its connection is free: kept on the socket itself, for whoever
// shows where the time of a call went. Stamped for every connection: there are few.

import type { DialPhases } from '../../logging/call-trace.ts';

type Phase = keyof DialPhases;

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
