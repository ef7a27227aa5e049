// `gcg serve`: configuration, log, gateway, listeners, signals, and the end in good order. What it serves is gateway.ts.

import type { GatewayConfig } from '../config/gateway-config.ts';
import { loadConfig } from '../config/load.ts';
import { createGateway, type Gateway } from '../gateway.ts';
import { createLogger, type Logger } from '../logging/logger.ts';
import { VERSION } from '../version.ts';
import type { CommandLine } from './args.ts';
import { EXIT, type Io, loadInput, reportProblems } from './io.ts';

/** Runs until SIGTERM or SIGINT (exit 0, a second one at once). 78 bad configuration, 69 an address that cannot be had. */
export async function serve(args: CommandLine, io: Io): Promise<number> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: true });
  reportProblems(io, result.ok ? [] : result.problems, result.warnings);
  if (!result.ok) return EXIT.badConfig;
  return serveConfig(result.config, io);
}

/** Serves a ready configuration; `onListening` is told the addresses once calls are taken. */
export async function serveConfig(config: GatewayConfig, io: Io, onListening: (addresses: readonly string[]) => void = () => {}): Promise<number> {
  let log: Logger;
  try {
    log = createLogger(config.logging, { isTTY: io.isTTY });
  } catch (error) {
    io.stderr.write(`logging.log_file_path: ${config.logging.filePath} cannot be opened (${codeOf(error)}): name a file that can be written\n`);
    return EXIT.badConfig;
  }
  const gateway = await createGateway(config, { log, env: io.env as NodeJS.ProcessEnv });
  const ending = endOnSignal(gateway, log);
  try {
    const addresses = await gateway.listen();
    log.info({ version: VERSION, addresses, pid: process.pid }, 'listening');
    warnOfAnonymousUse(config, log);
    onListening(addresses);
  } catch (error) {
    io.stderr.write(`server.listen: ${describeListenError(error)}\n`);
    await gateway.drain();
    await log.close();
    return EXIT.unavailable;
  }
  const code = await ending;
  await log.close();
  return code;
}

/** Resolves when the gateway has drained after a first signal, or at a second one. SIGHUP and SIGUSR2 reopen the log file. */
function endOnSignal(gateway: Gateway, log: Logger): Promise<number> {
  for (const signal of ['SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => log.reopen());
  return new Promise((resolve) => {
    let isEnding = false;
    const end = (signal: NodeJS.Signals) => {
      if (isEnding) {
        resolve(EXIT.ok);
        return;
      }
      isEnding = true;
      log.info({ signal }, 'draining');
      gateway.drain().then(
        () => resolve(EXIT.ok),
        () => resolve(EXIT.failure),
      );
    };
    process.on('SIGTERM', end);
    process.on('SIGINT', end);
  });
}

function warnOfAnonymousUse(config: GatewayConfig, log: Logger): void {
  if (config.clients.length > 0) return;
  log.warn({}, 'every local user can call the gateway: configure a client to change that');
}

function describeListenError(error: unknown): string {
  const { code, address, port, path } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const where = path ?? (address?.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
  if (code === 'EADDRINUSE') return `${where} is in use by another program: end that one, or choose another with --listen`;
  if (code === 'EACCES') return `${where} may not be opened by this user: choose a port above 1023 or another path`;
  if (code === 'EADDRNOTAVAIL') return `${where} is not an address of this machine`;
  return `${where} cannot be opened (${codeOf(error)})`;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}
