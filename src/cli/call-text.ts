// Calls as text for a terminal: one line each, and one call explained. Whatever came from outside passes `printable`:
// no octet of it drives the terminal.

import { hasFailed, WHO } from '../inspector/culprit.ts';
import { whyOf } from '../inspector/why.ts';
import { NO_FACTS } from '../inspector/why-facts.ts';
import { count, span } from '../inspector/why-words.ts';
import type { Call, CallAnswer, Why } from '../inspector/wire.ts';
import { escapeUnprintable, localTime, printable } from '../logging/format.ts';
import { phasesOf } from './phases.ts';

const BOLD = 1;
const DIM = 2;
const RED = 31;
const GREEN = 32;
const YELLOW = 33;
const CYAN = 36;
/** By the first digit of a status. */
const STATUS_COLOURS = [DIM, GREEN, GREEN, CYAN, YELLOW, RED];

/** Calls in words, with or without colours. */
export class CallText {
  readonly #hasColour: boolean;
  /** The explanation that was shown last, and how many lines of calls ago. */
  #shown = { insight: '', linesAgo: 0 };

  constructor(hasColour: boolean) {
    this.#hasColour = hasColour;
  }

  /** `14:02:11.123 200 GET /api/v2/users 43 ms etl as crm`; below a call that failed, why, and what to do first. */
  line(call: Call): string {
    const { method, path, status, durationMs, client, credential, attempts, replayOf } = call;
    const parts = [
      this.#paint(localTime(Date.parse(call.time)), DIM),
      this.#status(status, hasFailed(call)),
      printable(`${method || '-'} ${path}`),
      span(durationMs),
      client === undefined ? '' : printable(client),
      credential === undefined ? '' : printable(`as ${credential}`),
      attempts > 1 ? `(sent ${attempts} times)` : '',
      replayOf === undefined ? '' : '(repeated)',
    ];
    const why = whyOf(call, NO_FACTS);
    const isFailure = hasFailed(call);
    if (why !== null && !isFailure) parts.push(this.#paint(`(slow: ${why.who})`, YELLOW));
    const head = parts.filter((part) => part !== '').join(' ');
    this.#shown.linesAgo += 1;
    return why === null || !isFailure ? `${head}\n` : `${head}\n${this.#insight(call, why)}`;
  }

  /** One call, explained: who, what happened, what to do, where the time went. */
  explained({ call, why }: Pick<CallAnswer, 'call' | 'why'>): string {
    const facts = [
      localTime(Date.parse(call.time)),
      span(call.durationMs),
      call.client === undefined ? '' : `client ${call.client}`,
      call.credential === undefined ? '' : `credential ${call.credential}`,
    ];
    const ids = [
      `request ${call.requestId}`,
      ...(call.correlationId === undefined ? [] : [`correlation ${call.correlationId}`]),
    ];
    const lines = [
      `${this.#status(call.status, hasFailed(call))} ${this.#paint(printable(`${call.method || '-'} ${call.path}`), BOLD)}`,
      ...wrapped(printable(facts.filter((fact) => fact !== '').join(', ')), '  '),
      ...ids.map((id) => `  ${printable(id)}`),
      '',
    ];
    if (why === null) lines.push('It went well, and was not slow.');
    else {
      lines.push(...wrapped(printable(capital(why.title)), '').map((line) => this.#paint(line, BOLD)));
      lines.push(...wrapped(printable(why.text), '  '), '');
      lines.push(printable(`${hasFailed(call) ? 'Failed' : 'Slowed'} by ${WHO[why.who] ?? why.who}. What to do`));
      for (const step of why.todo) lines.push(...wrapped(printable(step), '    ', '  - '));
    }
    return `${[...lines, '', ...this.#timeLine(call)].join('\n')}\n`;
  }

  /** Why, and what to do first; of many that fail alike the first one says it. */
  #insight(call: Call, why: Why): string {
    const more = this.#paint(printable(`gcg explain ${call.requestId}`), DIM);
    const title = wrapped(printable(`${why.who}: ${why.title}`), INDENT).map((line) => this.#paint(line, RED));
    const next = why.todo.slice(0, 1).flatMap((first) => wrapped(printable(first), INDENT));
    const insight = [...title, ...next].join('\n');
    const isSame = insight === this.#shown.insight && this.#shown.linesAgo < REMEMBERED;
    if (isSame) return `${INDENT}${this.#paint(`${why.who}, as above:`, RED)} ${more}\n`;
    this.#shown = { insight, linesAgo: 0 };
    return `${insight}\n${INDENT}${more}\n`;
  }

  #timeLine(call: Call): string[] {
    const phases = phasesOf(call);
    if (phases.length === 0) return [`It took ${span(call.durationMs)}.`];
    const whole = Math.max(call.durationMs, 1);
    const rows = phases.map(({ what, at, ms }) => {
      const before = at === null ? 0 : Math.min(BAR - 1, Math.round((at / whole) * BAR));
      const bar = '='.repeat(Math.min(BAR - before, Math.max(1, Math.round((ms / whole) * BAR))));
      const when = at === null ? '' : `+${span(at)}`;
      return (
        `  ${when.padStart(8)} ${span(ms).padStart(7)} |${(' '.repeat(before) + bar).padEnd(BAR)}| ` +
        `${printable(what)}`
      );
    });
    const attempts = call.attempts > 1 ? `, in ${count(call.attempts, 'attempt')}` : '';
    return [`Where ${span(call.durationMs)} went${attempts}`, ...rows];
  }

  /** An answer that began well may have failed all the same. */
  #status(status: number, isFailure: boolean): string {
    const shown = status === 0 ? '---' : String(status);
    const colour = isFailure && status > 0 && status < 400 ? RED : STATUS_COLOURS[Math.trunc(status / 100)];
    return this.#paint(shown, colour ?? RED);
  }

  #paint(text: string, colour: number): string {
    return this.#hasColour ? `\x1b[${colour}m${text}\x1b[0m` : text;
  }
}

/** Before what is said of a call below its line. */
const INDENT = '    ';
/** So many lines of calls an explanation is taken as still in view. */
const REMEMBERED = 20;
/** Columns of a bar. */
const BAR = 20;
const WIDTH = 80;

/** A call as one line of JSON, in which nothing drives a terminal. */
export function jsonLine(call: object): string {
  return `${escapeUnprintable(JSON.stringify(call))}\n`;
}

/** At most 80 columns, where words allow; `first` is the indent of the first line. */
function wrapped(text: string, indent: string, first = indent): string[] {
  const lines: string[] = [];
  let line = first;
  for (const word of text.split(' ')) {
    const isEmpty = line.length === indent.length;
    if (!isEmpty && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = indent + word;
    } else line += isEmpty ? word : ` ${word}`;
  }
  return [...lines, line];
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
