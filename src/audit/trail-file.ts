// The file of an audit trail as a start takes it: its lock, and what is said when it cannot be used.

import { closeSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../clock.ts';
import { type FileLock, holderLife, LockError, lockFile } from '../file-lock.ts';
import { openAppendFile } from '../fs/append-file.ts';
import { assertPlain, FileRefusal } from '../fs/plain-file.ts';
import type { Log } from '../logging/log.ts';
import { readTrailEnd, TrailRefusal } from './trail-end.ts';

/** Why a trail cannot be opened. The message names the file and says what to do. */
export class AuditError extends Error {
  override readonly name = 'AuditError';
}

/** A lock of a process that is gone is taken over within this; one of this machine's is seen to be held. */
const LOCK_WAIT_MS = 500;
/** A lock of another machine or container is old enough to be taken over after this. */
const FOREIGN_LOCK_WAIT_MS = 35_000;

/** Where a trail is, and what waiting for it takes. */
export interface TrailPlace {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Takes the lock of a trail. It lies beside the file, under its real name: two ways to one file are one lock. */
export async function lockTrail({ file, clock, log }: TrailPlace): Promise<FileLock> {
  let path: string;
  try {
    const { fd } = openAppendFile(file);
    closeSync(fd);
    const real = realpathSync(file);
    path = join(dirname(real), `${basename(real)}.lock`);
  } catch (error) {
    throw asAuditError(file, error);
  }
  try {
    return await lockFile(path, LOCK_WAIT_MS, clock);
  } catch (error) {
    if (!(error instanceof LockError)) throw error;
    if (error.code === 'unwritable') throw new AuditError(`${file}: ${error.message}`);
    if ((await holderLife(path)) === 'alive') throw inUse(file);
    log.warn({ file, waitMs: FOREIGN_LOCK_WAIT_MS }, 'audit file may be in use on another machine: waiting');
    return await lockFile(path, FOREIGN_LOCK_WAIT_MS, clock).catch(() => {
      throw inUse(file);
    });
  }
}

function inUse(file: string): AuditError {
  return new AuditError(`${file} is written by another gateway: give each its own [audit] file`);
}

/** Any failure to open a trail, in words. */
export function asAuditError(file: string, error: unknown): AuditError {
  if (error instanceof AuditError) return error;
  if (error instanceof FileRefusal && error.code === 'EFTYPE')
    return new AuditError(`${file} is a pipe or a device: name a plain file, which can be read again`);
  if (error instanceof TrailRefusal || error instanceof FileRefusal) return new AuditError(`${file} ${error.message}`);
  const code = (error as NodeJS.ErrnoException).code ?? 'error';
  return new AuditError(`${file} cannot be written (${code}): make its folder ours, or name another [audit] file`);
}

/**
 * Says why no trail can go on in the file at a path; null where one can, or begins, or where only its owner can tell.
 * Changes nothing.
 */
export function whyNoTrail(file: string): string | null {
  try {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return null;
    assertPlain(stats);
    if (stats.size > 0) readTrailEnd(file);
    return null;
  } catch (error) {
    const isRefusal = error instanceof TrailRefusal || error instanceof FileRefusal;
    return isRefusal ? asAuditError(file, error).message : null;
  }
}

/** Device and inode of the file at a path; null where there is none. */
export function idAt(path: string): string | null {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return null;
  }
}
