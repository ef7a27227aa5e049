// A queue that serves clients in turn, however many calls each has waiting (start-time fair queueing). It keeps no time
// and wakes nobody.

interface Line<T> {
  readonly client: string;
  readonly waiting: T[];
  /** The turn in which this client is served next. */
  turn: number;
  /** Breaks ties: who came to the queue last has had nothing of this turn yet. */
  since: number;
}

/** Entries of one client keep their order. */
export interface FairQueue<T> {
  readonly size: number;
  /** Clients that wait. */
  readonly clients: number;
  /** `atFront` is for one that had its place before and comes back. */
  push(client: string, entry: T, atFront?: boolean): void;
  /** The next entry, of a client that `mayServe`; undefined when there is none. */
  shift(mayServe?: (client: string) => boolean): { client: string; entry: T } | undefined;
  /** Takes an entry out wherever it stands; false when it is not there. */
  remove(client: string, entry: T): boolean;
  has(client: string): boolean;
  /** How many entries are served no later than one more of this client would be, itself included. */
  positionOf(client: string): number;
  /** All entries in the order in which they would be served. */
  inOrder(): { client: string; entry: T }[];
}

export function createFairQueue<T>(): FairQueue<T> {
  const lines = new Map<string, Line<T>>();
  /** Turns of clients that are not waiting, as long as those lie ahead: coming back at once gains nothing. */
  const aheadOfTurn = new Map<string, number>();
  let turn = 0;
  let arrivals = 0;
  let size = 0;

  const comesBefore = (a: Line<T>, b: Line<T>) => a.turn < b.turn || (a.turn === b.turn && a.since > b.since);

  const drop = (line: Line<T>) => {
    lines.delete(line.client);
    if (line.turn > turn) aheadOfTurn.set(line.client, line.turn);
  };

  const forgetPast = () => {
    for (const [client, ahead] of aheadOfTurn) if (ahead <= turn) aheadOfTurn.delete(client);
  };

  return {
    get size() {
      return size;
    },
    get clients() {
      return lines.size;
    },
    push(client, entry, atFront = false) {
      let line = lines.get(client);
      if (line === undefined) {
        arrivals += 1;
        line = { client, waiting: [], turn: Math.max(turn, aheadOfTurn.get(client) ?? 0), since: arrivals };
        lines.set(client, line);
        aheadOfTurn.delete(client);
      }
      if (atFront) line.waiting.unshift(entry);
      else line.waiting.push(entry);
      size += 1;
    },
    shift(mayServe) {
      let first: Line<T> | undefined;
      for (const line of lines.values()) {
        if ((first === undefined || comesBefore(line, first)) && (mayServe === undefined || mayServe(line.client)))
          first = line;
      }
      if (first === undefined) return undefined;
      const entry = first.waiting.shift() as T;
      size -= 1;
      if (first.turn > turn) {
        turn = first.turn;
        forgetPast();
      }
      first.turn += 1;
      if (first.waiting.length === 0) drop(first);
      return { client: first.client, entry };
    },
    remove(client, entry) {
      const line = lines.get(client);
      const at = line?.waiting.indexOf(entry) ?? -1;
      if (line === undefined || at === -1) return false;
      line.waiting.splice(at, 1);
      size -= 1;
      if (line.waiting.length === 0) drop(line);
      return true;
    },
    has: (client) => lines.has(client),
    positionOf(client) {
      const own = lines.get(client);
      const ownTurn = (own?.turn ?? Math.max(turn, aheadOfTurn.get(client) ?? 0)) + (own?.waiting.length ?? 0);
      let position = 1 + (own?.waiting.length ?? 0);
      for (const line of lines.values()) {
        if (line === own) continue;
        // A newcomer is served before the others of its turn, a line that stands already after those that came later.
        const through = own === undefined || own.since > line.since ? ownTurn : ownTurn + 1;
        position += Math.min(line.waiting.length, Math.max(0, through - line.turn));
      }
      return position;
    },
    inOrder() {
      const all: { client: string; entry: T; turn: number; since: number }[] = [];
      for (const { client, waiting, turn: first, since } of lines.values()) {
        waiting.forEach((entry, index) => {
          all.push({ client, entry, turn: first + index, since });
        });
      }
      return all.sort((a, b) => a.turn - b.turn || b.since - a.since);
    },
  };
}
