// The sockets that are open through this gateway, and those about to be: how many there may be and for whom, and how
// they end when the gateway does, or when whoever opened one may not have it any longer. Who may is asked of others.

import { type Arrival, type Caller, ownerKeyOf } from '../../auth/callers/caller.ts';
import type { ClientHandle } from '../../auth/callers/client-handle.ts';
import type { SessionHolder } from '../../auth/callers/session.ts';
import type { Clock, Timer } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import { FairEviction, type LruEntry } from '../../fair-eviction.ts';
import { TICK_MS, type Tunnel } from '../../upstream/websocket/tunnel.ts';
import { draining } from '../responses.ts';

/** Each costs two descriptors; so many fit under the limit of most systems. */
const MAX_SOCKETS = 2_000;
/**
 * The platform has one socket for each channel: a new one takes the place of the one before. So one is in use, one may
 * be about to end because it was replaced, or its client has not noticed yet that it is dead, and one may be about to
 * open. More would be open by mistake, or to keep others out.
 */
const MAX_FOR_CHANNEL = 3;
/** So many more, as a share of all, may be closing: sockets that had to give way and whose ends are being told. */
const LEAVING_SHARE = 0.1;
/** "Try again later", by the registry that RFC 6455, section 7.4.2 made. */
const TRY_AGAIN_LATER = 1013;
/** How long both ends of a socket are given to close it once they were told, at most. */
const LEAVE_MS = 3_000;

/** Who opened a socket, where and from where, with which credential, and to which channel. */
export interface SocketOwner {
  readonly caller: Caller;
  readonly arrival: Arrival;
  /** The address it came from; null where it was not known. */
  readonly peer: string | null;
  readonly credential: string;
  readonly channelId: string;
}

/** Why the owner of a socket may not go on, or null. Asked often: quick, no use of a session, never throws. */
export type Revalidate = (owner: SocketOwner) => GatewayError | null;

/** One of the sockets there may be, from its handshake to its end. Made by `OpenSockets.acquire`. */
export class SocketSlot {
  readonly owner: SocketOwner;
  /** Its entry among those of its client; null when it does not count any more: it has to close, or has ended. */
  entry: LruEntry<SocketSlot> | null = null;
  readonly #sockets: OpenSockets;
  readonly #handshake = new AbortController();
  #tunnel: Tunnel | null = null;
  #closeReason: GatewayError | null = null;

  constructor(owner: SocketOwner, sockets: OpenSockets) {
    this.owner = owner;
    this.#sockets = sockets;
  }

  /** Aborts, with a GatewayError, when the handshake is to be given up. */
  get signal(): AbortSignal {
    return this.#handshake.signal;
  }

  /** Why it was closed before its time; null where neither policy nor a newer socket did so. */
  get closeReason(): GatewayError | null {
    return this.#closeReason;
  }

  /** The socket, once it is open. */
  get tunnel(): Tunnel | null {
    return this.#tunnel;
  }

  abortHandshake(error: GatewayError): void {
    this.#handshake.abort(error);
  }

  /** The handshake is over: `tunnel` carries the socket. */
  attach(tunnel: Tunnel): void {
    this.#tunnel = tunnel;
    // It came to be while the gateway was leaving, or after it was to be closed.
    if (this.#sockets.isClosing) tunnel.goAway();
    else if (this.#closeReason !== null) closeTunnel(tunnel, this.#closeReason);
  }

  /** Closes the socket for `reason`, or gives its handshake up. Only the first call counts. */
  closeForPolicy(reason: GatewayError): void {
    if (this.#closeReason !== null) return;
    this.#closeReason = reason;
    this.#sockets.uncount(this);
    if (this.#tunnel === null) this.abortHandshake(reason);
    else closeTunnel(this.#tunnel, reason);
  }

  /** Its socket has ended. Safe to repeat. */
  release(): void {
    this.#sockets.release(this);
  }
}

/**
 * The sockets of one gateway. What ends without anybody saying so (a handle that is too old, a secret file that
 * changed) is noticed at the next tick, by `revalidate`.
 */
export class OpenSockets {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #revalidate: Revalidate;
  readonly #slots = new Set<SocketSlot>();
  /** By the session or handle that owns them. */
  readonly #byOwner = new Map<string, Set<SocketSlot>>();
  readonly #byChannel = new Map<string, number>();
  /** Those that count, by client. */
  readonly #order = new FairEviction<SocketSlot>();
  #counted = 0;
  #timer: Timer | null = null;
  #isClosing = false;
  #onEmpty: (() => void) | null = null;

  constructor(deps: { clock: Clock; revalidate?: Revalidate; max?: number | undefined }) {
    this.#clock = deps.clock;
    this.#max = deps.max ?? MAX_SOCKETS;
    this.#revalidate = deps.revalidate ?? (() => null);
  }

  get count(): number {
    return this.#slots.size;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** The owner of each socket. */
  *owners(): Iterable<SocketOwner> {
    for (const { owner } of this.#slots) yield owner;
  }

  /**
   * A slot for a new socket. When all are taken the newest socket of the client that holds most gives way, unless the
   * one who asks would then hold as many. Throws gateway.rate.limited when there is no slot, or the channel has its
   * sockets already; gateway.draining after `close`.
   */
  acquire(owner: SocketOwner): SocketSlot {
    if (this.#isClosing) throw draining();
    const { channelId, caller } = owner;
    const onChannel = this.#byChannel.get(channelId) ?? 0;
    if (onChannel >= MAX_FOR_CHANNEL)
      throw tooMany(`this channel has ${onChannel} sockets already, and the platform serves one`);
    const slot = new SocketSlot(owner, this);
    this.#countIn(slot);
    this.#slots.add(slot);
    this.#byChannel.set(channelId, onChannel + 1);
    const key = ownerOf(caller);
    if (key !== null) this.#byOwner.set(key, (this.#byOwner.get(key) ?? new Set()).add(slot));
    this.#timer ??= this.#clock.after(TICK_MS, this.#tick);
    return slot;
  }

  /** Closes the sockets of one session (by its hash) or handle (by its id): one look-up and those sockets. */
  closeOwned(owner: SessionHolder['hash'] | ClientHandle['id'], reason: GatewayError): void {
    for (const slot of this.#byOwner.get(owner) ?? []) slot.closeForPolicy(reason);
  }

  /** Closes every socket for which `revalidate` gives a reason: once for each change of the configuration. */
  review(revalidate: Revalidate): void {
    for (const slot of this.#slots) {
      const reason = revalidate(slot.owner);
      if (reason !== null) slot.closeForPolicy(reason);
    }
  }

  /**
   * Says 1001 to both ends of every socket and gives handshakes up; resolves when all sockets are gone, by force at the
   * deadline.
   */
  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    if (this.#slots.size > 0) {
      const empty = new Promise<void>((resolve) => {
        this.#onEmpty = resolve;
      });
      const deadline = setTimeout(
        () => {
          for (const { tunnel } of this.#slots) tunnel?.destroy();
        },
        Math.min(deadlineMs, LEAVE_MS),
      );
      for (const slot of this.#slots) {
        if (slot.tunnel === null) slot.abortHandshake(draining());
        else slot.tunnel.goAway();
      }
      await empty;
      clearTimeout(deadline);
    }
    this.#timer?.cancel();
  }

  /** Forgets a slot whose socket has ended. Safe to repeat. */
  release(slot: SocketSlot): void {
    if (!this.#slots.delete(slot)) return;
    this.uncount(slot);
    const { channelId, caller } = slot.owner;
    const others = (this.#byChannel.get(channelId) ?? 1) - 1;
    if (others > 0) this.#byChannel.set(channelId, others);
    else this.#byChannel.delete(channelId);
    const key = ownerOf(caller);
    const siblings = key === null ? undefined : this.#byOwner.get(key);
    siblings?.delete(slot);
    if (key !== null && siblings?.size === 0) this.#byOwner.delete(key);
    if (this.#slots.size === 0) this.#onEmpty?.();
  }

  /** Takes note that a slot does not count among those of its client any more. Safe to repeat. */
  uncount(slot: SocketSlot): void {
    if (slot.entry === null) return;
    this.#order.remove(slot.entry);
    slot.entry = null;
    this.#counted -= 1;
  }

  /**
   * Throws where there is no room for one more of its client. Whoever gives way is left with no fewer than the client
   * that comes then has.
   */
  #countIn(slot: SocketSlot): void {
    const own = this.#order.add(ownerKeyOf(slot.owner.caller), slot);
    slot.entry = own;
    this.#counted += 1;
    const max = this.#max;
    if (this.#counted <= max) return;
    const full = tooMany(`there are ${max} sockets open through this gateway, and this client has its share of them`);
    const last = this.#order.newest();
    const isShort = this.#slots.size >= max + Math.max(1, max * LEAVING_SHARE);
    if (last !== undefined && last.owner.count > own.owner.count && !isShort) last.item.closeForPolicy(full);
    else {
      this.uncount(slot);
      throw full;
    }
  }

  readonly #tick = (): void => {
    for (const { tunnel } of this.#slots) tunnel?.tick();
    this.review(this.#revalidate);
    this.#timer = this.#slots.size > 0 ? this.#clock.after(TICK_MS, this.#tick) : null;
  };
}

/**
 * By what a socket is found when it ends with its owner; null where only the client or nobody in particular owns it.
 */
function ownerOf({ session, handle }: Caller): string | null {
  return session?.owner.hash ?? handle?.id ?? null;
}

/**
 * Tells both ends why: who gives way to others may come again, who may not listen any longer must authenticate anew.
 */
function closeTunnel(tunnel: Tunnel, reason: GatewayError): void {
  tunnel.closeForPolicy(reason.code, reason.code === 'gateway.rate.limited' ? TRY_AGAIN_LATER : undefined);
}

function tooMany(what: string): GatewayError {
  return new GatewayError('gateway.rate.limited', `${what}: close some of them`, { retryAfterMs: 5_000 });
}
