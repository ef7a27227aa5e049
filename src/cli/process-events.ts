// What happens to the process while it serves: signals, faults that nobody caught, and what must not be switched on from outside.
// It decides when to end; the exit itself is the main program's.

import type { Gateway } from '../gateway.ts';
import type { Logger } from '../logging/logger.ts';
import { EXIT } from './io.ts';

/** What the events act on. */
export interface ProcessDeps {
  readonly gateway: Pick<Gateway, 'drain'>;
  readonly log: Pick<Logger, 'info' | 'error' | 'reopen'>;
  /** SIGHUP. */
  readonly reload: () => void;
  /** Told once, before draining begins. */
  readonly onEnding: () => void;
}

/**
 * `ending` resolves with the exit code: 0 when the gateway has drained after a first SIGTERM, SIGINT or `end`, or at a second one;
 * 1 after a fault. SIGHUP reloads and reopens the log file, SIGUSR2 only reopens it, SIGUSR1 no longer starts the inspector.
 */
export function watchProcess({ gateway, log, reload, onEnding }: ProcessDeps): { ending: Promise<number>; end: (reason: string) => void } {
  let resolve: (code: number) => void = () => {};
  const ending = new Promise<number>((settle) => {
    resolve = settle;
  });
  let isEnding = false;
  const end = (reason: string) => {
    if (isEnding) return resolve(EXIT.ok);
    isEnding = true;
    log.info({ reason }, 'draining');
    onEnding();
    gateway.drain().then(
      () => resolve(EXIT.ok),
      () => resolve(EXIT.failure),
    );
  };
  const fault = (kind: string) => (thrown: unknown) => {
    log.error({ ...describeFault(thrown) }, kind);
    // What state it left nobody knows: calls that still run may be answered wrongly.
    resolve(EXIT.failure);
  };
  process.on('SIGTERM', end).on('SIGINT', end);
  process.on('SIGHUP', () => {
    log.reopen();
    reload();
  });
  process.on('SIGUSR2', () => log.reopen());
  // Whoever may send it would else get a debugger, and with it the memory.
  process.on('SIGUSR1', () => {});
  process.on('uncaughtException', fault('uncaught exception')).on('unhandledRejection', fault('unhandled rejection'));
  if (process.report) process.report.excludeEnv = true;
  return { ending, end };
}

/** Class, code and place. Not the message: it may carry what must not be shown. */
function describeFault(thrown: unknown): { error: string; code: string | undefined; at: string[] } {
  if (!(thrown instanceof Error)) return { error: typeof thrown, code: undefined, at: [] };
  const frames = (thrown.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return { error: thrown.name, code: (thrown as NodeJS.ErrnoException).code, at: frames.slice(0, 8).map((line) => line.trim()) };
}
