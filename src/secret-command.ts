// Secrets that a program prints, for key chains and vaults: an argv that runs without a shell, with a deadline, a bound
// and an environment of its own. What it prints is kept in memory, and nowhere else.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type Clock, systemClock } from './clock.ts';
import { GatewayError } from './errors.ts';
import { Secret, type SecretSource } from './secret.ts';

const DEADLINE_MS = 10_000;

/** The variables of our environment that the program gets: it finds its own settings by them, and no secret of ours. */
const PASSED_VARIABLES = ['PATH', 'HOME', 'LANG'];

/** How a program is run. */
export interface CommandRun {
  /** The option that names it, for messages. */
  readonly key: string;
  readonly clock: Clock;
  /** The longest output. */
  readonly mostBytes: number;
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

/**
 * The program's standard output. Its standard error is discarded, because it may hold secrets. Throws
 * gateway.credential.unavailable when it fails, prints too much, or takes longer than 10 s: it is then killed, with its
 * children, as it is when this process ends first.
 */
export function runSecretCommand(argv: readonly string[], run: CommandRun): Promise<string> {
  const { key, clock, mostBytes, environment = process.env } = run;
  const [command = '', ...args] = argv;
  const passed = PASSED_VARIABLES.flatMap((name) =>
    environment[name] === undefined ? [] : [[name, environment[name]]],
  );
  return new Promise((resolve, reject) => {
    const fail = (what: string) => reject(commandError(key, command, what));
    const child = spawn(command, args, {
      shell: false,
      detached: true,
      env: Object.fromEntries(passed),
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const kill = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The process has ended already.
      }
    };
    const stopWatching = killAtExit(kill);
    const deadline = clock.after(DEADLINE_MS, () => {
      fail(`did not end within ${DEADLINE_MS / 1000} s`);
      kill();
      child.stdout.destroy();
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= mostBytes) chunks.push(chunk);
      else {
        fail(`printed more than ${mostBytes >= MIB ? `${mostBytes / MIB} MiB` : `${mostBytes / 1024} KiB`}`);
        kill();
        child.stdout.destroy();
      }
    });
    const cleanUp = () => {
      deadline.cancel();
      stopWatching();
    };
    child.once('error', (error: NodeJS.ErrnoException) => {
      cleanUp();
      fail(`cannot be run (${error.code ?? 'unknown error'})`);
    });
    child.once('close', (code, signal) => {
      cleanUp();
      if (code !== 0) fail(`ended with ${code === null ? `signal ${signal}` : `exit code ${code}`}`);
      else resolve(Buffer.concat(chunks).toString('utf8'));
    });
  });
}

/** How the runs under way are killed: their process groups would outlive this process. */
const underWay = new Set<() => void>();

function killAll(): void {
  for (const kill of underWay) kill();
}

/** Kills a run when this process ends before it; the function that is returned says that it has ended. */
function killAtExit(kill: () => void): () => void {
  // One listener for all: Node warns of many.
  if (underWay.size === 0) process.once('exit', killAll);
  underWay.add(kill);
  return () => {
    if (underWay.delete(kill) && underWay.size === 0) process.off('exit', killAll);
  };
}

const MIB = 1024 * 1024;

/** Names the program, and not its arguments: they may say more than belongs in a log. */
function commandError(key: string, command: string, what: string): GatewayError {
  return new GatewayError('gateway.credential.unavailable', `${key} ${command} ${what}`);
}

const KEY = 'client_secret_command';
/** Far above any client secret. */
const LARGEST_SECRET_BYTES = 64 * 1024;

/** What a command's secret is made with, where it is not that of the process. */
interface CommandDeps {
  readonly clock?: Clock;
  readonly environment?: NodeJS.ProcessEnv;
}

/**
 * One command line and what it printed last. There is one for each command line of the process, whatever configuration
 * it is written in: a reload neither asks the vault again nor forgets what it said.
 */
class SecretCommand {
  readonly #argv: readonly string[];
  readonly #deps: CommandDeps;
  /** The sources that read this, to be told of new values: each lives as long as its configuration. */
  readonly #sources = new Set<WeakRef<CommandSecret>>();
  /** Null until it has run. */
  #secret: Secret | null = null;
  /** The run under way: there is never a second. */
  #running: Promise<Secret> | null = null;
  /** Counts the values that `renew` found to be others. */
  #changes = 0;

  constructor(argv: readonly string[], deps: CommandDeps) {
    this.#argv = argv;
    this.#deps = deps;
  }

  get secret(): Secret | null {
    return this.#secret;
  }

  get changes(): number {
    return this.#changes;
  }

  add(source: CommandSecret): void {
    for (const known of this.#sources) if (known.deref() === undefined) this.#sources.delete(known);
    this.#sources.add(new WeakRef(source));
  }

  /** Runs it, or joins the run under way. What it printed before stays in use when it fails. */
  run(): Promise<Secret> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async renew(): Promise<void> {
    const before = this.#secret;
    const now = await this.run();
    if (before !== null && now.reveal() !== before.reveal()) this.#changes += 1;
  }

  async #run(): Promise<Secret> {
    const { clock = systemClock, environment } = this.#deps;
    const output = await runSecretCommand(this.#argv, {
      key: KEY,
      clock,
      environment,
      mostBytes: LARGEST_SECRET_BYTES,
    });
    const value = output.replace(/^\uFEFF/, '').replace(/\r?\n$/, '');
    const [command = ''] = this.#argv;
    if (value.trim() === '') throw commandError(KEY, command, 'printed nothing');
    if (/[\r\n\0]/.test(value))
      throw commandError(KEY, command, 'printed more than one line: let it print the secret alone');
    if (this.#secret?.reveal() === value) return this.#secret;
    const secret = new Secret(value);
    this.#secret = secret;
    for (const source of this.#sources) source.deref()?.tell(secret);
    return secret;
  }
}

/** A secret that a program prints. Runs nothing before `fetch`; `read` throws until then. */
export class CommandSecret implements SecretSource {
  readonly origin: string;
  readonly #command: SecretCommand;
  readonly #id: string;
  readonly #listeners: ((secret: Secret) => void)[] = [];

  constructor(argv: readonly string[], command: SecretCommand) {
    this.origin = `${KEY} ${argv[0] ?? ''}`;
    this.#id = createHash('sha256').update(JSON.stringify(argv)).digest('hex').slice(0, 16);
    this.#command = command;
    command.add(this);
  }

  read(): Secret {
    const { secret } = this.#command;
    if (secret === null) throw new GatewayError('gateway.credential.unavailable', `${this.origin} was not run yet`);
    return secret;
  }

  revision(): string {
    return `command:${this.#id}:${this.#command.changes}`;
  }

  onNew(tell: (secret: Secret) => void): void {
    this.#listeners.push(tell);
  }

  /** To be called with each new value, before anybody is given it. */
  tell(secret: Secret): void {
    for (const listener of this.#listeners) listener(secret);
  }

  async fetch(): Promise<Secret> {
    return this.#command.secret ?? this.#command.run();
  }

  /** Runs the program again, as its last secret was refused. */
  refetch(): Promise<Secret> {
    return this.#command.run();
  }

  /** Runs the program again if it has run; the revision changes when it prints another secret. */
  async renew(): Promise<void> {
    if (this.#command.secret !== null) await this.#command.renew();
  }
}

const commands = new Map<string, WeakRef<SecretCommand>>();

/** The secret that a command line prints. All of the same command line share what it printed. */
export function commandSecret(argv: readonly string[], deps: CommandDeps = {}): CommandSecret {
  const key = JSON.stringify(argv);
  for (const [other, known] of commands) if (known.deref() === undefined) commands.delete(other);
  const command = commands.get(key)?.deref() ?? new SecretCommand(argv, deps);
  commands.set(key, new WeakRef(command));
  return new CommandSecret(argv, command);
}
