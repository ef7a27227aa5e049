// The gate before the connections to one origin: who may have one, who waits for one and in what order. It opens none;
// undici's pool does. The same calls wait here while the origin is only just being reached again, as the breaker says.

import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { Breaker, type BreakerDeps, type BreakerState, type Dial } from './breaker.ts';
import { beginWait, endWait, type Seat, type UpstreamRequest, type WaitingRoom } from './call.ts';
import { ClientClosedRequest } from './errors.ts';

/**
 * A client may hold at most eight times as many connections as are free, one credential of it at most four times as
 * many. So one alone can have 8 (4) of 9 (5), two that take all they can less than half each, and whoever holds none
 * always finds some. The more come, the less each may hold.
 */
const CLIENT_PART = 8;
const CREDENTIAL_PART = 4;

/** Beyond so many clients and credentials that were seen, those that hold nothing are forgotten. */
const REMEMBERED_LINES = 1_000;
const TRY_AGAIN_MS = 1_000;

/**
 * The gates to each origin, by their origins: those of the configuration in use, and of earlier ones whose calls have
 * not ended yet.
 */
export type GatesByOrigin = Map<string, Set<Gate>>;

/**
 * What a gate is made with. `connections` is how many calls may be under way at a time, together with those at the
 * gates of `gates`.
 */
export interface GateDeps extends BreakerDeps {
  readonly connections: number;
  readonly gates?: GatesByOrigin;
  readonly room: WaitingRoom;
}

interface Waiter extends Seat {
  go(place: Place): void;
  turnAway(error: Error): void;
}

/** What one client holds. */
interface Holder {
  held: number;
  /** When it was last given a connection, as a count of all that were given. */
  servedAt: number;
  readonly lines: Map<string, Line>;
}

/** What one client holds with one credential, and its calls that wait. */
interface Line {
  readonly client: string;
  readonly credential: string;
  readonly holder: Holder;
  held: number;
  servedAt: number;
  readonly waiting: Waiter[];
}

/**
 * One origin's gate. A connection goes to the client that holds fewest, then to the credential with which it holds
 * fewest, then to whoever has waited longest. Calls that their callers hold up (an upload still under way, an answer
 * that is not read) take none of the others': there may be as many again of them.
 */
export class Gate {
  readonly breaker: Breaker;
  readonly #origin: string;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #connections: number;
  readonly #room: WaitingRoom;
  /** Those to the same origin, this one among them. */
  readonly #gates: Set<Gate>;
  readonly #holders = new Map<string, Holder>();
  #lineCount = 0;
  #tidyAt = REMEMBERED_LINES;
  /** Those with calls that wait. */
  readonly #waitingLines = new Set<Line>();
  #running = 0;
  #heldUp = 0;
  #served = 0;
  #isServing = false;

  constructor(origin: string, deps: GateDeps) {
    this.breaker = new Breaker(origin, deps);
    this.#origin = origin;
    this.#name = `the connections to ${origin}`;
    this.#clock = deps.clock;
    this.#connections = deps.connections;
    this.#room = deps.room;
    this.#gates = deps.gates?.get(origin) ?? new Set();
    this.#gates.add(this);
    deps.gates?.set(origin, this.#gates);
  }

  /** Nobody comes here any more, and nobody is left. */
  close(): void {
    this.#gates.delete(this);
  }

  /** Calls under way. */
  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    let sum = 0;
    for (const line of this.#waitingLines) sum += line.waiting.length;
    return sum;
  }

  /** Adds up the calls that wait here, by what their limits are counted by (`UpstreamRequest.credential`). */
  countWaiting(into: Map<string, number>): void {
    for (const { credential, waiting } of this.#waitingLines)
      into.set(credential, (into.get(credential) ?? 0) + waiting.length);
  }

  /** Clients and credentials of which something is kept. */
  get remembered(): number {
    return this.#lineCount;
  }

  /**
   * A place at once, or null when the call has to wait. Throws gateway.upstream.unavailable while the origin cannot be
   * reached.
   */
  tryEnter(client: string, credential: string): Place | null {
    if (this.breaker.isShedding) throw this.breaker.shed();
    if (this.#waitingLines.size > 0 || !this.breaker.mayBegin) return null;
    const line = this.#lineOf(client, credential);
    return this.#mayServe(line, this.#free()) ? this.#take(line) : null;
  }

  /**
   * Waits for a place until the call's `waitUntil`: then 503 gateway.upstream.unavailable, as it was the origin that
   * was too slow. Where too many wait already: 429 gateway.rate.limited at once, as too many calls were made. Rejects
   * too when the caller leaves.
   */
  async enter(request: UpstreamRequest): Promise<Place> {
    const { record } = request;
    const startedAt = this.#clock.monotonic();
    record.heldBy = this.#name;
    request.body.readAhead?.();
    try {
      return await this.#wait(request, this.#lineOf(record.client ?? '', request.credential), startedAt);
    } finally {
      record.queueMs += this.#clock.monotonic() - startedAt;
    }
  }

  /** Refuses all that wait. */
  turnAllAway(error: () => GatewayError): void {
    for (const line of this.#waitingLines) for (const waiter of line.waiting.splice(0)) waiter.turnAway(error());
    this.#waitingLines.clear();
  }

  /** Told by a place: something of what a place needs has changed. */
  reconsider(): void {
    if (this.#waitingLines.size === 0) return;
    if (this.breaker.isShedding) this.turnAllAway(() => this.breaker.shed());
    else this.#serveSoon();
  }

  /** Told by a place. */
  holdUp(by: 1 | -1): void {
    this.#heldUp += by;
    this.reconsider();
    this.#tellOthers();
  }

  /**
   * Told by a place. undici takes a connection for free again in an immediate of its own, which it sets after it has
   * told of a call's end: who waits for that connection must not come before.
   */
  release(line: Line): void {
    if (this.#waitingLines.size === 0) this.#giveBack(line);
    else
      queueMicrotask(() =>
        setImmediate(() => {
          this.#giveBack(line);
          this.#serve();
        }),
      );
  }

  #giveBack(line: Line): void {
    this.#running -= 1;
    line.held -= 1;
    line.holder.held -= 1;
    this.#tellOthers();
  }

  #tellOthers(): void {
    if (this.#gates.size > 1) for (const gate of this.#gates) if (gate !== this) gate.reconsider();
  }

  #wait(request: UpstreamRequest, line: Line, now: number): Promise<Place> {
    const { connection, waitUntil } = request;
    return new Promise((resolve, reject) => {
      if (connection.disconnected) return reject(new ClientClosedRequest());
      const settle = () => {
        timer?.cancel();
        connection.onDisconnect = null;
        endWait(connection);
        this.#room.leave(line.client, waiter);
      };
      const waiter: Waiter = {
        go(place) {
          settle();
          resolve(place);
        },
        turnAway(error) {
          settle();
          reject(error);
        },
        giveWay: () => end(this.#full()),
      };
      const end = (error: GatewayError) => {
        this.#remove(line, waiter);
        waiter.turnAway(error);
      };
      if (!this.#room.enter(line.client, waiter)) return reject(this.#full());
      const timer = waitUntil === undefined ? null : this.#clock.after(waitUntil - now, () => end(this.#late()));
      connection.onDisconnect = () => end(new ClientClosedRequest());
      beginWait(connection, end);
      line.waiting.push(waiter);
      this.#waitingLines.add(line);
      this.#serveSoon();
    });
  }

  #remove(line: Line, waiter: Waiter): void {
    const at = line.waiting.indexOf(waiter);
    if (at >= 0) line.waiting.splice(at, 1);
    if (line.waiting.length === 0) this.#waitingLines.delete(line);
  }

  #serveSoon(): void {
    if (this.#isServing) return;
    this.#isServing = true;
    setImmediate(this.#serve);
  }

  readonly #serve = (): void => {
    this.#isServing = false;
    while (this.breaker.mayBegin) {
      const line = this.#next(this.#free());
      if (line === null) return;
      const waiter = line.waiting.shift() as Waiter;
      if (line.waiting.length === 0) this.#waitingLines.delete(line);
      waiter.go(this.#take(line));
    }
  };

  /** Whose turn it is. */
  #next(free: number): Line | null {
    let first: Line | null = null;
    for (const line of this.#waitingLines)
      if (this.#mayServe(line, free) && (first === null || comesBefore(line, first))) first = line;
    return first;
  }

  #free(): number {
    let running = this.#running;
    let heldUp = this.#heldUp;
    if (this.#gates.size > 1) {
      running = 0;
      heldUp = 0;
      for (const gate of this.#gates) {
        running += gate.#running;
        heldUp += gate.#heldUp;
      }
    }
    return this.#connections + Math.min(heldUp, this.#connections) - running;
  }

  #mayServe(line: Line, free: number): boolean {
    return line.holder.held < CLIENT_PART * free && line.held < CREDENTIAL_PART * free;
  }

  #take(line: Line): Place {
    this.#served += 1;
    this.#running += 1;
    line.held += 1;
    line.servedAt = this.#served;
    line.holder.held += 1;
    line.holder.servedAt = this.#served;
    const { round, state } = this.breaker;
    if (state !== 'closed') this.breaker.begin();
    return new Place(this, line, round, state);
  }

  #lineOf(client: string, credential: string): Line {
    let holder = this.#holders.get(client);
    let line = holder?.lines.get(credential);
    if (line !== undefined) return line;
    if (this.#lineCount >= this.#tidyAt) {
      this.#tidy();
      holder = this.#holders.get(client);
    }
    if (holder === undefined) {
      holder = { held: 0, servedAt: 0, lines: new Map() };
      this.#holders.set(client, holder);
    }
    line = { client, credential, holder, held: 0, servedAt: 0, waiting: [] };
    holder.lines.set(credential, line);
    this.#lineCount += 1;
    return line;
  }

  #tidy(): void {
    this.#lineCount = 0;
    for (const [client, { lines }] of this.#holders) {
      for (const [credential, { held, waiting }] of lines)
        if (held === 0 && waiting.length === 0) lines.delete(credential);
      if (lines.size === 0) this.#holders.delete(client);
      this.#lineCount += lines.size;
    }
    this.#tidyAt = REMEMBERED_LINES + 2 * this.#lineCount;
  }

  #full(): GatewayError {
    const message = `${this.#room.max} calls wait already (rate_limit.queue_max): try again later, with fewer calls at a time`;
    return new GatewayError('gateway.rate.limited', message, { retryAfterMs: TRY_AGAIN_MS });
  }

  #late(): GatewayError {
    if (this.breaker.state !== 'closed') return this.breaker.shed();
    const message =
      `all connections to ${this.#origin} that this client may have (rate_limit.connections) were in use until ` +
      'timeouts.total_wait ended: try again later';
    return new GatewayError('gateway.upstream.unavailable', message, { retryAfterMs: TRY_AGAIN_MS });
  }
}

function comesBefore(a: Line, b: Line): boolean {
  if (a.holder !== b.holder)
    return (
      a.holder.held - b.holder.held < 0 || (a.holder.held === b.holder.held && a.holder.servedAt < b.holder.servedAt)
    );
  return a.held < b.held || (a.held === b.held && a.servedAt < b.servedAt);
}

/** One call's place at a gate, from its dispatch until undici has let go of it. Every step is safe to repeat. */
export class Place implements Dial {
  readonly round: number;
  readonly began: BreakerState;
  readonly #gate: Gate;
  readonly #line: Line;
  #isDialling = true;
  #isHeldUp = false;
  #isLeft = false;

  constructor(gate: Gate, line: Line, round: number, began: BreakerState) {
    this.#gate = gate;
    this.#line = line;
    this.round = round;
    this.began = began;
  }

  /** Its connection is in hand. */
  connected(): void {
    if (!this.#isDialling) return;
    this.#isDialling = false;
    this.#gate.breaker.connected(this);
    this.#gate.reconsider();
  }

  /** There is no connection to be had. */
  failed(error: GatewayError): void {
    if (!this.#isDialling) return;
    this.#isDialling = false;
    this.#gate.breaker.failed(this, error);
    this.#gate.reconsider();
  }

  /** Whether it is the caller that keeps it from going on. */
  set isHeldUp(isHeldUp: boolean) {
    if (isHeldUp === this.#isHeldUp || this.#isLeft) return;
    this.#isHeldUp = isHeldUp;
    this.#gate.holdUp(isHeldUp ? 1 : -1);
  }

  leave(): void {
    if (this.#isLeft) return;
    if (this.#isDialling) this.#gate.breaker.dropped(this);
    this.#isDialling = false;
    this.isHeldUp = false;
    this.#isLeft = true;
    this.#gate.release(this.#line);
  }
}
