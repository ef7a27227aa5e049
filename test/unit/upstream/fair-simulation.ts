// One limit under an event clock: clients that ask in their ways, and when each call was let go. Nothing is sent; the
// minutes go by in milliseconds.

import type { Clock } from '../../../src/clock.ts';
import { GatewayError } from '../../../src/errors.ts';
import { type CallerConnection, QueueCapacity } from '../../../src/upstream/call.ts';
import { RateLimiter } from '../../../src/upstream/rate-limit/rate-limiter.ts';
import { RateWindow } from '../../../src/upstream/rate-limit/rate-window.ts';
import { Shares } from '../../../src/upstream/rate-limit/shares.ts';
import { createDice, type Dice } from '../../helpers/dice.ts';

/** A call that was asked for. `waitMs` is null while it waits; a call that is refused has `refusedMs`. */
export interface Asked {
  readonly client: string;
  readonly at: number;
  waitMs: number | null;
  /** What Retry-After said, in ms. */
  refusedMs: number | null;
}

export interface SimulationOptions {
  readonly perMinute: number;
  readonly clients: readonly string[];
  readonly latencyMs?: () => number;
  readonly queueMax?: number;
}

/** The clock, the limiter and all that was asked of it. */
export class Simulation {
  readonly asked: Asked[] = [];
  readonly limiter: RateLimiter;
  readonly #timers: { at: number; fn: (() => void) | null }[] = [];
  readonly #latencyMs: () => number;
  #now = 0;

  constructor({ perMinute, clients, latencyMs = () => 50, queueMax = 100_000 }: SimulationOptions) {
    this.#latencyMs = latencyMs;
    const clock: Clock = {
      now: () => this.#now,
      monotonic: () => this.#now,
      after: (delayMs, fn) => {
        const timer: { at: number; fn: (() => void) | null } = { at: this.#now + Math.max(0, delayMs), fn };
        let index = this.#timers.length;
        while (index > 0 && (this.#timers[index - 1] as { at: number }).at <= timer.at) index -= 1;
        this.#timers.splice(index, 0, timer);
        return {
          cancel: () => {
            timer.fn = null;
          },
        };
      },
    };
    this.clock = clock;
    this.limiter = new RateLimiter({
      name: 'the limit',
      clock,
      window: new RateWindow({ perMinute, isCautious: false }),
      capacity: new QueueCapacity(queueMax),
      shares: clients.length === 0 ? null : new Shares(clients),
    });
  }

  readonly clock: Clock;

  at(ms: number, fn: () => void): void {
    this.clock.after(ms - this.#now, fn);
  }

  /** Asks for a call as the layer does; resolves when it has been answered, or refused. */
  async ask(client: string, patienceMs = Number.POSITIVE_INFINITY): Promise<Asked> {
    const { limiter } = this;
    const asked: Asked = { client, at: this.#now, waitMs: null, refusedMs: null };
    this.asked.push(asked);
    const connection: CallerConnection = { disconnected: false, onDisconnect: null, rejectWait: null };
    try {
      if (!limiter.tryAcquire(client))
        await limiter.acquire({ client, waitUntil: this.#now + patienceMs, connection, isReturning: false });
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      asked.refusedMs = error.retryAfterMs ?? Number.NaN;
      return asked;
    }
    asked.waitMs = this.#now - asked.at;
    await this.pause(this.#latencyMs());
    limiter.complete(this.#now);
    return asked;
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(ms, resolve));
  }

  /** What a call that came now would be told to wait; asks for none. */
  async foretold(client: string): Promise<number> {
    const connection: CallerConnection = { disconnected: false, onDisconnect: null, rejectWait: null };
    const waitUntil = Number.NEGATIVE_INFINITY;
    const error = await this.limiter.acquire({ client, waitUntil, connection, isReturning: false }).catch((e) => e);
    return (error as GatewayError).retryAfterMs as number;
  }

  /** Asks again and again, `workers` calls at a time. */
  keepAsking(client: string, workers: number, pauseMs = 0): void {
    const work = async (): Promise<void> => {
      for (;;) {
        await this.ask(client);
        if (pauseMs > 0) await this.pause(pauseMs);
      }
    };
    for (let worker = 0; worker < workers; worker += 1) void work();
  }

  /** Asks at these times, whatever becomes of the calls. */
  askAt(client: string, times: Iterable<number>, patienceMs?: number): void {
    for (const at of times) this.at(at, () => void this.ask(client, patienceMs));
  }

  async runUntil(endMs: number): Promise<void> {
    await settled();
    for (let next = this.#timers.at(-1); next !== undefined && next.at <= endMs; next = this.#timers.at(-1)) {
      this.#timers.pop();
      if (next.fn === null) continue;
      this.#now = next.at;
      next.fn();
      await settled();
    }
    this.#now = endMs;
  }

  /** How long a call waited, or has waited until now. */
  waitOf({ at, waitMs }: Asked): number {
    return waitMs ?? this.#now - at;
  }

  of(client: string): Asked[] {
    return this.asked.filter((call) => call.client === client);
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** What the documentation promises `modest` clients together. */
export function promisedMs(perMinute: number, modest = 1): number {
  return Math.max(3_000, (modest * 120_000) / perMinute);
}

/** Others that behave in one of these ways each, and some that ask for little. */
export interface Scenario {
  readonly perMinute: number;
  readonly others: number;
  readonly modest: number;
  readonly ways: readonly Way[];
}

export const ANY_WAY: readonly Way[] = ['flood', 'bursts', 'workers', 'busy', 'random', 'little', 'idle'];

type Way = 'flood' | 'floods' | 'bursts' | 'workers' | 'busy' | 'random' | 'little' | 'idle';

/** The longest wait of clients that ask for little, as a part of what is promised, over many arrivals by chance. */
export async function longestOf(scenarioOf: (dice: Dice) => Scenario, seeds: number): Promise<number> {
  const endMs = 150_000;
  let worst = 0;
  for (let seed = 0; seed < seeds; seed += 1) {
    const dice = createDice(seed);
    const { perMinute, others, modest, ways } = scenarioOf(dice);
    const names = Array.from({ length: others }, (_, index) => `other-${index}`);
    const little = Array.from({ length: modest }, (_, index) => `modest-${index}`);
    const jitterMs = dice.pick([1, 100, 700]);
    const sim = new Simulation({ perMinute, clients: [...names, ...little], latencyMs: () => 20 + dice.int(jitterMs) });
    const spacingMs = 60_000 / Math.min(20, perMinute / (others + modest));
    for (const client of names) behave(sim, dice, { client, way: dice.pick(ways), perMinute, spacingMs, endMs });
    for (const client of little) {
      const times: number[] = [];
      const isRegular = dice.chance(0.5);
      for (let at = dice.int(10_000); at < endMs; at += spacingMs + (isRegular ? 0 : dice.int(spacingMs)))
        times.push(at);
      sim.askAt(client, times);
    }
    await sim.runUntil(endMs);
    const longestMs = Math.max(...little.flatMap((client) => sim.of(client).map((call) => sim.waitOf(call))));
    worst = Math.max(worst, longestMs / promisedMs(perMinute, modest));
  }
  return worst;
}

interface Behaviour {
  readonly client: string;
  readonly way: Way;
  readonly perMinute: number;
  readonly spacingMs: number;
  readonly endMs: number;
}

function behave(sim: Simulation, dice: Dice, { client, way, perMinute, spacingMs, endMs }: Behaviour): void {
  const patienceMs = dice.pick([Number.POSITIVE_INFINITY, 15_000, 1_000]);
  const times = (count: number, at: () => number) => Array.from({ length: count }, at);
  if (way === 'floods') sim.askAt(client, Array(5 * perMinute).fill(0));
  else if (way === 'busy') sim.at(0, () => sim.keepAsking(client, 1 + dice.int(30)));
  else if (way === 'workers')
    sim.at(dice.int(endMs / 2), () => sim.keepAsking(client, 1 + dice.int(12), dice.pick([0, 100, 3_000])));
  else if (way === 'random')
    sim.askAt(
      client,
      times(dice.int(3 * perMinute), () => dice.int(endMs)),
      patienceMs,
    );
  else if (way === 'little')
    sim.askAt(
      client,
      times(Math.floor(endMs / spacingMs), () => dice.int(endMs)),
      patienceMs,
    );
  else if (way !== 'idle') {
    for (let burst = way === 'flood' ? 1 : 20; burst > 0; burst -= 1) {
      const at = dice.int(endMs);
      const calls = way === 'flood' ? dice.int(3 * perMinute) : 1 + dice.int(40);
      sim.askAt(client, Array(calls).fill(at), patienceMs);
    }
  }
}
