// Three gateways on one server: what one sends is counted by all, and who cannot be served is told so by the gateway and
// not by the platform.

import t from 'tap';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import type { StatusDocument } from '../../src/server/routes/status.ts';
import { clientNamed } from '../helpers/clients.ts';
import { configAt, startGatewayWith } from '../helpers/gateway.ts';
import { startRedis, withoutRedis } from '../helpers/redis-process.ts';
import { redisStore } from '../helpers/redis-store.ts';

const PER_MINUTE = 30;

t.test('three gateways and one limit', { skip: withoutRedis }, async (t) => {
  const redis = await startRedis(t);
  const key = 'client.credentials.token.rate.per.minute';
  // All tokens together, whether or not the instances have one in common.
  const limit = { namespace: 'platform.api', key, perMinute: PER_MINUTE, paths: ['/api/v2/'], isShared: true };
  // A server that others have used before.
  await redis.command('SET', '{gcg}:quota:since', String(Date.now() - 60_000));
  const sandbox = createSandbox({ switches: { rateLimit: { perMinute: 1_000, isSliding: true, services: [limit] } } });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const config = configAt(origin, {
    clients: ['x', 'y'].map((name) => clientNamed(name, { isAdmin: true })),
    rateLimit: { requestsPerMinute: PER_MINUTE },
    timeouts: { totalWaitMs: 4_000 },
    server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
    store: redisStore(redis.url),
  });
  const gateways = await Promise.all([0, 1, 2].map(() => startGatewayWith(t, config)));
  await Promise.all(gateways.map(({ gateway }) => gateway.ready));
  const headers = { 'X-Gateway-Key': 'x-secret' };
  const ask = async (at: number, path = '/api/v2/users') => {
    const answer = await fetch(`${gateways[at % 3]?.url}${path}`, { headers });
    return { status: answer.status, code: answer.headers.get('x-gateway-error'), text: await answer.text() };
  };
  const all = await Promise.all(Array.from({ length: 2 * PER_MINUTE }, (_, at) => ask(at)));
  const served = all.filter(({ status }) => status === 200).length;
  t.ok(served >= PER_MINUTE / 3 && served <= PER_MINUTE, `${served} served`);
  t.ok(all.every(({ status, code }) => status === 200 || code === 'gateway.rate.limited'));
  t.equal(sandbox.stats.rateLimitedCalls, 0, 'the platform refused none');

  for (const { pages } of gateways.map(({ gateway }) => gateway)) {
    const { origin: admin } = new URL(pages[0]?.url ?? '');
    const { store, limits } = (await (await fetch(`${admin}/-/status`, { headers })).json()) as StatusDocument;
    t.match(store, { type: 'redis', state: 'ok', quota: /^(?:shared|own)$/ });
    t.ok(Number(limits[0]?.used) >= served - 1, `each knows of ${limits[0]?.used} calls`);
  }
  const { text } = await ask(0, '/metrics');
  t.match(text, /^gcg_quota_permits_total\{source="(?:asked|spare|alone)"\} \d+$/m);
  t.match(text, /^gcg_quota_degraded_seconds_total [\d.]+$/m);
  const keys = await redis.command<string[]>('KEYS', '*');
  const hash = keys.find((one) => one.startsWith('{gcg}:q:')) ?? '';
  const content = JSON.stringify(await redis.command('HGETALL', hash));
  t.notMatch(`${hash} ${content}`, /default|users|secret|"x|platform/, 'names are not in the clear');

  // Who leaves is counted on.
  await gateways[0]?.gateway.drain();
  const later = await Promise.all([1, 2, 4].map((at) => ask(at)));
  t.ok(served + later.filter(({ status }) => status === 200).length <= PER_MINUTE);
  t.equal(sandbox.stats.rateLimitedCalls, 0);
});
