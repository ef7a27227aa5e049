// Several gateways in one process that share one Redis and one platform, and an application's own users at them.

import type { Test } from 'tap';
import { createToken } from '../../src/auth/credentials/token-source.ts';
import type { GatewayConfig } from '../../src/config/gateway-config.ts';
import type { RedisStoreConfig } from '../../src/config/sections/store.ts';
import type { Gateway } from '../../src/gateway.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox, type Sandbox } from '../../src/sandbox/sandbox.ts';
import { Secret } from '../../src/secret.ts';
import { type ConfigOverrides, configAt, startGatewayWith, type TestLog } from './gateway.ts';
import { type RedisProcess, startRedis } from './redis-process.ts';
import { redisStore } from './redis-store.ts';

/** One of them. */
export interface Instance {
  readonly url: string;
  readonly gateway: Gateway;
  readonly log: TestLog;
}

/** What they share, and the way to start one more. */
export interface Shared {
  readonly redis: RedisProcess;
  readonly sandbox: Sandbox;
  readonly origin: string;
  readonly config: GatewayConfig;
  start(store?: Partial<RedisStoreConfig>, overrides?: ConfigOverrides): Promise<Instance>;
}

/** Starts Redis, which also listens on TCP where a front leads to it, and the simulation; all end with the test. */
export async function shareStore(t: Test, overrides: ConfigOverrides = {}, { tcp = false } = {}): Promise<Shared> {
  const redis = await startRedis(t, { tcp });
  // A server that was empty just now might be told more by others.
  await redis.command('HSET', '{gcg}:meta', 'since', '1');
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const configWith = (store: Partial<RedisStoreConfig> = {}, more: ConfigOverrides = {}) => {
    const own = configAt(origin, { ...overrides, ...more });
    return { ...own, store: redisStore(redis.url, store) };
  };
  return {
    ...{ redis, sandbox, origin },
    config: configWith(),
    start: async (store, more) => startGatewayWith(t, configWith(store, more)),
  };
}

const USER = 'a11ce000-0000-4000-8000-000000000001';

/** Opens a session at an instance, of a user of the simulation; the header that shows its handle. */
export async function openSession(
  { gateway }: Instance,
  { sandbox, origin }: Pick<Shared, 'sandbox' | 'origin'>,
  {
    refreshToken = 'refresh',
    client = null,
    authFingerprint = null,
  }: { refreshToken?: string | null; client?: string | null; authFingerprint?: string | null } = {},
): Promise<{ authorization: string }> {
  const issued = sandbox.issueToken({ clientId: DEMO_CLIENTS.code.id, userId: USER });
  const now = Date.now();
  const token = createToken({ accessToken: new Secret(issued.value), obtainedAt: now, expiresAt: now + 3_600_000 });
  const { handle } = await gateway
    .runtime()
    .sessions.open(
      { client, authFingerprint, credential: 'default', clientId: 'app', secret: null },
      { token, refreshToken: refreshToken === null ? null : new Secret(refreshToken) },
      origin,
    );
  return { authorization: `Bearer ${handle}` };
}

/** A call with these headers: its status, or the code of the gateway's refusal. */
export async function outcomeAt(url: string, headers: Record<string, string>, path = '/api/v2/users/me') {
  const answer = await fetch(`${url}${path}`, { headers });
  await answer.text();
  return answer.headers.get('x-gateway-error') ?? answer.status;
}

/** Asks again and again until the answer is `wanted`, or `withinMs` is over; what it was at last, and after how long. */
export async function untilOutcome<T>(
  wanted: T,
  withinMs: number,
  ask: () => Promise<T>,
): Promise<{ readonly outcome: T; readonly afterMs: number }> {
  const startedAt = performance.now();
  for (;;) {
    const outcome = await ask();
    const afterMs = performance.now() - startedAt;
    if (outcome === wanted || afterMs >= withinMs) return { outcome, afterMs };
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
