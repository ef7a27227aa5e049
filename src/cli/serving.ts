// The commands that serve: what they are made of is most of the program, and all of it is needed at once.

import { type Command, runCommandLine } from './command-line.ts';
import type { CommandName } from './command-table.ts';
import { serve } from './commands/serve.ts';
import type { Io } from './io.ts';

/** Those commands; what is not needed to serve is loaded with the command. */
export const SERVING = {
  serve: async (): Promise<Command> => serve,
  run: async (): Promise<Command> => (await import('./commands/run.ts')).runWithGateway,
  demo: async (): Promise<Command> => (await import('./commands/demo.ts')).demo,
} satisfies Partial<Record<CommandName, () => Promise<Command>>>;

/** Runs a command line that begins with one of them; resolves with the process's exit code. */
export function runServing(argv: readonly string[], io: Io): Promise<number> {
  return runCommandLine(argv, io, SERVING);
}
