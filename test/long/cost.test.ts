// What a stranger sends costs no more than its octets: every pair of what our patterns are made of, repeated, through
// every entry. A few minutes.

import t from 'tap';
import { ATOMS, ENTRIES, type Entry, ONCE_COSTLY, searchCosts, unitsOf } from '../helpers/cost.ts';

t.test('no pair of atoms, repeated, costs any entry more than its length', async (t) => {
  const units = [...new Set([...unitsOf(ATOMS), ...ONCE_COSTLY])];
  for (const found of searchCosts(ENTRIES, units)) t.fail(JSON.stringify(found));
  t.comment(`${units.length} units through ${Object.keys(ENTRIES).length} entries`);
  t.ok(units.length > 1600);
});

t.test('the search finds what is quadratic, and lets what is linear pass', async (t) => {
  const controls: Record<string, Entry> = {
    'a run of backslashes, begun anew at each': (text) => text.slice(text.length / 2).replace(/\\+u/g, ''),
    'a copy for each character': (text) => {
      let before: string[] = [];
      for (const char of text.slice(text.length / 2)) before = before.concat(char);
      return before;
    },
    'one step for each character': (text) => [...text].map((char) => char.repeat(20).toUpperCase()).join(''),
  };
  const found = searchCosts(controls, ['\\']).map(({ entry }) => entry);
  t.strictSame(found, ['a run of backslashes, begun anew at each', 'a copy for each character']);
});
