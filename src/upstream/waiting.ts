// Waits that end when the caller leaves: nobody is kept in memory, or in a queue, for whom nobody waits. And the room in which calls wait.

import type { Clock } from '../clock.ts';
import { ClientClosedRequest, type UpstreamRequest } from './call.ts';

/** A call that waits. `giveWay` ends its wait at once, for the sake of another; it is out of the room then. */
export interface Seat {
  giveWay(): void;
}

/** The bound on all calls that wait for a limit or a connection (`rate_limit.queue_max`), and who waits how often. It keeps no order. */
export class WaitingRoom {
  max: number;
  readonly #seats = new Map<string, Set<Seat>>();
  #waiting = 0;

  constructor(max = 0) {
    this.max = max;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get isFull(): boolean {
    return this.#waiting >= this.max;
  }

  /**
   * Takes a seat. When there is none, the last call of the client that waits most often gives way, if that is more often by more than one
   * than `client` does; else this one is refused: false.
   */
  enter(client: string, seat: Seat): boolean {
    while (this.isFull) if (!this.#makeRoomFor(client)) return false;
    const own = this.#seats.get(client);
    if (own === undefined) this.#seats.set(client, new Set([seat]));
    else own.add(seat);
    this.#waiting += 1;
    return true;
  }

  /** Safe to repeat. */
  leave(client: string, seat: Seat): void {
    const own = this.#seats.get(client);
    if (!own?.delete(seat)) return;
    this.#waiting -= 1;
    if (own.size === 0) this.#seats.delete(client);
  }

  #makeRoomFor(client: string): boolean {
    let longest: string | undefined;
    let most = (this.#seats.get(client)?.size ?? 0) + 1;
    for (const [name, { size }] of this.#seats) {
      if (size <= most) continue;
      most = size;
      longest = name;
    }
    if (longest === undefined) return false;
    let last: Seat | undefined;
    for (const seat of this.#seats.get(longest) ?? []) last = seat;
    if (last === undefined) return false;
    this.leave(longest, last);
    last.giveWay();
    return true;
  }
}

/** Resolves after `ms`; rejects at once with ClientClosedRequest when the caller leaves. */
export function pause(request: UpstreamRequest, clock: Clock, ms: number): Promise<void> {
  const { caller } = request;
  return new Promise((resolve, reject) => {
    if (caller.left) return reject(new ClientClosedRequest());
    request.body.readAhead?.();
    const timer = clock.after(ms, () => {
      caller.onLeave = null;
      resolve();
    });
    caller.onLeave = () => {
      timer.cancel();
      reject(new ClientClosedRequest());
    };
  });
}

/** Settles as `work` does, or rejects with `late()` at the call's `waitUntil`, or at once when the caller leaves. `work` itself goes on. */
export function waitFor<T>(request: UpstreamRequest, clock: Clock, work: Promise<T>, late: () => Error): Promise<T> {
  const { caller, waitUntil } = request;
  return new Promise((resolve, reject) => {
    const timer = waitUntil === undefined ? null : clock.after(waitUntil - clock.monotonic(), () => reject(late()));
    const leave = () => {
      timer?.cancel();
      reject(new ClientClosedRequest());
    };
    if (caller.left) leave();
    else caller.onLeave = leave;
    work.finally(() => timer?.cancel()).then(resolve, reject);
  });
}

/** Milliseconds that this call may still spend on waiting; not negative. */
export function waitLeftMs(request: UpstreamRequest, clock: Clock): number {
  return request.waitUntil === undefined ? Number.POSITIVE_INFINITY : Math.max(0, request.waitUntil - clock.monotonic());
}
