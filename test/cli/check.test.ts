// gcg check: all problems on stderr with exit 78, or a summary on stdout with exit 0.

import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { parseCommandLine } from '../../src/cli/args.ts';
import { check, type OnlineCheck } from '../../src/cli/commands/check.ts';

async function run(
  dir: string,
  argv: readonly string[],
  env: Record<string, string> = {},
  online: OnlineCheck = async () => 1,
) {
  const out: string[] = [];
  const err: string[] = [];
  const parsed = parseCommandLine(['check', ...argv]);
  if (parsed.kind !== 'run') throw new Error(parsed.kind);
  const write = (to: string[]) => ({ write: (text: string) => to.push(text) });
  const io = {
    stdout: write(out),
    stderr: write(err),
    env,
    cwd: dir,
    isTTY: false,
    home: undefined,
    platform: process.platform,
  };
  const code = await check(parsed, io, online);
  return { code, out: out.join(''), err: err.join('') };
}

const GOOD =
  '[general]\nhost = eu-central-1\n[credential]\nclient_id = i\nclient_secret = ' +
  'hidden\n[credential.crm]\nclient_id = i\nclient_secret = s\nhost = eu-west-1\n';

t.test('a good configuration is summed up on stdout', async (t) => {
  const dir = t.testdir({ 'gcg.ini': GOOD });
  chmodSync(`${dir}/gcg.ini`, 0o600);
  const { code, out, err } = await run(dir, []);
  t.equal(code, 0);
  t.match(out, /^OK: .*gcg\.ini\n.*mypurecloud\.de.*127\.0\.0\.1:8080/s);
  t.match(out, /credentials {2}default \(client_credentials, default\): for callers without proof\n/);
  t.match(out, /^ {15}crm \(client_credentials, mypurecloud\.ie\): for nobody$/m);
  t.match(
    err,
    /^warning: gcg\.ini:6: credential\.crm: nobody may use this credential: set server\.anonymous_credentials = default, crm, or credential = crm in a \[client\.NAME\]; then it is reached as \/crm\/api\/v2\/…\n$/,
  );
  t.notMatch(out, 'hidden');
});

t.test('beside each credential stands who may use it, and clients are told with their limits', async (t) => {
  const more =
    '[client.web]\nsecret = a-secret-of-some-length\ncredential = crm, default\nadmin = true\nexpires = 2099-12-31\n' +
    'from = 10.0.0.0/8, unix\n[server]\nanonymous_credentials = crm\nread_only = true\n[store]\ntype = memory\n';
  const dir = t.testdir({ 'gcg.ini': GOOD + more });
  chmodSync(`${dir}/gcg.ini`, 0o600);
  const { code, out, err } = await run(dir, []);
  t.equal(code, 0);
  t.match(out, 'default (client_credentials, default): for web\n');
  t.match(out, 'crm (client_credentials, mypurecloud.ie): for callers without proof, web\n');
  t.match(out, 'web (admin, until 2099-12-31, from 10.0.0.0/8 and unix)\n');
  t.match(out, 'nobody may change anything (server.read_only)\n');
  t.equal(err, '');
});

t.test('all problems are on stderr, one a line, and stdout stays empty', async (t) => {
  const dir = t.testdir({ 'gcg.ini': '[server]\nlisten = x\nlisn = y\n[credential]\nclient_id = i\n' });
  const { code, out, err } = await run(dir, []);
  t.equal(code, 78);
  t.equal(out, '');
  t.match(err.split('\n'), [
    /^gcg\.ini:2: server\.listen: /,
    /^gcg\.ini:3: there is no key/,
    /^gcg\.ini:5: credential\.client_secret: is missing/,
    /^$/,
  ]);
});

t.test('a listener without protection and a missing credential are told at once, each without the other', async (t) => {
  const open = '[server]\nlisten = 0.0.0.0:8080\n';
  const listener = /^gcg\.ini:2: server\.listen: .*unsafe_allow_anonymous/m;
  const credential = /gcg\.ini: credential: no credential is configured/;
  for (const [text, ...lines] of [
    [open, listener, credential],
    ['[general]\nhost = nowhere\n', /general\.host/, credential],
    [`${open}[credential]\nclient_id = i\nclient_secret = s\n`, listener],
    ['[server]\nlisn = 1\n', /there is no key/, credential],
    // One of these is meant as the credential, or it may be in what was not read.
    ['[credentials]\nclient_id = i\nclient_secret = s\n', /there is no section/],
    ['[credential.API]\nclient_id = i\nclient_secret = s\n', /^gcg\.ini:1: /m],
    ['[credential\nclient_id = i\n', /^gcg\.ini:1: /m],
  ] as const) {
    const { code, err } = await run(t.testdir({ 'gcg.ini': text }), []);
    t.equal(code, 78);
    for (const line of lines) t.match(err, line, text);
    t.equal(err.match(/^(?!warning: ).+$/gm)?.length, lines.length, err);
  }
});

t.test('warnings do not make it fail', async (t) => {
  const dir = t.testdir({ 'gcg.ini': GOOD });
  chmodSync(`${dir}/gcg.ini`, 0o644);
  const { code, err } = await run(dir, [], { GCG_NONSENSE: 'x' });
  t.equal(code, 0);
  t.match(err, /^warning: env GCG_NONSENSE: .*\nwarning: gcg\.ini:5: holds a secret/);
});

t.test('no credential at all is an error that says how to begin', async (t) => {
  const { code, err } = await run(t.testdir({}), []);
  t.equal(code, 78);
  t.match(err, /no credential is configured.*gcg demo/);
});

t.test('--online hands the configuration on and answers with its exit code', async (t) => {
  const dir = t.testdir({ 'gcg.ini': GOOD });
  const asked: string[] = [];
  const online: OnlineCheck = async (config) => {
    asked.push(...config.credentials.map(({ name }) => name));
    return 77;
  };
  t.equal((await run(dir, ['--online'], {}, online)).code, 77);
  t.strictSame(asked, ['default', 'crm']);
  t.equal((await run(dir, [], {}, online)).code, 0, 'without the flag it is not asked');
  t.equal(asked.length, 2);
});

t.test('an audit file that is none is a problem, and stays as it is', async (t) => {
  const start = '[credential]\nclient_id = a\nclient_secret = b\n[audit]\nfile = ';
  const dir = t.testdir({ 'gcg.ini': `${start}notes.txt\n`, 'notes.txt': 'not a trail\n' });
  chmodSync(`${dir}/gcg.ini`, 0o600);
  chmodSync(`${dir}/notes.txt`, 0o644);
  t.match(await run(dir, []), { code: 78, out: '', err: /gcg\.ini: audit\.file: .*notes\.txt is not an audit trail/ });
  t.equal(statSync(`${dir}/notes.txt`).mode & 0o777, 0o644);
  for (const [file, code] of [
    ['/dev/null', 78],
    ['new/audit.jsonl', 0],
  ] as const) {
    writeFileSync(`${dir}/gcg.ini`, `${start}${file}\n`);
    t.equal((await run(dir, [])).code, code, file);
  }
  t.notOk(existsSync(`${dir}/new`));
});
