// One instance's side of a shared limit, with the store in the test's hand: when it tells, what it does with permits,
// and how it goes on without.

import t, { type Test } from 'tap';
import type { ScriptCall } from '../../../src/redis/script.ts';
import { type CallerConnection, QueueCapacity } from '../../../src/upstream/call.ts';
import { OwnPace, openingsOf } from '../../../src/upstream/rate-limit/own-pace.ts';
import type { PermitWindow } from '../../../src/upstream/rate-limit/permit-window.ts';
import { QuotaLedger, type QuotaLink } from '../../../src/upstream/rate-limit/quota-ledger.ts';
import { decodeReply } from '../../../src/upstream/rate-limit/quota-report.ts';
import { TICK } from '../../../src/upstream/rate-limit/quota-script.ts';
import { RateLimiter } from '../../../src/upstream/rate-limit/rate-limiter.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { createCall, createResponse, createStack, refusal } from './layer-fixtures.ts';

const INFINITY = Number.POSITIVE_INFINITY;

/** What a tick is answered, in parts that differ from: nobody else, much free, no permits. */
interface Answer {
  limit?: number;
  elsewhere?: number;
  pauseMs?: number;
  guardMs?: number;
  free?: number;
  spareMost?: number;
  permits?: string;
  openings?: string;
  share?: number;
}

/** A store that answers as it is told. */
class FakeLink implements QuotaLink {
  readonly prefix = '{gcg}:';
  readonly instanceId = 'me';
  instances: unknown[] = [1, 2];
  readonly meta = { salt: 'salt' };
  isReady = true;
  readonly calls: ScriptCall[] = [];
  /** Of the next ticks; the last one stays. */
  answers: (Answer | 'late' | 'never' | unknown[])[] = [{}];
  listeners = { loss: () => {}, gap: () => {}, message: (_: string) => {} };

  script(call: ScriptCall): Promise<unknown> {
    this.calls.push(call);
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    if (answer === 'late') return Promise.reject(new Error('late'));
    if (answer === 'never') return new Promise(() => {});
    if (Array.isArray(answer)) return Promise.resolve(answer);
    const {
      limit = 300,
      elsewhere = 0,
      pauseMs = 0,
      guardMs = 0,
      share = 1_000,
      free = 300,
      ...more
    } = answer as Answer;
    const { spareMost = 50, permits = '', openings = '' } = more;
    return Promise.resolve([1, 2, limit, elsewhere, pauseMs, guardMs, share, free, spareMost, permits, openings]);
  }

  subscribe(_: string, listener: (message: string) => void): void {
    this.listeners.message = listener;
  }

  onGap(listener: () => void): void {
    this.listeners.gap = listener;
  }

  onLoss(listener: () => void): void {
    this.listeners.loss = listener;
  }

  lose(): void {
    this.isReady = false;
    this.listeners.loss();
  }

  recover(): void {
    this.isReady = true;
    this.listeners.gap();
  }

  /** One argument of the last tick. */
  told(what: 'limit' | 'pause' | 'inFlight' | 'held' | 'spare' | 'granting' | 'counted' | 'clients'): string {
    const places = { limit: 3, pause: 5, inFlight: 6, held: 7, spare: 8, granting: 9, counted: 11, clients: 12 };
    return this.calls.at(-1)?.args[places[what]] as string;
  }
}

function start(_: Test, { perMinute = 300, answers }: { perMinute?: number; answers?: FakeLink['answers'] } = {}) {
  const clock = createFakeClock();
  const link = new FakeLink();
  if (answers) link.answers = answers;
  const ledger = new QuotaLedger({ link, clock });
  ledger.start();
  const window = ledger.make({ perMinute, isCautious: true }) as PermitWindow;
  const limiter = new RateLimiter({
    name: 'the limit',
    clock,
    window,
    capacity: new QueueCapacity(1_000),
    shares: null,
  });
  window.identify('the limit');
  const connection = (): CallerConnection => ({ disconnected: false, onDisconnect: null, rejectWait: null });
  const wait = (client = '', waitUntil = INFINITY) => {
    const seen = { isGone: false, error: null as Error | null };
    limiter.acquire({ client, waitUntil, connection: connection(), isReturning: false }).then(
      () => {
        seen.isGone = true;
      },
      (error) => {
        seen.error = error;
      },
    );
    return seen;
  };
  return { clock, link, ledger, window, limiter, wait };
}

t.test('who finds no permit asks at once, and goes with the answer; who finds one waits for nothing', async (t) => {
  const { clock, link, limiter, wait } = start(t, { answers: [{ permits: '0:3' }] });
  t.notOk(limiter.tryAcquire('x'));
  const first = wait('x');
  t.equal(link.calls.length, 1);
  t.match(link.told('clients'), /^[\w-]{22}:1:0:0$/, 'the client by something else than its name');
  t.same(link.calls[0]?.keys.slice(1), ['{gcg}:quota:since', '{gcg}:quota']);
  t.match(link.calls[0]?.keys[0], /^\{gcg\}:q:[\w-]{22}$/);
  t.notMatch(JSON.stringify(link.calls), 'the limit');
  await clock.settle();
  t.ok(first.isGone);
  t.ok(limiter.tryAcquire('x'));
  t.ok(limiter.tryAcquire('x'));
  t.notOk(limiter.tryAcquire('x'), 'there were three');
  t.equal(link.calls.length, 1, 'nobody asked for those');
});

t.test('permits of later moments are good from then on', async (t) => {
  const { clock, limiter, wait } = start(t, { answers: [{ permits: '300:1,700:2' }, { permits: '' }] });
  const calls = [wait(), wait(), wait()];
  const gone = () => calls.filter(({ isGone }) => isGone).length;
  await clock.advance(299);
  t.equal(gone(), 0);
  await clock.advance(2);
  t.equal(gone(), 1);
  await clock.advance(400);
  t.equal(gone(), 3);
  t.equal(limiter.waiting, 0);
});

t.test('permits end three seconds after the tick that told of them, by both clocks', async (t) => {
  for (const [what, pass] of [
    ['time went by', (clock) => clock.advance(3_000)],
    ['the machine slept', async (clock) => clock.stepWall(3_001)],
  ] as [string, (clock: ReturnType<typeof createFakeClock>) => Promise<void>][]) {
    const { clock, link, limiter, wait } = start(t, { answers: [{ permits: '0:5' }, 'never'] });
    wait();
    await clock.settle();
    t.ok(limiter.tryAcquire(''));
    await pass(clock);
    t.notOk(limiter.tryAcquire(''), what);
    t.ok(link.calls.length >= 1);
  }
});

t.test('calls that wait ask no more often than five times a second', async (t) => {
  const { clock, link, wait } = start(t, { answers: [{ free: 0 }] });
  for (let at = 0; at < 2_000; at += 20) {
    const seen = wait();
    await clock.advance(20);
    t.notOk(seen.isGone);
  }
  t.ok(link.calls.length <= 10, `${link.calls.length} ticks in two seconds`);
});

t.test('a limit in use is told of every 0.8 s, one that is not never', async (t) => {
  const { clock, link, window, limiter, wait } = start(t, { answers: [{ permits: '0:1' }] });
  wait();
  await clock.settle();
  await clock.advance(8_000);
  t.equal(link.told('inFlight'), '1', 'one call runs');
  t.equal(link.calls.length, 11);
  limiter.complete(clock.monotonic());
  await clock.advance(10_000);
  t.match(link.told('counted'), /^\d+:1$/);
  t.equal(link.told('held'), '0', 'nothing is kept');
  const before = link.calls.length;
  await clock.advance(600_000);
  t.equal(link.calls.length, before);
  t.notOk(window.isListed);
  t.equal(clock.pending, 0, 'no timer is left');
});

t.test('what is kept at hand follows the rate, and what is too much goes back', async (t) => {
  const { clock, link, limiter, wait } = start(t, { answers: [{ permits: '0:20' }, { spareMost: 4 }] });
  const first = wait();
  await clock.settle();
  t.ok(first.isGone);
  for (let call = 0; call < 9; call += 1) t.ok(limiter.tryAcquire(''));
  await clock.advance(800);
  t.equal(link.told('spare'), '4', '10 in 5 s: 3 in 1.5 s, and one more');
  t.equal(link.told('held'), '4');
});

t.test('an instance that is alone with what it knows lets each call stand for one of every instance', async (t) => {
  const openings = '5000:60,60000:90';
  const { clock, link, ledger, limiter, wait } = start(t, { answers: [{ permits: '0:1', free: 149, openings }] });
  wait();
  await clock.settle();
  link.lose();
  const passed = () => {
    let count = 0;
    while (limiter.tryAcquire('')) count += 1;
    return count;
  };
  t.equal(passed(), 74, 'half of 150, less the call that went since');
  t.equal(ledger.status().quota, 'own');
  await clock.advance(5_500);
  t.equal(passed(), 30, 'half of what opens');
  link.instances = [1, 2, 3, 4];
  t.equal(passed(), 0);
  const late = wait('', clock.monotonic() + 1_000);
  await clock.settle();
  t.match(late.error, { code: 'gateway.rate.limited' }, 'whoever cannot be served in time is told so');
});

t.test('a gap begins with what is known by then, and not with what one before it began with', async (t) => {
  const { clock, link, limiter, window, wait } = start(t, { answers: [{ guardMs: 3_000 }] });
  const first = wait();
  await clock.settle();
  t.ok(first.isGone, 'nobody is known to have used anything');
  window.complete(clock.monotonic());
  link.answers = [{ elsewhere: 299, free: 0, openings: '50000:299,60000:1' }];
  await clock.advance(4_500);
  link.lose();
  t.notOk(limiter.tryAcquire(''), 'all is used');
  await clock.advance(51_000);
  t.ok(limiter.tryAcquire(''));
});

t.test('who was not told lately takes the rest for used as well', async (t) => {
  const { clock, link, limiter, window, wait } = start(t, { answers: [{ permits: '0:1' }] });
  wait();
  await clock.settle();
  window.complete(clock.monotonic());
  link.answers = [{ elsewhere: 239, free: 60, openings: '50000:239,60000:1' }];
  await clock.advance(20_000);
  link.lose();
  await clock.advance(10_000);
  let passed = 0;
  while (limiter.tryAcquire('')) passed += 1;
  t.ok(passed >= 4 && passed <= 5, `${passed}: of 60 a sixth, for two`);
});

t.test('coming back it tells, and is given permits only when all have told', async (t) => {
  const { clock, link, ledger, window, wait } = start(t, { answers: [{ permits: '0:1' }] });
  wait();
  await clock.settle();
  link.lose();
  const before = link.calls.length;
  await clock.advance(4_000);
  t.equal(link.calls.length, before, 'nothing is sent while it is away');
  link.recover();
  await clock.settle();
  t.equal(link.calls.length, before + 1, 'what was counted is told at once');
  t.equal(link.told('granting'), '0');
  t.equal(link.told('held'), '149', 'and what it may start by itself until it tells again');
  await clock.advance(2_900);
  t.notOk(window.isGranted(clock.monotonic()));
  await clock.advance(200);
  t.ok(window.isGranted(clock.monotonic()));
  await clock.advance(800);
  t.equal(link.told('granting'), '1');
  t.same(ledger.status().quota, 'shared');
  t.equal(ledger.status().degradedSeconds, 7);
  const next = wait();
  await clock.advance(200);
  t.ok(next.isGone);
});

t.test('a tick that fails, or is answered with what is no answer, leaves it alone until one succeeds', async (t) => {
  const bad: FakeLink['answers'] = ['late', [0], [], ['x'], null as never, [1, 2], { length: 99 } as never];
  for (const answer of bad) {
    const { clock, link, window, wait } = start(t, { answers: [{ permits: '0:1' }, answer, { permits: '0:9' }] });
    if (!Array.isArray(answer) && answer !== 'late') link.script = async () => answer;
    wait();
    await clock.settle();
    await clock.advance(800);
    if (link.calls.length > 0) t.notOk(window.isGranted(clock.monotonic()), JSON.stringify(answer));
    else t.notOk(window.isGranted(clock.monotonic()));
  }
});

t.test('replies out of all bounds are cut to them', (t) => {
  const huge = decodeReply([1, 1e9, 1e12, 1e99, 1e18, 1e9, 1e9, 1e12, Number.NaN, '0:9999999', 'x:1']);
  t.same(huge, {
    ...{ instances: 256, limit: 1e6, usedElsewhere: 1e9, pauseMs: 86_400_000, guardMs: 3_000, share: 1, free: 1e6 },
    ...{ spareMost: 0, permits: [[0, 1e6]], openings: [] },
  });
  for (const reply of [undefined, null, 'x', 5, [], [0], [2, 1], {}, [1, 2, 3]]) t.equal(decodeReply(reply), null);
  t.end();
});

t.test('one that starts while the store is away takes its time, and is never blocked', async (t) => {
  const clock = createFakeClock();
  const link = new FakeLink();
  link.isReady = false;
  link.instances = [];
  const ledger = new QuotaLedger({ link, clock });
  ledger.start();
  const window = ledger.make({ perMinute: 300, isCautious: true }) as PermitWindow;
  window.identify('the limit');
  let most = 0;
  for (let second = 1; second <= 60; second += 1) {
    await clock.advance(1_000);
    const now = clock.monotonic();
    let started = 0;
    for (; window.free(now) > 0; started += 1) window.acquire(now);
    most = Math.max(most, started);
  }
  t.ok(most <= 5, `${most} in a second of 300 in a minute`);
  const used = window.used(clock.monotonic());
  t.ok(used >= 140 && used <= 153, `${used}: half, for there may be another one`);
});

t.test('a limit that nobody knows: large counts are told, and those of others make it careful', async (t) => {
  const { clock, link, window, limiter } = start(t, { perMinute: INFINITY, answers: [{ limit: 0, elsewhere: 235 }] });
  for (let call = 0; call < 10; call += 1) t.ok(limiter.tryAcquire(''));
  await clock.advance(5_000);
  t.equal(link.calls.length, 0, 'ten are not worth it');
  for (let call = 0; call < 10; call += 1) t.ok(limiter.tryAcquire(''));
  await clock.settle();
  t.equal(link.calls.length, 1);
  t.equal(link.told('limit'), '0');
  t.ok(window.used(clock.monotonic()) >= 250, 'those of others count');
  let more = 0;
  while (limiter.tryAcquire('') && more < 100) more += 1;
  t.ok(more < 20, `${more} more run unconfirmed`);
});

t.test(
  'what a 429 told is told on at once: a pause and a size; and one that others were told is kept to',
  async (t) => {
    const { clock, link, window, limiter } = start(t, { perMinute: INFINITY, answers: [{ limit: 0 }] });
    limiter.tryAcquire('');
    window.metUntil = clock.monotonic() + 1_800_000;
    window.limit = 60;
    t.equal(link.calls.length, 1);
    t.equal(link.told('limit'), '60');
    await clock.settle();
    limiter.pauseUntil(clock.monotonic() + 9_000);
    await clock.advance(60);
    t.equal(link.calls.length, 2);
    t.ok(Number(link.told('pause')) > 8_900);
    const other = start(t, { perMinute: INFINITY, answers: [{ limit: 0 }, { limit: 60, pauseMs: 8_000 }] });
    for (let call = 0; call < 20; call += 1) other.limiter.tryAcquire('');
    await other.clock.advance(100);
    const name = other.ledger.nameOf('the limit');
    other.link.listeners.message('of another limit');
    await other.clock.settle();
    t.equal(other.link.calls.length, 1);
    other.link.listeners.message(name);
    await other.clock.settle();
    t.equal(other.link.calls.length, 2, 'news are asked for');
    t.equal(other.window.perMinute, 60);
    t.ok(other.limiter.pausedUntil > other.clock.monotonic() + 7_900);
    const before = other.link.calls.length;
    await other.clock.settle();
    t.equal(other.link.calls.length, before, 'and are not told on');
  },
);

t.test('who leaves gives its permits back, and says what it sent', async (t) => {
  const { clock, link, ledger, limiter, wait } = start(t, { answers: [{ permits: '0:9' }] });
  wait();
  await clock.settle();
  limiter.complete(clock.monotonic());
  await ledger.close();
  t.equal(link.told('held'), '0');
  t.equal(link.told('granting'), '0');
  t.match(link.told('counted'), /^\d+:1$/);
  const before = link.calls.length;
  await clock.advance(60_000);
  await ledger.close();
  t.equal(link.calls.length, before);
});

t.test('of limits in use a thousand are shared, of clients of one 64 are told apart', async (t) => {
  const clock = createFakeClock();
  const link = new FakeLink();
  const ledger = new QuotaLedger({ link, clock });
  ledger.start();
  const windows = Array.from({ length: 1_001 }, (_, at) => {
    const window = ledger.make({ perMinute: 300, isCautious: true }) as PermitWindow;
    window.identify(`limit ${at}`);
    window.acquire(0);
    return window;
  });
  t.ok(windows[999]?.isListed);
  t.notOk(windows[1_000]?.isListed);
  t.equal(windows[1_000]?.free(0), 149, 'the next one is paced alone');
  for (let client = 0; client < 200; client += 1) windows[0]?.acquire(0, undefined, `client ${client}`);
  await clock.advance(800);
  t.equal(link.calls.length, 1_000);
  const told = link.calls[0]?.args[12]?.split(',') ?? [];
  t.equal(told.length, 65);
  t.equal(
    told.reduce((sum, one) => sum + Number(one.split(':')[2]), 0),
    200,
    'nobody is left out of the sum',
  );
});

t.test('in mode report nothing is asked for, and the count of all decides what would have been held', async (t) => {
  const { clock, link, ledger, window, limiter } = start(t, { perMinute: 30, answers: [{ elsewhere: 28 }] });
  ledger.isEnforced = false;
  t.ok(limiter.tryAcquire(''));
  await clock.advance(800);
  t.equal(link.told('granting'), '0');
  t.ok(limiter.tryAcquire(''));
  t.notOk(limiter.tryAcquire(''), 'of 30 others sent 28');
  limiter.acquireUnchecked('');
  t.ok(window.used(clock.monotonic()) > 30);
});

t.test('the pace alone: what opens is divided, and foretold truly', (t) => {
  const pace = new OwnPace(
    {
      known: [
        [1_000, 6],
        [2_000, 6],
      ],
      started: 0,
      instances: 3,
    },
    0,
  );
  t.equal(pace.free(0, 12), 0);
  t.equal(pace.free(1_000, 12), 2);
  pace.start(1_000);
  t.equal(pace.free(1_000, 12), 1);
  pace.grow(1);
  t.equal(pace.free(1_000, 12), 1, 'instances do not become fewer');
  const { open, later } = pace.outlook(1_000, 12);
  const next = openingsOf(1_000, open, later, 15_000);
  const times = Array.from({ length: 4 }, () => next());
  t.same(times.slice(0, 3), [1_000, 2_000, 2_000]);
  t.ok((times[3] as number) > 60_000, 'then when its own call counts no more');
  const owed = openingsOf(
    0,
    -1.5,
    [
      [10, 1],
      [20, 2],
    ],
    100,
  );
  t.same([owed(), owed(), owed()], [20, 70, 170]);
  t.end();
});

t.test('a whole layer over it: a 429 of one call reaches the store, its repetition waits for the pause', async (t) => {
  const clock = createFakeClock();
  const link = new FakeLink();
  const ledger = new QuotaLedger({ link, clock });
  ledger.start();
  let calls = 0;
  const { run, rateLimits } = createStack(
    () => async (request) => {
      request.record.attempts += 1;
      calls += 1;
      const limit = { key: 'token.rate.per.minute', namespace: 'platform.api', value: 100 };
      return calls === 1 ? refusal('5', limit) : createResponse(200);
    },
    { clock, rateLimits: { windows: ledger } },
  );
  link.answers = [{ limit: 100, permits: '0:1' }];
  const outcome = run(createCall());
  await clock.advance(1_000);
  t.equal(link.calls[0]?.args[3], '100');
  t.ok(link.calls.some(({ args }) => Number(args[5]) > 4_000));
  t.equal(outcome.status, null);
  await clock.advance(10_000);
  t.equal(outcome.status, 200);
  t.match(rateLimits.limits.states()[0], { perMinute: 100, source: 'met' });
  t.equal(TICK.trial.args.length, 14);
});
