// Runs the command of a command line, by a table of commands.

import { unreadProgramFile } from '../program-folder.ts';
import { sourceStack } from '../source-stack.ts';
import { type CommandLine, parseCommandLine } from './args.ts';
import type { CommandName } from './command-table.ts';
import { EXIT, type Io, whenTaken } from './io.ts';

/** Resolves with the exit code. */
export type Command = (args: CommandLine, io: Io) => Promise<number>;

/** What loads a command, by its name. */
type Commands = Readonly<Partial<Record<CommandName, () => Promise<Command>>>>;

/** Commands that handle signals; any other is ended by them. */
const SERVING: ReadonlySet<CommandName> = new Set(['serve', 'demo', 'run', 'tail']);

/** Runs the command that `argv` names, which has to be in `commands`; resolves with the process's exit code. */
export async function runCommandLine(argv: readonly string[], io: Io, commands: Commands): Promise<number> {
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
      return runCommand(parsed, io, commands);
  }
}

function commandOf(name: CommandName, commands: Commands): Promise<Command> {
  const load = commands[name];
  if (load === undefined) throw new Error(`${name} is not in this table`);
  return load();
}

async function runCommand(args: CommandLine, io: Io, commands: Commands): Promise<number> {
  const isServing = SERVING.has(args.command);
  if (!isServing) await io.signals?.release();
  try {
    const code = await (await commandOf(args.command, commands))(args, io);
    // What serves is ended by signals, also while nobody reads.
    if (!isServing) await whenTaken(io);
    return code;
  } catch (error) {
    const unread = unreadProgramFile(error);
    // Only the class: the message or the stack may carry a secret.
    const what = error instanceof Error ? error.name : typeof error;
    io.stderr.write(
      unread === null
        ? `gcg: ${args.command} failed unexpectedly (${what}): please report it\n`
        : `gcg: this installation is not whole: its file ${unread} cannot be read: install it again\n`,
    );
    if (io.env.GCG_DEBUG) io.stderr.write(`${sourceStack(String((error instanceof Error && error.stack) || error))}\n`);
    return EXIT.failure;
  }
}
