// The name that a caller gave itself, as a record shows it.

import t from 'tap';
import { shownClaim } from '../../../src/server/claimed-client.ts';

t.test('what looks like a name is shown', async (t) => {
  for (const name of ['crm', 'CRM-Batch', 'old-batch-2', 'a.b_c', '0e8b3a52-0f4c-4f6b-9d5c-1a2b3c4d5e6f'])
    t.equal(shownClaim(name), name);
});

t.test('what may be a secret is not, wherever chance puts its hyphens', async (t) => {
  for (const name of [
    'Zm9vYmFyYmF6cXV1eGZvb2JhcmJhenF1dXg',
    'aB3dE5gH7jK9mN1_pQ3sT5v-fH2jL4nP6rT8v',
    'a'.repeat(16),
    'a-'.repeat(40),
    'ada@example.com',
    '',
  ])
    t.match(shownClaim(name), /^~[0-9a-f]{12}$/, name);
});
