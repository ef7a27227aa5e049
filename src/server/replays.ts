// Makes calls again, inside the process: each over a connection of two streams in memory, into the same accept that
// serves the listeners. Nobody else can use such a connection: it has no address, and who makes the call is known by
// the connection, not by anything that is sent over it. Who may ask, and for which calls, is decided elsewhere.

import { createServer, request as httpRequest } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import type { Caller } from '../auth/callers/caller.ts';
import type { Timer } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { accept } from './accept.ts';
import type { ReplayOrder, ReplaySender, ServerContext } from './context.ts';
import type { OpenedExchange, Replay } from './exchange.ts';
import type { Route } from './request-target.ts';
import { notFound } from './responses.ts';

/** So many may begin within a minute, for one who asks. */
const MOST_A_MINUTE = 10;
const MINUTE_MS = 60_000;
/** One that takes longer is cut: nobody waits for what it answers. */
const LONGEST_MS = 300_000;
const LARGEST_HEAD_BYTES = 128 * 1024;

/** The replays that one viewer asks for: others must neither be held up by them nor learn of them. */
interface Lane {
  /** When those of the last minute began, by the monotonic clock. */
  begun: number[];
  /** The caller's end of the one that runs; null where none does. */
  running: Duplex | null;
}

/** The replays of one gateway. Whoever makes it closes it. */
export class Replays implements ReplaySender {
  readonly #gateway: ServerContext;
  /** By who asks; those with nothing in them are dropped. */
  readonly #lanes = new Map<string, Lane>();
  #onIdle: () => void = () => {};

  constructor(gateway: ServerContext) {
    this.#gateway = gateway;
  }

  start(order: ReplayOrder): Promise<string> {
    const lane = this.#freeLane(order.replayedBy);
    const { clock } = this.#gateway;
    const [near, far] = duplexPair();
    lane.running = near;
    lane.begun.push(clock.monotonic());
    const deadline = clock.after(LONGEST_MS, () => near.destroy());
    near.once('close', () => this.#over(lane, far, deadline));
    far.once('close', () => near.destroy());
    // A stream that is cut may fail in its own way; the record of the call says what came of it.
    near.on('error', () => {});
    far.on('error', () => {});
    return new Promise((resolve, reject) => {
      near.once('close', () => reject(new GatewayError('gateway.internal', 'the call could not be made again')));
      this.#serve(far, order, resolve);
      try {
        send(near, order);
      } catch {
        // A name, value or path that cannot be written: no request that came in has one.
        near.destroy();
      }
    });
  }

  /** Ends those that run, at once. */
  cut(): void {
    for (const { running } of this.#lanes.values()) running?.destroy();
  }

  /** Resolves when none runs any more. */
  async close(): Promise<void> {
    if (this.#isIdle) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  get #isIdle(): boolean {
    return [...this.#lanes.values()].every(({ running }) => running === null);
  }

  /** The lane of a viewer who may begin another one. Throws gateway.inspector.busy for any other. */
  #freeLane(viewer: string): Lane {
    const now = this.#gateway.clock.monotonic();
    for (const [name, lane] of this.#lanes) {
      lane.begun = lane.begun.filter((at) => now - at < MINUTE_MS);
      if (lane.begun.length === 0 && lane.running === null) this.#lanes.delete(name);
    }
    const lane = this.#lanes.get(viewer) ?? { begun: [], running: null };
    if (lane.running !== null) throw busy('another call is being made again just now: one at a time', 1_000);
    const [first = now] = lane.begun;
    if (lane.begun.length >= MOST_A_MINUTE)
      throw busy(
        `${MOST_A_MINUTE} calls were made again within a minute, and that is the most`,
        first + MINUTE_MS - now,
      );
    this.#lanes.set(viewer, lane);
    return lane;
  }

  /** The gateway's end: HTTP as on any listener. */
  #serve(far: Duplex, order: ReplayOrder, onAccepted: (requestId: string) => void): void {
    const replay = new ReplayedCall(order, onAccepted);
    // What tells the peer of a connection: of this one it is the caller's whose call it was.
    if (order.peer !== null && !order.peer.startsWith('unix')) Object.assign(far, { remoteAddress: order.peer });
    const options = { maxHeaderSize: LARGEST_HEAD_BYTES, requireHostHeader: false, requestTimeout: 0 };
    const server = createServer(options, (request, response) =>
      accept(this.#gateway, order.role, request, response, replay),
    );
    server.on('clientError', () => far.destroy());
    server.emit('connection', far);
  }

  #over(lane: Lane, far: Duplex, deadline: Timer): void {
    deadline.cancel();
    far.destroy();
    lane.running = null;
    if (this.#isIdle) this.#onIdle();
  }
}

/** Writes the request, and lets go of what is answered. */
function send(near: Duplex, { method, target, headers, body }: ReplayOrder): void {
  // With a way to connect of its own it uses no agent.
  const framing = body === null ? [] : ['Content-Length', String(Buffer.byteLength(body))];
  const request = httpRequest({
    createConnection: () => near,
    method,
    path: target,
    headers: ['Host', 'localhost', ...headers, ...framing],
    maxHeaderSize: LARGEST_HEAD_BYTES,
  });
  request.on('response', (response) => response.on('error', () => {}).resume());
  request.on('error', () => near.destroy());
  request.on('close', () => near.destroy());
  // As octets: Node writes the head together with a text, and in the text's encoding.
  request.end(body === null ? undefined : Buffer.from(body));
}

class ReplayedCall implements Replay {
  readonly #order: ReplayOrder;
  readonly #onAccepted: (requestId: string) => void;

  constructor(order: ReplayOrder, onAccepted: (requestId: string) => void) {
    this.#order = order;
    this.#onAccepted = onAccepted;
  }

  begun(record: ExchangeRecord): void {
    const { replayOf, replayedBy, caller } = this.#order;
    record.replayOf = replayOf;
    record.replayedBy = replayedBy;
    // Also where it is refused: it was proved then, and whoever may see the client's calls sees what came of this one.
    record.client = caller.client?.name ?? null;
    this.#onAccepted(record.requestId);
  }

  admit({ runtime, request, role }: OpenedExchange, route: Route): Caller {
    if (route.kind !== 'forward') throw notFound(false);
    const { authenticator } = runtime;
    return authenticator.assertRenewed(this.#order.caller, role, authenticator.peerOf(request, role));
  }
}

function busy(message: string, retryAfterMs: number): GatewayError {
  return new GatewayError('gateway.inspector.busy', message, { retryAfterMs });
}
