// What a stranger sends costs no more than its octets: a sample of the search that test/long/cost.test.ts makes whole.

import t from 'tap';
import { ENTRIES, type Entry, SAMPLE, searchCosts } from '../../helpers/cost.ts';

t.test(
  'no entry of redaction, rules, route templates and the server itself costs more than the length of what it is given',
  async (t) => {
    for (const found of searchCosts(ENTRIES, SAMPLE)) t.fail(JSON.stringify(found));
    t.ok(Object.keys(ENTRIES).length > 50);
  },
);

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
