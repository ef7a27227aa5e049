// The command as a process of its own.

import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Test } from 'tap';
import { childEnvironment } from './fast-start.ts';
import { MAIN } from './program.ts';

/** A running or ended command. */
export interface Command {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with the exit code once the process and its outputs have ended; a death by signal is its name. */
  readonly ended: Promise<number | string>;
  /** Resolves when `text` has appeared on stdout or stderr; rejects when the command ends before. */
  until(text: string | RegExp): Promise<string>;
}

/**
 * Starts `gcg args` with only the given environment, with `descriptor` as its fd 3 and `flags` for Node; it is killed
 * when the test ends.
 */
export function startCommand(
  t: Test,
  args: readonly string[],
  options: {
    env?: NodeJS.ProcessEnv;
    cwd?: string;
    descriptor?: number;
    flags?: readonly string[];
    /** The folder of a cgroup that the process begins in. */
    within?: string;
  } = {},
): Command {
  const own = [process.execPath, ...(options.flags ?? []), MAIN, ...args];
  const { within } = options;
  const [program = '', ...rest] = within === undefined ? own : ['sh', '-c', BEGIN_WITHIN, within, ...own];
  const child = spawn(program, rest, {
    cwd: options.cwd ?? t.testdir(),
    env: { ...childEnvironment, HOME: '/nonexistent', ...stateFolder(options.env), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe', ...(options.descriptor === undefined ? [] : [options.descriptor])],
  }) as ChildProcessByStdio<null, Readable, Readable>;
  t.teardown(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  let wake: (() => void)[] = [];
  let hasEnded = false;
  const notify = () => {
    for (const each of wake) each();
    wake = [];
  };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8');
    child[stream].on('data', (text: string) => {
      output[stream] += text;
      notify();
    });
  }
  const ended = once(child, 'close').then(([code, signal]) => {
    hasEnded = true;
    notify();
    return (code ?? signal) as number | string;
  });
  return {
    child,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    ended,
    async until(text) {
      for (;;) {
        for (const said of [output.stdout, output.stderr])
          if (typeof text === 'string' ? said.includes(text) : text.test(said)) return said;
        if (hasEnded) throw new Error(`the command ended without saying ${text}: ${output.stderr}`);
        await new Promise<void>((resolve) => wake.push(resolve));
      }
    },
  };
}

/** Of a shell: joins the cgroup `$0`, and becomes the program that its arguments are. */
const BEGIN_WITHIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"';

/** A folder for the keys of live pages, where a test has none of its own. */
function stateFolder(env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return env.HOME === undefined ? { XDG_STATE_HOME: join(tmpdir(), 'gcg-test-state') } : {};
}

/** The address of the first listener, from the record that says so. */
export function addressOf(stdout: string): string {
  const line = stdout.split('\n').find((each) => each.includes('"msg":"listening"'));
  return (JSON.parse(line ?? '{}') as { addresses?: string[] }).addresses?.[0] ?? '';
}
