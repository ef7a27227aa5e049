// Where Node's cache of compiled code is kept: what is in it is executed.

import { chmodSync, chownSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type CacheHost, privateFolder, useCompileCache } from '../../src/cli/compile-cache.ts';

const uid = process.geteuid?.() ?? 0;

/** A folder of the test's that stands for a home, closed to others as its parents are not. */
function hostIn(t: Test, env: CacheHost['env'] = {}): CacheHost & { home: string } {
  const home = t.testdir({ home: {} });
  return { env, home: join(home, 'home'), platform: 'linux', uid };
}

t.test('of several places the service manager’s counts, then the person’s, then the home', async (t) => {
  const host = hostIn(t);
  const at = (env: CacheHost['env'], more: Partial<CacheHost> = {}) => privateFolder({ ...host, ...more, env });
  const inHome = (path: string) => join(host.home, path);
  t.equal(at({}), inHome('.cache/genesys-cloud-gateway/compiled'));
  t.equal(at({}, { platform: 'darwin' }), inHome('Library/Caches/genesys-cloud-gateway/compiled'));
  t.equal(at({ XDG_CACHE_HOME: inHome('x') }), inHome('x/genesys-cloud-gateway/compiled'));
  t.equal(at({ CACHE_DIRECTORY: `${inHome('s')}:/var/cache/b`, XDG_CACHE_HOME: inHome('x') }), inHome('s/compiled'));
  t.equal(at({ XDG_CACHE_HOME: 'relative' }), inHome('.cache/genesys-cloud-gateway/compiled'), 'as XDG says');
  t.equal(at({}, { home: undefined }), null, 'no home');
  t.equal(at({}, { platform: 'win32' }), null, 'no LOCALAPPDATA');
  t.equal(statSync(inHome('s/compiled')).mode & 0o777, 0o700);
});

t.test('a folder that others could write to, or replace, is not used', async (t) => {
  const cases: Readonly<Record<string, (host: CacheHost & { home: string }) => Partial<CacheHost> | undefined>> = {
    'writable by all': ({ home }) => open(join(home, '.cache/genesys-cloud-gateway/compiled'), 0o777),
    'writable by the group': ({ home }) => open(join(home, '.cache/genesys-cloud-gateway/compiled'), 0o770),
    'sticky, as /tmp is': ({ home }) => open(join(home, '.cache/genesys-cloud-gateway/compiled'), 0o1777),
    'one above it writable by all': ({ home }) => open(join(home, '.cache'), 0o777),
    'the home writable by the group': ({ home }) => open(home, 0o775),
    'another user’s': () => ({ uid: uid + 1 }),
    'a link to a folder that is open': ({ home }) => {
      open(join(home, 'open'), 0o777);
      mkdirSync(join(home, '.cache'));
      symlinkSync(join(home, 'open'), join(home, '.cache/genesys-cloud-gateway'));
      return undefined;
    },
    'a file': ({ home }) => {
      writeFileSync(join(home, '.cache'), '');
      return undefined;
    },
    'of a system without users': () => ({ uid: undefined }),
  };
  for (const [what, prepare] of Object.entries(cases))
    await t.test(what, async (t) => {
      const host = hostIn(t);
      const other = prepare(host);
      // Root's folders are everybody's to trust: another user than the owner is one that root is not.
      if (what.startsWith('another') && uid === 0) return t.pass('run as root');
      t.equal(privateFolder({ ...host, ...other }), null);
    });
});

t.test('nothing is made in a folder of somebody else’s, or in one that is open', async (t) => {
  const host = hostIn(t);
  // As root, by sudo, with the home of another: ours stands for it, and we are yet another.
  if (uid === 0) chownSync(host.home, 1, 1);
  t.equal(privateFolder({ ...host, uid: uid === 0 ? 0 : uid + 1 }), null);
  t.notOk(existsSync(join(host.home, '.cache')));
  const open = hostIn(t);
  chmodSync(open.home, 0o777);
  t.equal(privateFolder(open), null);
  t.notOk(existsSync(join(open.home, '.cache')));
  chmodSync(open.home, 0o1777);
  t.equal(privateFolder(open), join(open.home, '.cache/genesys-cloud-gateway/compiled'), 'the sticky bit protects it');
});

t.test('a home where nothing can be made has none', { skip: !existsSync('/proc/self') }, async (t) => {
  // To each attempt this file system answers that the folder above is missing, as automounters do for an unknown home.
  const host = hostIn(t);
  const file = join(host.home, 'file');
  writeFileSync(file, '');
  for (const home of ['/proc', '/proc/nobody', file]) t.equal(privateFolder({ ...host, home }), null, home);
});

t.test('where Node’s own variables say something, nothing is made', async (t) => {
  for (const name of ['NODE_COMPILE_CACHE', 'NODE_DISABLE_COMPILE_CACHE']) {
    const host = hostIn(t, { [name]: '1' });
    t.equal(useCompileCache(host), null, name);
    t.notOk(existsSync(join(host.home, '.cache')), name);
  }
});

function open(folder: string, mode: number): undefined {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  chmodSync(folder, mode);
}
