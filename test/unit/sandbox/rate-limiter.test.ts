import t from 'tap';
import { createRateLimiter } from '../../../src/sandbox/rate-limiter.ts';
import { createNow } from './harness.ts';

t.test('300 calls pass in a window, the next is refused with the time that is left', async (t) => {
  const clock = createNow();
  const limiter = createRateLimiter(clock);
  for (let call = 0; call < 300; call++) t.equal(limiter.take('token', 'GET /api/v2/users', {}), undefined);
  clock.advance(18_500);
  t.same(limiter.take('token', 'GET /api/v2/users', {}), {
    key: 'token.rate.per.minute',
    namespace: 'platform.api',
    value: 300,
    retryAfterS: 42,
  });
});

for (const elapsedMs of [0, 1, 999, 59_999]) {
  t.test(`a call after the time it was told to wait always passes, ${elapsedMs} ms into the window`, async (t) => {
    const clock = createNow();
    const limiter = createRateLimiter(clock);
    limiter.take('token', 'route', { perMinute: 1 });
    clock.advance(elapsedMs);
    const hit = limiter.take('token', 'route', { perMinute: 1 });
    clock.advance((hit?.retryAfterS ?? 0) * 1000);
    t.equal(limiter.take('token', 'route', { perMinute: 1 }), undefined);
  });
}

t.test('in a minute that slides each call counts for a minute of its own', async (t) => {
  const clock = createNow();
  const limiter = createRateLimiter(clock);
  const limit = { perMinute: 2, isSliding: true };
  const take = () => limiter.take('token', 'route', limit)?.retryAfterS ?? 'passed';
  t.equal(take(), 'passed');
  clock.advance(40_000);
  t.equal(take(), 'passed');
  t.equal(take(), 20, 'the first one counts for 20 s more');
  clock.advance(20_000);
  t.equal(take(), 'passed');
  t.equal(take(), 40, 'the second one is still counted');
  clock.advance(39_999);
  t.equal(take(), 1);
  clock.advance(1);
  t.equal(take(), 'passed');
  t.equal(limiter.take('token', 'route', { perMinute: 2 }), undefined, 'a window of the other kind is another one');
});

t.test('tokens are counted apart', async (t) => {
  const limiter = createRateLimiter(createNow());
  limiter.take('one', 'route', { perMinute: 1 });
  t.equal(limiter.take('two', 'route', { perMinute: 1 }), undefined);
});

t.test("an endpoint's limit refuses only that endpoint, and its refusals cost the token nothing", async (t) => {
  const limiter = createRateLimiter(createNow());
  const limit = {
    perMinute: 3,
    endpoints: [{ route: 'GET /api/v2/users', perMinute: 1, key: 'users.rate.per.minute' }],
  };
  t.equal(limiter.take('token', 'GET /api/v2/users', limit), undefined);
  for (let call = 0; call < 5; call++)
    t.match(limiter.take('token', 'GET /api/v2/users', limit), { key: 'users.rate.per.minute', value: 1 });
  t.equal(limiter.take('token', 'GET /api/v2/tokens/me', limit), undefined);
  t.equal(limiter.take('token', 'GET /api/v2/tokens/me', limit), undefined);
  t.match(limiter.take('token', 'GET /api/v2/tokens/me', limit), { key: 'token.rate.per.minute' });
});
