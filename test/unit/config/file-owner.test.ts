// Whose the configuration file is: one that was found and not named must be ours or root's, one with a command in it
// always, and so must its folder.

import { chmodSync, chownSync, lchownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readConfigFile } from '../../../src/config/file.ts';
import type { FileName } from '../../../src/fs/permissions.ts';
import { CREDENTIAL, type Given, load, OWN_UID, problems, warnings } from './load-text.ts';

const OTHER = 4711;
const PLAIN = '[credential]\nclient_id = i\nclient_secret_env = S\n';
const COMMAND = `${PLAIN}grant_type = saml2_bearer\norg_name = o\nassertion_command = /bin/make\n`;
const name = (of: Partial<FileName>): FileName => ({
  folder: '/srv/app',
  folderUid: OWN_UID,
  folderMode: 0o755,
  uid: OWN_UID,
  ...of,
});
const told = (given: Given) => problems(load({ env: { S: 'x' }, names: [name({})], mode: 0o644, ...given }));
const NAMED = { overrides: { configPath: 'gcg.ini' } };

const FOUND_REFUSED = [
  `gcg.ini: belongs to another user (${OTHER}), and nobody named it; say --config gcg.ini if you trust it, or name ` +
    'a file of yours',
];

t.test('a file that was found is used when it is ours or root’s, and refused when it is another user’s', async (t) => {
  t.strictSame(told({ file: PLAIN }), []);
  t.strictSame(told({ file: PLAIN, owner: 0 }), []);
  t.strictSame(told({ file: PLAIN, owner: OTHER }), FOUND_REFUSED);
  t.strictSame(told({ file: COMMAND, owner: OTHER }), FOUND_REFUSED);
  t.strictSame(told({ file: 'nonsense', owner: OTHER }), FOUND_REFUSED, 'nothing of it is read');
  t.strictSame(told({ file: PLAIN, owner: OTHER, uid: OTHER, names: [name({ uid: OTHER })] }), []);
  t.strictSame(told({ file: PLAIN, owner: OTHER, uid: 0 }), FOUND_REFUSED, 'root trusts root only');
});

t.test('a link that another user made is another user’s, wherever it leads', async (t) => {
  const names = [name({ uid: OTHER }), name({ folder: '/home/someone' })];
  t.strictSame(told({ file: PLAIN, names }), FOUND_REFUSED);
  t.strictSame(
    told({ file: PLAIN, names: [name({ uid: 0, folderUid: 0 })] }),
    [],
    'root’s, as an orchestrator makes them',
  );
});

t.test('every place that is searched is looked at like that, and none that is named', async (t) => {
  for (const path of [
    '/srv/app/gcg.json',
    '/home/someone/.config/genesys-cloud-gateway/config.ini',
    '/etc/genesys-cloud-gateway/config.json',
    '/home/someone/.genesyscloudjavascript/config',
  ]) {
    t.match(
      told({ files: { [path]: PLAIN }, owner: OTHER }),
      [/belongs to another user \(4711\), and nobody named it; say --config /],
      path,
    );
    t.strictSame(told({ files: { [path]: PLAIN }, owner: OTHER, overrides: { configPath: path } }), [], path);
    t.strictSame(told({ files: { [path]: PLAIN }, owner: OTHER, env: { S: 'x', GCG_CONFIG: path } }), [], path);
  }
});

t.test('a named file of another user is trusted without a word, unless it holds a command', async (t) => {
  t.strictSame(warnings(load({ file: PLAIN, env: { S: 'x' }, owner: OTHER, ...NAMED })), []);
  t.match(told({ file: COMMAND, owner: OTHER, ...NAMED }), [
    'gcg.ini:6: credential.assertion_command: gcg.ini belongs to another user (4711), who so chooses the command; ' +
      'make a copy that is yours',
  ]);
  t.match(told({ file: COMMAND, owner: OTHER, uid: 0, ...NAMED }), [/belongs to another user/], 'root, too');
});

t.test('who could put another file in the place of one with a command', async (t) => {
  const found = (of: Partial<FileName>, given: Given = {}) => told({ file: COMMAND, names: [name(of)], ...given });
  for (const [folderMode, isSafe] of [
    [0o755, true],
    [0o700, true],
    [0o775, false],
    [0o757, false],
    [0o777, false],
    [0o1777, true],
    [0o3777, true],
  ] as const) {
    const expected = isSafe
      ? []
      : [/others can put another file in the place of gcg\.ini.*write to its folder \/srv\/app; run chmod go-w/];
    t.match(found({ folderMode }), expected, folderMode.toString(8));
    t.match(found({ folderMode, folderUid: 0, uid: 0 }, { owner: 0 }), expected, `${folderMode.toString(8)}, root’s`);
    t.match(found({ folderMode }, NAMED), expected, `${folderMode.toString(8)}, named`);
    t.strictSame(
      told({ file: PLAIN, names: [name({ folderMode })] }),
      [],
      'without a command the folder does not count',
    );
  }
  t.match(found({ folderUid: OTHER }), [
    /its folder \/srv\/app belongs to another user \(4711\); move it into one of yours/,
  ]);
  t.match(
    found({ folderUid: OTHER, folderMode: 0o1777 }),
    [/belongs to another user/],
    'who owns a sticky folder may replace what is in it',
  );
  t.match(
    found({ folderMode: 0o1777, uid: OTHER }, NAMED),
    [/others can write to its folder/],
    'a link of another user in a sticky folder',
  );
  const ends = [name({}), name({ folder: '/elsewhere', folderMode: 0o777 })];
  t.match(
    told({ file: COMMAND, names: ends }),
    [/others can write to its folder \/elsewhere/],
    'the folder at the end of a link',
  );
});

t.test('a command that does not come from the file is nobody else’s choice', async (t) => {
  const env = { S: 'x', GCG_CREDENTIAL_ASSERTION_COMMAND: '/bin/make' };
  const file = COMMAND.replace(/assertion_command.*\n/, '');
  t.strictSame(told({ file, mode: 0o666, env }), []);
  t.strictSame(told({ file, mode: 0o666, set: ['credential.assertion_command=/bin/make'] }), []);
  t.match(told({ file: COMMAND, mode: 0o666 }), [/others can write to gcg\.ini, and so choose the command/]);
});

t.test(
  'every command of a file is complained about, and Windows, which has no such owners, is left alone',
  async (t) => {
    const two = `${COMMAND}${COMMAND.replace('[credential]', '[credential.b]')}`;
    t.match(told({ file: two, owner: OTHER, ...NAMED }), [
      /credential\.assertion_command/,
      /credential\.b\.assertion_command/,
    ]);
    const windows = {
      platform: 'win32',
      cwd: 'C:\\w',
      home: 'C:\\u',
      files: { 'C:\\w\\gcg.ini': COMMAND },
      mode: 0o666,
      owner: OTHER,
    } as const;
    t.strictSame(told(windows), []);
  },
);

/** A folder that another user may reach, and below it what `content` says. */
function realFolder(t: Test, content: string): { dir: string; file: string } {
  const dir = mkdtempSync(join(tmpdir(), 'gcg-owner-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  chmodSync(dir, 0o755);
  const file = join(dir, 'gcg.ini');
  writeFileSync(file, content, { mode: 0o644 });
  return { dir, file };
}

const real = (cwd: string, configPath?: string) =>
  problems(
    load({
      cwd,
      env: { S: 'x' },
      readFile: readConfigFile,
      uid: process.geteuid?.() as number,
      ...(configPath && { overrides: { configPath } }),
    }),
  );

t.test('real files of ours, with modes that are ours to set', async (t) => {
  const { dir, file } = realFolder(t, COMMAND);
  t.strictSame(real(dir), []);
  chmodSync(dir, 0o777);
  t.match(real(dir), [/others can write to its folder/]);
  chmodSync(dir, 0o1777);
  t.strictSame(real(dir), []);
  chmodSync(file, 0o664);
  t.match(real(dir), [/others can write to gcg\.ini/]);
});

t.test('a mount of Kubernetes: a sticky folder for all, links, files of root or ours', async (t) => {
  const { dir } = realFolder(t, '');
  const mount = join(dir, 'mount');
  mkdirSync(join(mount, '..2026'), { recursive: true });
  chmodSync(mount, 0o1777);
  writeFileSync(join(mount, '..2026', 'config.ini'), COMMAND, { mode: 0o644 });
  symlinkSync('..2026', join(mount, '..data'));
  symlinkSync('..data/config.ini', join(mount, 'config.ini'));
  t.strictSame(real(dir, join(mount, 'config.ini')), []);
});

t.test(
  'real files of another user',
  { skip: process.geteuid?.() !== 0 && 'only root can give files away' },
  async (t) => {
    const { dir, file } = realFolder(t, `${CREDENTIAL}`);
    chownSync(file, OTHER, OTHER);
    t.strictSame(real(dir), FOUND_REFUSED);
    t.strictSame(real(dir, 'gcg.ini'), []);
    writeFileSync(file, COMMAND);
    t.match(real(dir, 'gcg.ini'), [/belongs to another user \(4711\), who so chooses the command/]);
    chownSync(file, 0, 0);
    chownSync(dir, OTHER, OTHER);
    t.match(real(dir), [/its folder .* belongs to another user \(4711\)/]);
    t.match(real(dir, 'gcg.ini'), [/its folder .* belongs to another user \(4711\)/]);
    chownSync(dir, 0, 0);
    t.strictSame(real(dir), []);
    rmSync(file);
    writeFileSync(join(dir, 'target'), PLAIN);
    symlinkSync('target', file);
    lchownSync(file, OTHER, OTHER);
    t.strictSame(real(dir), FOUND_REFUSED, 'a link of another user to a file of ours');
  },
);
