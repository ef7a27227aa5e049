// `gcg serve` in a process of its own, as people run it: to be killed, looked at from outside, and started again over
// the same folder.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { childEnvironment } from './fast-start.ts';
import { MAIN } from './program.ts';

/** A running one. */
export interface ServeProcess {
  readonly url: string;
  readonly child: ChildProcess;
  /** Everything it wrote so far, both outputs. */
  output(): string;
  /** Sends the signal and resolves with the exit code (null after SIGKILL) when the process is gone. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/**
 * Starts it with a configuration file; it is killed with the test at the latest. Rejects with its output when it ends
 * instead of listening.
 */
export async function startServe(t: Test, configPath: string, env: Record<string, string> = {}): Promise<ServeProcess> {
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', configPath], {
    env: { ...childEnvironment, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const gone = once(child, 'exit') as Promise<[number | null]>;
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      output += `${line}\n`;
      const record = line.startsWith('{') ? (JSON.parse(line) as { msg?: string; addresses?: string[] }) : {};
      if (record.msg === 'listening') resolve(record.addresses?.[0] as string);
    });
    gone.then(([code]) => reject(new Error(`the gateway ended with ${code}: ${output}`)));
  });
  return {
    url,
    child,
    output: () => output,
    async end(signal) {
      child.kill(signal);
      return (await gone)[0];
    },
  };
}
