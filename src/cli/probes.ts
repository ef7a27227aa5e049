// The commands by which others ask whether the gateway is ready: an orchestrator starts one every few seconds, so they
// load nothing of the other commands.

import { type Command, runCommandLine } from './command-line.ts';
import { healthcheck, wait } from './commands/healthcheck.ts';
import type { Io } from './io.ts';

/**
 * Runs a command line that begins with one of them; resolves with the process's exit code. `spentMs` have gone already
 * of the time for one answer.
 */
export function runProbe(argv: readonly string[], io: Io, spentMs: number): Promise<number> {
  return runCommandLine(argv, io, {
    healthcheck: async (): Promise<Command> => (args, io) => healthcheck(args, io, spentMs),
    wait: async (): Promise<Command> => wait,
  });
}
