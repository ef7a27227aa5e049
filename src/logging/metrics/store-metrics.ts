// The metrics of a store that instances share. There are none of a store of one process alone.

import { Counter, type Family, Histogram, sampled } from './metric-family.ts';

/** How that store is, looked up at each scrape. */
export interface StoreSample {
  readonly isUp: boolean;
  readonly gaps: number;
  readonly toldAgain: number;
  readonly unwritten: number;
  /** This one among them; as known last. */
  readonly instances: number;
  /** Waits for locks that another instance held, by how they ended. */
  readonly lockWaits: Readonly<Record<string, number>>;
  /** Tokens taken into use that another instance obtained. */
  readonly tokensFromPeers: number;
  /** Of limits: permits that were got, by what for; and calls that were let go without one. */
  readonly permits: Readonly<Record<string, number>>;
  /** How long each instance paced itself. */
  readonly degradedSeconds: number;
}

/** A script or a command takes microseconds there, and a network between machines one or two ms. */
const BUCKETS: readonly number[] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];

/** Counts the commands, and knows the families. */
export class StoreMetrics {
  readonly #commands = new Counter(
    'gcg_store_commands_total',
    'Scripts and commands sent to the shared store, by how they ended: ok, refused, late, lost, or offline (not sent).',
  );
  readonly #seconds = new Histogram({}, BUCKETS);

  /** `script` is one of a fixed set of names. */
  command(script: string, result: string, seconds: number): void {
    this.#commands.inc({ script, result });
    if (result === 'ok') this.#seconds.observe(seconds);
  }

  families(store: () => StoreSample | null): readonly Family[] {
    const of = (pick: (sample: StoreSample) => number) => () => {
      const sample = store();
      return sample === null ? [] : [{ labels: {}, value: pick(sample) }];
    };
    return [
      sampled(
        'gauge',
        'gcg_store_up',
        '1 while the shared store answers in time and takes writes; absent without one.',
        of(({ isUp }) => (isUp ? 1 : 0)),
      ),
      this.#commands.family,
      {
        name: 'gcg_store_seconds',
        help: 'Time from sending a command to the shared store to its reply.',
        type: 'histogram',
        collect: () => (store() === null ? [] : this.#seconds.samples()),
      },
      sampled(
        'counter',
        'gcg_store_gaps_total',
        'Times in which the shared store was away, slow or another one, so that something may have been missed.',
        of(({ gaps }) => gaps),
      ),
      sampled(
        'counter',
        'gcg_store_told_again_total',
        'Records that were written again because the shared store had lost them.',
        of(({ toldAgain }) => toldAgain),
      ),
      sampled(
        'gauge',
        'gcg_store_unwritten',
        'Records that the shared store has not taken yet: they are in this process alone, or in its spool.',
        of(({ unwritten }) => unwritten),
      ),
      sampled(
        'gauge',
        'gcg_instances',
        'Instances that gave a sign of life in the last minute.',
        of(({ instances }) => instances),
      ),
      sampled(
        'counter',
        'gcg_lock_waits_total',
        'Waits for the lock of a renewal that another instance held: taken afterwards, timeout, or failed (the store).',
        () => Object.entries(store()?.lockWaits ?? {}).map(([result, value]) => ({ labels: { result }, value })),
      ),
      sampled(
        'counter',
        'gcg_token_from_peer_total',
        'Tokens taken into use that another instance had obtained.',
        of(({ tokensFromPeers }) => tokensFromPeers),
      ),
      sampled(
        'counter',
        'gcg_quota_permits_total',
        'Places in shared limits: asked for calls that waited, spare to have at hand, alone for calls let go without.',
        () => Object.entries(store()?.permits ?? {}).map(([source, value]) => ({ labels: { source }, value })),
      ),
      sampled(
        'counter',
        'gcg_quota_degraded_seconds_total',
        'Time in which limits were not shared: each instance paced itself.',
        of(({ degradedSeconds }) => degradedSeconds),
      ),
    ];
  }
}
