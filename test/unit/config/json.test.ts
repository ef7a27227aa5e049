// How a configuration file in JSON is read: sections as objects, every key with its line, faults with line and column.

import fc from 'fast-check';
import t from 'tap';
import { parseJson } from '../../../src/config/json.ts';
import { formatProblem } from '../../../src/config/problem.ts';

const problemsOf = (text: string) => parseJson(text, 'x.json').problems.map(formatProblem);

t.test('sections are objects, names nest, and every key remembers its line', async (t) => {
  const { entries, sections, problems } = parseJson(
    '{\n "server": {"listen": "a",\n  "tls": {"cert_file": "c"}},\n "client": {"crm": {\n   "admin": true, ' +
      '"requests_per_minute": 60}}\n}',
    'x.json',
  );
  t.strictSame(problems, []);
  t.strictSame(
    entries.map(({ section, key, value, location }) => [
      section,
      key,
      'text' in value ? value.text : value,
      value.type,
      location,
    ]),
    [
      ['server', 'listen', 'a', 'text', 'x.json:2'],
      ['server.tls', 'cert_file', 'c', 'text', 'x.json:3'],
      ['client.crm', 'admin', 'true', 'boolean', 'x.json:5'],
      ['client.crm', 'requests_per_minute', '60', 'number', 'x.json:5'],
    ],
  );
  t.strictSame(sections.map(({ section }) => section).sort(), ['client.crm', 'server', 'server.tls']);
});

t.test('arrays are lists', async (t) => {
  t.match(parseJson('{"client":{"a":{"allow":["GET /x","b"],"deny":[]}}}', 'x').entries, [
    { value: { type: 'list', items: ['GET /x', 'b'] } },
    { value: { type: 'list', items: [] } },
  ]);
});

t.test('a syntax error tells line and column', async (t) => {
  t.match(problemsOf('{"a":\n {"b":1,}}'), [/^x\.json:2:9: not valid JSON: there is a comma too many/]);
  t.match(problemsOf('{"a": {"b": tru}}'), [/^x\.json:1:13: not valid JSON/]);
  t.match(problemsOf('{"a": {"b": 1} "c": {}}'), [/^x\.json:1:16: not valid JSON: "}" is missing/]);
  t.match(problemsOf('{"a": {"b": "x\ny"}}'), [/^x\.json:1:13: not valid JSON: this string/]);
  t.match(problemsOf('{"a": {"b": 1'), [/the file ends/]);
  t.match(problemsOf('{} x'), [/text after the closing/]);
  t.match(problemsOf('{"a": {"b": 01}}'), [/not valid JSON/]);
  t.match(problemsOf('{"a": {"b": [{}]}}'), [/a list holds texts only/]);
});

t.test('a duplicate key, null and a setting outside of a section are mistakes', async (t) => {
  t.match(problemsOf('{"a":{"b":1,\n"b":2}}'), [/^x\.json:2: a\.b: already set at x\.json:1/]);
  t.match(problemsOf('{"a":{"b":null}}'), [/^x\.json:1: a\.b: null is no value/]);
  t.match(problemsOf('{"host":"x"}'), [/^x\.json:1: "host" stands outside of any section/]);
});

t.test('an editor may be pointed to the schema', async (t) => {
  t.strictSame(parseJson('{"$schema": "config.schema.json"}', 'x').problems, []);
});

t.test('keys that mean something to JavaScript pollute nothing', async (t) => {
  const { entries } = parseJson(
    '{"__proto__": {"polluted": "yes"}, "constructor": {"prototype": {"polluted": "yes"}}}',
    'x',
  );
  t.strictSame(
    entries.map(({ section }) => section),
    ['__proto__', 'constructor.prototype'],
  );
  t.equal(({} as Record<string, unknown>).polluted, undefined);
});

t.test('deep nesting and long strings are bounded, not fatal', async (t) => {
  t.match(problemsOf(`${'{"a":'.repeat(50_000)}1`), [/nested too deeply/]);
  const long = 'x'.repeat(900_000);
  t.match(parseJson(`{"a":{"b":"${long}"}}`, 'x').entries, [{ value: { text: long } }]);
});

t.test('whatever JSON.stringify writes is read back: same keys, same texts', async (t) => {
  const scalar = fc.oneof(fc.string(), fc.boolean(), fc.integer());
  const section = fc.dictionary(fc.string(), scalar, { maxKeys: 5 });
  fc.assert(
    fc.property(fc.dictionary(fc.string(), section, { maxKeys: 5 }), fc.constantFrom(0, 2), (config, indent) => {
      const { entries, problems } = parseJson(JSON.stringify(config, null, indent), 'x');
      const wanted = Object.entries(config).flatMap(([name, keys]) =>
        Object.entries(keys).map(([key, value]) => [name, key, String(value)]),
      );
      t.strictSame(problems, []);
      t.strictSame(
        entries.map(({ section: name, key, value }) => [name, key, 'text' in value ? value.text : '']),
        wanted,
      );
    }),
  );
});

t.test('what JSON.parse refuses is refused, and no text makes the reader throw', async () => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '"a"',
    '\\',
    '1',
    '-',
    '1.5e3',
    'true',
    'null',
    ' ',
    '\n',
    '"\\u00e4"',
    '\t',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      const text = pieces.join('');
      const isAccepted = parseJson(text, 'x').problems.length === 0;
      let isJson = true;
      try {
        JSON.parse(text);
      } catch {
        isJson = false;
      }
      return !isAccepted || isJson;
    }),
    { numRuns: 3000 },
  );
});
