import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { audit } from '../../src/cli/commands/audit.ts';
import { createCommandFolder } from '../helpers/commands.ts';
import { makeLines } from '../unit/audit/trail-lines.ts';

t.test('a whole trail: exit 0, and where it begins and ends', async (t) => {
  const { dir, run } = createCommandFolder(t, null);
  const lines = makeLines(3);
  writeFileSync(join(dir, 'audit.jsonl'), lines.slice(2).join(''));
  writeFileSync(join(dir, 'audit.jsonl.1'), lines.slice(0, 2).join(''));
  writeFileSync(join(dir, 'audit.jsonl.lock'), '{}');
  const expanded = ['audit.jsonl', 'audit.jsonl.1', 'audit.jsonl.lock'];
  for (const files of [['audit.jsonl*'], expanded, ['audit.jsonl', './audit.jsonl.1', 'audit.jsonl']]) {
    const { code, out, err } = await run(audit, ['audit', 'verify', ...files]);
    t.equal(code, 0);
    t.equal(err, '');
    t.match(out, /^3 calls in 2 files, lines 1 to 5, from 2026-11-28T10:00:00.000Z to .*, head [0-9a-f]{64}\nwhole\n$/);
  }
});

t.test('a broken trail: exit 1, and what is wrong where', async (t) => {
  const { dir, run } = createCommandFolder(t, null);
  const lines = makeLines(3);
  writeFileSync(join(dir, 'a'), lines.toSpliced(2, 1).join(''));
  const { code, out } = await run(audit, ['audit', 'verify', 'a']);
  t.equal(code, 1);
  t.match(out, /^\/.*\/a:3: line 3 of the chain is missing before it\n.*\nNOT WHOLE\n$/);
  const json = JSON.parse((await run(audit, ['audit', 'verify', '--json', 'a'])).out);
  t.match(json, {
    isWhole: false,
    problems: [{ line: 3 }],
    chains: [{ calls: 2, first: { seq: 1 }, last: { seq: 5 } }],
  });
});

t.test('a head that is expected', async (t) => {
  const { dir, run } = createCommandFolder(t, null);
  const lines = makeLines(3);
  writeFileSync(join(dir, 'a'), lines.join(''));
  const head = JSON.parse(lines[3] as string).previous;
  t.equal((await run(audit, ['audit', 'verify', 'a', '--expect', head])).code, 0);
  writeFileSync(join(dir, 'a'), lines.slice(0, 2).join(''));
  const { code, out } = await run(audit, ['audit', 'verify', 'a', '--expect', head]);
  t.equal(code, 1);
  t.match(out, /lines were cut off/);
});

t.test('mistakes on the command line', async (t) => {
  const { run } = createCommandFolder(t, null);
  t.match(await run(audit, ['audit', 'check', 'a']), { code: 2, err: /gcg audit verify FILE/ });
  t.match(await run(audit, ['audit', 'verify', 'a', '--expect', 'abc']), { code: 2, err: /64 digits/ });
  t.match(await run(audit, ['audit', 'verify', 'missing']), { code: 1, err: /missing cannot be read \(ENOENT\)/ });
  t.match(await run(audit, ['audit', 'verify', '.']), { code: 1, err: /cannot be read \(EISDIR\)/ });
  t.match(await run(audit, ['audit', 'verify', '/dev/null', '.']), { err: /^gcg: \/[^ ]* cannot be read \(EISDIR\)/ });
});

t.test('octets of a file cannot turn the text of a terminal', async (t) => {
  const { dir, run } = createCommandFolder(t, null);
  writeFileSync(join(dir, 'a\u001b[31m\n'), 'x\n');
  const { out } = await run(audit, ['audit', 'verify', 'a*']);
  t.notMatch(out, /\u001b/);
});
