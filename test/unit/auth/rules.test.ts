import fc from 'fast-check';
import t from 'tap';
import { createRules, type Rules } from '../../../src/auth/callers/access.ts';
import { readPath } from '../../../src/auth/callers/path-readings.ts';

const rulesOf = (allow: string[], deny: string[] = []) => createRules({ allow, deny }) as Rules;
const mayDo = (rules: Rules, call: string) => {
  const [method = '', target = ''] = call.split(' ');
  return rules.judge(method, target) === null;
};

t.test('no list, no rules', async (t) => {
  t.equal(createRules({ allow: [], deny: [] }), null);
});

t.test('what rules mean', async (t) => {
  const rules = rulesOf(
    ['GET,HEAD /api/v2/users/*', '* /api/v2/routing/**', 'GET /api/v2/users'],
    ['DELETE /api/v2/routing/queues/*'],
  );
  for (const call of [
    'GET /api/v2/users',
    'GET /api/v2/users/',
    'GET /api/v2/users?pageSize=1',
    'GET /api/v2/users/a%2Cb',
    'HEAD /api/v2/users/x',
    'GET /API/V2/Users/x'.replace('/API/V2', '/api/v2'),
    'PATCH /api/v2/routing/queues/x',
    'GET /api/v2/routing',
    'DELETE /api/v2/routing/queues/x/members/y',
  ]) {
    t.ok(mayDo(rules, call), call);
  }
  for (const call of [
    'POST /api/v2/users',
    'DELETE /api/v2/users/x',
    'GET /api/v2/users/x/y',
    'GET /api/v2/user',
    'GET /api/v2/users_',
    'GET /api/v2/usersx',
    'HEAD /api/v2/users',
    'DELETE /api/v2/routing/queues/x',
    'GET /api/v2/groups?x=/api/v2/users',
    'GET /api/v2/groups#/api/v2/users'.replace('#', '%23'),
    'GET /api/v2/users//x',
  ]) {
    t.notOk(mayDo(rules, call), call);
  }
});

t.test('deny alone allows the rest; an underscore is a letter and no wildcard', async (t) => {
  const rules = rulesOf([], ['* /api/v2/a_b']);
  t.notOk(mayDo(rules, 'GET /api/v2/a_b'));
  t.notOk(mayDo(rules, 'GET /api/v2/A%5Fb'));
  for (const path of ['a-b', 'axb', 'a.b', 'ab']) t.ok(mayDo(rules, `GET /api/v2/${path}`), path);
});

t.test('the presets', async (t) => {
  const readOnly = rulesOf(['@read-only']);
  for (const call of [
    'GET /api/v2/x',
    'HEAD /api/v2/x',
    'POST /api/v2/users/search',
    'POST /api/v2/analytics/conversations/aggregates/query',
  ])
    t.ok(mayDo(readOnly, call), call);
  for (const call of [
    'POST /api/v2/users',
    'PUT /api/v2/x',
    'PATCH /api/v2/x',
    'DELETE /api/v2/search',
    'POST /api/v2/x?/query',
    'POST /api/v2/x%3F/query',
    'POST /api/v2/users;/search',
    'POST /api/v2/query/x',
    'POST /api/v2/users%2Fsearch',
  ]) {
    t.notOk(mayDo(readOnly, call), call);
  }
  const noDelete = rulesOf(['@no-delete']);
  t.ok(mayDo(noDelete, 'POST /api/v2/x'));
  t.notOk(mayDo(noDelete, 'DELETE /api/v2/x'));
  t.ok(mayDo(rulesOf(['@read-only', 'POST /api/v2/users']), 'POST /api/v2/users'), 'a preset beside a rule');
});

t.test('text that is no rule is a TypeError', async (t) => {
  for (const text of ['/api/v2', '@everything', 'GET api/v2']) t.throws(() => rulesOf([text]), TypeError);
});

/** Ways to write one character of a path so that some server takes it for the same. */
const disguise = (char: string, how: number) => {
  const hex = [...Buffer.from(char)].map((octet) => octet.toString(16).padStart(2, '0'));
  const escaped = hex.map((octet) => `%${octet}`).join('');
  return [
    char,
    escaped,
    escaped.toUpperCase(),
    char.toUpperCase(),
    escaped.replaceAll('%', '%25'),
    escaped.replaceAll('%', '%2525'),
    char.toLowerCase(),
  ][how % 7] as string;
};
const disguised = fc.tuple(
  fc.array(fc.nat(6), { minLength: 8, maxLength: 8 }),
  fc.constantFrom('/', '//', '%2F', '/;/', '%252f'),
  fc.constantFrom('', '/', '//', ';v=1', '?x=1', '?/api/v2/safe', '%3Fx', '%23', ';a=b;c'),
);
const write = (segments: readonly string[], [how, slash, end]: [number[], string, string]) =>
  `/api/v2${segments
    .map((segment) => [slash, ...[...segment].map((char, at) => disguise(char, how[at % how.length] ?? 0))].join(''))
    .join('')}${end}`;

t.test('a denied path is denied in every disguise', async (t) => {
  const rules = rulesOf([], ['DELETE /api/v2/users/*', '* /api/v2/tokens']);
  fc.assert(
    fc.property(
      disguised,
      (ways) => !mayDo(rules, `DELETE ${write(['users', 'abc'], ways).replace(/^\/api\/v2(?!\/)/, '/api/v2/')}`),
    ),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(
      disguised,
      (ways) => !mayDo(rules, `GET ${write(['tokens'], ways).replace(/^\/api\/v2(?!\/)/, '/api/v2/')}`),
    ),
    { numRuns: 2000 },
  );
  t.pass('2 x 2000 disguises');
});

t.test('an allow list lets nothing through that some server would read as another path', async (t) => {
  const rules = rulesOf(['GET /api/v2/safe/*', 'GET /api/v2/safe']);
  const piece = fc.constantFrom(
    'safe',
    'x',
    '/',
    '//',
    '%2f',
    '%2F',
    '..',
    '.',
    '%2e%2e',
    '%252e',
    ';',
    ';a',
    '?',
    '%3f',
    '%23',
    '\\',
    '%5c',
    '%00',
    '%c0%ae',
    '%',
    '%%32%66',
    'users',
    'ſ',
    '%C5%BF',
    'Ａ',
    '_',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const target = `/api/v2/${pieces.join('')}`;
      if (!mayDo(rules, `GET ${target}`)) return true;
      // What is let through, a strict, a lax and a doubly decoding server all read as one of the two paths.
      return [target, lax(target), lax(lax(target))].every((path) =>
        /^\/api\/v2\/+safe(?:\/+[^/]*)?\/*$/i.test(path.split('?', 1)[0] ?? ''),
      );
    }),
    { numRuns: 5000 },
  );
  t.pass('5000 paths');
});

/** As a careless server would: decode, drop parameters, resolve dots. */
function lax(target: string): string {
  const [path = '', query] = target.split('?', 2);
  const decoded = path
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .split(/[?#]/, 1)[0] as string;
  const out: string[] = [];
  for (const segment of decoded.replaceAll('\\', '/').split('/')) {
    const name = segment.split(';', 1)[0] as string;
    if (name === '..') out.pop();
    else if (name !== '.') out.push(name);
  }
  return out.join('/') + (query === undefined ? '' : `?${query}`);
}

t.test('allow and deny agree with a plain reading for plain paths', async (t) => {
  const segment = fc.stringMatching(/^[a-z0-9_-]{1,6}$/);
  fc.assert(
    fc.property(
      fc.array(segment, { minLength: 1, maxLength: 4 }),
      fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      (segments, stars) => {
        const pattern = segments.map((name, at) => (stars[at] ? '*' : name)).join('/');
        const path = segments.join('/');
        return (
          mayDo(rulesOf([`GET /api/v2/${pattern}`]), `GET /api/v2/${path}`) &&
          !mayDo(rulesOf([], [`GET /api/v2/${pattern}`]), `GET /api/v2/${path}`) &&
          !mayDo(rulesOf([`GET /api/v2/${pattern}`]), `GET /api/v2/${path}/more`) &&
          mayDo(rulesOf([`GET /api/v2/${pattern}/**`]), `GET /api/v2/${path}/more/and/more`)
        );
      },
    ),
    { numRuns: 1000 },
  );
  t.pass('1000 rules');
});

t.test('what cannot be read is not read', async (t) => {
  for (const path of [
    '/api/v2/%ff',
    '/api/v2/%c0%af',
    '/api/v2/%ed%a0%80',
    '/api/v2/%252e%252e/x',
    '/api/v2/a%255cb',
    '/api/v2/a%2500',
    '/api/v2/x/./y',
    `/api/v2/${'%25'.repeat(1)}${'25'.repeat(12)}41`,
  ]) {
    t.equal(readPath(path), null, path);
  }
  t.same(readPath('/api/v2/100%'), [['api', 'v2', '100%']], 'a lone % is a letter');
});

t.test('a path too long to be read at a bounded cost is not read, whatever it is made of', async (t) => {
  const units = [
    '/',
    '/a',
    '/a.',
    '/;',
    ';',
    '/%20',
    '%20',
    '. ',
    '%2f',
    '%252f',
    '%3f/',
    '/%EF%B7%BA',
    '%EF%B7%BA',
    '%E2%80%8B%20a/',
  ];
  for (const unit of units) {
    const path = (bytes: number) => `/api/v2/x${unit.repeat(Math.floor((bytes - 9) / unit.length))}`;
    t.equal(readPath(path(62_000)), null, `62 KB of ${unit}`);
  }
  t.ok(readPath(`/api/v2/${'x'.repeat(8_000)}`), 'a long name can be read');
  t.ok(readPath(`/api/v2${'/x'.repeat(254)}`));
  t.equal(readPath(`/api/v2${'/x'.repeat(255)}`), null, '257 segments');
  t.equal(readPath(`/api/v2${'%2Fx'.repeat(255)}`), null, 'as many once decoded');
  t.match(rulesOf(['GET /api/v2/**']).judge('GET', `/api/v2/${'x'.repeat(9_000)}`), { reason: 'ambiguous' });
  t.equal(rulesOf(['GET /api/v2/**']).judge('GET', `/api/v2/x?${'y'.repeat(60_000)}`), null, 'a query may be long');
});

t.test(
  'blanks, dots and invisible characters at the end of a name hide nothing from a deny rule, and open nothing to ' +
    'an allow rule',
  async (t) => {
    const denied = rulesOf([], ['* /api/v2/users/*', '* /api/v2/tokens']);
    const allowed = rulesOf(['GET /api/v2/users/*', 'GET /api/v2/tokens']);
    const ends = [
      '%20',
      '%09',
      '.',
      '..',
      '...',
      '%20.',
      '.%20',
      '%0a',
      '%c2%a0',
      '%e2%80%8b',
      '%ef%bb%bf',
      '%c2%ad',
      '%e2%81%a0',
      '%2e',
      '%252e',
      '%2520',
      '%20;v=1',
    ];
    for (const end of ends) {
      for (const path of [`users${end}/1`, `USERS${end}/1`, `tokens${end}`, `%74okens${end}`, `tokens${end}/`]) {
        t.notOk(mayDo(denied, `GET /api/v2/${path}`), `deny ${path}`);
        t.notOk(mayDo(allowed, `GET /api/v2/${path}`), `allow ${path}`);
      }
    }
    for (const path of ['%20users/1', 'us%e2%80%8bers/1', 'us%c2%aders/1', '%ef%bb%bftokens'])
      t.notOk(mayDo(denied, `GET /api/v2/${path}`), path);
    for (const path of ['user.s/1', 'us%20ers/1', 'users.1', 'token.', 'users./1/2'])
      t.ok(mayDo(denied, `GET /api/v2/${path}`), path);
    t.ok(
      mayDo(rulesOf(['GET /api/v2/users/*']), 'GET /api/v2/users/John%20A.'),
      'a name of somebody is one segment, whatever it ends with',
    );
    for (const path of [
      'users/..%20/tokens',
      'users/%20../tokens',
      'users/.%e2%80%8b./tokens',
      'users/..%09/x',
      'users/.%20',
    ])
      t.equal(readPath(`/api/v2/${path}`), null, `${path} may lead to another folder`);
  },
);
