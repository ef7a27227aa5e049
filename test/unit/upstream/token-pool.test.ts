// Several tokens of one credential: got as they are needed, each with its own limit, 401s and life; and whatever happens
// in whatever order, no call goes out with a token that has ended.

import fc from 'fast-check';
import t from 'tap';
import { inlineSecret } from '../../../src/secret.ts';
import { rounds } from '../../helpers/thorough.ts';
import { createRange, type EndpointMood } from './pool-fixtures.ts';

type Range = ReturnType<typeof createRange>;

const tokensOf = ({ credential }: Range) => credential.pool?.states().map(({ number, token }) => `${number} ${token}`);
const served = (calls: ReturnType<Range['calls']>) => calls.filter(({ status }) => status === 200).length;
const refusedUpstream = ({ seen }: Range) => seen.filter(({ status }) => status === 429).length;

t.test('one token is there at the start, and no other as long as it has room', async (t) => {
  const range = createRange({ tokens: 4 });
  await range.clock.advance(1_000);
  range.calls(100);
  await range.clock.advance(60_000);
  t.equal(range.logins.length, 1);
  t.strictSame(range.byToken(), { 1: 100 });
});

for (const requestsPerMinute of [300, 'auto'] as const) {
  t.test(`1,200 calls at once over four tokens, requests_per_minute = ${requestsPerMinute}`, async (t) => {
    const range = createRange({ tokens: 4, requestsPerMinute });
    const calls = range.calls(1_200);
    await range.clock.advance(59_000);
    t.equal(served(calls), 1_200);
    t.equal(refusedUpstream(range), 0, 'the platform refused none');
    t.equal(range.logins.length, 4);
    t.strictSame(range.byToken(), { 1: 300, 2: 300, 3: 300, 4: 300 });
    t.ok(
      range.logins.slice(1).every(({ at }, index) => at - (range.logins[index]?.endedAt ?? 0) >= 1_000),
      'a second between two token requests',
    );
    t.ok(Math.max(...calls.map(({ tookMs }) => tookMs)) < 6_000, 'nobody waited for longer than for the last token');
    t.strictSame(range.faults, []);
  });
}

t.test('a rate that grows slowly waits for nothing: the next token is there before it is needed', async (t) => {
  const range = createRange({ tokens: 4 });
  await range.clock.advance(1_000);
  for (let second = 0; second < 60; second += 1) {
    range.calls(4 + Math.floor(second / 4));
    await range.clock.advance(1_000);
  }
  await range.clock.advance(1_000);
  t.equal(served(range.outcomes), range.outcomes.length);
  t.ok(range.outcomes.length > 600);
  t.equal(Math.max(...range.outcomes.map(({ tookMs }) => tookMs)), 50);
});

t.test('two tokens are enough for 400 a minute, and with one nothing is spread', async (t) => {
  for (const [tokens, logins] of [
    [4, 2],
    [1, 1],
  ] as const) {
    const range = createRange({ tokens });
    await range.clock.advance(1_000);
    for (let second = 0; second < 60; second += 1) {
      range.calls(5 + (second % 2) * (tokens === 1 ? 0 : 3));
      await range.clock.advance(1_000);
    }
    t.equal(range.logins.length, logins);
    t.equal(refusedUpstream(range), 0);
  }
});

t.test('a token that is revoked: its calls go on with another, and only it is renewed', async (t) => {
  const range = createRange({ tokens: 4 });
  range.calls(1_000);
  await range.clock.advance(10_000);
  range.issued[1]!.isRevoked = true;
  range.state.loginMs = 3_000;
  await range.clock.advance(60_000);
  const before = range.seen.length;
  const calls = range.calls(400);
  await range.clock.advance(10_000);
  t.equal(served(calls), 400);
  const refused = range.seen.slice(before).filter(({ status }) => status === 401);
  t.ok(refused.length > 0);
  t.ok(
    refused.every(({ token }) => token === 2),
    'no other token was refused',
  );
  t.ok(Math.max(...calls.map(({ tookMs }) => tookMs)) <= 200, 'nobody waited for its successor');
  t.equal(range.logins.length, 5, 'one renewal');
  t.strictSame(tokensOf(range), ['1 fresh', '2 fresh', '3 fresh', '4 fresh']);
  await range.clock.advance(70_000);
  t.strictSame(
    range.limits.ofTokens('crm')?.map(({ used }) => used),
    [0, 0, 0, 0],
    'nothing of it is counted for ever',
  );
  t.strictSame(range.faults, []);
});

t.test('a 429 holds back one token, the others go on', async (t) => {
  const range = createRange({ tokens: 2, requestsPerMinute: 'auto', perMinute: 300 });
  range.calls(300);
  await range.clock.advance(5_000);
  t.equal(range.logins.length, 2);
  // Another program draws on what the second one has.
  const other = range.issued[1]!.value;
  for (let count = 0; count < 300; count += 1) range.platform.take(other, '/api/v2/users', { perMinute: 300 });
  await range.clock.advance(57_000);
  const before = range.seen.length;
  const calls = range.calls(200);
  await range.clock.advance(1_500);
  t.equal(served(calls), 200, 'all by the first');
  t.ok(range.seen.slice(before).some(({ token, status }) => token === 2 && status === 429));
  const [, paused] = range.limits.ofTokens('crm') ?? [];
  t.ok((paused?.pausedMs ?? 0) > 1_000);
  const whilePaused = range.seen.length;
  range.calls(20);
  await range.clock.advance(500);
  t.ok(range.seen.slice(whilePaused).every(({ token }) => token === 1));
  t.strictSame(range.faults, []);
});

t.test('calls that are bound to the first token go with it, also when it is the fullest', async (t) => {
  const range = createRange({ tokens: 2 });
  await range.clock.advance(1_000);
  range.calls(250);
  await range.clock.advance(5_000);
  range.calls(310);
  await range.clock.advance(5_000);
  const bound = range.calls(20, { isBound: true });
  await range.clock.advance(1_000);
  t.equal(served(bound), 20);
  t.equal(range.byToken()[1], range.seen.length - (range.byToken()[2] ?? 0));
  t.ok((range.byToken()[1] ?? 0) <= 300);
  t.equal(refusedUpstream(range), 0);
});

t.test('where the first is full, a call that is bound to it waits for it, and goes before the others', async (t) => {
  const range = createRange({ tokens: 2, totalWaitMs: 70_000 });
  await range.clock.advance(1_000);
  range.calls(600);
  await range.clock.advance(5_000);
  const [bound] = range.calls(1, { isBound: true });
  range.calls(100);
  await range.clock.advance(53_000);
  t.equal(bound?.status, null, 'it waits');
  await range.clock.advance(4_000);
  t.equal(bound?.status, 200);
  t.equal(refusedUpstream(range), 0);
});

t.test('in a flood, a call that is bound to the first token has the next place of it', async (t) => {
  const range = createRange({ tokens: 2, totalWaitMs: 300_000 });
  await range.clock.advance(1_000);
  for (let second = 0; second < 60; second += 1) {
    range.calls(10);
    await range.clock.advance(1_000);
  }
  range.calls(1_500);
  await range.clock.advance(5_000);
  for (let count = 0; count < 5; count += 1) {
    const [bound] = range.calls(1, { isBound: true });
    await range.clock.advance(3_000);
    t.equal(bound?.status, 200);
  }
  t.ok(
    range.outcomes.some(({ status }) => status === null),
    'others wait still',
  );
});

t.test('clients share several tokens as fairly as one: a modest one is served within 3 s of a flood', async (t) => {
  const clients = ['a', 'b', 'c', 'modest'];
  const range = createRange({ tokens: 4, perMinute: 75, clients, totalWaitMs: 600_000, queueMax: 10_000 });
  await range.clock.advance(1_000);
  for (const client of ['a', 'b', 'c']) range.calls(600, { client });
  const modest = [];
  for (let second = 0; second < 240; second += 1) {
    if (second % 10 === 3) modest.push(range.call({ client: 'modest' }));
    await range.clock.advance(1_000);
  }
  t.ok(
    Math.max(...modest.map(({ tookMs }) => tookMs)) < 3_000,
    `${Math.max(...modest.map(({ tookMs }) => tookMs))} ms`,
  );
  t.ok(range.seen.length >= 4 * 4 * 75 * 0.98, `${range.seen.length} of ${4 * 4 * 75}`);
  t.equal(refusedUpstream(range), 0);
});

for (const [tokens, how] of [
  [2, 'a flood of calls that are bound to the first token'],
  [2, 'a flood over all tokens'],
  [1, 'a flood after a reload to one token'],
] as const) {
  t.test(`who asks for little of the first token alone is not held up by ${how}`, async (t) => {
    const range = createRange({ tokens: 2, perMinute: 60, totalWaitMs: 120_000, clients: ['greedy', 'modest'] });
    range.call({ client: 'greedy' });
    await range.clock.advance(1_000);
    range.reload({ tokens });
    const flood = () => range.calls(400, { client: 'greedy', isBound: how.includes('bound') });
    flood();
    for (let second = 0; second < 120; second += 1) {
      if (second % 6 === 1) range.call({ client: 'modest', isBound: tokens > 1 });
      if (second === 60) flood();
      await range.clock.advance(1_000);
    }
    const modest = range.outcomes.slice(401).filter(({ startedAt }) => startedAt % 6_000 === 2_000);
    t.equal(modest.length, 20);
    t.ok(
      modest.every(({ status, tookMs }) => status === 200 && tookMs <= 3_000),
      modest.map(({ status, tookMs }) => `${status} ${tookMs}`).join(', '),
    );
    t.ok(range.seen.length >= 0.98 * 2 * 60 * tokens * (how.includes('bound') ? 1 / 2 : 1), `${range.seen.length}`);
    t.equal(refusedUpstream(range), 0);
  });
}

for (const [perMinute, tokens, totalWaitMs] of [
  [120, 3, 15_000],
  [300, 4, 15_000],
  [60, 2, 600_000],
] as const) {
  t.test(`nor by floods of both kinds at once: ${tokens} tokens of ${perMinute} a minute`, async (t) => {
    const clients = ['some', 'others', 'bound', 'free'];
    const range = createRange({ tokens, perMinute, totalWaitMs, clients, queueMax: 20_000 });
    range.call({ client: 'some' });
    await range.clock.advance(1_500);
    range.calls(500, { client: 'others', isBound: true });
    range.calls(500, { client: 'some' });
    const modest: ReturnType<typeof range.call>[] = [];
    for (let second = 0; second < 120; second += 1) {
      range.calls(20, { client: 'others', isBound: true });
      range.calls(20, { client: 'some' });
      if (second % 6 === 1) modest.push(range.call({ client: 'bound', isBound: true }), range.call({ client: 'free' }));
      await range.clock.advance(1_000);
    }
    await range.clock.advance(5_000);
    t.ok(
      modest.every(({ status, tookMs }) => status === 200 && tookMs <= 3_000),
      modest.map(({ status, tookMs }) => `${status} ${tookMs}`).join(', '),
    );
    t.ok(range.logins.length === tokens && range.logins.at(-1)!.at < 15_000, 'the others are got at once all the same');
    t.ok(range.seen.length >= 0.97 * 2 * perMinute * tokens, `${range.seen.length}`);
    t.equal(refusedUpstream(range), 0);
  });
}

t.test('while renewals are refused, the login host is not asked for each token', async (t) => {
  const range = createRange({ tokens: 5, lifeS: 300 });
  range.calls(1_500);
  await range.clock.advance(200_000);
  range.calls(1_500);
  range.state.mood = 'refuses';
  const before = range.logins.length;
  t.equal(before, 5);
  await range.clock.advance(180_000);
  const asked = range.logins.length - before;
  t.ok(asked >= 2 && asked <= 8, `${asked} requests in two minutes`);
});

t.test('tokens that come back by a reload are renewed as any other', async (t) => {
  const range = createRange({ tokens: 3, lifeS: 300 });
  range.calls(900);
  await range.clock.advance(61_000);
  range.reload({ tokens: 1 });
  range.reload({ tokens: 3 });
  for (let second = 0; second < 600; second += 1) {
    range.calls(13);
    await range.clock.advance(1_000);
  }
  await range.clock.advance(5_000);
  t.equal(served(range.outcomes), range.outcomes.length);
  t.strictSame(tokensOf(range), ['1 fresh', '2 fresh', '3 fresh']);
});

t.test('a reload does not bring two requests for a token closer together', async (t) => {
  const range = createRange({ tokens: 3, perMinute: 20 });
  range.calls(14);
  await range.clock.advance(200);
  range.reload({ tokens: 1 });
  range.reload({ tokens: 2 });
  await range.clock.advance(10_000);
  const [, second, third] = range.logins;
  t.ok(third === undefined || third.at - second!.endedAt >= 999, `${second?.endedAt} and ${third?.at}`);
});

t.test('what the login host refuses for one token is not asked for the others', async (t) => {
  const range = createRange({ tokens: 5 });
  await range.clock.advance(1_000);
  range.state.mood = 'refuses';
  range.calls(2_000);
  await range.clock.advance(30_000);
  t.equal(range.logins.length, 2, 'one more was asked for, and refused');
  t.equal(range.byToken()[1], 300);
  await range.clock.advance(5 * 60_000);
  t.ok(range.logins.length <= 8, 'about one a minute');
  range.state.mood = 'good';
  const calls = range.calls(900);
  await range.clock.advance(90_000);
  t.ok(served(calls) >= 300);
  t.equal(tokensOf(range)?.[1], '2 fresh');
});

t.test('a throttled login host is asked again only after a while, and its calls are told how long', async (t) => {
  const range = createRange({ tokens: 3, totalWaitMs: 15_000 });
  await range.clock.advance(1_000);
  range.state.mood = 'throttles';
  const calls = range.calls(700);
  await range.clock.advance(20_000);
  t.ok(range.logins.length <= 8, `${range.logins.length} requests`);
  t.equal(served(calls), 300);
  t.equal(calls.filter(({ code }) => code === 'gateway.rate.limited').length, 400);
});

t.test('tokens whose room is not needed any more are left to end', async (t) => {
  const range = createRange({ tokens: 4, lifeS: 1_200 });
  range.calls(1_200);
  await range.clock.advance(70_000);
  t.equal(range.logins.length, 4);
  for (let minute = 0; minute < 60; minute += 1) {
    range.calls(10);
    await range.clock.advance(60_000);
  }
  t.equal(served(range.outcomes), range.outcomes.length);
  t.strictSame(tokensOf(range), ['1 fresh']);
  t.ok(range.logins.length <= 9, `${range.logins.length} logins in an hour`);
});

t.test('tokens that are needed are renewed, each at its time', async (t) => {
  const range = createRange({ tokens: 3, lifeS: 300 });
  for (let second = 0; second < 1_200; second += 1) {
    range.calls(13);
    await range.clock.advance(1_000);
  }
  await range.clock.advance(5_000);
  t.equal(served(range.outcomes), range.outcomes.length);
  t.equal(refusedUpstream(range), 0);
  t.strictSame(tokensOf(range), ['1 fresh', '2 fresh', '3 fresh']);
  t.strictSame(range.faults, []);
});

t.test('a reload from 4 to 2 and back: no call is lost, and no token is got anew', async (t) => {
  const range = createRange({ tokens: 4 });
  range.calls(1_000);
  await range.clock.advance(10_000);
  t.equal(range.logins.length, 4);
  for (const tokens of [2, 4, 1, 3]) {
    range.calls(tokens === 1 ? 100 : 200);
    range.reload({ tokens });
    await range.clock.advance(61_000);
    t.equal(range.credential.pool?.max ?? 1, tokens);
  }
  range.calls(800);
  await range.clock.advance(10_000);
  t.equal(served(range.outcomes), range.outcomes.length);
  t.equal(range.logins.length, 4);
  t.strictSame(tokensOf(range), ['1 fresh', '2 fresh', '3 fresh']);
  t.equal(refusedUpstream(range), 0);
  t.strictSame(range.faults, []);
});

t.test('calls that wait for four tokens when there are to be two wait for these', async (t) => {
  const range = createRange({ tokens: 4, totalWaitMs: 150_000 });
  const calls = range.calls(1_200);
  await range.clock.advance(1_500);
  range.reload({ tokens: 2 });
  await range.clock.advance(65_000);
  t.equal(served(calls), 1_200);
  t.equal(refusedUpstream(range), 0);
});

t.test('a new secret that the platform takes replaces every token, one after the other', async (t) => {
  const range = createRange({ tokens: 3 });
  range.calls(900);
  await range.clock.advance(70_000);
  range.reload({ tokens: 3, clientSecret: inlineSecret('another', 'test') });
  const calls = range.calls(100);
  await range.clock.advance(10_000);
  t.equal(served(calls), 100);
  t.equal(range.logins.length, 6);
  const before = range.seen.length;
  range.calls(100);
  await range.clock.advance(1_000);
  t.ok(range.seen.slice(before).every(({ token }) => token > 3));
  t.strictSame(range.faults, []);
});

t.test('a new secret that the platform refuses costs one request; the tokens in hand go on', async (t) => {
  const range = createRange({ tokens: 3 });
  range.calls(900);
  await range.clock.advance(70_000);
  range.state.mood = 'refuses';
  range.reload({ tokens: 3, clientSecret: inlineSecret('another', 'test') });
  const calls = range.calls(900);
  await range.clock.advance(30_000);
  t.equal(served(calls), 900);
  t.equal(range.logins.length, 4);
});

t.test('a secret file with another secret in it replaces every token, too', async (t) => {
  const range = createRange({ tokens: 3 });
  let revision = '1';
  range.reload({ tokens: 3, clientSecret: { ...inlineSecret('in a file', 'test'), revision: () => revision } });
  range.calls(900);
  await range.clock.advance(70_000);
  const before = range.logins.length;
  revision = '2';
  await range.clock.advance(10_000);
  t.equal(range.logins.length, before + 3);
  t.strictSame(tokensOf(range), ['1 fresh', '2 fresh', '3 fresh']);
  t.strictSame(range.faults, []);
});

t.test('another account begins with nothing of the one before', async (t) => {
  const range = createRange({ tokens: 3 });
  range.calls(900);
  await range.clock.advance(70_000);
  range.reload({ tokens: 3, clientId: 'another' });
  const calls = range.calls(10);
  await range.clock.advance(1_000);
  t.equal(served(calls), 10);
  t.ok(range.seen.slice(-10).every(({ token }) => token === 4));
});

t.test('a logout drops all tokens, and nothing is got before a person renews', async (t) => {
  const range = createRange({ tokens: 3, isDurable: true });
  range.calls(900);
  await range.clock.advance(70_000);
  t.strictSame(await range.store.list(), ['crm', 'crm#2', 'crm#3']);
  await range.credential.logout();
  const calls = range.calls(10);
  await range.clock.advance(30_000);
  t.ok(calls.every(({ code }) => code === 'gateway.login.required'));
  t.equal(range.logins.length, 3);
  t.strictSame(await range.store.list(), []);
  void range.credential.refresh();
  await range.clock.advance(2_000);
  const after = range.calls(500);
  await range.clock.advance(10_000);
  t.equal(served(after), 500);
});

t.test('a forced renewal renews the first, and then the others', async (t) => {
  const range = createRange({ tokens: 3 });
  range.calls(900);
  await range.clock.advance(70_000);
  const refreshed = range.credential.refresh();
  await range.clock.advance(200);
  t.equal((await refreshed).accessToken.reveal(), 'at-4', 'the answer waits for the first alone');
  await range.clock.advance(5_000);
  t.equal(range.logins.length, 6);
});

t.test('a restart with a durable store asks for no token', async (t) => {
  const range = createRange({ tokens: 4, isDurable: true });
  range.calls(1_200);
  await range.clock.advance(70_000);
  await range.credentials.settled();
  await range.restart({ tokens: 4 });
  const calls = range.calls(1_200);
  await range.clock.advance(20_000);
  t.equal(served(calls), 1_200);
  t.equal(range.logins.length, 4);
  t.strictSame(range.byToken(), { 1: 600, 2: 600, 3: 600, 4: 600 });
  t.strictSame(range.faults, []);
});

t.test('fewer tokens after a reload are fewer in the store, too', async (t) => {
  const range = createRange({ tokens: 4, isDurable: true });
  range.calls(1_200);
  await range.clock.advance(70_000);
  range.reload({ tokens: 2 });
  await range.clock.advance(1_000);
  t.strictSame(await range.store.list(), ['crm', 'crm#2']);
});

t.test('with mode = report calls are spread, and none is held back', async (t) => {
  const range = createRange({ tokens: 3, mode: 'report', perMinute: 300 });
  range.calls(250);
  await range.clock.advance(5_000);
  range.calls(300);
  await range.clock.advance(100);
  t.equal(served(range.outcomes), 550);
  t.ok(Object.keys(range.byToken()).length >= 2);
});

// ————— whatever happens, in whatever order

const mood = fc.constantFrom<EndpointMood>('good', 'good', 'good', 'refuses', 'throttles', 'hangs');
const step = fc.oneof(
  fc.record({ what: fc.constant('calls' as const), count: fc.integer({ min: 1, max: 40 }), isBound: fc.boolean() }),
  fc.record({
    what: fc.constant('calls' as const),
    count: fc.integer({ min: 1, max: 40 }),
    isBound: fc.constant(false),
  }),
  fc.record({ what: fc.constant('wait' as const), ms: fc.constantFrom(10, 200, 1_500, 7_000, 61_000, 300_000) }),
  fc.record({ what: fc.constant('revoke' as const), nth: fc.nat(20) }),
  fc.record({ what: fc.constant('mood' as const), mood }),
  fc.record({ what: fc.constant('life' as const), lifeS: fc.constantFrom(5, 60, 300, 86_400) }),
  fc.record({ what: fc.constant('reload' as const), tokens: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ what: fc.constant('secret' as const), tokens: fc.integer({ min: 1, max: 6 }), nth: fc.nat(3) }),
  fc.record({ what: fc.constantFrom('refresh' as const, 'logout' as const, 'restart' as const) }),
);

t.test('calls, 401s, expiries, refusals, reloads, logouts in any order', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), fc.boolean(), async (steps, isDurable) => {
      const range = createRange({ tokens: 3, perMinute: 20, isDurable, totalWaitMs: 40_000 });
      let tokens = 3;
      let secret = 0;
      const settings = () => ({
        tokens,
        ...(secret > 0 && { clientSecret: inlineSecret(`secret-${secret}`, 'test') }),
      });
      for (const one of steps) {
        if (one.what === 'calls') range.calls(one.count, { isBound: one.isBound });
        else if (one.what === 'wait') await range.clock.advance(one.ms);
        else if (one.what === 'revoke') {
          const token = range.issued[one.nth % Math.max(1, range.issued.length)];
          if (token !== undefined) token.isRevoked = true;
        } else if (one.what === 'mood') range.state.mood = one.mood;
        else if (one.what === 'life') range.state.lifeS = one.lifeS;
        else if (one.what === 'refresh') void range.credential.refresh().catch(() => undefined);
        else if (one.what === 'logout') await range.credential.logout();
        else if (one.what === 'restart') {
          // What runs ends first: two processes do not know of one another.
          await range.clock.advance(60_000);
          await range.restart(settings());
        } else if (one.what === 'reload' || one.what === 'secret') {
          tokens = one.tokens;
          if (one.what === 'secret') secret = one.nth;
          range.reload(settings());
        }
        await range.clock.settle();
      }
      range.state.mood = 'good';
      range.state.lifeS = 86_400;
      await range.clock.advance(180_000);
      if (range.faults.length > 0) throw new Error(range.faults.join('; '));
      const has = (...what: string[]) => steps.some((one) => what.includes(one.what));
      // What a process before had sent is not known to the next.
      if (!has('restart') && refusedUpstream(range) > 0) throw new Error(`${refusedUpstream(range)} refused`);
      if (!has('restart', 'refresh', 'secret')) {
        const tooSoon = range.logins.slice(1).filter(({ at }, index) => at - (range.logins[index]?.endedAt ?? 0) < 999);
        if (tooSoon.length > 0) throw new Error('two token requests within a second');
      }
      const open = range.outcomes.filter(({ status }) => status === null).length;
      if (open > 0) throw new Error(`${open} calls never ended`);
      const odd = range.outcomes.filter(({ status }) => ![200, 401, 424, 429, 503, 504].includes(status ?? 0));
      if (odd.length > 0) throw new Error(`${odd[0]?.status} ${odd[0]?.code}`);
      const counted = range.limits.ofTokens('crm')?.map(({ used }) => used) ?? [];
      if (counted.some((used) => used !== 0)) throw new Error(`still counted: ${counted}`);
      if (range.limits.states().some(({ used, waiting }) => used !== 0 || waiting !== 0))
        throw new Error('still waiting');
    }),
    { numRuns: rounds(100, 1_000) },
  );
  t.pass();
});
