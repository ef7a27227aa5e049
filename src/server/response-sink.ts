// The body of a response on its way to the caller: pieces that arrive together are written together, and the upstream is
// asked to pause while the caller reads too slowly.

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { GatewayError } from '../errors.ts';
import type { CallTrace } from '../logging/call-trace.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { BodySink, UpstreamResponse } from '../upstream/call.ts';

/** Why a response of the upstream is given up: its caller is gone, or got another one. */
export const NOT_WANTED = new GatewayError('gateway.internal', 'the response is not wanted any more');

/** Octets up to here are cheaper to copy than to write in a piece of their own. */
const JOINED_BYTES = 8 * 1024;

/**
 * Pieces of a large body are written when there is so much of them, at the latest when all is read that has arrived. A
 * piece is a TLS record of 16 KiB, and a write costs more than what it writes.
 */
const GATHERED_BYTES = 64 * 1024;

/** Streams a body to the caller. `done` resolves when all of it was taken, and rejects when either side breaks off. */
export class ResponseSink implements BodySink {
  readonly done: Promise<void>;
  readonly #response: ServerResponse;
  readonly #record: ExchangeRecord;
  readonly #upstreamResponse: UpstreamResponse;
  /** Also while what was read ahead is written, chunk after chunk. */
  #isFull = false;
  /** What the socket holds back to write it together. */
  #gatheredBytes = 0;
  /**
   * The socket that holds it back. Not the response: before Node 26 one that is corked takes what it is given, however
   * much waits beneath it, and the upstream would not be asked to pause.
   */
  #corked: Socket | null = null;
  #isWriteDue = false;
  #resolve!: () => void;
  #reject!: (error: Error) => void;

  constructor(response: ServerResponse, record: ExchangeRecord, upstreamResponse: UpstreamResponse) {
    this.#response = response;
    this.#record = record;
    this.#upstreamResponse = upstreamResponse;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** The caller left: nothing more can be written. Bound, to be handed around. */
  readonly abandon = (): void => this.#reject(NOT_WANTED);

  write(chunk: Buffer): boolean {
    this.#note(chunk);
    // A small piece may be all there is for a while: an event of a stream.
    if (chunk.length > JOINED_BYTES) this.#gather(chunk.length);
    const wantsMore = this.#response.write(chunk);
    if (this.#gatheredBytes >= GATHERED_BYTES) this.#writeGathered();
    if (wantsMore) return true;
    if (!this.#isFull) {
      this.#isFull = true;
      this.#response.once('drain', this.#onDrain);
    }
    return false;
  }

  #gather(bytes: number): void {
    if (this.#gatheredBytes === 0) {
      // None before it is this response's turn on a connection.
      this.#corked = this.#response.socket;
      this.#corked?.cork();
    }
    this.#gatheredBytes += bytes;
    if (this.#isWriteDue) return;
    this.#isWriteDue = true;
    setImmediate(ResponseSink.#onAllRead, this);
  }

  /** Not bound: most responses are small, and never come here. */
  static #onAllRead(sink: ResponseSink): void {
    sink.#isWriteDue = false;
    sink.#writeGathered();
  }

  #writeGathered(): void {
    if (this.#gatheredBytes === 0) return;
    this.#gatheredBytes = 0;
    this.#corked?.uncork();
    this.#corked = null;
  }

  readonly #onDrain = (): void => {
    this.#isFull = false;
    this.#upstreamResponse.resume();
  };

  end(last?: Buffer): void {
    const { trace } = this.#record;
    const ended = trace === null ? this.#resolve : this.#tracedEnd(trace);
    // What was held back goes with the end, which takes all corks off.
    this.#gatheredBytes = 0;
    this.#corked = null;
    if (last === undefined) {
      this.#response.end(ended);
      return;
    }
    this.#note(last);
    // Node joins a head and a body that is a string, octet for octet in latin1, into one piece.
    if (last.length <= JOINED_BYTES) this.#response.end(last.toString('latin1'), 'latin1', ended);
    else this.#response.end(last, ended);
  }

  /** What its caller has not taken yet when all is written is waited for, too. */
  #tracedEnd(trace: CallTrace): () => void {
    const from = trace.now();
    return () => {
      trace.stalledMs += trace.now() - from;
      this.#resolve();
    };
  }

  #note(chunk: Buffer): void {
    this.#record.responseBytes += chunk.length;
    this.#record.responseBody?.write(chunk);
    this.#record.failureBody?.write(chunk);
    this.#record.captured?.responseBody?.write(chunk);
  }

  fail(error: Error): void {
    this.#reject(error);
  }
}
