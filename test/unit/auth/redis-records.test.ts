// Records and indexes that instances share, over a real server: what they promise, and what somebody who can write there
// may do to them.

import t from 'tap';
import { createSealer } from '../../../src/auth/credentials/store/encryption.ts';
import { RedisIndex } from '../../../src/auth/credentials/store/redis-index.ts';
import { RedisRecords } from '../../../src/auth/credentials/store/redis-records.ts';
import { Secret } from '../../../src/secret.ts';
import { startRedis, withoutRedis } from '../../helpers/redis-process.ts';
import { openConnection, redisStore } from '../../helpers/redis-store.ts';

if (withoutRedis) t.plan(0, withoutRedis);
else {
  const server = await startRedis(t);
  const { connection } = await openConnection(t, redisStore(server.url));
  const sealer = createSealer({
    secret: async () => new Secret('5'.repeat(64)),
    salt: () => connection.meta?.salt ?? null,
  });
  const records = new RedisRecords({ connection, sealer });
  const life = { lifeMs: 60_000 };

  t.test('of two that compare and set one succeeds, also where the reply was lost', async (t) => {
    t.equal(await records.get('login', 'a'), null);
    const first = await records.put('login', 'a', 'one', { ...life, expected: null });
    t.type(first, 'string');
    t.equal(await records.put('login', 'a', 'two', { ...life, expected: null }), null);
    t.same(await records.get('login', 'a'), { text: 'one', version: first });
    const taken = await Promise.all(
      ['x', 'y', 'z'].map((text) => records.put('login', 'a', text, { ...life, expected: first })),
    );
    t.equal(taken.filter((version) => version !== null).length, 1, 'a code is redeemed once');
    await records.delete('login', 'a');
    t.equal(await records.get('login', 'a'), null);
  });

  t.test('a record opens under its own key and kind alone', async (t) => {
    await records.put('chan', 'a', 'mine', life);
    const data = await server.command<string>('HGET', '{gcg}:chan:a', 'd');
    for (const key of ['chan:b', 'login:a', 'way:a', 'done:a'])
      await server.command('HSET', `{gcg}:${key}`, 'd', data, 'v', 'x');
    t.equal(await records.get('chan', 'b'), null);
    for (const kind of ['login', 'way', 'done'] as const) t.equal(await records.get(kind, 'a'), null);
    for (const hostile of ['', '{}', data.slice(0, -4), data.replace('"tag":"', '"tag":"A'), '\xff'.repeat(9)]) {
      await server.command('HSET', '{gcg}:chan:a', 'd', hostile);
      t.equal(await records.get('chan', 'a'), null, hostile.slice(0, 10));
    }
    await server.command('DEL', '{gcg}:chan:a');
    await server.command('SET', '{gcg}:chan:a', 'x');
    await t.rejects(records.get('chan', 'a'), { code: 'absent', message: /something else is kept/ });
  });

  t.test('the bound is kept: of the owner that has most the one that ends first gives way', async (t) => {
    const index = new RedisIndex(connection, 'bound', 5);
    const many = (...ids: string[]) => ids.map((id) => ({ id, owner: 'many' }));
    for (const { id, owner } of many('1', '2', '3', '4')) t.same(await index.note(id, owner, Number(id) * 10_000), []);
    t.same(await index.note('1', 'few', 1_000), []);
    t.same(await index.note('2', 'few', 60_000), many('1'), 'not one of the few');
    t.same(await index.note('2', 'many', 90_000), many('1'), 'noting one again is no more of them');
    t.same(await index.note('5', 'many', 5_000), many('1', '3'), 'never the one that is noted');
    t.same((await index.of('many')).toSorted(), ['1', '2', '3', '4', '5'], 'each counts until its end is told');
    for (const one of many('1', '3', '4', '4')) await index.drop(one);
    t.same((await index.of('many')).toSorted(), ['2', '5']);
    t.same((await index.of('few')).toSorted(), ['1', '2']);
    t.same(await index.note('6', 'many', 60_000), [], 'dropping one twice counts once');
  });

  t.test('of those noted within one millisecond the first gives way first', async (t) => {
    const index = new RedisIndex(connection, 'moment', 1);
    const ids = Array.from({ length: 20 }, (_, at) => String(90 - at));
    const answers = await Promise.all(ids.map((id) => index.note(id, 'own', 60_000)));
    t.same(
      answers.at(-1)?.map(({ id }) => id),
      ids.slice(0, -1),
    );
  });

  t.test('a record that has to give way counts until it is gone, whoever hears of it', async (t) => {
    const most = 1_000;
    const fill = `for i = 1, ${most} do redis.call('ZADD', KEYS[1], 9e15 + i, 'full:' .. i) end
      redis.call('HSET', KEYS[2], 'full', ${most})`;
    await server.command('EVAL', fill, '2', '{gcg}:idx:way', '{gcg}:idx:way:n');
    await records.put('way', '1', 'first', { ...life, owner: 'full' });
    // The reply of a note is lost: nobody ends what it named.
    await new RedisIndex(connection, 'way', most).note('2', 'full', 60_000);
    const expected = await records.put('way', '3', 'last', { ...life, owner: 'another' });
    t.equal(await records.get('way', '1'), null, 'the next one ends it');
    t.equal(await server.command('ZCARD', '{gcg}:idx:way'), most);
    await new RedisIndex(connection, 'way', most).note('4', 'full', 60_000);
    t.equal(await records.put('way', '3', 'x', { ...life, owner: 'another', expected: `not ${expected}` }), null);
    t.equal(await server.command('ZCARD', '{gcg}:idx:way'), most, 'also one whose own record is not written');
  });

  t.test('foreign members and counts stop neither the bound nor anybody’s records', async (t) => {
    const index = new RedisIndex(connection, 'hostile', 3);
    const [members, counts] = ['{gcg}:idx:hostile', '{gcg}:idx:hostile:n'];
    await server.command('ZADD', members, '1', 'foreign', '-inf', '', '5', ':', 'inf', 'no colon', '1', 'a:b:c');
    await server.command('HSET', counts, '', 'x', 'inf', 'inf', 'nan', 'nan', 'huge', '1e308', 'text', 'zz');
    t.same(await index.note('1', 'own', 10_000), []);
    t.same(await index.note('2', 'own', 20_000), []);
    t.same(await index.note('3', 'own', 30_000), [{ id: '1', owner: 'own' }], 'the bound holds');
    t.same((await index.of('own')).toSorted(), ['1', '2', '3']);
    await server.command('DEL', members, counts);
    await server.command('SET', members, 'x');
    await t.rejects(index.note('1', 'own', 10_000), { message: /something else is kept/ });
  });

  t.test('an index far larger than we make it is begun anew: to search it would hold up the server', async (t) => {
    const index = new RedisIndex(connection, 'flood', 100);
    const fill = `for i = 1, 3 do local all = {} for j = 1, 1000 do all[#all + 1] = 'inf'
      all[#all + 1] = 'x' .. i .. ':' .. j end redis.call('ZADD', KEYS[1], unpack(all)) end`;
    await server.command('EVAL', fill, '1', '{gcg}:idx:flood');
    t.same(await index.of('own'), [], 'it is searched only so far');
    t.same(await index.note('1', 'own', 10_000), []);
    t.equal(await server.command('ZCARD', '{gcg}:idx:flood'), 1);
    t.same(await index.of('own'), ['1']);
  });
}
