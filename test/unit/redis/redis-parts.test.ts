// What needs no server: the time of a server by our clock, which servers can be used, and what their refusals mean.

import fc from 'fast-check';
import t from 'tap';
import { readInstances } from '../../../src/redis/instances.ts';
import type { Link } from '../../../src/redis/link.ts';
import { newMeta, readMeta } from '../../../src/redis/meta.ts';
import { connectionFailure, connectionLoss, refusal } from '../../../src/redis/redis-error.ts';
import { checkServer } from '../../../src/redis/server-check.ts';
import { StoreHealth } from '../../../src/redis/store-health.ts';
import { TimeOffset } from '../../../src/redis/time-offset.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createLogRecorder } from '../auth/fixtures.ts';

const LINK = { address: { kind: 'unix', path: '/r' }, hello: { server: 'redis', version: '7' } } as unknown as Link;

t.test("the server's time is known to half of the best round trip of the last minute", async () => {
  const trip = fc.record({ there: fc.nat(400), back: fc.nat(400), after: fc.integer({ min: 0, max: 5_000 }) });
  fc.assert(
    fc.asyncProperty(fc.integer({ min: -1e9, max: 1e9 }), fc.array(trip, { minLength: 1 }), async (ahead, trips) => {
      const clock = createFakeClock();
      const time = new TimeOffset(clock);
      let best = Number.POSITIVE_INFINITY;
      for (const { there, back, after } of trips.slice(0, 11)) {
        const askedAt = clock.monotonic();
        clock.stepWall(0);
        await clock.advance(there);
        const serverMs = clock.now() + ahead;
        await clock.advance(back);
        time.add(askedAt, clock.monotonic(), serverMs);
        best = Math.min(best, there + back);
        const error = Math.abs(time.now() - (clock.now() + ahead));
        if (time.roundTripMs !== best || error > best / 2 + 0.001) return false;
        await clock.advance(after);
      }
      return true;
    }),
    { numRuns: 40 },
  );
});

t.test('a sample older than a minute counts no more, and one that another disproves at once', async (t) => {
  const clock = createFakeClock();
  const time = new TimeOffset(clock);
  t.equal(time.now(), clock.now(), 'our own time, as long as the server has told none');
  t.equal(time.roundTripMs, null);
  time.add(clock.monotonic(), clock.monotonic(), clock.now() + 1000);
  t.equal(time.aheadMs, 1000);
  await clock.advance(30_000);
  time.add(clock.monotonic() - 100, clock.monotonic(), clock.now() + 980);
  t.equal(time.aheadMs, 1000, 'the quicker one is the better');
  await clock.advance(30_001);
  time.add(clock.monotonic() - 200, clock.monotonic(), clock.now() + 900);
  t.equal(time.roundTripMs, 100, 'the first is too old');
  time.add(clock.monotonic() - 400, clock.monotonic(), clock.now() - 5000);
  t.equal(time.aheadMs, -4800, 'another server, whose clock is another: however slow the answer was');
  t.equal(time.roundTripMs, 400);
  clock.stepWall(-60_000);
  t.equal(time.aheadMs, 55_200, 'a step of our wall clock moves nothing of the server');
});

t.test('which servers can be used', async (t) => {
  const hello = { server: 'redis', version: '7.0.15', role: 'master', mode: 'standalone' };
  const rows: [hello: Partial<typeof hello>, viaSentinel: boolean, expected: string | RegExp][] = [
    [{}, false, 'ok'],
    [{ version: '6.2.0' }, false, 'ok'],
    [{ version: '10.1' }, false, 'ok'],
    [{ server: 'valkey', version: '7.2.4' }, false, 'ok'],
    [{ server: 'valkey', version: '8.1.0-rc1' }, true, 'ok'],
    [{ version: '6.0.16' }, false, /unusable.*has version 6\.0\.16; Redis 6\.2/],
    [{ version: '5.9.9' }, false, /unusable/],
    [{ version: '' }, false, /unusable.*tells no version/],
    [{ version: 'x'.repeat(500) }, false, /unusable.{1,150}$/],
    [{ role: 'replica' }, false, /unusable.*is a replica/],
    [{ role: 'slave' }, false, /unusable.*is a replica/],
    [{ role: 'replica' }, true, /offline.*not the master/],
    [{ role: 'replica', mode: 'cluster' }, false, 'ok'],
    [{ mode: 'sentinel' }, false, /unusable.*is a Sentinel/],
    [{ mode: 'sentinel', version: '5.0.0' }, true, /unusable.*is a Sentinel/],
  ];
  for (const [said, viaSentinel, expected] of rows) {
    let outcome = 'ok';
    try {
      checkServer({ ...hello, ...said }, 'redis.example.com:6379', viaSentinel);
    } catch (error) {
      const { kind, message } = error as { kind: string; message: string };
      outcome = `${kind} ${message}`;
    }
    if (typeof expected === 'string') t.equal(outcome, expected, JSON.stringify(said));
    else t.match(outcome, expected);
  }
});

t.test('a refusal is told in words of ours, of any server', async (t) => {
  const rows: [reply: string, word: string, message: RegExp][] = [
    ['WRONGPASS invalid username-password pair or user is disabled.', 'WRONGPASS', /store\.password/],
    ["NOPERM this user has no permissions to run the 'eval' command", 'NOPERM', /the command eval/],
    ["NOPERM User gcg has no permissions to run the 'script|load' command", 'NOPERM', /the command script\|load/],
    ['NOPERM this user has no permissions to access one of the keys used as arguments', 'NOPERM', /the keys/],
    ['NOPERM this user has no permissions to access one of the channels used as arguments', 'NOPERM', /the channels/],
    ["ERR The user executing the script can't run this command or subcommand script: a1", 'NOPERM', /a script uses/],
    ["OOM command not allowed when used memory > 'maxmemory'.", 'OOM', /memory is full/],
    ["READONLY You can't write against a read only replica.", 'READONLY', /takes no writes/],
    // As servers before 7 wrap what fails in a script.
    [
      "ERR Error running script (call to f_aa): @user_script:4: -OOM command not allowed when used memory > 'maxmemory'.",
      'OOM',
      /memory is full/,
    ],
    [
      "ERR Error running script (call to f_aa): @user_script:2: -READONLY You can't write against a read only replica.",
      'READONLY',
      /takes no writes/,
    ],
    ['ERR unknown command `HELLO`, with args beginning with: `3` `canary`', 'UNKNOWN', /does not know a command/],
    ['ERR value canary is not an integer', 'ERR', /refuses a command \(ERR\)/],
    ['canary', 'ERR', /refuses a command \(ERR\)/],
    ['CANARYCANARY canary', 'CANARYCANARY', /refuses a command/],
  ];
  for (const [reply, word, message] of rows) {
    const error = refusal(reply);
    t.match(error, { kind: 'refused', word, message }, reply);
    t.notMatch(error.message, /canary/, reply);
  }
  const failure = connectionFailure('redis.example.com:6379', Object.assign(new Error('canary'), { code: 'canary' }));
  t.match(failure, { kind: 'offline', message: 'Redis at redis.example.com:6379 cannot be reached' });
  t.match(connectionFailure('x', new Error('Connection timeout')).message, /does not answer \(ETIMEDOUT\)/);
  t.notMatch(connectionFailure('x', null).message, /null|undefined/);
});

t.test('nothing that a server answers makes the readers throw anything but a word of ours', async (t) => {
  const reply = fc.anything({ maxDepth: 3 }) as fc.Arbitrary<never>;
  fc.assert(
    fc.property(reply, fc.string(), (answer, text) => {
      readInstances(answer);
      refusal(text);
      try {
        readMeta(answer);
        return false;
      } catch (error) {
        return (error as { kind?: string }).kind === 'unusable';
      }
    }),
  );
  const { salt, gatewayId } = newMeta();
  t.equal(readMeta(['1', salt, gatewayId, 0, -1]).ageMs, null, 'of a version that did not note it');
  t.match(readMeta(['1', salt, gatewayId, 1, 7]), { isNew: true, ageMs: 7 });
});

t.test('a server is back since it was connected to after a gap, and again since the end of it', async (t) => {
  const clock = createFakeClock();
  const health = new StoreHealth(clock, createLogRecorder());
  health.connected(LINK, false);
  t.equal(health.backMono, Number.NEGATIVE_INFINITY, 'it never was away');
  health.lost(connectionLoss('x', { code: 'ECONNRESET' }));
  await clock.advance(1_000);
  health.refused(refusal('MISCONF'));
  health.connected(LINK, false);
  t.equal(health.backMono, 1_000, 'it can be read');
  await clock.advance(1_000);
  health.wrote();
  t.equal(health.backMono, 2_000, 'others can tell it what they know only now');
  const late = new StoreHealth(clock, createLogRecorder());
  late.failed(connectionFailure('x', { code: 'ECONNREFUSED' }));
  await clock.advance(1_000);
  late.connected(LINK, false);
  t.equal(late.backMono, 3_000, 'it was away at the start');
});

t.test('while the store is down each refusal is told once, and it is the one in the status', async (t) => {
  const lines: string[] = [];
  const write = (fields: object, msg: string) => void lines.push(`${msg} ${JSON.stringify(fields)}`);
  const health = new StoreHealth(createFakeClock(), { error: write, warn: write, info: write, debug: write });
  health.connected(LINK, false);
  health.refused(refusal('OOM'));
  health.lost(connectionLoss('x', { code: 'ECONNRESET' }));
  for (let attempt = 0; attempt < 3; attempt += 1) {
    health.failed(connectionFailure('x', { code: 'ECONNREFUSED' }));
    health.failed(refusal('WRONGPASS invalid'));
    t.match(health.status(), { state: 'down', error: /WRONGPASS/ });
  }
  for (const letter of 'ABCDEFGH') health.failed(refusal(`CANARY${letter} x`));
  health.connected(LINK, false);
  t.match(health.status(), { state: 'degraded', error: /OOM/ }, 'until a write succeeds');
  health.wrote();
  t.match(lines.join('\n'), /connected.*\n.*OOM.*\n.*ended \(ECONNRESET\).*\n.*WRONGPASS/);
  t.equal(lines.filter((line) => line.includes('WRONGPASS')).length, 1);
  t.equal(lines.length, 3 + 5 + 2, 'a server that makes up words does not fill the log');
});
