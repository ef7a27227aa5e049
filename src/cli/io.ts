// What a command may touch of the process: its two outputs, the environment and a few facts. Commands return exit
// codes; only main exits.

import { homedir } from 'node:os';
import type { Overrides } from '../config/flags.ts';
import type { LoadInput } from '../config/load.ts';
import { formatProblem, type Problem } from '../config/problem.ts';
import type { HeldSignals } from './held-signals.ts';

/** Results go to `stdout`, words for people to `stderr`. */
export interface Io {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Whether stdout is a terminal. */
  readonly isTTY: boolean;
  /** The home folder; undefined where there is none, as in many containers. */
  readonly home: string | undefined;
  readonly platform: NodeJS.Platform;
  /** The signals that came so far; undefined where the command is not the whole process. */
  readonly signals?: HeldSignals;
}

/** The real process. */
export function processIo(signals?: HeldSignals): Io {
  const { stdout, stderr, env, platform } = process;
  return {
    stdout,
    stderr,
    env,
    cwd: process.cwd(),
    isTTY: stdout.isTTY === true,
    home: findHome(env),
    platform,
    ...(signals && { signals }),
  };
}

/** $HOME may be missing, and the user may have no entry in the user database: then there is none. */
function findHome(env: Io['env']): string | undefined {
  try {
    return env.HOME === '' ? undefined : homedir() || undefined;
  } catch {
    return undefined;
  }
}

/** What loadConfig needs, from the process and the command line. */
export function loadInput(io: Io, overrides: Overrides): LoadInput {
  const { env, cwd, home, platform, isTTY } = io;
  return { env, cwd, home, platform, isTTY, overrides };
}

/** Writes each problem as one line to stderr, warnings with that word in front. */
export function reportProblems(io: Io, problems: readonly Problem[], warnings: readonly Problem[]): void {
  for (const warning of warnings) io.stderr.write(`warning: ${formatProblem(warning)}\n`);
  for (const problem of problems) io.stderr.write(`${formatProblem(problem)}\n`);
}

/** The exit codes of every command. */
export const EXIT = { ok: 0, failure: 1, usage: 2, unavailable: 69, refused: 77, badConfig: 78 } as const;
