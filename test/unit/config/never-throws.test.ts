// Whatever is written where, loading answers with a configuration or with problems: it never throws, and never shows a
// secret.

import fc from 'fast-check';
import t from 'tap';
import { formatProblem } from '../../../src/config/problem.ts';
import { OPTIONS } from '../../../src/config/table.ts';
import { load } from './load-text.ts';

const CANARY = 'CANARYcanary77';
const value = fc.oneof(
  fc.constantFrom(
    '',
    '-1',
    '0',
    '1',
    '99999999999',
    'true',
    'none',
    '*',
    ',',
    '[',
    ']',
    '[::1]:8080',
    '0.0.0.0:1',
    'unix:/x',
    'fd:3',
    'http://',
    'http://a:b@c',
    'pac+file:///x',
    '%',
    '%zz',
  ),
  fc.constantFrom(
    '://',
    'a..b',
    'xn--',
    'a.b:99999',
    '/..',
    '~/',
    '\u0000',
    '\ud800',
    'ſ',
    '１',
    'default',
    'eu-central-1',
    'GET /**',
    '@read-only',
    `http://u:${CANARY}@p`,
  ),
  fc.string({ maxLength: 12 }),
);
const option = fc.constantFrom(...OPTIONS);
const name = fc.constantFrom('', '.a', '.default', '.api', '.B', '.__proto__');
const entry = fc.tuple(option, name, value, fc.constantFrom('', '_file', '_env', '[]'));

const sectionOf = (section: string, suffix: string) =>
  section === 'credential' || section === 'client' ? section + suffix : section;

t.test('any values in any options of an INI file', async () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
      const text = entries
        .map(([{ section, key }, suffix, text, form]) => `[${sectionOf(section, suffix)}]\n${key}${form} = ${text}\n`)
        .join('');
      const result = load({ file: text });
      return result.ok || result.problems.every((problem) => !/[\r\n]/.test(formatProblem(problem)));
    }),
    { numRuns: 500 },
  );
});

t.test('any values in any variables of the environment', async () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
      const env = Object.fromEntries(
        entries.map(([{ section, key }, suffix, text, form]) => [
          `GCG_${`${sectionOf(section, suffix)}_${key}${form}`.replace(/\W+/g, '_').toUpperCase()}`,
          text,
        ]),
      );
      load({ env });
    }),
    { numRuns: 300 },
  );
});

t.test('a secret that is valid is never shown, whatever is wrong beside it', async (t) => {
  const secrets = OPTIONS.filter(({ isSecret }) => isSecret);
  let seen = 0;
  fc.assert(
    fc.property(fc.constantFrom(...secrets), fc.array(entry, { maxLength: 6 }), ({ section, key }, entries) => {
      const all = [
        `[${sectionOf(section, '.a')}]\n${key} = ${CANARY}\n`,
        ...entries.map(([o, suffix, text, form]) => `[${sectionOf(o.section, suffix)}]\n${o.key}${form} = ${text}\n`),
      ];
      const result = load({ file: all.join('') });
      seen += result.ok ? 1 : result.problems.length;
      // What is handed on to be used, not shown: the configuration, and the paths that are watched.
      return !JSON.stringify({ ...result, config: null, referencedFiles: null }).includes(CANARY);
    }),
    { numRuns: 500 },
  );
  t.ok(seen > 100, 'the positive control: configurations and problems were looked at');
});
