// The shared store over a real server: what all stores promise, and what only this one does.

import t from 'tap';
import { RedisProcess, withoutRedis } from '../../helpers/redis-process.ts';
import { freshPrefix, openInstance } from './redis-fixtures.ts';
import { testStoreContract } from './store-contract.ts';

if (withoutRedis) t.plan(0, withoutRedis);
else {
  const server = new RedisProcess({});
  await server.start();
  t.teardown(() => server.close());
  const held = setInterval(() => {}, 1_000_000);
  t.teardown(() => clearInterval(held));

  testStoreContract('redis', async (t) => {
    return (await openInstance(t, { socket: server.socket, prefix: freshPrefix() })).store;
  });
}
