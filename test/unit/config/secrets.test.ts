// Secrets: inline, in a file, in a variable; one of them at a time; never in a message.

import { writeFileSync } from 'node:fs';
import t from 'tap';
import { parseSetFlag } from '../../../src/config/flags.ts';
import { fileSecret, inlineSecret } from '../../../src/secret.ts';
import { good, load, problems, warnings } from './load-text.ts';

const file = (text: string) => `[credential]\nclient_id = an-id\n${text}\n`;
const secretOf = (...args: Parameters<typeof load>) =>
  good(load(...args))
    .credentials[0]?.clientSecret?.read()
    .reveal();

t.test('a secret is given as itself, in a file or in a variable', async (t) => {
  const dir = t.testdir({ secret: 'from-file\r\n' });
  t.equal(secretOf({ file: file('client_secret = "in#line"') }), 'in#line');
  t.equal(secretOf({ file: file(`client_secret_file = ${dir}/secret`) }), 'from-file');
  t.equal(secretOf({ file: file('client_secret_env = CRM'), env: { CRM: 'from-env' } }), 'from-env');
});

t.test('two of them in one source are an error, and a higher source replaces the lower one', async (t) => {
  t.match(problems(load({ file: file('client_secret = x\nclient_secret_env = CRM'), env: { CRM: 'y' } })), [
    /^gcg\.ini:4: credential\.client_secret_env: already set at gcg\.ini:3/,
  ]);
  t.match(
    problems(
      load({
        env: {
          GCG_CREDENTIAL_CLIENT_ID: 'i',
          GCG_CREDENTIAL_CLIENT_SECRET: 'x',
          GCG_CREDENTIAL_CLIENT_SECRET_ENV: 'CRM',
          CRM: 'y',
        },
      }),
    ),
    [/already set at env GCG_CREDENTIAL_CLIENT_SECRET/],
  );
  const env = { GCG_CREDENTIAL_CLIENT_SECRET: 'higher' };
  t.equal(secretOf({ file: file('client_secret_file = /nowhere'), env }), 'higher');
  t.equal(
    secretOf({
      file: file('client_secret = lower'),
      env: { CRM: 'highest' },
      set: ['credential.client_secret_env=CRM'],
    }),
    'highest',
  );
});

t.test(
  'a file that is missing, empty or a folder, and a variable that is not set or empty, are errors at load',
  async (t) => {
    const dir = t.testdir({ empty: '\n', folder: {} });
    const wrong = (text: string, env = {}) => problems(load({ file: file(text), env }));
    t.match(wrong(`client_secret_file = ${dir}/none`), [
      /^gcg\.ini:3: credential\.client_secret_file: secret file .*none does not exist: write the secret into it/,
    ]);
    t.match(wrong(`client_secret_file = ${dir}/empty`), [/empty is empty/]);
    t.match(wrong(`client_secret_file = ${dir}/folder`), [/folder is a folder; name the file in it$/]);
    t.match(wrong('client_secret_env = CRM'), [/^gcg\.ini:3: credential\.client_secret_env: .*CRM is not set/]);
    t.match(wrong('client_secret_env = CRM', { CRM: ' ' }), [/CRM is empty/]);
    t.notMatch(wrong('client_secret_env = s3cretInTheWrongKey').join(), 's3cret');
    t.match(wrong('client_secret ='), [/^gcg\.ini:3: credential\.client_secret: is empty/]);
    t.match(wrong('client_secret = ""'), [/is empty/]);
  },
);

t.test('a relative path is taken from the folder of the file that names it', async (t) => {
  const dir = t.testdir({ conf: { secret: 'beside-the-file' }, secret: 'beside-the-command' });
  const input = {
    cwd: dir,
    files: { [`${dir}/conf/c.ini`]: file('client_secret_file = secret') },
    overrides: { configPath: 'conf/c.ini' },
  };
  t.equal(secretOf(input), 'beside-the-file');
  t.equal(secretOf({ ...input, env: { GCG_CREDENTIAL_CLIENT_SECRET_FILE: 'secret' } }), 'beside-the-command');
  t.equal(secretOf({ home: dir, file: file('client_secret_file = ~/secret') }), 'beside-the-command');
});

t.test('a secret is never taken from a flag, and the refusal does not show it', async (t) => {
  const result = parseSetFlag('credential.crm.client_secret=hidden');
  t.match(result, { ok: false, message: /credential\.crm\.client_secret_file/ });
  t.notMatch(JSON.stringify(result), 'hidden');
  t.equal(parseSetFlag('credential.crm.client_secret_file=/x').ok, true);
  t.match(parseSetFlag('proxy.url=http://u:hidden@p:1'), { ok: false, message: /^(?!.*hidden).*proxy\.password_file/ });
});

t.test('no problem, warning or origin shows a secret, however wrong the rest is', async (t) => {
  const canary = 'CANARY-7f3a';
  const text =
    `[credential]\nclient_id = x\nclient_secret = ${canary}\nnonsense = 1\nclient_secret = ` +
    `${canary}\n[client.a]\nsecret = ${canary};\nsecret_sha256 = ${canary}\n[proxy]\nurl = ` +
    `http://u:${canary}@p/x\npassword = ${canary}\n[store]\nencryption_key = ${canary}\n`;
  const bad = load({ file: text });
  t.ok(problems(bad).length >= 5);
  t.notMatch([...problems(bad), ...warnings(bad)].join('\n'), canary);
  const fine = load({
    file:
      `[credential]\nclient_id = x\nclient_secret = ${canary}\n[proxy]\nurl = ` +
      `http://u:${canary}@p:1\n[store]\nencryption_key = ${canary}\n`,
  });
  t.ok(fine.ok);
  t.notMatch(JSON.stringify(fine), canary);
  t.match(JSON.stringify(fine), 'client_id', 'the positive control: other values do appear');
});

t.test('a secret file is read again when it changes, and its revision says so', async (t) => {
  const path = `${t.testdir({ secret: 'one' })}/secret`;
  const source = fileSecret(path);
  t.equal(source.read().reveal(), 'one');
  const before = source.revision();
  writeFileSync(path, '\uFEFFtwo, longer\n');
  t.not(source.revision(), before);
  t.equal(source.read().reveal(), 'two, longer');
});

t.test('two inline secrets have the same revision when they are the same, and do not show it', async (t) => {
  t.equal(inlineSecret('a-secret', 'x').revision(), inlineSecret('a-secret', 'y').revision());
  t.not(inlineSecret('a-secret', 'x').revision(), inlineSecret('another', 'x').revision());
  t.notMatch(inlineSecret('a-secret', 'x').revision(), 'a-secret');
});
