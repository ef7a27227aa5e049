// What tests of a shared store configure: [store] with a server of theirs, and a connection to it.

import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../src/clock.ts';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import type { RedisStoreConfig } from '../../src/config/sections/store.ts';
import { RedisConnection } from '../../src/redis/connection.ts';
import type { RedisError } from '../../src/redis/redis-error.ts';
import type { Gap } from '../../src/redis/store-health.ts';
import { inlineSecret } from '../../src/secret.ts';

// Timers of the gateway's clock keep no process alive.
const held = setInterval(() => {}, 1_000_000);
t.teardown(() => clearInterval(held));

/** `[store]` with a server; `url` as it would be written. */
export function redisStore(url: string, more: Partial<RedisStoreConfig> = {}): RedisStoreConfig {
  const place = parseRedisUrl(url);
  if (!place.ok) throw new Error(place.message);
  return {
    type: 'redis',
    path: '',
    prefix: 'gcg',
    encryptionKey: inlineSecret('5'.repeat(64), 'test'),
    encryptionKeyPrevious: null,
    place: place.value,
    sentinel: null,
    sentinelUsername: null,
    sentinelPassword: null,
    username: null,
    password: null,
    caFile: null,
    certFile: null,
    keyFile: null,
    ...more,
  };
}

/** The system's, with deadlines that a machine which is busy with other tests keeps: those of 500 ms and more are longer. */
const patientClock: Clock = {
  ...systemClock,
  after: (ms, fn) => systemClock.after(ms < 500 ? ms : ms * 20, fn),
};

/** A connection that is watched. */
export interface WatchedConnection {
  readonly connection: RedisConnection;
  /** Lines of its log: message and state. */
  readonly lines: string[];
  readonly gaps: Gap[];
  /** How its commands ended, `name result`. */
  readonly ends: string[];
  /** What `open` returned. */
  readonly failure: RedisError | null;
  /** Resolves when the condition holds. */
  until(what: string, condition: () => boolean): Promise<void>;
}

/** Opens one; it is closed with `t`. Throws as `open` does. By default its deadlines are too long to be met by chance. */
export async function openConnection(
  t: Test,
  config: RedisStoreConfig,
  {
    clock = patientClock,
    random = () => 0,
    prepare = () => {},
  }: {
    readonly clock?: Clock;
    readonly random?: () => number;
    readonly prepare?: (connection: RedisConnection) => void;
  } = {},
): Promise<WatchedConnection> {
  const lines: string[] = [];
  const gaps: Gap[] = [];
  const ends: string[] = [];
  const write = (fields: Record<string, unknown>, msg: string) => void lines.push(`${msg} ${JSON.stringify(fields)}`);
  const connection = new RedisConnection({
    config,
    clock,
    random,
    log: { error: write, warn: write, info: write, debug: write },
    onCommand: (name, result) => void ends.push(`${name} ${result}`),
  });
  t.teardown(() => connection.close());
  connection.onGap((gap) => void gaps.push(gap));
  prepare(connection);
  const failure = await connection.open();
  const until = async (what: string, condition: () => boolean) => {
    const end = Date.now() + 30_000;
    while (!condition()) {
      if (Date.now() > end) throw new Error(`it never came to be: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return { connection, lines, gaps, ends, failure, until };
}
