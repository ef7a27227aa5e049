import t from 'tap';
import { TokenFailure } from '../../../src/auth/credentials/token-source.ts';
import { isGatewayError } from '../../../src/errors.ts';
import { createFakeClock, type FakeClock } from '../../helpers/fake-clock.ts';
import { sourceUnderTest, tokenFor } from './fixtures.ts';

const DAY_MS = 86_400_000;
const transient = (retryAfterMs?: number) => () => {
  throw new TokenFailure('transient', 'the token endpoint is down', { retryAfterMs });
};
const refused = () => {
  throw new TokenFailure('refused', 'client not found');
};

/** Shorter than any backoff: a failure that may pass is told at once. */
const IMPATIENT = { settings: { refreshAccessToken: true, refreshTokenWaitMaxMs: 500 } };

/** The error a promise ends with, as code, status and wait. */
async function errorOf(promise: Promise<unknown>) {
  const thrown = await promise.then(
    () => 'no error',
    (error: unknown) => error,
  );
  return isGatewayError(thrown)
    ? { code: thrown.code, status: thrown.statusCode, retryAfterMs: thrown.retryAfterMs }
    : thrown;
}

for (const callers of [1, 8, 100, 1_000]) {
  t.test(`${callers} callers without a token share one request`, async (t) => {
    const { source, clock, reasons } = sourceUnderTest([
      async (clock) => {
        await new Promise<void>((resolve) => clock.after(200, resolve));
        return tokenFor(clock, DAY_MS, 'shared');
      },
    ]);
    const all = Promise.all(Array.from({ length: callers }, () => source.token()));
    await clock.advance(200);
    t.ok((await all).every((token) => token.authorization === 'Bearer shared'));
    t.strictSame(reasons, ['start']);
  });
}

t.test('callers of an expired token share one renewal', async (t) => {
  const script = [
    (clock: FakeClock) => tokenFor(clock, 300_000),
    transient(),
    (clock: FakeClock) => tokenFor(clock, DAY_MS, 'second'),
  ];
  const { source, clock, reasons } = sourceUnderTest(script, IMPATIENT);
  await source.token();
  source.close();
  await clock.advance(400_000);
  const first = Promise.allSettled(Array.from({ length: 100 }, () => source.token()));
  t.equal((await first).filter(({ status }) => status === 'rejected').length, 100);
  t.strictSame(reasons, ['start', 'expired']);
});

t.test('renewal starts ahead of the end, and no caller waits for it', async (t) => {
  const { source, clock, attemptedAt } = sourceUnderTest([
    (clock) => tokenFor(clock, 1_000_000, 'one'),
    async (clock) => {
      await new Promise<void>((resolve) => clock.after(3_000, resolve));
      return tokenFor(clock, 1_000_000, 'two');
    },
  ]);
  await source.token();
  await clock.advance(899_999);
  t.equal(attemptedAt.length, 1);
  await clock.advance(1);
  t.equal(attemptedAt[1], 900_000);
  t.equal(source.state().token, 'due');
  t.equal(source.current()?.authorization, 'Bearer one', 'the old token serves while the new one is fetched');
  await clock.advance(3_000);
  t.equal(source.current()?.authorization, 'Bearer two');
});

t.test('jitter makes the renewal earlier by at most a fifth of the margin', async (t) => {
  const { source, clock, attemptedAt } = sourceUnderTest([(clock) => tokenFor(clock, 1_000_000)], {
    random: () => 0.999999,
  });
  await source.token();
  await clock.advance(900_000);
  t.ok(attemptedAt[1]! >= 880_000 && attemptedAt[1]! < 880_002, `${attemptedAt[1]}`);
});

t.test('a life shorter than the margin does not spin', async (t) => {
  const { source, clock, attemptedAt } = sourceUnderTest([(clock) => tokenFor(clock, 1_000)]);
  source.start();
  await clock.advance(60_000);
  t.ok(attemptedAt.length <= 61, `${attemptedAt.length} attempts in a minute`);
  t.ok(
    attemptedAt.slice(1).every((at, index) => at - attemptedAt[index]! >= 1_000),
    'never less than a second apart',
  );
  t.ok(attemptedAt.length >= 55, 'and it goes on');
});

t.test('a token that has expired on arrival is a transient failure, not a loop', async (t) => {
  const { source, clock, attemptedAt } = sourceUnderTest([(clock) => tokenFor(clock, 0)], IMPATIENT);
  t.match(await errorOf(source.token()), { code: 'gateway.credential.unavailable', status: 503 });
  t.match(source.state(), { token: 'none', renewal: 'backoff' });
  await clock.advance(10_000);
  t.ok(attemptedAt.length <= 11);
});

t.test('a renewal more than 24.8 days away does not fire early', async (t) => {
  const { source, clock, attemptedAt } = sourceUnderTest([(clock) => tokenFor(clock, 60 * DAY_MS)]);
  await source.token();
  await clock.advance(30 * DAY_MS);
  t.equal(attemptedAt.length, 1);
  t.equal(source.state().token, 'fresh');
});

t.test('a token given by the user sets no timer and never expires', async (t) => {
  const { source, clock } = sourceUnderTest([(clock) => tokenFor(clock, Number.POSITIVE_INFINITY)]);
  await source.token();
  t.equal(clock.pending, 0);
  await clock.advance(1_000 * DAY_MS);
  t.match(source.state(), { token: 'fresh', expiresAt: null, nextAttemptAt: null });
});

t.test('nobody notices an outage while the token is valid', async (t) => {
  const { source, clock } = sourceUnderTest([
    (clock) => tokenFor(clock, 1_000_000, 'one'),
    transient(),
    transient(),
    (clock) => tokenFor(clock, DAY_MS, 'two'),
  ]);
  await source.token();
  await clock.advance(900_000);
  t.match(source.state(), { token: 'due', renewal: 'backoff', lastError: { code: 'gateway.credential.unavailable' } });
  t.equal((await source.token()).authorization, 'Bearer one');
  await clock.advance(10_000);
  t.equal((await source.token()).authorization, 'Bearer two');
  t.match(source.state(), { token: 'fresh', renewal: 'idle', lastError: null, failures: 2 });
});

t.test(
  'down and expired is 503 at once with the time until the next attempt, where that is beyond the wait, and mends ' +
    'itself',
  async (t) => {
    let isUp = false;
    const { source, clock, reasons } = sourceUnderTest(
      [(clock) => (isUp ? tokenFor(clock, DAY_MS, 'back') : transient()())],
      {
        ...IMPATIENT,
        random: () => 0.5,
      },
    );
    t.match(await errorOf(source.token()), {
      code: 'gateway.credential.unavailable',
      status: 503,
      retryAfterMs: 1_000,
    });
    await clock.advance(300);
    t.strictSame(await errorOf(source.token()), {
      code: 'gateway.credential.unavailable',
      status: 503,
      retryAfterMs: 700,
    });
    t.equal(reasons.length, 1, 'a caller in backoff starts nothing');
    isUp = true;
    await clock.advance(700);
    t.equal(source.current()?.authorization, 'Bearer back');
  },
);

t.test('backoff grows to a minute and never beyond', async (t) => {
  const { source, clock, attemptedAt } = sourceUnderTest([transient()], { random: () => 0.999 });
  source.start();
  await clock.advance(600_000);
  const waits = attemptedAt.slice(1).map((at, index) => Math.round((at - attemptedAt[index]!) / 1_000));
  t.strictSame(waits.slice(0, 8), [2, 4, 8, 16, 32, 60, 60, 60]);
});

for (const [name, failures, retryAfterMs, at, outcome] of [
  ['one failure', 1, undefined, 1_000, 'Bearer good'],
  ['five failures', 5, undefined, 5_000, 'Bearer good'],
  ['a Retry-After within the wait', 1, 9_000, 9_000, 'Bearer good'],
  ['a Retry-After as long as the wait', 1, 10_000, 0, 'gateway.credential.unavailable'],
  ['a Retry-After beyond what is left of the wait', 2, 6_000, 6_000, 'gateway.credential.unavailable'],
  ['an outage longer than the wait', 20, undefined, 9_000, 'gateway.credential.unavailable'],
] as const) {
  t.test(`callers ride out ${name} that may pass, as far as their wait goes`, async (t) => {
    const script = [
      ...Array.from({ length: failures }, () => transient(retryAfterMs)),
      (clock: FakeClock) => tokenFor(clock, DAY_MS, 'good'),
    ];
    const { source, clock } = sourceUnderTest(script);
    const outcomes: { at: number; outcome: string }[] = [];
    const wait = (withinMs?: number) => {
      const note = (outcome: string) => void outcomes.push({ at: clock.monotonic(), outcome });
      source.token(withinMs).then(
        ({ authorization }) => note(authorization),
        ({ code }) => note(code),
      );
    };
    for (let nth = 0; nth < 10; nth += 1) wait();
    await clock.advance(15_000);
    t.strictSame(outcomes, Array(10).fill({ at, outcome }));
  });
}

t.test('who comes while a failure is waited out waits too, for as long as is its own', async (t) => {
  const { source, clock, reasons } = sourceUnderTest([transient(4_000), (clock) => tokenFor(clock, DAY_MS, 'good')]);
  source.start();
  await clock.advance(1_000);
  t.strictSame(await errorOf(source.token(3_000)), {
    code: 'gateway.credential.unavailable',
    status: 503,
    retryAfterMs: 3_000,
  });
  const waiting = source.token(3_001);
  await clock.advance(2_999);
  t.equal(reasons.length, 1, 'nobody hurries the attempt');
  await clock.advance(1);
  t.equal((await waiting).authorization, 'Bearer good');
});

t.test('a lasting refusal ends every wait at once, also in the middle of it', async (t) => {
  const { source, clock } = sourceUnderTest([transient(), refused]);
  const waiting = errorOf(source.token());
  await clock.advance(999);
  t.equal(source.state().renewal, 'backoff');
  await clock.advance(1);
  t.match(await waiting, { code: 'gateway.credential.rejected', status: 424 });
});

t.test('a wait that ends while an attempt runs is 504, also when it is the second', async (t) => {
  const { source, clock } = sourceUnderTest([transient(), () => new Promise<never>(() => undefined)]);
  const waiting = errorOf(source.token());
  await clock.advance(10_000);
  t.match(await waiting, { code: 'gateway.credential.timeout', status: 504 });
  source.close();
});

t.test('a source that is closed lets nobody wait for an attempt that will not begin', async (t) => {
  const { source, clock } = sourceUnderTest([transient()]);
  const waiting = errorOf(source.token());
  await clock.settle();
  source.close();
  t.match(await waiting, { code: 'gateway.credential.unavailable' });
  t.match(await errorOf(source.token()), { code: 'gateway.credential.unavailable' });
  t.equal(clock.pending, 0);
});

t.test('Retry-After is honoured over the backoff', async (t) => {
  const { source, clock, attemptedAt } = sourceUnderTest([transient(120_000), (clock) => tokenFor(clock, DAY_MS)]);
  t.match(await errorOf(source.token()), { status: 503, retryAfterMs: 120_000 });
  await clock.advance(119_999);
  t.equal(attemptedAt.length, 1);
  await clock.advance(1);
  t.equal(attemptedAt.length, 2);
});

t.test('refused is 424 for a minute, then tried again by itself', async (t) => {
  const { source, clock, attemptedAt } = sourceUnderTest([refused, (clock) => tokenFor(clock, DAY_MS, 'mended')]);
  t.match(await errorOf(source.token()), { code: 'gateway.credential.rejected', status: 424, retryAfterMs: undefined });
  t.equal(source.state().renewal, 'rejected');
  await clock.advance(59_999);
  t.match(await errorOf(source.token()), { code: 'gateway.credential.rejected' });
  t.equal(attemptedAt.length, 1);
  await clock.advance(1);
  t.equal(source.current()?.authorization, 'Bearer mended');
});

t.test('refused then mended: a changed secret ends the cool-down within a second, without any caller', async (t) => {
  let revision = 'a';
  const { source, clock, reasons } = sourceUnderTest([refused, (clock) => tokenFor(clock, DAY_MS, 'mended')], {
    revision: () => revision,
  });
  source.start();
  await clock.advance(10_000);
  t.equal(source.state().renewal, 'rejected');
  revision = 'b';
  await clock.advance(1_000);
  t.equal(source.current()?.authorization, 'Bearer mended');
  t.strictSame(reasons, ['start', 'changed']);
});

t.test('a caller about to be refused gets the benefit of a secret changed this moment', async (t) => {
  let revision = 'a';
  const { source, clock } = sourceUnderTest([refused, (clock) => tokenFor(clock, DAY_MS, 'mended')], {
    revision: () => revision,
  });
  t.match(await errorOf(source.token()), { status: 424 });
  await clock.advance(1_500);
  revision = 'b';
  t.equal((await source.token()).authorization, 'Bearer mended');
});

t.test('a changed secret renews a fresh token too', async (t) => {
  let revision = 'a';
  const { source, clock } = sourceUnderTest(
    [(clock) => tokenFor(clock, DAY_MS, 'old'), (clock) => tokenFor(clock, DAY_MS, 'new')],
    {
      revision: () => revision,
    },
  );
  source.start();
  await clock.advance(5_000);
  revision = 'b';
  await clock.advance(1_000);
  t.equal(source.current()?.authorization, 'Bearer new');
});

t.test('a secret that changes while an attempt runs is tried after it', async (t) => {
  let revision = 'a';
  const { source, clock, reasons } = sourceUnderTest(
    [
      async (clock) => {
        await new Promise<void>((resolve) => clock.after(2_000, resolve));
        return refused();
      },
      (clock) => tokenFor(clock, DAY_MS, 'new'),
    ],
    { revision: () => revision },
  );
  source.start();
  await clock.advance(500);
  revision = 'b';
  await clock.advance(2_500);
  t.equal(source.current()?.authorization, 'Bearer new');
  t.strictSame(reasons, ['start', 'changed']);
});

t.test('a secret file that flaps is tried at most once a second', async (t) => {
  let revision = 0;
  const { source, clock, attemptedAt } = sourceUnderTest([refused], {
    revision: () => {
      revision += 1;
      return String(revision);
    },
  });
  for (let i = 0; i < 100; i += 1) {
    source.token().catch(() => undefined);
    await clock.advance(100);
  }
  t.ok(attemptedAt.length <= 11, `${attemptedAt.length} in ten seconds`);
});

t.test('the wait that ends before the attempt is 504, and the attempt goes on', async (t) => {
  const { source, clock } = sourceUnderTest([
    async (clock) => {
      await new Promise<void>((resolve) => clock.after(12_000, resolve));
      return tokenFor(clock, DAY_MS, 'late');
    },
  ]);
  const waiting = errorOf(source.token());
  await clock.advance(10_000);
  t.match(await waiting, { code: 'gateway.credential.timeout', status: 504 });
  await clock.advance(2_000);
  t.equal(source.current()?.authorization, 'Bearer late');
});

t.test('waiters get the error of the attempt they waited for', async (t) => {
  const { source, clock } = sourceUnderTest([
    async (clock) => {
      await new Promise<void>((resolve) => clock.after(4_000, resolve));
      return refused();
    },
  ]);
  const waiting = Promise.all([errorOf(source.token()), errorOf(source.token())]);
  await clock.advance(4_000);
  t.match(await waiting, [{ code: 'gateway.credential.rejected' }, { code: 'gateway.credential.rejected' }]);
});

t.test('an attempt that hangs for ever is given up after a minute, and the next one works', async (t) => {
  const { source, clock } = sourceUnderTest([
    () => new Promise<never>(() => undefined),
    (clock) => tokenFor(clock, DAY_MS, 'second'),
  ]);
  source.start();
  await clock.advance(60_000);
  t.match(source.state(), { renewal: 'backoff' });
  await clock.advance(2_000);
  t.equal(source.current()?.authorization, 'Bearer second');
});

t.test('a token that comes after its attempt was given up is used', async (t) => {
  const { source, clock } = sourceUnderTest([
    async (clock) => {
      await new Promise<void>((resolve) => clock.after(60_500, resolve));
      return tokenFor(clock, DAY_MS, 'late');
    },
    transient(),
  ]);
  source.start();
  await clock.advance(60_600);
  t.equal(source.current()?.authorization, 'Bearer late');
  t.match(source.state(), { token: 'fresh', renewal: 'idle', renewals: 1 });
});

t.test('the wall clock stepped back does not prolong a token', async (t) => {
  const { source, clock } = sourceUnderTest([(clock) => tokenFor(clock, 600_000), transient()]);
  await source.token();
  clock.stepWall(-3_600_000);
  await clock.advance(600_000);
  t.equal(source.current(), null);
  t.equal(source.state().token, 'expired');
});

t.test('the wall clock stepped forward, or a machine that slept, ends a token at once', async (t) => {
  const { source, clock, reasons } = sourceUnderTest([
    (clock) => tokenFor(clock, 600_000),
    (clock) => tokenFor(clock, DAY_MS, 'second'),
  ]);
  await source.token();
  await clock.advance(10_000);
  clock.stepWall(3_600_000);
  t.equal(source.current(), null);
  t.equal((await source.token()).authorization, 'Bearer second');
  t.strictSame(reasons, ['start', 'expired']);
});

t.test('after a sleep the renewal starts within a minute, without any caller', async (t) => {
  const { source, clock } = sourceUnderTest([
    (clock) => tokenFor(clock, DAY_MS),
    (clock) => tokenFor(clock, DAY_MS, 'second'),
  ]);
  source.start();
  await clock.settle();
  clock.stepWall(2 * DAY_MS);
  await clock.advance(60_000);
  t.equal(source.current()?.authorization, 'Bearer second');
});

t.test('a 401 makes the token suspect and renews it once, and the next minute lets 401 pass', async (t) => {
  const { source, clock, reasons } = sourceUnderTest([(clock) => tokenFor(clock, DAY_MS)]);
  const first = await source.token();
  await clock.advance(5_000);
  t.equal(source.invalidate(first, '/api/v2/users'), true);
  t.equal(source.current(), first, 'the others go on with it');
  t.equal(source.state().token, 'suspect');
  const second = await source.successor(first);
  t.not(second.authorization, first.authorization);
  t.equal(source.invalidate(second, '/api/v2/users'), false);
  t.equal(source.current()?.authorization, second.authorization, 'within the minute the token stays');
  await clock.advance(59_999);
  t.equal(source.invalidate(second, '/api/v2/users'), false);
  await clock.advance(1);
  t.equal(source.invalidate(second, '/api/v2/users'), true);
  await source.successor(second);
  t.strictSame(reasons, ['start', 'invalidated', 'invalidated']);
});

t.test('a hundred 401s for one token make one renewal and a hundred replays', async (t) => {
  const { source, clock, reasons } = sourceUnderTest([(clock) => tokenFor(clock, DAY_MS)]);
  const old = await source.token();
  await clock.advance(5_000);
  const answers = Array.from({ length: 100 }, () => source.invalidate(old, '/api/v2/users'));
  t.ok(answers.every((answer) => answer));
  const tokens = await Promise.all(answers.map(() => source.successor(old)));
  t.equal(new Set(tokens).size, 1);
  t.equal(
    source.invalidate(old, '/api/v2/users'),
    true,
    'a straggler with the old token is replayed, without a new renewal',
  );
  t.strictSame(reasons, ['start', 'invalidated']);
});

t.test('a renewal that fails after a 401 gives its own error', async (t) => {
  const { source, clock } = sourceUnderTest([(clock) => tokenFor(clock, DAY_MS), refused]);
  const token = await source.token();
  await clock.advance(5_000);
  source.invalidate(token, '/api/v2/users');
  t.match(await errorOf(source.successor(token)), { code: 'gateway.credential.rejected' });
  t.equal(await source.token(), token, 'others go on');
});

t.test('a 401 during a renewal that runs waits for that one', async (t) => {
  const { source, clock, reasons } = sourceUnderTest([
    (clock) => tokenFor(clock, 100_000, 'one'),
    async (clock) => {
      await new Promise<void>((resolve) => clock.after(3_000, resolve));
      return tokenFor(clock, DAY_MS, 'two');
    },
  ]);
  const one = await source.token();
  await clock.advance(91_000);
  t.equal(source.state().renewal, 'running');
  t.equal(source.invalidate(one, '/api/v2/users'), true);
  const waiting = source.successor(one);
  await clock.advance(2_000);
  t.equal((await waiting).authorization, 'Bearer two');
  t.strictSame(reasons, ['start', 'due']);
});

t.test('a given token is not disabled by a stray 401: it is read and tried again', async (t) => {
  const { source, clock } = sourceUnderTest([(clock) => tokenFor(clock, Number.POSITIVE_INFINITY, 'static')]);
  const token = await source.token();
  await clock.advance(5_000);
  t.equal(source.invalidate(token, '/api/v2/users'), true);
  const again = await source.successor(token);
  t.equal(again.authorization, 'Bearer static');
  t.not(again, token, 'it was read again');
  t.equal(
    source.invalidate(token, '/api/v2/users'),
    false,
    'a second caller with the same token is not replayed for ever',
  );
  t.equal(source.state().token, 'fresh');
});

t.test('a forced refresh is forced, ends the cool-down, and yields its error', async (t) => {
  const { source, reasons } = sourceUnderTest([refused, refused, (clock) => tokenFor(clock, DAY_MS, 'forced')]);
  await errorOf(source.token());
  t.match(await errorOf(source.refresh()), { code: 'gateway.credential.rejected' });
  t.equal((await source.refresh()).authorization, 'Bearer forced');
  t.strictSame(reasons, ['start', 'forced', 'forced']);
});

t.test('a forced refresh during a renewal joins it', async (t) => {
  const { source, clock, reasons } = sourceUnderTest([
    async (clock) => {
      await new Promise<void>((resolve) => clock.after(1_000, resolve));
      return tokenFor(clock, DAY_MS, 'one');
    },
  ]);
  source.start();
  const forced = source.refresh();
  await clock.advance(1_000);
  t.equal((await forced).authorization, 'Bearer one');
  t.equal(reasons.length, 1);
});

t.test('renewal switched off: one token, then 424 that says how to renew', async (t) => {
  const settings = { refreshAccessToken: false, refreshTokenWaitMaxMs: 10_000 };
  const { source, clock, reasons } = sourceUnderTest(
    [(clock) => tokenFor(clock, 300_000), (clock) => tokenFor(clock, 300_000, 'by hand')],
    {
      settings,
    },
  );
  await source.token();
  await clock.advance(299_000);
  t.equal(reasons.length, 1);
  t.match(source.state(), { token: 'due', renewal: 'idle' });
  await clock.advance(1_000);
  const error = (await source.token().catch((error: unknown) => error)) as Error;
  t.match(error, { code: 'gateway.login.required', statusCode: 424 });
  t.match(error.message, 'POST /-/credentials/crm/refresh');
  t.match(source.state(), { token: 'expired', renewal: 'login_required' });
  await clock.advance(DAY_MS);
  t.equal(reasons.length, 1);
  t.equal((await source.refresh()).authorization, 'Bearer by hand');
  t.match(source.state(), { token: 'fresh', renewal: 'idle' });
});

t.test('renewal switched off: a 401 is 424 too, and a forced refresh that fails does not start a loop', async (t) => {
  const settings = { refreshAccessToken: false, refreshTokenWaitMaxMs: 10_000 };
  const { source, clock, reasons } = sourceUnderTest([(clock) => tokenFor(clock, DAY_MS), transient()], { settings });
  const token = await source.token();
  await clock.advance(5_000);
  t.equal(source.invalidate(token, '/api/v2/users'), true);
  t.match(await errorOf(source.successor(token)), { code: 'gateway.login.required' });
  t.equal(await source.token(), token, 'others go on');
  t.match(await errorOf(source.refresh()), { code: 'gateway.credential.unavailable' });
  t.match(await errorOf(source.successor(token)), { code: 'gateway.login.required' });
  await clock.advance(DAY_MS);
  t.strictSame(reasons, ['start', 'forced']);
  t.match(await errorOf(source.token()), { code: 'gateway.login.required' });
});

t.test('renewal switched off: the first token is still fought for', async (t) => {
  const settings = { refreshAccessToken: false, refreshTokenWaitMaxMs: 10_000 };
  const { source, clock } = sourceUnderTest([transient(), transient(), (clock) => tokenFor(clock, DAY_MS, 'first')], {
    settings,
  });
  source.start();
  await clock.advance(10_000);
  t.equal(source.current()?.authorization, 'Bearer first');
});

t.test('a login required is not tried again by itself, and an accepted token ends it', async (t) => {
  const { source, clock, reasons } = sourceUnderTest([
    () => {
      throw new TokenFailure('login_required', 'run gcg login crm');
    },
  ]);
  t.match(await errorOf(source.token()), { code: 'gateway.login.required', status: 424 });
  await clock.advance(DAY_MS);
  t.equal(reasons.length, 1);
  source.accept(tokenFor(clock, DAY_MS, 'from login'));
  t.match(source.state(), { token: 'fresh', renewal: 'idle', lastError: null });
  t.equal((await source.token()).authorization, 'Bearer from login');
});

t.test('a token accepted while an attempt runs wakes the waiters, and the late failure does no harm', async (t) => {
  const { source, clock } = sourceUnderTest([
    async (clock) => {
      await new Promise<void>((resolve) => clock.after(3_000, resolve));
      throw new TokenFailure('login_required', 'run gcg login crm');
    },
  ]);
  const waiting = source.token();
  await clock.advance(1_000);
  source.accept(tokenFor(clock, DAY_MS, 'from login'));
  t.equal((await waiting).authorization, 'Bearer from login');
  await clock.advance(5_000);
  t.match(source.state(), { token: 'fresh', renewal: 'idle' });
});

t.test('an error that is not ours never shows its message', async (t) => {
  const fails = () => {
    throw Object.assign(new Error('secret-canary in a body'), { code: 'ECONNRESET' });
  };
  const { source, log } = sourceUnderTest([fails], IMPATIENT);
  const error = (await source.token().catch((error: unknown) => error)) as Error;
  t.match(error.message, 'ECONNRESET');
  t.notMatch(
    `${error.message} ${error.stack} ${JSON.stringify(log.records)} ${JSON.stringify(source.state())}`,
    'secret-canary',
  );
});

t.test('each transition is one record and one callback, without the token', async (t) => {
  const { source, clock, log, transitions } = sourceUnderTest([
    (clock) => tokenFor(clock, 1_000_000, 'canary-token'),
    transient(),
  ]);
  await source.token();
  await clock.advance(900_000);
  const short = transitions.map(({ toToken, toRenewal }) => `${toToken}/${toRenewal}`);
  t.strictSame(short, ['none/running', 'fresh/idle', 'due/idle', 'due/running', 'due/backoff']);
  t.equal(log.records.length, transitions.length);
  const last = log.records.at(-1);
  t.match(last, {
    level: 'warn',
    msg: 'token state',
    fields: {
      credential: 'crm',
      fromRenewal: 'running',
      toRenewal: 'backoff',
      errorCode: 'gateway.credential.unavailable',
      nextAttemptInMs: 1_000,
    },
  });
  t.type(last?.fields.fingerprint, 'string');
  t.notMatch(JSON.stringify(log.records), 'canary-token');
});

t.test('close stops the timer, and the running attempt still counts', async (t) => {
  const clock = createFakeClock();
  const { source } = sourceUnderTest(
    [
      async (clock) => {
        await new Promise<void>((resolve) => clock.after(1_000, resolve));
        return tokenFor(clock, 300_000, 'one');
      },
    ],
    { clock },
  );
  source.start();
  source.close();
  await clock.advance(1_000);
  t.equal(source.current()?.authorization, 'Bearer one');
  t.equal(clock.pending, 0);
});
