// A secret that is in use is masked in every encoding, wherever a text is cut, and for as long as it may be of use to
// somebody.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { createLiveSecrets, cutMark } from '../../../src/logging/redact/live-secrets.ts';
import { fileSecret, inlineSecret, Secret } from '../../../src/secret.ts';

/** How a program may write a text; each step may follow another. */
const ENCODINGS: Record<string, (text: string) => string> = {
  raw: (text) => text,
  JSON: (text) => JSON.stringify(text).slice(1, -1),
  'JSON with slashes': (text) => JSON.stringify(text).slice(1, -1).replaceAll('/', '\\/'),
  'JSON in escapes': (text) =>
    [...text].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  percent: encodeURIComponent,
  'percent in lower case': (text) => encodeURIComponent(text).replace(/%../g, (octet) => octet.toLowerCase()),
  form: (text) => new URLSearchParams([['', text]]).toString().slice(1),
  'percent throughout': (text) => Buffer.from(text).toString('hex').replace(/../g, '%$&'),
};
const STEPS = Object.keys(ENCODINGS);
/**
 * A backslash at the end of a value cannot be told from one before what follows; it is the one character that may be
 * left. Escaped twice, a `u` with four digits becomes one character: what is then too short is not looked for.
 */
const secretText = fc
  .oneof(
    fc.stringMatching(/^[A-Za-z0-9+/=_.~-]{8,100}$/),
    fc.stringMatching(/^[!-~]{24,40}$/),
    fc.stringMatching(/^[a-z]{4} [a-z]{4} [a-zäöü"\\/]{4}$/),
  )
  .filter((text) => !text.endsWith('\\') && text.replace(/u[0-9a-f]{4}/g, '?').length >= 8);

t.test(
  'a value of 8 characters and more is masked in every encoding, one upon another, and its neighbours stay',
  async (t) => {
    fc.assert(
      fc.property(secretText, fc.array(fc.constantFrom(...STEPS), { maxLength: 3 }), (secret, steps) => {
        const { add, mask } = createLiveSecrets();
        add('another-value-that-is-known');
        add(secret);
        const written = steps.reduce((text, step) => (ENCODINGS[step] as (text: string) => string)(text), secret);
        return mask(`left ${written} right`) === 'left [redacted] right';
      }),
      {
        numRuns: 2000,
        examples: [
          ['a%41b%2Fcd', ['percent']],
          ['new\\nline', ['JSON', 'JSON']],
          ['%%%%%%%%', ['percent', 'JSON']],
          ['a-value-with-u0000-in-it', ['JSON in escapes', 'JSON']],
          ['u00e9-begins-it-u0041u0042', ['JSON in escapes', 'JSON with slashes', 'JSON']],
        ],
      },
    );
    t.pass();
  },
);

t.test('base64 at each of its three alignments gives away none of the value, whatever stands around it', async (t) => {
  fc.assert(
    fc.property(
      secretText,
      fc.stringMatching(/^[a-z0-9:-]{0,7}$/),
      fc.stringMatching(/^[a-z0-9]{0,5}$/),
      fc.boolean(),
      (secret, before, after, isUrl) => {
        const { add, mask } = createLiveSecrets();
        add(secret);
        const written = Buffer.from(`${before}${secret}${after}`).toString(isUrl ? 'base64url' : 'base64');
        for (const shown of [mask(`Basic ${written} x`), mask(`a=${encodeURIComponent(written)}`)]) {
          const [left = '', right] = shown.split('[redacted]');
          if (right === undefined) return false;
          const kept = Buffer.from(decodeURIComponent(left).replace(/^.*[ =]/, ''), 'base64').toString('latin1');
          if (!Buffer.from(before).toString('latin1').startsWith(kept)) return false;
        }
        return true;
      },
    ),
    { numRuns: 1000 },
  );
  t.pass();
});

t.test('where a text is cut, the beginning of a value is masked, and only there', async (t) => {
  const secret = 'k3/Yp+mO q"2sVx8=zT4';
  const { add, mask } = createLiveSecrets();
  add(secret);
  for (const [name, encode] of [
    ...Object.entries(ENCODINGS),
    ['base64', (text: string) => Buffer.from(text).toString('base64')] as const,
  ]) {
    const written = encode(secret);
    for (let length = 4; length < written.length; length++) {
      const shown = mask(`some text ${written.slice(0, length)}${cutMark(length, 'bytes of 99')}`);
      // An escape that the cut went through shows a part of one character.
      const left = shown
        .slice('some text '.length)
        .replace('[redacted]', '')
        .replace(/^(?:%.?|\\(?:u.{0,3})?)/, '');
      const whole = written.slice(0, length).replace(/(?:%.?|\\(?:u.{0,3})?)$/, '');
      const isShort = (whole.match(/%..|\\u....|\\[^u]|[^%\\]/g) ?? []).length < 4;
      if (!isShort && left !== cutMark(length, 'bytes of 99')) t.fail(`${name}: ${shown}`);
    }
  }
  t.equal(mask('k3/Yp+mO is no cut'), 'k3/Yp+mO is no cut');
});

t.test('a piece of a long value is masked as well', async (t) => {
  const assertion = Array.from({ length: 400 }, (_, at) => `${at}<x/>`).join('');
  const { add, mask } = createLiveSecrets();
  add(assertion);
  const shown = mask(`begins ${assertion.slice(300, 1900)}`);
  t.ok(shown.length < 'begins '.length + 2 * 64 + '[redacted]'.length, 'but for the parts at its ends');
  t.equal(mask(`<${assertion}>`), '<[redacted]>');
});

t.test('values that turn up side by side, and in one another, are masked once', async (t) => {
  const { add, mask } = createLiveSecrets();
  for (const value of ['abcdefgh', 'efghijkl', 'abcdefghijklmnop']) add(value);
  t.equal(mask('-abcdefghijkl-abcdefghijklmnop+abcdefgh abcdefgh'), '-[redacted]-[redacted]+[redacted] [redacted]');
  t.equal(mask('abcdefg'), 'abcdefg');
  add('1234567');
  t.equal(mask('1234567'), '1234567', 'a short word stays');
});

t.test('tokens never push out a value of the configuration; the oldest token is forgotten', async (t) => {
  const { add, configure, mask } = createLiveSecrets(3);
  configure([inlineSecret('configured-value', 'test')]);
  for (let at = 0; at < 10; at++) add(`token-number-${at}`);
  t.equal(mask('configured-value token-number-9 token-number-7'), '[redacted] [redacted] [redacted]');
  t.equal(mask('token-number-6'), 'token-number-6');
});

t.test(
  'a replaced configuration is masked too, for a while, and what a file holds later from when it is read',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gcg-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'secret');
    writeFileSync(file, 'first-of-the-file\n');
    const source = fileSecret(file);
    const { configure, mask } = createLiveSecrets();
    configure([source, fileSecret(join(folder, 'missing')), inlineSecret('written-in-line', 'test')]);
    writeFileSync(file, 'second-of-the-file, longer\n');
    source.read();
    t.equal(mask('first-of-the-file second-of-the-file, longer'), '[redacted] [redacted]');
    configure([inlineSecret('of-the-next-one', 'test')]);
    t.equal(mask('written-in-line of-the-next-one'), '[redacted] [redacted]');
  },
);

t.test(
  'what callers choose to send pushes out no token, and a few large values are remembered, whatever their number',
  async (t) => {
    const { add, mask } = createLiveSecrets();
    add('a-token-of-the-platform');
    const large = (at: number) => `${String(at).padStart(6, '0')}-${randomBytes(30_000).toString('base64')}`;
    const sent = Array.from({ length: 40 }, (_, at) => large(at));
    for (const value of sent) add(value, 'sent');
    for (let at = 0; at < 2000; at++) add(`sent-by-a-caller-${at}`, 'sent');
    t.equal(mask('a-token-of-the-platform sent-by-a-caller-1999'), '[redacted] [redacted]');
    for (const value of sent) add(value, 'sent');
    t.equal(mask(sent.at(-1) as string), '[redacted]', 'the last one is known');
    t.equal(mask(sent[0] as string), sent[0], 'the first one has made room');
    const lone = large(99).repeat(4);
    add(lone, 'sent');
    t.equal(mask(lone.slice(0, 64)), '[redacted]', 'one that takes all there is, is known by itself');
  },
);

t.test('a value that repeats itself makes no text dear that does so, too', async (t) => {
  const cpuOfMasking = (values: readonly string[], text: string) => {
    const { add, mask } = createLiveSecrets();
    for (const value of values) add(value, 'sent');
    mask(text);
    const before = process.cpuUsage();
    for (let round = 0; round < 5; round++) mask(text);
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  const text = 'a'.repeat(16_000);
  const plain = cpuOfMasking(['a-value-of-no-kind'], 'b'.repeat(16_000));
  const table: Record<string, readonly string[]> = {
    'one long one': ['a'.repeat(64 * 1024)],
    'all lengths of one character': Array.from({ length: 200 }, (_, at) => 'a'.repeat(8 + at)),
    'another end each': Array.from({ length: 200 }, (_, at) => `${'a'.repeat(20)}${at}`),
  };
  for (const [name, values] of Object.entries(table)) {
    const cost = cpuOfMasking(values, text);
    t.ok(cost < 100 * (plain + 1000), `${name}: ${cost} beside ${plain} µs`);
  }
});

t.test(
  'a secret file whose content is replaced again and again costs no more than the tokens that may be remembered',
  async (t) => {
    let tell = (_secret: Secret) => {};
    const onNew = (told: typeof tell) => {
      tell = told;
    };
    const source = { ...inlineSecret('content-number-0', 'test'), onNew };
    const { configure, mask } = createLiveSecrets(3);
    configure([source]);
    for (let at = 1; at <= 10; at++) tell(new Secret(`content-number-${at}`));
    t.equal(mask('content-number-10 content-number-9'), '[redacted] [redacted]');
    t.equal(mask('content-number-1'), 'content-number-1');
    configure([inlineSecret('of-the-next-one', 'test')]);
    for (let at = 11; at <= 20; at++) tell(new Secret(`content-number-${at}`));
    t.equal(mask('of-the-next-one content-number-20'), '[redacted] [redacted]', 'also for what was begun before');
    t.equal(mask('content-number-11'), 'content-number-11');
  },
);

t.test('a text without a secret is returned as it is', async (t) => {
  const { add, mask } = createLiveSecrets();
  t.equal(mask('anything at all'), 'anything at all');
  add('a-value-in-use');
  for (const text of ['', 'a-value', '/api/v2/users?a=%41%zz\\u00', 'a-value-in-us', '\\', '%', '\ud800%'])
    t.equal(mask(text), text);
});
