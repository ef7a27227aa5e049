// One limit at work: who may go, who waits and in what order, who is told at once that waiting is of no use. Knows no
// HTTP.

import type { Clock, Timer } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import { beginWait, type CallerConnection, endWait, type Seat, type WaitingRoom } from '../call.ts';
import { ClientClosedRequest } from '../errors.ts';
import { createFairQueue } from './fair-queue.ts';
import type { RateWindow } from './rate-window.ts';
import type { Shares } from './shares.ts';

/** What a lane is made of. */
export interface LaneDeps {
  /** For messages and records: `client.credentials.token.rate of credential crm`. */
  readonly name: string;
  readonly clock: Clock;
  readonly window: RateWindow;
  readonly room: WaitingRoom;
  /** Null where only one client can come. */
  readonly shares: Shares | null;
}

/** A call as a lane sees it. `waitUntil` in monotonic ms. */
export interface LaneCall {
  readonly client: string;
  readonly waitUntil: number;
  readonly connection: CallerConnection;
  /** It stood in this lane before and comes back: it does not lose its place. */
  readonly isReturning: boolean;
}

interface Waiter extends Seat {
  readonly waitUntil: number;
  go(): void;
  turnAway(error: Error): void;
}

/** Every successful entry is followed by one `leave` or one `refund`. */
export interface Lane {
  name: string;
  /** Among whom the limit is shared from now on. */
  shares: Shares | null;
  readonly window: RateWindow;
  /** Lets the call pass at once, or returns false. Allocates nothing. */
  tryEnter(client: string): boolean;
  /**
   * Waits for its turn. Rejects at once with gateway.rate.limited when that comes too late or the room is full, later
   * when it becomes too late, and when the caller leaves.
   */
  enter(call: LaneCall): Promise<void>;
  /** Passes without regard to the limit (report mode). */
  force(client: string): void;
  /** When a further call of this client could start, as things stand. Monotonic ms. */
  startsAt(client: string): number;
  /** The call has been answered, or may have arrived. */
  leave(arrivedAt: number): void;
  /** The call did not count. */
  refund(): void;
  /** Nobody passes before `until` (monotonic ms). */
  pauseUntil(until: number): void;
  /** Looks again at who may go: after the window's limit was changed. */
  reconsider(): void;
  readonly pausedUntil: number;
  readonly waiting: number;
}

/** So long a change of the order may go unnoticed by those who are pushed back. */
const LOOK_AGAIN_MS = 20;

/** Sets a timer only while somebody waits. */
export function createLane({ name, clock, window, room, shares: firstShares }: LaneDeps): Lane {
  const queue = createFairQueue<Waiter>();
  let pausedUntil = Number.NEGATIVE_INFINITY;
  let timer: Timer | null = null;
  let timerAt = Number.POSITIVE_INFINITY;

  const keptFrom = (client: string, now: number) =>
    lane.shares === null || window.perMinute === Number.POSITIVE_INFINITY
      ? 0
      : lane.shares.keptFrom(client, window.perMinute, now, queue.has);

  const pass = (client: string, now: number) => {
    window.take(now);
    lane.shares?.served(client, now);
  };

  const tooLate = (waitMs: number): GatewayError =>
    new GatewayError(
      'gateway.rate.limited',
      `${lane.name} is used up for the moment: try again after the time in Retry-After`,
      {
        retryAfterMs: Math.max(1, waitMs),
      },
    );

  const startsAt = (client: string, now: number): number => {
    const next = window.openings(now);
    let at = now;
    for (let left = queue.positionOf(client) + keptFrom(client, now); left > 0; left -= 1) at = next();
    return Math.max(at, pausedUntil);
  };

  /** Turns away whoever cannot be served in time any more. */
  const sweep = (now: number) => {
    const next = window.openings(now);
    let at = Math.max(next(), pausedUntil);
    for (const { client, entry } of queue.inOrder()) {
      if (at <= entry.waitUntil) {
        at = Math.max(next(), pausedUntil);
        continue;
      }
      queue.remove(client, entry);
      entry.turnAway(tooLate(at - now));
    }
  };

  const serve = (now: number) => {
    while (queue.size > 0 && now >= pausedUntil) {
      const free = window.free(now);
      if (free <= 0) break;
      const next = queue.shift((client) => free > keptFrom(client, now));
      if (next === undefined) break;
      pass(next.client, now);
      next.entry.go();
    }
  };

  const wakeAt = (at: number) => {
    if (timer !== null && timerAt <= at) return;
    timer?.cancel();
    timerAt = at;
    timer = clock.after(Math.max(0, at - clock.monotonic()), () => {
      timer = null;
      timerAt = Number.POSITIVE_INFINITY;
      update();
    });
  };

  function update(): void {
    if (queue.size === 0) return;
    const now = clock.monotonic();
    serve(now);
    sweep(now);
    if (queue.size === 0) {
      timer?.cancel();
      timer = null;
      return;
    }
    // What is kept for others may be given up at any time, so a free slot is looked at again soon.
    const opensAt = window.free(now) > 0 ? now + 10 * LOOK_AGAIN_MS : window.openings(now)();
    wakeAt(Math.max(now + 1, opensAt, pausedUntil));
  }

  const lane: Lane = {
    name,
    shares: firstShares,
    window,
    tryEnter(client) {
      const now = clock.monotonic();
      lane.shares?.asked(client, now);
      if (now < pausedUntil) return false;
      // Who waits has had the first choice then: what is left is what they may not take.
      if (queue.size > 0) serve(now);
      const free = window.free(now);
      if (free <= 0 || free <= keptFrom(client, now)) return false;
      pass(client, now);
      return true;
    },
    async enter({ client, waitUntil, connection, isReturning }) {
      const now = clock.monotonic();
      if (connection.disconnected) throw new ClientClosedRequest();
      const at = isReturning ? Math.max(window.openings(now)(), pausedUntil) : startsAt(client, now);
      if (at > waitUntil) throw tooLate(at - now);
      if (room.isFull && window.perMinute === Number.POSITIVE_INFINITY && now >= pausedUntil) return pass(client, now);
      let waiter: Waiter | null = null;
      try {
        await new Promise<void>((resolve, reject) => {
          const giveWay = () => {
            queue.remove(client, entry);
            const at = clock.monotonic();
            reject(tooLate(startsAt(client, at) - at));
          };
          const entry: Waiter = { waitUntil, go: resolve, turnAway: reject, giveWay };
          if (!room.enter(client, entry)) return reject(tooLate(startsAt(client, now) - now));
          waiter = entry;
          queue.push(client, entry, isReturning);
          beginWait(connection, (error) => {
            queue.remove(client, entry);
            reject(error);
          });
          connection.onDisconnect = () => connection.turnAway?.(new ClientClosedRequest());
          if (queue.size === 1 || window.free(now) > 0) update();
          else if (queue.clients > 1) wakeAt(now + LOOK_AGAIN_MS);
        });
      } finally {
        connection.onDisconnect = null;
        endWait(connection);
        if (waiter !== null) room.leave(client, waiter);
      }
    },
    force(client) {
      pass(client, clock.monotonic());
    },
    startsAt: (client) => startsAt(client, clock.monotonic()),
    leave(arrivedAt) {
      window.settle(arrivedAt);
      if (queue.size === 0) return;
      const now = clock.monotonic();
      serve(now);
      // Now it is known when this place opens again: perhaps sooner than was to be feared.
      if (queue.size > 0) wakeAt(Math.max(now + 1, window.openings(now)(), pausedUntil));
    },
    refund() {
      window.refund();
      if (queue.size > 0) serve(clock.monotonic());
    },
    pauseUntil(until) {
      if (until <= pausedUntil) return;
      pausedUntil = until;
      update();
    },
    reconsider: update,
    get pausedUntil() {
      return pausedUntil;
    },
    get waiting() {
      return queue.size;
    },
  };
  return lane;
}
