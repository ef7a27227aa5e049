// The notification channels that were made through this gateway: who made each, with which credential, and where its
// socket is. In memory only: after a restart a caller makes a channel again, or lists those it has, which puts them
// here again.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { type Caller, ownerKeyOf } from '../../auth/callers/caller.ts';
import type { Clock } from '../../clock.ts';
import { FairEviction, type LruEntry } from '../../fair-eviction.ts';

/** A channel that was issued. */
export interface IssuedChannel {
  readonly owner: Caller;
  /** Name of the credential it was made with. */
  readonly credential: string;
  /** The upstream's socket. */
  readonly url: URL;
  /**
   * Proves its owner where a socket cannot carry another proof (browsers, SDKs); null for owners who have none to show.
   */
  readonly token: string | null;
  /** Epoch ms. */
  readonly expiresAt: number;
}

/** A channel's life on the platform, and the longest that is believed. */
const LIFE_MS = 24 * 3_600_000;
const LONGEST_LIFE_MS = 7 * LIFE_MS;
/**
 * The platform has 20 channels for each user and application; beyond so many in all, those not used for longest of the
 * client that has most are forgotten.
 */
const MAX_CHANNELS = 10_000;

/** The channels that were issued, each for as long as it lives. */
export interface ChannelRegister {
  /**
   * Takes a channel in, or up to date. Null when somebody else has it: it stays theirs. `expires` is an ISO date, or
   * anything else for a day.
   */
  issue(
    id: string,
    channel: Pick<IssuedChannel, 'owner' | 'credential' | 'url'>,
    expires: unknown,
  ): IssuedChannel | null;
  find(id: string): IssuedChannel | null;
}

export function createChannelRegister({
  clock,
  max = MAX_CHANNELS,
}: {
  clock: Pick<Clock, 'now'>;
  max?: number;
}): ChannelRegister {
  const channels = new Map<string, { readonly channel: IssuedChannel; readonly entry: LruEntry<string> }>();
  const order = new FairEviction<string>();

  function forget(id: string): void {
    const known = channels.get(id);
    if (known === undefined) return;
    channels.delete(id);
    order.remove(known.entry);
  }

  function find(id: string): IssuedChannel | null {
    const known = channels.get(id);
    if (known === undefined) return null;
    if (known.channel.expiresAt <= clock.now()) {
      forget(id);
      return null;
    }
    order.touch(known.entry);
    return known.channel;
  }

  return {
    find,
    issue(id, { owner, credential, url }, expires) {
      const known = find(id);
      if (known !== null && !(isSameCaller(known.owner, owner) && known.credential === credential)) return null;
      const isNobody = owner.authFingerprint === null && owner.session === null;
      const token = isNobody ? null : (known?.token ?? randomBytes(16).toString('base64url'));
      const channel = { owner, credential, url, token, expiresAt: expiryOf(expires, clock.now()) };
      const entry = channels.get(id)?.entry ?? order.add(ownerKeyOf(owner), id);
      const surplus = channels.has(id) || channels.size < max ? undefined : order.first();
      if (surplus !== undefined) forget(surplus);
      channels.set(id, { channel, entry });
      return channel;
    },
  };
}

function expiryOf(expires: unknown, now: number): number {
  const told = typeof expires === 'string' ? Date.parse(expires) : Number.NaN;
  return told > now ? Math.min(told, now + LONGEST_LIFE_MS) : now + LIFE_MS;
}

/**
 * Whether two calls come from the same: the session, or the client by whatever proof, or one certificate's subject, or
 * callers who are nobody in particular.
 */
export function isSameCaller(one: Caller, other: Caller): boolean {
  // A session is set to work anew now and then; its owner stays.
  if (one.session !== null || other.session !== null) return one.session?.owner === other.session?.owner;
  return ownerKeyOf(one) === ownerKeyOf(other);
}

/** Whether `shown` is the channel's own token. */
export function showsToken(channel: IssuedChannel, shown: string | null): boolean {
  if (channel.token === null || shown === null) return false;
  const [right, given] = [Buffer.from(channel.token), Buffer.from(shown)];
  return right.length === given.length && timingSafeEqual(right, given);
}
