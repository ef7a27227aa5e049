// The gate before the connections to one origin: which calls may have one, which wait for one and in what order. It
// opens none; undici's pool does. Calls wait here too while the breaker lets only a few dial.

import type { Clock } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { Breaker, type BreakerDeps, type BreakerState, type Dial } from './breaker.ts';
import { beginWait, endWait, type QueueCapacity, type QueuedCall, type UpstreamRequest } from './call.ts';
import { ClientClosedRequest } from './errors.ts';

/**
 * A client may hold at most eight times as many connections as are free, one credential of it at most four times as
 * many. So one alone can have 8 (4) of 9 (5), two that take all they can less than half each, and whoever holds none
 * always finds some. The more come, the less each may hold.
 */
const CLIENT_PART = 8;
const CREDENTIAL_PART = 4;

/** How many pairs of client and credential are remembered before those that hold nothing are forgotten. */
const REMEMBERED_QUEUES = 1_000;
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
  readonly capacity: QueueCapacity;
}

interface Waiter extends QueuedCall {
  go(permit: ConnectionPermit): void;
  reject(error: Error): void;
}

/** The connections that one client holds. */
interface Holder {
  held: number;
  /** When it was last given a connection, as a count of all that were given. */
  servedAt: number;
  /** By limit key. */
  readonly queues: Map<string, ClientQueue>;
}

/** The connections that one client holds with one credential, and its calls that wait for one. */
interface ClientQueue {
  readonly client: string;
  readonly limitKey: string;
  readonly holder: Holder;
  held: number;
  servedAt: number;
  readonly waiting: Waiter[];
}

/**
 * One origin's gate. A connection goes to the client that holds fewest, then to the credential with which it holds
 * fewest, then to whoever has waited longest. Calls that their callers hold up (an upload still under way, a response
 * that is not read) take none of the others': there may be as many again of them.
 */
export class Gate {
  readonly breaker: Breaker;
  readonly #origin: string;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #connections: number;
  readonly #capacity: QueueCapacity;
  /** The gates to the same origin, this one among them. */
  readonly #gates: Set<Gate>;
  readonly #holders = new Map<string, Holder>();
  #queueCount = 0;
  /** The number of queues at which those without calls are forgotten. */
  #tidyAt = REMEMBERED_QUEUES;
  /** The queues with calls that wait. */
  readonly #waitingQueues = new Set<ClientQueue>();
  #running = 0;
  /** Of those, the calls that their callers hold up. */
  #heldUp = 0;
  /** Permits given so far: the clock of `servedAt`. */
  #served = 0;
  /** Whether those that wait are about to be served. */
  #isServing = false;

  constructor(origin: string, deps: GateDeps) {
    this.breaker = new Breaker(origin, deps);
    this.#origin = origin;
    this.#name = `the connections to ${origin}`;
    this.#clock = deps.clock;
    this.#connections = deps.connections;
    this.#capacity = deps.capacity;
    this.#gates = deps.gates?.get(origin) ?? new Set();
    this.#gates.add(this);
    deps.gates?.set(origin, this.#gates);
  }

  /** To be called when no call comes here any more, and none is left. */
  close(): void {
    this.#gates.delete(this);
  }

  /** Calls under way. */
  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    let sum = 0;
    for (const queue of this.#waitingQueues) sum += queue.waiting.length;
    return sum;
  }

  /** Adds up the calls that wait here, by their limit keys. */
  countWaiting(into: Map<string, number>): void {
    for (const { limitKey, waiting } of this.#waitingQueues)
      into.set(limitKey, (into.get(limitKey) ?? 0) + waiting.length);
  }

  /** Pairs of client and credential that are remembered. */
  get remembered(): number {
    return this.#queueCount;
  }

  /**
   * A permit at once, or null when the call has to wait. Throws gateway.upstream.unavailable while the origin cannot be
   * reached.
   */
  tryAcquire(client: string, limitKey: string): ConnectionPermit | null {
    if (this.breaker.isShedding) throw this.breaker.shed();
    if (this.#waitingQueues.size > 0 || !this.breaker.mayBegin) return null;
    const queue = this.#queueOf(client, limitKey);
    return this.#mayServe(queue, this.#free()) ? this.#take(queue) : null;
  }

  /**
   * Waits for a permit until the call's `waitUntil`: then 503 gateway.upstream.unavailable, as it was the origin that
   * was too slow. Where too many wait already: 429 gateway.rate.limited at once, as too many calls were made. Rejects
   * too when the client disconnects.
   */
  async acquire(request: UpstreamRequest): Promise<ConnectionPermit> {
    const { record } = request;
    const startedAt = this.#clock.monotonic();
    record.heldBy = this.#name;
    request.body.readAhead?.();
    try {
      return await this.#wait(request, this.#queueOf(record.client ?? '', request.limitKey), startedAt);
    } finally {
      record.queueMs += this.#clock.monotonic() - startedAt;
    }
  }

  /** Refuses all that wait. */
  rejectAll(error: () => GatewayError): void {
    for (const queue of this.#waitingQueues) for (const waiter of queue.waiting.splice(0)) waiter.reject(error());
    this.#waitingQueues.clear();
  }

  /** Looks again at who may go. Called by a permit when something has changed that others wait for. */
  reconsider(): void {
    if (this.#waitingQueues.size === 0) return;
    if (this.breaker.isShedding) this.rejectAll(() => this.breaker.shed());
    else this.#serveSoon();
  }

  /** Notes that one more, or one less, call is held up by its caller. Called by a permit. */
  holdUp(by: 1 | -1): void {
    this.#heldUp += by;
    this.reconsider();
    this.#tellOthers();
  }

  /**
   * Takes a permit back. Called by the permit. undici marks a connection free in a `setImmediate` after it
   * reports the end of a call. A call that waits for it must not be served before that.
   */
  release(queue: ClientQueue): void {
    if (this.#waitingQueues.size === 0) this.#giveBack(queue);
    else
      queueMicrotask(() =>
        setImmediate(() => {
          this.#giveBack(queue);
          this.#serve();
        }),
      );
  }

  #giveBack(queue: ClientQueue): void {
    this.#running -= 1;
    queue.held -= 1;
    queue.holder.held -= 1;
    this.#tellOthers();
  }

  #tellOthers(): void {
    if (this.#gates.size > 1) for (const gate of this.#gates) if (gate !== this) gate.reconsider();
  }

  #wait(request: UpstreamRequest, queue: ClientQueue, now: number): Promise<ConnectionPermit> {
    const { connection, waitUntil } = request;
    return new Promise((resolve, reject) => {
      if (connection.disconnected) return reject(new ClientClosedRequest());
      const settle = () => {
        timer?.cancel();
        connection.onDisconnect = null;
        endWait(connection);
        this.#capacity.release(queue.client, waiter);
      };
      const waiter: Waiter = {
        go(permit) {
          settle();
          resolve(permit);
        },
        reject(error) {
          settle();
          reject(error);
        },
        evict: () => end(this.#full()),
      };
      const end = (error: GatewayError) => {
        this.#remove(queue, waiter);
        waiter.reject(error);
      };
      if (!this.#capacity.acquire(queue.client, waiter)) return reject(this.#full());
      const timer = waitUntil === undefined ? null : this.#clock.after(waitUntil - now, () => end(this.#late()));
      connection.onDisconnect = () => end(new ClientClosedRequest());
      beginWait(connection, { what: this.#name, since: now, until: waitUntil ?? Number.POSITIVE_INFINITY }, end);
      queue.waiting.push(waiter);
      this.#waitingQueues.add(queue);
      this.#serveSoon();
    });
  }

  #remove(queue: ClientQueue, waiter: Waiter): void {
    const at = queue.waiting.indexOf(waiter);
    if (at >= 0) queue.waiting.splice(at, 1);
    if (queue.waiting.length === 0) this.#waitingQueues.delete(queue);
  }

  #serveSoon(): void {
    if (this.#isServing) return;
    this.#isServing = true;
    setImmediate(this.#serve);
  }

  readonly #serve = (): void => {
    this.#isServing = false;
    while (this.breaker.mayBegin) {
      const queue = this.#next(this.#free());
      if (queue === null) return;
      const waiter = queue.waiting.shift() as Waiter;
      if (queue.waiting.length === 0) this.#waitingQueues.delete(queue);
      waiter.go(this.#take(queue));
    }
  };

  /** Whose turn it is. */
  #next(free: number): ClientQueue | null {
    let first: ClientQueue | null = null;
    for (const queue of this.#waitingQueues)
      if (this.#mayServe(queue, free) && (first === null || comesBefore(queue, first))) first = queue;
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

  #mayServe(queue: ClientQueue, free: number): boolean {
    return queue.holder.held < CLIENT_PART * free && queue.held < CREDENTIAL_PART * free;
  }

  #take(queue: ClientQueue): ConnectionPermit {
    this.#served += 1;
    this.#running += 1;
    queue.held += 1;
    queue.servedAt = this.#served;
    queue.holder.held += 1;
    queue.holder.servedAt = this.#served;
    const { round, state } = this.breaker;
    if (state !== 'closed') this.breaker.begin();
    return new ConnectionPermit(this, queue, round, state);
  }

  #queueOf(client: string, limitKey: string): ClientQueue {
    let holder = this.#holders.get(client);
    let queue = holder?.queues.get(limitKey);
    if (queue !== undefined) return queue;
    if (this.#queueCount >= this.#tidyAt) {
      this.#tidy();
      holder = this.#holders.get(client);
    }
    if (holder === undefined) {
      holder = { held: 0, servedAt: 0, queues: new Map() };
      this.#holders.set(client, holder);
    }
    queue = { client, limitKey, holder, held: 0, servedAt: 0, waiting: [] };
    holder.queues.set(limitKey, queue);
    this.#queueCount += 1;
    return queue;
  }

  #tidy(): void {
    this.#queueCount = 0;
    for (const [client, { queues }] of this.#holders) {
      for (const [limitKey, { held, waiting }] of queues)
        if (held === 0 && waiting.length === 0) queues.delete(limitKey);
      if (queues.size === 0) this.#holders.delete(client);
      this.#queueCount += queues.size;
    }
    this.#tidyAt = REMEMBERED_QUEUES + 2 * this.#queueCount;
  }

  #full(): GatewayError {
    const message =
      `${this.#capacity.max} calls wait already (rate_limit.queue_max): try again later, with fewer calls at a ` +
      'time';
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

function comesBefore(a: ClientQueue, b: ClientQueue): boolean {
  const [one, other] = a.holder === b.holder ? [a, b] : [a.holder, b.holder];
  return one.held < other.held || (one.held === other.held && one.servedAt < other.servedAt);
}

/** One call's permit at a gate, from its dispatch until undici has let go of it. Every step is safe to repeat. */
export class ConnectionPermit implements Dial {
  readonly round: number;
  readonly began: BreakerState;
  readonly #gate: Gate;
  readonly #queue: ClientQueue;
  #isDialling = true;
  #isHeldUp = false;
  #isReleased = false;

  constructor(gate: Gate, queue: ClientQueue, round: number, began: BreakerState) {
    this.#gate = gate;
    this.#queue = queue;
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
    if (isHeldUp === this.#isHeldUp || this.#isReleased) return;
    this.#isHeldUp = isHeldUp;
    this.#gate.holdUp(isHeldUp ? 1 : -1);
  }

  /** Gives it back. */
  release(): void {
    if (this.#isReleased) return;
    if (this.#isDialling) this.#gate.breaker.dropped(this);
    this.#isDialling = false;
    this.isHeldUp = false;
    this.#isReleased = true;
    this.#gate.release(this.#queue);
  }
}
