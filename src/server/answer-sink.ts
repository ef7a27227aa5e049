// Writes an upstream answer's body to the caller, as fast as the caller takes it, and tells when either side is done.

import type { ServerResponse } from 'node:http';
import { GatewayError } from '../errors.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { BodySink, UpstreamResponse } from '../upstream/call.ts';

/** Why an answer is given up whose caller is gone or was answered otherwise. */
export const NOT_WANTED = new GatewayError('gateway.internal', 'the answer is not wanted any more');

/** `done` resolves when the caller's side has taken the whole answer, and rejects when either side breaks off. */
export class AnswerSink implements BodySink {
  readonly done: Promise<void>;
  readonly #response: ServerResponse;
  readonly #record: ExchangeRecord;
  readonly #answer: UpstreamResponse;
  /** Also while what was read ahead is written, chunk after chunk. */
  #isFull = false;
  #resolve!: () => void;
  #reject!: (error: Error) => void;

  constructor(response: ServerResponse, record: ExchangeRecord, answer: UpstreamResponse) {
    this.#response = response;
    this.#record = record;
    this.#answer = answer;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** The caller left: nothing more can be written. Bound, to be handed around. */
  readonly abandon = (): void => this.#reject(NOT_WANTED);

  write(chunk: Buffer): boolean {
    this.#record.responseBytes += chunk.length;
    this.#record.responseBody?.write(chunk);
    if (this.#response.write(chunk)) return true;
    if (!this.#isFull) {
      this.#isFull = true;
      this.#response.once('drain', this.#goOn);
    }
    return false;
  }

  readonly #goOn = (): void => {
    this.#isFull = false;
    this.#answer.resume();
  };

  end(): void {
    this.#response.end(this.#resolve);
  }

  fail(error: Error): void {
    this.#reject(error);
  }
}
