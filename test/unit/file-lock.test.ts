import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../src/clock.ts';
import { lockFile, ownLock } from '../../src/file-lock.ts';

/** Fields of /proc/PID/stat from the third on: state, parent, … */
const fieldsOf = (pid: number) =>
  readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');

const ON_LINUX = { skip: process.platform === 'linux' ? false : 'needs /proc' };

t.test('a process that was killed holds no lock, also before its parent has asked for its end', ON_LINUX, async (t) => {
  // The second command takes the place of the shell, and never asks for the first.
  const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.teardown(() => parent.kill('SIGKILL'));
  const pid = Number(String((await once(parent.stdout, 'data'))[0]));
  const path = join(t.testdir(), 'lock');
  writeFileSync(path, JSON.stringify({ ...ownLock('theirs'), pid, startTime: fieldsOf(pid)[19] }));
  await t.rejects(lockFile(path, 100, systemClock), { code: 'locked' });
  process.kill(pid, 'SIGKILL');
  while (fieldsOf(pid)[0] !== 'Z') await new Promise((resolve) => setTimeout(resolve, 5));
  const lock = await lockFile(path, 1_000, systemClock);
  await lock.release();
});
