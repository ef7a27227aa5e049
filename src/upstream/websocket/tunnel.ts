// A WebSocket that is carried: two flows between a client and the upstream, and how it ends. Whichever side ends or
// breaks off, the other follows. Messages are not looked into: order, fragments, pings, pongs, close codes and
// compression are between the two ends.

import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../clock.ts';
import { closeFrame, FrameFollower } from './frame-follower.ts';

/** The code both ends get when the gateway leaves, or when the upstream has fallen silent (RFC 6455, section 7.4.1). */
const GOING_AWAY = 1001;
/** The code a client gets that may not listen any longer; to the upstream it has merely gone. */
const POLICY_VIOLATION = 1008;
/** No close frame passed. */
const ABNORMAL = 1006;

/** How often open tunnels are looked after. */
export const TICK_MS = 15_000;
/** The platform sends something every 30 s. Three beats missed, and the upstream counts as dead. */
export const SILENCE_MS = 90_000;
/** How long an end may take to close its side once the other has closed and it has been sent everything. */
const LINGER_MS = 5_000;

/** The two ends, each with the octets that came behind its handshake. */
export interface TunnelEnds {
  readonly client: Duplex;
  readonly clientHead: Buffer;
  readonly upstream: Duplex;
  readonly upstreamHead: Buffer;
}

/** How a tunnel ended. */
export interface TunnelEnd {
  readonly fromClientBytes: number;
  readonly fromUpstreamBytes: number;
  /** Of the first close frame; 1006 where there was none. */
  readonly closeCode: number;
  /** Who ended it: an end by its close frame or by dropping the connection, or the gateway. */
  readonly by: 'client' | 'upstream' | 'silence' | 'stalled' | 'gateway';
}

/** Watches an end for taking nothing of what it is sent. */
interface StallWatch {
  readonly to: Duplex;
  stalledMs: number;
  /** Octets that it had taken at the last tick. */
  sent: number;
}

/**
 * A tunnel at work. It takes both ends over; a receiving end that takes nothing for `stalledMs` is dropped. `tick` is
 * to be called every TICK_MS.
 */
export class Tunnel {
  /** Resolves when both connections are gone. Never rejects. */
  readonly done: Promise<TunnelEnd>;
  readonly #client: Duplex;
  readonly #upstream: Duplex;
  readonly #clock: Clock;
  readonly #stalledMs: number;
  readonly #down: Flow;
  readonly #up: Flow;
  readonly #stalls: readonly StallWatch[];
  readonly #timers = new Set<Timer>();
  #resolve!: (end: TunnelEnd) => void;
  /** Connections that are not gone yet. */
  #open = 2;
  #endedBy: TunnelEnd['by'] | null = null;
  #closeCode: number | null = null;
  #silentMs = 0;
  /** Both ends have been told that the gateway leaves. */
  #isLeaving = false;

  constructor(
    { client, clientHead, upstream, upstreamHead }: TunnelEnds,
    { stalledMs }: { stalledMs: number },
    clock: Clock,
  ) {
    this.#client = client;
    this.#upstream = upstream;
    this.#clock = clock;
    this.#stalledMs = stalledMs;
    this.#down = this.#carry(upstream, client, 'upstream');
    this.#up = this.#carry(client, upstream, 'client');
    this.#stalls = [client, upstream].map((to) => ({ to, stalledMs: 0, sent: 0 }));
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#watch(client, upstream, 'client');
    this.#watch(upstream, client, 'upstream');
    this.#down.start(upstreamHead);
    this.#up.start(clientHead);
  }

  /**
   * Says 1001 to both ends, each at the end of the frame that is under way, and closes when they have answered, or
   * after a few seconds.
   */
  goAway(): void {
    this.#leave('gateway');
  }

  /** The same with `code` (default: 1008, policy violation) and `words`, at most 123 octets, to the client. */
  closeForPolicy(words: string, code = POLICY_VIOLATION): void {
    this.#leave('gateway', code, words);
  }

  tick(): void {
    this.#silentMs = this.#down.wasHeard || this.#down.isHeldBack ? 0 : this.#silentMs + TICK_MS;
    this.#down.wasHeard = false;
    if (this.#stalls.filter((watched) => this.#isStalled(watched)).length > 0) {
      this.#note('stalled', null);
      this.destroy();
    } else if (this.#silentMs >= SILENCE_MS) this.#leave('silence');
  }

  destroy(): void {
    this.#client.destroy();
    this.#upstream.destroy();
  }

  #carry(from: Duplex, to: Duplex, by: 'client' | 'upstream'): Flow {
    const flow: Flow = new Flow(from, to, {
      onEnd: () => {
        this.#note(by, null);
        this.#end(to);
        this.#end(from);
      },
      onCloseFrame: () => {
        if (this.#isLeaving) this.#end(from);
        else this.#note(by, flow.closeCode);
      },
    });
    return flow;
  }

  #watch(side: Duplex, other: Duplex, by: 'client' | 'upstream'): void {
    // A reset says no more than the close that follows it.
    side.on('error', () => this.#note(by, null));
    const onClose = () => {
      this.#note(by, null);
      this.#end(other);
      // Nobody is left to hold it back: read on, or its own end is never seen.
      other.resume();
      this.#open -= 1;
      if (this.#open === 0) this.#finish();
    };
    // It may be gone already: what happens between two turns of the loop is told to nobody again.
    if (side.closed) process.nextTick(onClose);
    else side.once('close', onClose);
  }

  #finish(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#resolve({
      fromClientBytes: this.#up.bytes,
      fromUpstreamBytes: this.#down.bytes,
      closeCode: this.#closeCode ?? ABNORMAL,
      by: this.#endedBy as TunnelEnd['by'],
    });
  }

  #leave(by: TunnelEnd['by'], code = GOING_AWAY, words = ''): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#note(by, code);
    this.#down.endWith(closeFrame(code, null, words));
    this.#up.endWith(closeFrame(GOING_AWAY, randomBytes(4)));
    this.#timers.add(this.#clock.after(LINGER_MS, () => this.destroy()));
  }

  /** Notes who ended it, and how; the first word counts. */
  #note(by: TunnelEnd['by'], code: number | null): void {
    this.#endedBy ??= by;
    this.#closeCode ??= code;
  }

  /** Ends the sending to one end; what is on its way is still delivered. */
  #end(side: Duplex): void {
    if (side.destroyed || side.writableEnded) return;
    side.end(() => {
      if (!side.destroyed) this.#timers.add(this.#clock.after(LINGER_MS, () => side.destroy()));
    });
  }

  #isStalled(watched: StallWatch): boolean {
    const sent = sentBytes(watched.to);
    watched.stalledMs = watched.to.writableLength > 0 && sent === watched.sent ? watched.stalledMs + TICK_MS : 0;
    watched.sent = sent;
    return watched.stalledMs >= this.#stalledMs;
  }
}

/** Octets that the system has taken of what was written. */
function sentBytes(side: Duplex & { bytesWritten?: number }): number {
  return (side.bytesWritten ?? 0) - side.writableLength;
}

/** What the owner of both directions hears. */
interface FlowEvents {
  /** The sending end will send nothing more. */
  readonly onEnd: () => void;
  /** A close frame of the sending end's has been seen. */
  readonly onCloseFrame: () => void;
}

/**
 * One direction: carries octets from `from` to `to` as they are, no faster than the other end takes them, and holds no
 * more than a chunk and what the writing side's own buffer takes. Carries until `from` ends; ends neither by itself.
 */
class Flow {
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
