import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../../src/clock.ts';
import { call, createDisk, openTrail, problemsOf, readLines, until } from './trail-fixtures.ts';

t.test('calls are lines in their order, between a first and a last line', async (t) => {
  const { trail, file, lines } = await openTrail(t);
  for (let at = 0; at < 50; at++) trail.append(call(at));
  await trail.close();
  t.same(await problemsOf(file), []);
  const kinds = lines().map(({ kind }) => kind);
  t.strictSame([kinds[0], kinds.at(-1), kinds.length], ['chain', 'closed', 52]);
  t.match(lines()[1], {
    ...{ client: 'crm', credential: 'default', operation: null, method: 'POST', path: '/api/v2/users/0', status: 200 },
    ...{ requestId: 'r0', correlationId: 'c0', peer: '::1', seq: 2, time: '2026-01-01T00:00:00.000Z' },
  });
  t.equal(statSync(file).mode & 0o777, 0o600);
});

t.test('odd characters make no second line', async (t) => {
  const { trail, file, lines } = await openTrail(t);
  trail.append({ ...call(1), path: '/api/v2/\n"}\u2028\ud800é', client: '"\\' });
  await trail.close();
  t.same(await problemsOf(file), []);
  t.match(lines()[1], { path: '/api/v2/\n"}\u2028\ud800é', client: '"\\' });
});

t.test('a second process goes on with the chain', async (t) => {
  const { trail, file, dir } = await openTrail(t);
  trail.append(call(1));
  await trail.close();
  const next = await openTrail(t, { dir });
  next.trail.append(call(2));
  await next.trail.close();
  t.same(await problemsOf(file), []);
  t.strictSame(
    readLines(file).map(({ kind }) => kind),
    ['chain', 'call', 'closed', 'opened', 'call', 'closed'],
  );
});

t.test('a file is written by one gateway at a time', async (t) => {
  const { trail, file, dir } = await openTrail(t);
  await t.rejects(openTrail(t, { dir, clock: systemClock }), {
    name: 'AuditError',
    message: /is written by another gateway/,
  });
  await trail.close();
  t.notOk(existsSync(`${file}.lock`), 'let go of');
  await (await openTrail(t, { dir })).trail.close();
});

t.test('what a crash cut off is kept, and noted by the next process', async (t) => {
  const { trail, file, dir } = await openTrail(t);
  for (let at = 0; at < 3; at++) trail.append(call(at));
  await trail.close();
  const whole = readFileSync(file);
  for (const length of [whole.length - 1, whole.length - 30, whole.length - 120, 40, 5, 1]) {
    writeFileSync(file, whole.subarray(0, length));
    const before = readFileSync(file);
    const next = await openTrail(t, { dir });
    next.trail.append(call(9));
    await next.trail.close();
    t.same(await problemsOf(file), [], `cut to ${length}`);
    t.same(readFileSync(file).subarray(0, length), before, 'nothing is deleted');
    if (length < whole.length - 1) t.match(next.records, [{ level: 'warn', msg: /ended with a cut line/ }]);
  }
});

t.test('a crash in the middle of noting a crash is noted, too', async (t) => {
  const { trail, file, dir } = await openTrail(t);
  for (let at = 0; at < 3; at++) trail.append(call(at));
  await trail.close();
  appendFileSync(file, '{"time":"2026-01-');
  for (let crash = 0; crash < 4; crash++) {
    const before = statSync(file).size;
    await (await openTrail(t, { dir })).trail.close();
    t.same(await problemsOf(file), []);
    // The newline, and a part of the note.
    writeFileSync(file, readFileSync(file).subarray(0, before + 1 + crash * 20));
  }
  await (await openTrail(t, { dir })).trail.close();
  t.same(await problemsOf(file), []);
});

t.test('a file that is no trail, or whose end was changed, is refused and left as it is', async (t) => {
  const { trail, file, dir } = await openTrail(t);
  trail.append(call(1));
  await trail.close();
  const whole = readFileSync(file, 'utf8');
  const foreign = ['hello\n', 'hello', '\n', `${whole}\n`, `${whole}{"status":200}\n`, `${whole}{"status":200}`];
  for (const content of [...foreign, whole.replace(/"kind":"closed"/, '"kind":"CLOSED"')]) {
    writeFileSync(file, content);
    await t.rejects(
      openTrail(t, { dir }),
      { name: 'AuditError', message: /audit trail|does not end/ },
      content.slice(-40),
    );
    t.equal(readFileSync(file, 'utf8'), content);
    t.notOk(existsSync(`${file}.lock`), 'the lock is let go of');
  }
});

t.test('a path that cannot be written is refused in words', async (t) => {
  const dir = t.testdir({ folder: {} });
  await t.rejects(openTrail(t, { dir, file: join(dir, 'folder') }), { name: 'AuditError', message: /is a folder/ });
  await t.rejects(openTrail(t, { dir, file: '/dev/null' }), {
    name: 'AuditError',
    message: /is a pipe or a device: name a plain file/,
  });
  await t.rejects(openTrail(t, { dir, file: '/proc/nothing/audit' }), {
    name: 'AuditError',
    message: /cannot be written/,
  });
});

t.test('after a rotation the chain goes on in the new file', async (t) => {
  const { trail, file, lines } = await openTrail(t);
  trail.append(call(1));
  trail.reopen();
  t.equal(trail.head.seq, 2, 'the same file: nothing happens');
  renameSync(file, `${file}.1`);
  trail.append(call(2));
  trail.reopen();
  trail.append(call(3));
  renameSync(file, `${file}.2`);
  trail.reopen();
  await trail.close();
  t.same(await problemsOf(file, `${file}.2`, `${file}.1`), []);
  t.strictSame(
    readLines(`${file}.1`).map(({ kind }) => kind),
    ['chain', 'call', 'call'],
  );
  t.strictSame(
    readLines(`${file}.2`).map(({ kind }) => kind),
    ['continued', 'call'],
  );
  t.strictSame(
    lines().map(({ kind }) => kind),
    ['continued', 'closed'],
  );
  t.match(await problemsOf(`${file}.1`, file), [/^1: lines 4 to 5 of the chain are missing/]);
});

t.test('a rotation to a file that cannot be had keeps the old one', async (t) => {
  const { trail, file, records } = await openTrail(t);
  trail.append(call(1));
  renameSync(file, `${file}.1`);
  for (const put of [() => mkdirSync(file), () => writeFileSync(file, 'something else\n')]) {
    put();
    trail.reopen();
    t.match(records.at(-1), { level: 'error', msg: /the old one stays in use/, reason: /is a folder|is not empty/ });
    rmSync(file, { recursive: true });
  }
  trail.append(call(2));
  await trail.close();
  t.same(await problemsOf(`${file}.1`), []);
});

t.test('a file that is moved without a signal is noticed within a minute', async (t) => {
  const { trail, file, clock, records } = await openTrail(t);
  renameSync(file, `${file}.1`);
  await clock.advance(60_000);
  t.match(records.at(-1), { level: 'warn', msg: /moved or removed without a signal/ });
  await trail.close();
  t.same(await problemsOf(`${file}.1`, file), []);
});

t.test('while a file that was removed cannot be followed by another, the trail cannot be written', async (t) => {
  const { trail, file, clock } = await openTrail(t);
  trail.append(call(1));
  await until(() => readLines(file).length === 2);
  // As an editor does that saves a copy under the same name.
  writeFileSync(`${file}.copy`, readFileSync(file));
  renameSync(`${file}.copy`, file);
  t.equal(trail.failure, null);
  await clock.advance(60_000);
  t.equal(trail.failure, 'EEXIST');
  renameSync(file, `${file}.1`);
  await clock.advance(60_000);
  t.equal(trail.failure, null);
  trail.append(call(2));
  await trail.close();
  t.same(await problemsOf(`${file}.1`, file), []);
});

t.test('the head is told to the log each minute in which it moved', async (t) => {
  const { trail, clock, records } = await openTrail(t);
  const heads = () => records.filter(({ msg }) => msg === 'audit head');
  trail.append(call(1));
  await clock.advance(60_000);
  t.match(heads(), [{ ...trail.head }]);
  await clock.advance(300_000);
  t.equal(heads().length, 1);
  await trail.close();
  t.match(heads()[1], { ...trail.head }, 'and at the end');
});

t.test('with sync a call waits for the disk, and one sync serves many', async (t) => {
  const { io, disk } = createDisk();
  const { trail } = await openTrail(t, { io, sync: true });
  await until(() => disk.syncs === 1);
  disk.isHeld = true;
  const first = trail.append(call(0)) as Promise<boolean>;
  await until(() => disk.writes === 2);
  const waiting = Array.from({ length: 100 }, (_, at) => trail.append(call(at + 1)));
  let isFirstThere = false;
  void first.then(() => (isFirstThere = true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.notOk(isFirstThere);
  disk.release();
  t.strictSame(await Promise.all([first, ...waiting]), Array(101).fill(true));
  t.equal(disk.syncs, 3, 'the first line, the first call, and a hundred together');
});

t.test('a full disk: lines wait, the trail says so, and nothing is lost', async (t) => {
  const { io, disk } = createDisk();
  const { trail, file, clock, records, lines } = await openTrail(t, { io, sync: true });
  t.ok(await trail.append(call(0)));
  Object.assign(disk, { writeFailure: 'ENOSPC', room: 100 });
  t.notOk(await trail.append(call(1)), 'whoever waits is told');
  t.equal(trail.failure, 'ENOSPC');
  t.match(records.at(-1), { level: 'error', msg: /cannot be written/, code: 'ENOSPC' });
  t.notOk(await trail.append(call(2)));
  await clock.advance(5_000);
  t.match(await problemsOf(file), [/cut/], 'a part of the line is on the disk');
  disk.writeFailure = null;
  await clock.advance(1_000);
  await until(() => trail.failure === null);
  await trail.close();
  t.same(await problemsOf(file), []);
  t.strictSame(
    lines().map(({ kind }) => kind),
    ['chain', 'call', 'call', 'call', 'fault', 'closed'],
  );
  t.strictSame(
    lines()
      .filter(({ kind }) => kind === 'call')
      .map(({ requestId }) => requestId),
    ['r0', 'r1', 'r2'],
  );
  t.match(
    lines().find(({ kind }) => kind === 'fault'),
    { code: 'ENOSPC', lost: 0 },
  );
});

t.test('what does not fit into memory is counted, and the count is a line of the chain', async (t) => {
  const { io, disk } = createDisk();
  const { trail, file, clock, records, lines } = await openTrail(t, { io });
  disk.writeFailure = 'ENOSPC';
  const long = { ...call(1), path: `/${'x'.repeat(8_000)}` };
  for (let at = 0; at < 1_000; at++) trail.append(long);
  const lost = trail.lost;
  t.ok(lost > 400 && lost < 600, `${lost} are lost, 4 MiB are kept`);
  await until(() => trail.failure === 'ENOSPC' || trail.failure === 'EAGAIN');
  disk.writeFailure = null;
  for (let wait = 0; trail.failure !== null && wait < 100; wait++) {
    await clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await trail.close();
  t.same(await problemsOf(file), []);
  const kinds = lines().map(({ kind }) => kind);
  t.equal(kinds.filter((kind) => kind === 'call').length, 1_000 - lost);
  t.equal(
    lines()
      .filter(({ kind }) => kind === 'fault')
      .reduce((sum, { lost }) => sum + (lost as number), 0),
    lost,
  );
  t.match(records.at(-2), { level: 'warn', msg: /written again/, lost });
});

t.test('a sync that fails is told, though the lines were written', async (t) => {
  const { io, disk } = createDisk();
  const { trail, file, clock } = await openTrail(t, { io, sync: true });
  t.ok(await trail.append(call(0)));
  disk.syncFailure = 'EIO';
  t.notOk(await trail.append(call(1)));
  t.equal(trail.failure, 'EIO');
  disk.syncFailure = null;
  await clock.advance(1_000);
  await until(() => trail.failure === null);
  t.ok(await trail.append(call(2)));
  await trail.close();
  t.same(await problemsOf(file), []);
});

t.test('close does not wait for a disk for ever, and tells what is missing', async (t) => {
  const { io, disk } = createDisk();
  const { trail, file, dir, clock, records } = await openTrail(t, { io });
  await until(() => disk.writes === 1);
  disk.writeFailure = 'ENOSPC';
  trail.append(call(1));
  await until(() => trail.failure !== null);
  const closing = trail.close();
  await clock.advance(6_000);
  await closing;
  t.match(records.at(-1), { level: 'error', msg: /could not be written to the end/, code: 'ENOSPC' });
  await (await openTrail(t, { dir })).trail.close();
  t.same(await problemsOf(file), []);
});

t.test('a rotation while the disk is full loses nothing', async (t) => {
  const { io, disk } = createDisk();
  const { trail, file, clock } = await openTrail(t, { io });
  await until(() => disk.writes === 1);
  Object.assign(disk, { writeFailure: 'ENOSPC', room: 50 });
  trail.append(call(1));
  await until(() => trail.failure !== null);
  renameSync(file, `${file}.1`);
  trail.reopen();
  trail.append(call(2));
  disk.writeFailure = null;
  await clock.advance(1_000);
  await until(() => trail.failure === null);
  await trail.close();
  t.same(await problemsOf(`${file}.1`, file), []);
});

t.test('nothing is taken after the end', async (t) => {
  const { trail, file } = await openTrail(t);
  await trail.close();
  t.equal(trail.append(call(1)), null);
  trail.reopen();
  await trail.close();
  t.same(await problemsOf(file), []);
  t.equal(readLines(file).length, 2);
});

t.test('a link to the file is the same file', async (t) => {
  const { file, dir } = await openTrail(t);
  symlinkSync(file, join(dir, 'link'));
  await t.rejects(openTrail(t, { dir, file: join(dir, 'link'), clock: systemClock }), { name: 'AuditError' });
});

t.test('a file that was rotated while no gateway ran is gone on with', async (t) => {
  const { trail, file, dir } = await openTrail(t);
  trail.append(call(1));
  await trail.close();
  renameSync(file, `${file}-20261128`);
  mkdirSync(`${file}.1`);
  symlinkSync('nowhere', `${file}.2`);
  const next = await openTrail(t, { dir });
  next.trail.append(call(2));
  await next.trail.close();
  t.equal(readLines(file)[0]?.kind, 'continued');
  t.same(await problemsOf(file, `${file}-20261128`), []);
  t.match(await problemsOf(file), [/^1: goes on from line 3 of a chain/]);
});

t.test('a crash in a rotation: the cut end of the old file is noted in the new one', async (t) => {
  const { trail, file, dir } = await openTrail(t);
  trail.append(call(1));
  trail.append(call(2));
  await trail.close();
  const whole = readFileSync(file);
  const cut = whole.subarray(0, whole.length - 200);
  for (const [at, content] of [cut, whole.subarray(0, -1), Buffer.concat([cut, Buffer.from('\n{"ti')])].entries()) {
    rmSync(file, { force: true });
    writeFileSync(`${file}.${at}`, content);
    await (await openTrail(t, { dir })).trail.close();
    t.same(await problemsOf(file, `${file}.${at}`), []);
    t.not((await problemsOf(`${file}.${at}`)).length, 0, 'without the next file it is a cut line');
    rmSync(`${file}.${at}`);
  }
});

t.test('what is beside the file and no trail of ours begins no chain', async (t) => {
  const { trail, file, dir } = await openTrail(t);
  await trail.close();
  const whole = readFileSync(file);
  rmSync(file);
  writeFileSync(`${file}.bak`, whole);
  writeFileSync(`${file}.1`, 'no trail\n');
  writeFileSync(`${file}.1.lock`, '');
  await (await openTrail(t, { dir })).trail.close();
  t.equal(readLines(file)[0]?.kind, 'chain');
});
