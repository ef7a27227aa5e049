// Notification channels and their subscriptions. The live socket of a channel is kept here and created by the streaming
// host.

import { createOpaqueToken, type RandomSource } from './random.ts';
import type { AccessToken, TokenStore } from './tokens.ts';

/** The part of a live socket that channels use. */
interface ChannelSocket {
  /** Resolves when the text has been handed to the system. */
  send(text: string): Promise<void>;
  close(code: number, reason: string): void;
}

/** A channel. Its id is a secret: whoever knows it may listen. */
export interface Channel {
  id: string;
  /** The user and application whose limit it counts for. */
  owner: string;
  /** The access token that made it; its end closes the socket. */
  token: AccessToken;
  expiresAt: number;
  topics: Set<string>;
  socket?: ChannelSocket | undefined;
}

/** The platform's limits: channels per user and application, life of a channel, topics per channel. */
const CHANNELS_PER_OWNER = 20;
export const TOPICS_PER_CHANNEL = 1000;
const CHANNEL_LIFE_MS = 24 * 3600_000;
const MAX_CHANNELS = 10_000;

/** The channels that exist. */
export interface ChannelStore {
  /** Makes one; at an owner's 21st the oldest without a live socket goes, and if all are live the oldest of all. */
  open(fields: Pick<Channel, 'owner' | 'token'>): Channel;
  /** `undefined` when unknown or past its life. */
  find(id: string): Channel | undefined;
  ownedBy(owner: string): Channel[];
  all(): Iterable<Channel>;
  /** Closes the sockets of channels whose token is no longer valid. */
  closeOrphans(tokens: TokenStore): void;
}

export function createChannelStore(clock: { now(): number }, random: RandomSource): ChannelStore {
  const channels = new Map<string, Channel>();

  function drop(channel: Channel | undefined): void {
    if (!channel) return;
    channels.delete(channel.id);
    channel.socket?.close(1000, 'channel dropped');
  }

  function find(id: string): Channel | undefined {
    const channel = channels.get(id);
    if (!channel || channel.expiresAt > clock.now()) return channel;
    drop(channel);
    return undefined;
  }

  const ownedBy = (owner: string) =>
    [...channels.values()].filter((channel) => channel.owner === owner && find(channel.id));

  return {
    open(fields) {
      const mine = ownedBy(fields.owner);
      if (mine.length >= CHANNELS_PER_OWNER) drop(mine.find((channel) => !channel.socket) ?? mine[0]);
      if (channels.size >= MAX_CHANNELS) drop(channels.values().next().value);
      const id = `streaming-0-${createOpaqueToken(random).slice(0, 26).toLowerCase()}`;
      const channel: Channel = { ...fields, id, expiresAt: clock.now() + CHANNEL_LIFE_MS, topics: new Set() };
      channels.set(id, channel);
      return channel;
    },
    find,
    ownedBy,
    all: () => channels.values(),
    closeOrphans(tokens) {
      for (const { token, socket } of channels.values()) {
        if (socket && tokens.check(token.value).kind !== 'valid') socket.close(1008, 'token ended');
      }
    },
  };
}
