// How many spans were delivered, and how many were not and why: over all endpoints that there were since the start.

/**
 * `queue_full`: too many waited already; `refused`: by the collector, or part of what it took; `undelivered`: it could
 * not be reached, or asked for another try, too often; `ended`: its exporter ended before.
 */
export type DropReason = 'queue_full' | 'refused' | 'undelivered' | 'ended';

/** A request to a collector that failed; `reason` is of our own words, `at` epoch ms. */
export interface ExportFailure {
  readonly reason: string;
  readonly at: number;
}

/** The counters. */
export class SpanCounts {
  sent = 0;
  readonly #dropped: Record<DropReason, number> = { queue_full: 0, refused: 0, undelivered: 0, ended: 0 };
  #lastFailure: ExportFailure | null = null;

  dropped(reason: DropReason, spans: number): void {
    this.#dropped[reason] += spans;
  }

  /** Notes one, as in `ExportFailure`. */
  failed(reason: string, at: number): void {
    this.#lastFailure = { reason, at };
  }

  /** The last request that failed; null while none did. */
  get lastFailure(): ExportFailure | null {
    return this.#lastFailure;
  }

  /** By the reason. */
  get drops(): Readonly<Record<DropReason, number>> {
    return this.#dropped;
  }

  summary(): { readonly sent: number; readonly dropped: number } {
    const dropped = Object.values(this.#dropped).reduce((sum, one) => sum + one, 0);
    return { sent: this.sent, dropped };
  }
}
