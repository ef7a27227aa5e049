// Every setting that names a file that is read, with every kind of path that is no such file: refused when the
// configuration is loaded, which is the start and the reload alike; and kept from doing harm where a file is replaced
// while it is in use.

import { execFileSync } from 'node:child_process';
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { readConfigFile } from '../../../src/config/file.ts';
import { OPTIONS } from '../../../src/config/table.ts';
import { FileWatcher } from '../../../src/reload/file-watcher.ts';
import { fileSecret } from '../../../src/secret.ts';
import { createServerTls } from '../../../src/server/tls.ts';
import { fetchPacText } from '../../../src/upstream/egress/pac.ts';
import { createTrust } from '../../../src/upstream/egress/tls.ts';
import { createTestCa } from '../../helpers/certificates.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';
import { makeOddPaths } from '../../helpers/odd-paths.ts';
import { load, problems } from './load-text.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());
const own = ca.issue(['localhost']);
const odd = await makeOddPaths(t);

/** Written to, not read: a folder, the log, which may well be a device, and the audit trail, opened at the start. */
const WRITTEN = ['store.path', 'logging.log_file_path', 'audit.file'];

/** Every key that names a file to be read, from the option table: a new one is in this test by itself. */
const KEYS = OPTIONS.flatMap(({ section, key, kind, isSecret }) =>
  isSecret
    ? [`${section}.${key}_file`]
    : kind.type === 'path' && !WRITTEN.includes(`${section}.${key}`)
      ? [`${section}.${key}`]
      : [],
);

/** What has to be there for a key to be read at all. */
const BESIDE: Readonly<Record<string, string>> = {
  'credential.assertion_file': 'grant_type = saml2_bearer',
  'credential.access_token_file': 'grant_type = access_token',
  'credential.refresh_token_file': 'grant_type = pkce',
};

function loadWith(key: string, path: string): string[] {
  if (key === 'configuration') return problems(load({ readFile: readConfigFile, overrides: { configPath: path } }));
  if (key === 'proxy.url') return problems(load({ file: `[proxy]\nurl = pac+${pathToFileURL(path)}\n` }));
  const at = key.lastIndexOf('.');
  const section = key.slice(0, at) === 'client' ? 'client.crm' : key.slice(0, at);
  return problems(load({ file: `[${section}]\n${BESIDE[key] ?? ''}\n${key.slice(at + 1)} = ${path}\n` })).filter(
    (line) => line.includes(path),
  );
}

t.test('the table knows the settings that name a file', async (t) => {
  t.ok(KEYS.length >= 14, KEYS.join());
  t.ok(
    KEYS.includes('credential.client_secret_file') &&
      KEYS.includes('server.tls.client_ca_file') &&
      KEYS.includes('tls.ca_file'),
  );
});

t.test('every setting refuses every path that is no plain file, in words, with its key', async (t) => {
  for (const key of ['configuration', 'proxy.url', ...KEYS]) {
    for (const [kind, { path, words }] of Object.entries(odd)) {
      const found = loadWith(key, path);
      // A script that is not there may be by the time it is asked: the dialer tells then.
      const isLater = key === 'proxy.url' && /cannot be read|does not exist/.test(words.source);
      t.match(found, isLater ? [] : [words], `${key} = ${kind}: ${found}`);
      if (!isLater && key !== 'configuration')
        t.match(found[0], key.replace('client.', 'client.crm.'), `${key} = ${kind}`);
    }
  }
});

/** Calls `use` with each odd thing in the place of a file, and `back` when the file is there again. */
async function replaceByEach(
  path: string,
  use: (kind: string) => unknown,
  back: () => unknown = () => {},
): Promise<void> {
  const kept = `${path}.kept`;
  for (const [kind, { path: target }] of Object.entries(odd)) {
    renameSync(path, kept);
    if (kind !== 'nothing') symlinkSync(target, path);
    await use(kind);
    rmSync(path, { force: true });
    renameSync(kept, path);
    await back();
  }
}

t.test('a secret file in use: refused while it is something else, read again when it is back', async (t) => {
  const path = join(t.testdir({ folder: { secret: 'the secret' } }), 'folder', 'secret');
  const source = fileSecret(path);
  t.equal(source.read().reveal(), 'the secret');
  const revision = source.revision();
  await replaceByEach(path, (kind) => {
    t.throws(() => source.read(), { code: 'gateway.credential.rejected' }, kind);
    t.not(source.revision(), revision, kind);
  });
  t.equal(source.read().reveal(), 'the secret');
});

t.test('the files of [tls] in use: the previous material stays, and that is logged', async (t) => {
  const logged: string[] = [];
  const log = {
    error: (fields: { problem?: string }) => void logged.push(fields.problem ?? ''),
    warn() {},
    info() {},
    debug() {},
  };
  for (const key of ['caFile', 'certFile', 'keyFile'] as const) {
    const dir = t.testdir({ [key]: { 'ca.pem': ca.caPem, 'own.crt': own.cert, 'own.key': own.key } });
    const at = (name: string) => join(dir, key, name);
    const files = { caFile: at('ca.pem'), certFile: at('own.crt'), keyFile: at('own.key') };
    const trust = createTrust({ tls: { ...files, keyPassphrase: null }, log });
    let before = trust.current();
    await replaceByEach(
      files[key],
      (kind) => {
        logged.length = 0;
        t.equal(trust.current(), before, kind);
        t.equal(trust.current(), before, kind);
        t.equal(logged.length, 1, kind);
        t.match(logged[0], files[key]);
      },
      () => {
        before = trust.current();
      },
    );
  }
});

t.test('the files of [server.tls] in use: the previous certificate stays, and that is logged', async (t) => {
  const dir = t.testdir({ tls: { 'ca.pem': ca.caPem, 'own.crt': own.cert, 'own.key': own.key } });
  const at = (name: string) => join(dir, 'tls', name);
  const files = { certFile: at('own.crt'), keyFile: at('own.key'), clientCaFile: at('ca.pem') };
  const logged: string[] = [];
  const log = {
    error() {},
    warn: (fields: { error?: string }) => void logged.push(fields.error ?? ''),
    info() {},
    debug() {},
  };
  const tls = createServerTls(files, log);
  t.teardown(() => tls.close());
  for (const path of Object.values(files)) {
    await replaceByEach(
      path,
      (kind) => {
        logged.length = 0;
        tls.refresh();
        t.match(logged, [/server\.tls\.(cert|key|client_ca)_file: /], kind);
        t.equal(tls.options.cert?.toString(), own.cert);
      },
      () => tls.refresh(),
    );
  }
});

t.test('a PAC file in use: what cannot be read is told, and the script is had again when it is back', async (t) => {
  const path = join(
    t.testdir({ folder: { 'proxy.pac': 'function FindProxyForURL() { return "DIRECT" }' } }),
    'folder',
    'proxy.pac',
  );
  const url = pathToFileURL(path);
  const ask = (known: Awaited<ReturnType<typeof fetchPacText>> = null) =>
    fetchPacText(url, {
      known: known ?? undefined,
      connect: () => t.fail('no connection is made'),
      signal: AbortSignal.timeout(60_000),
    });
  const known = await ask();
  t.match(known?.text, 'DIRECT');
  t.equal(await ask(known), null, 'unchanged');
  await replaceByEach(path, (kind) => t.rejects(ask(known), { message: /^it (is|cannot)/ }, kind));
  t.equal((await ask())?.text, known?.text);
});

t.test('a watch sees each of them come and go', async (t) => {
  const path = join(t.testdir({ folder: { watched: 'content' } }), 'folder', 'watched');
  const clock = createFakeClock();
  let changes = 0;
  const watch = new FileWatcher({
    onChange: () => changes++,
    clock,
    log: { error() {}, warn() {}, info() {}, debug() {} },
    pollMs: 1_000,
  });
  t.teardown(() => watch.close());
  watch.watch([path]);
  let expected = 0;
  const look = async (kind?: string) => {
    // A look, and the moment after it in which nothing may change any more.
    await clock.advance(1_100);
    t.equal(changes, ++expected, kind ?? 'back');
  };
  await replaceByEach(path, look, look);
});

t.test('a configuration in place of which a FIFO was put is refused, and read again when it is back', async (t) => {
  const path = join(t.testdir({ 'gcg.ini': '' }), 'gcg.ini');
  const asked = () => problems(load({ readFile: readConfigFile, overrides: { configPath: path } }));
  t.strictSame(asked(), []);
  rmSync(path);
  execFileSync('mkfifo', [path]);
  t.match(asked(), [/gcg\.ini is a pipe, not a plain file; write its content into a file and name that/]);
  rmSync(path);
  writeFileSync(path, '');
  t.strictSame(asked(), []);
});
