// Runs the configured command that prints a SAML assertion: an argv, no shell, nothing of our environment but what it takes to run.

import { spawn } from 'node:child_process';
import type { Clock } from '../../clock.ts';
import { Secret } from '../../config/secret.ts';
import { systemCode, TokenFailure } from '../token-failure.ts';

/** An assertion of more than this is none. */
const LARGEST_OUTPUT_BYTES = 1024 * 1024;

const DEADLINE_MS = 10_000;

/** What the command may know of us. */
const PASSED_VARIABLES = ['PATH', 'HOME', 'LANG'];

/**
 * The command's standard output; its standard error goes nowhere, because it may hold what must not be logged.
 * Throws a transient TokenFailure when it fails, prints nothing or too much, or takes longer than 10 s: it is then killed, with its children,
 * as it is when this process ends first.
 */
export function runAssertionCommand(argv: readonly string[], clock: Clock, environment: NodeJS.ProcessEnv = process.env): Promise<Secret> {
  const [command = '', ...args] = argv;
  const passed = PASSED_VARIABLES.flatMap((name) => (environment[name] === undefined ? [] : [[name, environment[name]]]));
  return new Promise((resolve, reject) => {
    const fail = (what: string) => reject(new TokenFailure('transient', `assertion_command ${command} ${what}`));
    const child = spawn(command, args, { shell: false, detached: true, env: Object.fromEntries(passed), stdio: ['ignore', 'pipe', 'ignore'] });
    const kill = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended already.
      }
    };
    // It has a process group of its own, which nobody would end with us.
    process.once('exit', kill);
    const deadline = clock.after(DEADLINE_MS, () => {
      fail(`did not end within ${DEADLINE_MS / 1000} s`);
      kill();
      child.stdout.destroy();
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= LARGEST_OUTPUT_BYTES) chunks.push(chunk);
      else {
        fail('printed more than 1 MiB');
        kill();
        child.stdout.destroy();
      }
    });
    const over = () => {
      deadline.cancel();
      process.off('exit', kill);
    };
    child.once('error', (error) => {
      over();
      fail(`cannot be run (${systemCode(error)})`);
    });
    child.once('close', (code, signal) => {
      over();
      const output = Buffer.concat(chunks).toString('utf8').trim();
      if (code !== 0) fail(`ended with ${code === null ? `signal ${signal}` : `exit code ${code}`}`);
      else if (output === '') fail('printed nothing');
      else resolve(new Secret(output));
    });
  });
}
