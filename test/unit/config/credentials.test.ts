// [credential] and [credential.NAME]: what each grant needs, and which one is the default.

import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isSameSetting } from '../../../src/config/gateway-config.ts';
import { CREDENTIAL, good, load, problems, warnings } from './load-text.ts';

const problemsOf = (text: string) => problems(load({ file: text }));
const credentialsOf = (text: string) => good(load({ file: text })).credentials;
const named = (name: string, more = '') =>
  `[credential${name === '' ? '' : `.${name}`}]\nclient_id = i\nclient_secret = s\n${more}\n`;

t.test('each grant says what it lacks', async (t) => {
  const grant = (name: string, more = '') =>
    problemsOf(`[credential]\ngrant_type = ${name}\n${more}`).map(
      (line) => /credential\.(\w+): is missing/.exec(line)?.[1] ?? line,
    );
  t.strictSame(problemsOf('[credential]\nclient_id = i'), [
    'gcg.ini:2: credential.client_secret: is missing; grant_type = client_credentials needs it',
  ]);
  t.strictSame(grant('client_credentials'), ['client_id', 'client_secret']);
  t.strictSame(grant('authorization_code'), ['client_id', 'client_secret']);
  t.strictSame(grant('pkce'), ['client_id']);
  t.strictSame(grant('implicit'), ['client_id']);
  t.strictSame(grant('access_token'), ['access_token']);
  t.strictSame(grant('saml2_bearer'), ['client_id', 'client_secret', 'org_name']);
  t.match(grant('password'), [/"password" is not known; choose one of client_credentials/]);
});

t.test('an access token alone is a grant', async (t) => {
  t.match(credentialsOf('[credential]\naccess_token = t'), [{ grantType: 'access_token' }]);
});

t.test('saml2_bearer takes an assertion, a command, or one that is posted later', async (t) => {
  const saml = (more: string) =>
    load({ file: `[credential]\ngrant_type = saml2_bearer\nclient_id = i\nclient_secret = s\norg_name = o\n${more}` });
  t.strictSame(warnings(saml('assertion = x')), []);
  t.strictSame(
    good(saml('assertion_command[] = /bin/make\nassertion_command[] = --for=crm, hr')).credentials[0]?.assertionCommand,
    ['/bin/make', '--for=crm, hr'],
  );
  t.match(warnings(saml('')), [/credential\.assertion: is not set.*posted/]);
  t.match(problems(saml('assertion = x\nassertion_command = /bin/make')), [
    /assertion_command: and assertion \(gcg\.ini:6\)/,
  ]);
});

t.test('org and provider come together, prompt is login, the redirect URI is a URL kept as written', async (t) => {
  const pkce = (more: string) => load({ file: `[credential]\ngrant_type = pkce\nclient_id = i\n${more}` });
  t.match(problems(pkce('org = o')), [/credential\.org: needs provider/]);
  t.match(problems(pkce('provider = okta')), [/credential\.provider: needs org/]);
  t.match(problems(pkce('prompt = none')), [/credential\.prompt: "none" is not known; choose one of login/]);
  t.match(problems(pkce('redirect_uri = /callback')), [/credential\.redirect_uri: this is not an absolute URL/]);
  t.match(good(pkce('org = o\nprovider = okta\nprompt = login\nredirect_uri = http://localhost:8080/')).credentials, [
    { org: 'o', provider: 'okta', prompt: 'login', redirectUri: 'http://localhost:8080/' },
  ]);
});

t.test('keys that the grant has no use for are warned about, and so is the implicit grant', async (t) => {
  t.match(warnings(load({ file: named('', 'provider = x\norg = y') })), [
    /credential\.org: has no effect with grant_type = client_credentials/,
    /credential\.provider/,
  ]);
  t.match(warnings(load({ file: '[credential]\ngrant_type = implicit\nclient_id = i' })), [/is being retired/]);
});

t.test('the default is the flagged one, else [credential], else the only one, else none', async (t) => {
  const defaults = (text: string) =>
    credentialsOf(text)
      .filter(({ isDefault }) => isDefault)
      .map(({ name }) => name);
  t.strictSame(defaults(named('a', 'default = true') + named('')), ['a']);
  t.strictSame(defaults(named('a') + named('')), ['default']);
  t.strictSame(defaults(named('a')), ['a']);
  t.strictSame(defaults(named('a') + named('b')), []);
  t.strictSame(defaults(named('a', 'default = no')), []);
  t.match(problemsOf(named('a', 'default = on') + named('b', 'default = on')), [
    /^gcg\.ini:8: credential\.b\.default: credential "a" is the default already \(gcg\.ini:1\)/,
  ]);
});

t.test('only the default one is required, unless said otherwise', async (t) => {
  const required = (text: string) => credentialsOf(text).map(({ name, isRequired }) => [name, isRequired]);
  t.strictSame(required(named('') + named('a') + named('b', 'required = yes')), [
    ['default', true],
    ['a', false],
    ['b', true],
  ]);
  t.strictSame(required(named('', 'required = no')), [['default', false]]);
});

t.test('names are checked, and [credential.default] is [credential]', async (t) => {
  t.match(problemsOf(named('api')), [/^gcg\.ini:1: "api" is a path of the gateway itself/]);
  t.match(problemsOf(named('A_B')), [/^gcg\.ini:1: "A_B" is not a name/]);
  t.match(problemsOf(named('') + named('default')), [
    /client_id: already set at gcg\.ini:2/,
    /client_secret: already set/,
  ]);
});

t.test('without a credential the gateway does not start, and says how to begin', async (t) => {
  t.match(problems(load({ requireCredential: true })), [
    /credential: no credential is configured; set client_id and client_secret .*GCG_CREDENTIAL_CLIENT_ID.*gcg demo/,
  ]);
  t.match(
    problems(load({ requireCredential: true })),
    [
      /looked for \.\/gcg\.ini, \.\/gcg\.json, \/home\/someone\/\.config\/genesys-cloud-gateway\/config\.\{ini,json\}, \/etc/,
    ],
    'and where a file was looked for',
  );
  t.strictSame(problems(load({ requireCredential: false })), []);
  t.strictSame(credentialsOf('[credential]\n'), [], 'an empty [credential] is only a heading');
  t.match(problemsOf('[credential.crm]\n'), [/client_id: is missing/, /client_secret: is missing/]);
});

t.test(
  'tokens of people and handles of clients are kept in a file, others in memory; and the file has a place',
  async (t) => {
    const pkce = '[credential]\ngrant_type = pkce\nclient_id = i\n';
    t.match(good(load({ file: named('') })).store, { type: 'memory' });
    t.match(good(load({ file: pkce })).store, {
      type: 'file',
      path: '/home/someone/.local/state/genesys-cloud-gateway',
    });
    const client = '[client.crm]\nsecret = crm-secret-of-this-test\n';
    t.match(good(load({ file: `${named('')}${client}` })).store, { type: 'file' });
    t.match(good(load({ file: `${named('')}${client}[store]\ntype = memory` })).store, { type: 'memory' });
    t.match(good(load({ file: pkce, env: { XDG_STATE_HOME: '/state' } })).store, {
      path: '/state/genesys-cloud-gateway',
    });
    t.match(good(load({ file: `${pkce}[store]\npath = tokens` })).store, { path: '/srv/app/tokens' });
    t.match(problems(load({ file: pkce, home: undefined })), [/store\.path: is missing; there is no home folder/]);
    t.match(good(load({ file: named(''), home: undefined })).store, { type: 'memory' });
    t.match(problems(load({ file: `${pkce}[store]\ntype = etcd` })), [/store\.type: "etcd" is not known/]);
  },
);

t.test(
  'a file with a secret that others can read is a warning, one with a command that others can write an error',
  async (t) => {
    t.match(warnings(load({ file: named(''), mode: 0o640 })), [
      /^gcg\.ini:3: holds a secret, and others can read gcg\.ini; run chmod 600/,
    ]);
    t.strictSame(warnings(load({ file: named(''), mode: 0o600 })), []);
    t.strictSame(
      warnings(load({ file: '[credential]\nclient_id = i\nclient_secret_env = S\n', env: { S: 'x' }, mode: 0o644 })),
      [],
    );
    const command =
      '[credential]\ngrant_type = saml2_bearer\nclient_id = i\nclient_secret_env = S\norg_name = ' +
      'o\nassertion_command = /bin/make\n';
    t.match(problems(load({ file: command, env: { S: 'x' }, mode: 0o620 })), [
      /^gcg\.ini:6: credential\.assertion_command: others can write to gcg\.ini/,
    ]);
    t.strictSame(problems(load({ file: command, env: { S: 'x' }, mode: 0o644 })), []);
  },
);

t.test('a client secret can be what a command prints', async (t) => {
  const command = (extra = '') =>
    load({
      file: `[credential]\nclient_id = an-id\nclient_secret_command[] = /bin/vault\nclient_secret_command[] = read, it\n${extra}`,
    });
  t.equal(good(command()).credentials[0]?.clientSecret?.origin, 'client_secret_command /bin/vault');
  t.equal(good(command()).credentials[0]?.grantType, 'client_credentials');
  t.match(problems(command('client_secret = x\n')), [/client_secret_command: and client_secret \(gcg\.ini:5\)/]);
  t.match(problems(load({ file: '[credential]\nclient_id = an-id\nclient_secret_command[] =\n' })), [
    /client_secret_command/,
  ]);
  t.match(warnings(command('grant_type = access_token\naccess_token = t\n')), [/client_secret_command: has no effect/]);
  const overridden = load({
    file: '[credential]\nclient_id = an-id\nclient_secret_command[] = /bin/vault\n',
    env: { GCG_CREDENTIAL_CLIENT_SECRET: 'from-the-variable' },
  });
  t.equal(good(overridden).credentials[0]?.clientSecret?.origin, 'env GCG_CREDENTIAL_CLIENT_SECRET');
  const replaced = load({
    file: '[credential]\nclient_id = an-id\nclient_secret_file = /not/there\n',
    env: { GCG_CREDENTIAL_CLIENT_SECRET_COMMAND: '/bin/vault\nread' },
  });
  t.equal(good(replaced).credentials[0]?.clientSecret?.origin, 'client_secret_command /bin/vault');
  t.match(
    problems(load({ file: '[credential]\nclient_id = an-id\nclient_secret_command[] = /bin/vault\n', mode: 0o622 })),
    [/client_secret_command: others can write to gcg\.ini, and so choose the command/],
  );
});

t.test('two configurations with the same command share what it prints, others do not', async (t) => {
  const secretOf = (command: string) =>
    good(load({ file: `[credential]\nclient_id = an-id\nclient_secret_command[] = ${command}\n` })).credentials[0];
  t.ok(isSameSetting(secretOf('/bin/one'), secretOf('/bin/one')));
  t.notOk(isSameSetting(secretOf('/bin/one'), secretOf('/bin/two')));
});

t.test('blanks around a secret, and an id and a secret that look swapped, are warned of', async (t) => {
  const uuid = '5a4d0b1e-0001-4000-8000-000000000001';
  t.match(warnings(load({ file: '[credential]\nclient_id = an-id\nclient_secret = " a-secret "\n' })), [
    /client_secret: the secret \(gcg\.ini:3\) begins or ends with a blank or an empty line/,
  ]);
  t.match(warnings(load({ file: `[credential]\nclient_id = a-secret\nclient_secret = ${uuid}\n` })), [
    /client_id: this and client_secret look swapped/,
  ]);
  t.strictSame(warnings(load({ file: `[credential]\nclient_id = ${uuid}\nclient_secret = ${uuid}\n` })), []);
  const saml = `${CREDENTIAL}grant_type = saml2_bearer\norg_name = o\nassertion = " PHg+ "\n`;
  t.strictSame(warnings(load({ file: saml })), [], 'an assertion is trimmed when it is sent');
});

t.test('a command is warned of that cannot be run, or that everybody may change; nothing runs', async (t) => {
  const dir = t.testdir({ good: '', plain: '', open: '', folder: {} });
  chmodSync(join(dir, 'good'), 0o755);
  chmodSync(join(dir, 'open'), 0o777);
  const ROWS: readonly [program: string, warning: RegExp | null][] = [
    [join(dir, 'good'), null],
    ['print-secret', null],
    [join(dir, 'none'), /^gcg\.ini:\d+: credential\.KEY: .*none cannot be run \(ENOENT\): no token can be had/],
    [join(dir, 'plain'), /credential\.KEY: .*plain may not be run by us; run chmod \+x on it/],
    [join(dir, 'folder'), /credential\.KEY: .*folder is no program/],
    [join(dir, 'open'), /credential\.KEY: everybody can write to .*open, and so run programs as us; run chmod o-w/],
  ];
  const FILES: readonly [key: string, file: string][] = [
    ['client_secret_command', '[credential]\nclient_id = i\n'],
    ['assertion_command', '[credential]\ngrant_type = saml2_bearer\nclient_id = i\nclient_secret = s\norg_name = o\n'],
  ];
  for (const [key, file] of FILES) {
    for (const [program, warning] of ROWS) {
      const told = warnings(load({ file: `${file}${key}[] = ${program}\n${key}[] = an-argument\n` }));
      if (warning === null) t.same(told, [], program);
      else t.match(told, [new RegExp(warning.source.replace('KEY', key))], program);
    }
  }
});

t.test('up to twenty tokens, where the grant can be performed by itself', async (t) => {
  const tokens = (value: string, more = '') => load({ file: named('', `tokens = ${value}\n${more}`) });
  t.match(credentialsOf(named('')), [{ tokens: 1 }]);
  t.match(good(tokens('20')).credentials, [{ tokens: 20 }]);
  t.strictSame(warnings(tokens('20')), []);
  for (const wrong of ['0', '21', '-1', '1.5', 'auto', '1e1', '']) t.equal(problems(tokens(wrong)).length, 1, wrong);
  const grants = {
    pkce: 'grant_type = pkce',
    saml2_bearer: 'grant_type = saml2_bearer\norg_name = o\nassertion = a',
    authorization_code: 'grant_type = authorization_code',
  };
  for (const [grant, more] of Object.entries(grants)) {
    t.strictSame(problems(tokens('2', more)), [
      `gcg.ini:4: credential.tokens: must be 1 with grant_type = ${grant}: only client_credentials may have more tokens`,
    ]);
    t.strictSame(problems(tokens('1', more)), []);
  }
  t.strictSame(warnings(tokens('2', '[rate_limit]\nmode = off')), [
    'gcg.ini:4: credential.tokens: has no effect with rate_limit.mode = off: one token is used',
  ]);
});
