// A script whose compiled code is kept: when it is made, what is taken, and what is not.

import { execFileSync } from 'node:child_process';
import { channel } from 'node:diagnostics_channel';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { crc32 } from 'node:zlib';
import t, { type Test } from 'tap';
import { KeptScript } from '../../src/cli/kept-script.ts';

const answered = (url: string, statusCode = 200) =>
  channel('http.server.response.finish').publish({ request: { url }, response: { statusCode } });
const TEXT = "exports.say = function say(word) { return 'one ' + word; };\n";

function stackOf(fail: () => void): string {
  try {
    fail();
  } catch (error) {
    return String((error as Error).stack);
  }
  return '';
}

interface Said {
  say(word: string): string;
}

/** A script in one folder, and what is kept of it in another. */
function place(t: Test) {
  const base = t.testdir({ 'a script.cjs': TEXT, kept: {} });
  const [file, folder] = [join(base, 'a script.cjs'), join(base, 'kept')];
  const list = () => readdirSync(folder).map((name) => join(folder, name));
  // A file's number may be that of one that was removed, and its time that of the same tick.
  const state = () =>
    list().map((path) => {
      const { ino, mtimeNs } = statSync(path, { bigint: true });
      return [path, ino, mtimeNs, statSync(path).isFile() ? crc32(readFileSync(path)) : ''].join(' ');
    });
  return {
    ...{ file, folder, list },
    /** One start: whether code was made in it, and what the script says. */
    start(answeredFor: string | null = '/api/v2/users', ageMs = 0, status = 200, command = 'serve') {
      const before = state();
      const script = new KeptScript<Said>(pathToFileURL(file), folder, command, () => ageMs);
      const said = script.exports.say('word');
      if (answeredFor !== null) answered(answeredFor, status);
      script.close();
      return { said, isMade: state().join() !== before.join() };
    },
  };
}

t.test('it is made when a call to the platform was answered within a minute, and once', async (t) => {
  const rows: readonly (readonly [answered: string | null, ageMs: number, status: number, isMade: boolean])[] = [
    [null, 0, 200, false],
    ['/livez', 0, 200, false],
    ['/api/v2/users', 60_001, 200, false],
    ['/api/v2/users', 0, 401, false],
    ['/me/api/v2/users/me', 59_999, 302, true],
    ['/api/v2/users', 0, 200, false],
  ];
  const { start, list } = place(t);
  for (const [url, ageMs, status, isMade] of rows)
    t.same(start(url, ageMs, status), { said: 'one word', isMade }, `${url} after ${ageMs} ms: ${status}`);
  t.equal(list().length, 1);
  t.equal(statSync(list()[0] ?? '').mode & 0o777, 0o600);
});

t.test('a module knows itself, and a stack names it by its URL', async (t) => {
  const { file, folder } = place(t);
  writeFileSync(
    file,
    `"use strict";const at=1;\nexports.facts = [__filename, __dirname, typeof require('node:fs').read,
    module.exports === exports, this === undefined];\nexports.fail = () => { throw new Error('planted'); };\n`,
  );
  for (let start = 0; start < 2; start += 1) {
    const script = new KeptScript<{ facts: unknown[]; fail(): void }>(pathToFileURL(file), folder, 'serve');
    t.same(script.exports.facts, [file, join(file, '..'), 'function', true, true]);
    t.match(stackOf(script.exports.fail), `(${pathToFileURL(file).href}:4:30)`);
    answered('/api/v2/');
    script.close();
  }
});

t.test('what is damaged, or of another program, is not taken and made anew', async (t) => {
  const { file, folder, list } = place(t);
  startElsewhere(file, folder);
  const [path = ''] = list();
  const whole = readFileSync(path);
  const checked = (code: Buffer) => {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(crc32(code));
    return Buffer.concat([head, code]);
  };
  const flipped = Buffer.from(whole);
  flipped[whole.length >> 1] = ~(whole[whole.length >> 1] ?? 0) & 255;
  const bad: Readonly<Record<string, Buffer>> = {
    'nothing in it': Buffer.alloc(0),
    'less than a checksum': whole.subarray(0, 3),
    'a checksum alone': whole.subarray(0, 8),
    'no code, rightly summed': checked(Buffer.alloc(0)),
    'half of it': whole.subarray(0, whole.length >> 1),
    'more than it': Buffer.concat([whole, Buffer.from('x')]),
    'one octet flipped': flipped,
    'something else, rightly summed': checked(Buffer.from('something else '.repeat(99))),
    'half of it, rightly summed': checked(whole.subarray(8, whole.length >> 1)),
    'code of another V8, rightly summed': checked(Buffer.concat([Buffer.alloc(16, 7), whole.subarray(24)])),
  };
  // V8 has the code of a text that it has compiled before in the same process, whatever it is given: each has its own.
  for (const [what, kept] of Object.entries(bad)) {
    writeFileSync(path, kept);
    const mended = startElsewhere(file, folder);
    t.equal(mended, 'one word', what);
    const made = readFileSync(path);
    t.notOk(made.equals(kept), `${what}: made anew`);
    utimesSync(path, 1, 1);
    t.equal(startElsewhere(file, folder), 'one word');
    t.equal(statSync(path).mtimeMs, 1_000, `after ${what}: taken`);
  }
});

/** A start in a process of its own: what the script says. */
function startElsewhere(file: string, folder: string): string {
  const program = `import { execFileSync } from 'node:child_process';
import { channel } from 'node:diagnostics_channel';
    import { KeptScript } from ${JSON.stringify(new URL('../../src/cli/kept-script.ts', import.meta.url).href)};
    const script = new KeptScript(new URL(${JSON.stringify(pathToFileURL(file).href)}), ${JSON.stringify(folder)}, '');
    process.stdout.write(script.exports.say('word'));
    channel('http.server.response.finish').publish({ request: { url: '/api/v2/users' }, response: {} });
    script.close();`;
  return execFileSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' });
}

t.test(
  'a text of the same length has code of its own, and so has another command, setting of Node, or coverage',
  async (t) => {
    const { start, file, list } = place(t);
    start();
    writeFileSync(file, TEXT.replace('one', 'two'));
    t.same(start(), { said: 'two word', isMade: true });
    t.same(start(), { said: 'two word', isMade: false });
    t.same(start('/api/v2/users', 0, 200, 'demo'), { said: 'two word', isMade: true });
    for (const [name, value] of Object.entries({ NODE_OPTIONS: '--no-maglev', NODE_V8_COVERAGE: 'a folder' })) {
      const before = process.env[name];
      process.env[name] = before === undefined || before === '' ? value : '';
      t.same(start(), { said: 'two word', isMade: true }, name);
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    }
    t.equal(list().length, 5);
  },
);

t.test('the newest are kept, what others have in the folder stays, and what was not finished goes', async (t) => {
  const { start, file, folder, list } = place(t);
  writeFileSync(join(folder, `theirs-1.code`), '');
  writeFileSync(join(folder, `a script.cjs-0-0-0.code.123`), 'cut off');
  for (let version = 1; version <= 8; version += 1) {
    const before = new Set(list());
    for (const path of before) if (statSync(path).mtimeMs > version * 1_000) utimesSync(path, version, version);
    writeFileSync(file, `${TEXT}// ${'x'.repeat(version)}`);
    t.ok(start().isMade);
  }
  const names = list().map((path) => path.slice(folder.length + 1));
  t.equal(names.filter((name) => name.startsWith('a script.cjs-')).length, 6);
  t.ok(names.includes('theirs-1.code'));
  t.notOk(names.some((name) => name.endsWith('.123')));
  t.notOk(start().isMade, 'the newest is one of them');
  // The clock was set back since the others were made.
  const later = Date.now() / 1_000 + 1_000;
  for (const path of list()) utimesSync(path, later, later);
  writeFileSync(file, `${TEXT}// of now`);
  t.ok(start().isMade);
  t.notOk(start().isMade, 'it is kept whatever the clock says');
});

t.test('where nothing can be written, it runs as well, and leaves nothing', async (t) => {
  const { start, list, folder, file } = place(t);
  start();
  const [path = ''] = list();
  writeFileSync(`${path}.${process.pid}`, 'of a process of the same number that was killed');
  writeFileSync(path, '');
  t.same(start(), { said: 'one word', isMade: true }, 'which is removed');
  const gone = new KeptScript<Said>(pathToFileURL(file), join(folder, 'none'), 'serve');
  answered('/api/v2/users');
  gone.close();
  t.equal(gone.exports.say('x'), 'one x');
  rmSync(path);
  mkdirSync(path);
  t.equal(start().said, 'one word');
  t.same(list(), [path], 'what could not be finished is gone when the process may end');
  rmdirSync(path);
  mkdirSync(`${path}.${process.pid}`);
  writeFileSync(path, '');
  t.same(start(), { said: 'one word', isMade: false });
});
