// One connection of the pool: an undici client, which carries one request at a time, and what is known of its socket.
// Which request it carries is decided elsewhere.

import type { Socket } from 'node:net';
import { type buildConnector, Client, type Dispatcher } from 'undici';

/** What carries a request, as the request's handler sees it. */
export interface Carrier {
  /** Whether the other side may have ended the connection before the request came to it. */
  readonly isReused: boolean;
  /** Null while it has none. */
  readonly socket: Socket | null;
  /** The other side had ended it: those that have been idle for longer are no better. */
  suspect(): void;
}

/** A handler that is told what carries its request. */
export interface CarriedHandler extends Dispatcher.DispatchHandler {
  carrier?: Carrier | null;
}

/** What connections tell the pool that they are in, and ask of it. */
export interface ConnectionOwner {
  /** Opens one, or hands over one that is open. `unusedMs`: how long it has been so. */
  connect(
    connection: PooledConnection,
    options: buildConnector.Options,
    connected: (error: Error | null, socket: Socket | null, unusedMs: number) => void,
  ): void;
  /** The request is over, and another one can be carried. */
  freed(connection: PooledConnection): void;
  /** It is closed and carries nothing. `byPeer`: ended by the other side while it was idle. */
  closed(connection: PooledConnection, byPeer: boolean): void;
  suspected(connection: PooledConnection): void;
}

/** Settings of the client. */
export interface ConnectionSettings {
  readonly origin: string;
  readonly bodyMs: number;
  /** How long it may be idle where the platform does not tell; what it tells counts up to `longestIdleMs`. */
  readonly idleMs: number;
  readonly longestIdleMs: number;
}

/** Handed-over connections that are younger were not idle. */
const FRESH_MS = 1_000;

export class PooledConnection implements Carrier {
  /** Whether what it carries may be sent twice. */
  mayRepeat = true;
  /** Monotonic ms: since when it is idle, and when it is to be ended though nothing is wrong with it. */
  idleSince = 0;
  endsAt = 0;
  /** How long it had been idle when it was last taken. */
  idledMs = 0;
  socket: Socket | null = null;
  isBusy = false;
  readonly #owner: ConnectionOwner;
  readonly #client: Client;
  #answers = 0;
  #unusedMs = 0;
  #isEnded = false;

  constructor(owner: ConnectionOwner, { origin, bodyMs, idleMs, longestIdleMs }: ConnectionSettings) {
    this.#owner = owner;
    this.#client = new Client(origin, {
      connect: this.#connect,
      // HTTP/2 is off on purpose: one bad header would end every exchange that shares the connection.
      allowH2: false,
      pipelining: 1,
      keepAliveTimeout: idleMs,
      keepAliveMaxTimeout: longestIdleMs,
      // The head's deadline is ours: undici's is restarted by informational responses.
      headersTimeout: 0,
      bodyTimeout: bodyMs,
      maxHeaderSize: 64 * 1024,
    });
    this.#client.on('drain', this.#onDrain).on('disconnect', this.#onDisconnect);
  }

  get isReused(): boolean {
    return this.#answers > 0 || this.#unusedMs >= FRESH_MS;
  }

  suspect(): void {
    this.#owner.suspected(this);
  }

  /** Carries a request; the pool is told when it is over. */
  dispatch(options: Dispatcher.DispatchOptions, handler: CarriedHandler): void {
    this.isBusy = true;
    handler.carrier = this;
    // undici tells nothing of a request that it refuses to write: there is none then.
    if (this.#client.dispatch(options, handler) || this.#client.stats.size === 0) this.#onDrain();
  }

  /** Ends it at once, and what it carries. */
  async end(): Promise<void> {
    this.#isEnded = true;
    await this.#client.destroy();
  }

  /** Resolves when what it carries is over and it is closed. */
  async close(): Promise<void> {
    if (!this.#isEnded) await this.#client.close();
  }

  readonly #connect: buildConnector.connector = (options, callback) => {
    this.#owner.connect(this, options, (error, socket, unusedMs) => {
      this.socket = socket;
      this.#answers = 0;
      this.#unusedMs = unusedMs;
      if (socket === null) callback(error as Error, null);
      else callback(null, socket);
    });
  };

  readonly #onDrain = (): void => {
    if (!this.isBusy || this.#isEnded) return;
    this.isBusy = false;
    if (this.socket === null || this.socket.destroyed) this.#owner.closed(this, false);
    else {
      this.#answers += 1;
      this.#owner.freed(this);
    }
  };

  readonly #onDisconnect = (_origin: URL, _targets: readonly Dispatcher[], { code }: { code?: string }): void => {
    this.socket = null;
    // For a request that it had not begun to write it connects once more; otherwise it tells that it is over.
    if (this.isBusy || this.#isEnded) return;
    this.#owner.closed(this, code !== 'UND_ERR_INFO');
  };
}
