// The reader of plain files: what is none is refused at once, what has no end ends, and what is read is whole.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { fileRevision, readPlainFile, readPlainFileSync, whyNotRead } from '../../src/fs/plain-file.ts';
import { makeOddPaths } from '../helpers/odd-paths.ts';

const MIB = 1024 * 1024;

for (const [name, read] of [
  ['readPlainFileSync', async (path: string, largest = MIB) => readPlainFileSync(path, largest)],
  ['readPlainFile', (path: string, largest = MIB) => readPlainFile(path, largest)],
] as const) {
  t.test(`${name}: content, owner, mode and revision are those of the file, through links`, async (t) => {
    const folder = t.testdir({ file: 'content' });
    symlinkSync('file', join(folder, 'link'));
    const { bytes, uid, mode, revision } = await read(join(folder, 'link'));
    t.equal(bytes.toString(), 'content');
    t.equal(uid, process.geteuid?.());
    t.equal(mode & 0o170000, 0o100000);
    t.equal(revision, fileRevision(join(folder, 'file')));
  });

  t.test(`${name}: a file of the largest size is read whole, one of a byte more is refused`, async (t) => {
    const path = join(t.testdir(), 'file');
    for (const size of [0, 1, 4095, 4096, 4097, MIB - 1, MIB]) {
      writeFileSync(path, Buffer.alloc(size, 'x'));
      t.equal((await read(path)).bytes.length, size, `${size}`);
    }
    writeFileSync(path, Buffer.alloc(MIB + 1));
    await t.rejects(read(path), { name: 'FileRefusal', code: 'EFBIG', message: /^is larger than 1 MiB/ });
  });

  t.test(`${name}: what is no plain file is refused, at once and in words`, async (t) => {
    for (const [kind, { path, words }] of Object.entries(await makeOddPaths(t))) {
      const error = await read(path).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      t.match(whyNotRead(error), words, kind);
    }
  });

  t.test(
    `${name}: a file that says it is empty and is not is read, and bounded, all the same`,
    { skip: !existsSync('/proc/self/maps') },
    async (t) => {
      t.match((await read('/proc/self/maps')).bytes.toString(), /\n/);
      await t.rejects(read('/proc/self/maps', 1024), { code: 'EFBIG' });
    },
  );

  t.test(`${name}: of a file that grows all the while nothing is read in part`, async (t) => {
    const path = join(t.testdir({ file: 'x' }), 'file');
    // One writer without a pause, up to twice what is read at most.
    const code =
      `const { appendFileSync } = require('node:fs'); for (let i = 0; i < 2048; i++) ` +
      `appendFileSync(${JSON.stringify(path)}, 'x'.repeat(1024));`;
    const writer = new Worker(code, { eval: true });
    const over = once(writer, 'exit');
    let isOver = false;
    over.then(() => {
      isOver = true;
    });
    const codes = new Set<string>();
    while (!isOver) {
      await read(path).then(
        ({ bytes, revision }) =>
          t.equal(Number(revision.split(':').at(-1)), bytes.length, 'as many bytes as the file had'),
        (error: NodeJS.ErrnoException) => codes.add(error.code ?? 'none'),
      );
      await new Promise((resolve) => setImmediate(resolve));
    }
    await t.rejects(read(path), { code: 'EFBIG' });
    for (const each of codes) t.ok(['EBUSY', 'EFBIG'].includes(each), each);
  });
}

t.test('a revision changes with whatever may have changed the content, and never throws', async (t) => {
  const folder = t.testdir({ file: 'one' });
  const path = join(folder, 'file');
  const seen = new Set([fileRevision(path)]);
  const changes: (() => void)[] = [
    () => appendFileSync(path, 'more'),
    () => utimesSync(path, 1, 1),
    () => truncateSync(path, 0),
    () => {
      writeFileSync(join(folder, 'other'), readFileSync(path));
      renameSync(join(folder, 'other'), path);
    },
    () => execFileSync('rm', [path]),
    () => execFileSync('mkfifo', [path]),
  ];
  for (const change of changes) {
    change();
    seen.add(fileRevision(path));
  }
  t.equal(seen.size, changes.length + 1);
  t.equal(fileRevision(join(folder, 'none')), 'unreadable:ENOENT');
});
