// A socket that is carried: two flows between a caller and the upstream, and how it ends. Whichever side ends or breaks
// off, the other follows. Messages are not looked into: order, fragments, pings, pongs, close codes and compression are
// between the two ends.

import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../clock.ts';
import { closeFrame, FrameFollower } from './frame-follower.ts';

/** The code both ends get when the gateway leaves, or when the upstream has fallen silent (RFC 6455, section 7.4.1). */
const GOING_AWAY = 1001;
/** The code a caller gets that may not listen any longer; to the upstream it has merely gone. */
const NOT_ALLOWED = 1008;
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

/** A tunnel at work. `tick` is to be called every TICK_MS. */
export interface Tunnel {
  /** Resolves when both connections are gone. Never rejects. */
  readonly done: Promise<TunnelEnd>;
  /**
   * Says 1001 to both ends, each at the end of the frame that is under way, and closes when they have answered, or
   * after a few seconds.
   */
  goAway(): void;
  /** The same with `code` and `words`, at most 123 octets, to the client; default: 1008. */
  expel(words: string, code?: number | undefined): void;
  tick(): void;
  destroy(): void;
}

/** Takes both ends over. A receiving end that takes nothing for `stalledMs` is dropped. */
export function createTunnel(
  { client, clientHead, upstream, upstreamHead }: TunnelEnds,
  { stalledMs }: { stalledMs: number },
  clock: Clock,
): Tunnel {
  let endedBy: TunnelEnd['by'] | null = null;
  let closeCode: number | null = null;
  let silentMs = 0;
  const timers = new Set<Timer>();

  const note = (by: TunnelEnd['by'], code: number | null) => {
    endedBy ??= by;
    closeCode ??= code;
  };
  const destroy = () => {
    client.destroy();
    upstream.destroy();
  };
  /** Ends the sending to one end; what is on its way is still delivered. */
  const end = (side: Duplex) => {
    if (side.destroyed || side.writableEnded) return;
    side.end(() => {
      if (!side.destroyed) timers.add(clock.after(LINGER_MS, () => side.destroy()));
    });
  };

  const down = new Flow(upstream, client, {
    onEnd() {
      note('upstream', null);
      end(client);
      end(upstream);
    },
    onCloseFrame() {
      if (isLeaving) end(upstream);
      else note('upstream', down.closeCode);
    },
  });
  const up = new Flow(client, upstream, {
    onEnd() {
      note('client', null);
      end(upstream);
      end(client);
    },
    onCloseFrame() {
      if (isLeaving) end(client);
      else note('client', up.closeCode);
    },
  });
  let isLeaving = false;
  const leave = (by: TunnelEnd['by'], code = GOING_AWAY, words = '') => {
    if (isLeaving) return;
    isLeaving = true;
    note(by, code);
    down.endWith(closeFrame(code, null, words));
    up.endWith(closeFrame(GOING_AWAY, randomBytes(4)));
    timers.add(clock.after(LINGER_MS, destroy));
  };

  const done = new Promise<TunnelEnd>((resolve) => {
    let open = 2;
    const watch = (side: Duplex, other: Duplex, by: 'client' | 'upstream') => {
      // A reset says no more than the close that follows it.
      side.on('error', () => note(by, null));
      const onClose = () => {
        note(by, null);
        end(other);
        // Nobody is left to hold it back: read on, or its own end is never seen.
        other.resume();
        if (--open > 0) return;
        for (const timer of timers) timer.cancel();
        resolve({
          fromClientBytes: up.bytes,
          fromUpstreamBytes: down.bytes,
          closeCode: closeCode ?? ABNORMAL,
          by: endedBy as TunnelEnd['by'],
        });
      };
      // It may be gone already: what happens between two turns of the loop is told to nobody again.
      if (side.closed) process.nextTick(onClose);
      else side.once('close', onClose);
    };
    watch(client, upstream, 'client');
    watch(upstream, client, 'upstream');
  });

  const stalls = [
    { flow: down, to: client, stalledMs: 0, sent: 0 },
    { flow: up, to: upstream, stalledMs: 0, sent: 0 },
  ];
  const isStalled = (watched: (typeof stalls)[number]): boolean => {
    const sent = sentBytes(watched.to);
    watched.stalledMs = watched.to.writableLength > 0 && sent === watched.sent ? watched.stalledMs + TICK_MS : 0;
    watched.sent = sent;
    return watched.stalledMs >= stalledMs;
  };

  down.start(upstreamHead);
  up.start(clientHead);
  return {
    done,
    goAway: () => leave('gateway'),
    expel: (words, code = NOT_ALLOWED) => leave('gateway', code, words),
    tick() {
      silentMs = down.wasHeard || down.isHeldBack ? 0 : silentMs + TICK_MS;
      down.wasHeard = false;
      if (stalls.filter(isStalled).length > 0) {
        note('stalled', null);
        destroy();
      } else if (silentMs >= SILENCE_MS) leave('silence');
    },
    destroy,
  };
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

/** Carries from `from` to `to` until `from` ends; ends neither by itself. */
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
