// SAML assertions for the grant saml2_bearer: posted, from a file or setting, or printed by a command (an argv, no
// shell, a deadline).

import { spawn } from 'node:child_process';
import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { Secret } from '../../secret.ts';
import { systemCode, TokenFailure } from './token-source.ts';

/** The assertions of one credential. A posted one lives in memory only. */
export interface Assertions {
  /** Throws TokenFailure `login_required` when there is none. */
  read(): Promise<Secret>;
  /** Takes one into use until the platform refuses it. */
  post(assertion: Secret): void;
  /** The platform refused `assertion`: forgets it if it was posted; answers what the caller is to be told. */
  refused(assertion: Secret): TokenFailure;
}

/** Runs nothing before `read()`. */
export function createAssertions(config: CredentialConfig, clock: Clock): Assertions {
  const { name, assertion, assertionCommand } = config;
  const advice = `send a fresh one to POST /-/credentials/${name}/assertion`;
  let posted: Secret | null = null;
  return {
    async read() {
      if (posted !== null) return posted;
      if (assertion !== null) return assertion.read();
      if (assertionCommand.length > 0) return runAssertionCommand(assertionCommand, clock);
      throw new TokenFailure('login_required', `credential ${name} has no SAML assertion: ${advice}`);
    },
    post(fresh) {
      posted = fresh;
    },
    refused(used) {
      const code = 'gateway.login.required';
      const isPosted = posted !== null && posted.reveal() === used.reveal();
      if (isPosted) posted = null;
      if (isPosted && assertion === null && assertionCommand.length === 0) {
        return new TokenFailure('login_required', `the SAML assertion of credential ${name} was refused: ${advice}`, {
          code,
        });
      }
      const origin = assertion?.origin ?? 'assertion_command';
      const message = `the SAML assertion of credential ${name} was refused: renew the one from ${origin}, or ${advice}`;
      return new TokenFailure('refused', message, { code });
    },
  };
}

/** An assertion of more than this is none. */
const LARGEST_OUTPUT_BYTES = 1024 * 1024;

const DEADLINE_MS = 10_000;

/** What the command may know of us. */
const PASSED_VARIABLES = ['PATH', 'HOME', 'LANG'];

/**
 * The command's standard output; its standard error goes nowhere, because it may hold what must not be logged. Throws a
 * transient TokenFailure when it fails, prints nothing or too much, or takes longer than 10 s: it is then killed, with
 * its children, as it is when this process ends first.
 */
export function runAssertionCommand(
  argv: readonly string[],
  clock: Clock,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Secret> {
  const [command = '', ...args] = argv;
  const passed = PASSED_VARIABLES.flatMap((name) =>
    environment[name] === undefined ? [] : [[name, environment[name]]],
  );
  return new Promise((resolve, reject) => {
    const fail = (what: string) => reject(new TokenFailure('transient', `assertion_command ${command} ${what}`));
    const child = spawn(command, args, {
      shell: false,
      detached: true,
      env: Object.fromEntries(passed),
      stdio: ['ignore', 'pipe', 'ignore'],
    });
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
