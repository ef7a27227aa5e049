// One instance with one person's login over a shared store, in a process of its own, to be killed: this file runs in it.
// It keeps its token fresh as a gateway does, and tells its parent what it has. Its locks are of scaled leases.

import { createCredentials } from '../../src/auth/credentials/credentials.ts';
import { RedisStore } from '../../src/auth/credentials/store/redis.ts';
import { systemClock } from '../../src/clock.ts';
import type { GatewayConfig, UpstreamHosts } from '../../src/config/gateway-config.ts';
import { bareCredential } from '../../src/config/sections/credential.ts';
import type { RedisStoreConfig } from '../../src/config/sections/store.ts';
import { RedisConnection } from '../../src/redis/connection.ts';
import { inlineSecret } from '../../src/secret.ts';

/** What the process is told at its start. */
export interface TokenInstanceOptions {
  readonly socket: string;
  /** Of the platform. */
  readonly origin: string;
  readonly requestMs: number;
  readonly leaseMarginMs: number;
}

/** What it tells, whenever that changes. */
export interface TokenInstanceState {
  readonly token: string | null;
  readonly renewal: string;
  readonly error: string | null;
}

const silent = { error() {}, warn() {}, info() {}, debug() {} };

async function run({ socket, origin, requestMs, leaseMarginMs }: TokenInstanceOptions): Promise<void> {
  const key = inlineSecret('c'.repeat(64), 'test');
  const config: RedisStoreConfig = {
    ...{ type: 'redis', path: '', prefix: 'gcg', encryptionKey: key, encryptionKeyPrevious: null },
    place: { addresses: [{ kind: 'unix', path: socket }], database: 0 },
    ...{ sentinel: null, sentinelUsername: null, sentinelPassword: null, username: null, password: null },
    ...{ caFile: null, certFile: null, keyFile: null },
  };
  const deps = { clock: systemClock, random: Math.random, log: silent };
  const connection = new RedisConnection({ config, ...deps });
  const store = new RedisStore({ ...config, ...deps, connection, leaseMarginMs });
  const host = { origin, pathPrefix: '' };
  const hosts = { domain: 'x.y', api: host, login: host, streaming: host } as unknown as UpstreamHosts;
  const credential = {
    ...bareCredential({ name: 'crm', grantType: 'pkce', hosts, location: 'test' }),
    ...{ clientId: 'client-1', isDefault: true, isRequired: true },
    refreshToken: inlineSecret('rt-0', 'test'),
  };
  const credentials = createCredentials({
    ...deps,
    store,
    config: {
      credentials: [credential],
      reauthentication: { refreshAccessToken: true, refreshTokenWaitMaxMs: 10_000 },
      timeouts: { tokenMs: requestMs },
    } as unknown as GatewayConfig,
    async transport({ url, body, timeoutMs }) {
      const headers = { 'x-instance': String(process.pid), 'content-type': 'application/x-www-form-urlencoded' };
      const answer = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(timeoutMs) });
      return { statusCode: answer.status, headers: {}, body: Buffer.from(await answer.arrayBuffer()) };
    },
  });
  await connection.open();
  await store.open();
  credentials.start();
  const source = credentials.default()?.source;
  let told = '';
  setInterval(() => {
    const { renewal = '', lastError = null } = source?.state() ?? {};
    const state = {
      token: source?.current()?.accessToken.reveal() ?? null,
      renewal,
      error: lastError?.message ?? null,
    };
    if (JSON.stringify(state) === told) return;
    told = JSON.stringify(state);
    process.send?.(state satisfies TokenInstanceState);
  }, 5);
}

if (process.argv[2] !== undefined && process.send) await run(JSON.parse(process.argv[2]) as TokenInstanceOptions);
