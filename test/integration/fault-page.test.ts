// The published matrix is the one that is tested.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { faultsPage } from './fault-page.ts';

t.test('docs/faults.md is what the rows say', (t) => {
  t.equal(
    readFileSync(new URL('../../docs/faults.md', import.meta.url), 'utf8'),
    faultsPage(),
    'write it anew: node test/integration/fault-page.ts',
  );
  t.end();
});
