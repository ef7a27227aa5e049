// Masks with fingerprints: equal secrets have equal ones wherever they stand, and nothing else can be learnt.

import { randomBytes } from 'node:crypto';
import t from 'tap';
import { createLiveSecrets, cutMark } from '../../../src/logging/redact/live-secrets.ts';
import { keyedFingerprint, replaceMasks, withFingerprints } from '../../../src/logging/redact/mask.ts';
import { redactHeaders, redactTarget } from '../../../src/logging/redact/redact.ts';
import { redactText } from '../../../src/logging/redact/text.ts';
import { redactValue } from '../../../src/logging/redact/value.ts';

const key = randomBytes(32);
const marked = <T>(work: () => T, by = key): T => withFingerprints((secret) => keyedFingerprint(by, secret), work);
const SECRET = 'q7R+x/2kLm9=Zp';
const PERCENT = encodeURIComponent(SECRET);

/** The places where one secret may stand, each as a text that was redacted. */
const PLACES: Readonly<Record<string, (secret: string, percent: string) => string>> = {
  'a parameter': (_, percent) => redactTarget(`/api/v2/users?access_token=${percent}&page=1`),
  'a fragment': (_, percent) => redactTarget(`/x#access_token=${percent}`),
  'a header': (secret) => JSON.stringify(redactHeaders(['X-Gateway-Key', secret])),
  'a Bearer header': (secret) => JSON.stringify(redactHeaders(['Authorization', `Bearer ${secret}`])),
  'a Location': (_, percent) => JSON.stringify(redactHeaders(['Location', `https://h/cb?code=${percent}`])),
  'a scheme in a sentence': (secret) => redactText(`sent Authorization Bearer ${secret}`),
  'a label in a sentence': (secret) => redactText(`password=${secret}`),
  'a JSON field': (secret) => JSON.stringify(redactValue({ a: [{ refresh_token: secret }] })),
  'JSON within JSON': (secret) => JSON.stringify(redactValue({ body: JSON.stringify({ client_secret: secret }) })),
  'a form': (_, percent) => redactText(`grant_type=x&client_secret=${percent}`),
  'an element': (secret) => redactText(`<password>${secret}</password>`),
  'user information': (_, percent) => redactText(`https://name@h/ https://${percent}@host/`).replace('name', ''),
};

const markIn = (text: string): string[] => {
  const marks: string[] = [];
  replaceMasks(text, (mark) => {
    marks.push(String(mark));
    return '';
  });
  return marks;
};

t.test('one secret has one mark, wherever it stands; without a key there is none', async (t) => {
  const expected = keyedFingerprint(key, SECRET);
  for (const [place, show] of Object.entries(PLACES)) {
    const text = marked(() => show(SECRET, PERCENT));
    t.ok(markIn(text).includes(expected), `${place}: ${text}`);
    t.notOk(text.includes(SECRET) || text.includes(PERCENT), place);
    const plain = show(SECRET, PERCENT);
    t.same(new Set(markIn(plain)), new Set(['null']), `${place}: ${plain}`);
    t.equal(plain, text.replaceAll(/\[redacted~\w{10}\]/g, '[redacted]'), `${place}: nothing else is different`);
    t.equal(
      marked(() => redactText(text)),
      text,
      `${place}: a second look changes nothing`,
    );
  }
});

t.test('live values have the mark of what stands there, whatever label it has', async (t) => {
  const live = createLiveSecrets();
  live.add(SECRET);
  const expected = keyedFingerprint(key, SECRET);
  const bytes = Buffer.from(SECRET);
  const encoded = [bytes.toString('base64'), Buffer.from(`id:${SECRET}`).toString('base64url'), bytes.toString('hex')];
  for (const text of [`x ${SECRET} y`, `x ${PERCENT} y`, `${SECRET}`, JSON.stringify({ a: SECRET }), ...encoded])
    t.same(markIn(marked(() => live.mask(text))), [expected], text);
  t.equal(live.mask(`x ${SECRET} y`), 'x [redacted] y');
  const cut = `x ${SECRET.slice(0, 9)}${cutMark(11, 'characters of 16')}`;
  t.match(
    marked(() => live.mask(cut)),
    /^x \[redacted~\w{10}\] \[cut at/,
  );
  for (const form of [SECRET, PERCENT, JSON.stringify(SECRET), Buffer.from(`ab${SECRET}c`).toString('base64')])
    t.equal(live.find(`0123 ${form}`) >= 5, true, form);
  t.equal(live.find(`0123 ${Buffer.from(SECRET).toString('hex')}`), 5);
  t.equal(live.mask(Buffer.from(SECRET).toString('hex').toUpperCase()), '[redacted]');
  t.equal(live.find('nothing of it'), -1);
});

t.test('a mark says nothing of what it stands for', async (t) => {
  const pins = Array.from({ length: 10_000 }, (_, at) => String(at).padStart(4, '0'));
  const shown = marked(() => redactValue({ pin: '4711' })) as { pin: string };
  const mark = markIn(shown.pin)[0];
  t.match(shown.pin, /^\[redacted~[B-Z2-9]{10}\]$/);
  const otherKey = randomBytes(32);
  t.equal(
    pins.filter((pin) => keyedFingerprint(otherKey, pin) === mark).length,
    0,
    'without the key no guess can be tried',
  );
  t.equal(new Set(pins.map((pin) => keyedFingerprint(key, pin))).size, 10_000, 'and with it each is told apart');
  const lengths = [4, 40, 4_000].map((length) => marked(() => redactValue({ secret: 'x'.repeat(length) })));
  t.equal(new Set(lengths.map((one) => JSON.stringify(one).length)).size, 1, 'nor how long it is');
  t.same(
    marked(() => redactValue({ pin: 4711 })),
    shown,
    'a number is the same secret',
  );
});

t.test('structures under a secret name, however deep, come to one mark and to an end', async (t) => {
  let deep: unknown = 'x';
  for (let depth = 0; depth < 500; depth++) deep = { token: deep };
  t.match(
    marked(() => redactValue(deep)),
    { token: /^\[redacted~/ },
  );
  t.equal(
    JSON.stringify(marked(() => redactValue({ secrets: ['a', 'b'] }))),
    JSON.stringify(marked(() => redactValue({ secrets: ['a', 'b'] }))),
  );
});

t.test('what throws leaves no marks behind', async (t) => {
  t.throws(() =>
    marked(() => {
      throw new Error('in the middle');
    }),
  );
  t.equal(redactText('password=abcdefgh'), 'password=[redacted]');
});
