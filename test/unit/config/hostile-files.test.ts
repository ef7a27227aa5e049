// Files that are no configuration: a clear error each, no crash, bounded work.

import { mkdirSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { ClosedFolderError, LARGEST_FILE_BYTES, readConfigFile } from '../../../src/config/file.ts';
import { load, problems } from './load-text.ts';

/** Loads a real file with these bytes from a folder. */
function loadBytes(dir: string, bytes: string | Uint8Array) {
  writeFileSync(`${dir}/gcg.ini`, bytes);
  return problems(load({ cwd: dir, readFile: readConfigFile }));
}

t.test('an empty file, blanks, comments and a lone byte order mark say nothing', async (t) => {
  for (const text of ['', ' \n\n', '# a\n; b', '\uFEFF', '{}', '\uFEFF {}'])
    t.strictSame(loadBytes(t.testdir({}), text), [], JSON.stringify(text));
});

t.test('what is too large, binary, UTF-16 or not UTF-8 is named as such', async (t) => {
  t.match(loadBytes(t.testdir({}), `#${'x'.repeat(LARGEST_FILE_BYTES)}`), [/^gcg\.ini: is larger than 1 MiB/]);
  t.strictSame(loadBytes(t.testdir({}), `#${'x'.repeat(LARGEST_FILE_BYTES - 1)}`), []);
  t.match(loadBytes(t.testdir({}), Buffer.from([0x5b, 0x61, 0x5d, 0])), [/binary/]);
  t.match(loadBytes(t.testdir({}), Buffer.from('\uFEFF[a]', 'utf16le')), [/UTF-16/]);
  t.match(loadBytes(t.testdir({}), Buffer.from([0x5b, 0xff, 0x5d])), [/not UTF-8/]);
  t.match(loadBytes(t.testdir({}), '[1, 2]'), [/no section/]);
});

t.test('a file that was asked for and cannot be had is refused with what to do', async (t) => {
  const dir = t.testdir({ folder: {}, file: '', loop: t.fixture('symlink', 'loop') });
  const asked = (configPath: string) =>
    problems(load({ cwd: dir, readFile: readConfigFile, overrides: { configPath } }));
  t.strictSame(asked('none.ini'), [
    'flag --config: none.ini does not exist; fix the path, or let "gcg init" write one',
  ]);
  t.match(asked('file/below'), [/does not exist/]);
  t.strictSame(asked('folder'), ['flag --config: folder is a folder; name the file in it']);
  t.strictSame(asked('loop'), ['flag --config: loop is a link that leads to itself; fix the link']);
  t.match(asked(`${'x'.repeat(300)}`), [/cannot be read \(ENAMETOOLONG\)/]);
  const closed = load({
    readFile() {
      throw new ClosedFolderError('/closed/a.ini');
    },
    overrides: { configPath: '/closed/a.ini' },
  });
  t.strictSame(problems(closed), [
    'flag --config: /closed/a.ini may not be read by this user; change its owner or its permissions',
  ]);
});

t.test('a folder in place of the file, and a file in place of a folder', async (t) => {
  const dir = t.testdir({});
  mkdirSync(`${dir}/gcg.ini`);
  t.strictSame(problems(load({ cwd: dir, readFile: readConfigFile })), ['gcg.ini: is a folder; name the file in it']);
  writeFileSync(`${dir}/file`, '');
  t.strictSame(
    problems(load({ cwd: `${dir}/file`, home: undefined, readFile: readConfigFile })),
    [],
    'a place that cannot be is passed over',
  );
});

t.test('ten thousand keys, sections or clients are read in reasonable time', async (t) => {
  const count = 10_000;
  const keys = Array.from({ length: count }, (_, i) => `key${i} = ${i}`).join('\n');
  t.equal(problems(load({ file: `[server]\n${keys}` })).length, count);
  const sections = Array.from({ length: count }, (_, i) => `[client.c${i}]\nsecret = s${i}-of-this-hostile-file`).join(
    '\n',
  );
  t.strictSame(problems(load({ file: sections })), []);
  const json = JSON.stringify(
    {
      client: Object.fromEntries(
        Array.from({ length: count }, (_, i) => [`c${i}`, { secret: `s${i}-of-this-hostile-file` }]),
      ),
    },
    null,
    1,
  );
  t.strictSame(problems(load({ file: json })), []);
});

t.test('one line of a million characters is no trouble', async (t) => {
  const long = 'x'.repeat(1_000_000);
  t.match(problems(load({ file: `[server]\nlisten = ${long}` })), [
    /^gcg\.ini:2: server\.listen: "x{60}…" is not an address/,
  ]);
  t.ok((problems(load({ file: `[${long}]\n${long} = 1` }))[0] ?? '').length < 300);
  t.ok((problems(load({ file: `[server]\nlisten = "${'\\'.repeat(1_000_000)}` }))[0] ?? '').length < 300);
});

t.test('names that mean something to JavaScript are unknown like any other', async (t) => {
  t.match(
    problems(
      load({
        file:
          '[__proto__]\na = 1\n[constructor]\nb = 1\n[server]\nconstructor = 1\n__proto__ = 2\ntoString = ' +
          '3\n[client.__proto__]\nsecret = x',
      }),
    ),
    [
      /no section "\[__proto__\]"/,
      /no section "\[constructor\]"/,
      /no key "server\.constructor"/,
      /no key "server\.__proto__"/,
      /no key "server\.toString"/,
      /"__proto__" is not a name/,
    ],
  );
  t.match(problems(load({ file: '{"__proto__": {"admin": true}, "server": {"__proto__": {"x": 1}}}' })), [
    /no section/,
    /no section/,
  ]);
  t.equal(({} as Record<string, unknown>).admin, undefined);
});

t.test('control characters in keys and values do not reach the terminal', async (t) => {
  const found = problems(
    load({ file: '[server]\n\u001b[31mkey = 1\nlisten = \u001b]0;x\n[a\u001b[2J]\nx = 1\n' }),
  ).join('\n');
  t.notMatch(found, '\u001b');
  t.equal(found.split('\n').length, 3);
});
