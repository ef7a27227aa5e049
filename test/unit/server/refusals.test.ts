// The refusals that are kept: one entry for each kind, whoever's token it was, with the last words.

import t from 'tap';
import type { TokenSource } from '../../../src/auth/credentials/token-source.ts';
import { createExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { Refusals } from '../../../src/server/refusals.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const aSource = () => ({ current: () => null }) as unknown as TokenSource;

t.test('sessions that take turns are counted together, and the last words hold', async (t) => {
  const refusals = new Refusals(createFakeClock());
  const record = { ...createExchangeRecord(), credential: 'crm', operation: 'getUsers' };
  const [ada, bob] = [aSource(), aSource()];
  for (const [at, source] of [ada, bob, ada, bob].entries()) {
    t.equal(
      refusals.note(record, 403, source, () => `words ${at}`),
      `words ${at}`,
    );
  }
  t.match(refusals.list(), [{ count: 4, explanation: 'words 3' }]);
});

t.test('the last twenty kinds are kept', async (t) => {
  const refusals = new Refusals(createFakeClock());
  for (let at = 0; at < 100; at += 1) {
    const record = { ...createExchangeRecord(), credential: 'crm', operation: `op${at}` };
    refusals.note(record, 403, aSource(), () => 'words');
  }
  const kept = refusals.list();
  t.equal(kept.length, 20);
  t.equal(kept[0]?.operation, 'op99');
});
