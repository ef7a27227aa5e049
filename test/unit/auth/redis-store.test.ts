// The shared store over a real server: what all stores promise, and what only this one does.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { RedisStore, type StoreConnection } from '../../../src/auth/credentials/store/redis.ts';
import { endedToken, isFromFuture } from '../../../src/auth/credentials/store/store.ts';
import { systemClock } from '../../../src/clock.ts';
import { inlineSecret, type Secret } from '../../../src/secret.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { RedisProcess, withoutRedis } from '../../helpers/redis-process.ts';
import { createLogRecorder } from './fixtures.ts';
import { freshPrefix, type InstanceOptions, openInstance, STORE_KEY } from './redis-fixtures.ts';
import { KEY, revealed, storedToken, testStoreContract } from './store-contract.ts';

t.test('what a server that was away does not have counts as missing six seconds after it is back', async (t) => {
  const clock = createFakeClock();
  const server = {
    isReady: true,
    isRefused: false,
    backMono: Number.NEGATIVE_INFINITY,
    emptyMono: Number.NEGATIVE_INFINITY,
  };
  const silent = { prefix: '{t}:', instanceId: 'a', onGap() {}, onLoss() {} } as Partial<StoreConnection>;
  const connection = Object.assign(server, silent) as typeof server & StoreConnection;
  const encryptionKey = inlineSecret(STORE_KEY, 'test');
  const settings = { prefix: 't', path: '', encryptionKey, encryptionKeyPrevious: null };
  const store = new RedisStore({ ...settings, connection, clock, random: Math.random, log: createLogRecorder() });
  t.ok(store.isSettled(), 'one that answers at once is believed at once');
  server.isReady = false;
  t.notOk(store.isSettled());
  await clock.advance(60_000);
  t.notOk(store.isSettled(), 'however long it is away');
  server.isReady = true;
  server.backMono = clock.monotonic();
  await clock.advance(5_999);
  t.notOk(store.isSettled());
  await clock.advance(1);
  t.ok(store.isSettled());
  t.ok(store.isComplete());
  server.emptyMono = clock.monotonic();
  await clock.advance(5_999);
  t.ok(store.isSettled(), 'nobody waits at a first start');
  t.notOk(store.isComplete(), 'and nobody is refused');
  await clock.advance(1);
  t.ok(store.isComplete());
  server.isRefused = true;
  t.notOk(store.isComplete(), 'what others could not write is not there');
  t.ok(store.isSettled());
});

if (withoutRedis) t.plan(0, withoutRedis);
else {
  const server = new RedisProcess({ isDurable: true });
  await server.start();
  t.teardown(() => server.close());
  const held = setInterval(() => {}, 1_000_000);
  t.teardown(() => clearInterval(held));

  const open = (t: Parameters<typeof openInstance>[0], prefix: string, more: Partial<InstanceOptions> = {}) =>
    openInstance(t, { socket: server.socket, prefix, ...more });

  /** Resolves when a condition holds. */
  const until = (what: string, holds: () => boolean | Promise<boolean>) => server.until(what, async () => holds());

  /** The whole key of the only entry or lock under a prefix. */
  const keyOf = async (prefix: string, kind: 'tok' | 'lock') => {
    const keys = await server.command<string[]>('KEYS', `{${prefix}}:${kind}:*`);
    return keys.find((key) => !key.endsWith(':damaged')) ?? '';
  };

  testStoreContract('redis', async (t) => (await open(t, freshPrefix())).store);

  t.test('what one instance stores, every other is told of at once; nobody is told what it knows', async (t) => {
    const prefix = freshPrefix();
    const [a, b] = [await open(t, prefix), await open(t, prefix)];
    const told = { a: 0, b: 0 };
    a.store.onChange(KEY, () => (told.a += 1));
    const stop = b.store.onChange(KEY, () => (told.b += 1));
    const before = b.store.revision(KEY);
    await a.store.put(KEY, storedToken(1));
    await until('b was told', () => told.b === 1);
    t.not(b.store.revision(KEY), before);
    t.equal(await revealed(b.store), 'canary-rt-1');
    const seen = b.store.revision(KEY);
    await a.store.put(KEY, storedToken(1));
    await until('b was told again', () => told.b === 2);
    t.not(b.store.revision(KEY), seen);
    stop();
    await a.store.replace({ ...KEY, name: 'list' }, storedToken(0), { expectedVersion: null });
    await a.store.put(KEY, storedToken(2));
    await b.store.get(KEY);
    t.strictSame(told, { a: 0, b: 2 });
  });

  t.test('a server that comes back empty, or old, is told again what anybody knows', async (t) => {
    const prefix = freshPrefix();
    const [a, b] = [await open(t, prefix), await open(t, prefix)];
    const other = { ...KEY, name: 'erp' };
    await a.store.put(KEY, storedToken(1));
    await a.store.put(KEY, storedToken(2));
    await b.store.put(other, endedToken(5));
    await server.restart({ empty: true });
    await until(
      'both are told',
      async () => (await server.command<string[]>('KEYS', `{${prefix}}:tok:*`)).length === 2,
    );
    const fresh = await open(t, prefix);
    t.equal(await revealed(fresh.store), 'canary-rt-2');
    t.equal((await fresh.store.get(other))?.generation, 5);
    t.match([a.store.state().toldAgain, b.store.state().toldAgain], [1, 1]);

    // A replica that had not heard of the last write: the entry is there, and of an older generation.
    const entry = (await server.command<string[]>('KEYS', `{${prefix}}:tok:crm-*`))[0] ?? '';
    await server.command('HSET', entry, 'g', '1', 'v', 'old', 'd', 'whatever it was');
    t.equal(await revealed(a.store), 'canary-rt-2');
    t.equal(await revealed(await open(t, prefix).then(({ store }) => store)), 'canary-rt-2');
  });

  t.test('what is told while an older answer is on its way is news when the answer is there', async (t) => {
    const prefix = freshPrefix();
    const a = await open(t, prefix);
    await a.store.put(KEY, storedToken(1));
    const meanwhile: Record<string, () => Promise<unknown>> = {};
    const b = await open(t, prefix, { meanwhile });
    let generation = 1;
    /** Another instance stores the next one, and this one is told of it. */
    const during = (name: string) => {
      meanwhile[name] = async () => {
        delete meanwhile[name];
        generation += 1;
        const { version } = await a.store.put(KEY, storedToken(generation));
        await until('b was told', () => b.store.revision(KEY) === b.store.revision(KEY, version));
      };
    };
    const revealedEntry = (entry: { value: { refreshToken: Secret | null } } | null) =>
      entry?.value.refreshToken?.reveal() ?? null;

    await b.store.get(KEY);
    during('read');
    let before = b.store.revision(KEY);
    t.equal(await revealed(b.store), 'canary-rt-1', 'the answer is the older one');
    t.not(b.store.revision(KEY), before, 'a reading');
    before = b.store.revision(KEY);
    t.equal(await revealed(b.store), 'canary-rt-2');
    t.equal(b.store.revision(KEY), before, 'what was read is no news');

    during('lock');
    before = b.store.revision(KEY);
    const lock = await b.store.lock(KEY, 1_000);
    t.equal(revealedEntry(await lock.entry()), 'canary-rt-2');
    t.not(b.store.revision(KEY), before, 'a lock');
    await lock.release();
    t.equal(await revealed(b.store), 'canary-rt-3');

    generation += 1;
    during('put');
    const written = await b.store.put(KEY, storedToken(generation));
    t.not(b.store.revision(KEY), b.store.revision(KEY, written.version), 'a writing');
    t.equal(await revealed(b.store), 'canary-rt-5');

    during('replace');
    const entry = await b.store.get(KEY);
    generation = Date.now() + 3_600_000;
    const version = await b.store.replace(KEY, storedToken(1), { expectedVersion: entry?.version ?? null });
    t.not(b.store.revision(KEY), b.store.revision(KEY, version), 'a replacement');
    t.equal(await revealed(b.store), `canary-rt-${generation}`);
  });

  t.test('what cannot be told is kept, spooled, and told by this process as soon as it can be', async (t) => {
    const [prefix, path] = [freshPrefix(), t.testdir()];
    const { store } = await open(t, prefix, { path });
    const spooled = () => readdirSync(path);
    await store.put(KEY, storedToken(1));
    await server.kill();
    await t.rejects(store.put(KEY, storedToken(2)), { code: 'absent' });
    await until('it is seen', () => store.state().state === 'down');
    t.equal(store.state().unwritten, 1);
    t.equal(spooled().length, 1);
    t.notMatch(readFileSync(join(path, spooled()[0] ?? ''), 'utf8'), /canary/);
    await t.rejects(store.put({ ...KEY, name: 'cheap' }, { ...storedToken(1), refreshToken: null }), {
      code: 'absent',
    });
    t.equal(spooled().length, 1, 'what can be had again is not spooled');
    await t.rejects(store.delete({ ...KEY, name: 'ended' }), { code: 'absent' });
    t.equal(spooled().length, 2, 'an end is');
    await server.start();
    await until('all was told', () => store.state().unwritten === 0);
    t.equal(await revealed(store), 'canary-rt-2');
    await until('the spool is empty', () => spooled().length === 0);
    t.equal((await server.command<string[]>('KEYS', `{${prefix}}:tok:*`)).length, 3);
  });

  t.test(
    'what a process could not tell before it ended, the next one tells, unless something newer is there',
    async (t) => {
      const [prefix, path] = [freshPrefix(), t.testdir()];
      const [a, b] = [await open(t, prefix, { path }), await open(t, prefix)];
      const other = { ...KEY, name: 'erp' };
      await server.kill();
      for (const key of [KEY, other]) await t.rejects(a.store.put(key, storedToken(5)), { code: 'absent' });
      await a.close();
      await server.start();
      await until('b is back', () => b.store.state().state === 'ok');
      await b.store.put(other, storedToken(6));
      writeFileSync(join(path, `${prefix}-nonsense.spool`), '{"id":');
      const next = await open(t, prefix, { path });
      await until('it was told', () => next.store.state().unwritten === 0);
      t.equal(await revealed(b.store), 'canary-rt-5');
      t.equal(await revealed(b.store, other), 'canary-rt-6');
      await until('the spool is empty', () => readdirSync(path).length === 1);
      const errors = next.log.records.filter(({ level }) => level === 'error');
      t.match(errors, [{ msg: /cannot be read/ }]);
    },
  );

  t.test('a server that is full keeps what it has; what it does not take is told as soon as it does', async (t) => {
    const prefix = freshPrefix();
    const { store } = await open(t, prefix);
    await store.put(KEY, storedToken(1));
    await server.command('CONFIG', 'SET', 'maxmemory', '1');
    await t.rejects(store.put(KEY, storedToken(2)), { code: 'unwritable', message: /memory is full/ });
    t.match(store.state(), { state: 'degraded', unwritten: 1, error: /memory is full/ });
    t.equal(await revealed(store), 'canary-rt-2', 'here it counts');
    await server.command('CONFIG', 'SET', 'maxmemory', '0');
    await until('it was told', () => store.state().unwritten === 0);
    t.equal(await revealed((await open(t, prefix)).store), 'canary-rt-2');
  });

  t.test(
    'a lock of whoever is silent ends with its lease, and says that it was in the middle of something',
    async (t) => {
      const prefix = freshPrefix();
      const [a, b] = [await open(t, prefix, { leaseMarginMs: 100 }), await open(t, prefix, { leaseMarginMs: 100 })];
      await a.store.put(KEY, storedToken(1));
      const lock = await a.store.lock(KEY, 0, { workMs: 100 });
      const generation = await lock.begin(await lock.entry());
      // It prolongs the lock for as long as it works.
      await t.rejects(b.store.lock(KEY, 500), { code: 'locked', message: /instance .* held the lock for 0\.5 s/ });
      await a.connection.close();
      const next = await b.store.lock(KEY, 5_000);
      t.equal(next.unfinished, generation);
      const begun = await next.begin(await next.entry());
      t.ok(begun > generation);
      await b.store.put(KEY, storedToken(begun));
      await next.release();
      const last = await b.store.lock(KEY, 0);
      t.equal(last.unfinished, null);
      await last.release();
    },
  );

  t.test('after the store was away no rotating token gets a lock for one lease; the rest goes on', async (t) => {
    const prefix = freshPrefix();
    const { store } = await open(t, prefix, { leaseMarginMs: 400 });
    const rotating = { workMs: 100, isRotating: true };
    await t.rejects(store.lock(KEY, 50, rotating), { code: 'absent', message: /have 1 s/ }, 'nor after a start');
    const first = await store.lock(KEY, 1_000, rotating);
    await first.release();
    const gapAt = performance.now();
    await server.restart({ empty: true });
    await until('it is back', () => store.state().state === 'ok');
    await t.rejects(store.lock(KEY, 50, rotating), { code: 'absent' });
    const other = await store.lock(KEY, 50, { workMs: 100 });
    await other.release();
    const second = await store.lock(KEY, 2_000, rotating);
    t.ok(performance.now() - gapAt >= 500);
    await second.release();
  });

  t.test('who holds a lock is known to its holder and to whoever waits; waits are counted by their ends', async (t) => {
    const prefix = freshPrefix();
    const [a, b] = [await open(t, prefix), await open(t, prefix)];
    const holders = () => [a, b].map(({ store }) => store.instances.lockHolder(KEY));
    const isSeen = () => until('b has found it held', () => holders()[1] === a.connection.instanceId);
    t.same(holders(), [null, null]);
    const first = await a.store.lock(KEY, 1_000);
    t.same(holders(), [a.connection.instanceId, null], 'nobody is asked for it');
    const late = t.rejects(b.store.lock(KEY, 400), { code: 'locked' });
    await isSeen();
    await late;
    const waiting = b.store.lock(KEY, 5_000);
    await isSeen();
    await first.release();
    const second = await waiting;
    t.same(holders(), [null, b.connection.instanceId]);
    await second.release();
    t.same(holders(), [null, null]);
    const third = await a.store.lock(KEY, 1_000);
    const lost = t.rejects(b.store.lock(KEY, 60_000), { code: 'absent' });
    await isSeen();
    await server.kill();
    await lost;
    await third.release();
    t.same(holders(), [null, null]);
    t.same(b.store.instances.lockWaits, { taken: 1, timeout: 1, failed: 1 });
    t.same(a.store.instances.lockWaits, { taken: 0, timeout: 0, failed: 0 });
    await server.start();
  });

  t.test('a frozen server takes a lock late: it is given back first thing', async (t) => {
    const prefix = freshPrefix();
    const [a, b] = [await open(t, prefix), await open(t, prefix)];
    server.freeze();
    await t.rejects(a.store.lock(KEY, 5_000), { code: 'absent' });
    await t.rejects(b.store.get(KEY), { code: 'absent' }, 'nor can anybody read');
    server.thaw();
    await until('both are back', () => [a, b].every(({ store }) => store.state().state === 'ok'));
    const lock = await b.store.lock(KEY, 1_000);
    t.ok(lock, 'far sooner than the lease of six seconds');
    await lock.release();
    t.equal(await server.command('EXISTS', await keyOf(prefix, 'lock')), 0);
  });

  t.test('a record that was changed is kept aside, and the store goes on', async (t) => {
    const prefix = freshPrefix();
    const { store } = await open(t, prefix);
    await store.put(KEY, storedToken(1));
    const entry = await keyOf(prefix, 'tok');
    const sealed = await server.command<string>('HGET', entry, 'd');
    const damages = [
      sealed.slice(0, -9),
      sealed.replace('"data":"', '"data":"AAAA'),
      'nonsense',
      sealed.replace('crm', 'erp'),
    ];
    for (const [index, damaged] of damages.entries()) {
      await server.command('HSET', entry, 'g', `${index + 2}`, 'v', `v${index}`, 'd', damaged);
      await t.rejects(store.get(KEY), {
        code: 'damaged',
        message: /it is kept in \{t\d+\}:tok:crm-[0-9a-f]{16}:damaged/,
      });
      t.equal(await server.command('HGET', `${entry}:damaged`, `v${index}`), damaged);
      t.equal(await store.get(KEY), null);
    }
    await store.put(KEY, storedToken(2));
    t.equal(await revealed(store), 'canary-rt-2');
    // What was written for another credential does not serve this one.
    await store.put({ ...KEY, clientId: 'client-2' }, storedToken(9));
    const keys = await server.command<string[]>('KEYS', `{${prefix}}:tok:*`);
    const theirs = keys.find((key) => key !== entry && !key.endsWith('damaged')) ?? '';
    await server.command('HSET', entry, 'g', '9', 'v', 'w', 'd', await server.command<string>('HGET', theirs, 'd'));
    await t.rejects(store.get(KEY), { code: 'damaged', message: /belongs to another credential/ });
  });

  t.test('what was taken away because nobody can open it may be told again', async (t) => {
    const prefix = freshPrefix();
    const { store } = await open(t, prefix);
    await store.put(KEY, storedToken(1));
    t.ok(store.isSettled(), 'a server that answers at once is believed at once');
    await server.command('HSET', await keyOf(prefix, 'tok'), 'd', 'nonsense', 'v', 'x', 'g', '9999999999999');
    await t.rejects(store.get(KEY), { code: 'damaged' });
    t.notOk(store.isSettled());
  });

  t.test('an old value that somebody puts back as the newest counts for nobody, and is told over', async (t) => {
    const prefix = freshPrefix();
    const [a, b] = [await open(t, prefix), await open(t, prefix)];
    await a.store.put(KEY, storedToken(1));
    const entry = await keyOf(prefix, 'tok');
    const old = await server.command<string>('HGET', entry, 'd');
    await a.store.put(KEY, endedToken(2));
    for (const generation of ['3', String(Date.now() + 1_000_000)]) {
      await server.command('HSET', entry, 'g', generation, 'v', 'theirs', 'd', old);
      let told = 0;
      const stop = a.store.onChange(KEY, () => (told += 1));
      await t.rejects(b.store.get(KEY), { code: 'damaged', message: /not of the generation that it claims/ });
      await until('the others hear that it was taken away', () => told > 0);
      stop();
      t.equal(await revealed(a.store), undefined, 'it stays ended');
      t.equal(await server.command('HGET', entry, 'g'), '2', 'whoever knows it has told it again');
    }
    // What is written meanwhile is not kept out by it, either.
    await server.command('HSET', entry, 'g', '9999999', 'v', 'theirs', 'd', old);
    t.match(await b.store.put(KEY, storedToken(5)), { generation: 5 });
    t.equal(await revealed(a.store), 'canary-rt-5');
    const list = { ...KEY, name: 'list' };
    const version = await a.store.replace(list, storedToken(0), { expectedVersion: null });
    const read = await b.store.get(list);
    t.equal(read?.version, version);
    t.equal(read?.value.generation, read?.generation, 'a list is bound to its generation as well');
  });

  t.test('instances whose clocks differ by minutes agree on how long a token is good', async (t) => {
    const prefix = freshPrefix();
    const at = (aheadMs: number) => open(t, prefix, { clock: { ...systemClock, now: () => Date.now() + aheadMs } });
    const [fast, slow] = [await at(300_000), await at(-300_000)];
    const obtainedAt = Date.now() + 300_000;
    await fast.store.put(KEY, { ...storedToken(1), obtainedAt, expiresAt: obtainedAt + 60_000 });
    const value = (await slow.store.get(KEY))?.value;
    const leftMs = (value?.expiresAt ?? 0) - (Date.now() - 300_000);
    t.ok(leftMs > 50_000 && leftMs <= 60_050, `${leftMs}`);
    t.notOk(isFromFuture(value as never, Date.now() - 300_000));
    await slow.store.delete(KEY);
    t.equal(await revealed(fast.store), undefined, 'an end counts more, whoever’s clock is behind');
  });

  t.test('the key of the encryption is changed from instance to instance', async (t) => {
    const prefix = freshPrefix();
    const keys = { key: 'b'.repeat(64), previousKey: 'a'.repeat(64) };
    const [old, changed] = [await open(t, prefix), await open(t, prefix, keys)];
    await old.store.put(KEY, storedToken(1));
    t.equal(await revealed(changed.store), 'canary-rt-1', 'the previous key opens');
    const renewed = await open(t, prefix, { key: 'b'.repeat(64) });
    t.equal(await revealed(renewed.store), 'canary-rt-1', 'and what it opened is sealed by the present one');
    const back = { key: keys.previousKey, previousKey: keys.key };
    t.equal(await revealed((await open(t, prefix, back)).store), 'canary-rt-1', 'by an instance that is a step behind');
    t.equal(await revealed((await open(t, prefix, keys)).store), 'canary-rt-1', 'which takes the step');
    t.equal(await revealed(renewed.store), 'canary-rt-1');
    const passing = { ...KEY, name: 'passing' };
    await old.store.put(passing, storedToken(1), { keptForMs: 60_000 });
    await changed.store.get(passing);
    await t.rejects(renewed.store.get(passing), { code: 'wrong_key' }, 'what ends soon is left to its end');
    await changed.store.put(KEY, storedToken(2));
    await t.rejects(old.store.get(KEY), {
      code: 'wrong_key',
      message: /check encryption_key and encryption_key_previous/,
    });
    t.equal(await revealed(changed.store), 'canary-rt-2', 'whoever lacks the key takes nothing away');
    const last = await open(t, prefix, { key: 'b'.repeat(64) });
    t.equal(await revealed(last.store), 'canary-rt-2', 'it never seals');
    const passphrase = await open(t, freshPrefix(), { key: 'a passphrase of a person' });
    await passphrase.store.put(KEY, storedToken(1));
    t.equal(await revealed(passphrase.store), 'canary-rt-1');
  });

  t.test('an end wins over what it did not know of, and is remembered for a week', async (t) => {
    const prefix = freshPrefix();
    const [a, b] = [await open(t, prefix), await open(t, prefix)];
    await b.store.put(KEY, storedToken(Date.now() + 3_600_000));
    await a.store.delete(KEY);
    t.equal(await revealed(b.store), undefined);
    const life = await server.command<number>('PTTL', await keyOf(prefix, 'tok'));
    t.ok(life > 6 * 24 * 3_600_000 && life <= 7 * 24 * 3_600_000);
  });

  t.test('what is kept for a time is not told again when that is over', async (t) => {
    const prefix = freshPrefix();
    const { store } = await open(t, prefix);
    await store.put(KEY, storedToken(1), { keptForMs: 300 });
    t.equal(await revealed(store), 'canary-rt-1');
    await until('it is over', async () => (await store.get(KEY)) === null && (await keyOf(prefix, 'tok')) === '');
  });

  t.test('nor by an instance that has only read it, or taken its lock', async (t) => {
    const prefix = freshPrefix();
    const [writer, reader, locker] = [await open(t, prefix), await open(t, prefix), await open(t, prefix)];
    await writer.store.put(KEY, storedToken(1), { keptForMs: 1000 });
    t.equal(await revealed(reader.store), 'canary-rt-1');
    const lock = await locker.store.lock(KEY, 0);
    await lock.entry();
    await lock.release();
    // Their clocks began to count after the server's.
    for (const { store } of [reader, locker])
      await until('it is over', async () => (await store.get(KEY)) === null && (await keyOf(prefix, 'tok')) === '');
    t.equal(await writer.store.get(KEY), null);
  });

  t.test('what is told again is kept for what was left of its time', async (t) => {
    const prefix = freshPrefix();
    const [writer, reader] = [await open(t, prefix), await open(t, prefix)];
    await writer.store.put(KEY, storedToken(1), { keptForMs: 60_000 });
    await server.command('PEXPIRE', await keyOf(prefix, 'tok'), '20000');
    t.equal(await revealed(reader.store), 'canary-rt-1');
    await server.command('DEL', await keyOf(prefix, 'tok'));
    t.equal(await revealed(reader.store), 'canary-rt-1', 'the server had lost it');
    const life = await server.command<number>('PTTL', await keyOf(prefix, 'tok'));
    t.ok(life > 0 && life <= 20_000, `${life} ms`);
  });

  t.test('nothing in the server says a secret: of any key, field or message', async (t) => {
    const prefix = freshPrefix();
    const { store } = await open(t, prefix);
    await store.put(KEY, storedToken(1));
    await store.replace({ ...KEY, name: 'list' }, storedToken(1), { expectedVersion: null });
    const lock = await store.lock(KEY, 0);
    await lock.begin(await lock.entry());
    await server.command('SET', `{${prefix}}:control`, 'canary-at-1');
    const found: string[] = [];
    for (const key of await server.command<string[]>('KEYS', `{${prefix}}:*`)) {
      const all = JSON.stringify(
        (await server.command('TYPE', key)) === 'hash'
          ? await server.command('HGETALL', key)
          : (await server.command('TYPE', key)) === 'string' && (await server.command('GET', key)),
      );
      for (const secret of ['canary-at-1', 'canary-rt-1', 'a'.repeat(64)])
        for (const form of [secret, Buffer.from(secret).toString('base64').slice(0, 12), encodeURIComponent(secret)])
          if (all.includes(form)) found.push(key);
    }
    await lock.release();
    t.strictSame([...new Set(found)], [`{${prefix}}:control`]);
  });
}
