// Who made the calls that can be made again, by their numbers: the newest of all, and of those that failed the newest
// for themselves. It keeps references to what there is anyway, and knows nothing of what they are.

/** Who made a call, and where it came in. */
export interface Sender {
  readonly who: object;
  readonly by: object | null;
}

const ALL = 16_384;
const FAILED = 4_096;

/** Senders of the calls of one gateway. */
export class Senders {
  #all = new Slots(ALL);
  #failed = new Slots(FAILED);

  add(seq: number, who: object, by: object | null, hasFailed: boolean): void {
    this.#all.add(seq, who, by);
    if (hasFailed) this.#failed.add(seq, who, by);
  }

  /** Null where it is not known any more, or never was. */
  of(seq: number): Sender | null {
    return this.#all.of(seq) ?? this.#failed.of(seq);
  }

  clear(): void {
    this.#all = new Slots(ALL);
    this.#failed = new Slots(FAILED);
  }
}

/** The last so many, in the order in which they came. */
class Slots {
  readonly #most: number;
  readonly #seqs: number[] = [];
  readonly #who: object[] = [];
  readonly #by: (object | null)[] = [];
  /** Where the next one goes. */
  #next = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(seq: number, who: object, by: object | null): void {
    const at = this.#next;
    this.#seqs[at] = seq;
    this.#who[at] = who;
    this.#by[at] = by;
    this.#next = at + 1 === this.#most ? 0 : at + 1;
  }

  of(seq: number): Sender | null {
    const at = this.#seqs.indexOf(seq);
    return at < 0 ? null : { who: this.#who[at] as object, by: this.#by[at] as object | null };
  }
}
