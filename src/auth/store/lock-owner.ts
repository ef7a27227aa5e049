// Who holds a lock file, and whether that process still lives. A number alone does not tell: processes die and their numbers are used again.

import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Written into a lock file. */
export interface LockOwner {
  readonly fence: string;
  readonly pid: number;
  /** When the process started, in the system's own unit; '' where it cannot be told. */
  readonly startTime: string;
  /** The space in which `pid` means something: host and process namespace. */
  readonly space: string;
}

/** This process, with a fence of its own. */
export function ownLock(fence: string): LockOwner {
  return { fence, pid: process.pid, startTime: startTimeOf(process.pid) ?? '', space: processSpace() };
}

/** Undefined when the text is no lock of ours, for example cut by a crash. */
export function parseLockOwner(text: string): LockOwner | undefined {
  try {
    const { fence, pid, startTime, space } = JSON.parse(text) as Partial<LockOwner>;
    const isWhole = typeof fence === 'string' && Number.isInteger(pid) && typeof startTime === 'string' && typeof space === 'string';
    return isWhole ? { fence, pid: pid as number, startTime, space } : undefined;
  } catch {
    // Not JSON: not a lock that anybody can hold.
    return undefined;
  }
}

/** `unknown` where the owner lives in another space: then only the age of the lock can tell. */
export function ownerLife(owner: LockOwner): 'alive' | 'dead' | 'unknown' {
  if (owner.space !== processSpace()) return 'unknown';
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'dead';
  }
  const startTime = startTimeOf(owner.pid);
  if (startTime === undefined || owner.startTime === '') return 'unknown';
  return startTime === owner.startTime ? 'alive' : 'dead';
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

/** Field 22 of /proc/PID/stat; the second field may itself hold spaces and brackets. */
function startTimeOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    // No /proc, or the process is gone.
    return undefined;
  }
}
