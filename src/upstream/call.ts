// The shape of one call to the upstream, and of the functions that carry it: each layer (retry, rate limit, token,
// dispatch) is a `Send` round another. And the waits of a call, which end when its client disconnects.

import type { TokenPool } from '../auth/credentials/token-pool.ts';
import type { Token, TokenSource } from '../auth/credentials/token-source.ts';
import type { Clock } from '../clock.ts';
import type { UrlBase } from '../config/gateway-config.ts';
import type { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { ClientClosedRequest } from './errors.ts';
import type { TokenChoice } from './rate-limit/rate-window.ts';
import type { RequestBody } from './request-body.ts';

/** What a call knows of its client's connection. One listener is enough: the layer that waits at the moment. */
export interface CallerConnection {
  readonly disconnected: boolean;
  /** Called once, when the client disconnects; replaces the listener before it. */
  onDisconnect: (() => void) | null;
  /**
   * Ends the wait that the call is in, with the error to be told; null while it does not wait: it may be on its way to
   * the upstream then.
   */
  rejectWait: ((error: GatewayError) => void) | null;
  /** The calls that wait just now. A list of all calls would cost each of them. */
  readonly waits?: CallWaits;
  /** What it waits for, in words; set by `beginWait`, as are the times after it. */
  waitsFor?: string;
  /** When the wait began, and ends at the latest: monotonic ms of the layers' clock. */
  waitsSince?: number;
  waitsUntil?: number;
}

/** Where calls are noted that wait. */
export interface CallWaits {
  add(connection: CallerConnection): void;
  delete(connection: CallerConnection): void;
}

/** One wait of a call: what for, from when to when at the latest (monotonic ms). */
export interface Wait {
  readonly what: string;
  readonly since: number;
  readonly until: number;
}

/** Notes that a call waits, until `endWait`; `rejectWait` ends the wait with the error to be told. */
export function beginWait(
  connection: CallerConnection,
  { what, since, until }: Wait,
  rejectWait: (error: GatewayError) => void,
): void {
  connection.rejectWait = rejectWait;
  connection.waitsFor = what;
  connection.waitsSince = since;
  connection.waitsUntil = until;
  connection.waits?.add(connection);
}

/** Notes that a call waits no more. Safe to repeat. */
export function endWait(connection: CallerConnection): void {
  connection.rejectWait = null;
  connection.waits?.delete(connection);
}

/**
 * One call to the upstream. Owned by the exchange it serves. The layers may send it more than once; they change nothing
 * in it but its token, where that is from, and the value of Authorization, which is the last pair of `headers`, kept free for them.
 */
export interface UpstreamRequest {
  readonly method: string;
  readonly base: UrlBase;
  /** Path and query, octet for octet, as the caller sent them after any gateway prefix. */
  readonly target: string;
  /** Flat name, value list; ends with `Authorization` and a placeholder. */
  readonly headers: string[];
  readonly body: RequestBody;
  /** What its limits are counted by: the name of the credential whose token it carries, or a `sessionLimitKey`. */
  readonly limitKey: string;
  /** Of the token it carries: of the first, or only one, unless `pool` is set. */
  source: TokenSource;
  /** The tokens that it may be sent with; absent or null where it is bound to `source`. */
  readonly pool?: TokenPool | null;
  /** Which of them `source` is, and the limits that could give it another one. Set by the layer of limits. */
  place?: number;
  choice?: TokenChoice | null;
  /**
   * The token it carries. Set by the layer of tokens; the innermost one does not send a call with one that has ended.
   */
  token?: Token;
  readonly record: ExchangeRecord;
  readonly connection: CallerConnection;
  /**
   * When all waiting must have ended, in monotonic ms of the layers' clock. Set by the outermost layer; absent: no
   * bound.
   */
  waitUntil?: number;
  /**
   * Whether this attempt may be sent once more should its connection end before the response: one that might is taken for
   * it then. Set by the outermost layer; absent: no.
   */
  mayRepeat?: boolean;
}

/** Where a response's body goes. `write` returns false to ask for a pause; `UpstreamResponse.resume` ends it. */
export interface BodySink {
  write(chunk: Buffer): boolean;
  /** `last`: the rest of the body, where all of it is there already. */
  end(last?: Buffer): void;
  /** The body broke off: what was written so far must not look complete. */
  fail(error: Error): void;
}

/**
 * A response whose head has arrived. Its body waits until it is piped, peeked at or discarded; exactly one owner does
 * so.
 */
export interface UpstreamResponse {
  readonly statusCode: number;
  readonly statusText: string;
  /** Flat name, value list of latin1 buffers, in the order and casing of the wire. */
  readonly rawHeaders: readonly Buffer[];
  pipe(sink: BodySink): void;
  resume(): void;
  /**
   * Reads ahead up to `limitBytes` and resolves with a copy of what there is; the body can still be piped whole
   * afterwards. `complete` tells whether the body ended within the limit. Rejects when the body breaks off.
   */
  peek(limitBytes: number): Promise<{ bytes: Buffer; complete: boolean }>;
  /** Ends the attempt, and its connection, before the body did. */
  abort(error: Error): void;
  /** Gives the response up: a short rest is read so that the connection can be used again, a long one is cut. */
  discard(): void;
}

/** Sends a request and resolves when the final response's head is there. Throws GatewayError. */
export type Send = (request: UpstreamRequest) => Promise<UpstreamResponse>;

/** What a session's calls are counted by: the credential it came from, and the session. */
export function sessionLimitKey(credential: string, session: string): string {
  return `${credential}/${session}`;
}

/** The credential behind a limit's key. */
export function credentialOfLimit(key: string): string {
  const end = key.indexOf('/');
  return end < 0 ? key : key.slice(0, end);
}

/** A call that waits in a queue. `evict` ends its wait at once, for the sake of another; it counts no more then. */
export interface QueuedCall {
  evict(): void;
}

/**
 * The bound on all calls that wait for a limit or a connection (`rate_limit.queue_max`), and how many of each client
 * wait. It keeps no order.
 */
export class QueueCapacity {
  max: number;
  readonly #calls = new Map<string, Set<QueuedCall>>();
  #waiting = 0;

  constructor(max = 0) {
    this.max = max;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get isFull(): boolean {
    return this.#waiting >= this.max;
  }

  /**
   * Counts a call in. Where there is no room, the last call of the client with most of them is evicted, if that client
   * has more by over one than `client` has; else this one is refused: false.
   */
  acquire(client: string, call: QueuedCall): boolean {
    while (this.isFull) if (!this.#evictFor(client)) return false;
    const own = this.#calls.get(client);
    if (own === undefined) this.#calls.set(client, new Set([call]));
    else own.add(call);
    this.#waiting += 1;
    return true;
  }

  /** Counts a call out. Safe to repeat. */
  release(client: string, call: QueuedCall): void {
    const own = this.#calls.get(client);
    if (!own?.delete(call)) return;
    this.#waiting -= 1;
    if (own.size === 0) this.#calls.delete(client);
  }

  #evictFor(client: string): boolean {
    let longest: string | undefined;
    let most = (this.#calls.get(client)?.size ?? 0) + 1;
    for (const [name, { size }] of this.#calls) {
      if (size <= most) continue;
      most = size;
      longest = name;
    }
    if (longest === undefined) return false;
    let last: QueuedCall | undefined;
    for (const call of this.#calls.get(longest) ?? []) last = call;
    if (last === undefined) return false;
    this.release(longest, last);
    last.evict();
    return true;
  }
}

/** Resolves after `ms`, as the pause before another try; rejects at once with ClientClosedRequest when the client disconnects. */
export function pause(request: UpstreamRequest, clock: Clock, ms: number): Promise<void> {
  const { connection, record } = request;
  return new Promise((resolve, reject) => {
    if (connection.disconnected) return reject(new ClientClosedRequest());
    request.body.readAhead?.();
    const from = record.trace?.now() ?? 0;
    const over = () => {
      record.trace?.waited('pause', from);
      timer.cancel();
      connection.onDisconnect = null;
      endWait(connection);
    };
    const timer = clock.after(ms, () => {
      over();
      resolve();
    });
    const since = clock.monotonic();
    beginWait(connection, { what: 'another try', since, until: since + ms }, (error) => {
      over();
      reject(error);
    });
    connection.onDisconnect = () => {
      over();
      reject(new ClientClosedRequest());
    };
  });
}

/**
 * Settles as `work` does, which is waiting for `what`, or rejects with `late()` at the call's `waitUntil`, or at once when the client disconnects.
 * `work` itself goes on.
 */
export function waitFor<T>(
  request: UpstreamRequest,
  clock: Clock,
  work: Promise<T>,
  what: string,
  late: () => Error,
): Promise<T> {
  const { connection, waitUntil } = request;
  return new Promise((resolve, reject) => {
    let isOver = false;
    // Once only: `work` may settle when the call has long begun its next wait.
    const over = (settle: () => void) => {
      if (isOver) return;
      isOver = true;
      timer?.cancel();
      connection.onDisconnect = null;
      endWait(connection);
      settle();
    };
    const fail = (error: Error) => over(() => reject(error));
    const timer = waitUntil === undefined ? null : clock.after(waitUntil - clock.monotonic(), () => fail(late()));
    beginWait(connection, { what, since: clock.monotonic(), until: waitUntil ?? Number.POSITIVE_INFINITY }, fail);
    if (connection.disconnected) fail(new ClientClosedRequest());
    else connection.onDisconnect = () => fail(new ClientClosedRequest());
    work.then((value) => over(() => resolve(value)), fail);
  });
}

/** Milliseconds that this call may still spend on waiting; not negative. */
export function waitLeftMs(request: UpstreamRequest, clock: Clock): number {
  return request.waitUntil === undefined
    ? Number.POSITIVE_INFINITY
    : Math.max(0, request.waitUntil - clock.monotonic());
}
