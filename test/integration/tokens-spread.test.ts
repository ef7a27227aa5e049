// A credential with several tokens, through the whole gateway: got one by one, revoked, stored, and fewer or more of them
// by a reload. No call is lost on the way.

import { Agent, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { CredentialConfig, GatewayConfig } from '../../src/config/gateway-config.ts';
import { createSandbox, type Sandbox, type SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { inlineSecret } from '../../src/secret.ts';
import { type ConfigOverrides, configAt, credentialAt, startGatewayWith } from '../helpers/gateway.ts';

// Most of these wait for the second that lies between two token requests: they wait side by side.
t.jobs = 8;
const side = { buffered: true };

const PER_MINUTE = 300;

async function startRange(
  t: Test,
  own: Partial<CredentialConfig>,
  overrides: ConfigOverrides = {},
  sandboxOptions: SandboxOptions = {},
) {
  const sandbox = createSandbox({
    ...sandboxOptions,
    switches: {
      rateLimit: { perMinute: PER_MINUTE, key: 'client.credentials.token.rate.per.minute' },
      ...sandboxOptions.switches,
    },
  });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const configWith = (more: Partial<CredentialConfig>): GatewayConfig =>
    configAt(origin, {
      credentials: [credentialAt(origin, { ...own, ...more })],
      timeouts: { totalWaitMs: 30_000 },
      ...overrides,
    });
  const logins = watchLogins(sandbox);
  return { sandbox, configWith, config: configWith({}), logins };
}

/** Counts token requests, and how many of them were under way at a time. */
function watchLogins({ events: { emitter } }: Sandbox) {
  const seen = { total: 0, running: 0, most: 0, at: [] as number[] };
  emitter.on('request', ({ kind }) => {
    if (kind !== 'token') return;
    seen.total += 1;
    seen.running += 1;
    seen.most = Math.max(seen.most, seen.running);
    seen.at.push(performance.now());
  });
  emitter.on('answer', ({ kind }) => {
    if (kind === 'token') seen.running -= 1;
  });
  return seen;
}

function caller(t: Test, url: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  t.teardown(() => agent.destroy());
  const one = (path = '/api/v2/users', method = 'GET') =>
    new Promise<number>((resolve, reject) => {
      httpRequest(`${url}${path}`, { agent, method }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode as number));
      })
        .on('error', reject)
        .end();
    });
  const many = async (count: number) => {
    const statuses = await Promise.all(Array.from({ length: count }, () => one()));
    return statuses.filter((status) => status === 200).length;
  };
  return { one, many };
}

t.test('four tokens of 300: 1,200 calls at once are served in the first minute, by four logins', side, async (t) => {
  const { sandbox, config, logins } = await startRange(
    t,
    { tokens: 4 },
    { rateLimit: { requestsPerMinute: PER_MINUTE, queueMax: 2_000 } },
  );
  const { url, gateway } = await startGatewayWith(t, config);
  const { many } = caller(t, url);
  const startedAt = performance.now();
  t.equal(await many(1_200), 1_200);
  t.ok(performance.now() - startedAt < 55_000, `${Math.round(performance.now() - startedAt)} ms`);
  t.equal(sandbox.stats.rateLimitedCalls, 0, 'the platform refused none');
  t.equal(logins.total, 4);
  t.equal(logins.most, 1, 'never two token requests at once');
  const distances = logins.at.slice(1).map((at, index) => at - (logins.at[index] as number));
  t.ok(
    distances.every((ms) => ms >= 950),
    `a second between them: ${distances.map(Math.round)}`,
  );
  t.strictSame(
    gateway
      .runtime()
      .credentials.default()
      ?.pool?.states()
      .map(({ number, token }) => [number, token]),
    [1, 2, 3, 4].map((number) => [number, 'fresh']),
  );
});

export { inlineSecret, join };
