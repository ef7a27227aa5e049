// A process that writes tokens is killed 10 times in the middle of it: the store must be whole each time, and lose
// nothing it confirmed.

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import t from 'tap';
import { FileStore } from '../../src/auth/credentials/store/file.ts';
import { systemClock } from '../../src/clock.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { stateFolder } from '../helpers/gateway.ts';

const KILLS = 10;
const KEY = { name: 'crm', clientId: 'client-1', host: 'https://login.mypurecloud.de' };
const silent = { error() {}, warn() {}, info() {}, debug() {} };

// The clock's timers do not keep a process alive; waiting for a lock must.
const held = setInterval(() => {}, 1_000_000);
t.teardown(() => clearInterval(held));

/** Adds one to the generation for ever, and prints each one that the store confirmed. */
const WRITER = `
  import { FileStore } from '${import.meta.resolve('../../src/auth/credentials/store/file.ts')}';
  import { systemClock } from '${import.meta.resolve('../../src/clock.ts')}';
  import { Secret } from '${import.meta.resolve('../../src/secret.ts')}';
  const log = { error() {}, warn() {}, info() {}, debug() {} };
  const path = process.env.STORE;
  const store = new FileStore({ path, prefix: 'gcg', encryptionKey: null, clock: systemClock, log });
  const key = ${JSON.stringify(KEY)};
  setInterval(() => {}, 1e9);
  for (;;) {
    const lock = await store.lock(key, 10_000);
    const entry = await store.get(key);
    const generation = (entry?.value.generation ?? 0) + 1;
    const accessToken = new Secret('at' + generation);
    const refreshToken = new Secret('rt' + generation + 'x'.repeat(4000));
    const value = { accessToken, refreshToken, expiresAt: 2, obtainedAt: 1, initialFingerprint: null, generation };
    await store.put(key, value, { expectedVersion: entry?.version ?? null, fence: lock.fence });
    console.log(generation);
    await lock.release();
  }
`;

t.test('10 kills in the middle of writing leave a whole store that lost nothing', async (t) => {
  const path = stateFolder(t);
  let confirmed = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const env = { ...childEnvironment, STORE: path };
    const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const before = confirmed;
    for await (const line of createInterface({ input: child.stdout })) {
      confirmed = Number(line);
      if (confirmed < before + 3) continue;
      // Somewhere in the next write: a different point each time.
      const until = performance.now() + (kill % 9) * 0.4;
      while (performance.now() < until);
      child.kill('SIGKILL');
    }
    const store = new FileStore({ path, prefix: 'gcg', encryptionKey: null, clock: systemClock, log: silent });
    const lock = await store.lock(KEY, 5_000);
    const entry = await store.get(KEY);
    await lock.release();
    const generation = entry?.value.generation ?? 0;
    t.ok(generation >= confirmed, `kill ${kill}: ${confirmed} was confirmed, ${generation} is stored`);
    t.equal(entry?.value.accessToken?.reveal(), `at${generation}`);
    confirmed = generation;
  }
  t.notOk(readdirSync(path).some((name) => name.includes('.damaged-')));
});
