// How a configuration file in INI is read: what is a setting, and what is a mistake with a line number.

import fc from 'fast-check';
import { unsafe } from 'ini';
import t from 'tap';
import { decodeIniValue, parseIni } from '../../../src/config/ini.ts';
import { formatProblem } from '../../../src/config/problem.ts';

const valuesOf = (text: string) =>
  parseIni(text, 'x.ini').entries.map(({ section, key, value, location }) => [section, key, value, location]);
const problemsOf = (text: string) => parseIni(text, 'x.ini').problems.map(formatProblem);

t.test('a setting remembers its section and its line', async (t) => {
  t.strictSame(valuesOf('# comment\n[general]\n\nhost = mypurecloud.de\n'), [
    ['general', 'host', { type: 'text', text: 'mypurecloud.de' }, 'x.ini:4'],
  ]);
});

t.test('a byte order mark, Windows line ends, indentation and blanks after a section do no harm', async (t) => {
  t.strictSame(valuesOf('\uFEFF[general] \r\n  host=x\r\n'), [
    ['general', 'host', { type: 'text', text: 'x' }, 'x.ini:2'],
  ]);
  t.strictSame(problemsOf('\uFEFF[general] \r\n  host=x\r\n'), []);
});

t.test('a colon separates key and value too, as the SDK reads it, and the first of the two counts', async (t) => {
  t.match(valuesOf('[general]\nhost: https://api.mypurecloud.de'), [
    ['general', 'host', { text: 'https://api.mypurecloud.de' }],
  ]);
  t.match(valuesOf('[server]\nlisten = [::1]:80'), [['server', 'listen', { text: '[::1]:80' }]]);
});

t.test('dotted sections keep their name', async (t) => {
  t.match(valuesOf('[credential.crm]\nclient_id = x'), [['credential.crm', 'client_id']]);
});

t.test('key[] collects a list in order and an empty value is an empty text', async (t) => {
  t.match(valuesOf('[client.a]\nallow[] = GET /a\nx = \nallow[] = GET /b, c'), [
    ['client.a', 'allow', { type: 'list', items: ['GET /a', 'GET /b, c'] }, 'x.ini:2'],
    ['client.a', 'x', { type: 'text', text: '' }, 'x.ini:3'],
  ]);
});

t.test('a value that other readers would cut is refused, without being shown', async (t) => {
  for (const line of [
    'client_secret = abc#def',
    'client_secret = abc;def',
    'client_secret = abc ; a note',
    'client_secret = "abc" # a note',
  ]) {
    const [problem = '', ...more] = problemsOf(`[credential]\n${line}`);
    t.match(problem, /^x\.ini:2: credential\.client_secret: /, line);
    t.notMatch(problem, 'abc');
    t.equal(more.length, 0);
  }
});

t.test('quotes and backslashes keep # and ; in a value', async (t) => {
  t.match(decodeIniValue('"a#b;c\\"d"'), { ok: true, value: 'a#b;c"d' });
  t.match(decodeIniValue("'a#b;c\\d'"), { ok: true, value: 'a#b;c\\d' });
  t.match(decodeIniValue('a\\#b\\;c'), { ok: true, value: 'a#b;c' });
  t.match(decodeIniValue("'12345'"), { ok: true, value: '12345' });
  t.match(decodeIniValue('true'), { ok: true, value: 'true' });
});

t.test('broken quotes are refused', async (t) => {
  for (const raw of ['"abc', '"', '"ab" cd', "'abc", "'a'b'", '"a\\xb"']) t.equal(decodeIniValue(raw).ok, false, raw);
});

t.test('a broken section line is a mistake, and the keys under it are not blamed on another section', async (t) => {
  for (const line of ['[server', '[server] ; note', '[]', '[[server]]', '[server]]', '[a] x = 1']) {
    const { entries, problems, isIncomplete } = parseIni(`[general]\n${line}\nlisten = x`, 'x.ini');
    t.strictSame(entries, [], line);
    t.equal(problems.length, 1, line);
    t.equal(problems[0]?.location, 'x.ini:2', line);
    t.equal(isIncomplete, true);
  }
});

t.test('a line without =, without key, or above every section is a mistake', async (t) => {
  t.match(problemsOf('[a]\nhello'), [/^x\.ini:2: a: .*no "="/]);
  t.match(problemsOf('[a]\n= 3'), [/^x\.ini:2: a: .*no key/]);
  t.match(problemsOf('a = 3'), [/^x\.ini:1: "a" stands before any section/]);
});

t.test('a key that is set twice is a mistake that names both lines', async (t) => {
  t.match(problemsOf('[a]\nb = 1\n[c]\nd = 1\n[a]\nb = 2'), [/^x\.ini:6: a\.b: already set at x\.ini:2/]);
  t.match(problemsOf('[a]\nb[] = 1\nb = 2'), [/^x\.ini:3: a\.b: already set at x\.ini:2/]);
});

t.test('names that mean something to JavaScript are just names', async (t) => {
  t.match(valuesOf('[__proto__]\nconstructor = 1\n__proto__ = 2'), [
    ['__proto__', 'constructor', { text: '1' }],
    ['__proto__', '__proto__', { text: '2' }],
  ]);
  t.equal(Object.hasOwn(Object.prototype, 'constructor') && ({} as Record<string, unknown>)['1'] === undefined, true);
});

t.test('a file full of mistakes is given up after a while', async (t) => {
  const found = problemsOf(`[a]\n${'nonsense\n'.repeat(10_000)}`);
  t.ok(found.length < 100);
  t.match(found.at(-1), /too many mistakes/);
});

t.test('whatever text is in double quotes comes back as it was', async () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const result = decodeIniValue(` ${JSON.stringify(text)} `);
      return result.ok && result.value === text;
    }),
  );
});

t.test('no text makes the reader throw, and each setting it yields stands in its line', async () => {
  const piece = fc.constantFrom(
    '[',
    ']',
    '=',
    ':',
    '#',
    ';',
    '"',
    "'",
    '\\',
    '\n',
    '\r\n',
    ' ',
    'a',
    'key',
    '[a]\n',
    'b = c\n',
    '[]',
    '__proto__',
    '\uFEFF',
    '\0',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const text = pieces.join('');
      const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
      return parseIni(text, 'x').entries.every(({ key, location }) =>
        lines[Number(location.slice(2)) - 1]?.includes(key),
      );
    }),
    { numRuns: 2000 },
  );
});

t.test('a value without quotes means what it means to npm, or is refused', async (t) => {
  const text = fc.string({ unit: fc.constantFrom('\\', '#', ';', 'a', ' ', '=', '[', '\t', 'ü') });
  fc.assert(
    fc.property(text, (written) => {
      const value = decodeIniValue(written);
      return !value.ok || value.value === unsafe(written);
    }),
  );
  t.strictSame(decodeIniValue(' a\\#b\\\\c\\d\\ '), { ok: true, value: 'a#b\\c\\d\\' });
});
