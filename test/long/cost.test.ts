// What a stranger sends costs no more than its octets: every pair of what our patterns are made of, repeated, through
// every entry. A few minutes.

import t from 'tap';
import { ATOMS, ENTRIES, searchCosts, unitsOf } from '../helpers/cost.ts';

t.test('no pair of atoms, repeated, costs any entry more than its length', async (t) => {
  const units = [...unitsOf(ATOMS)];
  for (const found of searchCosts(ENTRIES, units)) t.fail(JSON.stringify(found));
  t.comment(`${units.length} units through ${Object.keys(ENTRIES).length} entries`);
  t.ok(units.length > 1600);
});
