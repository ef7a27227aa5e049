import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { AuditChain } from '../../../src/audit/audit-chain.ts';
import { verifyTrail } from '../../../src/audit/verify-trail.ts';
import { makeLines, verifyFiles } from './trail-lines.ts';

const hashOf = (line: string) => createHash('sha256').update(line.slice(0, -1)).digest('hex');

t.test('a whole chain verifies', async (t) => {
  const lines = makeLines(5);
  const { chains, problems, notes } = await verifyFiles(t.testdir(), { a: lines.join('') });
  t.same(problems, []);
  t.same(notes, []);
  t.equal(chains.length, 1);
  t.equal(chains[0]?.calls, 5);
  t.equal(chains[0]?.last.hash, hashOf(lines.at(-1) as string));
});

t.test('each line names the SHA-256 of the octets before its newline', async (t) => {
  const lines = makeLines(3);
  for (const [at, line] of lines.entries()) {
    const before = lines[at - 1];
    t.equal(JSON.parse(line).previous, before === undefined ? '0'.repeat(64) : hashOf(before));
    t.equal(JSON.parse(line).seq, at + 1);
  }
});

t.test('any changed octet is found, and its line named', async (t) => {
  const lines = makeLines(4);
  const whole = Buffer.from(lines.join(''));
  const dir = t.testdir();
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const octets = Buffer.from(whole);
      octets[at] = (octets[at] as number) ^ change;
      const line = whole.subarray(0, at).toString().split('\n').length;
      const { problems } = await verifyFiles(dir, { a: octets });
      return problems[0]?.startsWith(`a:${line}: `) ?? false;
    }),
    { numRuns: 300 },
  );
});

t.test('any octets added or taken away are found, and their line named', async (t) => {
  const whole = Buffer.from(makeLines(4).join(''));
  const dir = t.testdir();
  await fc.assert(
    fc.asyncProperty(
      fc.nat(whole.length - 2),
      fc.nat(80),
      fc.uint8Array({ maxLength: 20 }),
      async (at, length, added) => {
        const taken = whole.subarray(at, at + length);
        if (Buffer.from(added).equals(taken)) return true;
        const octets = Buffer.concat([whole.subarray(0, at), added, whole.subarray(at + length)]);
        // What was cut off between two lines, at the end, cannot be seen without a head.
        if (whole.subarray(0, octets.length).equals(octets) && octets.at(-1) === 0x0a) return true;
        const line = whole.subarray(0, at).toString().split('\n').length;
        const { problems } = await verifyFiles(dir, { a: octets });
        const named = Number(/^a:(\d+):/.exec(problems[0] ?? '')?.[1]);
        // A line that was taken away is missed by the next one that is there.
        return named >= line && named <= line + added.filter((octet) => octet === 0x0a).length + 1;
      },
    ),
    { numRuns: 500 },
  );
});

t.test('a dropped, doubled, swapped or added line is found, and its place named', async (t) => {
  const lines = makeLines(8);
  const dir = t.testdir();
  const first = async (changed: string[]) => (await verifyFiles(dir, { a: changed.join('') })).problems[0] ?? '';
  for (let at = 0; at < lines.length - 1; at++) {
    const dropped = await first(lines.toSpliced(at, 1));
    t.match(dropped, at === 0 ? /^a:1: goes on from line 1 of a chain/ : `a:${at + 1}: line ${at + 1} of the chain is`);
  }
  for (const [at, line] of lines.entries()) {
    t.equal(await first(lines.toSpliced(at, 0, line)), `a:${at + 2}: doubled: it repeats line ${at + 1}`);
    const foreign = '{"time":"2026-11-28T10:00:00.000Z","kind":"call","status":200}\n';
    t.match(await first(lines.toSpliced(at + 1, 0, foreign)), new RegExp(`^a:${at + 2}: .*added`));
  }
  for (let at = 1; at < lines.length - 1; at++) {
    const swapped = lines.toSpliced(at, 2, lines[at + 1] as string, lines[at] as string);
    t.equal(await first(swapped), `a:${at + 1}: line ${at + 1} of the chain is missing before it`);
  }
});

t.test('a line that was made anew with a fitting checksum is found by the line after it', async (t) => {
  const lines = makeLines(4);
  for (let at = 1; at < lines.length - 1; at++) {
    const { seq, previous } = JSON.parse(lines[at] as string);
    const forged = new AuditChain(() => '2026-11-28T10:00:00.000Z', { seq: seq - 1, hash: previous });
    const { problems } = await verifyFiles(t.testdir(), {
      a: lines.with(at, forged.next('call', '"path":"/x"')).join(''),
    });
    t.match(problems[0], new RegExp(`^a:${at + 1}: changed or added`));
  }
});

t.test('what was cut off the end is found where a head is expected', async (t) => {
  const lines = makeLines(4);
  const dir = t.testdir();
  const heads = lines.map(hashOf);
  const { problems: unseen, notes } = await verifyFiles(dir, { a: lines.slice(0, 3).join('') });
  t.same(unseen, [], 'a chain alone cannot show it');
  t.same(notes, ['a:3: the chain is not closed: the gateway runs, or was killed']);
  const { problems } = await verifyFiles(dir, { a: lines.slice(0, 3).join('') }, { expect: [heads[4] as string] });
  t.match(problems, [/^a:3: the head [0-9a-f]{64} is in none of these lines: lines were cut off$/]);
  t.same((await verifyFiles(dir, { a: lines.join('') }, { expect: [heads[1] as string] })).problems, []);
});

t.test('a line that is cut at the end is named', async (t) => {
  const whole = makeLines(2).join('');
  t.match((await verifyFiles(t.testdir(), { a: whole.slice(0, -20) })).problems, [/^a:4: cut: the gateway was killed/]);
  t.match((await verifyFiles(t.testdir(), { a: whole.slice(0, -1) })).problems, [/^a:4: cut: its newline/]);
  t.match((await verifyFiles(t.testdir(), { a: '' })).problems, [/^a:0: empty/]);
});

t.test('files of a rotation verify in any order, compressed or not', async (t) => {
  const lines = makeLines(9);
  const parts = { c: lines.slice(0, 4).join(''), a: gzipSync(lines.slice(4, 8).join('')), b: lines.slice(8).join('') };
  const { problems, chains } = await verifyFiles(t.testdir(), parts);
  t.same(problems, []);
  t.equal(chains[0]?.calls, 9);
  t.equal(chains[0]?.files.length, 3);
});

t.test('a missing, doubled or shortened file of a rotation is found', async (t) => {
  const lines = makeLines(9);
  const dir = t.testdir();
  const [a, b, c] = [lines.slice(0, 4).join(''), lines.slice(4, 8).join(''), lines.slice(8).join('')];
  t.match((await verifyFiles(dir, { a, c })).problems, ['c:1: lines 5 to 8 of the chain are missing before it']);
  t.match((await verifyFiles(dir, { b, c })).problems, [/^b:1: goes on from line 4 of a chain, which is in none/]);
  t.match((await verifyFiles(dir, { a, b, d: b, c })).problems, [/^[bd]:1: out of place/]);
  t.match((await verifyFiles(dir, { a, d: a, b, c })).problems, [/doubled: it begins as/]);
  const shorter = lines.slice(4, 7).join('');
  t.match((await verifyFiles(dir, { a, b: shorter, c })).problems, [/^c:1: line 8 of the chain is missing before it/]);
  const from = hashOf(lines[3] as string);
  t.same((await verifyFiles(dir, { b, c }, { from })).problems, [], 'put away, and said so');
  t.not((await verifyFiles(dir, { b, c }, { from: hashOf(lines[2] as string) })).problems.length, 0);
});

t.test('two chains of one path are told apart', async (t) => {
  const { chains, problems } = await verifyFiles(t.testdir(), {
    a: makeLines(3, 'one').join(''),
    b: makeLines(4, 'two').join(''),
  });
  t.same(problems, []);
  t.strictSame(chains.map(({ calls }) => calls).sort(), [3, 4]);
});

t.test('a file that is none is refused in words', async (t) => {
  const { problems } = await verifyFiles(t.testdir(), { a: 'hello\nworld\n' });
  t.match(problems, [/^a:1: changed, cut or added: it is not a line as it was written/, /^a:2: /]);
  const endless = await verifyFiles(t.testdir(), { a: Buffer.alloc(3 * 1024 * 1024, 'x') });
  t.ok(endless.problems.length > 0 && endless.problems.length <= 10);
});

t.test('a line that is longer than any of ours is one line, whatever it holds', async (t) => {
  const lines = makeLines(3);
  const long = `${lines[1]?.slice(0, -1)}${'x'.repeat(600_000)}\n`;
  for (const added of [long, `{"a":"${'x'.repeat(600_000)}"}\n`]) {
    const { problems } = await verifyFiles(t.testdir(), { a: lines.toSpliced(2, 0, added).join('') });
    t.same(problems, ['a:3: added: the chain goes on without it']);
  }
  const { problems } = await verifyFiles(t.testdir(), { a: lines.join('') + long.slice(0, -1) });
  t.same(problems, ['a:6: changed, cut or added: it is not a line as it was written']);
});

t.test('memory does not grow with lines that are none of ours', async (t) => {
  const file = join(t.testdir(), 'bomb');
  writeFileSync(file, gzipSync(Buffer.alloc(8_000_000, '\n')));
  const before = process.memoryUsage().heapUsed;
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().heapUsed - before);
  }, 1);
  const { problems } = await verifyTrail([file]);
  clearInterval(timer);
  t.equal(problems.length, 10);
  t.ok(most < 64 * 1024 * 1024, `${most} bytes`);
});

t.test('what cannot be decompressed is told where it begins, and other files are verified all the same', async (t) => {
  const lines = makeLines(2_000);
  const whole = gzipSync(lines.slice(0, 1_000).join(''));
  const cases = { cut: whole.subarray(0, -40), changed: Buffer.concat([whole, Buffer.from('junk')]) };
  for (const [name, b] of Object.entries(cases)) {
    const { problems, chains } = await verifyFiles(t.testdir(), { a: lines.slice(1_000).join(''), b });
    t.match(problems[0], /^b:\d+: damaged: it cannot be decompressed from here on \(Z_/, name);
    t.equal(chains.length, 1, name);
  }
});

t.test('a pipe is read as a file, also where it carries what is compressed', async (t) => {
  const dir = t.testdir({ plain: makeLines(1_000).join(''), packed: gzipSync(makeLines(1_000).join('')) });
  execFileSync('mkfifo', [join(dir, 'pipe')]);
  for (const name of ['plain', 'packed']) {
    spawn('sh', ['-c', `cat ${name} > pipe`], { cwd: dir, stdio: 'ignore' });
    const { problems, chains } = await verifyTrail([join(dir, 'pipe')]);
    t.same(problems, [], name);
    t.equal(chains[0]?.calls, 1_000, name);
  }
});

t.test('a chain that was begun anew does not go on from the line that is said', async (t) => {
  const from = hashOf(makeLines(3, 'old')[3] as string);
  const { problems } = await verifyFiles(t.testdir(), { a: makeLines(5, 'new').join('') }, { from });
  t.match(problems, [/^a:0: no file goes on from the line with the hash [0-9a-f]{64}: one is missing, or the chain/]);
});
