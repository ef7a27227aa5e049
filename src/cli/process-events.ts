// Handles what happens to a process while it serves: signals, and exceptions that nothing caught. It decides when to
// end; the exit itself belongs to the main program.

import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import type { Gateway } from '../gateway.ts';
import type { Logger } from '../logging/logger.ts';
import { sourceStack } from '../source-stack.ts';
import type { HeldSignals } from './held-signals.ts';
import { EXIT } from './io.ts';

/** What is drained at the end. */
type EndedGateway = Pick<Gateway, 'calls' | 'cut' | 'drain' | 'reopen' | 'runtime' | 'socketCount'>;

/** So long the records of calls that a second signal cuts are waited for. */
const CUT_MS = 250;

/** What the events act on. */
export interface ProcessDeps {
  readonly signals: HeldSignals;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error' | 'reopen'>;
  /** Called once, before draining begins. */
  readonly onEnding: () => void;
}

/**
 * Made before the gateway. `ending` resolves with the exit code: 0 when the gateway has drained after a first SIGTERM,
 * SIGINT or `end`, at once where there is none yet, or when a second one has cut what still runs; 1 after a fault.
 * SIGUSR2 reopens the log file and the audit file,
 * SIGUSR1 no longer starts the inspector.
 */
export class ProcessEvents {
  readonly ending: Promise<number>;
  readonly #deps: ProcessDeps;
  #resolve: (code: number) => void = () => {};
  #gateway: EndedGateway | null = null;
  /** Resolves when the gateway has drained; null before the end. */
  #drained: Promise<void> | null = null;
  /** What had ended before the end began. */
  #before = { finished: 0, cut: 0 };
  #isEnding = false;
  #isStopped = false;
  /** Whether it was started from a terminal, and not as by nohup. */
  readonly #hadTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor)) && hasTerminal();

  constructor(deps: ProcessDeps) {
    this.#deps = deps;
    this.ending = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    const { signals } = deps;
    signals.take(['SIGTERM', 'SIGINT'], (signal) => this.end(signal));
    signals.take(['SIGUSR2'], () => this.#reopen());
    // Without a listener it starts the inspector, which shows whoever connects all of the memory.
    signals.take(['SIGUSR1'], () => {});
    process
      .on('uncaughtException', this.#fault('uncaught exception'))
      .on('unhandledRejection', this.#fault('unhandled rejection'));
    if (process.report) process.report.excludeEnv = true;
  }

  get isEnding(): boolean {
    return this.#isEnding;
  }

  /**
   * Sets what is to be drained at the end. From now on SIGHUP (also one that came earlier) reopens both files and
   * calls `reload`; where the terminal has gone it was closed, and the gateway ends as any program there does.
   */
  setGateway(gateway: EndedGateway, reload: () => void): void {
    this.#gateway = gateway;
    this.#deps.signals.take(['SIGHUP'], () => {
      if (this.#hadTerminal && !hasTerminal()) {
        if (!this.#isEnding) this.end('the terminal was closed');
        return;
      }
      this.#reopen();
      reload();
    });
  }

  /** After a rotation. */
  #reopen(): void {
    this.#deps.log.reopen();
    this.#gateway?.reopen();
  }

  end(reason: string): void {
    const gateway = this.#gateway;
    if (this.#isEnding) {
      gateway?.cut();
      // The records of the calls that are cut come when their connections have closed: a moment, bounded.
      const drained = this.#drained ?? Promise.resolve();
      void Promise.race([drained, sleep(gateway === null ? 0 : CUT_MS)]).finally(() => this.#stopped(EXIT.ok));
      return;
    }
    this.#isEnding = true;
    if (gateway !== null) {
      const { running, finished, cut } = gateway.calls;
      this.#before = { finished, cut };
      const { drainTimeoutMs, shutdownDelayMs } = gateway.runtime().config.server;
      const atMostMs = shutdownDelayMs + drainTimeoutMs;
      this.#deps.log.info({ reason, calls: running, sockets: gateway.socketCount(), atMostMs }, 'draining');
    } else this.#deps.log.info({ reason }, 'draining');
    this.#deps.onEnding();
    // Before there is a gateway there is nothing to drain.
    this.#drained = gateway?.drain() ?? Promise.resolve();
    this.#drained.then(
      () => this.#stopped(EXIT.ok),
      () => this.#stopped(EXIT.failure),
    );
  }

  /** Tells the last word and ends. Only the first call counts. */
  #stopped(code: number): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const { finished, cut } = this.#gateway?.calls ?? this.#before;
    const fields = { finished: finished - this.#before.finished, cut: cut - this.#before.cut };
    this.#deps.log[fields.cut > 0 ? 'warn' : 'info'](fields, 'stopped');
    this.#resolve(code);
  }

  #fault(kind: string): (thrown: unknown) => void {
    return (thrown) => {
      this.#deps.log.error({ ...describeFault(thrown) }, kind);
      // The state of the process is unknown now: calls that still run could be answered wrongly.
      this.#resolve(EXIT.failure);
    };
  }
}

/** Whether the process has a terminal that signals it, wherever its input and output go. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

/** Class, code and place of an error. Not its message, which may carry a secret. */
function describeFault(thrown: unknown): { error: string; code: string | undefined; at: string[] } {
  if (!(thrown instanceof Error)) return { error: typeof thrown, code: undefined, at: [] };
  const frames = sourceStack(thrown.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line));
  return {
    error: thrown.name,
    code: (thrown as NodeJS.ErrnoException).code,
    at: frames.slice(0, 8).map((line) => line.trim()),
  };
}
