// A secret or key file that others can read is warned of where its owner can mend that, and nowhere else.

import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { isReadableByOthers } from '../../../src/fs/permissions.ts';
import { load, warnings } from './load-text.ts';

const OWN = { uid: process.getuid?.(), isReadOnlyDisk: () => false };

/** A file with this mode, below folders that all may enter. */
function fileOf(t: Test, mode: number, folderMode = 0o755) {
  const root = mkdtempSync(join(tmpdir(), 'gcg-private-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  chmodSync(root, 0o755);
  const folder = join(root, 'folder');
  mkdirSync(folder);
  const path = join(folder, 'secret');
  writeFileSync(path, '-----BEGIN PRIVATE KEY-----\n');
  chmodSync(path, mode);
  chmodSync(folder, folderMode);
  return { root, folder, path };
}

t.test(
  'modes: what the group or others may read is readable, what they may only execute or write is not',
  async (t) => {
    for (const [mode, expected] of [
      [0o600, false],
      [0o400, false],
      [0o622, false],
      [0o640, true],
      [0o604, true],
      [0o644, true],
      [0o444, true],
    ] as const) {
      t.equal(isReadableByOthers(fileOf(t, mode).path, OWN), expected, mode.toString(8));
    }
  },
);

t.test('a folder that others cannot enter keeps them out, wherever it stands above the file', async (t) => {
  const { root, path } = fileOf(t, 0o644, 0o700);
  t.equal(isReadableByOthers(path, OWN), false);
  const other = fileOf(t, 0o644);
  chmodSync(other.root, 0o700);
  t.equal(isReadableByOthers(other.path, OWN), false);
  symlinkSync(path, join(root, 'link'));
  t.equal(isReadableByOthers(join(root, 'link'), OWN), false, 'through a link from an open folder, too');
});

t.test('what an orchestrator mounts is its own: a file of another user, or on a read-only disk', async (t) => {
  const { path } = fileOf(t, 0o644);
  t.equal(isReadableByOthers(path, OWN), true);
  t.equal(isReadableByOthers(path, { ...OWN, uid: 4711 }), false);
  t.equal(isReadableByOthers(path, { ...OWN, uid: undefined }), false, 'Windows');
  t.equal(isReadableByOthers(path, { ...OWN, isReadOnlyDisk: () => true }), false);
  t.equal(isReadableByOthers(`${path}-missing`, OWN), false);
});

t.test('the warning names the setting and the file, for secrets and for keys, and not for certificates', async (t) => {
  const { path } = fileOf(t, 0o644);
  const file =
    `[credential]\nclient_id = i\nclient_secret_file = ${path}\n[tls]\nca_file = ${path}\ncert_file = ` +
    `${path}\nkey_file = ${path}\n`;
  t.strictSame(warnings(load({ file })).toSorted(), [
    `gcg.ini:3: credential.client_secret_file: others can read ${path}, which holds a secret; run chmod 600 on it`,
    `gcg.ini:7: tls.key_file: others can read ${path}, which holds a private key; run chmod 600 on it`,
  ]);
  chmodSync(path, 0o600);
  t.strictSame(warnings(load({ file })), []);
});
