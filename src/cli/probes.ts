// The commands by which others ask whether the gateway is ready: an orchestrator starts one every few seconds, so they
// load nothing of the other commands.

import { type Command, runCommandLine } from './command-line.ts';
import { healthcheck, wait } from './commands/healthcheck.ts';
import type { Io } from './io.ts';

const PROBES = {
  healthcheck: async (): Promise<Command> => healthcheck,
  wait: async (): Promise<Command> => wait,
};

/** Runs a command line that begins with one of them; resolves with the process's exit code. */
export function runProbe(argv: readonly string[], io: Io): Promise<number> {
  return runCommandLine(argv, io, PROBES);
}
