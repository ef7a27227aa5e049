import fc from 'fast-check';
import t from 'tap';
import {
  type Filter,
  FilterError,
  type FilterNode,
  LONGEST_FILTER,
  MOST_TERMS,
  matches,
  parseFilter,
  printFilter,
} from '../../../src/inspector/filter.ts';
import { FILTER_FIELDS } from '../../../src/inspector/filter-fields.ts';
import { loosest, suggest } from '../../../src/inspector/filter-suggestions.ts';
import type { Call } from '../../../src/inspector/wire.ts';

const NOW = Date.parse('2026-11-28T14:00:00.000Z');

function call(fields: Partial<Call> = {}): Call {
  return {
    seq: 1,
    level: 'info',
    time: '2026-11-28T13:59:00.000Z',
    requestId: '9f3c7a10-1111-4222-8333-444455556666',
    method: 'GET',
    path: '/api/v2/users/4f1e?expand=presence',
    route: '/api/v2/users/{userId}',
    status: 200,
    durationMs: 120,
    upstreamMs: 100,
    tokenWaitMs: 0,
    queueMs: 0,
    attempts: 1,
    requestBytes: 0,
    responseBytes: 2_048,
    source: 'upstream',
    client: 'etl',
    credential: 'crm',
    operation: 'getUser',
    correlationId: '0e5a-77',
    tokenFingerprint: '~0123456789ab',
    ...fields,
  };
}

function passes(filter: string, fields: Partial<Call> = {}): boolean {
  return matches(parseFilter(filter), call(fields), NOW);
}

t.test('each field asks for what its name says', async (t) => {
  const rows: readonly (readonly [filter: string, fields: Partial<Call>, passes: boolean])[] = [
    ['', {}, true],
    ['   ', {}, true],
    ['status:200', {}, true],
    ['status:2xx', {}, true],
    ['status:2XX', { status: 204 }, true],
    ['status:4xx|>=500', { status: 404 }, true],
    ['status:4xx,>=500', { status: 503 }, true],
    ['status:4xx|>=500', { status: 302 }, false],
    ['status:400..404', { status: 404 }, true],
    ['status:400..404', { status: 405 }, false],
    ['failed:yes', { status: 404 }, true],
    ['failed:yes', {}, false],
    ['failed:no', {}, true],
    ['failed:yes', { aborted: true }, true],
    ['failed:yes', { status: 200, errorCode: 'gateway.upstream.unreachable' }, true],
    ['who:token', { status: 424, errorCode: 'gateway.login.required', source: 'gateway' }, true],
    ['who:TOKEN', { status: 401 }, true],
    ['who:platform', { status: 503 }, true],
    ['who:platform,limit', { status: 429 }, true],
    ['-who:caller', {}, true],
    ['method:post', { method: 'POST' }, true],
    ['method:POST,PUT', { method: 'PUT' }, true],
    ['method:POST,PUT', {}, false],
    ['path:/users/**', {}, true],
    ['path:/api/v2/users/**', {}, true],
    ['path:users/**', {}, true],
    ['path:/users', {}, false],
    ['path:/users/4f1e', {}, true],
    ['path:/USERS/4F1E', {}, true],
    ['path:/users/*', {}, true],
    ['path:/users/4*', {}, true],
    ['path:/*', {}, false],
    ['path:/**', {}, true],
    ['path:/users/**', { path: '/api/v2/users' }, true],
    ['path:/users/**', { path: '/api/v2/usersearch' }, false],
    ['path:/users/*/presences/*', { path: '/api/v2/users/1/presences/2' }, true],
    ['path:/users/**/presences/*', { path: '/api/v2/users/1/a/b/presences/2' }, true],
    ['path:/users/**/presences/*', { path: '/api/v2/users/1/a/b/presences' }, false],
    ['path:*/presences', { path: '/api/v2/users/1/presences' }, true],
    ['path:/users/*?expand=*', {}, false],
    ['path:/api/v2/users/*?expand=*', {}, true],
    ['path:*expand*', {}, false],
    ['path:"/users/*"', {}, false],
    ['path:"/users/*"', { path: '/api/v2/users/*' }, true],
    ['route:"/api/v2/users/{userId}"', {}, true],
    ['route:/api/v2/users/*', {}, true],
    ['op:getuser', {}, true],
    ['client:etl', {}, true],
    ['client:et', {}, false],
    ['client:et*', {}, true],
    ['client:*', { client: undefined } as unknown as Partial<Call>, false],
    ['cred:crm', {}, true],
    ['code:gateway.rate.*', { errorCode: 'gateway.rate.limited', status: 429 }, true],
    ['code:missing.*', { platform: { code: 'missing.any.permissions' }, status: 403 }, true],
    ['code:*', {}, false],
    ['rule:"GET /api/v2/users/**"', { rule: 'GET /api/v2/users/**' }, true],
    ['ms:>100', {}, true],
    ['ms:>2s', {}, false],
    ['ms:>0.1s', {}, true],
    ['ms:<=120', {}, true],
    ['ms:<120', {}, false],
    ['ms:=120', {}, true],
    ['ms:100..1s', {}, true],
    ['queue:>0', {}, false],
    ['queue:>0', { queueMs: 3 }, true],
    ['token:>0', { tokenWaitMs: 3 }, true],
    ['tries:>1', { attempts: 2 }, true],
    ['bytes:>1k', {}, true],
    ['bytes:>1M', {}, false],
    ['bytes:2K', {}, true],
    ['id:9f3c', {}, true],
    ['id:9f3c*6666', {}, true],
    ['id:3c7a', {}, false],
    ['424', { status: 424 }, true],
    ['424', { requestId: '9f424a10', correlationId: '424', status: 200 }, false],
    ['9f4', { requestId: '9f424a10' }, true],
    ['corr:0E5A', {}, true],
    ['fp:~0123', {}, true],
    ['fp:~0124', {}, false],
    ['replay:yes', { replayOf: 'x' }, true],
    ['replay:no', {}, true],
    ['since:5m', {}, true],
    ['since:30s', {}, false],
    ['until:30s', {}, true],
    ['since:2026-11-28T13:59Z', {}, true],
    ['since:2026-11-28T14:59:30+01:00', {}, false],
    ['until:2026-11-28T13:59:00Z', {}, true],
    ['Presence', {}, true],
    ['9f3c', {}, true],
    ['etl', {}, true],
    ['404', { status: 404, path: '/' }, true],
    ['users*presence', {}, true],
    ['"users*presence"', {}, false],
    ['insufficient', { status: 403, platform: { message: 'Insufficient rights' } }, true],
    ['nowhere', {}, false],
  ];
  for (const [filter, fields, expected] of rows)
    t.equal(passes(filter, fields), expected, `${filter} ${JSON.stringify(fields)}`);
  for (const [name, { example }] of Object.entries(FILTER_FIELDS))
    t.doesNotThrow(() => parseFilter(example.replace(/ or |, (?=[a-z]+:)/g, ' ')), `the example of ${name} is right`);
});

t.test('terms side by side all hold, OR binds less, - and NOT deny, parentheses group', async (t) => {
  const rows: readonly (readonly [filter: string, passes: boolean])[] = [
    ['client:etl status:200', true],
    ['client:etl AND status:200', true],
    ['client:etl status:404', false],
    ['client:crm OR status:200', true],
    ['client:crm client:etl OR status:200', true],
    ['client:crm (client:etl OR status:200)', false],
    ['(client:crm OR status:200) method:GET', true],
    ['-client:crm', true],
    ['-client:etl', false],
    ['--client:etl', true],
    ['NOT client:etl', false],
    ['-(client:etl status:404)', true],
    ['-(client:etl OR status:404)', false],
    ['-etl', false],
    ['"etl"', true],
    ['"-etl"', false],
    ['or', false],
    ['"OR"', false],
    ['(((client:etl)))', true],
    ['(client:etl)(status:200)', true],
    ['client:"etl"', true],
    ['client:"a","etl"', true],
    [String.raw`client:"a\"b\\"`, false],
  ];
  for (const [filter, expected] of rows) t.equal(passes(filter), expected, filter);
  t.equal(passes(String.raw`client:"a\"b\\"`, { client: String.raw`a"b\ `.trim() }), true);
});

t.test('what cannot be read is told with its column and what would be right', async (t) => {
  const rows: readonly (readonly [filter: string, column: number, words: RegExp])[] = [
    ['stats:404', 1, /no field stats.*status.*quotes/],
    ['a https://x', 3, /no field https.*quotes/],
    ['constructor:x', 1, /no field/],
    ['status:', 8, /like status:404/],
    ['status:nine', 8, /status:4xx/],
    ['status:6xx', 8, /status:4xx/],
    ['status:404,', 12, /status:404/],
    ['client:""', 8, /client:etl/],
    ['who:nobody', 5, /who:platform/],
    ['replay:maybe', 8, /replay:yes/],
    ['ms:>', 4, /ms:>500/],
    ['ms:5x', 4, /ms:>500/],
    ['ms:>constructor', 4, /ms:>500/],
    ['since:yesterday', 7, /since:5m/],
    ['since:2026-13-45T00:00Z', 7, /since:5m/],
    ['a OR', 5, /a term is missing/],
    ['OR a', 1, /a term is missing/],
    ['a OR OR b', 6, /a term is missing/],
    ['a AND', 6, /a term is missing/],
    ['()', 2, /a term is missing/],
    ['(a', 1, /\) to this \( is missing/],
    ['a)', 2, /no \( to this \)/],
    ['a -', 3, /directly before/],
    ['- a', 1, /directly before/],
    ['NOT', 1, /directly before/],
    ['client:"etl', 8, /" that ends/],
    ['""', 1, /quotes are empty/],
    ['path:/a(1)', 8, /stands in quotes/],
    ['client:"a"b', 11, /stands in quotes/],
    ['a'.repeat(LONGEST_FILTER + 1), LONGEST_FILTER + 1, /at most 1024/],
    ['a '.repeat(MOST_TERMS + 1), MOST_TERMS * 2 + 1, /at most 32 terms/],
    ['('.repeat(500), 33, /inside one another/],
    ['-'.repeat(500), 33, /inside one another/],
  ];
  for (const [filter, column, words] of rows) {
    try {
      parseFilter(filter);
      t.fail(`${filter} was read`);
    } catch (error) {
      t.ok(error instanceof FilterError, filter);
      t.match(error as FilterError, { column, message: words }, filter.slice(0, 60));
    }
  }
});

const SAFE_TEXT = fc.string({
  minLength: 1,
  maxLength: 12,
  unit: fc.constantFrom(...'abOR -()",|:*/\\é\u2028\u001b?.'),
});
const LITERAL = SAFE_TEXT.map((text) => ({ text, wild: false }));
const WILD = fc
  .string({ minLength: 1, maxLength: 8, unit: fc.constantFrom(...'ab*/.') })
  .filter((text) => text.includes('*'))
  .map((text) => ({ text, wild: true }));
const VALUE = fc.oneof(LITERAL, WILD);
const TERM: fc.Arbitrary<FilterNode> = fc.oneof(
  VALUE.map((value) => ({ kind: 'term' as const, field: null, values: [value] })),
  fc
    .tuple(fc.constantFrom('client', 'path', 'route', 'code', 'id'), fc.array(VALUE, { minLength: 1, maxLength: 3 }))
    .map(([field, values]) => ({ kind: 'term' as const, field, values })),
  fc
    .constantFrom(['status', '4xx'], ['ms', '>500'], ['who', 'token'], ['since', '5m'], ['replay', 'no'])
    .map(([field = '', text = '']) => ({ kind: 'term' as const, field, values: [{ text, wild: false }] })),
);
const NODE = fc.letrec<{ node: FilterNode }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    TERM,
    tie('node').map((of) => ({ kind: 'not' as const, of })),
    fc
      .tuple(fc.constantFrom('all' as const, 'any' as const), fc.array(tie('node'), { minLength: 2, maxLength: 3 }))
      .map(([kind, of]) => ({ kind, of })),
  ),
})).node;

const TEXT = fc.constantFrom('etl', 'crm', '/api/v2/users', '/api/v2/a/b/a', 'a*b', 'A"b', '', 'gateway.rate.limited');
const CALL = fc
  .record({
    client: TEXT,
    path: TEXT,
    route: TEXT,
    errorCode: fc.option(TEXT, { nil: undefined }),
    requestId: TEXT,
    status: fc.constantFrom(0, 200, 404, 429, 503),
    durationMs: fc.constantFrom(0, 600, 6_000),
    queueMs: fc.constantFrom(0, 4_000),
  })
  .map((fields) => call(fields as Partial<Call>));

function isShort({ node }: Pick<Filter, 'node'>): boolean {
  const terms = JSON.stringify(node).split('"kind":"term"').length - 1;
  return terms <= MOST_TERMS && printFilter({ node, test: () => true }).length <= LONGEST_FILTER;
}

t.test('what is printed reads as the filter that it was printed from', async () => {
  fc.assert(
    fc.property(
      NODE.filter((node) => isShort({ node })),
      CALL,
      (node, one) => {
        const text = printFilter({ node, test: () => true });
        const read = parseFilter(text);
        return (
          JSON.stringify(read.node) === JSON.stringify(node) &&
          printFilter(read) === text &&
          matches(parseFilter(printFilter(read)), one, NOW) === matches(read, one, NOW)
        );
      },
    ),
    { numRuns: 2_000 },
  );
});

t.test('any text is read or refused with a column inside of it, and never in another way', async () => {
  const soup = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc
      .array(
        fc.constantFrom('status:', '404', '-', '(', ')', ' ', '"', 'OR', 'a', ',', '|', '*', '**', 'path:/', '\\'),
        {
          maxLength: 60,
        },
      )
      .map((pieces) => pieces.join('')),
  );
  fc.assert(
    fc.property(soup, CALL, (text, one) => {
      try {
        const filter = parseFilter(text);
        matches(filter, one, NOW);
        return parseFilter(printFilter(filter)) !== null;
      } catch (error) {
        return error instanceof FilterError && error.column >= 1 && error.column <= text.length + 1;
      }
    }),
    { numRuns: 3_000 },
  );
});

t.test('denying, joining and standing side by side obey the laws of logic', async () => {
  const one = NODE.filter((node) => isShort({ node })).map((node) => printFilter({ node, test: () => true }));
  fc.assert(
    fc.property(one, one, CALL, (a, b, subject) => {
      if (a.length + b.length > 400) return true;
      const holds = (text: string) => {
        try {
          return matches(parseFilter(text), subject, NOW);
        } catch (error) {
          if (error instanceof FilterError && /at most/.test(error.message)) return null;
          throw error;
        }
      };
      const same = (left: string, right: string) => {
        const [first, second] = [holds(left), holds(right)];
        return first === null || second === null || first === second;
      };
      return (
        same(`-((${a}) (${b}))`, `-(${a}) OR -(${b})`) &&
        same(`-((${a}) OR (${b}))`, `-(${a}) -(${b})`) &&
        same(`--(${a})`, a) &&
        same(`(${a}) (${b})`, `(${b}) (${a})`) &&
        same(`(${a}) OR (${b})`, `(${b}) OR (${a})`) &&
        holds(`(${a}) -(${a})`) !== true
      );
    }),
    { numRuns: 1_000 },
  );
});

t.test('patterns made to go wrong cost no more than their length', async (t) => {
  const path = `/${'a/'.repeat(2_000)}${'a'.repeat(4_000)}`;
  const hostile = [
    `path:/${'**/a/'.repeat(150)}b`,
    `path:/${'*a'.repeat(400)}b`,
    `path:*${'a*'.repeat(480)}b`,
    `client:${'a*'.repeat(480)}b`,
    `${'a*'.repeat(500)}b`,
  ];
  // A pattern that goes back and forth would not come to an end in years.
  for (const filter of hostile) {
    const parsed = parseFilter(filter);
    for (let count = 0; count < 100; count++) matches(parsed, call({ path, client: path }), NOW);
    t.pass(filter.slice(0, 30));
  }
});

t.test('suggestions are fields, then values with how often they are there', async (t) => {
  const calls = [
    call({ client: 'etl', status: 404, route: '/a b' }),
    call({ client: 'etl', status: 503 }),
    call({ client: 'ivr "two"', status: 404 }),
  ];
  const at = (text: string, caret = text.length) => suggest(text, caret, calls);
  const texts = (text: string, caret?: number) => at(text, caret).list.map((one) => one.text);
  t.match(at('st'), { from: 0, to: 2, list: [{ text: 'status:', count: null, meaning: /status/ }] });
  t.strictSame(texts('x -(stat'), ['status:']);
  t.equal(at('x -(stat').from, 4);
  t.strictSame(at('status:').list, [
    { text: '404', count: 2, meaning: null },
    { text: '503', count: 1, meaning: null },
  ]);
  t.match(at('status:404,5'), { from: 11, to: 12, list: [{ text: '503', count: 1 }] });
  t.strictSame(texts('client:'), ['etl', String.raw`"ivr \"two\""`]);
  t.match(at('client:"ivr '), { from: 7, list: [{ count: 1 }] }, 'a blank in quotes ends no word');
  t.strictSame(texts('client: status:4', 7), ['etl', String.raw`"ivr \"two\""`], 'where the caret stands');
  t.strictSame(texts('route:/a'), ['/api/v2/users/{userId}', '"/a b"']);
  t.strictSame(texts('ms:'), [], 'no numbers');
  t.strictSame(texts('nosuchfield:'), []);
  for (const { text } of at('client:').list) t.doesNotThrow(() => parseFilter(`client:${text}`));
  fc.assert(
    fc.property(SAFE_TEXT, fc.nat(20), (text, caret) => {
      const { from, to, list } = suggest(text, Math.min(caret, text.length), calls);
      return from >= 0 && from <= to && to <= text.length && list.length <= 10;
    }),
  );
});

t.test('of a filter that matches nothing, the part is told that keeps most calls out', async (t) => {
  const calls = [call({ status: 404 }), call({ status: 404, client: 'ivr' }), call({ status: 500, client: 'ivr' })];
  t.strictSame(loosest(parseFilter('client:nobody status:404 method:GET'), calls), {
    without: 'client:nobody',
    filter: 'status:404 method:GET',
    count: 2,
  });
  t.equal(loosest(parseFilter('client:nobody'), calls), null);
  t.equal(loosest(parseFilter('client:nobody method:PUT'), calls), null, 'neither helps alone');
});
