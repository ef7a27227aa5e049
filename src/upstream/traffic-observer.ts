// What the layers of a call tell about themselves, for metrics and status. Observers count; they change nothing and must not throw.

import type { UpstreamRequest } from './call.ts';

/** Callbacks of the retry, pacing and breaker layers; each may be absent. */
export interface TrafficObserver {
  /** One more attempt is about to be made; `reason` as in the record: `401`, `429`, `503`, `ECONNRESET`. */
  readonly onRetry?: ((request: UpstreamRequest, reason: string) => void) | undefined;
  /** The upstream answered 429. `absorbed`: the call waits and is sent again; else its caller sees the 429. */
  readonly onRateLimited?:
    | ((request: UpstreamRequest, limit: { scope: 'token' | 'endpoint'; key: string | null; absorbed: boolean }) => void)
    | undefined;
  /** A call was held back by a limit (in report mode: would have been). `outcome`: it waited, or was refused. */
  readonly onHeld?:
    | ((request: UpstreamRequest, held: { limit: string; outcome: 'waited' | 'refused'; waitMs: number; reportOnly: boolean }) => void)
    | undefined;
  /** The breaker of an origin changed. */
  readonly onBreaker?: ((origin: string, state: 'closed' | 'open' | 'recovering') => void) | undefined;
}
