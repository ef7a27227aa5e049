// Pacing at full scale: 300 calls a minute, 50 ms an answer. All but two tests run on the real clock, which takes about
// six minutes. Where several clients are configured a burst gets a part of the first minute later: the last tests are
// about that, the others have one client.

import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import t, { type Test } from 'tap';
import type { Clock } from '../../src/clock.ts';
import { clientNamed } from '../helpers/clients.ts';
import { createFakeClock } from '../helpers/fake-clock.ts';
import { type ConfigOverrides, startGateway } from '../helpers/gateway.ts';
import { ANY_WAY, longestOf } from '../unit/upstream/fair-simulation.ts';

const PER_MINUTE = 300;
const LATENCY_MS = 50;
const CALLS = 600;
const CLIENTS = Array.from({ length: 10 }, (_, index) => `client-${index}`);
const ALONE = ['client-0'];
/** Two windows: the first 300 at once, the others when the second begins. */
const MINIMUM_MS = 60_000 + LATENCY_MS;

interface Answer {
  status: number;
  retryAfter: string | null;
  code: string | null;
  tookMs: number;
}

async function start(
  t: Test,
  config: ConfigOverrides = {},
  clients: readonly string[] = CLIENTS,
  clock?: Clock,
  identify = false,
) {
  const started = await startGateway(t, {
    identify,
    ...(clock && { clock }),
    sandbox: {
      ...(clock && { clock }),
      switches: {
        latencyMs: LATENCY_MS,
        rateLimit: { perMinute: PER_MINUTE, key: 'client.credentials.token.rate.per.minute' },
      },
    },
    config: { clients: clients.map((name) => clientNamed(name)), ...config },
  });
  const agent = new HttpAgent({ keepAlive: true, maxSockets: 1_000 });
  t.teardown(() => agent.destroy());
  const call = (client: string, path = '/api/v2/users'): Promise<Answer> => {
    const startedAt = performance.now();
    return new Promise((resolve, reject) => {
      const message = httpRequest(
        `${started.url}${path}`,
        { agent, headers: { 'X-Gateway-Key': `${client}-secret` } },
        (answer) => {
          answer.resume().on('end', () =>
            resolve({
              status: answer.statusCode as number,
              retryAfter: answer.headers['retry-after'] ?? null,
              code: (answer.headers['x-gateway-error'] as string | undefined) ?? null,
              tookMs: performance.now() - startedAt,
            }),
          );
        },
      );
      message.on('error', reject);
      message.end();
    });
  };
  return { ...started, call };
}

/** All calls at once; the time until the last answer. */
async function burst(
  call: (client: string) => Promise<Answer>,
  count: number,
  client = 'client-0',
): Promise<{ answers: Answer[]; tookMs: number }> {
  const startedAt = performance.now();
  const answers = await Promise.all(Array.from({ length: count }, () => call(client)));
  return { answers, tookMs: performance.now() - startedAt };
}

t.test('600 calls at once: nobody sees a 429, and next to nothing of the limit is wasted', async (t) => {
  const { call, sandbox, log } = await start(
    t,
    { rateLimit: { requestsPerMinute: PER_MINUTE }, timeouts: { totalWaitMs: 600_000 } },
    ALONE,
  );
  const { answers, tookMs } = await burst(call, CALLS);
  const { apiCallsTotal, rateLimitedCalls } = sandbox.stats;
  const used = CALLS / (2 * PER_MINUTE) / (tookMs / MINIMUM_MS);
  t.comment(
    `${Math.round(tookMs)} ms, ${(tookMs / MINIMUM_MS).toFixed(4)} of the minimum; ${rateLimitedCalls} of ` +
      `${apiCallsTotal} refused; ${(used * 100).toFixed(2)} % used`,
  );
  t.ok(answers.every(({ status }) => status === 200));
  t.ok(tookMs <= MINIMUM_MS * 1.03);
  t.ok(used >= 0.98);
  t.ok(rateLimitedCalls <= apiCallsTotal * 0.01);
  t.ok(
    log.exchanges.every(
      ({ attempts, queueMs, durationMs }) => attempts >= 1 && queueMs >= 0 && queueMs <= durationMs + 1,
    ),
    'every record tells attempts and queue time',
  );
});

t.test('the same from a cold start, the limit to be learnt', async (t) => {
  const { call, sandbox } = await start(t, { timeouts: { totalWaitMs: 600_000 } }, ALONE);
  const { answers, tookMs } = await burst(call, CALLS);
  const { apiCallsTotal, rateLimitedCalls } = sandbox.stats;
  t.comment(
    `${Math.round(tookMs)} ms, ${(tookMs / MINIMUM_MS).toFixed(4)} of the minimum; ${rateLimitedCalls} of ` +
      `${apiCallsTotal} refused`,
  );
  t.ok(answers.every(({ status }) => status === 200));
  t.ok(rateLimitedCalls <= apiCallsTotal * 0.03);
});

t.test('the same from a cold start, the limit asked for before the first call', async (t) => {
  const { call, sandbox, gateway } = await start(t, { timeouts: { totalWaitMs: 600_000 } }, ALONE, undefined, true);
  while (gateway.runtime().upstream.limits()[0]?.source !== 'asked')
    await new Promise((resolve) => setImmediate(resolve));
  // Two questions of ours count too.
  const { answers, tookMs } = await burst(call, CALLS - 2);
  const { apiCallsTotal, rateLimitedCalls } = sandbox.stats;
  t.comment(
    `${Math.round(tookMs)} ms, ${(tookMs / MINIMUM_MS).toFixed(4)} of the minimum; ${rateLimitedCalls} of ` +
      `${apiCallsTotal} refused`,
  );
  t.ok(answers.every(({ status }) => status === 200));
  t.equal(rateLimitedCalls, 0);
});

t.test('with the default budget, who cannot be served learns so at once, and truly when to come back', async (t) => {
  const clock = createFakeClock();
  const { call, sandbox } = await start(t, { rateLimit: { requestsPerMinute: PER_MINUTE } }, ALONE, clock);
  await burst(call, PER_MINUTE);
  const late: Answer[] = [];
  for (let index = 0; index < 100; index += 1) late.push(await call('client-0'));
  const slowestMs = Math.max(...late.map(({ tookMs }) => tookMs));
  t.comment(`slowest refusal ${slowestMs.toFixed(1)} ms, Retry-After ${late[0]?.retryAfter}`);
  t.ok(late.every(({ status, code }) => status === 429 && code === 'gateway.rate.limited'));
  t.ok(slowestMs <= 50);
  t.equal(sandbox.stats.rateLimitedCalls, 0);
  await clock.advance(Number(late[99]?.retryAfter) * 1_000);
  const { answers } = await burst(call, 100);
  t.ok(
    answers.every(({ status }) => status === 200),
    'who comes back then is served',
  );
  t.ok(Math.max(...answers.map(({ tookMs }) => tookMs)) < 1_000, 'without waiting again');
  t.equal(sandbox.stats.rateLimitedCalls, 0);
});

t.test("an endpoint's 429 delays no other endpoint", async (t) => {
  const { call, sandbox, log } = await start(t);
  sandbox.set({
    rateLimit: {
      perMinute: 1_000_000,
      endpoints: [{ route: 'GET /api/v2/routing/queues', perMinute: 5, key: 'routing.queues.rate.per.minute' }],
    },
  });
  const isOther = ({ target }: { target: string }) => target === '/api/v2/users';
  const p99 = (times: number[]) => times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] as number;
  // The quiet run carries the same traffic to an endpoint that has no limit.
  const measure = async (isDisturbed: boolean) => {
    const times: number[] = [];
    const before = log.exchanges.length;
    let running = true;
    const disturb = async () => {
      while (running) {
        // The rhythm of this traffic, against a limit that counts real minutes.
        const tick = new Promise((resolve) => setTimeout(resolve, 70));
        await call('client-9', isDisturbed ? '/api/v2/routing/queues' : '/api/v2/routing/skills');
        await tick;
      }
    };
    const disturbers = Array.from({ length: 4 }, disturb);
    const work = async (_: unknown, worker: number) => {
      for (let index = 0; index < 100; index += 1) times.push((await call(`client-${worker}`)).tookMs);
    };
    await Promise.all(Array.from({ length: 4 }, work));
    running = false;
    await Promise.all(disturbers);
    // Client, gateway and simulation share this process: what the simulation adds to its 50 ms is not the gateway's
    // doing.
    const own = log.exchanges
      .slice(before)
      .filter(isOther)
      .map(({ durationMs, upstreamMs }) => LATENCY_MS + durationMs - upstreamMs);
    return { whole: p99(times), own: p99(own) };
  };
  await measure(false);
  // In turns, and the median of the rounds, so that whatever else the machine does falls on both.
  const rounds: { quiet: Awaited<ReturnType<typeof measure>>; disturbed: Awaited<ReturnType<typeof measure>> }[] = [];
  for (let round = 0; round < 7; round += 1)
    rounds.push({ quiet: await measure(false), disturbed: await measure(true) });
  const median = (times: number[]) => times.sort((a, b) => a - b)[times.length >> 1] as number;
  const of = (kind: 'quiet' | 'disturbed', what: 'whole' | 'own') => median(rounds.map((round) => round[kind][what]));
  const ratio = of('disturbed', 'own') / of('quiet', 'own');
  t.comment(
    `p99 with a simulation that takes exactly ${LATENCY_MS} ms: ${of('quiet', 'own').toFixed(1)} ms quiet, ` +
      `${of('disturbed', 'own').toFixed(1)} ms while another endpoint is limited: ${ratio.toFixed(3)}`,
  );
  t.comment(
    `as measured by the client: ${of('quiet', 'whole').toFixed(1)} and ${of('disturbed', 'whole').toFixed(1)} ms`,
  );
  t.ok(ratio <= 1.2);
  const others = log.exchanges.filter(isOther);
  t.ok(others.length > 4_000);
  t.equal(
    others.filter(({ queueMs, attempts }) => queueMs > 0 || attempts !== 1).length,
    0,
    'none of the others was held for a moment',
  );
  const { rateLimitedCalls } = sandbox.stats;
  t.ok(rateLimitedCalls > 0 && rateLimitedCalls < 30, `${rateLimitedCalls} refused`);
});

t.test(
  'nine greedy clients and a modest one: from its first call on it waits no longer than is promised',
  async (t) => {
    const { call, sandbox } = await start(t, { rateLimit: { requestsPerMinute: PER_MINUTE } });
    let running = true;
    const greedy = CLIENTS.slice(0, 9).flatMap((client) =>
      Array.from({ length: 40 }, async () => {
        while (running)
          if ((await call(client)).status === 429) await new Promise((resolve) => setTimeout(resolve, 1_000));
      }),
    );
    const modest: Answer[] = [];
    const startedAt = performance.now();
    // The rhythm of a client that asks twenty times a minute.
    while (performance.now() - startedAt < 90_000) {
      const next = new Promise((resolve) => setTimeout(resolve, 3_000));
      modest.push(await call('client-9'));
      await next;
    }
    running = false;
    await Promise.all(greedy);
    const slowestMs = Math.max(...modest.map(({ tookMs }) => tookMs));
    t.comment(
      `${modest.length} calls, slowest ${slowestMs.toFixed(1)} ms; ${sandbox.stats.apiCallsTotal} calls in all`,
    );
    t.ok(modest.every(({ status }) => status === 200));
    t.ok(slowestMs <= 3_000);
    t.equal(sandbox.stats.rateLimitedCalls, 0);
  },
);

t.test(
  'over many arrivals by chance nobody who asks for little waits longer than is promised',
  { timeout: 900_000 },
  async (t) => {
    const alone = await longestOf((dice) => {
      const others = 1 + dice.int(8);
      return { perMinute: 43 * others + dice.int(600), others, modest: 1, ways: ANY_WAY };
    }, 300);
    const several = await longestOf((dice) => {
      const others = 1 + dice.int(8);
      const perMinute = dice.pick([30, 60, 100, 300, 600]);
      const share = Math.min(20, perMinute / (others + 1));
      const modest = 1 + dice.int(Math.max(1, Math.min(others, Math.floor(perMinute / 2 / share))));
      return { perMinute, others: others + 1 - modest, modest, ways: ['floods', 'busy'] };
    }, 300);
    t.comment(`at worst ${(alone * 100).toFixed(0)} and ${(several * 100).toFixed(0)} % of what is promised`);
    t.ok(alone <= 1);
    t.ok(several <= 1);
  },
);
