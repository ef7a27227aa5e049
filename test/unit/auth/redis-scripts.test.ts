// The scripts of the shared store as a state machine: three owners, any order of what they send, leases that end.

import fc from 'fast-check';
import t from 'tap';
import {
  EXTEND,
  INTENT,
  KEEP_ASIDE,
  LOCK,
  PUT,
  READ,
  RELEASE,
  REPLACE,
  STORE_SCRIPTS,
} from '../../../src/auth/credentials/store/redis-scripts.ts';
import type { Reply } from '../../../src/redis/link.ts';
import type { Script } from '../../../src/redis/script.ts';
import { RedisProcess, withoutRedis } from '../../helpers/redis-process.ts';

/** One owner as its process sees itself. */
interface Owner {
  readonly name: string;
  /** The version that it read with the lock; null: it believes that it has none. */
  read: string | null;
  /** What it began, and has not put. */
  begun: number | null;
}

const STEPS = ['LOCK', 'INTENT', 'PUT', 'RELEASE', 'EXTEND', 'expire', 'PUT again', 'REPLACE', 'empty'] as const;
const step = fc.record({ owner: fc.nat(2), what: fc.constantFrom(...STEPS) });

if (withoutRedis) t.plan(0, withoutRedis);
else {
  const server = new RedisProcess({});
  await server.start();
  t.teardown(() => server.close());
  const PREFIX = '{gcg}:';
  // Without the deadlines of the gateway's own connection: a busy machine says nothing of a script.
  const run = ({ text }: Script, keys: readonly string[], args: readonly unknown[]) => {
    const whole = keys.map((key) => PREFIX + key);
    return server.command<Reply>('EVAL', text, String(keys.length), ...whole, ...args.map(String));
  };
  const list = (reply: Reply) => reply as readonly Reply[];
  let ids = 0;

  /** Runs steps on an entry of their own, and checks after each. */
  async function play(steps: readonly { owner: number; what: (typeof STEPS)[number] }[]): Promise<void> {
    ids += 1;
    const [entry, lock] = [`tok:${ids}`, `lock:${ids}`];
    const owners: Owner[] = ['a', 'b', 'c'].map((name) => ({ name, read: null, begun: null }));
    /** Who may send by what it was told, for as long as its lease goes on. */
    let sender: Owner | null = null;
    let [highest, puts, lastBegun] = [0, 0, 0];
    const stored: { g: number; d: string }[] = [];
    const read = async () => {
      const [g, v, d] = list(await run(READ, [entry], [])).map(String);
      return { g: Number(g), v: v ?? '', d: d ?? '' };
    };
    for (const { owner, what } of steps) {
      const own = owners[owner] as Owner;
      if (what === 'LOCK') {
        const [isTaken, , version] = list(await run(LOCK, [lock, entry], [own.name, 60_000]));
        if (isTaken === 1) own.read = String(version);
        if (isTaken === 1 && sender !== null && sender !== own) throw new Error('a lock was taken from its holder');
      } else if (what === 'INTENT') {
        const before = await read();
        const reply = await run(INTENT, [lock, entry], [own.name, own.read ?? 'none', 60_000, 0]);
        if (reply === 'lost' || reply === 'changed') continue;
        if (sender !== null && sender !== own) throw new Error(`${own.name} may send beside ${sender.name}`);
        if (before.v !== own.read) throw new Error(`${own.name} may send what was superseded`);
        const generation = Number(reply);
        if (generation <= lastBegun || generation <= before.g) throw new Error('a generation fell');
        lastBegun = generation;
        sender = own;
        own.begun = generation;
      } else if (what === 'PUT' && own.begun !== null) {
        puts += 1;
        const [g, d] = [own.begun, `data ${puts}`];
        const [outcome, newer] = list(await run(PUT, [entry, 'rev'], [ids, g, `v${puts}`, d, 0]));
        if (outcome === 0 && Number(newer) <= g) throw new Error('what is older was preferred');
        if (outcome !== 0) stored.push({ g, d });
        own.begun = null;
        if (sender === own) sender = null;
      } else if (what === 'PUT again' && stored.length > 0) {
        // Somebody tells what it knows, old or new.
        const known = stored[puts % stored.length] as { g: number; d: string };
        await run(PUT, [entry, 'rev'], [ids, known.g, `v${known.d.slice(5)}`, known.d, 0]);
      } else if (what === 'RELEASE') {
        await run(RELEASE, [lock, 'rev'], [own.name, ids]);
        own.read = null;
        if (sender === own) sender = null;
      } else if (what === 'EXTEND') {
        const isHeld = await run(EXTEND, [lock], [own.name, 60_000]);
        if (isHeld === 1 && sender !== null && sender !== own) throw new Error('a lock has two holders');
      } else if (what === 'expire') {
        await server.command('DEL', PREFIX + lock);
        sender = null;
      } else if (what === 'REPLACE') {
        puts += 1;
        const before = await read();
        const [g, d] = [Math.max(before.g, lastBegun) + 1, `data ${puts}`];
        const reply = await run(REPLACE, [entry, lock, 'rev'], [ids, before.v, `v${puts}`, d, '', g]);
        if (reply !== 'ok') throw new Error('what was read last was not replaced');
        stored.push({ g, d });
        lastBegun = g;
      } else if (what === 'empty') {
        // What every instance knows is told again, in any order.
        await server.command('DEL', PREFIX + lock, PREFIX + entry);
        sender = null;
        for (const { g, d } of stored.toReversed()) await run(PUT, [entry, 'rev'], [ids, g, `v${d.slice(5)}`, d, 0]);
      }
      const { g, d } = await read();
      if (g < highest) throw new Error(`the generation fell from ${highest} to ${g}`);
      highest = g;
      const best = Math.max(0, ...stored.map((one) => one.g));
      if (g !== best || (best > 0 && !stored.some((one) => one.g === g && one.d === d)))
        throw new Error('what is stored is not what counts most');
    }
  }

  t.test(
    'in any order: one may send, only what counts, generations never fall, the highest is what stays',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => play(steps)),
        { numRuns: 150 },
      );
    },
  );

  t.test('what was stored in one order or another is the same', async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(1_000), { minLength: 1, maxLength: 12 }),
        fc.infiniteStream(fc.nat()),
        async (generations, luck) => {
          const outcomes: string[] = [];
          for (let round = 0; round < 2; round += 1) {
            ids += 1;
            for (const g of generations) await run(PUT, [`tok:${ids}`, 'rev'], [ids, g + 1, `v${g}`, `d${g}`, 0]);
            outcomes.push(JSON.stringify(await run(READ, [`tok:${ids}`], [])));
            generations = generations
              .map((g) => ({ g, at: luck.next().value as number }))
              .sort((a, b) => a.at - b.at)
              .map(({ g }) => g);
          }
          if (outcomes[0] !== outcomes[1]) throw new Error(outcomes.join(' and '));
        },
      ),
      { numRuns: 50 },
    );
    t.pass();
  });

  t.test('each is harmless when it is sent again because its reply was lost', async (t) => {
    const twice = async (script: Script, keys: string[], args: unknown[]) => {
      const first = await run(script, keys, args);
      return [first, await run(script, keys, args)];
    };
    t.strictSame(await twice(LOCK, ['lock:x', 'tok:x'], ['a', 60_000]), [
      [1, '0', '', '', -2, '0'],
      [1, '0', '', '', -2, '0'],
    ]);
    const [one, two] = await twice(INTENT, ['lock:x', 'tok:x'], ['a', '', 60_000, 0]);
    t.ok(Number(two) > Number(one));
    t.strictSame(await twice(PUT, ['tok:x', 'rev'], ['x', two, 'v1', 'd1', 0]), [[2], [1]]);
    const later = ['x', 'v1', 'v2', 'd2', 'a', Number(two) + 1];
    t.strictSame(await twice(REPLACE, ['tok:x', 'lock:x', 'rev'], later), ['ok', 'ok']);
    const older = ['x', 'v2', 'v3', 'd3', 'a', two];
    t.equal(await run(REPLACE, ['tok:x', 'lock:x', 'rev'], older), 'changed', 'a generation never falls');
    t.strictSame(await twice(EXTEND, ['lock:x'], ['a', 60_000]), [1, 1]);
    t.strictSame(await twice(RELEASE, ['lock:x', 'rev'], ['a', 'x']), [1, 0]);
    t.strictSame(await twice(KEEP_ASIDE, ['tok:x', 'tok:x:damaged', 'rev'], ['v2', 60_000, 1, 'x']), [1, 0]);
    t.equal(await server.command('HGET', `${PREFIX}tok:x:damaged`, 'v2'), 'd2');
    t.strictSame(await run(READ, ['tok:x'], []), ['0', '', '', -2]);
  });

  t.test('what somebody else wrote into an entry or a lock holds up nobody for good', async (t) => {
    const set = (...args: string[]) => server.command('HSET', `${PREFIX}tok:h`, ...args);
    for (const hostile of ['inf', 'nan', '-1', '1e300', '0x7f', '9'.repeat(15), '9'.repeat(400), 'x y', '', '1 ']) {
      await set('g', hostile, 'v', 'v0', 'd', 'd0', 'i', hostile);
      t.strictSame(await run(READ, ['tok:h'], []), ['0', 'v0', 'd0', -1], hostile);
      await run(LOCK, ['lock:h', 'tok:h'], ['a', 60_000]);
      const begun = Number(await run(INTENT, ['lock:h', 'tok:h'], ['a', 'v0', 60_000, 0]));
      t.ok(Math.abs(begun - Date.now()) < 60_000, `${hostile}: ${begun}`);
      t.strictSame(await run(PUT, ['tok:h', 'rev'], ['h', begun, 'v1', 'd1', 0]), [2]);
      t.strictSame(await run(READ, ['tok:h'], []), [String(begun), 'v1', 'd1', -1]);
      await server.command('DEL', `${PREFIX}tok:h`);
    }
    await set('i', '9'.repeat(14));
    const begun = Number(await run(INTENT, ['lock:h', 'tok:h'], ['a', '', 60_000, 0]));
    t.ok(Math.abs(begun - Date.now()) < 60_000, 'nor by a generation of a year to come');
    await run(PUT, ['tok:h', 'rev'], ['h', begun, 'v1', 'd1', 0]);
    await server.command('HDEL', `${PREFIX}tok:h`, 'g');
    t.strictSame(await run(PUT, ['tok:h', 'rev'], ['h', begun, 'v1', 'd1', 0]), [2], 'a lost generation is told again');
    await server.command('SET', `${PREFIX}lock:h`, 'of nobody');
    t.equal(list(await run(LOCK, ['lock:h', 'tok:h'], ['b', 60_000]))[0], 1, 'a lock without an end is nobody’s');
  });

  t.test('an intent is there until something of its generation is stored', async (t) => {
    const intentOf = async () => list(await run(LOCK, ['lock:i', 'tok:i'], ['a', 60_000]))[5];
    t.equal(await intentOf(), '0');
    const begun = String(await run(INTENT, ['lock:i', 'tok:i'], ['a', '', 60_000, 0]));
    t.equal(await intentOf(), begun);
    await run(PUT, ['tok:i', 'rev'], ['i', Number(begun) - 1, 'v0', 'd0', 0]);
    t.equal(await intentOf(), begun, 'what began before says nothing of it');
    await run(PUT, ['tok:i', 'rev'], ['i', begun, 'v1', 'd1', 0]);
    t.equal(await intentOf(), '0');
  });

  t.test('how long an entry is kept is what was said last', async (t) => {
    const lifeOf = () => server.command<number>('PTTL', `${PREFIX}tok:k`);
    await run(PUT, ['tok:k', 'rev'], ['k', 1, 'v1', 'd1', 60_000]);
    t.ok((await lifeOf()) > 50_000);
    for (const reply of [
      await run(READ, ['tok:k'], []),
      list(await run(LOCK, ['lock:k', 'tok:k'], ['a', 60_000])).slice(1),
      list(await run(PUT, ['tok:k', 'rev'], ['k', 0, 'v0', 'd0', 0])).slice(1),
    ])
      t.ok(Number(list(reply)[3]) > 50_000, 'and told with it');
    await run(PUT, ['tok:k', 'rev'], ['k', 2, 'v2', 'd2', 0]);
    t.equal(await lifeOf(), -1);
  });

  t.test('the trials of all scripts, in their order, run each of their commands', async (t) => {
    for (const script of STORE_SCRIPTS) {
      const { keys, args } = script.trial;
      const reply = await run(
        script,
        keys.map((key) => `check:${key}`),
        args,
      );
      t.notOk(['lost', 'changed', 0].includes((Array.isArray(reply) ? reply[0] : reply) as string), script.name);
    }
  });
}
