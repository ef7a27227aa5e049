// One who watches: what was sent, and what could not be, because the other end does not read. Nothing of what it is
// told is kept for it here: it is told that there is a gap.

import type { Clock } from '../clock.ts';
import { eventText } from './frames.ts';
import type { Call, Rights } from './wire.ts';

/** Where events go: a response that is open. */
export interface Outlet {
  /** Octets that wait to be sent. */
  readonly writableLength: number;
  write(text: string | Buffer): unknown;
  end(): unknown;
  destroy(): unknown;
}

/** Who watches, and what. */
export interface Watch {
  readonly outlet: Outlet;
  readonly rights: Rights;
  readonly peer: string | null;
  /** The filter as it was written, and what it asks; null: all calls. */
  readonly filter: string;
  readonly matches: ((call: Call) => boolean) | null;
  /** What may be seen now; null where that is nothing any more. */
  readonly review: () => Rights | null;
}

/** Beyond that nothing more is written until all is sent. */
const MOST_UNSENT_BYTES = 256 * 1024;
/** So long nothing may be read at the other end. */
const LONGEST_BLOCKED_MS = 30_000;

/** So long the last of a stream may take to be sent. */
const LONGEST_GOODBYE_MS = 1_000;

/** The stream to one who watches. */
export class Watcher {
  readonly watch: Watch;
  /** Epoch ms. */
  readonly since: number;
  /** Whether the present state is still to be told, whatever was told to others. */
  needsState = true;
  readonly #clock: Clock;
  #missed = 0;
  /** Monotonic; null while all goes out. */
  #blockedSince: number | null = null;

  constructor(watch: Watch, clock: Clock) {
    this.watch = watch;
    this.#clock = clock;
    this.since = clock.now();
  }

  /** Whose calls may be seen: the same for all of whom this is the same. */
  get rightsKey(): string {
    const { sees, client } = this.watch.rights;
    return sees === 'all' ? '' : `own ${client}`;
  }

  /** Sends what tells of so many calls; `nextSeq` is where it goes on after a gap. False: it is lost for this one. */
  send(text: string | Buffer, calls: number, nextSeq: number): boolean {
    if (!this.hasRoom(nextSeq)) {
      this.#missed += calls;
      return false;
    }
    this.watch.outlet.write(text);
    return true;
  }

  /** Whether something can be written; after a gap it tells of that first. */
  hasRoom(nextSeq: number): boolean {
    const { outlet } = this.watch;
    if (this.#blockedSince === null) {
      if (outlet.writableLength <= MOST_UNSENT_BYTES) return true;
      this.#blockedSince = this.#clock.monotonic();
      return false;
    }
    if (outlet.writableLength > 0) return false;
    this.#blockedSince = null;
    this.needsState = true;
    outlet.write(eventText('gap', { missed: this.#missed, resumeAt: nextSeq }));
    this.#missed = 0;
    return true;
  }

  /** Whether nothing was read for so long that it is given up. */
  get isStuck(): boolean {
    return this.#blockedSince !== null && this.#clock.monotonic() - this.#blockedSince > LONGEST_BLOCKED_MS;
  }

  /** Ends the stream, with the reason where there is room for it. Whoever does not read is not waited for. */
  end(reason: string): void {
    const { outlet } = this.watch;
    if (this.#blockedSince !== null) {
      outlet.destroy();
      return;
    }
    outlet.write(eventText('bye', { reason }));
    outlet.end();
    if (outlet.writableLength > 0) this.#clock.after(LONGEST_GOODBYE_MS, () => outlet.destroy());
  }
}
