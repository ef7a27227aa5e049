import t from 'tap';
import { createRandomSource } from '../../../src/sandbox/random.ts';
import { createRefreshTokenStore, type RefreshPolicy } from '../../../src/sandbox/tokens.ts';
import { createNow } from './harness.ts';

function setUp(rotation: RefreshPolicy['rotation']) {
  const clock = createNow();
  const store = createRefreshTokenStore(clock, createRandomSource('refresh'));
  const policy: RefreshPolicy = { rotation, graceMs: 30_000, replyRefreshToken: 'always' };
  const first = store.issue({ clientId: 'app', grant: 'pkce', userId: 'ada' });
  return {
    clock,
    store,
    first: first.value,
    redeem: (value: string, client = 'app') => store.redeem(value, client, policy),
  };
}

t.test('without rotation a refresh token stays good and unchanged', async (t) => {
  const { first, redeem } = setUp('none');
  for (let turn = 0; turn < 3; turn++) t.match(redeem(first), { kind: 'ok', refreshToken: first, rotated: false });
});

t.test('within the grace window a used token gives the same successor, however often', async (t) => {
  const { clock, first, redeem } = setUp('grace');
  const given = redeem(first);
  if (given.kind !== 'ok') return t.fail('not redeemed');
  t.not(given.refreshToken, first);
  clock.advance(29_999);
  t.match(redeem(first), { kind: 'ok', refreshToken: given.refreshToken, grace: true });
  t.match(redeem(first), { kind: 'ok', refreshToken: given.refreshToken, grace: true });
});

t.test('after the grace window a used token ends its whole family', async (t) => {
  const { clock, first, redeem } = setUp('grace');
  const given = redeem(first);
  if (given.kind !== 'ok') return t.fail('not redeemed');
  clock.advance(30_000);
  t.match(redeem(first), { kind: 'reused' });
  t.match(redeem(given.refreshToken), { kind: 'unknown' });
});

t.test('strict rotation takes no token twice, and a second use ends the family', async (t) => {
  const { first, redeem } = setUp('strict');
  const given = redeem(first);
  if (given.kind !== 'ok') return t.fail('not redeemed');
  t.match(redeem(first), { kind: 'reused' });
  t.match(redeem(given.refreshToken), { kind: 'unknown' });
});

t.test('a token of another client is unknown and stays good for its own', async (t) => {
  const { first, redeem } = setUp('strict');
  t.match(redeem(first, 'other'), { kind: 'unknown' });
  t.match(redeem(first), { kind: 'ok' });
});

t.test('the oldest of more than ten thousand tokens is forgotten', async (t) => {
  const { first, redeem, store } = setUp('none');
  for (let count = 0; count < 10_000; count++) store.issue({ clientId: 'app', grant: 'pkce' });
  t.match(redeem(first), { kind: 'unknown' });
});
