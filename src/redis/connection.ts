// The connection to the store that instances share: one client, commands and subscriptions over it, every command with a
// deadline of ours. It connects again by itself, and tells of gaps: of each time after which nothing may be taken for
// granted, because commands were lost, pushes were missed, or another server answers. It knows no records.

import type { Clock, Timer } from '../clock.ts';
import { formatRedisAddress, type RedisAddress } from '../config/redis-url.ts';
import type { RedisStoreConfig } from '../config/sections/store.ts';
import type { Log } from '../logging/log.ts';
import { withinDeadline } from './deadline.ts';
import { INSTANCE_LIFE_MS, type Instance, newInstanceId, readInstances, SIGN_OF_LIFE } from './instances.ts';
import { Link, MovedError, type Reply } from './link.ts';
import { META, newMeta, readMeta, SCHEMA, type StoreMeta } from './meta.ts';
import { RedisError, type RedisErrorKind } from './redis-error.ts';
import type { ScriptCall } from './script.ts';
import { checkServer } from './server-check.ts';
import { type Gap, StoreHealth, type StoreStatus } from './store-health.ts';
import { findServer, linkTarget } from './target.ts';
import { TimeOffset } from './time-offset.ts';

/** A command may take this long. */
export const COMMAND_DEADLINE_MS = 500;

/** A server that is not heard for this long is given up; a slow one is not, since to connect again costs it more. */
const SILENCE_MS = 2000;

/** How often the server is asked for its time, and how often while it is slow. */
const BEAT_MS = 1000;
const SLOW_BEAT_MS = 250;

/** Each so many beats are a sign of life, which writes; each one is while writes are refused. */
const BEATS_A_SIGN = 5;

/** A slow server has to answer in time for this long, before it is one that answers in time. */
const RECOVERY_MS = 1000;

/** Refusals after which another connection, perhaps to another server, may be better. */
const REASONS_TO_LEAVE: ReadonlySet<string> = new Set(['READONLY', 'MOVED', 'ASK', 'MASTERDOWN', 'LOADING']);

/** Refusals that are told in the status until a write succeeds: the server is there, and takes none. */
const LASTING_REFUSALS: ReadonlySet<string> = new Set('OOM MISCONF NOREPLICAS NOPERM CLUSTERDOWN BUSY'.split(' '));

/** Refusals that a person has to mend, where they come at the start. */
const SETUP_REFUSALS: ReadonlySet<string> = new Set(['WRONGPASS', 'NOAUTH', 'NOPERM', 'UNKNOWN', 'WRONGTYPE']);

/** How many nodes of a cluster send us on before one of them has to have our keys. */
const MOST_HOPS = 5;

export type CommandResult = 'ok' | RedisErrorKind;

export interface RedisConnectionDeps {
  readonly config: RedisStoreConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Whether this process is an instance, which others count; a command that only looks is none. Default: true. */
  readonly isInstance?: boolean;
  /** Told of each command when it has ended. Names are those of scripts and commands: there are few. */
  readonly onCommand?: (name: string, result: CommandResult, seconds: number) => void;
}

/** Made closed; `open` begins, `close` ends. Whatever it throws is a RedisError. */
export class RedisConnection {
  /** What all keys and channels begin with: `{gcg}:`. The braces put them into one slot of a cluster. */
  readonly prefix: string;
  /** Names this process among the instances. */
  readonly instanceId = newInstanceId();
  /** The server's time. */
  readonly time: TimeOffset;
  readonly #deps: RedisConnectionDeps;
  readonly #subscriptions = new Map<string, (message: string) => void>();
  readonly #health: StoreHealth;
  #link: Link | null = null;
  /** The server that was connected to last. */
  #lastAddress: RedisAddress | null = null;
  #meta: StoreMeta = newMeta();
  #isMetaKnown = false;
  #emptyMono = Number.NEGATIVE_INFINITY;
  #instances: readonly Instance[] = [];
  /** Attempts in a row that failed. */
  #failures = 0;
  #beats = 0;
  #beatTimer: Timer | undefined;
  #isClosed = false;
  /** Ends the wait of the loop: for the next attempt, or for the end of a connection. */
  #wake: () => void = () => {};

  constructor(deps: RedisConnectionDeps) {
    this.#deps = deps;
    this.prefix = `{${deps.config.prefix}}:`;
    this.time = new TimeOffset(deps.clock);
    this.#health = new StoreHealth(deps.clock, deps.log);
  }

  /**
   * Makes the first attempt. Returns what it failed with, and goes on trying, where the server is only absent. Throws
   * where a person has to change something: a wrong password, a right that is missing, a replica, an old version.
   */
  async open(): Promise<RedisError | null> {
    let failure: RedisError | null = null;
    try {
      this.#take(await this.#attempt());
    } catch (error) {
      failure = error as RedisError;
      if (failure.kind === 'unusable' || SETUP_REFUSALS.has(failure.word)) throw failure;
      this.#fail(failure);
    }
    void this.#run();
    return failure;
  }

  /** Ends it. The instance takes itself out of the list, if the server takes that in time. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    const isListed = this.isReady && this.#deps.isInstance !== false;
    const farewell = isListed ? this.command(['ZREM', `${this.prefix}inst`, this.instanceId]) : Promise.resolve();
    // It is forgotten after a minute anyway.
    await farewell.catch(() => {});
    this.#isClosed = true;
    this.#beatTimer?.cancel();
    this.#link?.destroy();
    this.#link = null;
    this.#wake();
  }

  /** Whether commands are sent: the server is there, and answered in time so far. */
  get isReady(): boolean {
    return this.#link !== null && !this.#health.isSlow;
  }

  /** Whether the server is there, and takes no writes. */
  get isRefused(): boolean {
    return this.#health.isRefused;
  }

  /** Monotonic time since which the server is back after a gap; -Infinity where there was none. */
  get backMono(): number {
    return this.#health.backMono;
  }

  /** When the server was empty last, by what it said at the connection: monotonic; -Infinity where nobody knows. */
  get emptyMono(): number {
    return this.#emptyMono;
  }

  /** What all instances agree on; null until the server was reached once. */
  get meta(): StoreMeta | null {
    return this.#isMetaKnown ? this.#meta : null;
  }

  /** The instances that gave a sign of life, this one among them; as it was when the server was asked last. */
  get instances(): readonly Instance[] {
    return this.#instances;
  }

  status(): StoreStatus & { readonly roundTripMs: number | null } {
    return { ...this.#health.status(), roundTripMs: this.time.roundTripMs };
  }

  /** Sends one command. Its first word is its name in metrics. */
  command(args: readonly string[]): Promise<Reply> {
    return this.#timed(args[0]?.toLowerCase() ?? '', (link) => link.send(args));
  }

  /** Runs a script. It is sent again in no case; whoever does so has made it idempotent. */
  script(call: ScriptCall): Promise<Reply> {
    return this.#timed(call.script.name, (link, isOver) => evaluate(link, call, isOver));
  }

  /** Runs several, in one write. Each has a reply or an error of its own. */
  batch(calls: readonly ScriptCall[]): Promise<readonly (Reply | RedisError)[]> {
    return Promise.all(calls.map((call) => this.script(call).catch((error: RedisError) => error)));
  }

  /** Hears a channel from now on, over all connections. One listener a channel. */
  subscribe(channel: string, listener: (message: string) => void): void {
    this.#subscriptions.set(channel, listener);
    const link = this.#link;
    if (link === null) return;
    this.#watch(link.subscribe(channel, this.#safely(listener))).catch((error: RedisError) => {
      // Without it the other instances would not be heard: the next connection asks again.
      if (link === this.#link) this.#drop(error);
    });
  }

  /** Told when a gap is over, and the server can be used again. */
  onGap(listener: (gap: Gap) => void): void {
    this.#health.gapListeners.push(listener);
  }

  /** Told when a gap begins. */
  onLoss(listener: () => void): void {
    this.#health.lossListeners.push(listener);
  }

  /** Connects again and again, until it is closed. */
  async #run(): Promise<void> {
    while (!this.#isClosed) {
      if (this.#link !== null) {
        await this.#sleep(null);
        continue;
      }
      const longestMs = Math.min(1000, 200 * 2 ** this.#failures);
      await this.#sleep(100 + this.#deps.random() * (longestMs - 100));
      if (this.#isClosed) return;
      try {
        this.#take(await this.#attempt());
      } catch (error) {
        this.#fail(error as RedisError);
      }
    }
  }

  /** Waits until it is woken, or for so long. */
  #sleep(ms: number | null): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === null ? undefined : this.#deps.clock.after(ms, resolve);
      this.#wake = () => {
        timer?.cancel();
        resolve();
      };
    });
  }

  /** A connection to the server that takes our writes, checked and subscribed. Throws RedisError. */
  async #attempt(): Promise<{ readonly link: Link; readonly isEmptied: boolean }> {
    const { config, clock } = this.#deps;
    // The node of a cluster that is configured may be gone: every other time, the one that had our keys last.
    const isLast = config.sentinel === null && this.#failures % 2 === 1;
    let address = (isLast ? this.#lastAddress : null) ?? (await findServer(config, clock));
    for (let hop = 0; ; hop += 1) {
      const link: Link = await Link.open(linkTarget(config, address), clock, (cause) => {
        if (this.#link === link) this.#drop(cause);
      });
      try {
        checkServer(link.hello, formatRedisAddress(address), config.sentinel !== null);
        const isEmptied = await this.#settleIn(link);
        return { link, isEmptied };
      } catch (error) {
        link.destroy();
        if (!(error instanceof MovedError) || hop >= MOST_HOPS) throw error;
        address = error.address;
      }
    }
  }

  /** Agrees with the server on what all instances share, and subscribes. */
  async #settleIn(link: Link): Promise<boolean> {
    const { salt, gatewayId } = this.#meta;
    const call = { script: META, keys: [`${this.prefix}meta`], args: [String(SCHEMA), salt, gatewayId] };
    const within = <T>(work: Promise<T>) => this.#watch(work);
    const meta = readMeta(await within(evaluate(link, call, () => false)));
    const isEmptied = this.#isMetaKnown && meta.isNew;
    this.#meta = meta;
    this.#emptyMono = meta.ageMs === null ? Number.NEGATIVE_INFINITY : this.#deps.clock.monotonic() - meta.ageMs;
    this.#isMetaKnown = true;
    for (const [channel, listener] of this.#subscriptions)
      await within(link.subscribe(channel, this.#safely(listener)));
    try {
      await within(this.#sign(link, () => false));
    } catch (error) {
      // A server that takes no writes now can be read.
      const { word } = error as RedisError;
      if (!LASTING_REFUSALS.has(word) || word === 'NOPERM') throw error;
      this.#health.refused(error as RedisError);
    }
    return isEmptied;
  }

  /** Gives a sign of life, and learns of those of others. Answers whether the server did not know of this instance. */
  async #sign(link: Link, isOver: () => boolean): Promise<boolean> {
    if (this.#deps.isInstance === false) {
      await this.#askTime(link);
      return false;
    }
    const keys = [`${this.prefix}inst`];
    const askedAt = this.#deps.clock.monotonic();
    const call = { script: SIGN_OF_LIFE, keys, args: [this.instanceId, String(INSTANCE_LIFE_MS)] };
    const { nowMs, instances, isNew } = readInstances(await evaluate(link, call, isOver));
    this.time.add(askedAt, this.#deps.clock.monotonic(), nowMs);
    this.#instances = instances;
    this.#health.wrote();
    return isNew;
  }

  async #askTime(link: Link): Promise<void> {
    const askedAt = this.#deps.clock.monotonic();
    const [seconds, micros] = (await link.send(['TIME'])) as readonly Reply[];
    this.time.add(askedAt, this.#deps.clock.monotonic(), Number(seconds) * 1000 + Number(micros) / 1000);
  }

  #take({ link, isEmptied }: { readonly link: Link; readonly isEmptied: boolean }): void {
    if (this.#isClosed) {
      link.destroy();
      return;
    }
    this.#link = link;
    this.#failures = 0;
    this.#lastAddress = link.address;
    this.#beats = 0;
    this.#scheduleBeat(BEAT_MS);
    this.#health.connected(link, isEmptied);
  }

  #fail(error: RedisError): void {
    this.#failures += 1;
    this.#health.failed(error);
  }

  /** Gives the connection up. */
  #drop(cause: RedisError): void {
    this.#link?.destroy();
    this.#link = null;
    this.#beatTimer?.cancel();
    this.#health.lost(cause);
    this.#wake();
  }

  #scheduleBeat(ms: number): void {
    this.#beatTimer?.cancel();
    this.#beatTimer = this.#deps.clock.after(ms, () => void this.#beat());
  }

  /** Asks for the time, so that a server that fell silent is noticed while nobody else asks it anything. */
  async #beat(): Promise<void> {
    const link = this.#link;
    if (link === null) return;
    if (this.#health.isSlow && this.#deps.clock.monotonic() - link.heardAt > SILENCE_MS)
      return this.#drop(new RedisError('lost', `Redis has been silent for ${SILENCE_MS / 1000} s`));
    this.#beats += 1;
    const isSign = this.#beats % BEATS_A_SIGN === 0 || this.#health.isRefused;
    try {
      const isLost = await this.#on(link, isSign ? 'sign-of-life' : 'time', (_, isOver) =>
        isSign ? this.#sign(link, isOver) : this.#askTime(link).then(() => false),
      );
      // It knew this instance when it was connected to. The next connection finds out what else is gone.
      if (isLost && this.#link === link) this.#drop(new RedisError('lost', 'Redis has lost what it held (FLUSHALL?)'));
      if (this.#link === link) this.#health.answered(RECOVERY_MS);
    } catch {
      // It was noted with the command.
    }
    if (this.#link === link) this.#scheduleBeat(this.#health.isSlow ? SLOW_BEAT_MS : BEAT_MS);
  }

  /** Sends by the connection there is. */
  #timed<T>(name: string, send: (link: Link, isOver: () => boolean) => Promise<T>): Promise<T> {
    const link = this.#link;
    if (link === null || this.#health.isSlow) {
      const why = this.#health.error;
      const message = link === null ? (why?.message ?? 'Redis is not connected') : 'Redis does not answer in time';
      this.#deps.onCommand?.(name, 'offline', 0);
      return Promise.reject(new RedisError('offline', message, why?.word));
    }
    return this.#on(link, name, send);
  }

  /** Sends by `link`, and notes how it ended. */
  async #on<T>(link: Link, name: string, send: (link: Link, isOver: () => boolean) => Promise<T>): Promise<T> {
    const startedAt = this.#deps.clock.monotonic();
    const took = () => (this.#deps.clock.monotonic() - startedAt) / 1000;
    let isOver = false;
    try {
      const reply = await this.#watch(send(link, () => isOver));
      this.#deps.onCommand?.(name, 'ok', took());
      return reply;
    } catch (error) {
      isOver = true;
      const failure = error as RedisError;
      this.#deps.onCommand?.(name, failure.kind, took());
      if (link === this.#link) this.#note(failure);
      throw failure;
    }
  }

  /** What a failure says of the server. */
  #note(failure: RedisError): void {
    if (failure.kind === 'late') {
      this.#health.late(failure);
      this.#scheduleBeat(SLOW_BEAT_MS);
    } else if (REASONS_TO_LEAVE.has(failure.word)) this.#drop(failure);
    else if (LASTING_REFUSALS.has(failure.word)) this.#health.refused(failure);
  }

  /** Rejects as `late` when `work` has not settled in time. */
  #watch<T>(work: Promise<T>): Promise<T> {
    const late = () => new RedisError('late', `Redis did not answer within ${COMMAND_DEADLINE_MS} ms`);
    return withinDeadline(this.#deps.clock, COMMAND_DEADLINE_MS, late, work);
  }

  /** A listener that cannot end the connection by an error of its own. */
  #safely(listener: (message: string) => void): (message: string) => void {
    return (message) => {
      try {
        listener(message);
      } catch (error) {
        this.#deps.log.error({ problem: (error as Error).name }, 'a message from the store could not be handled');
      }
    };
  }
}

/** By its hash; with its text where the server does not know it, unless nobody waits for it any more. */
async function evaluate(link: Link, { script, keys, args }: ScriptCall, isOver: () => boolean): Promise<Reply> {
  const rest = [String(keys.length), ...keys, ...args];
  try {
    return await link.send(['EVALSHA', script.sha, ...rest]);
  } catch (error) {
    if ((error as RedisError).word !== 'NOSCRIPT' || isOver()) throw error;
    return link.send(['EVAL', script.text, ...rest]);
  }
}
