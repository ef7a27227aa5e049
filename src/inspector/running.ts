// The calls that run now, as watchers are told of them. They are noted only while somebody watches; those that wait are
// known anyway.

import type { ExchangeRecord } from '../logging/exchange-record.ts';
import { shownTarget } from '../logging/format.ts';
import type { LiveSecrets } from '../logging/redact/live-secrets.ts';
import { maySee } from './search.ts';
import type { FeedEvents, Rights, RunningCall } from './wire.ts';

/** A call between its beginning and its end. */
export interface RunningExchange {
  readonly record: Pick<ExchangeRecord, 'requestId' | 'client' | 'credential' | 'method' | 'target' | 'startedAt'>;
  /** What it waits for, or waited for last. */
  readonly waitsFor?: string;
  /** Null while it waits for nothing. */
  readonly rejectWait: unknown;
}

/** So many are told of, those that began first. */
const MOST_TOLD = 100;

/** The calls that began while somebody watched, and did not end yet. */
export class RunningCalls {
  readonly #mask: LiveSecrets['mask'];
  readonly #exchanges = new Map<RunningExchange['record'], RunningExchange>();

  constructor(mask: LiveSecrets['mask']) {
    this.#mask = mask;
  }

  get size(): number {
    return this.#exchanges.size;
  }

  add(exchange: RunningExchange): void {
    this.#exchanges.set(exchange.record, exchange);
  }

  delete(record: RunningExchange['record']): void {
    this.#exchanges.delete(record);
  }

  clear(): void {
    this.#exchanges.clear();
  }

  /** Those that may be seen, the oldest first; `waiting` are the ones that wait, noted here or not. */
  list(rights: Pick<Rights, 'sees' | 'client'>, waiting: Iterable<RunningExchange>): FeedEvents['running'] {
    const all = new Map(this.#exchanges);
    for (const exchange of waiting) all.set(exchange.record, exchange);
    const seen = [...all.values()]
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
