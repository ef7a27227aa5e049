// Durations, booleans, numbers, names: what is accepted, and that nothing odd slips through.

import fc from 'fast-check';
import t from 'tap';
import { RESERVED_NAMES, refuseName } from '../../../src/config/layers.ts';
import { formatDuration, parseBoolean, parseDuration, parseInteger, splitCommas } from '../../../src/config/values.ts';

const durationOf = (text: string) => {
  const result = parseDuration(text);
  return result.ok ? result.value : result.message;
};

t.test('a bare number is seconds, and units are understood', async (t) => {
  t.strictSame(
    ['10', '0', '1.5', '500ms', '2m', '1h', ' 5 s ', '3M'].map(durationOf),
    [10_000, 0, 1500, 500, 120_000, 3_600_000, 5000, 180_000],
  );
});

t.test('what is not a sane duration is refused', async (t) => {
  for (const text of [
    '',
    '-1',
    '+1',
    'NaN',
    'Infinity',
    '1e3',
    '0x10',
    '1d',
    '1 0',
    '25h',
    '999999999999',
    '9'.repeat(400),
    '1..5',
    '.5',
    'ms',
  ]) {
    t.equal(parseDuration(text).ok, false, text);
  }
});

t.test('bounds are named in the message', async (t) => {
  t.match(parseDuration('1ms', 100), { message: /at least 100ms/ });
  t.match(parseDuration('2h', 0, 3_600_000), { message: /at most 1h/ });
});

t.test('every duration that is written is read back as the same', async () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 86_400_000 }), (ms) => durationOf(formatDuration(ms)) === ms));
});

t.test('no text becomes a duration that is negative, fractional or beyond the bound', async () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{1,20}(ms|s|m|h)?$/));
  fc.assert(
    fc.property(text, (candidate) => {
      const result = parseDuration(candidate);
      return !result.ok || (Number.isInteger(result.value) && result.value >= 0 && result.value <= 86_400_000);
    }),
    { numRuns: 1000 },
  );
});

t.test('booleans have eight spellings in any case', async (t) => {
  for (const text of ['true', 'YES', 'On', '1', ' true '])
    t.strictSame(parseBoolean(text), { ok: true, value: true }, text);
  for (const text of ['false', 'No', 'OFF', '0']) t.strictSame(parseBoolean(text), { ok: true, value: false }, text);
  for (const text of ['', 'y', 'truee', '2', 'null', 'enabled']) t.equal(parseBoolean(text).ok, false, text);
});

t.test('numbers are digits within their bounds', async (t) => {
  t.strictSame(parseInteger('65536'), { ok: true, value: 65536 });
  for (const text of ['', '-1', '1.0', '1e3', '0x1', '9007199254740993', 'NaN', '٣'])
    t.equal(parseInteger(text).ok, false, text);
  t.equal(parseInteger('70000', 1, 65535).ok, false);
});

t.test('items between commas are trimmed, and nothing is an empty list', async (t) => {
  t.strictSame(splitCommas(' a, b ,,c '), ['a', 'b', 'c']);
  t.strictSame(splitCommas(''), []);
});

t.test('names are lower case with hyphens, and none that the gateway serves itself', async (t) => {
  for (const name of ['a', '9', 'crm', 'my-crm-2']) t.equal(refuseName(name), undefined, name);
  for (const name of ['', '-a', 'A', 'a_b', 'a.b', 'a b', 'ä', 'a'.repeat(65), '__proto__', ...RESERVED_NAMES])
    t.type(refuseName(name), 'string', name);
});
