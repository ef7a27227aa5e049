// Instances in processes of their own over one Redis, before a platform that rotates: killed in the middle of a refresh,
// or their Redis is. The platform is the judge of what was sent. For the suite and for the long run.

import { type ChildProcess, fork } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { childEnvironment } from './fast-start.ts';
import { type RedisProcess, startRedis } from './redis-process.ts';
import type { TokenInstanceOptions, TokenInstanceState } from './token-instance.ts';

const PROGRAM = fileURLToPath(new URL('token-instance.ts', import.meta.url));

/** A request may take so long, and a lock is held for so much longer. */
interface Lease {
  readonly requestMs: number;
  readonly leaseMarginMs: number;
}

/** 2 s stand for 6 s: shorter than that, a busy machine keeps a process waiting. */
const SHORT_LEASE: Lease = { requestMs: 1_300, leaseMarginMs: 700 };

/**
 * Where Redis dies, a lease must be longer than an instance may take to connect again (1 s between two attempts), as
 * that of 6 s is: else nobody is waited for who has the only copy.
 */
const LONG_LEASE: Lease = { requestMs: 1_500, leaseMarginMs: 1_500 };

const INSTANCES = 3;

/** A token lives for two seconds, and is renewed after one. */
const LIFE_SECONDS = 2;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** What the platform saw. */
export interface Verdict {
  refreshes: number;
  /** Refresh tokens that were shown after they, or their successor, had been used. */
  superseded: number;
  /** The same token again, within the grace. */
  replayed: number;
  mostAtOnce: number;
  /** Logins that the platform ended. */
  lost: number;
}

/** When a request is met, what happens to it: the instance that sent it, before or after the rotation. */
type Strike = (pid: number, when: 'asked' | 'rotated') => Promise<void>;

/** An identity provider that rotates: `strict` ends a login at a token's second use, `grace` answers the same again. */
class RotatingPlatform {
  readonly verdict: Verdict = { refreshes: 0, superseded: 0, replayed: 0, mostAtOnce: 0, lost: 0 };
  strike: Strike | null = null;
  readonly #rotation: 'grace' | 'strict';
  readonly #server = createServer((request, response) => {
    this.#serve(request).then(
      ({ status, body }) => response.writeHead(status).end(JSON.stringify(body)),
      () => response.destroy(),
    );
  });
  /** The number of the token that is good, and of the one before, which a grace is given. */
  #good = 0;
  #underWay = 0;
  #isEnded = false;

  constructor(rotation: 'grace' | 'strict') {
    this.#rotation = rotation;
  }

  async listen(t: Test): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => {
      this.#server.closeAllConnections();
      this.#server.close();
    });
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A person logs in again: whoever asks next is taken at its word. */
  forgive(): void {
    this.#isEnded = true;
  }

  async #serve(request: IncomingMessage) {
    const pid = Number(request.headers['x-instance']);
    let text = '';
    for await (const chunk of request) text += chunk;
    const shown = Number(/^rt-(\d+)$/.exec(new URLSearchParams(text).get('refresh_token') ?? '')?.[1]);
    this.#underWay += 1;
    this.verdict.mostAtOnce = Math.max(this.verdict.mostAtOnce, this.#underWay);
    try {
      await sleep(15);
      const { strike } = this;
      await strike?.(pid, 'asked');
      const answer = this.#answer(shown);
      await strike?.(pid, 'rotated');
      return answer;
    } finally {
      this.#underWay -= 1;
    }
  }

  #answer(shown: number): { status: number; body: object } {
    const { verdict } = this;
    verdict.refreshes += 1;
    if (this.#isEnded) {
      this.#isEnded = false;
      this.#good = shown;
    }
    const isReplay = this.#rotation === 'grace' && shown === this.#good - 1;
    if (shown !== this.#good && !isReplay) {
      verdict.superseded += 1;
      verdict.lost += 1;
      this.forgive();
      return { status: 400, body: { error: 'invalid_grant' } };
    }
    if (isReplay) verdict.replayed += 1;
    else this.#good += 1;
    const body = { access_token: `at-${verdict.refreshes}`, token_type: 'bearer', expires_in: LIFE_SECONDS };
    return { status: 200, body: { ...body, refresh_token: `rt-${this.#good}` } };
  }
}

/** Instances, their Redis, and their platform. */
export class InstanceRange {
  readonly platform: RotatingPlatform;
  readonly redis: RedisProcess;
  readonly #t: Test;
  #options!: TokenInstanceOptions;
  readonly #children = new Map<number, { child: ChildProcess; state: TokenInstanceState }>();

  private constructor(t: Test, rotation: 'grace' | 'strict', redis: RedisProcess) {
    this.#t = t;
    this.platform = new RotatingPlatform(rotation);
    this.redis = redis;
  }

  static async create(t: Test, rotation: 'grace' | 'strict', lease: Lease): Promise<InstanceRange> {
    const range = new InstanceRange(t, rotation, await startRedis(t));
    const origin = await range.platform.listen(t);
    range.#options = { socket: range.redis.socket, origin, ...lease };
    for (let count = 0; count < INSTANCES; count += 1) range.start();
    await range.until('all have a token', () => range.states().every(({ token }) => token !== null));
    return range;
  }

  start(): void {
    const child = fork(PROGRAM, [JSON.stringify(this.#options)], { env: childEnvironment });
    this.#t.teardown(() => child.kill('SIGKILL'));
    const one = { child, state: { token: null, renewal: '', error: null } as TokenInstanceState };
    child.on('message', (state: TokenInstanceState) => {
      one.state = state;
    });
    this.#children.set(child.pid as number, one);
  }

  kill(pid: number): void {
    this.#children.get(pid)?.child.kill('SIGKILL');
    this.#children.delete(pid);
  }

  states(): TokenInstanceState[] {
    return [...this.#children.values()].map(({ state }) => state);
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    for (const end = Date.now() + 60_000; !holds(); await sleep(2))
      if (Date.now() > end) throw new Error(`it never came to be: ${what}; ${JSON.stringify(this.states())}`);
  }
}

/** One strike at the next refresh; resolves when it was done, with when. */
function strikeOnce(platform: RotatingPlatform, when: 'asked' | 'rotated', strike: (pid: number) => Promise<void>) {
  return new Promise<number>((resolve) => {
    platform.strike = async (pid, at) => {
      if (at !== when) return;
      platform.strike = null;
      await strike(pid);
      resolve(performance.now());
    };
  });
}

/** Kills whichever instance refreshes, again and again; another one takes over each time. */
export async function surviveInstanceKills(t: Test, kills: number) {
  const range = await InstanceRange.create(t, 'grace', SHORT_LEASE);
  const { platform } = range;
  const takeovers: number[] = [];
  for (let kill = 0; kill < kills; kill += 1) {
    // Before the rotation, behind it and not heard of, or up to 8 ms into what follows the answer.
    const point = kill % 10;
    const killedAt = await strikeOnce(platform, point === 0 ? 'asked' : 'rotated', async (pid) => {
      if (point < 2) range.kill(pid);
      else setTimeout(() => range.kill(pid), point - 2);
    });
    const before = platform.verdict.refreshes;
    range.start();
    await range.until('another took over', () => platform.verdict.refreshes > before);
    // Behind the answer it may have stored what it got: then there is nothing to take over.
    if (point < 2) takeovers.push(performance.now() - killedAt);
    await range.until('two have a token', () => range.states().filter(({ token }) => token !== null).length > 1);
  }
  await range.until('all have a token', () => range.states().every(({ token }) => token !== null));
  const { verdict } = platform;
  takeovers.sort((a, b) => a - b);
  const [median, slowest] = [takeovers[takeovers.length >> 1], takeovers.at(-1)].map((ms = 0) => Math.round(ms));
  const lease = SHORT_LEASE.requestMs + SHORT_LEASE.leaseMarginMs;
  const times = `takeover ${median} ms, slowest ${slowest}, of a lease of ${lease}`;
  t.comment(`${kills} kills: ${JSON.stringify(verdict)}, ${times}`);
  t.match(verdict, { lost: 0, superseded: 0, mostAtOnce: 1 });
}

type Death = 'kept' | 'old' | 'empty';
const DEATHS: readonly Death[] = ['empty', 'old', 'kept'];

/** Kills Redis in the middle of a refresh; it comes back with what it had, with what it once had, or with nothing. */
export async function surviveRedisDeaths(t: Test, deaths: number) {
  const range = await InstanceRange.create(t, 'strict', LONG_LEASE);
  const { platform, redis } = range;
  const dump = join(redis.folder, 'dump.rdb');
  const done: Record<Death, number> = { kept: 0, old: 0, empty: 0 };
  for (let count = 0; count < deaths; count += 1) {
    const death = DEATHS[count % DEATHS.length] as Death;
    rmSync(dump, { force: true });
    // What a replica has that was cut off before the last writes.
    if (death === 'old') {
      await redis.command('SAVE');
      copyFileSync(dump, join(redis.folder, 'old.rdb'));
      const before = platform.verdict.refreshes;
      await range.until('another refresh', () => platform.verdict.refreshes > before);
      await sleep(50);
    }
    await strikeOnce(platform, count % 2 === 0 ? 'asked' : 'rotated', async () => {
      if (death === 'kept') await redis.command('SAVE');
      // Now, or a moment behind the answer.
      const kill = redis.kill();
      if (count % 4 < 2) await kill;
    });
    await redis.kill();
    if (death === 'old') copyFileSync(join(redis.folder, 'old.rdb'), dump);
    await sleep((count * 37) % 700);
    await redis.start();
    done[death] += 1;
    if (count % 10 === 9) t.comment(`${JSON.stringify(done)}: ${JSON.stringify(platform.verdict)}`);
    const before = platform.verdict.refreshes;
    await range.until('somebody renews', () => platform.verdict.refreshes > before);
    await range.until('all have a token', () => range.states().every(({ token }) => token !== null));
  }
  t.comment(`${deaths} deaths of Redis, ${JSON.stringify(done)}: ${JSON.stringify(platform.verdict)}`);
  t.match(platform.verdict, { lost: 0, superseded: 0, mostAtOnce: 1 });
}
