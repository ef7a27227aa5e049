// The watch over real files: every way in which a file comes to have another content is told once; what is no change is
// not told.

import { linkSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/clock.ts';
import { FileWatcher, watchPoints } from '../../../src/reload/file-watcher.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

const LOG = { error() {}, warn() {}, info() {}, debug() {} };
/** So that only events can be what is noticed. */
const NEVER_MS = 1_000_000_000;

function start(t: Test, files: readonly string[], options: { pollMs?: number; clock?: typeof systemClock } = {}) {
  let changes = 0;
  let wake: (() => void)[] = [];
  const watch = new FileWatcher({
    onChange() {
      changes += 1;
      for (const each of wake) each();
      wake = [];
    },
    clock: systemClock,
    log: LOG,
    pollMs: NEVER_MS,
    ...options,
  });
  // The watch itself keeps no process alive.
  const alive = setInterval(() => {}, 1_000);
  t.teardown(() => {
    clearInterval(alive);
    watch.close();
  });
  watch.watch(files);
  const next = () => new Promise<void>((resolve) => wake.push(resolve));
  return { watch, next, changes: () => changes };
}

/** A file that is written by its other name: its folder hears nothing, as of a file that another machine writes. */
function twoNames(t: Test) {
  const folder = t.testdir({ a: { 'gcg.ini': 'a' }, b: {} });
  const [file, otherName] = [join(folder, 'a', 'gcg.ini'), join(folder, 'b', 'gcg.ini')];
  linkSync(file, otherName);
  return { file, otherName };
}

t.test('a file written in place', async (t) => {
  const file = join(t.testdir({ 'gcg.ini': 'a' }), 'gcg.ini');
  const { next } = start(t, [file]);
  writeFileSync(file, 'b');
  await next();
});

t.test('a file renamed over, again and again, as editors save', async (t) => {
  const folder = t.testdir({ 'gcg.ini': 'a' });
  const file = join(folder, 'gcg.ini');
  const { next, changes } = start(t, [file]);
  for (const content of ['b', 'c', 'd']) {
    writeFileSync(join(folder, '.gcg.ini.swp'), content);
    renameSync(join(folder, '.gcg.ini.swp'), file);
    await next();
  }
  t.equal(changes(), 3);
});

t.test('the swap of ..data, as Kubernetes updates a volume, and the next swap after it', async (t) => {
  const folder = t.testdir({ '..1': { 'gcg.ini': 'a' }, '..2': { 'gcg.ini': 'b' }, '..3': { 'gcg.ini': 'c' } });
  symlinkSync('..1', join(folder, '..data'));
  symlinkSync('..data/gcg.ini', join(folder, 'gcg.ini'));
  const { next } = start(t, [join(folder, 'gcg.ini')]);
  for (const version of ['..2', '..3']) {
    symlinkSync(version, join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
    await next();
  }
});

t.test('a file that was not there, in a folder that was not there', async (t) => {
  const folder = t.testdir({});
  const deep = join(folder, 'etc', 'gcg');
  const { next } = start(t, [join(deep, 'config.ini')]);
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, 'config.ini'), 'a');
  await next();
  writeFileSync(join(deep, 'config.ini'), 'b');
  await next();
});

t.test('a file that goes, and its folder that is replaced', async (t) => {
  const folder = t.testdir({ etc: { 'gcg.ini': 'a' }, other: { 'gcg.ini': 'b' } });
  const { next } = start(t, [join(folder, 'etc', 'gcg.ini')]);
  rmSync(join(folder, 'etc', 'gcg.ini'));
  await next();
  writeFileSync(join(folder, 'etc', 'gcg.ini'), 'c');
  await next();
});

t.test('a neighbour, the same content again and a touch are no changes', async (t) => {
  const folder = t.testdir({ 'gcg.ini': 'a', 'gateway.log': '' });
  const file = join(folder, 'gcg.ini');
  const clock = createFakeClock();
  const { changes } = start(t, [file], { clock });
  for (let n = 0; n < 50; n += 1) writeFileSync(join(folder, 'gateway.log'), `line ${n}\n`, { flag: 'a' });
  writeFileSync(file, 'a');
  // The event has come when the watch waits for the dust to settle.
  while (clock.pending < 2) await new Promise<void>((resolve) => setImmediate(resolve));
  await clock.advance(2_000);
  t.equal(changes(), 0);
});

t.test('several files at once are told once', async (t) => {
  const folder = t.testdir({ 'gcg.ini': 'a', secret: 's' });
  const { next, changes } = start(t, [join(folder, 'gcg.ini'), join(folder, 'secret')]);
  writeFileSync(join(folder, 'gcg.ini'), 'b');
  writeFileSync(join(folder, 'secret'), 't');
  await next();
  t.equal(changes(), 1);
});

t.test(
  'without events the files are looked at from time to time, and nothing is left running afterwards',
  async (t) => {
    const { file, otherName } = twoNames(t);
    const clock = createFakeClock();
    const { watch, changes } = start(t, [file], { clock, pollMs: 5_000 });
    writeFileSync(otherName, 'longer than before');
    await clock.advance(5_099);
    t.equal(changes(), 0);
    await clock.advance(1);
    t.equal(changes(), 1, 'a moment after the look, in which nothing changed any more');
    watch.close();
    writeFileSync(otherName, 'something else again');
    await clock.advance(60_000);
    t.equal(changes(), 1);
    t.equal(clock.pending, 0, 'no timer is left');
  },
);

t.test('a file that is still being written when it is looked at is told of once it is whole', async (t) => {
  const { file, otherName } = twoNames(t);
  const clock = createFakeClock();
  const { changes } = start(t, [file], { clock, pollMs: 5_000 });
  writeFileSync(otherName, 'the first ');
  await clock.advance(5_000);
  for (const part of ['half, ', 'and the ', 'second']) {
    writeFileSync(otherName, part, { flag: 'a' });
    await clock.advance(99);
  }
  t.equal(changes(), 0);
  await clock.advance(100);
  t.equal(changes(), 1);
  await clock.advance(60_000);
  t.equal(changes(), 1);
});

t.test('a file that is written to all the time is told of all the same', async (t) => {
  const { file, otherName } = twoNames(t);
  const clock = createFakeClock();
  const { changes } = start(t, [file], { clock, pollMs: 5_000 });
  for (let part = 0; part < 120; part += 1) {
    writeFileSync(otherName, 'x', { flag: 'a' });
    await clock.advance(50);
  }
  t.equal(changes(), 1);
});

t.test('watching other files tells what changed in those that stay', async (t) => {
  const folder = t.testdir({ 'gcg.ini': 'a', secret: 's' });
  const [file, secret] = [join(folder, 'gcg.ini'), join(folder, 'secret')];
  const clock = createFakeClock();
  const { watch, changes } = start(t, [file], { clock });
  writeFileSync(file, 'b');
  writeFileSync(secret, 't');
  watch.watch([file, secret]);
  await clock.advance(1_000);
  t.equal(changes(), 1);
});

t.test('the points: own folder, each link on the way, the nearest folder that is there', async (t) => {
  const folder = t.testdir({ real: { 'gcg.ini': 'a' } });
  symlinkSync('real', join(folder, 'link'));
  symlinkSync('loop', join(folder, 'loop'));
  const points = watchPoints([
    join(folder, 'link', 'gcg.ini'),
    join(folder, 'no', 'such', 'file'),
    join(folder, 'loop', 'x'),
  ]);
  t.same([...(points.get(folder) ?? [])].sort(), ['link', 'loop', 'no']);
  t.same([...(points.get(join(folder, 'real')) ?? [])], ['gcg.ini']);
});
