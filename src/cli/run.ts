// Runs the command of a command line. Each command's code is loaded only when it is called, so that small commands
// start fast.

import { type CommandLine, parseCommandLine } from './args.ts';
import type { CommandName } from './command-table.ts';
import { EXIT, type Io, processIo, whenTaken } from './io.ts';

type Command = (args: CommandLine, io: Io) => Promise<number>;

const COMMANDS: Record<CommandName, () => Promise<Command>> = {
  serve: async () => (await import('./commands/serve.ts')).serve,
  run: async () => (await import('./commands/run.ts')).runWithGateway,
  demo: async () => (await import('./commands/demo.ts')).demo,
  check: async () => {
    const [{ check }, { checkOnline }] = await Promise.all([
      import('./commands/check.ts'),
      import('./check-online.ts'),
    ]);
    return (args, io) => check(args, io, checkOnline);
  },
  config: async () => (await import('./commands/config.ts')).showConfig,
  advise: async () => (await import('./commands/advise.ts')).advise,
  audit: async () => (await import('./commands/audit.ts')).audit,
  client: async () => (await import('./commands/client.ts')).client,
  doctor: async () => (await import('./commands/doctor.ts')).runDoctor,
  init: async () => {
    const { askOnTerminal, init } = await import('./commands/init.ts');
    return (args, io) => init(args, io, askOnTerminal(), async (...given) => (await COMMANDS.check())(...given));
  },
  login: async () => (await import('./commands/login.ts')).login,
  logout: async () => (await import('./commands/logout.ts')).logout,
  open: async () => (await import('./commands/open.ts')).openPage,
  tail: async () => (await import('./commands/tail.ts')).tail,
  har: async () => (await import('./commands/har.ts')).har,
  replay: async () => (await import('./commands/replay.ts')).replay,
  explain: async () => (await import('./commands/explain.ts')).explain,
  status: async () => (await import('./commands/status.ts')).status,
  usage: async () => (await import('./commands/usage.ts')).usage,
  whoami: async () => (await import('./commands/whoami.ts')).whoami,
  token: async () => (await import('./commands/token.ts')).token,
  healthcheck: async () => (await import('./commands/healthcheck.ts')).healthcheck,
  wait: async () => (await import('./commands/healthcheck.ts')).wait,
  completion: async () => (await import('./commands/completion.ts')).completion,
};

/** Commands that handle signals; any other is ended by them. */
const SERVING: ReadonlySet<CommandName> = new Set(['serve', 'demo', 'run', 'tail']);

/** Runs one command; resolves with the process's exit code. */
export async function run(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const parsed = parseCommandLine(argv);
  switch (parsed.kind) {
    case 'usage':
      io.stderr.write(parsed.message);
      return EXIT.usage;
    case 'help':
      io.stdout.write(parsed.text);
      return EXIT.ok;
    case 'version':
      io.stdout.write(`${(await import('../version.ts')).VERSION}\n`);
      return EXIT.ok;
    case 'run':
      return runCommand(parsed, io);
  }
}

async function runCommand(args: CommandLine, io: Io): Promise<number> {
  const isServing = SERVING.has(args.command);
  if (!isServing) await io.signals?.release();
  try {
    const code = await (await COMMANDS[args.command]())(args, io);
    // What serves is ended by signals, also while nobody reads.
    if (!isServing) await whenTaken(io);
    return code;
  } catch (error) {
    // Only the class: the message or the stack may carry a secret.
    io.stderr.write(
      `gcg: ${args.command} failed unexpectedly (${error instanceof Error ? error.name : typeof error}): please ` +
        `report it\n`,
    );
    if (io.env.GCG_DEBUG) io.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return EXIT.failure;
  }
}
