// The scanner for recognisable secrets finds what it must: otherwise a clean result would mean nothing.

import t from 'tap';
import { CANARY_KINDS, createCanaries } from '../../helpers/canary.ts';

t.test('every secret is found in every disguise, among other text', async (t) => {
  const canaries = createCanaries();
  for (const kind of CANARY_KINDS) {
    const secret = canaries[kind];
    const disguised = {
      raw: secret,
      cut: secret.slice(0, 20),
      reversed: [...secret].reverse().join(''),
      'percent-encoded': encodeURIComponent(secret),
      hex: Buffer.from(secret).toString('hex'),
      base64: Buffer.from(`id:${secret}`).toString('base64'),
      base64url: Buffer.from(`ab${secret}cd`).toString('base64url'),
      json: JSON.stringify({ a: JSON.stringify({ secret }) }),
    };
    for (const [form, text] of Object.entries(disguised)) {
      t.ok(
        canaries.scan(`before ${text} after`).some((leak) => leak.kind === kind),
        `${kind} ${form}`,
      );
    }
  }
});

t.test('a clean text is clean, and two sets of canaries have nothing in common', async (t) => {
  const canaries = createCanaries();
  t.strictSame(canaries.scan('nothing to see'), []);
  t.strictSame(canaries.scan(Object.values(createCanaries()).join(' ')), []);
  t.equal(new Set(CANARY_KINDS.map((kind) => canaries[kind])).size, CANARY_KINDS.length);
});
