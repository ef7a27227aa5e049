// A credential with several tokens, through the whole gateway: got one by one, revoked, stored, and fewer or more of them
// by a reload. No call is lost on the way.

import { Agent, request as httpRequest } from 'node:http';
import t, { type Test } from 'tap';
import { statusTable } from '../../src/cli/commands/status.ts';
import type { CredentialConfig, GatewayConfig } from '../../src/config/gateway-config.ts';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import { change, statusOf } from '../helpers/admin.ts';
import { type ConfigOverrides, configAt, credentialAt, startGatewayWith, stateFolder } from '../helpers/gateway.ts';

// Most of these wait for the second that lies between two token requests: they wait side by side.
t.jobs = 8;
const side = { buffered: true };

const PER_MINUTE = 60;
const FOUR = { tokens: 4 };

async function startRange(
  t: Test,
  own: Partial<CredentialConfig>,
  { perMinute = PER_MINUTE, ...overrides }: ConfigOverrides & { perMinute?: number } = {},
) {
  const sandbox = createSandbox({
    switches: { rateLimit: { perMinute, key: 'client.credentials.token.rate.per.minute' } },
  });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const configWith = (more: Partial<CredentialConfig>): GatewayConfig =>
    configAt(origin, {
      credentials: [credentialAt(origin, { ...own, ...more })],
      timeouts: { totalWaitMs: 30_000 },
      rateLimit: { requestsPerMinute: perMinute, queueMax: 2_000 },
      server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
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
  const { sandbox, config, logins } = await startRange(t, FOUR, { perMinute: 300 });
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

/** Resolves when four tokens are in hand, as if the room of all were needed. */
async function grown({ gateway, log }: Awaited<ReturnType<typeof startGatewayWith>>): Promise<void> {
  const pool = gateway.runtime().credentials.default()?.pool;
  await gateway.runtime().credentials.default()?.source.token();
  for (const number of [2, 3, 4]) {
    pool?.need(4, number - 1);
    await log.nextLine('token state', (fields) => fields.number === number && fields.toToken === 'fresh');
  }
}

/** The values of the tokens that calls came with. */
const shownTokens = (sandbox: Sandbox) =>
  new Set(
    apiCalls(sandbox).map(({ rawHeaders }) => rawHeaders[rawHeaders.indexOf('Authorization') + 1]?.slice(7) ?? ''),
  );

const apiCalls = ({ events }: Sandbox) => events.recent.filter(({ kind }) => kind === 'api');

t.test('one of four tokens is revoked in the middle of the traffic: no caller sees it', side, async (t) => {
  const { sandbox, config } = await startRange(t, FOUR, { perMinute: 300 });
  const started = await startGatewayWith(t, config);
  const { log } = started;
  const { many } = caller(t, started.url);
  await grown(started);
  const running = many(150);
  await log.nextExchange();
  sandbox.revokeTokens(({ serial }) => serial === 3);
  t.equal(await many(150), 150);
  t.equal(await running, 150);
  await log.nextLine(
    'token state',
    ({ number, toToken, fromToken }) => number === 3 && fromToken === 'suspect' && toToken === 'fresh',
  );
  t.equal(await many(50), 50);
  t.equal(log.exchanges.filter(({ status }) => status !== 200).length, 0);
  t.ok(Math.max(...log.exchanges.map(({ tokenWaitMs }) => tokenWaitMs)) < 500, 'nobody waited for its successor');
  t.equal(sandbox.stats.tokensIssued, 5);
});

t.test('a restart goes on with all stored tokens, and asks for none', side, async (t) => {
  const { config, logins } = await startRange(t, FOUR, { store: { type: 'file', path: stateFolder(t) } });
  const first = await startGatewayWith(t, config);
  await grown(first);
  const before = first.gateway.runtime().credentials.default()?.pool?.states();
  await first.gateway.drain();
  t.equal(logins.total, 4);
  const second = await startGatewayWith(t, config);
  await grown(second);
  const after = second.gateway.runtime().credentials.default()?.pool?.states();
  t.strictSame(
    after?.map(({ fingerprint }) => fingerprint),
    before?.map(({ fingerprint }) => fingerprint),
  );
  t.equal(await caller(t, second.url).many(100), 100);
  t.equal(logins.total, 4, 'no login');
});

t.test('from 4 tokens to 2 and back while calls run: none is dropped, none is got anew', side, async (t) => {
  const { config, configWith, logins } = await startRange(t, FOUR, { perMinute: 300 });
  const started = await startGatewayWith(t, config);
  const { many } = caller(t, started.url);
  await grown(started);
  const results: Promise<number>[] = [];
  for (const tokens of [2, 4, 1, 3, 4]) {
    results.push(many(40));
    await started.log.nextExchange();
    started.gateway.replace(configWith({ tokens }));
    results.push(many(40));
  }
  t.equal(
    (await Promise.all(results)).reduce((sum, count) => sum + count),
    400,
  );
  await grown(started);
  t.equal(logins.total, 4);
});

t.test('channels, their topics and the token itself are asked for with the first token', side, async (t) => {
  const { sandbox, config } = await startRange(t, FOUR);
  const started = await startGatewayWith(t, config);
  await grown(started);
  const { one, many } = caller(t, started.url);
  t.equal(await many(40), 40);
  t.ok(new Set(apiCalls(sandbox).map(({ tokenSerial }) => tokenSerial)).size >= 3, 'others are spread');
  const before = sandbox.events.recent.at(-1)?.id ?? 0;
  for (let round = 0; round < 3; round += 1) {
    t.equal(await one('/api/v2/notifications/channels', 'POST'), 200);
    t.equal(await one('/api/v2/notifications/channels'), 200);
    t.equal(await one('/api/v2/tokens/me'), 200);
  }
  const bound = apiCalls(sandbox).filter(({ id }) => id > before);
  t.strictSame([...new Set(bound.map(({ tokenSerial }) => tokenSerial))], [1]);
});

t.test('the status, its page, gcg status and metrics show each token, and no secret', side, async (t) => {
  const { sandbox, config } = await startRange(t, FOUR);
  const started = await startGatewayWith(t, config);
  const { url } = started;
  await grown(started);
  await caller(t, url).many(120);
  const status = await statusOf(url);
  const [credential] = status.credentials;
  t.equal(credential?.maxTokens, 4);
  t.match(
    credential?.tokens,
    [1, 2, 3, 4].map((number) => ({ number, token: 'fresh', renewal: 'idle', perMinute: PER_MINUTE, pausedMs: 0 })),
  );
  t.equal(
    credential?.tokens?.reduce((sum, { used }) => sum + used, 0),
    120,
  );
  t.match(status.limits[0], { perMinute: 4 * PER_MINUTE, used: 120 });
  const page = await (await fetch(`${url}/`)).text();
  t.match(page, /<dt>Tokens<\/dt><dd>4 of at most 4/);
  t.match(page, /token 3: fresh, 23 h 59 min left, \d+ of 60 calls in the last minute/);
  t.match(statusTable(status), /^ {2}default: token 4: fresh, 23 h 59 min left, \d+ of 60 calls/m);
  const metrics = await (await fetch(`${url}/metrics`)).text();
  t.match(metrics, /^gcg_token_pool_tokens\{credential="default",state="fresh"\} 4$/m);
  const shown = shownTokens(sandbox);
  t.equal(shown.size, 4);
  for (const text of [JSON.stringify(status), page, metrics]) for (const one of shown) t.notOk(text.includes(one));
});

t.test('a logout with revoke=true ends all tokens at the platform', side, async (t) => {
  const { sandbox, config } = await startRange(t, FOUR);
  const started = await startGatewayWith(t, config);
  await grown(started);
  t.equal(sandbox.stats.validTokens, 4);
  const answer = await change(`${started.url}/-/credentials/default/logout?revoke=true`);
  t.match(await answer.json(), { token: 'none', revocation: { revoked: true, problem: null } });
  t.equal(sandbox.stats.validTokens, 0);
  t.equal(await caller(t, started.url).one(), 424);
});

t.test('calls that wait for a token to come are served, also when the gateway is told to end', side, async (t) => {
  const { config, logins } = await startRange(t, FOUR);
  const { url, gateway } = await startGatewayWith(t, config);
  const calls = caller(t, url).many(150);
  const arrived = () => {
    const [limit] = gateway.runtime().upstream.limits();
    return (limit?.used ?? 0) + (limit?.waiting ?? 0);
  };
  while (arrived() < 150) await new Promise((resolve) => setImmediate(resolve));
  await gateway.drain();
  t.equal(await calls, 150);
  t.equal(logins.total, 3);
});
