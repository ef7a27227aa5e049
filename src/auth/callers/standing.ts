// Whether a client that proves who it is may call now: it has not ended, is not blocked, and calls from where it may.
// Asked at each use of a proof, so that handles, sessions and open sockets end with it.

import type { Clock } from '../../clock.ts';
import { AddressBlocks } from '../../config/address-blocks.ts';
import type { ClientConfig } from '../../config/gateway-config.ts';
import { UNIX } from '../../config/sections/client.ts';
import type { ClientBlocks } from './client-blocks.ts';

/** Why a client is refused that has proved who it is. The message is for its caller, who knows the secret. */
export interface Bar {
  readonly reason: 'expired' | 'blocked' | 'address';
  readonly message: string;
}

/** Where a client may call from. */
interface Places {
  readonly addresses: AddressBlocks;
  readonly isUnix: boolean;
}

/** The standing of the clients of one configuration. */
export class Standing {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #blocks: Pick<ClientBlocks, 'has'>;
  /** Of the clients that may not call from everywhere. */
  readonly #places: ReadonlyMap<string, Places>;

  constructor(clients: readonly ClientConfig[], clock: Pick<Clock, 'now'>, blocks: Pick<ClientBlocks, 'has'>) {
    this.#clock = clock;
    this.#blocks = blocks;
    this.#places = new Map(
      clients.filter(({ from }) => from.length > 0).map(({ name, from }) => [name, placesOf(from)] as const),
    );
  }

  /**
   * Null while the client may call. `peer` is the address that its call comes from, `unix` or `unix:PATH` for a Unix
   * socket; null, where it is not known, is in no list. It counts only for a client with `from`.
   */
  whyBarred({ name, expiresAt }: ClientConfig, peer: string | null): Bar | null {
    if (this.#blocks.has(name)) return { reason: 'blocked', message: `client ${name} is blocked: ${ASK}` };
    if (expiresAt !== null && this.#clock.now() >= expiresAt)
      return { reason: 'expired', message: `client ${name} ended at ${isoTime(expiresAt)}: ${ASK}` };
    const places = this.#places.get(name);
    if (places === undefined || isIn(places, peer)) return null;
    const where = peer === null ? 'an address that is not known' : peer;
    return {
      reason: 'address',
      message: `client ${name} may not call from ${where}: client.${name}.from does not list it`,
    };
  }
}

const ASK = 'ask who runs this gateway';

function placesOf(from: readonly string[]): Places {
  return { addresses: new AddressBlocks(from.filter((item) => item !== UNIX)), isUnix: from.includes(UNIX) };
}

function isIn({ addresses, isUnix }: Places, peer: string | null): boolean {
  if (peer === null) return false;
  return peer === UNIX || peer.startsWith(`${UNIX}:`) ? isUnix : addresses.has(peer);
}

/** The last time a date can hold stands for all beyond. */
function isoTime(at: number): string {
  return new Date(Math.min(at, 8.64e15)).toISOString().replace('.000Z', 'Z');
}
