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
        const reply = await run(REPLACE, [entry, lock, 'rev'], [ids, (await read()).v, `v${puts}`, `data ${puts}`, '']);
        stored.push({ g: Number(reply), d: `data ${puts}` });
        lastBegun = Math.max(lastBegun, Number(reply));
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
      [1, '0', '', '', '0'],
      [1, '0', '', '', '0'],
    ]);
    const [one, two] = await twice(INTENT, ['lock:x', 'tok:x'], ['a', '', 60_000, 0]);
    t.ok(Number(two) > Number(one));
    t.strictSame(await twice(PUT, ['tok:x', 'rev'], ['x', two, 'v1', 'd1', 0]), [[2], [1]]);
    const [three, again] = await twice(REPLACE, ['tok:x', 'lock:x', 'rev'], ['x', 'v1', 'v2', 'd2', 'a']);
    t.equal(again, three);
    t.strictSame(await twice(EXTEND, ['lock:x'], ['a', 60_000]), [1, 1]);
    t.strictSame(await twice(RELEASE, ['lock:x', 'rev'], ['a', 'x']), [1, 0]);
    t.strictSame(await twice(KEEP_ASIDE, ['tok:x', 'tok:x:damaged'], ['v2', 60_000, 1]), [1, 0]);
    t.equal(await server.command('HGET', `${PREFIX}tok:x:damaged`, 'v2'), 'd2');
    t.strictSame(await run(READ, ['tok:x'], []), ['0', '', '']);
  });

  t.test('an intent is there until something of its generation is stored', async (t) => {
    const intentOf = async () => list(await run(LOCK, ['lock:i', 'tok:i'], ['a', 60_000]))[4];
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
