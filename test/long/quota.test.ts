// Three gateways that share a limit over a real redis-server, on the real clock: about eight minutes. The platform's
// minute slides, so that a call too many is refused whenever it comes.

import { Agent, request } from 'node:http';
import t, { type Test } from 'tap';
import type { StoreConfig } from '../../src/config/sections/store.ts';
import type { Gateway } from '../../src/gateway.ts';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createDice } from '../helpers/dice.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { type RedisProcess, startRedis, withoutRedis } from '../helpers/redis-process.ts';
import { redisStore } from '../helpers/redis-store.ts';

const MINUTE_MS = 60_000;
const LATENCY_MS = 50;
const CLIENTS = ['x', 'y', 'z'];

interface Answer {
  readonly status: number;
  readonly at: number;
  readonly tookMs: number;
}

const sleep = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms));

/** A platform whose limit all tokens share, as instances with one token do. */
async function startPlatform(t: Test, perMinute: number): Promise<{ sandbox: Sandbox; origin: string }> {
  const key = 'client.credentials.token.rate.per.minute';
  const limit = { namespace: 'platform.api', key, perMinute, paths: ['/api/v2/'], isShared: true };
  const sandbox = createSandbox({
    switches: { latencyMs: LATENCY_MS, rateLimit: { perMinute: 1_000_000, isSliding: true, services: [limit] } },
  });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  return { sandbox, origin };
}

async function startInstance(t: Test, origin: string, perMinute: number, store?: StoreConfig) {
  const config = configAt(origin, {
    clients: CLIENTS.map((name) => clientNamed(name, { isAdmin: true })),
    rateLimit: { requestsPerMinute: perMinute },
    timeouts: { totalWaitMs: 600_000 },
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
    ...(store && { store }),
  });
  const started = await startGatewayWith(t, config);
  await started.gateway.ready;
  const agent = new Agent({ keepAlive: true, maxSockets: 1_000 });
  t.teardown(() => agent.destroy());
  const call = (client: string): Promise<Answer> => {
    const startedAt = performance.now();
    const headers = { 'X-Gateway-Key': `${client}-secret` };
    return new Promise((resolve) => {
      const ended = (status: number) =>
        resolve({ status, at: performance.now(), tookMs: performance.now() - startedAt });
      const message = request(`${started.url}/api/v2/users`, { agent, headers }, (answer) => {
        answer.resume().on('end', () => ended(answer.statusCode as number));
      });
      message.on('error', () => ended(0));
      message.end();
    });
  };
  return { ...started, call };
}

type Instance = Awaited<ReturnType<typeof startInstance>>;

/** Workers come one after the other: that this machine is slow is not what is looked at. */
const BETWEEN_WORKERS_MS = 100;

/** Calls again and again; `stop` lets what runs be forgotten. */
class Load {
  readonly answers: { client: string; answer: Answer }[] = [];
  #isOver = false;

  keepAsking(instance: Instance, client: string, workers: number): void {
    for (let worker = 0; worker < workers; worker += 1)
      setTimeout(() => void this.#work(instance, client), worker * BETWEEN_WORKERS_MS);
  }

  async askEvery(ms: number, instance: Instance, client: string): Promise<void> {
    while (!this.#isOver) {
      void instance.call(client).then((answer) => this.answers.push({ client, answer }));
      await sleep(ms);
    }
  }

  async #work(instance: Instance, client: string): Promise<void> {
    while (!this.#isOver) {
      const answer = await instance.call(client);
      this.answers.push({ client, answer });
    }
  }

  stop(): void {
    this.#isOver = true;
  }

  passed(client: string): number {
    return this.answers.filter((one) => one.client === client && one.answer.status === 200).length;
  }

  between(from: number, to: number): number {
    return this.answers.filter(({ answer: { at, status } }) => status === 200 && at >= from && at < to).length;
  }
}

const quotaOf = (gateway: Gateway) => gateway.runtime().upstream.parts.limits.states()[0];

async function ticks(redis: RedisProcess): Promise<number> {
  const stats = await redis.command<string>('INFO', 'commandstats');
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

async function cpuSeconds(redis: RedisProcess): Promise<number> {
  const text = await redis.command<string>('INFO', 'cpu');
  return ['sys', 'user'].reduce(
    (sum, kind) => sum + Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(text)?.[1]),
    0,
  );
}

const percentile = (values: readonly number[], part: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] as number;

t.test('300 a minute, saturated at three instances', { skip: withoutRedis, timeout: 600_000 }, async (t) => {
  const redis = await startRedis(t);
  const { sandbox, origin } = await startPlatform(t, 300);
  const store = redisStore(redis.url);
  const [a, b, c] = (await Promise.all([0, 1, 2].map(() => startInstance(t, origin, 300, store)))) as [
    Instance,
    Instance,
    Instance,
  ];
  const load = new Load();
  load.keepAsking(a, 'x', 50);
  load.keepAsking(b, 'x', 50);
  load.keepAsking(c, 'z', 50);
  void load.askEvery(3_000, c, 'y');
  await sleep(10_000);
  const startedAt = performance.now();
  const ticksBefore = await ticks(redis);
  await sleep(3 * MINUTE_MS);
  const inAll = load.answers.length;
  const redisCalls = (await ticks(redis)) - ticksBefore;
  const used = [0, 1, 2].map((minute) =>
    load.between(startedAt + minute * MINUTE_MS, startedAt + (minute + 1) * MINUTE_MS),
  );
  const { rateLimitedCalls, apiCallsTotal } = sandbox.stats;
  const waits = load.answers.filter(({ client }) => client === 'y').map(({ answer }) => answer.tookMs - LATENCY_MS);
  const calls = used.reduce((sum, count) => sum + count, 0);
  t.comment(
    `${used.join(', ')} a minute; ${rateLimitedCalls} of ${apiCallsTotal} refused; ` +
      `${(redisCalls / calls).toFixed(2)} Redis calls a call; x ${load.passed('x')}, z ${load.passed('z')}, ` +
      `y ${load.passed('y')} with a median wait of ${percentile(waits, 0.5).toFixed(1)} ms, at most ` +
      `${Math.max(...waits).toFixed(0)}`,
  );
  t.ok(calls >= 0.98 * 900);
  t.ok(rateLimitedCalls <= 0.01 * apiCallsTotal);
  t.ok(redisCalls <= calls);
  t.ok(percentile(waits, 0.5) <= 50);
  t.equal(quotaOf(a.gateway)?.perMinute, 300);

  t.comment('the same with a server that is frozen, killed, and emptied');
  const before = { ...sandbox.stats };
  const degraded = () =>
    Promise.all([a, b, c].map(({ gateway }) => metric(gateway, 'gcg_quota_degraded_seconds_total')));
  const backAfter = async (what: string) => {
    const from = performance.now();
    let now = await degraded();
    for (let isOver = false; !isOver && performance.now() - from < 20_000; ) {
      await sleep(200);
      const later = await degraded();
      isOver = later.every((seconds, at) => seconds === now[at]);
      now = later;
    }
    const tookMs = performance.now() - from;
    t.comment(`${what}: shared again after ${(tookMs / 1_000).toFixed(1)} s`);
    t.ok(tookMs <= 5_000);
  };
  redis.freeze();
  await sleep(5_000);
  redis.thaw();
  await backAfter('frozen for 5 s');
  await sleep(10_000);
  await redis.kill();
  await sleep(5_000);
  await redis.start();
  await backAfter('killed, back after 5 s with nothing');
  await sleep(10_000);
  await redis.restart({ empty: true });
  await backAfter('emptied by a restart');
  await sleep(MINUTE_MS);
  load.stop();
  const refused = sandbox.stats.rateLimitedCalls - before.rateLimitedCalls;
  const sent = sandbox.stats.apiCallsTotal - before.apiCallsTotal;
  const failed = load.answers.filter(({ answer: { status } }) => status !== 200).length;
  t.comment(`${refused} of ${sent} refused; ${load.answers.length - inAll} served, ${failed} not`);
  t.ok(refused <= 0.005 * sent);
  t.equal(failed, 0);
  redis.thaw();
});

async function metric({ pages }: Gateway, name: string): Promise<number> {
  const { origin } = new URL(pages[0]?.url ?? '');
  const text = await (await fetch(`${origin}/metrics`, { headers: { 'X-Gateway-Key': 'x-secret' } })).text();
  const value = new RegExp(`^${name} ([\\d.e+-]+)$`, 'm').exec(text)?.[1];
  if (value === undefined) throw new Error(`${name} is not told: ${text.slice(0, 200)}`);
  return Number(value);
}

t.test('at 60 % of a limit nobody notices that it is shared', { skip: withoutRedis, timeout: 600_000 }, async (t) => {
  const redis = await startRedis(t);
  const [shared, alone] = await Promise.all([startPlatform(t, 3_000), startPlatform(t, 3_000)]);
  const store = redisStore(redis.url);
  const sharing = await Promise.all([0, 1, 2].map(() => startInstance(t, shared.origin, 3_000, store)));
  const others = await Promise.all([0, 1, 2].map(() => startInstance(t, alone.origin, 1_000)));
  const dice = createDice(7);
  const tookMs: Record<'shared' | 'alone', number[]> = { shared: [], alone: [] };
  const cpuBefore = await cpuSeconds(redis);
  const startedAt = performance.now();
  const calls: Promise<void>[] = [];
  while (performance.now() - startedAt < 2 * MINUTE_MS) {
    // 30 a second for each three, by chance, and both at the same moments.
    await sleep(-Math.log(1 - dice.int(1_000_000) / 1_000_000) * (1_000 / 30));
    const at = dice.int(3);
    const client = dice.pick(CLIENTS);
    const pair: ['shared' | 'alone', Instance][] = [
      ['shared', sharing[at] as Instance],
      ['alone', others[at] as Instance],
    ];
    if (dice.chance(0.5)) pair.reverse();
    for (const [kind, instance] of pair)
      calls.push(instance.call(client).then((answer) => void tookMs[kind].push(answer.tookMs)));
  }
  await Promise.all(calls);
  const seconds = (performance.now() - startedAt) / 1_000;
  const cpu = ((await cpuSeconds(redis)) - cpuBefore) / seconds;
  const p99 = { shared: percentile(tookMs.shared, 0.99), alone: percentile(tookMs.alone, 0.99) };
  t.comment(
    `${tookMs.shared.length} calls; p50 ${percentile(tookMs.shared, 0.5).toFixed(1)} and ` +
      `${percentile(tookMs.alone, 0.5).toFixed(1)} ms, p99 ${p99.shared.toFixed(1)} and ${p99.alone.toFixed(1)} ms; ` +
      `${(cpu * 100).toFixed(2)} % of a core in the server`,
  );
  t.ok(p99.shared <= 1.05 * p99.alone);
  t.ok(cpu < 0.01);
  t.equal(shared.sandbox.stats.rateLimitedCalls, 0);
});
