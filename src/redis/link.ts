// One connection to one server, from its start to its end: the only file that loads the client library, and only when
// one is opened. It does not connect again, and knows nothing of keys; the deadlines of commands are its user's.

import { isIP } from 'node:net';
import { getCACertificates } from 'node:tls';
import type { ErrorReply, RedisClientOptions, RedisClientType } from '@redis/client';
import type { Clock } from '../clock.ts';
import { formatRedisAddress, type RedisAddress } from '../config/redis-url.ts';
import { withinDeadline } from './deadline.ts';
import { connectionFailure, connectionLoss, RedisError, refusal } from './redis-error.ts';

/** Connecting, TLS and HELLO together may take this long. */
export const CONNECT_DEADLINE_MS = 1000;

/** What a reply can be. Texts are strings, a map is an object. */
export type Reply = string | number | boolean | null | readonly Reply[] | { readonly [field: string]: Reply };

/** Where to connect, and as whom. */
export interface LinkTarget {
  readonly address: RedisAddress;
  readonly database: number;
  readonly username: string | null;
  /** Revealed: it goes on the wire next. */
  readonly password: string | null;
  /** For an address with TLS. `ca` counts beside the system's roots. */
  readonly tls: { readonly ca: readonly string[]; readonly cert?: string; readonly key?: string };
}

/** What a server says of itself in its reply to HELLO. */
export interface Hello {
  readonly server: string;
  readonly version: string;
  readonly role: string;
  readonly mode: string;
}

/** An open connection. */
export class Link {
  readonly address: RedisAddress;
  readonly hello: Hello;
  /** Monotonic time at which the server was heard last. */
  heardAt: number;
  readonly #client: RedisClientType;
  readonly #clock: Clock;
  /** The library's class for what the server refuses. */
  readonly #Refusal: typeof ErrorReply;

  private constructor(
    client: RedisClientType,
    address: RedisAddress,
    hello: Hello,
    clock: Clock,
    Refusal: typeof ErrorReply,
  ) {
    this.#client = client;
    this.address = address;
    this.hello = hello;
    this.#clock = clock;
    this.#Refusal = Refusal;
    this.heardAt = clock.monotonic();
  }

  /** Opens one within the deadline. Throws RedisError; nothing is left open then. `onEnd`: once, not after `destroy`. */
  static async open(target: LinkTarget, clock: Clock, onEnd: (cause: RedisError) => void = () => {}): Promise<Link> {
    const { createClient, ErrorReply } = await import('@redis/client');
    const isRefusal = (error: unknown): error is Error => error instanceof ErrorReply;
    const where = formatRedisAddress(target.address);
    const client = createClient(clientOptions(target)) as unknown as RedisClientType;
    let link: Link | undefined;
    let cause: RedisError | undefined;
    client.on('error', (error: unknown) => {
      // Whatever it was, nothing that this connection says from now on can be ascribed to a command.
      const isFirst = cause === undefined;
      const failure = link === undefined ? connectionFailure : connectionLoss;
      cause ??= isRefusal(error) ? refusal(error.message) : failure(where, error);
      client.destroy();
      if (isFirst && link !== undefined) onEnd(cause);
    });
    const late = () => new RedisError('offline', `Redis at ${where} does not answer within ${CONNECT_DEADLINE_MS} ms`);
    try {
      const hello = await withinDeadline(clock, CONNECT_DEADLINE_MS, late, greet(client));
      link = new Link(client, target.address, hello, clock, ErrorReply);
      return link;
    } catch (error) {
      client.destroy();
      if (error instanceof RedisError) throw error;
      throw cause ?? (isRefusal(error) ? refusal(error.message) : connectionFailure(where, error));
    }
  }

  /** Sends a command. Rejects with RedisError `refused` or `lost`; may never settle while the server is silent. */
  async send(args: readonly string[]): Promise<Reply> {
    try {
      const reply = await this.#client.sendCommand<Reply>(args);
      this.heardAt = this.#clock.monotonic();
      return reply;
    } catch (error) {
      if (!(error instanceof this.#Refusal))
        throw new RedisError('lost', 'the connection to Redis ended before the reply');
      this.heardAt = this.#clock.monotonic();
      const moved = parseMoved(error.message, this.address);
      throw moved === null ? refusal(error.message) : new MovedError(moved);
    }
  }

  /** The same with the deadline of a connection that is being made. */
  ask(args: readonly string[]): Promise<Reply> {
    const late = () =>
      new RedisError('offline', `Redis at ${formatRedisAddress(this.address)} does not answer in time`);
    return withinDeadline(this.#clock, CONNECT_DEADLINE_MS, late, this.send(args));
  }

  /** Resolves when the server has confirmed it. `listener` must not throw. */
  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    try {
      await this.#client.subscribe(channel, (message) => {
        this.heardAt = this.#clock.monotonic();
        listener(message);
      });
    } catch (error) {
      if (error instanceof this.#Refusal) throw refusal(error.message);
      throw new RedisError('lost', 'the connection to Redis ended');
    }
  }

  /** Ends it at once; commands under way reject as `lost`. */
  destroy(): void {
    this.#client.destroy();
  }
}

/** A refusal that names the node that has our keys. */
export class MovedError extends RedisError {
  readonly address: RedisAddress;

  constructor(address: RedisAddress) {
    super('refused', `our keys are at the node ${formatRedisAddress(address)} of the cluster (MOVED)`, 'MOVED');
    this.address = address;
  }
}

function clientOptions({ address, database, username, password, tls }: LinkTarget): RedisClientOptions {
  const common = { connectTimeout: CONNECT_DEADLINE_MS, reconnectStrategy: false } as const;
  const socket =
    address.kind === 'unix'
      ? { path: address.path, tls: false as const, ...common }
      : { host: address.host, port: address.port, ...common, ...(address.isTls && tlsOptions(address.host, tls)) };
  return {
    RESP: 3,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    // Its own deadline ends when a command is written, and costs an AbortSignal each.
    commandOptions: { timeout: 0 },
    database,
    socket: socket as NonNullable<RedisClientOptions['socket']>,
    ...(username !== null && { username }),
    ...(password !== null && { password }),
  } as RedisClientOptions;
}

function tlsOptions(host: string, { ca, cert, key }: LinkTarget['tls']) {
  return {
    tls: true,
    ca: [...new Set([...getCACertificates('default'), ...getCACertificates('system'), ...ca])],
    // Said explicitly, because Node lets NODE_TLS_REJECT_UNAUTHORIZED=0 decide where this is left out.
    rejectUnauthorized: true,
    ...(isIP(host) === 0 && { servername: host }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}

/** Connects, and asks once more who is there: the library keeps to itself what it was told. */
async function greet(client: RedisClientType): Promise<Hello> {
  await client.connect();
  const hello = await client.sendCommand<Record<string, unknown>>(['HELLO']);
  const field = (name: string) => (typeof hello?.[name] === 'string' ? (hello[name] as string) : '');
  return { server: field('server'), version: field('version'), role: field('role'), mode: field('mode') };
}

/** `MOVED 3999 127.0.0.1:6381`; an empty host is that of the node that says so. */
function parseMoved(reply: string, from: RedisAddress): RedisAddress | null {
  const [, host = '', port = ''] = /^MOVED \d+ ([0-9A-Za-z.:_[\]-]{0,255}):(\d{1,5})$/.exec(reply) ?? [];
  if (port === '' || from.kind === 'unix') return null;
  return { ...from, host: host.replace(/^\[|\]$/g, '') || from.host, port: Number(port) };
}
