// One direction of a socket that is carried: octets from one end to the other as they are, no faster than the other
// takes them. Holds no more than a chunk and what the writing side's own buffer takes, whatever is sent.

import type { Duplex } from 'node:stream';
import { FrameFollower } from './frame-follower.ts';

/** What the owner of both directions hears. */
export interface FlowEvents {
  /** The sending end will send nothing more. */
  readonly onEnd: () => void;
  /** A close frame of the sending end's has been seen. */
  readonly onCloseFrame: () => void;
}

/** Carries from `from` to `to` until `from` ends; ends neither by itself. */
export class Flow {
  /** Octets that came. */
  bytes = 0;
  /** Set with each chunk and never unset here: whoever watches for silence unsets it. */
  wasHeard = false;
  readonly #from: Duplex;
  readonly #to: Duplex;
  readonly #events: FlowEvents;
  readonly #frames = new FrameFollower();
  #lastFrame: Buffer | null = null;
  #isCut = false;

  constructor(from: Duplex, to: Duplex, events: FlowEvents) {
    this.#from = from;
    this.#to = to;
    this.#events = events;
  }

  /** The code of the sending end's close frame, or null. */
  get closeCode(): number | null {
    return this.#frames.closeCode;
  }

  /** Whether the receiving end takes less than is sent at the moment. */
  get isHeldBack(): boolean {
    return this.#from.isPaused();
  }

  /** `head` are octets that came behind the handshake. */
  start(head: Buffer): void {
    this.#from.on('data', (chunk: Buffer) => this.#take(chunk));
    // An end that has come already is told to nobody again.
    if (this.#from.readableEnded) process.nextTick(this.#events.onEnd);
    else this.#from.on('end', this.#events.onEnd);
    this.#to.on('drain', () => this.#from.resume());
    if (head.length > 0) this.#take(head);
  }

  /**
   * Puts `frame` behind the frame that is under way and lets nothing more through. What the sending end still says is
   * looked at for its close frame only. Where a close frame has passed already, that one counts.
   */
  endWith(frame: Buffer): void {
    if (this.#isCut || this.#lastFrame !== null) return;
    this.#lastFrame = frame;
    if (this.#frames.isAtBoundary) this.#cut();
  }

  #take(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.wasHeard = true;
    const hadClosed = this.#frames.closeCode !== null;
    if (this.#isCut) this.#frames.follow(chunk);
    else if (this.#lastFrame === null) {
      this.#frames.follow(chunk);
      this.#write(chunk);
    } else {
      const passed = this.#frames.follow(chunk, true);
      this.#write(chunk.subarray(0, passed));
      if (this.#frames.isAtBoundary) this.#cut();
      this.#frames.follow(chunk.subarray(passed));
    }
    if (!hadClosed && this.#frames.closeCode !== null) this.#events.onCloseFrame();
  }

  #cut(): void {
    this.#isCut = true;
    if (this.#frames.closeCode === null && this.#lastFrame !== null) this.#write(this.#lastFrame);
    this.#from.resume();
  }

  #write(octets: Buffer): void {
    if (octets.length === 0 || !this.#to.writable) return;
    if (!this.#to.write(octets) && !this.#isCut) this.#from.pause();
  }
}
