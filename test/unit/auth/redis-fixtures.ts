// Shared stores over a real redis-server, for tests: each with a connection of its own, as another instance has it.

import type { Test } from 'tap';
import { RedisStore, type RedisStoreDeps } from '../../../src/auth/credentials/store/redis.ts';
import { type Clock, systemClock } from '../../../src/clock.ts';
import type { RedisStoreConfig } from '../../../src/config/sections/store.ts';
import { RedisConnection } from '../../../src/redis/connection.ts';
import { inlineSecret } from '../../../src/secret.ts';
import { createLogRecorder } from './fixtures.ts';

export const STORE_KEY = 'a'.repeat(64);

let prefixes = 0;

/** A prefix that no other test has. */
export function freshPrefix(): string {
  prefixes += 1;
  return `t${prefixes}`;
}

export interface InstanceOptions extends Partial<Pick<RedisStoreDeps, 'leaseMarginMs' | 'path'>> {
  /** The socket of its server. */
  readonly socket: string;
  readonly prefix: string;
  readonly key?: string;
  readonly previousKey?: string;
  readonly clock?: Clock;
  /** What happens between the answer of a script, by its name, and the moment in which the store is given it. */
  readonly meanwhile?: Record<string, () => Promise<unknown>>;
}

/** One instance's store, opened; it ends with the test. */
export async function openInstance(t: Test, options: InstanceOptions) {
  const {
    socket,
    prefix,
    key = STORE_KEY,
    previousKey,
    clock = systemClock,
    path = '',
    meanwhile = {},
    ...rest
  } = options;
  const log = createLogRecorder();
  const encryptionKey = inlineSecret(key, 'test');
  const encryptionKeyPrevious = previousKey === undefined ? null : inlineSecret(previousKey, 'test');
  const config: RedisStoreConfig = {
    type: 'redis',
    ...{ path, prefix, encryptionKey, encryptionKeyPrevious },
    place: { addresses: [{ kind: 'unix', path: socket }], database: 0 },
    ...{ sentinel: null, sentinelUsername: null, sentinelPassword: null, username: null, password: null },
    ...{ caFile: null, certFile: null, keyFile: null },
  };
  const commands: string[] = [];
  const onCommand = (name: string) => void commands.push(name);
  const connection = new RedisConnection({ config, clock, random: Math.random, log, onCommand });
  const answer = connection.script.bind(connection);
  connection.script = async (call) => {
    const reply = await answer(call);
    await meanwhile[call.script.name]?.();
    return reply;
  };
  const store = new RedisStore({ ...config, connection, clock, random: Math.random, log, ...rest });
  await connection.open();
  await store.open();
  // A machine that is busy may have taken longer than the connection waits.
  while (!connection.isReady) await new Promise((resolve) => setTimeout(resolve, 10));
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    await store.close();
    await connection.close();
  };
  t.teardown(close);
  return { store, connection, log, commands, close };
}
