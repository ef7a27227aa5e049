// `gcg run -- COMMAND`: a gateway of its own on a free loopback port, the command beside it, and the command's exit
// code. Writes nothing to stdout, which is the command's; reloads nothing.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditError } from '../../audit/trail-file.ts';
import { StoreError } from '../../auth/credentials/store/store.ts';
import { ExposureError } from '../../config/access-rules.ts';
import type { GatewayConfig } from '../../config/gateway-config.ts';
import { isLoopbackHost } from '../../config/listen-address.ts';
import { loadConfig } from '../../config/load.ts';
import { onOneLine } from '../../config/problem.ts';
import { parseDuration } from '../../config/values.ts';
import { isGatewayError } from '../../errors.ts';
import { createGateway, type Gateway } from '../../gateway.ts';
import { createLogger, type Logger } from '../../logging/logger.ts';
import { createLiveSecrets } from '../../logging/redact/live-secrets.ts';
import { exitCodeOf } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { type HeldSignal, HeldSignals } from '../held-signals.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';
import { type ProgramSetting, programEnvironment } from '../program-environment.ts';
import { layerOf, withoutSettings } from '../substitution.ts';

const DEFAULT_TIMEOUT_MS = 60_000;
/** Between two looks at a credential whose last attempt failed. */
const PAUSE_MS = 250;

/** Settings about listeners, and about who else reaches them: the gateway of a command has one of its own. */
const REPLACED = new Set([
  'listen',
  'admin_listen',
  'health_listen',
  'public_url',
  'trusted_proxies',
  'shutdown_delay',
]);

/**
 * The command's exit code, 128 and the number of a signal that ended it. Before it has started: 77 a credential is
 * refused or a person must log in, 69 not ready in time or no port, 78 bad configuration, 126 or 127 as a shell.
 */
export async function runWithGateway(args: CommandLine, io: Io): Promise<number> {
  const timeout = parseDuration(String(args.flags.get('timeout') ?? `${DEFAULT_TIMEOUT_MS}ms`));
  if (!timeout.ok) {
    io.stderr.write(`gcg: --timeout: ${timeout.message}\n`);
    return EXIT.usage;
  }
  const own = layerOf(
    [
      ['server', 'listen', '127.0.0.1:0'],
      ['server', 'admin_listen', 'none'],
    ],
    'gcg run',
  );
  const result = loadConfig({
    ...loadInput(io, args.overrides),
    requireCredential: true,
    substitute: ([flags, ...others]) => [
      ...(flags === undefined ? [] : [flags]),
      own,
      ...others.map((layer) =>
        withoutSettings(
          layer,
          (section, key) => section === 'server.tls' || (section === 'server' && REPLACED.has(key)),
        ),
      ),
    ],
  });
  if (!result.ok) {
    reportProblems(io, result.problems, result.warnings);
    return EXIT.badConfig;
  }
  const isLocal = result.config.server.listen.every(
    ({ kind, ...at }) => kind === 'tcp' && isLoopbackHost((at as { host: string }).host),
  );
  if (result.config.server.listen.length !== 1 || !isLocal) {
    io.stderr.write('gcg: run listens for its command alone: give one loopback address with --listen, or none\n');
    return EXIT.usage;
  }
  const config = forOneCommand(result.config, args);
  let log: Logger;
  const liveSecrets = createLiveSecrets();
  try {
    log = createLogger(config.logging, { stdout: 2, isTTY: false, liveSecrets });
  } catch {
    io.stderr.write(
      `gcg: logging.log_file_path: ${config.logging.filePath} cannot be opened: name a file that can be written\n`,
    );
    return EXIT.badConfig;
  }
  const running = new CommandRun(args.program, config, io, log);
  try {
    return await running.run({ settings: result.settings, timeoutMs: timeout.value, liveSecrets });
  } finally {
    await log.close();
  }
}

/** Anonymous use of the default credential, where nothing else is said, and records only where they were asked for. */
function forOneCommand(config: GatewayConfig, { overrides }: CommandLine): GatewayConfig {
  const { server, logging, credentials } = config;
  const asked = overrides.entries?.some(({ section }) => section === 'logging') ?? false;
  const byDefault = credentials.filter(({ isDefault }) => isDefault).map(({ name }) => name);
  return {
    ...config,
    server: { ...server, anonymousCredentials: server.anonymousCredentials ?? byDefault },
    logging: { ...logging, toConsole: logging.toConsole && asked },
  };
}

/** One run, from the gateway's start to its end. */
class CommandRun {
  readonly #program: readonly string[];
  readonly #config: GatewayConfig;
  readonly #io: Io;
  readonly #log: Logger;
  /** Null until the command runs. */
  #child: ChildProcess | null = null;
  /** Ends the run without the command: a signal before it runs, or a fault. */
  readonly #early: Promise<number>;
  #endEarly: (code: number) => void = () => {};
  /** Ends the drain: a signal after the command has ended. */
  readonly #impatience: Promise<void>;
  #endDrain: () => void = () => {};
  #isDraining = false;

  constructor(program: readonly string[], config: GatewayConfig, io: Io, log: Logger) {
    this.#program = program;
    this.#config = config;
    this.#io = io;
    this.#log = log;
    this.#early = new Promise((resolve) => {
      this.#endEarly = resolve;
    });
    this.#impatience = new Promise((resolve) => {
      this.#endDrain = resolve;
    });
  }

  async run(options: RunOptions): Promise<number> {
    const signals = this.#io.signals ?? new HeldSignals();
    signals.take(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'], (signal) => this.#onSignal(signal));
    const onFault = (thrown: unknown) => this.#onFault(thrown);
    process.on('uncaughtException', onFault).on('unhandledRejection', onFault);
    if (process.report) process.report.excludeEnv = true;
    let gateway: Gateway | null = null;
    try {
      gateway = await createGateway(this.#config, {
        log: this.#log,
        liveSecrets: options.liveSecrets,
        env: this.#io.env as NodeJS.ProcessEnv,
      });
      return await Promise.race([this.#early, this.#runBeside(gateway, options)]);
    } catch (error) {
      return this.#report(error);
    } finally {
      this.#isDraining = true;
      if (gateway !== null) await Promise.race([this.#impatience, gateway.drain()]);
      process.off('uncaughtException', onFault).off('unhandledRejection', onFault);
    }
  }

  async #runBeside(gateway: Gateway, { settings, timeoutMs }: RunOptions): Promise<number> {
    const [url = ''] = await gateway.listen();
    const refused = await this.#waitUntilReady(gateway, timeoutMs);
    if (refused !== null) return refused;
    const [program = '', ...args] = this.#program;
    const env = programEnvironment(this.#io.env, { config: this.#config, settings, url, program });
    return new Promise((resolve) => {
      const child = spawn(program, args, { cwd: this.#io.cwd, env, stdio: 'inherit' });
      this.#child = child;
      child.once('error', (error: NodeJS.ErrnoException) => {
        const isMissing = error.code === 'ENOENT';
        const what = isMissing ? 'there is no such command' : `it cannot be run (${error.code ?? error.name})`;
        this.#say(`${onOneLine(program)}: ${what}`);
        resolve(isMissing ? 127 : 126);
      });
      child.once('exit', (code, signal) => {
        this.#child = null;
        resolve(code ?? signalCode(signal));
      });
    });
  }

  /** Null when every required credential has a token; else the exit code, after saying why not. */
  async #waitUntilReady(gateway: Gateway, timeoutMs: number): Promise<number | null> {
    const endsAt = performance.now() + timeoutMs;
    // Tokens and timers alone do not keep a process alive.
    const alive = setInterval(() => {}, 60_000);
    try {
      for (const { config, source } of gateway.runtime().credentials.list()) {
        if (!config.isRequired) continue;
        for (let said = ''; ; await sleep(PAUSE_MS)) {
          const leftMs = endsAt - performance.now();
          const failure = await source.token(Math.max(1, leftMs)).then(
            () => null,
            (thrown: unknown) => thrown,
          );
          if (failure === null) break;
          if (!isGatewayError(failure)) throw failure;
          const code = exitCodeOf({ status: failure.statusCode, code: failure.code });
          const why = onOneLine(failure.message);
          if (code === EXIT.refused) {
            this.#say(`not ready: ${why}`);
            return code;
          }
          if (endsAt - performance.now() <= PAUSE_MS) {
            this.#say(`not ready within ${timeoutMs / 1000} s: ${why}`);
            return EXIT.unavailable;
          }
          if (said !== why) this.#say(`waiting: ${why}`);
          said = why;
        }
      }
      return null;
    } finally {
      clearInterval(alive);
    }
  }

  #onSignal(signal: HeldSignal): void {
    const child = this.#child;
    // SIGUSR1 and SIGUSR2 are for the command alone.
    if (child === null && signal.startsWith('SIGUSR')) return;
    if (this.#isDraining) this.#endDrain();
    else if (child === null) this.#endEarly(signalCode(signal));
    else if (signal !== 'SIGINT' || !isTerminalsGroup()) child.kill(signal);
  }

  #onFault(thrown: unknown): void {
    this.#say(
      `the gateway failed unexpectedly (${thrown instanceof Error ? thrown.name : typeof thrown}): please report it`,
    );
    this.#child?.kill('SIGTERM');
    this.#endEarly(EXIT.failure);
  }

  #report(error: unknown): number {
    if (error instanceof StoreError) {
      this.#say(`store: ${error.message}: fix it, or choose another [store] path, or type = memory`);
      return EXIT.badConfig;
    }
    if (error instanceof AuditError) {
      this.#say(`audit.file: ${error.message}`);
      return EXIT.badConfig;
    }
    if (error instanceof ExposureError) {
      this.#say(error.message);
      return EXIT.badConfig;
    }
    const { syscall, code } = error as NodeJS.ErrnoException;
    if (syscall !== 'listen') throw error;
    this.#say(`no port could be opened on this machine (${code})`);
    return EXIT.unavailable;
  }

  #say(words: string): void {
    this.#io.stderr.write(`gcg: ${words}\n`);
  }
}

/** What one run is given. */
interface RunOptions extends Pick<ProgramSetting, 'settings'> {
  readonly timeoutMs: number;
  readonly liveSecrets: ReturnType<typeof createLiveSecrets>;
}

/** The exit code of a process that a signal ended, as shells give it. */
function signalCode(signal: NodeJS.Signals | null): number {
  return 128 + (signal === null ? 0 : constants.signals[signal]);
}

/**
 * Whether this process is in the foreground of a terminal: Ctrl-C reaches the command by itself then, and a second SIGINT
 * would be taken for impatience.
 */
function isTerminalsGroup(): boolean {
  try {
    // proc(5): after the name in brackets come state, ppid, pgrp, session, tty_nr, tpgid.
    const stat = readFileSync('/proc/self/stat', 'latin1');
    const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return group === foreground;
  } catch {
    // Not Linux.
    return process.stdin.isTTY === true;
  }
}
