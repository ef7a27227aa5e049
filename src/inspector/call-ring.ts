// The finished calls that are kept: as the JSON lines that their records are, in bounded memory. Failures have a second
// ring of their own, so that a burst of calls that went well does not push out the one that somebody came for.

import { Buffer } from 'node:buffer';
import { type Kept, LineRing } from './line-ring.ts';

/** How the memory is shared out. */
export interface CallRingOptions {
  readonly bytes: number;
  readonly failureBytes: number;
  /** Makes the JSON of a call fit to be read now: what was kept then may be a secret since. Default: as it is. */
  readonly shown?: (json: string) => string;
  /** The least number that the next call may have. Default: the one after the newest. */
  readonly number?: () => number;
}

/** One call that is kept. */
export interface KeptCall {
  readonly seq: number;
  /** A `Call` of the wire as JSON, on one line. */
  readonly json: string;
}

/** The finished calls of one gateway, by rising numbers. */
export class CallRing {
  readonly #all: LineRing;
  readonly #failures: LineRing;
  readonly #shown: (json: string) => string;
  readonly #number: () => number;
  #newest = 0;

  constructor({ bytes, failureBytes, shown = (json) => json, number = () => 0 }: CallRingOptions) {
    this.#all = new LineRing(bytes);
    this.#failures = new LineRing(failureBytes);
    this.#shown = shown;
    this.#number = number;
  }

  /**
   * Keeps a call: `line` is its record as one line of JSON. Returns its number; 0 where it is too large to be kept.
   */
  add(line: string, isFailed: boolean): number {
    const seq = this.present + 1;
    if (!this.#all.add(seq, line)) return 0;
    if (isFailed) this.#failures.add(seq, line);
    this.#newest = seq;
    return seq;
  }

  /** The next call has a larger number, and all before have none that is. */
  get present(): number {
    return Math.max(this.#newest, this.#number() - 1);
  }

  /** Number of the newest call since the start, kept or not; 0 before the first. */
  get lastSeq(): number {
    return this.#newest;
  }

  /** Number of the oldest call that is kept; null where none is. */
  get oldest(): number | null {
    return this.#failures.oldest === null ? this.#all.oldest : Math.min(this.#failures.oldest, this.#all.oldest ?? 0);
  }

  /** Number of the newest call that is kept; null where none is. */
  get newest(): number | null {
    return this.#all.newest;
  }

  /** Number of the newest call after which all are kept; 0 where all are. */
  get lostUpTo(): number {
    return this.#all.lostUpTo;
  }

  /** The oldest call from which on all are kept, where earlier ones fell out; null where none did. */
  get wholeSince(): KeptCall | null {
    return this.#all.dropped === 0 ? null : this.#read(this.#all.below((this.#all.oldest ?? 0) + 1));
  }

  /** The call of a number; null where it is not kept. */
  get(seq: number): KeptCall | null {
    return this.#read(this.#all.get(seq) ?? this.#failures.get(seq));
  }

  /** The newest call below `seq`: one after the other they are all that are kept, the newest first. */
  below(seq: number): KeptCall | null {
    return this.#read(this.#all.below(seq) ?? this.#failures.below(seq));
  }

  /** The call with a request id; null where it is not kept. */
  byRequestId(id: string): KeptCall | null {
    // As the record has it: a quotation mark inside a value has a backslash before it.
    const octets = Buffer.from(`"requestId":${JSON.stringify(id)}`);
    return this.#read(this.#all.find(octets) ?? this.#failures.find(octets));
  }

  /** Forgets all calls. Numbers go on. */
  clear(): void {
    this.#all.clear();
    this.#failures.clear();
  }

  #read(kept: Kept | null): KeptCall | null {
    if (kept === null) return null;
    const { seq, json } = numbered(kept);
    return { seq, json: this.#shown(json) };
  }
}

/** With its number as the first field, and without the newline. */
export function numbered({ seq, text }: Kept): KeptCall {
  return { seq, json: `{"seq":${seq},${text.slice(1).trimEnd()}` };
}
