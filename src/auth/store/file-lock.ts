// A lock between processes: an exclusive file that names its owner. It is taken over from a process that died, never from one that lives.

import { randomBytes } from 'node:crypto';
import { open, stat, unlink, utimes } from 'node:fs/promises';
import type { Clock, Timer } from '../../clock.ts';
import { readPlainFile } from '../../plain-file.ts';
import { createFile } from './atomic-write.ts';
import { ownerLife, ownLock, parseLockOwner } from './lock-owner.ts';
import { StoreError, type StoreLock } from './store.ts';

const POLL_MS = 50;

/** An owner is a line. */
const LARGEST_LOCK_BYTES = 1024 * 1024;

/** The holder touches its lock this often, */
const HEARTBEAT_MS = 5_000;

/** and one of another machine that was not touched for this long is taken over. */
const SILENT_MS = 30_000;

/** Waits up to `waitMs`, then throws StoreError `locked`. */
export async function lockFile(path: string, waitMs: number, clock: Clock): Promise<StoreLock> {
  const fence = randomBytes(12).toString('hex');
  const content = JSON.stringify(ownLock(fence));
  const deadline = clock.monotonic() + waitMs;
  while (!(await tryLock(path, content, clock))) {
    await removeStale(path, clock);
    if (clock.monotonic() >= deadline) throw new StoreError('locked', `another process held ${path} for ${waitMs / 1000} s`);
    await new Promise<void>((resolve) => clock.after(POLL_MS, resolve));
  }
  let heartbeat: Timer | undefined;
  const beat = () => {
    heartbeat = clock.after(HEARTBEAT_MS, () => {
      touch(path, clock).catch(() => undefined);
      beat();
    });
  };
  beat();
  return {
    fence,
    async release() {
      heartbeat?.cancel();
      if (await isHeldBy(path, fence)) await unlink(path).catch(() => undefined);
    },
  };
}

/** Whether the lock at `path` is still the one with this fence. */
export async function isHeldBy(path: string, fence: string): Promise<boolean> {
  return (await readOwner(path))?.fence === fence;
}

async function tryLock(path: string, content: string, clock: Clock): Promise<boolean> {
  try {
    return await createFile(path, content, (temporary) => touch(temporary, clock));
  } catch (error) {
    throw new StoreError('unwritable', `${path} cannot be made (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** Only one process at a time may remove a stale lock: else the second would remove the lock that the first has just taken. */
async function removeStale(path: string, clock: Clock): Promise<void> {
  if (!(await isStale(path, clock))) return;
  const breaker = `${path}.break`;
  const handle = await open(breaker, 'wx', 0o600).catch(() => undefined);
  if (handle === undefined) {
    if (await isSilent(breaker, clock)) await unlink(breaker).catch(() => undefined);
    return;
  }
  try {
    await handle.close();
    await touch(breaker, clock);
    if (await isStale(path, clock)) await unlink(path).catch(() => undefined);
  } finally {
    await unlink(breaker).catch(() => undefined);
  }
}

async function isStale(path: string, clock: Clock): Promise<boolean> {
  const owner = await readOwner(path);
  if (owner === null) return false;
  const life = owner === undefined ? 'unknown' : ownerLife(owner);
  return life === 'dead' || (life === 'unknown' && (await isSilent(path, clock)));
}

/** Null without a lock, undefined when it is not readable as one. */
async function readOwner(path: string) {
  const file = await readPlainFile(path, LARGEST_LOCK_BYTES).catch(() => null);
  return file === null ? null : parseLockOwner(file.bytes.toString('utf8'));
}

/** A time far in the future is as silent as one long past: a clock was stepped. */
async function isSilent(path: string, clock: Clock): Promise<boolean> {
  const modifiedAt = await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => clock.now(),
  );
  return Math.abs(clock.now() - modifiedAt) > SILENT_MS;
}

async function touch(path: string, clock: Clock): Promise<void> {
  const seconds = clock.now() / 1000;
  await utimes(path, seconds, seconds);
}
