// `gcg serve`: configuration, log, gateway, listeners, signals, and the end in good order. What it serves is the
// gateway.

import { StoreError } from '../../auth/credentials/store/store.ts';
import { ExposureError } from '../../config/access-rules.ts';
import type { Overrides } from '../../config/flags.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { loadConfig } from '../../config/load.ts';
import { createGateway, type Gateway } from '../../gateway.ts';
import { createLogger, type Logger } from '../../logging/logger.ts';
import { createMetrics } from '../../logging/metrics/metrics.ts';
import { createLiveSecrets } from '../../logging/redact/live-secrets.ts';
import type { LoadedConfig } from '../../reload/changes.ts';
import { VERSION } from '../../version.ts';
import type { CommandLine } from '../args.ts';
import { HeldSignals } from '../held-signals.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';
import { createLiveConfig } from '../live-config.ts';
import { createNotifier } from '../notify.ts';
import { ProcessEvents } from '../process-events.ts';

/**
 * Runs until SIGTERM or SIGINT (exit 0, a second one at once). 78 bad configuration, 69 an address that cannot be had.
 */
export async function serve(args: CommandLine, io: Io): Promise<number> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: true });
  reportProblems(io, result.ok ? [] : result.problems, result.warnings);
  if (!result.ok) return EXIT.badConfig;
  return serveConfig(result.config, io, { live: { overrides: args.overrides, started: result } });
}

/** What a served configuration may come with. */
export interface ServeOptions {
  /** Told the addresses once calls are taken. */
  readonly onListening?: (addresses: readonly string[]) => void;
  /** How the configuration was loaded, to be loaded again when it changes. Without it nothing is reloaded. */
  readonly live?: { readonly overrides: Overrides; readonly started: LoadedConfig };
}

/** Serves a ready configuration. */
export async function serveConfig(
  config: GatewayConfig,
  io: Io,
  { onListening, live: loaded }: ServeOptions = {},
): Promise<number> {
  const liveSecrets = createLiveSecrets();
  let log: Logger;
  try {
    log = createLogger(config.logging, { isTTY: io.isTTY, liveSecrets });
  } catch (error) {
    io.stderr.write(
      `logging.log_file_path: ${config.logging.filePath} cannot be opened (${codeOf(error)}): name a file that can ` +
        `be written\n`,
    );
    return EXIT.badConfig;
  }
  const metrics = createMetrics({ version: VERSION });
  metrics.setSources({ logRecordsDropped: () => log.dropped });
  const notifier = createNotifier(io.env, log);
  const events = new ProcessEvents({
    signals: io.signals ?? new HeldSignals(),
    log,
    onEnding: () => notifier.tell('STOPPING=1'),
  });
  let gateway: Gateway;
  const live =
    loaded &&
    createLiveConfig({
      ...{ ...loaded, io, log, metrics, gateway: () => gateway },
      onReload: (phase) => notifier.tell(phase === 'begins' ? 'RELOADING=1' : 'READY=1'),
    });
  const start = async (): Promise<number> => {
    try {
      gateway = await createGateway(config, {
        ...{ log, metrics, liveSecrets, env: io.env as NodeJS.ProcessEnv, onQuit: () => events.end('POST /-/quit') },
        ...(live && { reload: () => live.reload('request'), status: live.status }),
      });
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      io.stderr.write(`store: ${error.message}: fix it, or choose another [store] path, or type = memory\n`);
      return EXIT.badConfig;
    }
    try {
      events.made(gateway, () => live?.reload('signal'));
      const addresses = await gateway.listen();
      if (events.isEnding) return events.ending;
      log.info({ version: VERSION, addresses, pid: process.pid }, 'listening');
      live?.start();
      notifier.tell('READY=1');
      onListening?.(addresses);
    } catch (error) {
      const isExposed = error instanceof ExposureError;
      io.stderr.write(isExposed ? `${error.message}\n` : `server.listen: ${describeListenError(error)}\n`);
      await gateway.drain();
      return isExposed ? EXIT.badConfig : EXIT.unavailable;
    }
    return events.ending;
  };
  // Told to end, it does not wait for a start that takes long.
  const code = await Promise.race([events.ending, start()]);
  live?.close();
  await Promise.all([log.close(), notifier.done()]);
  return code;
}

function describeListenError(error: unknown): string {
  const { code, address, port, path } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  // A Unix socket comes with its path as the address and no port, a descriptor with neither.
  if (!address && path === undefined)
    return `the descriptor of fd:N cannot be listened on (${codeOf(error)}): was a socket handed over?`;
  const isUnix = path !== undefined || port === undefined || port < 0;
  const where =
    path ?? (isUnix ? `unix:${address}` : address?.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
  if (isUnix && (code === 'EACCES' || code === 'ENOENT'))
    return `${where} cannot be made: its folder must be there, and this user must be able to write to it`;
  if (code === 'EADDRINUSE')
    return `${where} is in use by another program: end that one, or choose another with --listen`;
  if (code === 'EACCES') return `${where} may not be opened by this user: choose a port above 1023 or another path`;
  if (code === 'EADDRNOTAVAIL') return `${where} is not an address of this machine`;
  return `${where} cannot be opened (${codeOf(error)})`;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}
