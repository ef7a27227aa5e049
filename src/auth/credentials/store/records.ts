// Records that the instances of a gateway share beside their tokens, each with an end: a login under way, a notification
// channel. What they hold is sealed. Also the records of one process alone.

import { createHash } from 'node:crypto';
import type { Clock } from '../../../clock.ts';
import { FairEviction, type LruEntry } from '../../../fair-eviction.ts';

/**
 * What records are of, each kind with a bound of its own: a login by its state, the login under way by who began it, how
 * the last login of a credential ended, a notification channel.
 */
export type RecordKind = 'login' | 'way' | 'done' | 'chan';

/** A record, and the version that a change of it must name. */
export interface SharedRecord {
  readonly text: string;
  readonly version: string;
}

/** What a record is stored with. */
export interface RecordOptions {
  readonly lifeMs: number;
  /** The version that must be there, null for none; without it whatever is there is replaced. */
  readonly expected?: string | null | undefined;
  /** Whose it is, as a mark: where there are too many, that of the owner that has most gives way. */
  readonly owner?: string | undefined;
}

/** Records by kind and id. Methods throw StoreError where a shared store does not answer. */
export interface SharedRecords {
  /** Whether other instances have the same. */
  readonly isShared: boolean;
  /** Null where there is none, or it cannot be opened by this gateway. */
  get(kind: RecordKind, id: string): Promise<SharedRecord | null>;
  /** Resolves with the new version, or null where another one is there than was expected. */
  put(kind: RecordKind, id: string, text: string, options: RecordOptions): Promise<string | null>;
  delete(kind: RecordKind, id: string): Promise<void>;
}

/** The id of a record by something that nobody may read in the store. */
export function recordId(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 40);
}

/** Records of this process; `max` of each kind, the oldest go first. Nothing to close. */
export class MemoryRecords implements SharedRecords {
  readonly isShared = false;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #max: number;
  readonly #records = new Map<string, SharedRecord & { readonly endsMono: number; readonly entry: LruEntry<string> }>();
  readonly #order = new FairEviction<string>();
  #writes = 0;

  constructor({ clock, max }: { readonly clock: Pick<Clock, 'monotonic'>; readonly max: number }) {
    this.#clock = clock;
    this.#max = max;
  }

  async get(kind: RecordKind, id: string): Promise<SharedRecord | null> {
    return this.#find(`${kind} ${id}`);
  }

  async put(kind: RecordKind, id: string, text: string, { lifeMs, expected }: RecordOptions): Promise<string | null> {
    const key = `${kind} ${id}`;
    const existing = this.#find(key);
    if (expected !== undefined && (existing?.version ?? null) !== expected) return null;
    this.#writes += 1;
    const version = String(this.#writes);
    const entry = this.#records.get(key)?.entry ?? this.#order.add(kind, key);
    this.#records.set(key, { text, version, endsMono: this.#clock.monotonic() + lifeMs, entry });
    if (entry.owner.count > this.#max) this.#forget(entry.owner.first?.item);
    return version;
  }

  async delete(kind: RecordKind, id: string): Promise<void> {
    this.#forget(`${kind} ${id}`);
  }

  #find(key: string): SharedRecord | null {
    const record = this.#records.get(key);
    if (record === undefined) return null;
    if (record.endsMono > this.#clock.monotonic()) return record;
    this.#forget(key);
    return null;
  }

  #forget(key: string | undefined): void {
    const record = key === undefined ? undefined : this.#records.get(key);
    if (key === undefined || record === undefined) return;
    this.#records.delete(key);
    this.#order.remove(record.entry);
  }
}
