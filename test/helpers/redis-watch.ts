// Everything that can be seen in a Redis: each command that was sent to it, and what it holds.

import { once } from 'node:events';
import { connect } from 'node:net';
import type { Test } from 'tap';
import type { RedisProcess } from './redis-process.ts';

/** What was seen so far. */
export interface RedisWatch {
  /** All commands with all arguments, those of scripts too. */
  commands(): string;
  /** Every key with what it holds. */
  dump(): Promise<string>;
}

/** Watches from now on, until the test or the server ends. */
export async function watchRedis(t: Test, redis: RedisProcess): Promise<RedisWatch> {
  const socket = connect(redis.socket);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.write('MONITOR\r\n');
  await once(socket, 'data');
  return {
    commands: () => Buffer.concat(chunks).toString('latin1'),
    async dump() {
      const lines: string[] = [];
      for (const key of (await redis.command<string[]>('KEYS', '*')).sort()) {
        const read = READ[String(await redis.command('TYPE', key))] ?? ['DUMP'];
        lines.push(`${key} ${JSON.stringify(await redis.command(read[0] as string, key, ...read.slice(1)))}`);
      }
      return lines.join('\n');
    },
  };
}

const READ: Readonly<Record<string, readonly string[]>> = {
  hash: ['HGETALL'],
  string: ['GET'],
  zset: ['ZRANGE', '0', '-1', 'WITHSCORES'],
};
