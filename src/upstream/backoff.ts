// How long to wait before a failed call is tried again. Pure; whether it is tried again is retry.ts' matter.

/** `[retry]`, in ms. */
export interface BackoffSettings {
  readonly waitMinMs: number;
  readonly waitMaxMs: number;
}

/**
 * Exponential with jitter over the whole range: from the shortest wait up to 2, 4, 8 … times it, never above the longest.
 * `retriesSoFar` is 0 before the first retry, `random` 0 (inclusive) to 1 (exclusive).
 */
export function retryWaitMs(retriesSoFar: number, random: number, { waitMinMs, waitMaxMs }: BackoffSettings): number {
  const ceilingMs = Math.max(waitMinMs, Math.min(waitMaxMs, waitMinMs * 2 ** (retriesSoFar + 1)));
  return waitMinMs + random * (ceilingMs - waitMinMs);
}
