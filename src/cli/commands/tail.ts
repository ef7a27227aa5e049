// `gcg tail`: the last calls of the running gateway and those to come, for people, or as JSON lines. It goes on until
// it is ended, or nobody reads it.

import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { onOneLine } from '../../config/problem.ts';
import { span } from '../../inspector/why-words.ts';
import type { Call, CallsAnswer, FeedEvents } from '../../inspector/wire.ts';
import {
  type ConfigToAsk,
  createAdminRequest,
  exitCodeOf,
  loadToAsk,
  noGatewayAt,
  openAdminStream,
  refusal,
} from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { CallText, jsonLine } from '../call-text.ts';
import { otherVersion } from '../document.ts';
import { feedEvents } from '../feed.ts';
import { filterArgument } from '../filter-argument.ts';
import { EXIT, hasColour, type Io, whenTaken } from '../io.ts';

const USUAL_LINES = 20;
const MOST_LINES = 1_000;
/** The gateway says something every 15 s. */
const IDLE_MS = 45_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 16_000;

/** 0 when it is ended; 2 for a filter that cannot be read, 69 when no gateway answers, 77 when it does not tell. */
export async function tail(args: CommandLine, io: Io): Promise<number> {
  const asked = readArguments(args);
  if (typeof asked === 'string') {
    io.stderr.write(`gcg: ${asked}\nTry gcg tail --help.\n`);
    return EXIT.usage;
  }
  const ending = new AbortController();
  const end = () => ending.abort();
  io.signals?.take(['SIGINT', 'SIGTERM', 'SIGHUP'], end);
  // Whoever read it has gone: `gcg tail | head`.
  io.stdout.once?.('error', end);
  const isJson = args.flags.has('json') || !io.isTTY;
  const text = new CallText(hasColour(io));
  const known = loadToAsk(args, io);
  const show = (call: Call) => (isJson ? jsonLine(call) : text.line(call));
  const code = await new Tail(io, known, asked, show, ending.signal).run();
  if (!ending.signal.aborted) await whenTaken(io);
  return code;
}

/** What is asked for. */
interface Asked {
  readonly filter: string;
  readonly lines: number;
  readonly isFollowing: boolean;
}

/** Returns what is wrong with them as a text. */
function readArguments(args: CommandLine): Asked | string {
  const { flags } = args;
  const lines = flags.get('lines');
  if (lines !== undefined && !/^\d{1,4}$/.test(String(lines))) return '--lines is a number, such as -n 20';
  const chosen = filterArgument(args);
  if ('problem' in chosen) return chosen.problem;
  const usual = flags.has('since') ? MOST_LINES : USUAL_LINES;
  return {
    filter: chosen.filter,
    lines: Math.min(MOST_LINES, lines === undefined ? usual : Number(lines)),
    isFollowing: !flags.has('no-follow'),
  };
}

/** How one connection ended: with an exit code, or to be tried again. */
type Ended = number | 'again';

/** One run of the command. */
class Tail {
  readonly #io: Io;
  readonly #known: ConfigToAsk;
  readonly #asked: Asked;
  readonly #show: (call: Call) => string;
  readonly #signal: AbortSignal;
  /** Where it stands: the instance whose calls are shown, and the last one's number. */
  #instance: string | null = null;
  #last = 0;
  #lostAt: number | null = null;

  constructor(io: Io, known: ConfigToAsk, asked: Asked, show: (call: Call) => string, signal: AbortSignal) {
    this.#io = io;
    this.#known = known;
    this.#asked = asked;
    this.#show = show;
    this.#signal = signal;
  }

  async run(): Promise<number> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.#signal.aborted) {
      const ended = await this.#connection(() => {
        pauseMs = FIRST_PAUSE_MS;
      });
      if (ended !== 'again') return this.#signal.aborted ? EXIT.ok : ended;
      await delay(pauseMs, undefined, { signal: this.#signal }).catch(() => undefined);
      pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
    }
    return EXIT.ok;
  }

  /** Shows what was missed, then what comes, until the connection ends. */
  async #connection(onStanding: () => void): Promise<Ended> {
    try {
      const code = await this.#catchUp();
      if (code !== null || !this.#asked.isFollowing) return code ?? EXIT.ok;
      return await this.#follow(onStanding);
    } catch (error) {
      if (this.#signal.aborted) return EXIT.ok;
      if (error instanceof TypeError || error instanceof SyntaxError) {
        this.#io.stderr.write(otherVersion('list of calls'));
        return EXIT.unavailable;
      }
      const why = onOneLine((error as Error).message);
      if (this.#instance === null) return this.#fail(why, EXIT.unavailable);
      this.#lost(why);
      return 'again';
    }
  }

  /** The calls before: the last ones at first, later those that were made meanwhile. Null: go on. */
  async #catchUp(): Promise<Ended | null> {
    const { filter, lines } = this.#asked;
    const isFirst = this.#instance === null;
    const limit = isFirst ? lines : MOST_LINES;
    const after = isFirst ? '' : `&after=${this.#last}`;
    const path = `/-/calls?f=${encodeURIComponent(filter)}&limit=${Math.max(1, limit)}${after}`;
    const answer = await createAdminRequest(this.#known.config, this.#io, { ...this.#known, forPage: true })(
      'GET',
      path,
    );
    const code = this.#refused(answer, isFirst);
    if (code !== null) return code;
    const { instance, calls, more, newest } = (answer?.body ?? {}) as CallsAnswer;
    if (typeof instance !== 'string' || !Array.isArray(calls)) {
      this.#io.stderr.write(otherVersion('list of calls'));
      return EXIT.unavailable;
    }
    if (!isFirst && instance !== this.#instance) {
      this.#tell('the gateway was started again: calls of the time before are gone');
      this.#instance = instance;
      this.#last = 0;
      return this.#catchUp();
    }
    this.#instance = instance;
    if (!isFirst && more)
      this.#tell(`more than ${MOST_LINES} calls were made meanwhile: the last ${MOST_LINES} follow`);
    if (limit > 0) await this.#print(calls.toReversed());
    this.#last = Math.max(this.#last, newest ?? 0);
    return null;
  }

  async #follow(onStanding: () => void): Promise<Ended> {
    const path = `/-/events?f=${encodeURIComponent(this.#asked.filter)}&since=${this.#instance}-${this.#last}`;
    const stream = await openAdminStream(this.#known, this.#io, path, this.#signal);
    const code = this.#refused(stream, false);
    if (code !== null) return code;
    for await (const { event, data } of feedEvents(stream?.response as never, IDLE_MS)) {
      onStanding();
      this.#back();
      const body: unknown = JSON.parse(data);
      if (event === 'calls')
        await this.#print((body as FeedEvents['calls']).calls, (body as FeedEvents['calls']).sampled);
      else if (event === 'gap')
        this.#tell(`${(body as FeedEvents['gap']).missed} calls were missed: they came too fast`);
      else if (event === 'bye') throw new Error(`the gateway ended the stream (${(body as FeedEvents['bye']).reason})`);
      // Not what was asked for: the list is read again.
      else if (event === 'hello' && (body as FeedEvents['hello']).reset) return 'again';
    }
    throw new Error('the gateway ended the stream');
  }

  /** Calls in their order, none twice; waits where whoever reads is slow. */
  async #print(calls: readonly Call[], sampled?: number): Promise<void> {
    for (const call of calls) {
      if (this.#signal.aborted) return;
      if (call.seq <= this.#last) continue;
      this.#last = call.seq;
      if (this.#io.stdout.write(this.#show(call)) === false) await this.#drained();
    }
    if (sampled !== undefined && sampled > 1)
      this.#tell(`many calls: of those that went well one in ${sampled} is shown`);
  }

  async #drained(): Promise<void> {
    const { stdout } = this.#io;
    if (stdout.once === undefined) return;
    await once(stdout as NodeJS.WriteStream, 'drain', { signal: this.#signal }).catch(() => undefined);
  }

  /** Null where the answer is what was asked for. */
  #refused(
    answer: { readonly error: { status: number; code: string; message: string } | null } | null,
    isFirst: boolean,
  ) {
    if (answer === null) {
      const why = noGatewayAt(this.#known.config);
      if (isFirst) return this.#fail(why, this.#known.isBroken ? EXIT.badConfig : EXIT.unavailable);
      this.#lost(why);
      return 'again';
    }
    if (answer.error === null) return null;
    const why = refusal(answer.error, this.#known);
    // A gateway that drains, or has too many watchers, may take it later.
    const mayHelp = !isFirst && (answer.error.status >= 500 || answer.error.status === 429);
    // Nobody is shown any call there.
    if (!mayHelp) return this.#fail(why, answer.error.status === 404 ? EXIT.unavailable : exitCodeOf(answer.error));
    this.#lost(why);
    return 'again';
  }

  #fail(why: string, code: number): number {
    this.#io.stderr.write(`gcg: ${why}\n`);
    return code;
  }

  #lost(why: string): void {
    if (this.#lostAt === null) this.#tell(`the connection was lost: ${why}; trying again`);
    this.#lostAt ??= performance.now();
  }

  #back(): void {
    if (this.#lostAt === null) return;
    this.#tell(`the gateway is there again after ${span(performance.now() - this.#lostAt)}`);
    this.#lostAt = null;
  }

  #tell(words: string): void {
    this.#io.stderr.write(`gcg: ${onOneLine(words)}\n`);
  }
}
