// The credentials of a command that runs without the gateway: the configured store, the configured egress, and a
// process that stays alive until both are done.

import { type Credentials, createCredentials } from '../auth/credentials/credentials.ts';
import { closeStore, makeStore, openStore } from '../auth/credentials/store/make-store.ts';
import { StoreError } from '../auth/credentials/store/store.ts';
import { systemClock } from '../clock.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { isGatewayError } from '../errors.ts';
import type { Log } from '../logging/log.ts';
import { createUpstream, type Upstream } from '../upstream/upstream.ts';
import { exitCodeOf } from './admin-client.ts';
import { EXIT, type Io } from './io.ts';

/** A log that writes nothing: a command reports by its output and exit code. */
export const SILENT: Log = { error() {}, warn() {}, info() {}, debug() {} };

/**
 * Runs `work` with the credentials; errors of ours become a line on stderr and an exit code. With `isTrial` only the
 * tokens of user logins are read from the store, and every other token is obtained anew and not stored.
 */
export async function withStandaloneCredentials(
  config: GatewayConfig,
  io: Io,
  work: (credentials: Credentials, upstream: Upstream) => Promise<number>,
  { isTrial = false }: { isTrial?: boolean } = {},
): Promise<number> {
  const deps = { clock: systemClock, random: Math.random, log: SILENT };
  const made = await makeStore(config.store, { ...deps, isDurable: !isTrial, isInstance: false });
  const { store } = made;
  const upstream = createUpstream(config, { ...deps, env: io.env as NodeJS.ProcessEnv });
  const credentials = createCredentials({ ...deps, config, store, transport: upstream.transport });
  // The timers of credentials and upstream do not keep a process alive; this one has to wait for their results.
  const alive = setInterval(() => {}, 60_000);
  let code: number = EXIT.failure;
  try {
    // A folder is looked at when something is stored in it.
    if (made.redis !== null) await openStore(made);
    code = await work(credentials, upstream);
    return code;
  } catch (error) {
    return report(error, io);
  } finally {
    credentials.close();
    await credentials.settled();
    for (const [name, { storeError }] of Object.entries(credentials.states())) {
      // A command that failed has printed the reason already.
      if (storeError && code === EXIT.ok) io.stderr.write(`warning: credential ${name}: store: ${storeError}\n`);
    }
    await upstream.close();
    await closeStore(made);
    clearInterval(alive);
  }
}

/** Prints an error of ours and returns its exit code; throws any other. */
function report(error: unknown, io: Io): number {
  if (isGatewayError(error)) {
    io.stderr.write(`gcg: ${error.message}\n`);
    return exitCodeOf({ status: error.statusCode, code: error.code });
  }
  if (!(error instanceof StoreError)) throw error;
  io.stderr.write(`gcg: store: ${error.message}\n`);
  return EXIT.failure;
}
