// How long to wait after a failed attempt. Pure.

/** Never less than this between two attempts, whatever the reason. */
export const SHORTEST_WAIT_MS = 1_000;

const LONGEST_WAIT_MS = 60_000;

/** A refused credential is tried again after this: it may have been mended on the platform's side. */
export const REFUSED_WAIT_MS = 60_000;

/**
 * Exponential with full jitter: somewhere from 1 s up to 2, 4, 8 … 60 s after the 1st, 2nd, 3rd … failure in a row.
 * `random` is 0–1. Never sooner than `retryAfterMs`.
 */
export function backoffMs(failuresInRow: number, random: number, retryAfterMs = 0): number {
  const ceiling = Math.min(LONGEST_WAIT_MS, SHORTEST_WAIT_MS * 2 ** failuresInRow);
  return Math.max(SHORTEST_WAIT_MS, random * ceiling, retryAfterMs);
}
