// A lock between processes: a file that names its owner. An owner that died is recognised by its process id and start
// time, and its lock is taken over.

import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { open, stat, unlink, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { Clock, Timer } from './clock.ts';
import { createFile } from './fs/atomic-write.ts';
import { readPlainFile } from './fs/plain-file.ts';

const POLL_MS = 50;

/** Far larger than a lock of ours, which is one line. */
const LARGEST_LOCK_BYTES = 1024 * 1024;

/** The owner of a lock touches it this often. */
const HEARTBEAT_MS = 5_000;

/** A lock of another machine that was not touched for this long is taken over. */
const SILENT_MS = 30_000;

/** A lock that is held. */
export interface FileLock {
  /** Names this holding of the lock. */
  readonly fence: string;
  /** Never throws; does nothing when the lock was lost. */
  release(): Promise<void>;
}

/** `locked`: waited in vain. `unwritable`: no lock can be made there. */
export class LockError extends Error {
  override readonly name = 'LockError';
  readonly code: 'locked' | 'unwritable';

  constructor(code: LockError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Takes the lock at `path`. Waits up to `waitMs`, then throws LockError `locked`. */
export async function lockFile(path: string, waitMs: number, clock: Clock): Promise<FileLock> {
  const fence = randomBytes(12).toString('hex');
  const content = JSON.stringify(ownLock(fence));
  const deadline = clock.monotonic() + waitMs;
  while (!(await tryLock(path, content, clock))) {
    await removeStale(path, clock);
    if (clock.monotonic() >= deadline)
      throw new LockError('locked', `another process held ${path} for ${waitMs / 1000} s`);
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
    throw new LockError('unwritable', `${path} cannot be made (${(error as NodeJS.ErrnoException).code})`);
  }
}

/**
 * Removes a stale lock. Only one process at a time may do so: otherwise the second would remove the lock that the first
 * has just taken.
 */
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

/** Whether the owner of the lock at `path` lives; `unknown` where nobody can tell, also when there is no lock. */
export async function holderLife(path: string): Promise<'alive' | 'dead' | 'unknown'> {
  const owner = await readOwner(path);
  return owner ? ownerLife(owner) : 'unknown';
}

/** The owner of a lock; null without a lock, undefined when the file is not readable as one. */
async function readOwner(path: string) {
  const file = await readPlainFile(path, LARGEST_LOCK_BYTES).catch(() => null);
  return file === null ? null : parseLockOwner(file.bytes.toString('utf8'));
}

/** Whether a file was not touched lately. A time far in the future counts as long past: a clock was stepped. */
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

/** The owner of a lock, as it is written into the file. */
export interface LockOwner {
  readonly fence: string;
  readonly pid: number;
  /** When the process started, in the system's own unit; '' where it cannot be told. */
  readonly startTime: string;
  /** Where `pid` is valid: host and process namespace. */
  readonly space: string;
}

/** This process, with a fence of its own. */
export function ownLock(fence: string): LockOwner {
  return { fence, pid: process.pid, startTime: statOf(process.pid)?.startTime ?? '', space: processSpace() };
}

/** The owner in a lock file's text; undefined when it is none, for example cut by a crash. */
export function parseLockOwner(text: string): LockOwner | undefined {
  try {
    const { fence, pid, startTime, space } = JSON.parse(text) as Partial<LockOwner>;
    const isWhole =
      typeof fence === 'string' && Number.isInteger(pid) && typeof startTime === 'string' && typeof space === 'string';
    return isWhole ? { fence, pid: pid as number, startTime, space } : undefined;
  } catch {
    // Not JSON: no lock that anybody holds.
    return undefined;
  }
}

/** Whether an owner lives. `unknown` for one in another namespace: then only the age of the lock counts. */
export function ownerLife(owner: LockOwner): 'alive' | 'dead' | 'unknown' {
  if (owner.space !== processSpace()) return 'unknown';
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // EPERM: it lives, and belongs to another user.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'dead';
  }
  const found = statOf(owner.pid);
  if (found === undefined || owner.startTime === '') return 'unknown';
  return found.startTime === owner.startTime && !found.hasEnded ? 'alive' : 'dead';
}

let space: string | undefined;

function processSpace(): string {
  space ??= `${hostname()} ${namespace()}`;
  return space;
}

function namespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    // No /proc: one namespace for the whole host.
    return '';
  }
}

/** What /proc/PID/stat says of a process. The second field may itself hold spaces and brackets. */
function statOf(pid: number): { readonly startTime: string; readonly hasEnded: boolean } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [state = '', threads = '', startTime = ''] = [fields[0], fields[17], fields[19]];
    // A killed process is there until its parent has asked for its exit code, which in a container may be never.
    return { startTime, hasEnded: /^[ZX]$/.test(state) && Number(threads) <= 1 };
  } catch {
    // No /proc, or the process is gone.
    return undefined;
  }
}
