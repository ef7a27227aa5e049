// [client.NAME]: how it proves itself, which credentials it may use, and the spelling of its rules.

import { hash } from 'node:crypto';
import t from 'tap';
import { exposedSetting, exposures } from '../../../src/config/access-rules.ts';
import { refuseRule } from '../../../src/config/rule.ts';
import { inlineSecret } from '../../../src/secret.ts';
import { clientNamed } from '../../helpers/clients.ts';
import { configAt } from '../../helpers/gateway.ts';
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
    location: 'gcg.ini:4',
  });
  t.match(
    clientOf(
      `secret_sha256 = ${HASH.toUpperCase()}, ${'b'.repeat(64)}\ncredential = default\nallow[] = GET ` +
        `/api/v2/**\nallow[] = @no-delete\ndeny = * /api/v2/users/*\nmode = report\nadmin = yes\nrequests_per_minute ` +
        '= 60',
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
    warnings(
      withCredential(
        `[rate_limit]\nmode = ${mode}\n[client.crm]\nsecret = a-secret-of-the-test\nrequests_per_minute = 60`,
      ),
    );
  t.match(warningsIn('off'), [
    /^gcg\.ini:8: client\.crm\.requests_per_minute: has no effect with rate_limit\.mode = off/,
  ]);
  t.match(warningsIn('report'), [/is only reported with rate_limit\.mode = report/]);
  t.same(warningsIn('enforce'), []);
});

t.test('a client that cannot prove itself is refused', async (t) => {
  t.match(problemsOf(''), [
    /^gcg\.ini:4: client\.crm\.secret: is missing; a client needs secret, secret_sha256 or cert_subject/,
  ]);
  t.match(problemsOf('secret ='), [/client\.crm\.secret: is empty/]);
  t.match(problemsOf('cert_subject = CN=crm'), [/cert_subject: needs server\.tls\.client_ca_file/]);
  t.match(problems(withCredential('[client]\nsecret = x')), [
    /^gcg\.ini:4: a client needs a name; write \[client\.NAME\]/,
  ]);
});

t.test('a hash is 64 hex digits, and not that of nothing; what it is instead is not shown', async (t) => {
  const [problem] = problemsOf('secret_sha256 = the-secret-itself');
  t.match(problem, /secret_sha256: is not 64 hex digits/);
  t.notMatch(problem, 'the-secret-itself');
  t.match(problemsOf('secret_sha256 = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'), [
    /is the SHA-256 of nothing/,
  ]);
  t.match(problemsOf('secret_sha256 ='), [/is empty/]);
});

t.test('a credential that is not there is refused with the nearest', async (t) => {
  t.match(problemsOf('secret = x\ncredential = defualt'), [
    /client\.crm\.credential: there is no credential "defualt"; did you mean "default"/,
  ]);
  t.match(problemsOf('secret = x\ncredential = default, sales'), [/there is no credential "sales"; there is default/]);
});

t.test('rules are methods and a path, or a preset in allow', async (t) => {
  for (const rule of [
    'GET /api/v2/users',
    'GET,POST /api/v2/**',
    '* /api/v2/users/*/queues',
    'get /x',
    '@read-only',
    '@no-delete',
  ])
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
  t.match(
    refuseRule('DELTE /api/v2/**', 'deny'),
    /"DELTE" is not a method.*"DELETE"/,
    'it would match nothing and look like protection',
  );
  t.match(refuseRule('@read-onyl', 'allow'), /did you mean "@read-only"/);
  t.match(refuseRule('@read-only', 'deny'), /belongs into allow/);
});

t.test('a secret or a subject of two clients is refused, however it is given', async (t) => {
  const secret = 'one-secret-for-both';
  const sha256 = hash('sha256', secret);
  const folder = t.testdir({ secret: `${secret}\n` });
  const ways = {
    secret: `secret = ${secret}`,
    secret_file: `secret_file = ${folder}/secret`,
    secret_env: 'secret_env = BOTH',
    secret_sha256: `secret_sha256 = ${'b'.repeat(64)}, ${sha256.toUpperCase()}`,
  };
  for (const [a, first] of Object.entries(ways)) {
    for (const [b, second] of Object.entries(ways)) {
      const found = problems(
        withCredential(`[client.crm]\n${first}\n[client.erp]\n${second}`, { env: { BOTH: secret } }),
      );
      t.match(found, [/client\.erp\.secret(_file|_env|_sha256)?: is also that of client crm/], `${a} and ${b}`);
      t.notMatch(found.join(), secret);
    }
  }
  t.same(problemsOf(`secret = ${secret}\nsecret_sha256 = ${sha256}`), [], 'one client may have it twice');
  const tls = withCredential(
    '[server.tls]\ncert_file = c.pem\nkey_file = k.pem\nclient_ca_file = ca.pem\n[client.crm]\ncert_subject = ' +
      'CN=crm, O=Example\n[client.erp]\ncert_subject = O=Example,cn=crm',
  );
  t.match(problems(tls).join('\n'), /client\.erp\.cert_subject: is also that of client crm/);
});

t.test('a secret that not every header can carry is refused, and not shown', async (t) => {
  for (const [secret, reason] of [
    ['pässwörter-sind-lang', /other than ASCII/],
    ['a secret with an emoji 🔑', /other than ASCII/],
    ['gcgh_is-how-handles-begin', /begins with gcgh_/],
    ['gcgp_is-how-keys-of-the-page-begin', /begins with gcgp_/],
  ] as const) {
    for (const text of [
      `secret = "${secret}"`,
      'secret_env = GIVEN',
      `secret_file = ${t.testdir({ secret })}/secret`,
    ]) {
      const [found = ''] = problems(withCredential(`[client.crm]\n${text}`, { env: { GIVEN: secret } }));
      t.match(found, reason, text);
      t.notMatch(found, secret);
    }
  }
  t.match(problems(withCredential('[client.crm]\nsecret_env = GIVEN', { env: { GIVEN: ' with blanks around ' } })), [
    /begins or ends with a blank/,
  ]);
  for (const secret of ['with blanks in between', 'a:colon,a comma;and=more', '~!@$%^&*()_+{}|<>?'])
    t.same(problemsOf(`secret = "${secret}"`), [], secret);
});

t.test('a secret under 16 characters is warned of, and refused where others can reach a listener', async (t) => {
  const client = (secret: string) => `[client.crm]\nsecret = ${secret}\nadmin = yes\n`;
  const short = /^gcg\.ini:\d+: client\.crm\.secret: has under 16 characters/;
  for (const [lines, isOpen] of [
    ['', false],
    ['listen = 127.0.0.1:0, [::1]:0', false],
    ['listen = unix:/run/gcg.sock', false],
    ['listen = 0.0.0.0:8080', true],
    ['listen = 127.0.0.1:8080\nadmin_listen = 0.0.0.0:8081', true],
    ['listen = 0.0.0.0:8080\nunsafe_allow_anonymous = yes', true],
    ['listen = 0.0.0.0:8080\nanonymous_credentials = default', true],
  ] as const) {
    const load = (secret: string) => withCredential(`${client(secret)}[server]\n${lines}`);
    t.equal(
      problems(load('4711')).some((problem) => short.test(problem)),
      isOpen,
      lines,
    );
    t.equal(
      warnings(load('4711')).some((warning) => short.test(warning)),
      !isOpen,
      lines,
    );
    t.same(
      [...problems(load('sixteen-letters-')), ...warnings(load('sixteen-letters-'))].filter((text) => short.test(text)),
      [],
      lines,
    );
  }
  t.same(warnings(withCredential(`[client.crm]\nsecret_sha256 = ${HASH}`)), [], 'how long it is nobody knows');
});

t.test('a short secret is refused beside every listener that others reach, at the start and by a reload', async (t) => {
  const open = { name: '0.0.0.0:8080', isReachable: true, data: true, admin: false };
  const local = { name: '127.0.0.1:8081', isReachable: false, data: true, admin: true };
  const openAdmin = { name: '0.0.0.0:8082', isReachable: true, data: false, admin: true };
  const health = { name: '0.0.0.0:8083', isReachable: true, data: false, admin: false };
  for (const [listeners, secret, isRefused] of [
    [[open], '4711', true],
    [[local, openAdmin], '4711', true],
    [[local, health], '4711', false],
    [[open], 'sixteen-letters-', false],
  ] as const) {
    const clients = [clientNamed('crm', { secret: inlineSecret(secret, 'test'), isAdmin: true })];
    const refused = exposures(listeners, configAt('http://127.0.0.1:1', { clients })).filter(
      (exposure) => exposure.isRefused,
    );
    t.same(refused.map(exposedSetting), isRefused ? ['client.crm.secret'] : []);
    for (const { atStart, atReload } of refused) {
      t.match(atStart, /^has under 16 characters.*other machines can reach 0\.0\.0\.0:808[02]$/);
      t.match(atReload, /^has under 16 characters.*0\.0\.0\.0:808[02] stays open until a restart/);
    }
  }
});

t.test('a rule that names operations names one there is; else it is refused, with the nearest', async (t) => {
  for (const rule of ['getUsers', 'getUsers*', 'tag:Routing', 'permission:routing:queue:view', 'permission:*:*:view'])
    t.equal(refuseRule(rule, 'deny'), undefined, rule);
  t.match(refuseRule('getUsrs', 'allow'), /"getUsrs" names no operation of the platform; did you mean "getUsers"\?/);
  t.match(refuseRule('getusers', 'allow'), /did you mean "getUsers"/, 'case counts');
  t.match(refuseRule('tag:Ruoting', 'allow'), /did you mean "tag:Routing"/);
  t.match(refuseRule('permission:routing:queue:veiw', 'deny'), /did you mean "permission:routing:queue:view"/);
  t.match(refuseRule('postSomethingOfNextYear', 'deny'), /knows \d{4}; a newer one can be named by its path/);
  t.match(refuseRule('permission:routing:queue', 'deny'), /is not a rule; write it like getUsers/);
  t.match(refuseRule('*', 'deny'), /write \* \/api\/v2\/\*\*/);
});
