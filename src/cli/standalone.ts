// Credentials of a command that runs without the gateway: the configured store and the configured way out, and a
// process that waits for both.

import { type Credentials, createCredentials } from '../auth/credentials/credentials.ts';
import { createFileStore } from '../auth/credentials/store/file.ts';
import { createMemoryStore } from '../auth/credentials/store/memory.ts';
import { StoreError } from '../auth/credentials/store/store.ts';
import { systemClock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { isGatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import { createUpstream, type Upstream } from '../upstream/upstream.ts';
import { exitCodeOf } from './admin-client.ts';
import { EXIT, type Io } from './io.ts';

/** What goes on behind a command is told by its outcome. */
export const SILENT: Log = { error() {}, warn() {}, info() {}, debug() {} };

/**
 * Runs `work` with the credentials; errors of ours become a line on stderr and an exit code. With `isTrial` only what a
 * person's login left is taken from the store, and every other token is obtained anew and kept nowhere.
 */
export async function withOwnCredentials(
  config: GatewayConfig,
  io: Io,
  work: (credentials: Credentials, outbound: Upstream) => Promise<number>,
  { isTrial = false }: { isTrial?: boolean } = {},
): Promise<number> {
  const deps = { clock: systemClock, random: Math.random, log: SILENT };
  const configured =
    config.store.type === 'file' ? createFileStore({ ...config.store, ...deps }) : createMemoryStore(deps);
  const store = isTrial ? { ...configured, isDurable: false } : configured;
  const outbound = createUpstream(config, { ...deps, env: io.env as NodeJS.ProcessEnv });
  const credentials = createCredentials({ ...deps, config, store, transport: outbound.transport });
  // Timers of ours do not keep a process alive: this one must live until the answers are there.
  const alive = setInterval(() => {}, 60_000);
  let code: number = EXIT.failure;
  try {
    code = await work(credentials, outbound);
    return code;
  } catch (error) {
    return tell(error, io);
  } finally {
    credentials.close();
    await credentials.settled();
    for (const [name, { storeError }] of Object.entries(credentials.states())) {
      // What failed has said why already.
      if (storeError && code === EXIT.ok) io.stderr.write(`warning: credential ${name}: store: ${storeError}\n`);
    }
    await outbound.close();
    clearInterval(alive);
  }
}

function tell(error: unknown, io: Io): number {
  if (isGatewayError(error)) {
    io.stderr.write(`gcg: ${error.message}\n`);
    return exitCodeOf({ status: error.statusCode, code: error.code });
  }
  if (!(error instanceof StoreError)) throw error;
  io.stderr.write(`gcg: store: ${error.message}\n`);
  return EXIT.failure;
}
