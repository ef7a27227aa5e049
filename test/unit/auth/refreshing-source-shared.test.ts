// A source whose tokens may have been obtained by another process that shares the store.

import t from 'tap';
import { createToken } from '../../../src/auth/credentials/token-source.ts';
import { Secret } from '../../../src/secret.ts';
import { sourceUnderTest, tokenFor } from './fixtures.ts';

const DAY_MS = 86_400_000;

t.test(
  'a 401 that is met with a token from before it, taken from the store, uses up no renewal: the next 401 is met ' +
    'with one',
  async (t) => {
    const { source, clock, reasons } = sourceUnderTest([
      (clock) => tokenFor(clock, DAY_MS, 'own'),
      (clock) =>
        createToken({
          accessToken: new Secret('of-another-process'),
          obtainedAt: clock.now() - 5_000,
          expiresAt: clock.now() + DAY_MS,
        }),
      (clock) => tokenFor(clock, DAY_MS, 'renewed'),
    ]);
    const own = await source.token();
    await clock.advance(10_000);
    t.equal(source.invalidate(own, '/api/v2/users'), true);
    const other = await source.successor(own);
    t.equal(other.accessToken.reveal(), 'of-another-process');
    await clock.advance(1_000);
    t.equal(source.invalidate(other, '/api/v2/users'), true, 'it was revoked as well');
    const renewed = await source.successor(other);
    t.equal(renewed.accessToken.reveal(), 'renewed');
    await clock.advance(1_000);
    t.equal(source.invalidate(renewed, '/api/v2/users'), false, 'the minute runs from the renewal');
    t.same(reasons, ['start', 'invalidated', 'invalidated']);
  },
);
