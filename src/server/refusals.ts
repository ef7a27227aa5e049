// The calls that the platform refused of late for want of a permission or of a person, with the words that explain them.

import type { TokenSource } from '../auth/credentials/token-source.ts';
import type { Clock } from '../clock.ts';
import type { ExchangeRecord } from '../logging/exchange-record.ts';
import type { Refusal } from '../operations/explain.ts';
import { GrantedPermissions } from '../upstream/granted.ts';

/** A refusal as the status tells it. Times are ISO 8601 in UTC. */
export interface RefusalStatus {
  readonly client: string | null;
  readonly credential: string;
  readonly operation: string;
  readonly status: number;
  readonly count: number;
  readonly lastAt: string;
  readonly explanation: string;
}

interface Entry {
  readonly client: string | null;
  readonly credential: string;
  readonly operation: string;
  readonly status: number;
  count: number;
  lastAt: number;
  /** Of the last one, as are the words. What is granted to it may be known only later. */
  source: TokenSource;
  words: (policies: Refusal['policies']) => string;
}

/** So many different ones are kept, the last. */
const MOST = 20;

/** The refusals that a gateway saw last. */
export class Refusals {
  readonly granted: GrantedPermissions;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.granted = new GrantedPermissions(clock);
  }

  /** Notes a refusal; gives the words for it. */
  note(record: ExchangeRecord, status: number, source: TokenSource, words: Entry['words']): string {
    const { client, credential, operation } = record;
    const key = JSON.stringify([client, credential, operation, status]);
    const entry: Entry = this.#entries.get(key) ?? {
      client,
      credential: credential ?? '',
      operation: operation ?? '',
      status,
      count: 0,
      lastAt: 0,
      source,
      words,
    };
    entry.count += 1;
    // Sessions have sources of their own, as has each reload, and what the platform names may change.
    entry.source = source;
    entry.words = words;
    entry.lastAt = this.#clock.now();
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MOST) break;
      this.#entries.delete(oldest);
    }
    return words(this.granted.of(source));
  }

  /** The last ones first. */
  list(): RefusalStatus[] {
    return [...this.#entries.values()].reverse().map(({ source, words, lastAt, ...entry }) => ({
      ...entry,
      lastAt: new Date(lastAt).toISOString(),
      explanation: words(this.granted.of(source)),
    }));
  }
}
