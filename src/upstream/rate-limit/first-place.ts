// The limit of the first token of several, as calls see it that can be sent with no other.

import type { CountedCall, LimitWindow } from './rate-window.ts';

/** The limit of the token in one place of a pool. A renewed token goes on with what was counted for the one before. */
export interface Place {
  readonly window: LimitWindow;
  pausedUntil: number;
}

/** The first token's part of a pool's windows, for calls that can be sent with no other. */
export class FirstPlace implements LimitWindow {
  readonly #place: Place;

  constructor(place: Place) {
    this.#place = place;
  }

  get perMinute(): number {
    return this.#place.window.perMinute;
  }

  get limit(): number {
    return this.perMinute;
  }

  get metUntil(): number {
    return this.#place.window.metUntil;
  }

  acquire(now: number, call?: CountedCall, client?: string): void {
    this.#place.window.acquire(now, call, client);
    if (call !== undefined) call.place = 0;
  }

  complete(arrivedAt: number): void {
    this.#place.window.complete(arrivedAt);
  }

  cancel(): void {
    this.#place.window.cancel();
  }

  free(now: number): number {
    return now < this.#place.pausedUntil ? 0 : this.#place.window.free(now);
  }

  freeFor(now: number): number {
    return this.#place.window.free(now);
  }

  used(now: number): number {
    return this.#place.window.used(now);
  }

  enterSlowStart(until: number): void {
    this.#place.window.enterSlowStart(until);
  }

  pause(until: number): boolean {
    this.#place.pausedUntil = Math.max(this.#place.pausedUntil, until);
    return true;
  }

  notePause(until: number): void {
    this.#place.window.notePause(until);
  }

  /** It has the first token's. */
  identify(): void {}

  /** The pool speaks for those who wait here as well. */
  serve(): void {}

  awaited(now: number, isDue: boolean): void {
    this.#place.window.awaited(now, isDue);
  }

  isGranted(now: number): boolean {
    return this.#place.window.isGranted(now);
  }

  freeAside(now: number): number | Promise<number> {
    return this.#place.window.freeAside(now);
  }

  openings(now: number): () => number {
    const next = this.#place.window.openings(now);
    return () => Math.max(next(), this.#place.pausedUntil);
  }
}
