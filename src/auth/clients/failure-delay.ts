// Slows a peer that keeps failing to prove itself: how long its next refusal is held back. Bounded in peers and in answers held; locks nobody out.

import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';

/** Failures of one peer that cost nothing: a typing error, a rotated secret. */
const FREE_FAILURES = 3;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8_000;
/** A peer without a failure for this long begins anew. */
const FORGET_MS = 10 * 60_000;
const MAX_PEERS = 10_000;
/** Refusals held back at a time, over all peers and for one. Beyond that a refusal goes out at once and its connection is closed. */
const MAX_HELD = 256;
const MAX_HELD_OF_ONE = 16;

/** The table. A right secret is never delayed, whatever its peer did: on loopback all callers are one peer. */
export interface FailureDelay {
  /** Notes a failure and settles when the refusal may go out; `isOverflow` tells to close the connection with it. */
  held(peer: string): { readonly until: Promise<void> | null; readonly isOverflow: boolean };
  /** Refusals held back at the moment. */
  readonly heldCount: number;
}

/** `peer` is an address; the table keeps 10,000, the longest unused go first. */
export function createFailureDelay(clock: Clock): FailureDelay {
  const peers = new LRUCache<string, { failures: number; heldNow: number; lastMono: number }>({ max: MAX_PEERS });
  let heldCount = 0;
  return {
    get heldCount() {
      return heldCount;
    },
    held(peer) {
      const nowMono = clock.monotonic();
      let entry = peers.get(peer);
      if (entry === undefined || nowMono - entry.lastMono > FORGET_MS) {
        entry = { failures: 0, heldNow: 0, lastMono: nowMono };
        peers.set(peer, entry);
      }
      entry.failures += 1;
      entry.lastMono = nowMono;
      const delayMs = delayAfter(entry.failures);
      if (delayMs === 0) return { until: null, isOverflow: false };
      if (heldCount >= MAX_HELD || entry.heldNow >= MAX_HELD_OF_ONE) return { until: null, isOverflow: true };
      const counted = entry;
      heldCount += 1;
      counted.heldNow += 1;
      const until = new Promise<void>((resolve) => {
        clock.after(delayMs, () => {
          heldCount -= 1;
          counted.heldNow -= 1;
          resolve();
        });
      });
      return { until, isOverflow: false };
    },
  };
}

/** 0 for the first three failures, then 250 ms doubling up to 8 s. */
export function delayAfter(failures: number): number {
  if (failures <= FREE_FAILURES) return 0;
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - FREE_FAILURES - 1));
}
