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

/** So many may begin within a minute. */
const MOST_A_MINUTE = 10;
const MINUTE_MS = 60_000;
/** One that takes longer is cut: nobody waits for what it answers. */
const LONGEST_MS = 300_000;
const LARGEST_HEAD_BYTES = 128 * 1024;

/** The replays of one gateway. Whoever makes it closes it. */
export class Replays implements ReplaySender {
  readonly #gateway: ServerContext;
  /** When those of the last minute began, by the monotonic clock. */
  #begun: number[] = [];
  /** The caller's end of the one that runs; null where none does. */
  #running: Duplex | null = null;
  #onIdle: () => void = () => {};

  constructor(gateway: ServerContext) {
    this.#gateway = gateway;
  }

  start(order: ReplayOrder): Promise<string> {
    this.#assertFree();
    const { clock } = this.#gateway;
    const [near, far] = duplexPair();
    this.#running = near;
    this.#begun.push(clock.monotonic());
    const deadline = clock.after(LONGEST_MS, () => near.destroy());
    near.once('close', () => this.#over(far, deadline));
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

  /** Ends the one that runs, at once. */
  cut(): void {
    this.#running?.destroy();
  }

  /** Resolves when none runs any more; at the deadline `onCut` is called, and what still runs is cut. */
  async close(deadlineMs: number, onCut: () => void): Promise<void> {
    if (this.#running === null) return;
    const deadline = setTimeout(() => {
      onCut();
      this.cut();
    }, deadlineMs);
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    clearTimeout(deadline);
  }

  #assertFree(): void {
    const now = this.#gateway.clock.monotonic();
    this.#begun = this.#begun.filter((at) => now - at < MINUTE_MS);
    if (this.#running !== null) throw busy('another call is being made again just now: one at a time', 1_000);
    const [first = now] = this.#begun;
    if (this.#begun.length >= MOST_A_MINUTE)
      throw busy(
        `${MOST_A_MINUTE} calls were made again within a minute, and that is the most`,
        first + MINUTE_MS - now,
      );
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

  #over(far: Duplex, deadline: Timer): void {
    deadline.cancel();
    far.destroy();
    this.#running = null;
    this.#onIdle();
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
  request.end(body ?? undefined);
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
