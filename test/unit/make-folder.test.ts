// A folder is made with those above it, or it is said why not: always in the end.

import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeFolder } from '../../src/fs/make-folder.ts';

t.test('what is missing is made for its owner alone, what is there stays as it is', async (t) => {
  const dir = t.testdir({});
  const open = join(dir, 'open');
  mkdirSync(open, { mode: 0o755 });
  const wanted = join(open, 'a', 'b');
  makeFolder(wanted);
  makeFolder(wanted);
  t.equal(statSync(wanted).mode & 0o777, 0o700);
  t.equal(statSync(join(open, 'a')).mode & 0o777, 0o700);
  t.equal(statSync(open).mode & 0o777, 0o755);
  symlinkSync(wanted, join(dir, 'link'));
  makeFolder(join(dir, 'link'));
  makeFolder('/');
});

t.test('a file in the way is an error, in its place or above it', async (t) => {
  const dir = t.testdir({});
  writeFileSync(join(dir, 'file'), '');
  t.throws(() => makeFolder(join(dir, 'file')), { code: 'EEXIST' });
  t.throws(() => makeFolder(join(dir, 'file', 'below')), { code: 'ENOTDIR' });
});

t.test(
  'where no folder can be made it gives up, as node:fs would not',
  { skip: !existsSync('/proc/self') },
  async (t) => {
    t.throws(() => makeFolder('/proc/nobody/a/b'), { code: 'ENOENT' });
  },
);
