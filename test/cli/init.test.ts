// gcg init: what it writes is a configuration that loads, and nothing is overwritten unasked.

import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import t from 'tap';
import type { CommandLine } from '../../src/cli/args.ts';
import { type Ask, askOnTerminal, init } from '../../src/cli/commands/init.ts';
import { parseGcToml } from '../../src/cli/gc-profiles.ts';
import type { Io } from '../../src/cli/io.ts';
import { loadConfig } from '../../src/config/load.ts';
import { createCommandFolder } from '../helpers/commands.ts';

const SECRET = { GENESYSCLOUD_OAUTHCLIENT_SECRET: 'from-the-environment' };

const flagsOnly = (args: CommandLine, io: Io) => init(args, io, null);

/** Answers in order; a missing one is an empty line, null the end. */
function answering(...answers: (string | null)[]): { ask: Ask; asked: string[] } {
  const asked: string[] = [];
  const next = (question: string) => {
    asked.push(question);
    const answer = answers.shift();
    return answer === undefined ? '' : answer;
  };
  const ask: Ask = {
    text: async (question, fallback) => {
      const answer = next(question);
      return answer === '' ? fallback : answer;
    },
    secret: async (question) => next(question),
    say: (words) => asked.push(words),
    close() {},
  };
  return { ask, asked };
}

function load(dir: string, env: Record<string, string> = {}, file = 'gcg.ini') {
  const input = {
    env,
    cwd: dir,
    home: undefined,
    platform: 'linux' as const,
    overrides: { configPath: join(dir, file), entries: [] },
  };
  return loadConfig({ ...input, requireCredential: true });
}

t.test('flags alone make a file that loads, 0600, with the redirect URI to register', async (t) => {
  const folder = createCommandFolder(t, null);
  const { code, out, err } = await folder.run(flagsOnly, [
    'init',
    '--host',
    'eu-central-1',
    '--grant-type',
    'pkce',
    '--client-id',
    'abc',
  ]);
  t.equal(code, 0, err);
  t.equal(out, `${join(folder.dir, 'gcg.ini')}\n`);
  t.match(err, /Register this redirect URI.*\n\n {2}http:\/\/localhost:8080\/-\/callback\n/);
  t.equal(statSync(join(folder.dir, 'gcg.ini')).mode & 0o777, 0o600);
  const result = load(folder.dir, { HOME: folder.dir });
  t.ok(result.ok || result.problems.every(({ key }) => key === 'store.path'), JSON.stringify(result));
  if (result.ok) {
    t.match(result.config.credentials, [
      { grantType: 'pkce', clientId: 'abc', redirectUri: 'http://localhost:8080/-/callback' },
    ]);
    t.equal(result.config.general.hosts.domain, 'mypurecloud.de');
  }
});

t.test('a secret is no flag: without one given the file names the environment', async (t) => {
  const folder = createCommandFolder(t, null);
  const { code } = await folder.run(flagsOnly, ['init', '--client-id', 'abc'], { env: SECRET });
  t.equal(code, 0);
  const result = load(folder.dir, SECRET);
  t.ok(result.ok, JSON.stringify(result));
  if (result.ok) t.equal(result.config.credentials[0]?.clientSecret?.read().reveal(), 'from-the-environment');
});

t.test('what must be answered is asked again', async (t) => {
  const folder = createCommandFolder(t, null);
  const { ask, asked } = answering('', '', '', '', 'abc', 's');
  t.equal((await folder.run((args, io) => init(args, io, ask), ['init'])).code, 0);
  t.equal(asked.filter((line) => line.startsWith('OAuth client id')).length, 3);
});

t.test('a person who stops, at whichever question, leaves no file behind', async (t) => {
  for (const answers of [[null], ['', null], ['', '', null], ['', '', 'abc', null]]) {
    const folder = createCommandFolder(t, null);
    const { ask } = answering(...answers);
    t.match(await folder.run((args, io) => init(args, io, ask), ['init']), {
      code: 1,
      out: '',
      err: 'gcg: stopped; nothing was written\n',
    });
    t.strictSame(readdirSync(folder.dir), []);
  }
});

t.test('on a terminal Ctrl-C and Ctrl-D are stops, and a secret is not shown', async (t) => {
  const start = () => {
    const stdin = Object.assign(new PassThrough(), { isTTY: true });
    const shown: string[] = [];
    const stderr = new Writable({ write: (chunk, _encoding, done) => done(void shown.push(String(chunk))) });
    const ask = askOnTerminal({ stdin, stderr });
    if (ask === null) throw new Error('no terminal');
    t.teardown(() => ask.close());
    return { stdin, shown, ask };
  };
  for (const key of ['\x03', '\x04']) {
    for (const kind of ['text', 'secret'] as const) {
      const { stdin, ask, shown } = start();
      const answer = ask[kind]('Question', '');
      stdin.write(key);
      t.equal(await answer, null);
      t.equal(shown.at(-1), '\n', 'what follows begins on a line of its own');
    }
  }
  const { stdin, ask, shown } = start();
  const first = ask.text('Name', 'nobody');
  stdin.write('\r');
  t.equal(await first, 'nobody');
  const secret = ask.secret('Secret');
  stdin.write('CANARY\r');
  t.equal(await secret, 'CANARY');
  t.notMatch(shown.join(''), 'CANARY');
});

t.test('saml2_bearer can be written by flags too', async (t) => {
  const folder = createCommandFolder(t, null);
  const argv = ['init', '--grant-type', 'saml2_bearer', '--client-id', 'abc'];
  t.match(await folder.run(flagsOnly, argv, { env: SECRET }), { code: 2, err: /--org-name is missing/ });
  t.equal((await folder.run(flagsOnly, [...argv, '--org-name', 'acme corp'], { env: SECRET })).code, 0);
  const result = load(folder.dir, SECRET);
  t.ok(result.ok && result.config.credentials[0]?.orgName === 'acme corp', JSON.stringify(result));
});

t.test('a terminal is asked, wrong answers are asked again, and secrets with odd characters survive', async (t) => {
  const odd = 'a#b;c"d\\e f';
  const folder = createCommandFolder(t, null);
  const { ask, asked } = answering('nowhere', 'eu-west-1', 'password', 'client_credentials', 'abc', odd);
  const { code, out, err } = await folder.run((args, io) => init(args, io, ask), ['init']);
  t.equal(code, 0, err);
  t.equal(asked.filter((line) => line.startsWith('Region')).length, 2);
  t.equal(asked.filter((line) => line.startsWith('How tokens')).length, 2);
  const result = load(folder.dir);
  if (result.ok) t.equal(result.config.credentials[0]?.clientSecret?.read().reveal(), odd);
  else t.fail(JSON.stringify(result.problems));
  t.notMatch(out + err, odd);
});

t.test('nothing is overwritten without --force, and with it the mode is 0600 again', async (t) => {
  const folder = createCommandFolder(t, null);
  const path = join(folder.dir, 'gcg.ini');
  writeFileSync(path, 'mine', { mode: 0o644 });
  const argv = ['init', '--grant-type', 'pkce', '--client-id', 'abc'];
  t.match(await folder.run(flagsOnly, argv), { code: 1, err: /is there already: give --force/ });
  t.equal(readFileSync(path, 'utf8'), 'mine');
  t.equal((await folder.run(flagsOnly, [...argv, '--force'])).code, 0);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.match(readFileSync(path, 'utf8'), /client_id = abc/);
});

t.test('what is missing or wrong in flags is exit 2, and no file is made', async (t) => {
  const folder = createCommandFolder(t, null);
  t.match(await folder.run(flagsOnly, ['init']), { code: 2, err: /--client-id is missing/ });
  t.match(await folder.run(flagsOnly, ['init', '--grant-type', 'password', '--client-id', 'a']), {
    code: 2,
    err: /one of client_credentials/,
  });
  t.match(await folder.run(flagsOnly, ['init', '--host', 'nowhere', '--client-id', 'a']), { code: 2, err: /--host/ });
  t.match(await folder.run(flagsOnly, ['init', '--client-id', 'a', '--redirect-uri', 'not a url']), { code: 2 });
  t.throws(() => statSync(join(folder.dir, 'gcg.ini')));
});

t.test("profiles of Genesys' own CLI become credentials; what cannot be is told without its values", async (t) => {
  const folder = createCommandFolder(t, null);
  mkdirSync(join(folder.dir, '.gc'));
  writeFileSync(
    join(folder.dir, '.gc', 'config.toml'),
    `experimental_features = "x"

[DEFAULT]
  access_token = ""
  client_credentials = "id-1"
  client_secret = "s#1;\\"quoted\\" \\u00e9"
  environment = "mypurecloud.de"
  grant_type = "1"
  oauth_token_data = "{\\"access_token\\":\\"stored-elsewhere\\"}"
  logging_enabled = false

["Sales Team"]
  environment = "usw2.pure.cloud" # west
  client_credentials = 'id-2'
  grant_type = 3
  redirect_uri = "http://localhost:9090/cb"

[token-only]
  environment = "mypurecloud.ie"
  access_token = "given-token"
  grant_type = "0"

[empty]
  environment = "mypurecloud.jp"
  client_secret = "lonely-secret"
`,
  );
  const { code, out, err } = await folder.run(flagsOnly, ['init', '--from-gc']);
  t.equal(code, 0, err);
  t.match(err, /profile "empty": it has neither.*: not imported/);
  t.match(err, /http:\/\/localhost:9090\/cb/);
  t.notMatch(out + err, /lonely-secret|given-token|s#1/);
  const result = loadConfig({
    env: {},
    cwd: folder.dir,
    home: folder.dir,
    platform: 'linux' as const,
    overrides: { configPath: join(folder.dir, 'gcg.ini'), entries: [] },
  });
  if (!result.ok) return t.fail(JSON.stringify(result.problems));
  t.match(result.config.credentials, [
    {
      name: 'default',
      grantType: 'client_credentials',
      clientId: 'id-1',
      isDefault: true,
      hosts: { domain: 'mypurecloud.de' },
    },
    {
      name: 'sales-team',
      grantType: 'pkce',
      clientId: 'id-2',
      redirectUri: 'http://localhost:9090/cb',
      hosts: { domain: 'usw2.pure.cloud' },
    },
    { name: 'token-only', grantType: 'access_token', hosts: { domain: 'mypurecloud.ie' } },
  ]);
  t.equal(result.config.credentials[0]?.clientSecret?.read().reveal(), 's#1;"quoted" é');
  t.equal(result.config.credentials[2]?.accessToken?.read().reveal(), 'given-token');
  t.notMatch(readFileSync(join(folder.dir, 'gcg.ini'), 'utf8'), /stored-elsewhere/);
});

t.test(
  'without profiles, or with a file that is something else, --from-gc says where it looked and which line',
  async (t) => {
    const folder = createCommandFolder(t, null);
    t.match(await folder.run(flagsOnly, ['init', '--from-gc']), { code: 1, err: /\.gc\/config\.toml/ });
    writeFileSync(join(folder.dir, 'config.toml'), '[DEFAULT]\nclient_secret = [1, 2]\n');
    t.match(await folder.run(flagsOnly, ['init', '--from-gc']), {
      code: 1,
      err: /config\.toml: line 2: the value of client_secret is not a string/,
    });
  },
);

t.test('TOML that the CLI does not write is refused by its line, never guessed at', async (t) => {
  const refused = [
    '[a]\nk = "open',
    '[a]\nk = """multi"""',
    '[a]\nk = {x = 1}',
    '[a.b]\n',
    '[[a]]\n',
    '[a]\nk = "x" y',
    '[a]\nk = "\\q"',
    '[a]\nk = "\\u12"',
    '[a]\nk = 1979-05-27',
    '[a]\nk = 1\nk = 2',
    '[a]\n[a]',
    '[a]\nk',
    '[a]\nk = ',
  ];
  for (const text of refused) t.match(parseGcToml(text), { ok: false, message: /^line \d+: / }, JSON.stringify(text));
  t.same(parseGcToml('top = 1\r\n["x"]\r\n"k" = \'v\' # c\r\nn = 1_000\r\nb = true\r\n'), {
    ok: true,
    tables: new Map([
      [
        'x',
        new Map([
          ['k', 'v'],
          ['n', '1000'],
          ['b', 'true'],
        ]),
      ],
    ]),
  });
});

t.test(
  'a credential of a service can be tried at once, where somebody is asked; its outcome is the exit code',
  async (t) => {
    const tried: (string | undefined)[] = [];
    const tryOnline = async ({ flags, overrides }: CommandLine) => {
      tried.push(flags.get('online') === true ? overrides.configPath : undefined);
      return 77;
    };
    const start = (argv: string[], ...answers: string[]) => {
      const folder = createCommandFolder(t, null);
      const { ask } = answering(...answers);
      return folder.run((args, io) => init(args, io, ask, tryOnline), ['init', ...argv]);
    };
    const uuid = '5a4d0b1e-0001-4000-8000-000000000001';
    const yes = await start(['--client-id', uuid], '', '', 'a secret', '');
    t.match(yes, { code: 77, err: /^Then: gcg check --online, gcg serve$/m });
    t.match(tried, [/gcg\.ini$/]);
    t.notMatch(yes.err, /UUID/);
    t.match(await start(['--client-id', 'abc'], '', '', 'a secret', 'no'), {
      code: 0,
      err: /^note: that id is not a UUID, and those of OAuth clients are; it is taken as it is$/m,
    });
    t.equal((await start(['--client-id', uuid], '', '', '')).code, 0, 'there is no secret to try');
    t.equal((await start(['--client-id', uuid, '--grant-type', 'pkce'])).code, 0, 'a person has to log in first');
    t.equal(tried.length, 1);
  },
);

t.test('a secret that is written into a git work tree is warned of', async (t) => {
  const folder = createCommandFolder(t, null);
  mkdirSync(join(folder.dir, '.git'));
  const { ask } = answering('', '', 'abc', 'a secret');
  const warning = /^warning: .*gcg\.ini holds a secret and is inside the git work tree .*: do not commit it$/m;
  t.match((await folder.run((args, io) => init(args, io, ask), ['init'])).err, warning);
  const flags = ['init', '--client-id', 'abc', '--force'];
  t.notMatch((await folder.run(flagsOnly, flags, { env: SECRET })).err, /work tree/, 'without a secret');
});
