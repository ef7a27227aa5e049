// Records that instances share, over Redis or Valkey: each sealed and bound to its key, with an end of its own.

import { createHash } from 'node:crypto';
import type { RedisConnection } from '../../../redis/connection.ts';
import { RedisError } from '../../../redis/redis-error.ts';
import { Script } from '../../../redis/script.ts';
import type { Sealer } from './encryption.ts';
import type { RecordKind, RecordOptions, SharedRecord, SharedRecords } from './records.ts';
import { INDEX_DROP, INDEX_NOTE, INDEX_OF, type Indexed, RedisIndex } from './redis-index.ts';
import { StoreError } from './store.ts';

/** KEYS: record. ARGV: '1' to compare, version that is expected, v, d, life in ms. Answers 1, or 0 for another version. */
export const RECORD_PUT = new Script(
  'record-put',
  `local v = redis.call('HGET', KEYS[1], 'v') or ''
if v ~= ARGV[3] then
  if ARGV[1] == '1' and v ~= ARGV[2] then return 0 end
  redis.call('HSET', KEYS[1], 'v', ARGV[3], 'd', ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1`,
  { keys: ['record'], args: ['0', '', 'v', 'd', '1000'] },
);

/** All that records and their indexes are written and found by. */
export const RECORD_SCRIPTS: readonly Script[] = [RECORD_PUT, INDEX_NOTE, INDEX_DROP, INDEX_OF];

/** So many there may be of each kind; those that end first give way. */
const MOST: Readonly<Record<RecordKind, number>> = { login: 1_000, way: 1_000, done: 1_000, chan: 10_000 };

/** What is bound into a record beside its key. */
const FORM = 'gcg record 1';

/** What records need of the connection. */
export type RecordConnection = Pick<RedisConnection, 'prefix' | 'script' | 'command'>;

/** Closes nothing. */
export class RedisRecords implements SharedRecords {
  readonly isShared = true;
  readonly #connection: RecordConnection;
  readonly #sealer: Sealer;
  readonly #indexes: ReadonlyMap<RecordKind, RedisIndex>;

  constructor({ connection, sealer }: { readonly connection: RecordConnection; readonly sealer: Sealer }) {
    this.#connection = connection;
    this.#sealer = sealer;
    const kinds = Object.entries(MOST) as [RecordKind, number][];
    this.#indexes = new Map(kinds.map(([kind, max]) => [kind, new RedisIndex(connection, kind, max)]));
  }

  async get(kind: RecordKind, id: string): Promise<SharedRecord | null> {
    const key = this.#keyOf(kind, id);
    const data = await this.#reach(() => this.#connection.command(['HGET', key, 'd']));
    if (typeof data !== 'string') return null;
    try {
      return { text: await this.#sealer.open(identityOf(key), data), version: versionOf(data) };
    } catch (error) {
      // Nobody can do anything about a login or channel that was sealed with another key, or was changed: it is begun
      // anew, and its end is near.
      if (error instanceof StoreError && (error.code === 'wrong_key' || error.code === 'damaged')) return null;
      throw error;
    }
  }

  async put(kind: RecordKind, id: string, text: string, options: RecordOptions): Promise<string | null> {
    const { lifeMs, expected, owner = '' } = options;
    const key = this.#keyOf(kind, id);
    const data = await this.#sealer.seal(identityOf(key), kind, text);
    const version = versionOf(data);
    const args = [expected === undefined ? '0' : '1', expected ?? '', version, data, String(lifeMs)];
    const written = this.#reach(() => this.#connection.script({ script: RECORD_PUT, keys: [key], args }));
    const index = this.#indexes.get(kind) as RedisIndex;
    // In the same write. Where it fails, the bound is kept at the next one.
    const surplus = index.note(id, owner, lifeMs).catch(() => []);
    const isWritten = (await written) === 1;
    await Promise.all((await surplus).map((one) => this.#forget(kind, index, one)));
    return isWritten ? version : null;
  }

  async delete(kind: RecordKind, id: string): Promise<void> {
    await this.#reach(() => this.#connection.command(['DEL', this.#keyOf(kind, id)]));
  }

  /** Where it fails, the next one that is told of it does it. */
  async #forget(kind: RecordKind, index: RedisIndex, one: Indexed): Promise<void> {
    await this.delete(kind, one.id).then(
      () => index.drop(one).catch(() => undefined),
      () => undefined,
    );
  }

  #keyOf(kind: RecordKind, id: string): string {
    return `${this.#connection.prefix}${kind}:${id}`;
  }

  async #reach<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      throw new StoreError('absent', error instanceof RedisError ? error.message : 'the store failed');
    }
  }
}

function identityOf(key: string): string {
  return JSON.stringify([FORM, key]);
}

function versionOf(data: string): string {
  return createHash('sha256').update(data).digest('hex').slice(0, 32);
}
