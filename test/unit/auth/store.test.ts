import {
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { FileStore } from '../../../src/auth/credentials/store/file.ts';
import { createMemoryStore } from '../../../src/auth/credentials/store/memory.ts';
import { systemClock } from '../../../src/clock.ts';
import { inlineSecret } from '../../../src/secret.ts';
import { stateFolder } from '../../helpers/gateway.ts';
import { makeOddPaths } from '../../helpers/odd-paths.ts';
import { createLogRecorder } from './fixtures.ts';
import { KEY, revealed, storedToken, testStoreContract } from './store-contract.ts';

const FULL_KEY = 'a'.repeat(64);

// The clock's timers do not keep a process alive; waiting for a lock must.
const held = setInterval(() => {}, 1_000_000);
t.teardown(() => clearInterval(held));

function fileStore(path: string, encryptionKey: string | null = FULL_KEY, prefix = 'gcg') {
  const log = createLogRecorder();
  const source = encryptionKey === null ? null : inlineSecret(encryptionKey, 'test');
  return { log, store: new FileStore({ path, prefix, encryptionKey: source, clock: systemClock, log }) };
}

const tokenFile = (path: string) => join(path, readdirSync(path).find((name) => name.endsWith('.token'))!);

testStoreContract('memory', () => createMemoryStore({ clock: systemClock }));
testStoreContract('file', (t) => fileStore(stateFolder(t)).store);

t.test('a memory store tells of each change at once, until nobody listens', async (t) => {
  const store = createMemoryStore({ clock: systemClock });
  let told = 0;
  const stop = store.onChange(KEY, () => (told += 1));
  await store.put(KEY, storedToken(1));
  await store.put(KEY, storedToken(0));
  await store.put({ ...KEY, name: 'erp' }, storedToken(1));
  await store.delete(KEY);
  t.equal(told, 2);
  stop();
  await store.put(KEY, storedToken(3));
  t.equal(told, 2);
});

/** As version 0.1.0 wrote it, with FULL_KEY. */
const OF_0_1_0 = {
  format: 'gcg-store-1',
  name: 'crm',
  salt: '533241f3cf7b6fdea85a059829904f5c',
  check: 'b7d16097898e544a',
  nonce: 'ZwRrkaWb1aJZi2Li',
  tag: 'GIHTn3xQzqC9N39I6MhgRg==',
  data:
    'tzyrBukatRONl1hFUiaKamuLCTqaDSR5sEpYi4Ec3Oce56yT9OkSz9ncluCKdVD8YoyEZ0auffCH/WdLiA5eXAKknAv9fM7N9Pod' +
    'p0aVuB+C0rBgAb3fxi6O3xS45E9zyMBmPCPcOBKJp2iSmIbMfFG0lO9WWR2c',
};

t.test('a file of version 0.1.0 is read; what follows it counts more, and a newer one is left alone', async (t) => {
  const path = stateFolder(t);
  const { store } = fileStore(path);
  await store.open();
  const file = join(path, 'gcg-crm-312ca4c88afc09c1.token');
  writeFileSync(file, `${JSON.stringify(OF_0_1_0)}\n`);
  t.equal(await revealed(store), 'canary-rt-7');
  const lock = await store.lock(KEY, 0);
  const generation = await lock.begin(await lock.entry());
  await lock.release();
  t.ok(generation > 7);
  await store.put(KEY, storedToken(generation, 'after'));
  t.equal(await revealed(store), 'after');
  await store.put(KEY, storedToken(generation - 1, 'begun before'));
  t.equal(await revealed(store), 'after');
});

t.test('files are 0600 in a 0700 folder, and hold no secret in the clear', async (t) => {
  const path = join(t.testdir(), 'deep', 'state');
  const { store } = fileStore(path, null);
  await store.replace(KEY, storedToken(1), { expectedVersion: null });
  t.equal(statSync(path).mode & 0o777, 0o700);
  const names = readdirSync(path);
  t.equal(names.length, 2, names.join(' '));
  for (const name of names) {
    t.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);
    t.notMatch(readFileSync(join(path, name), 'utf8'), /canary/);
  }
});

t.test('a generated key serves the next process; a given one may be a passphrase', async (t) => {
  for (const key of [null, 'a passphrase of a person', 'x'.repeat(43)]) {
    const path = stateFolder(t);
    await fileStore(path, key).store.replace(KEY, storedToken(1), { expectedVersion: null });
    t.equal(await revealed(fileStore(path, key).store), 'canary-rt-1');
  }
});

t.test('two processes that start together end with one generated key', async (t) => {
  const path = stateFolder(t);
  const stores = Array.from({ length: 8 }, (_, index) => ({
    ...fileStore(path, null),
    key: { ...KEY, name: `c${index}` },
  }));
  await Promise.all(
    stores.map(({ store, key }, index) => store.replace(key, storedToken(index), { expectedVersion: null })),
  );
  const reader = fileStore(path, null).store;
  for (const { key } of stores) t.ok(await reader.get(key));
});

t.test('a file cut at any length is refused and kept aside, and the store goes on', async (t) => {
  const path = stateFolder(t);
  const { store } = fileStore(path);
  await store.replace(KEY, storedToken(1), { expectedVersion: null });
  const file = tokenFile(path);
  const whole = readFileSync(file);
  for (let length = 0; length < whole.length - 1; length += 13) {
    writeFileSync(file, whole.subarray(0, length));
    await t.rejects(store.get(KEY), {
      code: 'damaged',
      message: new RegExp(`^${file} is cut .*kept as ${file}\\.damaged-`),
    });
    t.equal(await store.get(KEY), null);
  }
  await store.replace(KEY, storedToken(2), { expectedVersion: null });
  t.equal(await revealed(store), 'canary-rt-2');
});

t.test(
  'what is no plain file, in place of an entry, the key or a lock, is an error of the store at once',
  async (t) => {
    const odd = await makeOddPaths(t);
    const path = stateFolder(t);
    const { store } = fileStore(path, null);
    await store.replace(KEY, storedToken(1), { expectedVersion: null });
    const entry = tokenFile(path);
    const key = join(path, readdirSync(path).find((name) => name.endsWith('.key')) as string);
    for (const kind of ['a FIFO', 'an endless device', 'a socket', 'a directory']) {
      const target = (odd[kind] as { path: string }).path;
      for (const file of [entry, key]) {
        renameSync(file, `${file}.kept`);
        symlinkSync(target, file);
        // The key is read once a process: another one comes.
        await t.rejects(
          fileStore(path, null).store.get(KEY),
          { code: 'unreadable', message: new RegExp(`${file} is a`) },
          `${kind}: ${file}`,
        );
        renameSync(`${file}.kept`, file);
      }
      symlinkSync(target, `${entry}.lock`);
      await t.rejects(store.lock(KEY, 100), { code: 'locked' }, kind);
      unlinkSync(`${entry}.lock`);
    }
    t.equal(await revealed(fileStore(path, null).store), 'canary-rt-1');
  },
);

t.test('a file with any byte changed never yields a token that was not stored', async (t) => {
  const path = stateFolder(t);
  const { store } = fileStore(path);
  await store.replace(KEY, storedToken(1), { expectedVersion: null });
  const file = tokenFile(path);
  const whole = readFileSync(file);
  let refused = 0;
  for (let at = 0; at < whole.length; at += 1) {
    const changed = Buffer.from(whole);
    changed[at] = (changed[at] ?? 0) ^ 1;
    writeFileSync(file, changed);
    const outcome = await store.get(KEY).then(
      (entry) => entry?.value.refreshToken?.reveal() ?? null,
      (error: { code: string }) => error.code,
    );
    if (outcome === 'damaged' || outcome === 'wrong_key') refused += 1;
    else t.equal(outcome, 'canary-rt-1', `byte ${at}: padding bits only`);
  }
  t.ok(refused > whole.length * 0.95, `${refused} of ${whole.length} refused`);
});

t.test('a file renamed to serve another credential is refused', async (t) => {
  const path = stateFolder(t);
  const { store } = fileStore(path);
  const other = { ...KEY, clientId: 'client-2' };
  await store.replace(KEY, storedToken(1), { expectedVersion: null });
  const mine = tokenFile(path);
  await store.replace(other, storedToken(2), { expectedVersion: null });
  const theirs = readdirSync(path)
    .map((name) => join(path, name))
    .find((name) => name.endsWith('.token') && name !== mine)!;
  renameSync(mine, theirs);
  await t.rejects(store.get(other), { code: 'damaged', message: /belongs to another credential/ });
});

t.test('two prefixes in one folder never open each other', async (t) => {
  const path = stateFolder(t);
  await fileStore(path, FULL_KEY, 'a').store.replace(KEY, storedToken(1), { expectedVersion: null });
  t.equal(await fileStore(path, FULL_KEY, 'b').store.get(KEY), null);
  t.strictSame(await fileStore(path, FULL_KEY, 'b').store.list(), []);
});

t.test('a wrong key is said to be one; nothing is moved, and a new login keeps the old file aside', async (t) => {
  const path = stateFolder(t);
  await fileStore(path).store.replace(KEY, storedToken(1), { expectedVersion: null });
  const { store: wrong } = fileStore(path, 'b'.repeat(64));
  await t.rejects(wrong.get(KEY), { code: 'wrong_key', message: /encryption_key/ });
  t.equal(await revealed(fileStore(path).store), 'canary-rt-1');
  await wrong.replace(KEY, storedToken(2), { expectedVersion: null });
  t.equal(await revealed(wrong), 'canary-rt-2');
  t.ok(readdirSync(path).some((name) => name.includes('.damaged-')));
});

t.test('the key before opens what it sealed, and seals nothing', async (t) => {
  const path = stateFolder(t);
  await fileStore(path).store.put(KEY, storedToken(1));
  const other = inlineSecret('b'.repeat(64), 'test');
  const previous = inlineSecret(FULL_KEY, 'test');
  const deps = { path, prefix: 'gcg', encryptionKey: other, clock: systemClock, log: createLogRecorder() };
  const changed = new FileStore({ ...deps, encryptionKeyPrevious: previous });
  t.equal((await changed.get(KEY))?.generation, 1);
  await t.rejects(new FileStore(deps).get(KEY), { code: 'wrong_key' }, 'without it');
  await changed.put(KEY, storedToken(2));
  t.equal((await new FileStore(deps).get(KEY))?.generation, 2, 'what was written since has the key of now');
  await t.rejects(fileStore(path).store.get(KEY), { code: 'wrong_key' }, 'an instance with the key before alone');
});

t.test('a name that is no file name stays inside the folder', async (t) => {
  const path = stateFolder(t);
  const { store } = fileStore(path);
  const key = { ...KEY, name: '../../etc/passwd' };
  await store.replace(key, storedToken(1), { expectedVersion: null });
  t.equal(await revealed(store, key), 'canary-rt-1');
  t.equal(readdirSync(path).length, 1);
});

t.test('the lock of a process that died is taken over, also when its number is used again', async (t) => {
  const path = stateFolder(t);
  const { store } = fileStore(path);
  const lock = await store.lock(KEY, 0);
  const file = join(path, readdirSync(path).find((name) => name.endsWith('.lock'))!);
  const owner = JSON.parse(readFileSync(file, 'utf8'));
  for (const stale of [
    { ...owner, pid: 2 ** 22 + 1 },
    { ...owner, startTime: '1' },
  ]) {
    writeFileSync(file, JSON.stringify(stale));
    await (await store.lock(KEY, 5_000)).release();
  }
  await lock.release();
});

t.test('a lock of another machine, or one cut by a crash, is taken over only after it was silent', async (t) => {
  const path = stateFolder(t);
  const { store } = fileStore(path);
  const lock = await store.lock(KEY, 0);
  const file = join(path, readdirSync(path).find((name) => name.endsWith('.lock'))!);
  const owner = JSON.parse(readFileSync(file, 'utf8'));
  for (const content of [JSON.stringify({ ...owner, space: 'elsewhere' }), '{"fen', '']) {
    writeFileSync(file, content);
    await t.rejects(store.lock(KEY, 60), { code: 'locked' });
    const longAgo = Date.now() / 1_000 - 60;
    utimesSync(file, longAgo, longAgo);
    await (await store.lock(KEY, 5_000)).release();
  }
  await lock.release();
});

t.test('a folder that cannot be made is said by path and reason', async (t) => {
  const path = join(t.testdir({ file: '' }), 'file', 'state');
  await t.rejects(fileStore(path).store.get(KEY), { code: 'unwritable', message: new RegExp(`${path}.*ENOTDIR`) });
});

t.test('a key file or folder open to others is warned of', async (t) => {
  const path = stateFolder(t);
  await fileStore(path, null).store.replace(KEY, storedToken(1), { expectedVersion: null });
  chmodSync(path, 0o755);
  chmodSync(join(path, 'gcg.key'), 0o644);
  const { store, log } = fileStore(path, null);
  await store.get(KEY);
  t.equal(log.records.filter(({ level }) => level === 'warn').length, 2);
});

t.test('temporary files of a crashed write are cleared away once they are old', async (t) => {
  const path = t.testdir({ 'gcg-crm-1.token.1-a.tmp': 'x', 'gcg-crm-1.token.2-b.tmp': 'x', 'foreign.tmp': 'x' });
  const longAgo = Date.now() / 1_000 - 3_600;
  utimesSync(join(path, 'gcg-crm-1.token.1-a.tmp'), longAgo, longAgo);
  await fileStore(path).store.get(KEY);
  t.strictSame(readdirSync(path).sort(), ['foreign.tmp', 'gcg-crm-1.token.2-b.tmp']);
});
