// The calls that run now, as watchers are told of them. They are noted only while somebody watches; those that wait are
// known anyway.

import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { shownTarget } from '../logging/format.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import { maySee } from './search.ts';
import type { FeedEvents, Rights, RunningCall } from './wire.ts';

/** A call between its beginning and its end. */
export interface RunningExchange {
  readonly record: Pick<
    ExchangeRecord,
    'requestId' | 'client' | 'credential' | 'method' | 'target' | 'startedAt' | 'runningAt'
  >;
  /** What it waits for, or waited for last. */
  readonly waitsFor?: string;
  /** Null while it waits for nothing. */
  readonly rejectWait: unknown;
}

/** So many are told of, those that began first. */
const MOST_TOLD = 100;

/**
 * The calls that began while somebody watched, and did not end yet, in a list where each record knows its place. A Map
 * that many calls pass through costs the garbage collector dearly: each table that it outgrows keeps its calls, and the
 * tables after it, until a full collection.
 */
export class RunningCalls {
  readonly #mask: LiveSecrets['mask'];
  readonly #exchanges: RunningExchange[] = [];

  constructor(mask: LiveSecrets['mask']) {
    this.#mask = mask;
  }

  get size(): number {
    return this.#exchanges.length;
  }

  add(exchange: RunningExchange): void {
    if (exchange.record.runningAt >= 0) return;
    exchange.record.runningAt = this.#exchanges.push(exchange) - 1;
  }

  /** Takes a call out, where it is noted; the last of the list takes its place. */
  delete(record: RunningExchange['record']): void {
    const at = record.runningAt;
    if (at < 0) return;
    record.runningAt = -1;
    const last = this.#exchanges.pop() as RunningExchange;
    if (last.record === record) return;
    this.#exchanges[at] = last;
    last.record.runningAt = at;
  }

  clear(): void {
    for (const { record } of this.#exchanges) record.runningAt = -1;
    this.#exchanges.length = 0;
  }

  /** Those that may be seen, the oldest first; `waiting` are the ones that wait, noted here or not. */
  list(rights: Pick<Rights, 'sees' | 'client'>, waiting: Iterable<RunningExchange>): FeedEvents['running'] {
    const all = this.#exchanges.slice();
    for (const exchange of waiting) if (exchange.record.runningAt < 0) all.push(exchange);
    const seen = all
      .filter(({ record: { client } }) => maySee(client, rights))
      .sort((a, b) => a.record.startedAt - b.record.startedAt);
    return { calls: seen.slice(0, MOST_TOLD).map((exchange) => this.#told(exchange)), count: seen.length };
  }

  #told({ record, waitsFor = '', rejectWait }: RunningExchange): RunningCall {
    const { requestId, client, credential, method, startedAt } = record;
    return {
      requestId,
      ...(client !== null && { client }),
      ...(credential !== null && { credential }),
      method,
      path: shownTarget(record, this.#mask),
      startedAt: new Date(performance.timeOrigin + startedAt).toISOString(),
      waitsFor: rejectWait === null || waitsFor === '' ? null : waitsFor,
    };
  }
}
