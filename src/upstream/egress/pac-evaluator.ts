// Asks one PAC script, which runs in a thread of its own: whatever it does, this side goes on, and can end it. Fetches
// and caches nothing.

import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '../../clock.ts';
import { programModule } from '../../program-folder.ts';
import { errorCode } from '../errors.ts';

/** One compiled script. */
export interface PacEvaluator {
  /** The script's answer, as text. Rejects with an Error that says what the script did (threw, ran too long). */
  evaluate(url: string, host: string): Promise<string>;
  /** Ends the thread once every question has its answer; later ones are rejected. */
  retire(): void;
}

/** What the thread says to the question numbered `id`; number 0 is whether the script can be used. */
export type PacReply =
  | { readonly id: number; readonly answer: string }
  | { readonly id: number; readonly problem: string };

/** To start a thread and to compile the script, on a busy machine. */
const LONGEST_START_MS = 15_000;
/**
 * How often a thread that owes an answer is looked at: if it computed for most of that time, it is ended; if it waited
 * for DNS, it may go on.
 */
const LOOK_EVERY_MS = 2_000;
const MOST_LOOKS = 15;
const MOST_COMPUTING = 0.5;
/** The script's own memory is bounded within; this is for reading a large script. */
const THREAD_HEAP_MB = 256;

const THREAD = programModule('upstream/egress/pac-thread');
const NOT_ASKED = 'it is not asked any more';
const TOO_LONG = 'it runs too long and was stopped: it may loop';

/**
 * Compiles `script`; rejects when it has a syntax error, throws or spins at the top, or defines no FindProxyForURL.
 * Aborting `signal` ends it at once, with questions under way.
 */
export async function createPacEvaluator(script: string, deps: ThreadDeps): Promise<PacEvaluator> {
  let thread = new ScriptThread(script, deps);
  let isRetired = false;
  await thread.ready;
  return {
    async evaluate(url, host) {
      if (isRetired || deps.signal.aborted) throw new Error(NOT_ASKED);
      // One that had to be ended is followed by another: the next question may be harmless.
      if (thread.isOver) thread = new ScriptThread(script, deps);
      const current = thread;
      await current.ready;
      return current.ask(url, host);
    },
    retire() {
      isRetired = true;
      thread.retire();
    },
  };
}

interface ThreadDeps {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface Question {
  readonly resolve: (answer: string) => void;
  readonly reject: (error: Error) => void;
  timer: Timer;
}

/** One thread, from its start to its end. It keeps the process alive only while it owes an answer. */
class ScriptThread {
  /** Rejects when the script cannot be used. */
  readonly ready: Promise<unknown>;
  readonly #worker: Worker;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #abort = () => this.end(NOT_ASKED);
  readonly #questions = new Map<number, Question>();
  #asked = 0;
  #isRetired = false;
  #ending: string | undefined;

  constructor(script: string, { clock, signal }: ThreadDeps) {
    this.#clock = clock;
    this.#signal = signal;
    // Nothing of the process is the thread's business: not its environment, nor its flags.
    this.#worker = new Worker(THREAD, {
      name: 'pac',
      workerData: script,
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
    });
    this.#worker.on('message', (reply: PacReply) => this.#hear(reply));
    this.#worker.on('error', (error) => this.end(`it broke its sandbox (${errorCode(error)})`));
    this.#worker.on('exit', () => this.end('its sandbox ended'));
    this.ready = this.#question(LONGEST_START_MS, () => true);
    signal.addEventListener('abort', this.#abort);
    if (signal.aborted) this.end(NOT_ASKED);
  }

  get isOver(): boolean {
    return this.#ending !== undefined;
  }

  ask(url: string, host: string): Promise<string> {
    if (this.#ending !== undefined) return Promise.reject(new Error(this.#ending));
    const { performance } = this.#worker;
    const before = performance.eventLoopUtilization();
    let looks = 0;
    const answer = this.#question(
      LOOK_EVERY_MS,
      () => ++looks >= MOST_LOOKS || performance.eventLoopUtilization(before).utilization > MOST_COMPUTING,
    );
    this.#worker.postMessage({ id: this.#asked - 1, url, host });
    return answer;
  }

  retire(): void {
    this.#isRetired = true;
    if (this.#questions.size === 0) this.end(NOT_ASKED);
  }

  /** Ends the thread, in the middle of whatever it does. `why` is what questions under way are told. */
  end(why: string): void {
    if (this.#ending !== undefined) return;
    this.#ending = why;
    this.#signal.removeEventListener('abort', this.#abort);
    // Only fails where the thread is gone already.
    this.#worker.terminate().catch(() => {});
    for (const { timer, reject } of this.#questions.values()) {
      timer.cancel();
      reject(new Error(why));
    }
    this.#questions.clear();
  }

  /** Waits for the next reply; `isStuck` is asked every `lookEveryMs`. */
  #question(lookEveryMs: number, isStuck: () => boolean): Promise<string> {
    const id = this.#asked++;
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      const look = () => {
        if (isStuck()) this.end(TOO_LONG);
        else question.timer = this.#clock.after(lookEveryMs, look);
      };
      const question: Question = { resolve, reject, timer: this.#clock.after(lookEveryMs, look) };
      this.#questions.set(id, question);
    });
  }

  #hear(reply: PacReply): void {
    const question = this.#questions.get(reply.id);
    if (!question) return;
    this.#questions.delete(reply.id);
    question.timer.cancel();
    if ('answer' in reply) question.resolve(reply.answer);
    else question.reject(new Error(reply.problem));
    if (this.#questions.size > 0) return;
    this.#worker.unref();
    // A script that cannot be used is not asked.
    if (this.#isRetired || (reply.id === 0 && 'problem' in reply)) this.end(NOT_ASKED);
  }
}
