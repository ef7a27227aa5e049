// What a mode of the benchmark is: something that is measured of all contestants in interleaved rounds.

import type { Contestant, Running, Scene } from '../contestants.ts';
import type { Results } from '../measure.ts';

/** Numbers of the command line; those that a mode does not know it does not use. */
export interface Sizes {
  readonly rounds: number | null;
  readonly requests: number;
  readonly connections: number;
  readonly idleConnections: number;
  readonly rate: number;
  readonly seconds: number;
  readonly mib: number;
  readonly pauses: readonly number[];
  readonly roundTripMs: number;
  readonly upstreamIdleSeconds: number;
}

export interface Mode {
  readonly name: string;
  /** One line for --help. */
  readonly about: string;
  run(contestants: readonly Contestant[], sizes: Sizes): Promise<Results[]>;
}

/** Starts all, one after the other; each has answered once. */
export async function startAll(scene: Scene, contestants: readonly Contestant[]): Promise<Running[]> {
  const running: Running[] = [];
  for (const contestant of contestants) running.push(await scene.start(contestant));
  return running;
}

/** Each in every round, and each first in its turn: what else the machine does falls on all alike. */
export async function interleave<T>(rounds: number, all: readonly T[], measure: (one: T) => Promise<void>) {
  for (let round = 0; round < rounds; round += 1)
    for (let at = 0; at < all.length; at += 1) await measure(all[(round + at) % all.length] as T);
}
