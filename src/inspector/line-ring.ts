// A ring of texts in one piece of memory: the newest push the oldest out. It knows nothing of what they say.

import { Buffer } from 'node:buffer';

/** As much memory for one entry of the index, on the average, is a text's. */
const BYTES_A_SLOT = 256;

/** One text that is kept. */
export interface Kept {
  readonly seq: number;
  readonly text: string;
}

/** Texts by rising numbers, bounded in memory and in number. Nothing of a text but its octets is kept. */
export class LineRing {
  readonly #bytes: Buffer;
  readonly #slots: number;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  readonly #seqs: Float64Array;
  /** The slot of the oldest text. */
  #first = 0;
  #count = 0;
  /** Where the newest text ends. */
  #end = 0;
  /** How many fell out. */
  dropped = 0;
  /** The number of the newest that is not kept any more; 0 where all are. */
  lostUpTo = 0;

  constructor(bytes: number) {
    // Pages that are never written take no memory.
    this.#bytes = Buffer.allocUnsafeSlow(bytes);
    this.#slots = Math.max(1, Math.ceil(bytes / BYTES_A_SLOT));
    this.#starts = new Uint32Array(this.#slots);
    this.#ends = new Uint32Array(this.#slots);
    this.#seqs = new Float64Array(this.#slots);
  }

  get count(): number {
    return this.#count;
  }

  /** The number of the oldest text; null where there is none. */
  get oldest(): number | null {
    return this.#count === 0 ? null : (this.#seqs[this.#first] as number);
  }

  get newest(): number | null {
    return this.#count === 0 ? null : (this.#seqs[this.#slot(this.#count - 1)] as number);
  }

  /** Takes a text in; false for one that is larger than a quarter of the memory. `seq` is above all before. */
  add(seq: number, text: string): boolean {
    const size = this.#bytes.length;
    let start = this.#end;
    // A UTF-16 unit has three octets at most; the length in octets is counted only near the end.
    if (start + text.length * 3 > size || text.length * 12 > size) {
      const length = Buffer.byteLength(text);
      if (length > size / 4) return false;
      if (start + length > size) {
        while (this.#count > 0 && (this.#starts[this.#first] as number) >= start) this.#drop();
        start = 0;
      }
    }
    const end = start + this.#bytes.write(text, start, 'utf8');
    // In order of age: what lies here now is the oldest, or nothing.
    while (this.#count > 0 && this.#isBetween(start, end)) this.#drop();
    if (this.#count === this.#slots) this.#drop();
    const slot = this.#slot(this.#count);
    this.#starts[slot] = start;
    this.#ends[slot] = end;
    this.#seqs[slot] = seq;
    this.#count += 1;
    this.#end = end;
    return true;
  }

  /** The text of a number; null where it is not kept. */
  get(seq: number): Kept | null {
    const kept = this.below(seq + 1);
    return kept?.seq === seq ? kept : null;
  }

  /** The newest text whose number is below `seq`. */
  below(seq: number): Kept | null {
    const at = this.#indexBelow(seq);
    return at < 0 ? null : { seq: this.#seqs[this.#slot(at)] as number, text: this.#textAt(at) };
  }

  /** The newest text that holds these octets. */
  find(octets: Buffer): Kept | null {
    let found = this.#bytes.indexOf(octets);
    let best = -1;
    while (found >= 0) {
      // What fell out may lie there yet.
      for (let at = this.#count - 1; at > best; at--) {
        const slot = this.#slot(at);
        if (found < (this.#starts[slot] as number) || found + octets.length > (this.#ends[slot] as number)) continue;
        best = at;
        break;
      }
      found = this.#bytes.indexOf(octets, found + octets.length);
    }
    return best < 0 ? null : { seq: this.#seqs[this.#slot(best)] as number, text: this.#textAt(best) };
  }

  /** Forgets all; the octets too. */
  clear(): void {
    this.lostUpTo = this.newest ?? this.lostUpTo;
    this.#bytes.fill(0);
    this.#first = this.#count = this.#end = this.dropped = 0;
  }

  #isBetween(start: number, end: number): boolean {
    const oldest = this.#starts[this.#first] as number;
    return oldest >= start && oldest < end;
  }

  #drop(): void {
    this.lostUpTo = this.#seqs[this.#first] as number;
    this.#first = this.#first + 1 === this.#slots ? 0 : this.#first + 1;
    this.#count -= 1;
    this.dropped += 1;
  }

  #slot(index: number): number {
    return (this.#first + index) % this.#slots;
  }

  #textAt(index: number): string {
    const slot = this.#slot(index);
    return this.#bytes.toString('utf8', this.#starts[slot], this.#ends[slot]);
  }

  /** The index of the newest text whose number is below `seq`, by halves; -1 where there is none. */
  #indexBelow(seq: number): number {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#seqs[this.#slot(middle)] as number) < seq) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
