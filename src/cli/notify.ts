// Tells systemd how far the process is (sd_notify, Type=notify), by its own systemd-notify program: Node cannot send to
// a datagram socket. Where nobody asked to be told, it does nothing; what goes wrong here is nobody's problem but the
// log's.

import { spawn } from 'node:child_process';
import type { Log } from '../logging/log.ts';

/** What can be told. */
export type Notice = 'READY=1' | 'STOPPING=1' | 'RELOADING=1';

/** Sends one after the other, in order. `done` resolves when all that was told so far is sent or given up. */
export interface Notifier {
  tell(notice: Notice): void;
  done(): Promise<void>;
}

/** A service manager that takes longer does not want to know. */
const SEND_MAX_MS = 2_000;

/** `program` is looked for in PATH. The child gets PATH and the socket's name, and nothing else of the environment. */
export function createNotifier(
  env: Readonly<Record<string, string | undefined>>,
  log: Log,
  program = 'systemd-notify',
): Notifier {
  const socket = env.NOTIFY_SOCKET;
  if (socket === undefined || socket === '') return { tell() {}, done: async () => {} };
  const childEnv = { NOTIFY_SOCKET: socket, PATH: env.PATH ?? '/usr/bin:/bin' };
  let queue: Promise<void> = Promise.resolve();
  let hasComplained = false;

  const send = (args: readonly string[]) =>
    new Promise<void>((resolve) => {
      const child = spawn(program, [...args], { env: childEnv, stdio: 'ignore', timeout: SEND_MAX_MS });
      const over = (problem: string | null) => {
        if (problem !== null && !hasComplained) {
          hasComplained = true;
          log.warn(
            { problem, advice: 'set NotifyAccess=all, or Type=exec, in the unit' },
            'service manager could not be told',
          );
        }
        resolve();
      };
      child.on('error', (error: NodeJS.ErrnoException) => over(error.code ?? 'failed'));
      child.on('close', (code, signal) => over(code === 0 ? null : `ended with ${signal ?? code}`));
    });

  return {
    tell(notice) {
      // A reload is told with the time it began, or the manager takes the READY that follows for an old one.
      const args = notice === 'RELOADING=1' ? [notice, `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`] : [notice];
      queue = queue.then(() => send(args));
    },
    done: () => queue,
  };
}
