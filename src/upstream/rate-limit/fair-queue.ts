// A queue that serves clients in turn, however many calls each has waiting (start-time fair queueing). It keeps no time
// and wakes nobody.

/** The entries of one client, in their order. */
interface ClientQueue<T> {
  readonly client: string;
  readonly waiting: T[];
  /** The turn in which this client is served next. */
  turn: number;
  /** Breaks ties: who came to the queue last has had nothing of this turn yet. */
  since: number;
}

type Precedence<T> = (client: string, first: T, waiting: number) => number;

/** Entries of one client keep their order. */
export class FairQueue<T> {
  readonly #queues = new Map<string, ClientQueue<T>>();
  /** Turns of clients that are not waiting, as long as those lie ahead: coming back at once gains nothing. */
  readonly #aheadOfTurn = new Map<string, number>();
  #turn = 0;
  #arrivals = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Clients that wait. */
  get clients(): number {
    return this.#queues.size;
  }

  /** How many entries this client has. */
  countOf(client: string): number {
    return this.#queues.get(client)?.waiting.length ?? 0;
  }

  /** How many entries each client has. */
  *counts(): Iterable<readonly [client: string, waiting: number]> {
    for (const { client, waiting } of this.#queues.values()) yield [client, waiting.length];
  }

  /** Adds an entry. `atFront` is for one that had its place before and comes back. */
  push(client: string, entry: T, atFront = false): void {
    let queue = this.#queues.get(client);
    if (queue === undefined) {
      this.#arrivals += 1;
      queue = { client, waiting: [], turn: this.#firstTurnOf(client), since: this.#arrivals };
      this.#queues.set(client, queue);
      this.#aheadOfTurn.delete(client);
    }
    if (atFront) queue.waiting.unshift(entry);
    else queue.waiting.push(entry);
    this.#size += 1;
  }

  /**
   * Takes out the next entry; undefined when there is none. `precedence` says of each client, by its first entry and
   * how many it has: 0 for in its turn; less for before its turn, which that uses up; -Infinity for before all, which
   * costs no turn; Infinity for not yet.
   */
  shift(precedence?: Precedence<T>): { client: string; entry: T } | undefined {
    let first: ClientQueue<T> | undefined;
    let lowest = Number.POSITIVE_INFINITY;
    for (const queue of this.#queues.values()) {
      const { client, waiting } = queue;
      const own = precedence === undefined ? 0 : precedence(client, waiting[0] as T, waiting.length);
      if (own > lowest || own === Number.POSITIVE_INFINITY) continue;
      if (first !== undefined && own === lowest && !comesBefore(queue, first)) continue;
      first = queue;
      lowest = own;
    }
    if (first === undefined) return undefined;
    const entry = first.waiting.shift() as T;
    this.#size -= 1;
    if (lowest === 0 && first.turn > this.#turn) {
      this.#turn = first.turn;
      this.#forgetPast();
    }
    if (lowest !== Number.NEGATIVE_INFINITY) first.turn += 1;
    if (first.waiting.length === 0) this.#drop(first);
    return { client: first.client, entry };
  }

  /** Takes an entry out wherever it stands; false when it is not there. */
  remove(client: string, entry: T): boolean {
    const queue = this.#queues.get(client);
    const at = queue?.waiting.indexOf(entry) ?? -1;
    if (queue === undefined || at === -1) return false;
    queue.waiting.splice(at, 1);
    this.#size -= 1;
    if (queue.waiting.length === 0) this.#drop(queue);
    return true;
  }

  /** How many entries are served no later than one more of this client would be, itself included. */
  positionOf(client: string): number {
    const own = this.#queues.get(client);
    const ownTurn = (own?.turn ?? this.#firstTurnOf(client)) + (own?.waiting.length ?? 0);
    let position = 1 + (own?.waiting.length ?? 0);
    for (const queue of this.#queues.values()) {
      if (queue === own) continue;
      // A newcomer is served before the others of its turn, a client that waits already after those that came later.
      const through = own === undefined || own.since > queue.since ? ownTurn : ownTurn + 1;
      position += Math.min(queue.waiting.length, Math.max(0, through - queue.turn));
    }
    return position;
  }

  /** All entries in the order in which they would be served. */
  inOrder(): { client: string; entry: T }[] {
    const all: { client: string; entry: T; turn: number; since: number }[] = [];
    for (const { client, waiting, turn: first, since } of this.#queues.values()) {
      waiting.forEach((entry, index) => {
        all.push({ client, entry, turn: first + index, since });
      });
    }
    return all.sort((a, b) => a.turn - b.turn || b.since - a.since);
  }

  #firstTurnOf(client: string): number {
    return Math.max(this.#turn, this.#aheadOfTurn.get(client) ?? 0);
  }

  #drop(queue: ClientQueue<T>): void {
    this.#queues.delete(queue.client);
    if (queue.turn > this.#turn) this.#aheadOfTurn.set(queue.client, queue.turn);
  }

  #forgetPast(): void {
    for (const [client, ahead] of this.#aheadOfTurn) if (ahead <= this.#turn) this.#aheadOfTurn.delete(client);
  }
}

function comesBefore(a: ClientQueue<unknown>, b: ClientQueue<unknown>): boolean {
  return a.turn < b.turn || (a.turn === b.turn && a.since > b.since);
}
