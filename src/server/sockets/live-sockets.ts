// The sockets that are open through this gateway, and those about to be: how many there may be, and how they end when the gateway does.

import type { Clock, Timer } from '../../clock.ts';
import { GatewayError } from '../../errors.ts';
import { TICK_MS, type Tunnel } from '../../upstream/sockets/tunnel.ts';

/** Each costs two descriptors; so many fit under the limit of most systems. */
const MAX_SOCKETS = 2_000;
/** How long both ends of a socket are given to close it once they were told, at most. */
const LEAVE_MS = 3_000;

/** A place for one socket, held from its handshake to its end. */
export interface Place {
  /** Aborts, with a GatewayError, when the handshake is to be given up. */
  readonly signal: AbortSignal;
  /** Gives the handshake up, by `error`. */
  giveUp(error: GatewayError): void;
  hold(tunnel: Tunnel): void;
  free(): void;
}

export interface LiveSockets {
  readonly count: number;
  /** Throws gateway.rate.limited when there is no place, gateway.draining after `close`. */
  take(): Place;
  /** Says 1001 to both ends of every socket and gives handshakes up; resolves when all sockets are gone, by force at the deadline. */
  close(deadlineMs: number): Promise<void>;
}

export function createLiveSockets({ clock, max = MAX_SOCKETS }: { clock: Clock; max?: number }): LiveSockets {
  const places = new Map<Place, Tunnel | null>();
  let timer: Timer | null = null;
  let isClosing = false;
  let onEmpty: (() => void) | null = null;

  const tick = () => {
    for (const tunnel of places.values()) tunnel?.tick();
    timer = places.size > 0 ? clock.after(TICK_MS, tick) : null;
  };

  return {
    get count() {
      return places.size;
    },
    take() {
      if (isClosing) throw draining();
      if (places.size >= max) {
        throw new GatewayError('gateway.rate.limited', `there are ${max} sockets open through this gateway: close some of them`, {
          retryAfterMs: 5_000,
        });
      }
      const abort = new AbortController();
      const place: Place = {
        signal: abort.signal,
        giveUp: (error) => abort.abort(error),
        hold(tunnel) {
          places.set(place, tunnel);
          // It came to be while the gateway was leaving.
          if (isClosing) tunnel.goAway();
        },
        free() {
          places.delete(place);
          if (places.size === 0) onEmpty?.();
        },
      };
      places.set(place, null);
      timer ??= clock.after(TICK_MS, tick);
      return place;
    },
    async close(deadlineMs) {
      isClosing = true;
      if (places.size > 0) {
        const empty = new Promise<void>((resolve) => {
          onEmpty = resolve;
        });
        const deadline = setTimeout(
          () => {
            for (const tunnel of places.values()) tunnel?.destroy();
          },
          Math.min(deadlineMs, LEAVE_MS),
        );
        for (const [place, tunnel] of places) {
          if (tunnel === null) place.giveUp(draining());
          else tunnel.goAway();
        }
        await empty;
        clearTimeout(deadline);
      }
      timer?.cancel();
    },
  };
}

function draining(): GatewayError {
  return new GatewayError('gateway.draining', 'the gateway is shutting down: try again');
}
