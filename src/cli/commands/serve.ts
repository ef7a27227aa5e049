// `gcg serve`: configuration, log, gateway, listeners, signals, notices to systemd, and an orderly end. It makes the
// gateway and handles no request itself.

import { spawn } from 'node:child_process';
import { AuditError } from '../../audit/trail-file.ts';
import { StoreError } from '../../auth/credentials/store/store.ts';
import { systemClock } from '../../clock.ts';
import { ExposureError } from '../../config/access-rules.ts';
import type { Overrides } from '../../config/flags.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { formatListenAddress, type ListenAddress } from '../../config/listen-address.ts';
import { loadConfig } from '../../config/load.ts';
import { formatProblem, type Problem } from '../../config/problem.ts';
import { defaultStateFolder } from '../../config/sections/store.ts';
import { createGateway, type Gateway } from '../../gateway.ts';
import { takesKeyOfStart, viewersInWords } from '../../inspector/page-place.ts';
import type { Log } from '../../logging/log.ts';
import { createLogger, type Logger } from '../../logging/logger.ts';
import { createMetrics, type Metrics } from '../../logging/metrics/metrics.ts';
import { createLiveSecrets, type LiveSecrets } from '../../logging/redact/live-secrets.ts';
import type { LoadedConfig } from '../../reload/changes.ts';
import { CONFIGURATION_WARNING, Reloader } from '../../reload/reloader.ts';
import { VERSION } from '../../version.ts';
import { holderOf } from '../address-holder.ts';
import type { CommandLine } from '../args.ts';
import { HeldSignals } from '../held-signals.ts';
import { EXIT, hasColour, type Io, loadInput, reportProblems } from '../io.ts';
import { PageKeyFiles } from '../page-key.ts';
import { ProcessEvents } from '../process-events.ts';
import { readyFields } from '../ready.ts';
import { collectWhenQuiet } from '../start-garbage.ts';

/**
 * Runs until SIGTERM or SIGINT, and ends with 0 (a second signal ends it at once); 78 bad configuration, 69 an address
 * that cannot be listened on.
 */
export async function serve(args: CommandLine, io: Io): Promise<number> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: true });
  if (!result.ok) {
    reportProblems(io, result.problems, result.warnings);
    return EXIT.badConfig;
  }
  return serveConfig(result.config, io, { live: { overrides: args.overrides, started: result } });
}

/** What may go with a served configuration. */
export interface ServeOptions {
  /** Called with the addresses once calls are accepted. */
  readonly onListening?: (addresses: readonly string[]) => void;
  /** How the configuration was loaded, to load it again when it changes. Without it nothing is reloaded. */
  readonly live?: { readonly overrides: Overrides; readonly started: LoadedConfig };
}

/** Serves a configuration that has been checked already. Exit codes as `serve`. */
export async function serveConfig(config: GatewayConfig, io: Io, options: ServeOptions = {}): Promise<number> {
  const liveSecrets = createLiveSecrets();
  let log: Logger;
  try {
    log = createLogger(config.logging, { isTTY: io.isTTY, hasColour: hasColour(io), liveSecrets });
  } catch (error) {
    io.stderr.write(
      `logging.log_file_path: ${config.logging.filePath} cannot be opened (${codeOf(error)}): name a file that can ` +
        `be written\n`,
    );
    return EXIT.badConfig;
  }
  tellWarnings(config, io, options.live?.started.warnings ?? [], log);
  return new ServingProcess(config, io, options, log, liveSecrets).run();
}

/** Warnings are records, as after a reload; where no record of theirs reaches the console, they go to stderr. */
function tellWarnings({ logging }: GatewayConfig, io: Io, warnings: readonly Problem[], log: Logger): void {
  if (!logging.toConsole || logging.level === 'none') reportProblems(io, [], warnings);
  for (const warning of warnings) log.warn({ warning: formatProblem(warning) }, CONFIGURATION_WARNING);
}

/** What a process that serves is made of, from the start to the exit code. */
class ServingProcess {
  readonly #config: GatewayConfig;
  readonly #io: Io;
  readonly #onListening: ServeOptions['onListening'];
  readonly #log: Logger;
  readonly #liveSecrets: LiveSecrets;
  readonly #metrics: Metrics;
  readonly #notifier: Notifier;
  readonly #events: ProcessEvents;
  /** Null where the configuration did not come from files. */
  readonly #reloader: Reloader | null;
  /** Null until it is made. */
  #gateway: Gateway | null = null;
  #pageKeyFiles: PageKeyFiles | null = null;

  constructor(config: GatewayConfig, io: Io, { onListening, live }: ServeOptions, log: Logger, secrets: LiveSecrets) {
    this.#config = config;
    this.#io = io;
    this.#onListening = onListening;
    this.#log = log;
    this.#liveSecrets = secrets;
    this.#metrics = createMetrics({ version: VERSION });
    this.#metrics.setSources({ logRecordsDropped: () => log.dropped });
    this.#notifier = new Notifier(io.env, log);
    this.#events = new ProcessEvents({
      signals: io.signals ?? new HeldSignals(),
      log,
      onEnding: () => this.#notifier.send('STOPPING=1'),
    });
    this.#reloader = live === undefined ? null : this.#createReloader(live);
  }

  #createReloader({ overrides, started }: NonNullable<ServeOptions['live']>): Reloader {
    return new Reloader({
      input: { ...loadInput(this.#io, overrides), requireCredential: true },
      started,
      replace: (config) => this.#replace(config),
      log: this.#log,
      metrics: this.#metrics,
      clock: systemClock,
      onReload: (phase) => this.#notifier.send(phase === 'begins' ? 'RELOADING=1' : 'READY=1'),
    });
  }

  /** Resolves with the exit code. A process that is told to end does not wait for a start that takes long. */
  async run(): Promise<number> {
    const code = await Promise.race([this.#events.ending, this.#start()]);
    this.#reloader?.close();
    this.#pageKeyFiles?.remove();
    await Promise.all([this.#log.close(), this.#notifier.done()]);
    return code;
  }

  async #start(): Promise<number> {
    let gateway: Gateway;
    try {
      gateway = await this.#createGateway();
    } catch (error) {
      if (error instanceof AuditError) {
        this.#io.stderr.write(`audit.file: ${error.message}\n`);
        return EXIT.badConfig;
      }
      if (!(error instanceof StoreError)) throw error;
      const advice = error.code === 'unusable' ? '' : ': fix it, or choose another [store] path, or type = memory';
      this.#io.stderr.write(`store: ${error.message}${advice}\n`);
      return EXIT.badConfig;
    }
    this.#gateway = gateway;
    try {
      this.#events.setGateway(gateway, () => this.#reloader?.reload('signal'));
      await this.#listen(gateway);
    } catch (error) {
      const isExposed = error instanceof ExposureError;
      const problem = isExposed ? error.message : await describeListenError(error, this.#config);
      if (problem !== null) this.#io.stderr.write(`${problem}\n`);
      await gateway.drain();
      if (problem === null) throw error;
      return isExposed ? EXIT.badConfig : EXIT.unavailable;
    }
    return this.#events.ending;
  }

  #createGateway(): Promise<Gateway> {
    const reloader = this.#reloader;
    return createGateway(this.#config, {
      log: this.#log,
      metrics: this.#metrics,
      liveSecrets: this.#liveSecrets,
      identify: true,
      env: this.#io.env as NodeJS.ProcessEnv,
      onQuit: () => this.#events.end('POST /-/quit'),
      ...(reloader && { reload: () => reloader.reload('request'), status: () => reloader.status() }),
    });
  }

  async #listen(gateway: Gateway): Promise<void> {
    const addresses = await gateway.listen();
    if (this.#events.isEnding) return;
    void gateway.ready.then(() => this.#tellReady(gateway, addresses));
    const page = gateway.pages[0]?.url;
    const told = page === undefined ? {} : { page, pageFor: viewersInWords(this.#config) };
    this.#log.info({ version: VERSION, addresses, pid: process.pid, ...told }, 'listening');
    this.#reloader?.start();
    this.#notifier.send('READY=1');
    // Who is told of the page finds its key.
    await this.#writePageKey(gateway, this.#config);
    if (this.#events.isEnding) return;
    this.#onListening?.(addresses);
    collectWhenQuiet(gateway, systemClock);
    if (page !== undefined && this.#io.stderr.isTTY === true) this.#io.stderr.write(invitation(page, gateway));
  }

  #replace(config: GatewayConfig): void {
    if (this.#gateway === null) return;
    this.#gateway.replace(config);
    void this.#writePageKey(this.#gateway, config);
  }

  /**
   * Stores the key of the page for as long as it opens it by the configuration in use. The page is there also where its
   * key cannot be stored.
   */
  async #writePageKey({ pages, pageKey }: Gateway, { clients }: Pick<GatewayConfig, 'clients'>): Promise<void> {
    const { store, server } = this.#config;
    // A shared store has no folder of its own. That of all others is where the key is looked for, too.
    const folder = store.path || (store.type === 'redis' ? (defaultStateFolder(this.#io) ?? '') : '');
    const isWanted = pages.length > 0 && takesKeyOfStart({ clients, server });
    if (!isWanted) {
      this.#pageKeyFiles?.remove();
      this.#pageKeyFiles = null;
    }
    if (!isWanted || this.#pageKeyFiles !== null) return;
    const files = new PageKeyFiles(pageKey);
    this.#pageKeyFiles = files;
    try {
      if (folder === '') throw Object.assign(new Error('no home folder'), { code: 'ENOENT' });
      await files.write(folder, pages);
    } catch (error) {
      const advice = 'gcg open and gcg tail cannot show it: [store] path names a folder that can be written';
      this.#log.info({ folder, code: codeOf(error), advice }, 'key of the live page is not stored');
    }
    // Meanwhile another configuration may have come, or the end.
    if (this.#events.isEnding || this.#pageKeyFiles !== files) files.remove();
  }

  async #tellReady(gateway: Gateway, addresses: readonly string[]): Promise<void> {
    const afterMs = performance.now();
    const identityOf = await gateway.identitiesForLog(LONGEST_IDENTITY_WAIT_MS);
    if (!this.#events.isEnding) this.#log.info(readyFields(gateway, addresses, afterMs, identityOf), 'ready');
  }
}

/** The link to the live page, for the person at the terminal: it is in no record. */
function invitation(page: string, gateway: Gateway): string {
  const code = gateway.inviteToPage();
  return code === null
    ? `Live page: ${page} (it asks for the secret of a client)\n`
    : `Live page, once and within a minute: ${page}#o=${code} (later: gcg open)\n`;
}

/** How long the record `ready` waits for whose the tokens are, ms. Calls are served meanwhile. */
const LONGEST_IDENTITY_WAIT_MS = 2_000;

/** A notice to the service manager. */
type Notice = 'READY=1' | 'STOPPING=1' | 'RELOADING=1';

/** The longest time for one notice, ms: a service manager that takes longer is not waited for. */
const LONGEST_NOTICE_MS = 2_000;

/**
 * Tells systemd the state of the process (sd_notify, Type=notify), by its own systemd-notify program: Node cannot send
 * to a datagram socket. Does nothing without $NOTIFY_SOCKET. A failure is logged once and has no other effect.
 */
class Notifier {
  readonly #log: Log;
  /** The child gets PATH and the socket's name, and nothing else of the environment. Null: there is nobody to tell. */
  readonly #childEnv: { readonly NOTIFY_SOCKET: string; readonly PATH: string } | null;
  /** Notices are sent one after the other, in order. */
  #queue: Promise<void> = Promise.resolve();
  #hasWarned = false;

  constructor({ NOTIFY_SOCKET: socket, PATH = '/usr/bin:/bin' }: Io['env'], log: Log) {
    this.#log = log;
    this.#childEnv = socket === undefined || socket === '' ? null : { NOTIFY_SOCKET: socket, PATH };
  }

  send(notice: Notice): void {
    const env = this.#childEnv;
    if (env === null) return;
    // A reload is told with the time it began, or the manager takes the READY that follows for an old one.
    const args = notice === 'RELOADING=1' ? [notice, `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`] : [notice];
    this.#queue = this.#queue.then(() => this.#run(args, env));
  }

  /** Resolves when every notice so far is sent or given up. */
  done(): Promise<void> {
    return this.#queue;
  }

  #run(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
    return new Promise((resolve) => {
      const child = spawn('systemd-notify', args, { env, stdio: 'ignore', timeout: LONGEST_NOTICE_MS });
      child.on('error', (error: NodeJS.ErrnoException) => {
        this.#warn(error.code ?? 'failed');
        resolve();
      });
      child.on('close', (code, signal) => {
        if (code !== 0) this.#warn(`ended with ${signal ?? code}`);
        resolve();
      });
    });
  }

  #warn(problem: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#log.warn(
      { problem, advice: 'set NotifyAccess=all, or Type=exec, in the unit' },
      'service manager could not be told',
    );
  }
}

/** Which setting names an address: `where`, as the system told it. The first one where that is spelt in another way. */
function settingOf(where: string, { adminListen, healthListen, listen }: GatewayConfig['server']): string {
  const isOf = (list: readonly ListenAddress[]) => list.some((address) => formatListenAddress(address) === where);
  if (isOf(listen)) return 'listen';
  return isOf(adminListen) ? 'admin_listen' : isOf(healthListen) ? 'health_listen' : 'listen';
}

/** What an address cannot be listened on for, and what to do; null where the error is of none that is configured. */
async function describeListenError(error: unknown, { server }: GatewayConfig): Promise<string | null> {
  const { code, address, port, path } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const wanted = [...server.listen, ...server.adminListen, ...server.healthListen];
  const isOf = (one: ListenAddress) =>
    path === undefined ? one.kind === 'fd' : one.kind === 'unix' && one.path === path;
  if (!address && !wanted.some(isOf)) return null;
  // A Unix socket comes with its path as the address and no port, a descriptor with neither.
  if (!address && path === undefined)
    return `server.listen: the descriptor of fd:N cannot be listened on (${codeOf(error)}): was a socket handed over?`;
  const isUnix = path !== undefined || port === undefined || port < 0;
  const where =
    path ?? (isUnix ? `unix:${address}` : address?.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
  const setting = settingOf(where, server);
  const place = `server.${setting}: ${where}`;
  if (isUnix && (code === 'EACCES' || code === 'ENOENT'))
    return `${place} cannot be made: its folder must be there, and this user must be able to write to it`;
  if (code === 'EADDRINUSE') {
    const holder = await holderOf(
      isUnix ? { kind: 'unix', path: path ?? address ?? '' } : { kind: 'tcp', host: address ?? '', port },
    );
    const flag = setting === 'listen' ? '--listen' : `--set server.${setting}=ADDRESS`;
    return `${place} is in use by ${holder}: end that one, or choose another address with ${flag}`;
  }
  if (code === 'EACCES') return `${place} may not be opened by this user: choose a port above 1023 or another path`;
  if (code === 'EADDRNOTAVAIL') return `${place} is not an address of this machine`;
  return `${place} cannot be opened (${codeOf(error)})`;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}
