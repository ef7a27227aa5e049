// One limit of the platform: where calls wait for it, and what is known of its size, and from whom.

import type { RateLimiter } from './rate-limiter.ts';
import { MINUTE_MS } from './rate-window.ts';

/** A size that a refusal told is forgotten after this, in case the platform has raised it. */
const MET_FOR_MS = 30 * MINUTE_MS;

/** Where a size is known from: the configuration, or a 429. */
export type LimitSource = 'configured' | 'met';

/** A limit, and its size in calls a minute. Times are monotonic ms. */
export class PlatformLimit {
  readonly limiter: RateLimiter;
  #configured = Number.POSITIVE_INFINITY;
  /** What a 429 said, and when. */
  #met: { readonly perMinute: number; readonly at: number } | null = null;

  constructor(limiter: RateLimiter) {
    this.limiter = limiter;
  }

  /** Where its size is known from; null while it is not known. */
  get source(): LimitSource | null {
    if (this.#met !== null && this.#met.perMinute <= this.#configured) return 'met';
    return this.#configured === Number.POSITIVE_INFINITY ? null : 'configured';
  }

  /** Takes the configuration's number, Infinity without one. */
  configure(perMinute: number): void {
    this.#configured = perMinute;
    this.#resize();
    this.limiter.reconsider();
  }

  /** Takes what a 429 said. Lets nobody go: a pause may follow. */
  meet(perMinute: number, now: number): void {
    this.#met = { perMinute, at: now };
    this.#resize();
  }

  /** Forgets what was met long ago. */
  refresh(now: number): void {
    if (this.#met === null || now - this.#met.at < MET_FOR_MS) return;
    this.#met = null;
    this.#resize();
    this.limiter.reconsider();
  }

  /** Whether there is something to `refresh`. */
  get isMet(): boolean {
    return this.#met !== null;
  }

  #resize(): void {
    this.limiter.window.limit = Math.min(this.#met?.perMinute ?? Number.POSITIVE_INFINITY, this.#configured);
  }
}
