// The feed of the running gateway, event by event (https://html.spec.whatwg.org/multipage/server-sent-events.html):
// bounded, whatever it is that answers.

import type { IncomingMessage } from 'node:http';

/** One event. `id` is null where the stream has told none yet. */
export interface FeedEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string | null;
}

/** A frame holds at most a few hundred calls. */
const LONGEST_EVENT = 16 * 1024 * 1024;

/** Cuts a stream into events. What is no field of an event is passed over. */
export class FeedParser {
  #rest = '';
  #event = '';
  #data: string[] = [];
  #size = 0;
  #id: string | null = null;

  /** The events that a piece of the stream completes. Throws where one is too long. */
  *push(piece: string): Generator<FeedEvent> {
    this.#rest += piece;
    for (;;) {
      const found = /\r\n|\n|\r(?!$)/.exec(this.#rest);
      if (found === null) break;
      const line = this.#rest.slice(0, found.index);
      this.#rest = this.#rest.slice(found.index + found[0].length);
      if (line === '') {
        const event = this.#take();
        if (event !== null) yield event;
      } else this.#field(line);
    }
    if (this.#rest.length + this.#size > LONGEST_EVENT) throw new Error('an event of the feed is too long');
  }

  #field(line: string): void {
    const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === 'event') this.#event = value;
    else if (name === 'id') this.#id = value;
    else if (name === 'data') {
      this.#data.push(value);
      this.#size += value.length;
    }
  }

  #take(): FeedEvent | null {
    const [event, data] = [this.#event, this.#data];
    this.#event = '';
    this.#data = [];
    this.#size = 0;
    return data.length === 0 ? null : { event: event === '' ? 'message' : event, data: data.join('\n'), id: this.#id };
  }
}

/** The events of a response, until it ends. Throws when it breaks off, or sends nothing for `idleMs`. */
export async function* feedEvents(response: IncomingMessage, idleMs: number): AsyncGenerator<FeedEvent> {
  const parser = new FeedParser();
  response.setEncoding('utf8');
  response.setTimeout(idleMs, () => response.destroy(new Error(`nothing came for ${idleMs / 1_000} s`)));
  for await (const piece of response as AsyncIterable<string>) yield* parser.push(piece);
}
