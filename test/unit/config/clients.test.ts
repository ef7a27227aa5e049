// [client.NAME]: how it proves itself, which credentials it may use, and the spelling of its rules.

import t from 'tap';
import { refuseRule } from '../../../src/config/client-settings.ts';
import { good, problems, warnings, withCredential } from './load-text.ts';

const HASH = 'a'.repeat(64);
const problemsOf = (text: string) => problems(withCredential(`[client.crm]\n${text}`));
const clientOf = (text: string) => good(withCredential(`[client.crm]\n${text}`)).clients[0];

t.test('a client is read with its defaults', async (t) => {
  t.match(clientOf('secret = a-secret'), {
    name: 'crm',
    secretSha256: [],
    credentials: [],
    allow: [],
    deny: [],
    mode: 'enforce',
    isAdmin: false,
    requestsPerMinute: null,
    origin: 'gcg.ini:4',
  });
  t.match(
    clientOf(
      `secret_sha256 = ${HASH.toUpperCase()}, ${'b'.repeat(64)}\ncredential = default\nallow[] = GET /api/v2/**\nallow[] = @no-delete\ndeny = * /api/v2/users/*\nmode = report\nadmin = yes\nrequests_per_minute = 60`,
    ),
    {
      secretSha256: [HASH, 'b'.repeat(64)],
      credentials: ['default'],
      allow: ['GET /api/v2/**', '@no-delete'],
      deny: ['* /api/v2/users/*'],
      mode: 'report',
      isAdmin: true,
      requestsPerMinute: 60,
    },
  );
});

t.test('a limit of its own that is not kept to is warned of', async (t) => {
  const warningsIn = (mode: string) =>
    warnings(withCredential(`[rate_limit]\nmode = ${mode}\n[client.crm]\nsecret = a-secret\nrequests_per_minute = 60`));
  t.match(warningsIn('off'), [/^gcg\.ini:8: client\.crm\.requests_per_minute: has no effect with rate_limit\.mode = off/]);
  t.match(warningsIn('report'), [/is only reported with rate_limit\.mode = report/]);
  t.same(warningsIn('enforce'), []);
});

t.test('a client that cannot prove itself is refused', async (t) => {
  t.match(problemsOf(''), [/^gcg\.ini:4: client\.crm\.secret: is missing; a client needs secret, secret_sha256 or cert_subject/]);
  t.match(problemsOf('secret ='), [/client\.crm\.secret: is empty/]);
  t.match(problemsOf('cert_subject = CN=crm'), [/cert_subject: needs server\.tls\.client_ca_file/]);
  t.match(problems(withCredential('[client]\nsecret = x')), [/^gcg\.ini:4: a client needs a name; write \[client\.NAME\]/]);
});

t.test('a hash is 64 hex digits, and not that of nothing; what it is instead is not shown', async (t) => {
  const [problem] = problemsOf('secret_sha256 = the-secret-itself');
  t.match(problem, /secret_sha256: is not 64 hex digits/);
  t.notMatch(problem, 'the-secret-itself');
  t.match(problemsOf('secret_sha256 = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'), [/is the SHA-256 of nothing/]);
  t.match(problemsOf('secret_sha256 ='), [/is empty/]);
});

t.test('a credential that is not there is refused with the nearest', async (t) => {
  t.match(problemsOf('secret = x\ncredential = defualt'), [/client\.crm\.credential: there is no credential "defualt"; did you mean "default"/]);
  t.match(problemsOf('secret = x\ncredential = default, sales'), [/there is no credential "sales"; there is default/]);
});

t.test('rules are methods and a path, or a preset in allow', async (t) => {
  for (const rule of ['GET /api/v2/users', 'GET,POST /api/v2/**', '* /api/v2/users/*/queues', 'get /x', '@read-only', '@no-delete'])
    t.equal(refuseRule(rule, 'allow'), undefined, rule);
  for (const rule of [
    'GET',
    '/api/v2/users',
    'GET api/v2',
    'GET, POST /x',
    'G*T /x',
    'GET /x?y=1',
    'GET /a/**/b',
    'GET /us*rs',
    'GET /a/../b',
    '@readonly',
    'GET  /a /b',
    ' ',
  ])
    t.type(refuseRule(rule, 'allow'), 'string', rule);
  t.match(refuseRule('DELTE /api/v2/**', 'deny'), /"DELTE" is not a method.*"DELETE"/, 'it would match nothing and look like protection');
  t.match(refuseRule('@read-onyl', 'allow'), /did you mean "@read-only"/);
  t.match(refuseRule('@read-only', 'deny'), /belongs into allow/);
});
