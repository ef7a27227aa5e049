// The notification channels that were made through this gateway: who made each, with which credential, and where its
// socket is; and how many the platform counts together. What is known here is data, nothing that lives. In memory only:
// after a restart a caller makes a channel again, or lists those it has, which puts them here again.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { type Caller, type EarlierCaller, ownerKey } from '../../auth/callers/caller.ts';
import { type SessionHolder, sessionId } from '../../auth/callers/session.ts';
import type { Clock } from '../../clock.ts';
import { FairEviction, type LruEntry } from '../../fair-eviction.ts';
import type { Log } from '../../logging/log.ts';

/** Who made a channel: what authenticated them, and of a session also whose channels theirs count with. */
export interface ChannelOwner extends EarlierCaller {
  readonly session: {
    readonly owner: Pick<SessionHolder, 'hash' | 'clientId'>;
    /** The platform's id of the user; null where it is not known. */
    readonly user: string | null;
  } | null;
}

/** What is kept of a caller that makes a channel. */
export function channelOwner({ client, authFingerprint, handle, session }: Caller): ChannelOwner {
  return {
    client: client && { name: client.name },
    authFingerprint,
    handle,
    session: session && {
      owner: { hash: session.owner.hash, clientId: session.owner.clientId },
      user: session.tokens.user ?? null,
    },
  };
}

/** A channel that was issued. */
export interface IssuedChannel {
  readonly owner: ChannelOwner;
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

/** So many the platform keeps of a user and application: one more, and the oldest without a socket is gone. */
export const MOST_OF_ACCOUNT = 20;
/** So many are a reason to look who makes them. */
const MANY_OF_ACCOUNT = 16;

/** The channels that count together on the platform, as far as they were made here: one user's, of one application. */
export interface AccountChannels {
  readonly credential: string;
  /** The session whose user's they are; null for those made with the credential's own token. */
  readonly session: string | null;
  readonly channels: number;
  /** Who made them, those with most first; null: callers who are no client. */
  readonly clients: readonly { readonly client: string | null; readonly channels: number }[];
  /** What to know of it; null while there is room. */
  readonly warning: string | null;
}

/** How far an account is: 1 near the platform's bound, 2 beyond it. */
type Nearness = 0 | 1 | 2;

interface KnownChannel {
  readonly channel: IssuedChannel;
  readonly entry: LruEntry<string>;
  /** What the platform counts it by. */
  readonly account: string;
}

/** The channels that were issued, each for as long as it lives. */
export class ChannelRegister {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #log: Pick<Log, 'warn'> | undefined;
  readonly #max: number;
  readonly #channels = new Map<string, KnownChannel>();
  readonly #order = new FairEviction<string>();
  /** Accounts that the log was told of. */
  readonly #told = new Map<string, Nearness>();

  constructor({
    clock,
    log,
    max = MAX_CHANNELS,
  }: { clock: Pick<Clock, 'now'>; log?: Pick<Log, 'warn'>; max?: number }) {
    this.#clock = clock;
    this.#log = log;
    this.#max = max;
  }

  find(id: string): IssuedChannel | null {
    const known = this.#channels.get(id);
    if (known === undefined) return null;
    if (known.channel.expiresAt <= this.#clock.now()) {
      this.forget(id);
      return null;
    }
    this.#order.touch(known.entry);
    return known.channel;
  }

  /**
   * Takes a channel in, or up to date. Null when somebody else has it: it stays theirs. `expires` is an ISO date, or
   * anything else for a day.
   */
  issue(
    id: string,
    { owner, credential, url }: Pick<IssuedChannel, 'owner' | 'credential' | 'url'>,
    expires: unknown,
  ): IssuedChannel | null {
    const known = this.find(id);
    if (known !== null && !(isSameCaller(known.owner, owner) && known.credential === credential)) return null;
    const isNobody = owner.authFingerprint === null && owner.session === null;
    const token = isNobody ? null : (known?.token ?? randomBytes(16).toString('base64url'));
    const channel = { owner, credential, url, token, expiresAt: expiryOf(expires, this.#clock.now()) };
    this.adopt(id, channel);
    return channel;
  }

  /** Takes a channel in as another instance has issued it, in the place of what is known here. */
  adopt(id: string, channel: IssuedChannel): void {
    const { owner } = channel;
    const isNew = !this.#channels.has(id);
    const entry = this.#channels.get(id)?.entry ?? this.#order.add(ownerKeyOf(owner), id);
    const surplus = this.#channels.has(id) || this.#channels.size < this.#max ? undefined : this.#order.first();
    if (surplus !== undefined) this.forget(surplus);
    const account = accountOf(channel);
    this.#channels.set(id, { channel, entry, account });
    if (isNew) this.#tell(account);
  }

  /** Those that live, with their ids. */
  *all(): Iterable<readonly [string, IssuedChannel]> {
    const now = this.#clock.now();
    for (const [id, { channel }] of this.#channels) if (channel.expiresAt > now) yield [id, channel];
  }

  /** The accounts that have channels now, those with most first. */
  accounts(): readonly AccountChannels[] {
    const byAccount = new Map<string, KnownChannel[]>();
    for (const known of this.#living()) {
      const own = byAccount.get(known.account);
      if (own === undefined) byAccount.set(known.account, [known]);
      else own.push(known);
    }
    return Array.from(byAccount.values(), describe).sort((a, b) => b.channels - a.channels);
  }

  *#living(): Iterable<KnownChannel> {
    const now = this.#clock.now();
    for (const known of this.#channels.values()) if (known.channel.expiresAt > now) yield known;
  }

  /** Tells the log when an account comes near the bound, and when it goes beyond it: once each time it does. */
  #tell(account: string): void {
    const own = [...this.#living()].filter((known) => known.account === account);
    const nearness = own.length > MOST_OF_ACCOUNT ? 2 : own.length >= MANY_OF_ACCOUNT ? 1 : 0;
    const before = this.#told.get(account) ?? 0;
    if (nearness === 0) this.#told.delete(account);
    else this.#told.set(account, nearness);
    if (nearness <= before) return;
    const { credential, session, channels, clients, warning } = describe(own);
    const makers = clients.slice(0, MOST_NAMED).map((one) => `${one.client ?? 'anonymous'} ${one.channels}`);
    const whose = { credential, ...(session !== null && { session }) };
    this.#log?.warn({ ...whose, channels, most: MOST_OF_ACCOUNT, clients: makers.join(', '), warning }, MANY);
  }

  forget(id: string): void {
    const known = this.#channels.get(id);
    if (known === undefined) return;
    this.#channels.delete(id);
    this.#order.remove(known.entry);
    // A session's account ends with its last channel; that of a credential may stay, since these are few.
    if (known.channel.owner.session !== null) this.#tellNoMore(known.account);
  }

  #tellNoMore(account: string): void {
    if (!this.#told.has(account)) return;
    for (const known of this.#channels.values()) if (known.account === account) return;
    this.#told.delete(account);
  }
}

const MANY = 'many notification channels';
const MOST_NAMED = 5;

/** A session's user counts for himself, however many sessions he has. */
function accountOf({ owner: { session }, credential }: IssuedChannel): string {
  if (session === null) return credential;
  const { hash, clientId } = session.owner;
  return `${credential}/${clientId}/${session.user ?? `session ${sessionId(hash)}`}`;
}

/** Of one account; there is at least one. */
function describe(own: readonly KnownChannel[]): AccountChannels {
  const { owner, credential } = (own[0] as KnownChannel).channel;
  const counts = new Map<string | null, number>();
  for (const { channel } of own) {
    const client = channel.owner.client?.name ?? null;
    counts.set(client, (counts.get(client) ?? 0) + 1);
  }
  const clients = Array.from(counts, ([client, channels]) => ({ client, channels }));
  clients.sort((a, b) => b.channels - a.channels);
  return {
    credential,
    session: owner.session && sessionId(owner.session.owner.hash),
    channels: own.length,
    clients,
    warning: warningOf(own.length),
  };
}

function warningOf(channels: number): string | null {
  if (channels < MANY_OF_ACCOUNT) return null;
  const bound = `Genesys Cloud keeps ${MOST_OF_ACCOUNT} for each user and OAuth client`;
  return channels > MOST_OF_ACCOUNT
    ? `${channels} notification channels were made in 24 hours, but ${bound}: the oldest without a socket are gone; reuse them`
    : `${channels} notification channels are in use, and ${bound}: one too many ends the oldest without a socket; reuse them`;
}

function expiryOf(expires: unknown, now: number): number {
  const told = typeof expires === 'string' ? Date.parse(expires) : Number.NaN;
  return told > now ? Math.min(told, now + LONGEST_LIFE_MS) : now + LIFE_MS;
}

/**
 * Whether two calls come from the same: the session, or the client by whatever proof, or one certificate's subject, or
 * callers who are nobody in particular.
 */
export function isSameCaller(one: EarlierCaller, other: EarlierCaller): boolean {
  if (one.session !== null || other.session !== null) return one.session?.owner.hash === other.session?.owner.hash;
  return ownerKeyOf(one) === ownerKeyOf(other);
}

/** Whose a channel is. */
export function ownerKeyOf({ client, authFingerprint }: EarlierCaller): string {
  return ownerKey({ client: client?.name ?? null, authFingerprint });
}

/** Whether `shown` is the channel's own token. */
export function showsToken(channel: IssuedChannel, shown: string | null): boolean {
  if (channel.token === null || shown === null) return false;
  const [right, given] = [Buffer.from(channel.token), Buffer.from(shown)];
  return right.length === given.length && timingSafeEqual(right, given);
}
