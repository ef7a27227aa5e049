// The process as commands see it: its two outputs, the environment and a few facts. Commands return exit codes; only
// main exits.

import { homedir } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Overrides } from '../config/flags.ts';
import type { LoadInput } from '../config/load.ts';
import { formatProblem, type Problem } from '../config/problem.ts';
import type { HeldSignals } from './held-signals.ts';

/** Results go to `stdout`, words for people to `stderr`. */
export interface Io {
  readonly stdout: {
    write(text: string, done?: () => void): unknown;
    once?(event: 'drain' | 'error', listener: () => void): unknown;
    /** What is written and not yet taken by whoever reads. */
    readonly writableLength?: number;
  };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Whether stdout is a terminal. */
  readonly isTTY: boolean;
  /** The home folder; undefined where there is none, as in many containers. */
  readonly home: string | undefined;
  readonly platform: NodeJS.Platform;
  /** The signals of the process; undefined where the command is not the whole process. */
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
    home: homeFolder(env),
    platform,
    ...(signals && { signals }),
  };
}

/** The home folder. There is none where $HOME is empty, or missing and the user database does not list the user. */
export function homeFolder({ HOME }: Io['env']): string | undefined {
  if (HOME === '') return undefined;
  // As node:os has it, which takes a hundredth of what a whole Node does to load.
  if (HOME !== undefined && process.platform !== 'win32') return HOME;
  try {
    return homedir() || undefined;
  } catch {
    return undefined;
  }
}

/** Whether a terminal shows colours: not where NO_COLOR (https://no-color.org) or TERM=dumb says otherwise. */
export function hasColour({ isTTY, env }: Pick<Io, 'isTTY' | 'env'>): boolean {
  const { NO_COLOR = '', TERM } = env;
  return isTTY && NO_COLOR === '' && TERM !== 'dumb';
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

/**
 * Resolves once the result is taken, or its reader has gone: a pipe takes 64 KiB at a time, and what it has not taken
 * is lost with the process.
 */
export async function whenTaken({ stdout }: Pick<Io, 'stdout'>): Promise<void> {
  if ((stdout.writableLength ?? 0) > 0) await new Promise<void>((resolve) => stdout.write('', resolve));
}

/** The outputs of a process, watched until it ends: the reader may go (`gcg config | head -1`), a disk may be full. */
export interface WatchedOutputs {
  /** Returns the exit code: 1 in place of 0, with a line on stderr, when the result could not be written. */
  settle(code: number): Promise<number>;
}

type Output = Pick<NodeJS.WriteStream, 'on' | 'write'>;

/** From now on a failed write no longer throws. A reader that has gone does not make the command fail. */
export function watchOutputs({
  stdout,
  stderr,
}: {
  readonly stdout: Output;
  readonly stderr: Output;
} = process): WatchedOutputs {
  let failure: string | null = null;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') failure ??= error.code ?? error.name;
  });
  // A failure of stderr itself cannot be reported anywhere.
  stderr.on('error', () => {});
  return {
    async settle(code) {
      // The error of a write is emitted one turn after it.
      await nextTurn();
      if (failure === null || code !== EXIT.ok) return code;
      stderr.write(`gcg: the result could not be written (${failure}): is the disk full?\n`);
      return EXIT.failure;
    },
  };
}
