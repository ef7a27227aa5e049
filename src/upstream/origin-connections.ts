// The connections to one origin: which of them carries a request, and the one that is kept open for the next while
// there is traffic. It knows nothing of calls, nor how a connection is dialled.

import type { Socket } from 'node:net';
import type { buildConnector, Dispatcher } from 'undici';
import type { Clock } from '../clock.ts';
import { type ErrorCode, isGatewayError } from '../errors.ts';
import { IdleLife } from './idle-life.ts';
import { type CarriedHandler, type ConnectionOwner, PooledConnection } from './pooled-connection.ts';
import { SpareConnection } from './spare-connection.ts';

/** What hosts are kept warm, and for how long after the last call. Replaced by a reload. */
export interface WarmSettings {
  /** 0: none is; then idle connections end after a few seconds, and none is opened but for a call. */
  readonly keepWarmMs: number;
  /** The origins that calls go to by the configuration, with the login origins that belong to them; null: any. */
  readonly hosts: ReadonlyMap<string, string> | null;
}

/** What connections are made with. `random` is 0 (inclusive) to 1 (exclusive). */
export interface ConnectionsDeps {
  /** Opens every connection: TLS, corporate proxy, dial deadline (egress). */
  readonly connect: buildConnector.connector;
  /** The longest pause of the other side in a response. */
  readonly bodyMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** Looks at the trust files: what it gives tells whether a connection was verified by them as they are now. */
  readonly trusted?: (() => (socket: Socket) => boolean) | undefined;
}

/** What is asked of the pool that an origin's connections belong to. */
interface Pool extends ConnectionsDeps {
  readonly warm: WarmSettings;
  /** Whether the origin can be reached, as far as is known: nothing is dialled in the background otherwise. */
  readonly mayDial: (origin: string) => boolean;
}

/** Idle connections beyond two end after this time; where none is kept warm, all after the shorter one. */
const SURPLUS_MS = 30_000;
const KEPT = 2;
const NOT_WARM_MS = 4_000;
/**
 * No connection is used for longer, nor idle: so that another address of the host, or another way there, is found. Up to
 * a quarter less, so that those of one burst are not replaced at once.
 */
const LONGEST_LIFE_MS = 10 * 60_000;
/** What ends sooner, unused, is not opened again at once. */
const SHORT_LIFE_MS = 20_000;
const LONGEST_PAUSE_MS = 5 * 60_000;
/** The pauses between attempts to open one in the background. */
const SHORTEST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/**
 * What may pass without anybody doing something. After any other failure, a password that the proxy refuses above all,
 * nothing is dialled before a call has got through.
 */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'gateway.upstream.unreachable',
  'gateway.upstream.timeout',
  'gateway.proxy.timeout',
]);

/** A dial in the background. */
interface BackgroundDial {
  /** Of a call that came meanwhile: it takes what comes of it. */
  claimed: ((error: Error | null, socket: Socket | null) => void) | null;
  /** What comes of it is not wanted any more. */
  isStale: boolean;
}

/** Closed by its maker. */
export class OriginConnections implements ConnectionOwner {
  readonly origin: string;
  /** The login host that is kept warm while calls go here. */
  partner: OriginConnections | null = null;
  readonly #pool: Pool;
  readonly #all = new Set<PooledConnection>();
  /** Those that carry nothing: the one that was used last is at the end, and taken first. */
  readonly #idle: PooledConnection[] = [];
  readonly #usedLife: IdleLife;
  readonly #unusedLife: IdleLife;
  #spare: SpareConnection | null = null;
  #dial: BackgroundDial | null = null;
  #lastUsedAt = Number.NEGATIVE_INFINITY;
  /** Nothing is dialled in the background before this. */
  #notBefore = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #shortLives = 0;
  #isClosed = false;

  constructor(origin: string, pool: Pool) {
    this.origin = origin;
    this.#pool = pool;
    this.#usedLife = new IdleLife(pool.clock);
    this.#unusedLife = new IdleLife(pool.clock);
  }

  /** How many there are, by what they do. Unused ones have not carried anything yet. */
  get counts(): { readonly active: number; readonly idle: number; readonly unused: number } {
    let connected = 0;
    for (const { socket } of this.#all) if (socket !== null) connected += 1;
    const idle = this.#idle.length;
    return { active: connected - idle, idle, unused: this.#spare === null ? 0 : 1 };
  }

  /** Monotonic ms; minus infinity before the first call. */
  get lastUsedAt(): number {
    return this.#lastUsedAt;
  }

  /** A call goes here, or may soon. */
  use(now: number): void {
    if (now > this.#lastUsedAt) this.#lastUsedAt = now;
  }

  /** Whether one connection is to be there for the next call. */
  isWanted(now: number): boolean {
    const { keepWarmMs, hosts } = this.#pool.warm;
    if (this.#isClosed || now - this.#lastUsedAt >= keepWarmMs) return false;
    if (hosts === null || hosts.has(this.origin)) return true;
    for (const login of hosts.values()) if (login === this.origin) return true;
    return false;
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: CarriedHandler, now: number): void {
    const mayRepeat = options.idempotent ?? (options.method === 'GET' || options.method === 'HEAD');
    const connection = this.#take(mayRepeat, now) ?? this.#make(now);
    connection.mayRepeat = mayRepeat;
    connection.dispatch(options, handler);
  }

  connect(
    { mayRepeat }: PooledConnection,
    options: buildConnector.Options,
    connected: (error: Error | null, socket: Socket | null, unusedMs: number) => void,
  ): void {
    const { clock } = this.#pool;
    const dial = () =>
      this.#pool.connect(options, (error, socket) => {
        if (error === null) this.#reached();
        else this.#failed(error);
        connected(error, socket, 0);
      });
    const spare = this.#spare;
    const unusedMs = spare === null ? 0 : clock.monotonic() - spare.openedAt;
    if (spare !== null && this.#mayTake(this.#unusedLife, unusedMs, mayRepeat)) {
      this.#spare = null;
      // What the other side has said meanwhile, its end above all, is read before that.
      setImmediate(() => {
        const socket = spare.take();
        if (socket === null) return dial();
        this.#shortLives = 0;
        this.#unusedLife.answered(unusedMs);
        connected(null, socket, unusedMs);
      });
    } else if (this.#dial !== null && this.#dial.claimed === null && !this.#dial.isStale)
      this.#dial.claimed = (error, socket) => (error || socket ? connected(error, socket, 0) : dial());
    else dial();
  }

  freed(connection: PooledConnection): void {
    const now = this.#pool.clock.monotonic();
    if (connection.idledMs > 0) this.#usedLife.answered(connection.idledMs);
    if (now >= connection.endsAt) {
      this.#end(connection);
      this.keepOne(now);
      return;
    }
    connection.idleSince = now;
    this.#idle.push(connection);
  }

  closed(connection: PooledConnection, byPeer: boolean): void {
    const now = this.#pool.clock.monotonic();
    if (byPeer && !this.#isClosed) this.#usedLife.ended(now - connection.idleSince);
    this.#end(connection);
    this.keepOne(now);
  }

  suspected(connection: PooledConnection): void {
    // Those that were taken before it were used later than it.
    const since = connection.idleSince;
    for (const idle of [...this.#idle]) if (idle.idleSince <= since) this.#end(idle);
    if (this.#spare !== null && this.#spare.openedAt <= since) this.#endSpare();
  }

  /** Ends all that carry nothing: they may be dead, or are not to be used any more. */
  endIdle(): void {
    for (const idle of [...this.#idle]) this.#end(idle);
    this.#endSpare();
    if (this.#dial !== null) this.#dial.isStale = true;
  }

  /** Ends what is due, opens what is missing. Gives the ms after which something else is due. */
  review(now: number, isTrusted: (socket: Socket) => boolean): number {
    const isWanted = this.isWanted(now);
    const { limitMs } = this.#usedLife;
    let nextMs = Number.POSITIVE_INFINITY;
    const first = this.#idle[0];
    if (first !== undefined) this.#usedLife.seenOpen(now - first.idleSince);
    const surplus = this.#idle.length - KEPT;
    for (const [at, idle] of [...this.#idle].entries()) {
      const longestMs = isWanted ? (at < surplus ? SURPLUS_MS : Number.POSITIVE_INFINITY) : NOT_WARM_MS;
      const leftMs = Math.min(idle.idleSince + Math.min(longestMs, limitMs), idle.endsAt) - now;
      if (leftMs <= 0 || (idle.socket !== null && !isTrusted(idle.socket))) this.#end(idle);
      else nextMs = Math.min(nextMs, leftMs);
    }
    if (this.#spare !== null) {
      const ageMs = now - this.#spare.openedAt;
      this.#unusedLife.seenOpen(ageMs);
      const leftMs = Math.min(this.#unusedLife.limitMs, LONGEST_LIFE_MS) - ageMs;
      if (!isWanted || leftMs <= 0 || !isTrusted(this.#spare.socket)) this.#endSpare();
      else nextMs = Math.min(nextMs, leftMs);
    }
    this.keepOne(now);
    return nextMs;
  }

  /** Opens a connection in the background where one is wanted and none is there. */
  keepOne(now: number): void {
    // Those that carry something will be there for the next call, or tell that they are not.
    if (this.#all.size > 0 || this.#spare !== null || this.#dial !== null || now < this.#notBefore) return;
    if (!this.isWanted(now) || !this.#pool.mayDial(this.origin)) return;
    const dial: BackgroundDial = { claimed: null, isStale: false };
    this.#dial = dial;
    const { hostname, host, protocol, port } = new URL(this.origin);
    this.#pool.connect({ hostname, host, protocol, port }, (error, socket) => {
      this.#dial = null;
      if (socket !== null) return this.#opened(dial, socket);
      this.#failed(error);
      dial.claimed?.(error, null);
    });
  }

  /** Whether anything is there to be looked after. */
  get isEmpty(): boolean {
    return this.#idle.length === 0 && this.#spare === null && this.#dial === null;
  }

  /** Resolves when what is under way is over and all are closed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.endIdle();
    await Promise.all(Array.from(this.#all, (connection) => connection.close()));
  }

  async destroy(): Promise<void> {
    this.#isClosed = true;
    this.endIdle();
    await Promise.all(Array.from(this.#all, (connection) => connection.end()));
  }

  #take(mayRepeat: boolean, now: number): PooledConnection | null {
    for (let last = this.#idle.at(-1); last !== undefined; last = this.#idle.at(-1)) {
      const ageMs = now - last.idleSince;
      if (now >= last.endsAt || ageMs >= this.#usedLife.limitMs) {
        this.#end(last);
        continue;
      }
      // The others have been idle for longer. They stay for calls that may be repeated, and to see how long they live.
      if (!this.#mayTake(this.#usedLife, ageMs, mayRepeat)) return null;
      this.#idle.pop();
      last.idledMs = ageMs;
      return last;
    }
    return null;
  }

  #mayTake(life: IdleLife, ageMs: number, mayRepeat: boolean): boolean {
    return mayRepeat ? ageMs < life.limitMs : life.isProven(ageMs);
  }

  #make(now: number): PooledConnection {
    const { bodyMs, random, warm } = this.#pool;
    const connection = new PooledConnection(this, {
      origin: this.origin,
      bodyMs,
      idleMs: warm.keepWarmMs > 0 ? LONGEST_LIFE_MS : NOT_WARM_MS,
      longestIdleMs: LONGEST_LIFE_MS,
    });
    connection.endsAt = now + LONGEST_LIFE_MS * (1 - random() / 4);
    this.#all.add(connection);
    return connection;
  }

  #end(connection: PooledConnection): void {
    const at = this.#idle.lastIndexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#all.delete(connection);
    void connection.end();
  }

  #endSpare(): void {
    this.#spare?.end();
    this.#spare = null;
  }

  #opened(dial: BackgroundDial, socket: Socket): void {
    this.#reached();
    const now = this.#pool.clock.monotonic();
    if (dial.isStale || (dial.claimed === null && !this.isWanted(now))) {
      socket.destroy();
      if (dial.claimed !== null) dial.claimed(null, null);
      else this.keepOne(now);
    } else if (dial.claimed !== null) dial.claimed(null, socket);
    else this.#spare = new SpareConnection(socket, now, () => this.#spareEnded(now));
  }

  #spareEnded(openedAt: number): void {
    this.#spare = null;
    const now = this.#pool.clock.monotonic();
    const ageMs = now - openedAt;
    this.#unusedLife.ended(ageMs);
    if (ageMs < SHORT_LIFE_MS) {
      this.#notBefore = now + Math.min(LONGEST_PAUSE_MS, SHORT_LIFE_MS * 2 ** this.#shortLives);
      this.#shortLives += 1;
    } else this.#shortLives = 0;
    this.keepOne(now);
  }

  #reached(): void {
    if (this.#failures > 0) this.#notBefore = Number.NEGATIVE_INFINITY;
    this.#failures = 0;
  }

  #failed(error: Error | null): void {
    const passes = isGatewayError(error) && PASSING.has(error.code);
    const retryMs = Math.min(LONGEST_RETRY_MS, SHORTEST_RETRY_MS * 2 ** this.#failures);
    this.#notBefore = passes ? this.#pool.clock.monotonic() + retryMs : Number.POSITIVE_INFINITY;
    this.#failures += 1;
  }
}
