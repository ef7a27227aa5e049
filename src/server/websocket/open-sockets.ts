// The sockets that are open through this gateway, and those about to be: how many there may be and for whom, and how
// they end when the gateway does, or when whoever opened one may not have it any longer. Who may is asked of others.

import type { Arrival } from '../../auth/callers/caller.ts';
import { type Caller, ownerKeyOf } from '../../auth/callers/caller.ts';
import type { ClientHandle } from '../../auth/callers/client-handle.ts';
import type { SessionOwner } from '../../auth/callers/session.ts';
import type { Clock, Timer } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import { createFairEviction, type LruEntry } from '../../fair-eviction.ts';
import { TICK_MS, type Tunnel } from '../../upstream/websocket/tunnel.ts';

/** Each costs two descriptors; so many fit under the limit of most systems. */
const MAX_SOCKETS = 2_000;
/**
 * The platform has one socket for each channel: a new one takes the place of the one before. So one is in use, one may
 * be about to end because it was replaced, or its client has not noticed yet that it is dead, and one may be about to
 * open. More would be held by mistake, or to keep others out.
 */
const MAX_FOR_CHANNEL = 3;
/** Of all places, so many more are for sockets that had to give way and are still saying so: one in ten. */
const LEAVING_SHARE = 0.1;
/** "Try again later", by the registry that RFC 6455, section 7.4.2 made. */
const TRY_AGAIN_LATER = 1013;
/** How long both ends of a socket are given to close it once they were told, at most. */
const LEAVE_MS = 3_000;

/** Who opened a socket, where, with which credential, and to which channel. */
export interface SocketOwner {
  readonly caller: Caller;
  readonly arrival: Arrival;
  readonly credential: string;
  readonly channelId: string;
}

/** A place for one socket, held from its handshake to its end. */
export interface Place {
  /** Aborts, with a GatewayError, when the handshake is to be given up. */
  readonly signal: AbortSignal;
  /** Gives the handshake up, by `error`. */
  giveUp(error: GatewayError): void;
  hold(tunnel: Tunnel): void;
  /** Why its caller lost it; null while nobody took it. */
  readonly lostBy: GatewayError | null;
  free(): void;
}

/** Why a listener may not go on, or null. Asked often: quick, no use of a session, never throws. */
export type WhyEnded = (listener: SocketOwner) => GatewayError | null;

export interface OpenSockets {
  readonly count: number;
  /** Who listens, a line a socket. */
  listeners(): Iterable<SocketOwner>;
  /**
   * When all places are taken the newest socket of the client that holds most gives way, unless the one who asks would
   * then hold as many. Throws gateway.rate.limited when there is no place, or the channel has its sockets already;
   * gateway.draining after `close`.
   */
  take(listener: SocketOwner): Place;
  /** Ends the sockets of one session (by its owner) or handle (by its id): one look-up and those sockets. */
  end(owner: SessionOwner | ClientHandle['id'], why: GatewayError): void;
  /** Ends every socket for which `whyEnded` gives a reason: once for each change of the configuration. */
  review(whyEnded: WhyEnded): void;
  /**
   * Says 1001 to both ends of every socket and gives handshakes up; resolves when all sockets are gone, by force at the
   * deadline.
   */
  close(deadlineMs: number): Promise<void>;
}

interface Taken extends Place {
  readonly listener: SocketOwner;
  /** Among those of its client; null when it does not count any more, because it has to give way or has ended. */
  seat: LruEntry<Taken> | null;
  tunnel: Tunnel | null;
  lostBy: GatewayError | null;
}

/**
 * What ends without anybody saying so (a handle that is too old, a secret file that changed) is noticed at the next
 * tick, by `whyEnded`.
 */
export function createOpenSockets(deps: { clock: Clock; whyEnded?: WhyEnded; max?: number | undefined }): OpenSockets {
  const { clock, whyEnded = () => null, max = MAX_SOCKETS } = deps;
  const places = new Set<Taken>();
  const byOwner = new Map<unknown, Set<Taken>>();
  const byChannel = new Map<string, number>();
  const seats = createFairEviction<Taken>();
  let seated = 0;
  let timer: Timer | null = null;
  let isClosing = false;
  let onEmpty: (() => void) | null = null;

  const unseat = (place: Taken) => {
    if (place.seat === null) return;
    seats.remove(place.seat);
    place.seat = null;
    seated -= 1;
  };
  const expel = (place: Taken, why: GatewayError) => {
    if (place.lostBy !== null) return;
    place.lostBy = why;
    unseat(place);
    if (place.tunnel === null) place.giveUp(why);
    else tellWhy(place.tunnel, why);
  };
  /**
   * Throws where there is no room for one more of its client. Whoever gives way is left with no fewer than the client
   * that comes then has.
   */
  const seat = (place: Taken) => {
    const own = seats.add(ownerKeyOf(place.listener.caller), place);
    place.seat = own;
    seated += 1;
    if (seated <= max) return;
    const last = seats.newest();
    const isShort = places.size >= max + Math.max(1, max * LEAVING_SHARE);
    if (last !== undefined && last.owner.count > own.owner.count && !isShort) expel(last.item, full());
    else {
      unseat(place);
      throw full();
    }
  };
  const full = () =>
    tooMany(`there are ${max} sockets open through this gateway, and this client has its share of them`);
  const review = (judge: WhyEnded) => {
    for (const place of places) {
      const why = judge(place.listener);
      if (why !== null) expel(place, why);
    }
  };
  const tick = () => {
    for (const { tunnel } of places) tunnel?.tick();
    review(whyEnded);
    timer = places.size > 0 ? clock.after(TICK_MS, tick) : null;
  };

  return {
    get count() {
      return places.size;
    },
    *listeners() {
      for (const { listener } of places) yield listener;
    },
    take(listener) {
      if (isClosing) throw draining();
      const { channelId } = listener;
      const onChannel = byChannel.get(channelId) ?? 0;
      if (onChannel >= MAX_FOR_CHANNEL)
        throw tooMany(`this channel has ${onChannel} sockets already, and the platform serves one`);
      const abort = new AbortController();
      const owner = ownerOf(listener.caller);
      const place: Taken = {
        ...{ listener, seat: null, tunnel: null, lostBy: null, signal: abort.signal },
        giveUp: (error) => abort.abort(error),
        hold(tunnel) {
          place.tunnel = tunnel;
          // It came to be while the gateway was leaving, or while its caller lost it.
          if (isClosing) tunnel.goAway();
          else if (place.lostBy !== null) tellWhy(tunnel, place.lostBy);
        },
        free() {
          if (!places.delete(place)) return;
          unseat(place);
          const others = (byChannel.get(channelId) ?? 1) - 1;
          if (others > 0) byChannel.set(channelId, others);
          else byChannel.delete(channelId);
          const siblings = byOwner.get(owner);
          siblings?.delete(place);
          if (siblings?.size === 0) byOwner.delete(owner);
          if (places.size === 0) onEmpty?.();
        },
      };
      seat(place);
      places.add(place);
      byChannel.set(channelId, onChannel + 1);
      if (owner !== null) byOwner.set(owner, (byOwner.get(owner) ?? new Set()).add(place));
      timer ??= clock.after(TICK_MS, tick);
      return place;
    },
    end(owner, why) {
      for (const place of byOwner.get(owner) ?? []) expel(place, why);
    },
    review,
    async close(deadlineMs) {
      isClosing = true;
      if (places.size > 0) {
        const empty = new Promise<void>((resolve) => {
          onEmpty = resolve;
        });
        const deadline = setTimeout(
          () => {
            for (const { tunnel } of places) tunnel?.destroy();
          },
          Math.min(deadlineMs, LEAVE_MS),
        );
        for (const place of places) {
          if (place.tunnel === null) place.giveUp(draining());
          else place.tunnel.goAway();
        }
        await empty;
        clearTimeout(deadline);
      }
      timer?.cancel();
    },
  };
}

/**
 * By what a socket is found when it ends with its owner; null where only the client or nobody in particular owns it.
 */
function ownerOf({ session, handle }: Caller): SessionOwner | string | null {
  return session?.owner ?? handle?.id ?? null;
}

/** Whoever has to give way for others may come again; whoever may not listen any longer must prove anew who it is. */
function tellWhy(tunnel: Tunnel, why: GatewayError): void {
  tunnel.closeForPolicy(why.code, why.code === 'gateway.rate.limited' ? TRY_AGAIN_LATER : undefined);
}

function tooMany(what: string): GatewayError {
  return new GatewayError('gateway.rate.limited', `${what}: close some of them`, { retryAfterMs: 5_000 });
}

function draining(): GatewayError {
  return new GatewayError('gateway.draining', 'the gateway is shutting down: try again');
}
