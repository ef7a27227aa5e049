// A gateway in a process of its own, so that its memory can be told from that of the test. `startGatewayProcess` forks
// this very file.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createGateway } from '../../src/gateway.ts';
import type { TearsDown } from './egress.ts';
import { configAt } from './gateway.ts';

/**
 * What the process is told: to start before that origin, or to look at itself, after a collection where one is asked
 * for.
 */
type Order = { readonly start: string } | { readonly collect: boolean };

/** What it sees of itself, bytes. */
export interface GatewayState {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly sockets: number;
}

export interface GatewayProcess {
  readonly url: string;
  state(options?: { collect: boolean }): Promise<GatewayState>;
}

/** Starts one before `origin`; it ends with the test. */
export async function startGatewayProcess(t: TearsDown, origin: string): Promise<GatewayProcess> {
  const child = fork(fileURLToPath(import.meta.url), ['gateway'], { execArgv: ['--expose-gc'], env: {} });
  t.teardown(() => child.kill());
  const ask = async <Answer>(order: Order): Promise<Answer> => {
    child.send(order);
    return (await once(child, 'message'))[0] as Answer;
  };
  const url = await ask<string>({ start: origin });
  return { url, state: (options = { collect: false }) => ask(options) };
}

async function serve(): Promise<void> {
  const silent = { error() {}, warn() {}, info() {}, debug() {}, exchange() {} };
  const [order] = (await once(process, 'message')) as [{ start: string }];
  const gateway = await createGateway(configAt(order.start), { log: silent, env: {} });
  const [url] = await gateway.listen();
  await gateway.runtime().credentials.default()?.source.token();
  process.send?.(url);
  process.on('message', async ({ collect }: { collect: boolean }) => {
    // The memory behind buffers is given back some time after the buffers.
    for (let round = 0; collect && round < 3; round++) {
      global.gc?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { rss, heapUsed, external } = process.memoryUsage();
    process.send?.({ rss, heapUsed, external, sockets: gateway.socketCount() } satisfies GatewayState);
  });
}

if (process.argv[2] === 'gateway' && process.send) await serve();
