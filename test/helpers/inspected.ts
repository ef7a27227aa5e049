// A gateway whose list of calls holds whatever a test wants to be seen: any text in any field, as many as it likes. All
// else is the gateway's own: its routes, its feed, its page and the policy that goes with it.

import { randomUUID } from 'node:crypto';
import type { Test } from 'tap';
import type { GatewayConfig } from '../../src/config/gateway-config.ts';
import { createGateway, type Gateway } from '../../src/gateway.ts';
import type { Inspector } from '../../src/inspector/inspector.ts';
import type { Call } from '../../src/inspector/wire.ts';
import { createExchangeRecord } from '../../src/logging/exchange-record.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { exchangeOf } from '../../src/server/exchange.ts';
import { type ConfigOverrides, configAt, createTestLog } from './gateway.ts';

/** A gateway, and what it is made to show. */
export interface Inspected {
  readonly url: string;
  readonly gateway: Gateway;
  readonly config: GatewayConfig;
  /** Feeds that are open. */
  streams(): number;
  /** The page by a link that is good once. */
  link(): Promise<string>;
  /** Lets calls end: those that went well, save for what is wished of them. */
  add(...wishes: readonly Partial<Call>[]): void;
  /** Lets a call run, and wait for something, from `ago` ms before now. */
  run(wish: { client: string; method: string; target: string; waitsFor: string | null; ago: number }): void;
}

const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

/** Starts one; it ends with the test. */
export async function startInspected(t: Pick<Test, 'teardown'>, overrides: ConfigOverrides = {}): Promise<Inspected> {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  const config = configAt(origin, { ...overrides, server: { adminListen: LOCAL, ...overrides.server } });
  let inspector: Inspector | null = null;
  const gateway = await createGateway(config, {
    log: createTestLog(),
    env: {},
    identify: false,
    plugins: [
      (app) =>
        app.get('/test/inspector', (request, reply) => {
          ({ inspector } = exchangeOf(request.raw).gateway);
          return reply.send();
        }),
    ],
  });
  const [url] = (await gateway.listen()) as [string];
  t.teardown(() => gateway.drain());
  // It is a call as well.
  const [client] = config.clients;
  await fetch(`${url}/test/inspector`, {
    ...(client !== undefined && { headers: { 'X-Gateway-Key': `${client.name}-secret` } }),
  });
  const { ring, feed } = inspector as unknown as Inspector;
  ring.clear();
  let count = 0;
  return {
    url,
    gateway,
    config,
    streams: () => feed.watchers.length,
    async link() {
      const headers = { 'X-Gateway-Request': '1', 'X-Gateway-Key': gateway.pageKey };
      const answer = await fetch(`${url}/-/ui/link`, { method: 'POST', headers });
      return `${url}/-/ui/#o=${((await answer.json()) as { code: string }).code}`;
    },
    add(...wishes) {
      for (const wish of wishes) {
        count += 1;
        const call = callNamed(count, wish);
        const { seq: _, ...line } = call;
        const record = createExchangeRecord();
        Object.assign(record, { client: call.client ?? null, requestId: call.requestId });
        record.status = call.status;
        record.errorCode = call.errorCode ?? null;
        inspector?.ended(record, `${JSON.stringify(line)}\n`);
      }
    },
    run({ waitsFor, ago, ...wish }) {
      const record = createExchangeRecord(performance.now() - ago);
      Object.assign(record, wish, { requestId: randomUUID() });
      inspector?.begun({ record, waitsFor: waitsFor ?? '', rejectWait: waitsFor });
    },
  };
}

/** A call that went well, or what is wished for in its place. */
function callNamed(number: number, wish: Partial<Call>): Call {
  return {
    seq: number,
    level: 'info',
    time: new Date().toISOString(),
    requestId: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
    client: 'crm',
    credential: 'default',
    method: 'GET',
    path: '/api/v2/users/4f1c2a9e?expand=presence',
    route: '/api/v2/users/{userId}',
    operation: 'getUser',
    status: 200,
    durationMs: 48.2,
    upstreamMs: 44,
    tokenWaitMs: 0,
    queueMs: 0,
    attempts: 1,
    requestBytes: 0,
    responseBytes: 1804,
    source: 'upstream',
    ...wish,
  };
}
