// SAML assertions for the grant saml2_bearer: posted, from a file or setting, or printed by a command (an argv, no
// shell, a deadline).

import { spawn } from 'node:child_process';
import type { Clock } from '../../clock.ts';
import type { CredentialConfig } from '../../config/gateway-config.ts';
import { Secret } from '../../secret.ts';
import { systemCode, TokenFailure } from './token-source.ts';

/** The assertions of one credential. A posted one lives in memory only. */
export interface Assertions {
  /** The posted assertion, else the configured one. Throws TokenFailure `login_required` when there is none. */
  read(): Promise<Secret>;
  /** Uses `assertion` until the platform refuses it. */
  post(assertion: Secret): void;
  /** To be called when the platform refused `assertion`: forgets it if it was posted; returns the caller's error. */
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
      const what = `the SAML assertion of credential ${name} was refused`;
      const isPosted = posted !== null && posted.reveal() === used.reveal();
      if (isPosted) posted = null;
      if (isPosted && assertion === null && assertionCommand.length === 0) {
        return new TokenFailure('login_required', `${what}: ${advice}`, { code });
      }
      const origin = assertion?.origin ?? 'assertion_command';
      return new TokenFailure('refused', `${what}: renew the one from ${origin}, or ${advice}`, { code });
    },
  };
}

/** Longest output of a command. */
const LARGEST_OUTPUT_BYTES = 1024 * 1024;

const DEADLINE_MS = 10_000;

/** The variables of our environment that the command gets. */
const PASSED_VARIABLES = ['PATH', 'HOME', 'LANG'];

/**
 * The command's standard output. Its standard error is discarded, because it may hold secrets. Throws a transient
 * TokenFailure when it fails, prints nothing or too much, or takes longer than 10 s: it is then killed, with
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
        // The process has ended already.
      }
    };
    // Its own process group would outlive this process.
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
    const cleanUp = () => {
      deadline.cancel();
      process.off('exit', kill);
    };
    child.once('error', (error) => {
      cleanUp();
      fail(`cannot be run (${systemCode(error)})`);
    });
    child.once('close', (code, signal) => {
      cleanUp();
      const output = Buffer.concat(chunks).toString('utf8').trim();
      if (code !== 0) fail(`ended with ${code === null ? `signal ${signal}` : `exit code ${code}`}`);
      else if (output === '') fail('printed nothing');
      else resolve(new Secret(output));
    });
  });
}
