// One limit of the platform, or several that the same calls draw on: where calls wait for it, and what is known of its
// size, and from whom.

import type { LimitScope } from './limit-notice.ts';
import type { RateLimiter } from './rate-limiter.ts';
import { MINUTE_MS } from './rate-window.ts';

/** A size that a refusal told is forgotten after this, in case the platform has raised it. */
export const MET_FOR_MS = 30 * MINUTE_MS;

/**
 * Where a size is known from: the configuration, the platform's answer to a question of ours, a 429, or another instance
 * of this gateway.
 */
export type LimitSource = 'configured' | 'asked' | 'met' | 'shared';

/** A limit's size, in calls a minute. */
export interface KnownSize {
  readonly perMinute: number;
  readonly source: LimitSource;
  /** The platform's name of the limit; null for the configuration's number. */
  readonly limit: string | null;
}

/** What the platform said of one limit. Infinity: nothing. */
interface Told {
  /** When asked. */
  asked: number;
  /** In a 429, and when. */
  met: number;
  metAt: number;
  /** An answer that a 429 has refuted: it is not believed again. */
  refuted: number;
}

/** What is known of a limit. Times are monotonic ms. All sizes that are known hold, so the smallest counts. */
export class PlatformLimit {
  readonly limiter: RateLimiter;
  readonly scope: LimitScope;
  #configured = Number.POSITIVE_INFINITY;
  /** By the platform's names of them: few, as these are known, or are one. */
  readonly #told = new Map<string, Told>();
  #isMet = false;
  /** Null while nothing is known. */
  #size: KnownSize | null = null;

  constructor(scope: LimitScope, limiter: RateLimiter) {
    this.scope = scope;
    this.limiter = limiter;
  }

  get size(): KnownSize | null {
    return this.#size;
  }

  /** Takes the configuration's number, Infinity without one. */
  configure(perMinute: number): void {
    this.#configured = perMinute;
    this.#resize();
    this.limiter.reconsider();
  }

  /** Takes what a 429 said. Lets nobody go: a pause may follow. */
  meet(limit: string, perMinute: number, now: number): void {
    const told = this.#toldOf(limit);
    told.met = perMinute;
    told.metAt = now;
    if (told.asked > perMinute && told.asked !== Number.POSITIVE_INFINITY) {
      told.refuted = told.asked;
      told.asked = Number.POSITIVE_INFINITY;
    }
    this.#isMet = true;
    this.#resize();
  }

  /** Takes what the platform answered when it was asked, by names of limits: in place of what it answered before. */
  ask(answer: ReadonlyMap<string, number>): void {
    for (const [limit, told] of this.#told) if (!answer.has(limit)) told.asked = Number.POSITIVE_INFINITY;
    for (const [limit, perMinute] of answer) {
      const told = this.#toldOf(limit);
      told.asked = perMinute === told.refuted ? Number.POSITIVE_INFINITY : perMinute;
    }
    this.#resize();
    this.limiter.reconsider();
  }

  /** Forgets what was met long ago. Costs next to nothing where nothing was. */
  refresh(clock: { monotonic(): number }): void {
    if (!this.#isMet) return;
    const now = clock.monotonic();
    this.#isMet = false;
    let isChanged = false;
    for (const told of this.#told.values()) {
      if (told.met === Number.POSITIVE_INFINITY) continue;
      if (now - told.metAt < MET_FOR_MS) this.#isMet = true;
      else {
        told.met = Number.POSITIVE_INFINITY;
        isChanged = true;
      }
    }
    if (!isChanged) return;
    this.#resize();
    this.limiter.reconsider();
  }

  /** Takes over what another one, of which it turned out that it is the same, had met. Whoever waits there goes on to. */
  absorb(other: PlatformLimit, now: number, cautiousMs: number): void {
    for (const [limit, { met, metAt }] of other.#told) {
      if (met !== Number.POSITIVE_INFINITY && met < this.#toldOf(limit).met) this.meet(limit, met, metAt);
    }
    // What the other counted is not known here.
    this.limiter.window.enterSlowStart(now + cautiousMs);
    this.limiter.pauseUntil(other.limiter.pausedUntil);
  }

  #toldOf(limit: string): Told {
    let told = this.#told.get(limit);
    if (told === undefined) {
      const nothing = Number.POSITIVE_INFINITY;
      told = { asked: nothing, met: nothing, metAt: 0, refuted: nothing };
      this.#told.set(limit, told);
    }
    return told;
  }

  #resize(): void {
    let size: KnownSize | null = null;
    const take = (perMinute: number, source: LimitSource, limit: string | null) => {
      if (perMinute < (size?.perMinute ?? Number.POSITIVE_INFINITY)) size = { perMinute, source, limit };
    };
    for (const [limit, { asked, met }] of this.#told) {
      // A refusal is the later word, and the surer one.
      if (met !== Number.POSITIVE_INFINITY) take(met, 'met', limit);
      // Where a number is configured nothing is asked, and what was asked before it is not kept to.
      else if (this.#configured === Number.POSITIVE_INFINITY) take(asked, 'asked', limit);
    }
    take(this.#configured, 'configured', null);
    this.#size = size;
    const known = size as KnownSize | null;
    const { window } = this.limiter;
    const told = known?.source === 'met' ? this.#told.get(known.limit ?? '') : undefined;
    window.metUntil = told === undefined ? Number.NEGATIVE_INFINITY : told.metAt + MET_FOR_MS;
    window.limit = known?.perMinute ?? Number.POSITIVE_INFINITY;
  }
}
