// What time it is at the server: its TIME, asked again and again, moved to our monotonic clock by the round trip of the
// last minute that tells it best. It asks nothing itself.

import type { Clock } from '../clock.ts';

/** A sample counts for this long. */
const SAMPLE_LIFE_MS = 60_000;

/** Clocks drift by this much in the life of a sample; the server's has a granularity of its own besides. */
const DRIFT_MS = 10;

interface Sample {
  /** Monotonic time of the reply. */
  readonly at: number;
  readonly roundTripMs: number;
  /** Server time less monotonic time: somewhere within half a round trip of this. */
  readonly offsetMs: number;
}

/** The server's time by our clock. */
export class TimeOffset {
  readonly #clock: Clock;
  #samples: Sample[] = [];
  #best: Sample | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Adds what the server replied: asked and received by the monotonic clock, its time in epoch ms. */
  add(askedAt: number, receivedAt: number, serverMs: number): void {
    const roundTripMs = Math.max(0, receivedAt - askedAt);
    const sample = { at: receivedAt, roundTripMs, offsetMs: serverMs - (askedAt + receivedAt) / 2 };
    const oldest = receivedAt - SAMPLE_LIFE_MS;
    // Two that cannot both be right: another server, its clock was set, or this machine slept. The later one is.
    const isDisproved = this.#best !== null && !agree(this.#best, sample);
    this.#samples = isDisproved ? [sample] : [...this.#samples.filter(({ at }) => at >= oldest), sample];
    this.#best = this.#samples.reduce((a, b) => (b.roundTripMs <= a.roundTripMs ? b : a));
  }

  /** The round trip of the best sample, which is off by half of it at most; null before the first. */
  get roundTripMs(): number | null {
    return this.#best?.roundTripMs ?? null;
  }

  /** The server's time now, epoch ms; our own where none was heard yet. */
  now(): number {
    return this.#best === null ? this.#clock.now() : this.#clock.monotonic() + this.#best.offsetMs;
  }

  /** How far the server's clock is ahead of our wall clock. */
  get aheadMs(): number {
    return this.#best === null ? 0 : this.now() - this.#clock.now();
  }
}

function agree(a: Sample, b: Sample): boolean {
  return Math.abs(a.offsetMs - b.offsetMs) <= (a.roundTripMs + b.roundTripMs) / 2 + DRIFT_MS;
}
