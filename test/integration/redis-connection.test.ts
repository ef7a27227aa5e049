// The connection to a shared store against real servers that are killed, frozen, slow, full, replaced or locked.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { RedisError } from '../../src/redis/redis-error.ts';
import { Script } from '../../src/redis/script.ts';
import { fileSecret, inlineSecret } from '../../src/secret.ts';
import { createFakeClock, type FakeClock } from '../helpers/fake-clock.ts';
import { startFront } from '../helpers/redis-front.ts';
import { startRedis, withoutRedis } from '../helpers/redis-process.ts';
import { openConnection, redisStore, type WatchedConnection } from '../helpers/redis-store.ts';

const ECHO = new Script('echo', "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]", { keys: ['echo'], args: ['1'] });
const echo = (text: string) => ({ script: ECHO, keys: ['{gcg}:echo'], args: [text] });
const kindOf = (error: unknown) => (error instanceof RedisError ? `${error.kind} ${error.word}`.trim() : String(error));
const failureOf = (work: Promise<unknown>) => work.then(() => 'none', kindOf);

/** Moves a clock of the test until a condition holds, which takes real replies of a real server. */
async function runUntil(clock: FakeClock, stepMs: number, what: string, condition: () => boolean): Promise<number> {
  // A server needs some time for its reply; one that hangs needs none.
  const turns = stepMs < 100 ? 2 : 20;
  for (let ms = 0; ms < 60_000; ms += stepMs) {
    if (condition()) return ms;
    await clock.advance(stepMs);
    for (let turn = 0; turn < turns && !condition(); turn += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`it never came to be: ${what}`);
}

const stateOf = ({ connection }: WatchedConnection) => connection.status().state;

t.test('a connection', { skip: withoutRedis }, async (t) => {
  t.jobs = 3;
  const test = (name: string, body: (t: Test) => Promise<void>) => t.test(name, { buffered: true }, body);

  test('runs scripts and commands, hears channels, and knows the time and who else is there', async (t) => {
    const redis = await startRedis(t);
    const heard: string[] = [];
    const clock = createFakeClock(Date.now());
    const first = await openConnection(t, redisStore(redis.url), {
      clock,
      prepare: (connection) => connection.subscribe('{gcg}:rev', (message) => void heard.push(message)),
    });
    const second = await openConnection(t, redisStore(redis.url), { clock });
    t.equal(first.failure, null);
    t.equal(await first.connection.script(echo('one')), 'one');
    t.equal(await second.connection.command(['GET', '{gcg}:echo']), 'one');
    await redis.command('SCRIPT', 'FLUSH');
    t.strictSame(await first.connection.batch([echo('a'), echo('b')]), ['a', 'b'], 'and sends a script it forgot');
    second.connection.subscribe('{gcg}:late', (message) => void heard.push(message));
    await redis.command('PUBLISH', '{gcg}:rev', 'x');
    await first.until('heard', () => heard.includes('x'));
    await redis.until('a listener', async () => (await redis.command<number>('PUBLISH', '{gcg}:late', 'y')) === 1);
    await first.until('heard', () => heard.includes('y'));
    const { time, meta, instances, instanceId } = second.connection;
    t.ok(Math.abs(time.aheadMs) < 30_000, 'the same machine has the same time');
    t.strictSame(meta?.gatewayId, first.connection.meta?.gatewayId);
    t.equal(meta?.salt, first.connection.meta?.salt);
    t.equal(instances.length, 2);
    t.ok(Number.isFinite(first.connection.emptyMono), 'it was empty when the first one came');
    await redis.command('HDEL', '{gcg}:meta', 'since');
    const { connection: third } = await openConnection(t, redisStore(redis.url));
    t.equal(third.emptyMono, Number.NEGATIVE_INFINITY, 'what an older version wrote is not taken for new');
    await third.close();
    await second.connection.close();
    t.strictSame(await redis.command('ZRANGE', '{gcg}:inst', '0', '-1'), [first.connection.instanceId]);
    t.not(instanceId, first.connection.instanceId);
    t.strictSame(await redis.command('KEYS', '*').then((keys) => (keys as string[]).sort()), [
      '{gcg}:echo',
      '{gcg}:inst',
      '{gcg}:meta',
    ]);
    t.strictSame(first.gaps, []);
    t.match(first.lines, [/^the store is connected/]);
    t.equal(first.lines.length, 1);
  });

  test('whose server is killed fails at once, and is back with all it heard when the server is', async (t) => {
    const redis = await startRedis(t);
    const heard: string[] = [];
    const watched = await openConnection(t, redisStore(redis.url), {
      prepare: (connection) => connection.subscribe('{gcg}:rev', (message) => void heard.push(message)),
    });
    const losses: number[] = [];
    watched.connection.onLoss(() => void losses.push(1));
    const pending = failureOf(watched.connection.script(echo('x')));
    redis.freeze();
    const lost = failureOf(watched.connection.script(echo('y')));
    await redis.kill();
    t.match(await pending, /^none|^lost/);
    t.equal(await lost, 'lost');
    t.equal(await failureOf(watched.connection.script(echo('z'))), 'offline');
    t.equal(stateOf(watched), 'down');
    t.match(
      watched.connection.status().error,
      /cannot be reached: nothing|cannot be reached: there is no|^the connection to Redis at .* ended/,
    );
    await redis.start();
    await watched.until('it is back', () => stateOf(watched) === 'ok');
    t.equal(losses.length, 1);
    t.match(watched.gaps, [{ isEmptied: true }], 'the server had lost everything');
    t.equal(await redis.command('PUBLISH', '{gcg}:rev', 'x'), 1);
    t.match(await watched.connection.script(echo('again')), 'again');
    t.strictSame(heard, ['x']);
    t.equal(watched.lines.length, 3, 'one line for each change of state, however often it was tried');
  });

  test('whose server keeps its data tells of a gap in which nothing was lost', async (t) => {
    const redis = await startRedis(t, { isDurable: true });
    const watched = await openConnection(t, redisStore(redis.url));
    await redis.restart();
    await watched.until('it is back', () => watched.gaps.length === 1);
    t.match(watched.gaps, [{ isEmptied: false }]);
  });

  test('whose server freezes waits for nothing but its deadline, leaves it, and comes back', async (t) => {
    const redis = await startRedis(t);
    const clock = createFakeClock();
    const watched = await openConnection(t, redisStore(redis.url), { clock });
    redis.freeze();
    const startedAt = clock.monotonic();
    const late = failureOf(watched.connection.script(echo('x')));
    await clock.advance(499);
    t.equal(stateOf(watched), 'ok');
    await clock.advance(1);
    t.equal(await late, 'late');
    t.equal(stateOf(watched), 'degraded');
    t.equal(await failureOf(watched.connection.script(echo('y'))), 'offline', 'nobody else waits');
    await runUntil(clock, 50, 'it is given up', () => stateOf(watched) === 'down');
    const silentMs = clock.monotonic() - startedAt;
    t.ok(silentMs >= 2000 && silentMs < 3000, `after ${silentMs} ms of silence`);
    await clock.advance(10_000);
    t.equal(stateOf(watched), 'down', 'it accepts connections, and says nothing');
    t.match(watched.lines.at(-1), /silent|does not answer|did not answer/);
    redis.thaw();
    await runUntil(clock, 100, 'it is back', () => stateOf(watched) === 'ok');
    t.equal(watched.gaps.length, 1);
    t.equal(await watched.connection.script(echo('z')), 'z');
    t.equal(watched.lines.length, 4, watched.lines.join('\n'));
  });

  test('that nobody uses notices a server that falls silent', async (t) => {
    const redis = await startRedis(t);
    const clock = createFakeClock();
    const watched = await openConnection(t, redisStore(redis.url), { clock });
    redis.freeze();
    const ms = await runUntil(clock, 50, 'it is noticed', () => stateOf(watched) === 'degraded');
    t.ok(ms <= 1600, `${ms} ms`);
  });

  test('to a slow server is kept: to connect again would make it slower', async (t) => {
    const redis = await startRedis(t, { tcp: true });
    const front = await startFront(t, redis.port);
    const store = redisStore(`redis://127.0.0.1:${front.port}`);
    const watched = await openConnection(t, store, { clock: systemClock });
    front.delayMs = 350;
    t.equal(await failureOf(watched.connection.script(echo('x'))), 'late');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    t.equal(stateOf(watched), 'degraded');
    t.equal(front.accepted, 1);
    front.delayMs = 0;
    await watched.until('it is quick again', () => stateOf(watched) === 'ok');
    t.equal(front.accepted, 1, 'the same connection');
    t.equal(watched.gaps.length, 1);
    t.equal(watched.lines.length, 3, watched.lines.join('\n'));
  });

  test('into a black hole is given up, and made again where there is a way', async (t) => {
    const redis = await startRedis(t, { tcp: true });
    const clock = createFakeClock();
    const front = await startFront(t, redis.port);
    const watched = await openConnection(t, redisStore(`redis://127.0.0.1:${front.port}`), { clock });
    front.isBlackHole = true;
    await runUntil(clock, 50, 'it is given up', () => stateOf(watched) === 'down');
    front.isBlackHole = false;
    await runUntil(clock, 100, 'it is back', () => stateOf(watched) === 'ok');
    t.ok(front.accepted >= 2);
  });

  test('to a server that is absent at the start is made when it comes', async (t) => {
    const redis = await startRedis(t);
    await redis.kill();
    const watched = await openConnection(t, redisStore(redis.url));
    t.equal(watched.failure?.kind, 'offline');
    t.equal(watched.connection.meta, null);
    t.match(watched.connection.status(), { state: 'down', server: null, error: /cannot be reached/ });
    await watched.until('it was tried again', () => watched.lines.length === 1);
    await redis.start();
    await watched.until('it is there', () => stateOf(watched) === 'ok');
    t.match(watched.connection.meta, { salt: /^[0-9a-f]{32}$/ });
    t.equal(watched.gaps.length, 1, 'what was done meanwhile has to be told');
    t.equal(watched.lines.length, 2);
  });

  test('with a wrong password refuses the start; a changed one is read again at each connection', async (t) => {
    const redis = await startRedis(t, { password: 'canary-right' });
    const wrong = redisStore(redis.url, { password: inlineSecret('canary-wrong', 'test') });
    await t.rejects(openConnection(t, wrong), { kind: 'refused', word: 'WRONGPASS', message: /store\.password/ });
    await t.rejects(openConnection(t, redisStore(redis.url)), { word: 'NOAUTH', message: /password_file/ });
    const file = join(t.testdir(), 'password');
    writeFileSync(file, 'canary-right\n', { mode: 0o600 });
    const watched = await openConnection(t, redisStore(redis.url, { password: fileSecret(file) }));
    await redis.command('CONFIG', 'SET', 'requirepass', 'canary-next');
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes');
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await watched.until('it is refused', () => /WRONGPASS/.test(watched.connection.status().error ?? ''));
    t.equal(stateOf(watched), 'down');
    writeFileSync(file, 'canary-next\n', { mode: 0o600 });
    await watched.until('it is let in', () => stateOf(watched) === 'ok');
    t.notMatch(JSON.stringify([watched.lines, watched.gaps.map(({ cause }) => cause.message)]), /canary/);
  });

  test('without a right refuses the start and names it; one that is taken away is told until it is back', async (t) => {
    const all = '+hello +auth +ping +eval +evalsha +time +get +set +exists +hget +hset +zadd +zrem +zrangebyscore';
    const redis = await startRedis(t, {
      users: [
        'default on nopass ~* &* +@all',
        `gcg on >canary ~{gcg}:* &{gcg}:* ${all} +pexpire +publish +subscribe`,
        `mute on >canary ~{gcg}:* &{gcg}:* ${all}`,
        'keyless on >canary ~other:* &* +@all',
      ],
    });
    const as = (username: string) => redisStore(redis.url, { username, password: inlineSecret('canary', 'test') });
    await t.rejects(openConnection(t, as('mute')), {
      word: 'NOPERM',
      message: /a command or a key that a script uses/,
    });
    await t.rejects(openConnection(t, as('keyless')), { word: 'NOPERM', message: /keys/ });
    const clock = createFakeClock();
    const watched = await openConnection(t, as('gcg'), { clock });
    await redis.command('ACL', 'SETUSER', 'gcg', '-evalsha');
    t.equal(await failureOf(watched.connection.script(echo('x'))), 'refused NOPERM');
    t.match(watched.connection.status(), { state: 'degraded', error: /no right to the command evalsha/ });
    await redis.command('ACL', 'SETUSER', 'gcg', '+evalsha');
    await runUntil(clock, 1000, 'a write succeeds', () => stateOf(watched) === 'ok');
  });

  test('to a server that takes no writes reads on, and tells it until one succeeds', async (t) => {
    const redis = await startRedis(t);
    const clock = createFakeClock();
    const watched = await openConnection(t, redisStore(redis.url), { clock });
    for (const [word, break_, mend] of [
      ['OOM', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
      ['NOREPLICAS', ['CONFIG', 'SET', 'min-replicas-to-write', '1'], ['CONFIG', 'SET', 'min-replicas-to-write', '0']],
    ] as const) {
      await redis.command(...break_);
      t.equal(await failureOf(watched.connection.script(echo('x'))), `refused ${word}`);
      t.match(watched.connection.status(), { state: 'degraded', error: new RegExp(word) });
      t.equal(await failureOf(watched.connection.command(['GET', '{gcg}:echo'])), 'none');
      await redis.command(...mend);
      await runUntil(clock, 1000, 'a write succeeds', () => stateOf(watched) === 'ok');
    }
    t.equal(watched.gaps.length, 2, 'what was not written meanwhile has to be told');
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    const second = await openConnection(t, redisStore(redis.url));
    t.match(second.connection.status(), { state: 'degraded', error: /OOM/ }, 'also one that comes then');
  });

  test('with records of a later version, or of others, refuses the start', async (t) => {
    const redis = await startRedis(t);
    await redis.command('HSET', '{gcg}:meta', 'schema', '2', 'salt', '0'.repeat(32), 'gateway', '0'.repeat(16));
    await t.rejects(openConnection(t, redisStore(redis.url)), { kind: 'unusable', message: /later version.*schema 2/ });
    await redis.command('HSET', '{gcg}:meta', 'schema', 'x');
    await t.rejects(openConnection(t, redisStore(redis.url)), { kind: 'unusable', message: /something else/ });
    await redis.command('SET', '{other}:meta', 'x');
    const other = redisStore(redis.url, { prefix: 'other' });
    await t.rejects(openConnection(t, other), { word: 'WRONGTYPE', message: /another store\.prefix/ });
  });

  test('survives listeners that throw', async (t) => {
    const redis = await startRedis(t);
    const watched = await openConnection(t, redisStore(redis.url), {
      clock: createFakeClock(),
      prepare: (connection) =>
        connection.subscribe('{gcg}:rev', () => {
          throw new Error('canary');
        }),
    });
    await redis.command('PUBLISH', '{gcg}:rev', 'x');
    await watched.until('it is told', () => watched.lines.length === 2);
    t.equal(await watched.connection.script(echo('x')), 'x');
    t.notMatch(watched.lines.join(), /canary/);
  });
});
