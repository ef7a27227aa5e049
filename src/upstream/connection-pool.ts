// All connections of one way out: to which origin a request goes, and a look at all of them from time to time. As an
// undici dispatcher without undici's pools: which connection carries a request matters here.

import { Dispatcher, errors } from 'undici';
import type { Timer } from '../clock.ts';
import { type ConnectionsDeps, OriginConnections, type WarmSettings } from './origin-connections.ts';
import type { CarriedHandler } from './pooled-connection.ts';

/** How often idle connections are looked at, at least, while there are any or one is wanted. */
const LOOK_MS = 5_000;
const SHORTEST_LOOK_MS = 100;
/**
 * A look that comes so much too late, or a wall clock that went ahead by so much: the machine slept, or this process
 * did, and what the other side ended meanwhile was not heard.
 */
const SLEPT_MS = 5_000;

/** Connections, by what they do; unused ones have not carried anything yet. */
export interface ConnectionCounts {
  readonly active: number;
  readonly idle: number;
  readonly unused: number;
}

/** What a pool is made with. */
export interface PoolOptions extends ConnectionsDeps {
  readonly warm: WarmSettings;
  /** Whether the origin can be reached, as far as is known: nothing is dialled in the background otherwise. */
  readonly mayDial: (origin: string) => boolean;
}

/**
 * A pool without a limit: whoever may send does so. While calls go to an origin, and for a time after the last one, a
 * connection to it stays open, or is opened again in the background. `close` waits for what is under way, `destroy`
 * ends it.
 */
export class ConnectionPool extends Dispatcher {
  /** Shared with the origins. */
  readonly #settings: PoolOptions & { warm: WarmSettings };
  readonly #origins = new Map<string, OriginConnections>();
  #timer: Timer | null = null;
  /** Monotonic ms; infinite while no look is due. */
  #lookDueAt = Number.POSITIVE_INFINITY;
  /** How far the wall clock is ahead of the monotonic one. */
  #wallAheadMs: number;
  #isClosed = false;

  constructor(options: PoolOptions) {
    super();
    this.#settings = { ...options };
    const { clock } = options;
    this.#wallAheadMs = clock.now() - clock.monotonic();
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: CarriedHandler): boolean {
    if (this.#isClosed) {
      handler.onError?.(new errors.ClientClosedError());
      return false;
    }
    const { clock } = this.#settings;
    const now = clock.monotonic();
    this.#noteSleep(now);
    const connections = this.#originOf(String(options.origin));
    connections.use(now);
    connections.partner?.use(now);
    connections.dispatch(options, handler, now);
    if (this.#timer === null) this.#lookIn(LOOK_MS, now);
    return true;
  }

  /** Of all origins together. */
  get counts(): ConnectionCounts {
    let [active, idle, unused] = [0, 0, 0];
    for (const { counts } of this.#origins.values()) {
      active += counts.active;
      idle += counts.idle;
      unused += counts.unused;
    }
    return { active, idle, unused };
  }

  /** Goes by other settings from now on, and opens what `from`, whose place it takes, kept warm. */
  keepWarm(warm: WarmSettings, from?: ConnectionPool): void {
    if (this.#isClosed) return;
    this.#settings.warm = warm;
    const { clock } = this.#settings;
    const now = clock.monotonic();
    const before = from === undefined ? [] : from.#origins;
    for (const [origin, { lastUsedAt }] of before) this.#originOf(origin).use(lastUsedAt);
    for (const connections of this.#origins.values()) {
      connections.partner = this.#partnerOf(connections.origin);
      if (!connections.isWanted(now)) connections.endIdle();
    }
    this.#lookNow(now);
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> | undefined {
    return settled(
      this.#end((connections) => connections.close()),
      callback,
    );
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | undefined {
    return settled(
      this.#end((connections) => connections.destroy()),
      typeof first === 'function' ? first : second,
    );
  }

  async #end(how: (connections: OriginConnections) => Promise<void>): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await Promise.all(Array.from(this.#origins.values(), how));
  }

  #originOf(origin: string): OriginConnections {
    let connections = this.#origins.get(origin);
    if (connections === undefined) {
      connections = new OriginConnections(origin, this.#settings);
      this.#origins.set(origin, connections);
      connections.partner = this.#partnerOf(origin);
    }
    return connections;
  }

  #partnerOf(origin: string): OriginConnections | null {
    const login = this.#settings.warm.hosts?.get(origin);
    return login === undefined ? null : this.#originOf(login);
  }

  /** Ends what was idle while the machine slept: dead connections look like living ones until they are used. */
  #noteSleep(now: number): void {
    const aheadMs = this.#settings.clock.now() - now;
    const slept = aheadMs - this.#wallAheadMs > SLEPT_MS || now - this.#lookDueAt > SLEPT_MS;
    this.#wallAheadMs = aheadMs;
    if (!slept) return;
    for (const connections of this.#origins.values()) connections.endIdle();
    this.#lookIn(LOOK_MS, now);
  }

  #lookIn(delayMs: number, now: number): void {
    this.#timer?.cancel();
    this.#lookDueAt = now + delayMs;
    this.#timer = this.#settings.clock.after(delayMs, () => {
      const then = this.#settings.clock.monotonic();
      this.#noteSleep(then);
      this.#lookNow(then);
    });
  }

  #lookNow(now: number): void {
    let nextMs = LOOK_MS;
    let isNeeded = false;
    const isTrusted = this.#settings.trusted?.() ?? (() => true);
    for (const connections of this.#origins.values()) {
      nextMs = Math.min(nextMs, connections.review(now, isTrusted));
      isNeeded ||= !connections.isEmpty || connections.isWanted(now);
    }
    if (isNeeded) this.#lookIn(Math.max(SHORTEST_LOOK_MS, nextMs), now);
    else {
      this.#timer?.cancel();
      this.#timer = null;
      this.#lookDueAt = Number.POSITIVE_INFINITY;
    }
  }
}

function settled(work: Promise<void>, callback: (() => void) | undefined): Promise<void> | undefined {
  if (callback === undefined) return work;
  void work.then(callback);
  return undefined;
}
