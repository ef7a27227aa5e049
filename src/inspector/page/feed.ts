// The feed as it comes over the wire: server-sent events (HTML standard, section 9.2) read from a fetch, since an
// EventSource cannot send a header. One connection; reconnecting is not its job.

/** One event. */
export interface FeedEvent {
  readonly event: string;
  readonly data: string;
  /** The last id that was sent, of this event or an earlier one. */
  readonly id: string;
}

/** More than this is no line of ours. */
const LONGEST_LINE = 16 * 1024 * 1024;

/** Reads events out of a stream of text, however it is cut. */
export class EventParser {
  #rest = '';
  #event = '';
  #data: string[] = [];
  #id = '';
  #wasCarriageReturn = false;

  /** The events that are whole now. */
  push(chunk: string): FeedEvent[] {
    const events: FeedEvent[] = [];
    // A CR at the end of one chunk and an LF at the beginning of the next are one end of a line.
    const text = this.#wasCarriageReturn && chunk.startsWith('\n') ? chunk.slice(1) : chunk;
    if (chunk !== '') this.#wasCarriageReturn = chunk.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > LONGEST_LINE) throw new Error('the feed sends a line without an end');
    for (const line of lines) {
      if (line !== '') this.#field(line);
      else if (this.#data.length > 0) {
        events.push({ event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id });
        this.#event = '';
        this.#data = [];
      } else this.#event = '';
    }
    return events;
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
  }
}

/** The gateway sends something at least every 15 s. */
const SILENCE_MS = 40_000;

/**
 * Reads a feed until it ends, or nothing came for 40 s.
 */
export async function readFeed(
  response: Response,
  signal: AbortSignal,
  onEvent: (event: FeedEvent) => void,
): Promise<void> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) return;
  const parser = new EventParser();
  const cancel = () => void reader.cancel().catch(() => {});
  signal.addEventListener('abort', cancel);
  let silence = setTimeout(cancel, SILENCE_MS);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      clearTimeout(silence);
      silence = setTimeout(cancel, SILENCE_MS);
      for (const event of parser.push(value)) onEvent(event);
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener('abort', cancel);
    cancel();
  }
}
