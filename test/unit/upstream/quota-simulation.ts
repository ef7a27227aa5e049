// Several instances of a gateway that share one limit over a real redis-server, under an event clock: the minutes go by
// in seconds, and the script is told what time it is. The platform counts each call in a minute that slides.

import type { Clock } from '../../../src/clock.ts';
import { GatewayError } from '../../../src/errors.ts';
import { Script, type ScriptCall } from '../../../src/redis/script.ts';
import { type CallerConnection, QueueCapacity } from '../../../src/upstream/call.ts';
import type { PermitWindow } from '../../../src/upstream/rate-limit/permit-window.ts';
import { QuotaLedger, type QuotaLink } from '../../../src/upstream/rate-limit/quota-ledger.ts';
import { tickScript } from '../../../src/upstream/rate-limit/quota-script.ts';
import { RateLimiter } from '../../../src/upstream/rate-limit/rate-limiter.ts';
import { Shares } from '../../../src/upstream/rate-limit/shares.ts';
import type { RedisProcess } from '../../helpers/redis-process.ts';

/** TICK, told the time in its last argument. */
export const TIMED_TICK = new Script('tick', tickScript('tonumber(ARGV[15])'), { keys: [], args: [] });

const DEADLINE_MS = 500;
const MINUTE_MS = 60_000;

/** Both clocks, and timers that fire in order; whatever the server has to answer is waited for in between. */
export class EventClock implements Clock {
  readonly #timers: { at: number; order: number; fn: (() => void) | null }[] = [];
  #now = 0;
  #order = 0;
  /** Commands that the server has not answered. */
  pending = 0;

  now = () => 1_800_000_000_000 + this.#now;
  monotonic = () => this.#now;

  after(delayMs: number, fn: () => void) {
    this.#order += 1;
    const timer: { at: number; order: number; fn: (() => void) | null } = {
      at: this.#now + Math.max(0, delayMs),
      order: this.#order,
      fn,
    };
    let index = this.#timers.length;
    while (index > 0 && (this.#timers[index - 1] as { at: number }).at <= timer.at) index -= 1;
    this.#timers.splice(index, 0, timer);
    return {
      cancel: () => {
        timer.fn = null;
      },
    };
  }

  at(ms: number, fn: () => void): void {
    this.after(ms - this.#now, fn);
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  async runUntil(endMs: number): Promise<void> {
    await this.#settle();
    for (let next = this.#timers.at(-1); next !== undefined && next.at <= endMs; next = this.#timers.at(-1)) {
      this.#timers.pop();
      if (next.fn === null) continue;
      this.#now = next.at;
      next.fn();
      await this.#settle();
    }
    this.#now = endMs;
  }

  async #settle(): Promise<void> {
    do await new Promise<void>((resolve) => void setImmediate(resolve));
    while (this.pending > 0);
  }
}

/** The store as one instance sees it. */
class SimulatedLink implements QuotaLink {
  readonly prefix = '{gcg}:';
  readonly instances: unknown[];
  readonly meta = { salt: 'salt' };
  isReady = true;
  /** Nothing is answered: what was sent is executed when it goes on. */
  isFrozen = false;
  calls = 0;
  readonly #held: (() => void)[] = [];
  readonly #losses: (() => void)[] = [];
  readonly #gaps: (() => void)[] = [];
  readonly #simulation: QuotaSimulation;
  readonly instanceId: string;
  listener: (message: string) => void = () => {};

  constructor(simulation: QuotaSimulation, instanceId: string, instances: unknown[]) {
    this.#simulation = simulation;
    this.instanceId = instanceId;
    this.instances = instances;
  }

  async script({ script, keys, args }: ScriptCall): Promise<unknown> {
    const { clock, redis, latencyMs } = this.#simulation;
    if (!this.isReady) throw new Error('offline');
    this.calls += 1;
    await clock.pause(latencyMs() / 2);
    const run = async () => {
      clock.pending += 1;
      try {
        const now = String(Math.floor(clock.now()));
        return await redis.command('EVAL', script.text, String(keys.length), ...keys, ...args, now);
      } finally {
        clock.pending -= 1;
      }
    };
    return new Promise((resolve, reject) => {
      const timer = clock.after(DEADLINE_MS, () => {
        this.lose();
        reject(new Error('late'));
      });
      const go = () =>
        run().then(
          (reply) =>
            clock.after(latencyMs() / 2, () => {
              timer.cancel();
              resolve(reply);
            }),
          (error) => {
            timer.cancel();
            reject(error);
          },
        );
      if (this.isFrozen) this.#held.push(() => void go());
      else void go();
    });
  }

  subscribe(_: string, listener: (message: string) => void): void {
    this.listener = listener;
  }

  onGap(listener: () => void): void {
    this.#gaps.push(listener);
  }

  onLoss(listener: () => void): void {
    this.#losses.push(listener);
  }

  lose(): void {
    if (!this.isReady) return;
    this.isReady = false;
    for (const listener of this.#losses) listener();
  }

  thaw(): void {
    this.isFrozen = false;
    for (const go of this.#held.splice(0)) go();
  }

  recover(): void {
    if (this.isReady) return;
    this.isReady = true;
    for (const listener of this.#gaps) listener();
  }
}

/** A call that was asked for; `waitMs` is null while it waits, `refusedMs` what Retry-After said. */
export interface Asked {
  readonly client: string;
  readonly at: number;
  waitMs: number | null;
  refusedMs: number | null;
}

export interface SimulationOptions {
  readonly redis: RedisProcess;
  readonly perMinute: number;
  readonly instances: number;
  readonly clients: readonly string[];
  readonly callMs?: () => number;
  readonly latencyMs?: () => number;
  readonly isAuto?: boolean;
}

/** One instance. `isAlive`: one that was killed sends nothing more. */
export class SimulatedInstance {
  readonly link: SimulatedLink;
  readonly ledger: QuotaLedger;
  readonly limiter: RateLimiter;
  readonly window: PermitWindow;
  readonly asked: Asked[] = [];
  sent = 0;
  isAlive = true;
  #frozen: (() => void)[] | null = null;
  readonly #simulation: QuotaSimulation;

  constructor(simulation: QuotaSimulation, index: number, { perMinute, clients, isAuto = false }: SimulationOptions) {
    const { clock, members } = simulation;
    this.#simulation = simulation;
    this.link = new SimulatedLink(simulation, `instance-${index}`, members);
    // An instance that was killed fires no timer, and one that is frozen does when it goes on.
    const own: Clock = {
      now: clock.now,
      monotonic: clock.monotonic,
      after: (ms, fn) => clock.after(ms, () => this.#run(fn)),
    };
    this.ledger = new QuotaLedger({ link: this.link, clock: own, script: TIMED_TICK });
    this.window = this.ledger.make({
      perMinute: isAuto ? Number.POSITIVE_INFINITY : perMinute,
      isCautious: true,
    }) as PermitWindow;
    this.limiter = new RateLimiter({
      name: 'the limit',
      clock: own,
      window: this.window,
      capacity: new QueueCapacity(100_000),
      shares: clients.length === 0 ? null : new Shares(clients),
    });
    this.window.identify('the limit');
  }

  /** Nothing happens in it until it goes on: then all at once. */
  freeze(): void {
    this.#frozen = [];
  }

  thaw(): void {
    const late = this.#frozen ?? [];
    this.#frozen = null;
    for (const fn of late) fn();
  }

  #run(fn: () => void): void {
    if (!this.isAlive) return;
    if (this.#frozen === null) fn();
    else this.#frozen.push(fn);
  }

  async #pause(ms: number): Promise<void> {
    await this.#simulation.clock.pause(ms);
    if (this.#frozen !== null) await new Promise<void>((resolve) => void this.#frozen?.push(resolve));
  }

  /** Asks for a call as the layer does; resolves when it has been answered, or refused. */
  async ask(client: string, patienceMs = Number.POSITIVE_INFINITY): Promise<Asked> {
    const { clock, platform, callMs } = this.#simulation;
    const { limiter } = this;
    const asked: Asked = { client, at: clock.monotonic(), waitMs: null, refusedMs: null };
    this.asked.push(asked);
    const connection: CallerConnection = { disconnected: false, onDisconnect: null, rejectWait: null };
    const waitUntil = clock.monotonic() + patienceMs;
    for (let isReturning = false; ; isReturning = true) {
      try {
        if (!limiter.tryAcquire(client)) await limiter.acquire({ client, waitUntil, connection, isReturning });
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error;
        asked.refusedMs = error.retryAfterMs ?? Number.NaN;
        return asked;
      }
      if (!this.isAlive) return asked;
      asked.waitMs = clock.monotonic() - asked.at;
      this.sent += 1;
      const ms = callMs();
      await clock.pause(ms / 2);
      const retryAfterMs = platform.take();
      await this.#pause(ms / 2);
      if (retryAfterMs === null) break;
      const now = clock.monotonic();
      if (limiter.window.freeFor(now) > 0) limiter.window.enterSlowStart(now + retryAfterMs + MINUTE_MS);
      limiter.window.metUntil = now + 30 * MINUTE_MS;
      limiter.window.limit = platform.perMinute;
      limiter.pauseUntil(now + retryAfterMs);
      limiter.cancel();
    }
    limiter.complete(clock.monotonic());
    return asked;
  }

  /** Asks again and again, `workers` calls at a time. */
  keepAsking(client: string, workers: number, pauseMs = 0): void {
    const work = async (): Promise<void> => {
      while (this.isAlive) {
        await this.ask(client);
        if (pauseMs > 0) await this.#pause(pauseMs);
      }
    };
    for (let worker = 0; worker < workers; worker += 1) void work();
  }

  waitsOf(client: string): number[] {
    const now = this.#simulation.clock.monotonic();
    return this.asked.filter((one) => one.client === client).map(({ at, waitMs }) => waitMs ?? now - at);
  }
}

/** A limit that counts each call for a minute from its arrival. */
export class SlidingPlatform {
  readonly perMinute: number;
  readonly arrivals: number[] = [];
  refused = 0;
  readonly refusals: number[] = [];
  readonly #clock: Clock;
  #from = 0;

  constructor(clock: Clock, perMinute: number) {
    this.#clock = clock;
    this.perMinute = perMinute;
  }

  /** Null, or when there is room again. */
  take(): number | null {
    const now = this.#clock.monotonic();
    while ((this.arrivals[this.#from] ?? now) <= now - MINUTE_MS) this.#from += 1;
    if (this.arrivals.length - this.#from < this.perMinute) {
      this.arrivals.push(now);
      return null;
    }
    this.refused += 1;
    this.refusals.push(now);
    return Math.max(1_000, (this.arrivals[this.#from] as number) + MINUTE_MS - now);
  }

  /** Calls that arrived in a time. */
  between(from: number, to: number): number {
    return this.arrivals.filter((at) => at >= from && at < to).length;
  }
}

/** The clock, the platform and the instances. */
export class QuotaSimulation {
  readonly clock = new EventClock();
  readonly platform: SlidingPlatform;
  readonly redis: RedisProcess;
  /** What the store knows of instances. */
  readonly members: unknown[];
  readonly instances: SimulatedInstance[];
  readonly callMs: () => number;
  readonly latencyMs: () => number;

  constructor(options: SimulationOptions) {
    this.redis = options.redis;
    this.callMs = options.callMs ?? (() => 50);
    this.latencyMs = options.latencyMs ?? (() => 1);
    this.platform = new SlidingPlatform(this.clock, options.perMinute);
    this.members = Array(options.instances).fill(null);
    this.instances = Array.from({ length: options.instances }, (_, at) => new SimulatedInstance(this, at, options));
  }

  async run(untilMs: number): Promise<void> {
    await this.clock.runUntil(untilMs);
  }

  get storeCalls(): number {
    return this.instances.reduce((sum, { link }) => sum + link.calls, 0);
  }

  /** The store is gone for all: its connection ended, or it answers nothing. */
  lose(): void {
    for (const { isAlive, link } of this.instances) if (isAlive) link.lose();
  }

  recover(): void {
    for (const { isAlive, link } of this.instances) if (isAlive) link.recover();
  }

  /** It answers nothing; what is sent is executed when it goes on. */
  freeze(): void {
    for (const { link } of this.instances) link.isFrozen = true;
  }

  thaw(): void {
    for (const { link } of this.instances) link.thaw();
  }

  close(): void {
    for (const instance of this.instances) instance.isAlive = false;
  }
}

/** The one in the middle. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
