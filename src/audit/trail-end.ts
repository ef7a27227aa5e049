// The end of an audit file as a start finds it: the last line of its chain, and what a crash left behind it.

import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type ChainHead, isCutPiece, LINE_START, LONGEST_LINE_BYTES, parseAuditLine } from './audit-chain.ts';

/** How a file ends. */
export interface TrailEnd {
  /** The last whole line; null in a file without one. */
  readonly head: ChainHead | null;
  /** What stands behind it, without a newline at its end; empty where the file ends in order. */
  readonly piece: Buffer;
  /** Whether the last octet of the file is not a newline. */
  readonly lacksNewline: boolean;
}

/** A file that is no audit trail, or was changed. The message continues a sentence that begins with the path. */
export class TrailRefusal extends Error {
  override readonly name = 'TrailRefusal';
}

/** More than several crashes in a row leave. */
const MOST_READ_BYTES = 4 * LONGEST_LINE_BYTES;

/** Reads the end of `path`. Throws TrailRefusal where a chain must not go on, or the system's error. */
export function readTrailEnd(path: string): TrailEnd {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const length = Math.min(size, MOST_READ_BYTES);
    const octets = Buffer.alloc(length);
    let read = 0;
    while (read < length) {
      const count = readSync(fd, octets, read, length - read, size - length + read);
      if (count === 0) break;
      read += count;
    }
    return findTrailEnd(octets.subarray(0, read), length === size);
  } finally {
    closeSync(fd);
  }
}

/** What a rotation puts behind a file's name: `.1`, `-20261128`, `-2026-11-28.10`. */
const ROTATED = /^[.-]\d[\dT._-]*$/;

/**
 * The end of the file that was at `path` before a rotation, where no process has gone on with it: it was moved while
 * none ran, or the one that did was killed just then. Null where there is none, or none whose end can be read.
 */
export function readRotatedEnd(path: string): TrailEnd | null {
  const folder = dirname(path);
  const name = basename(path);
  let newest: { path: string; mtimeMs: number } | null = null;
  try {
    for (const other of readdirSync(folder)) {
      if (!other.startsWith(name) || !ROTATED.test(other.slice(name.length))) continue;
      const rotated = join(folder, other);
      const stats = statSync(rotated, { throwIfNoEntry: false });
      if (!stats?.isFile()) continue;
      const { mtimeMs, size } = stats;
      // Another gateway's file may have such a name: it has a lock of its own.
      if (size === 0 || existsSync(`${rotated}.lock`)) continue;
      if (newest === null || mtimeMs > newest.mtimeMs) newest = { path: rotated, mtimeMs };
    }
    const end = newest === null ? null : readTrailEnd(newest.path);
    return end?.head ? end : null;
  } catch {
    // Compressed, changed, not ours, or gone meanwhile: then a chain of its own begins.
    return null;
  }
}

/** `octets` is the end of a file, or all of it (`isWhole`). */
export function findTrailEnd(octets: Buffer, isWhole: boolean): TrailEnd {
  const lacksNewline = octets.length > 0 && octets[octets.length - 1] !== 0x0a;
  const contentEnd = lacksNewline ? octets.length : Math.max(0, octets.length - 1);
  let end = contentEnd;
  while (end > 0) {
    const newlineAt = octets.lastIndexOf(0x0a, end - 1);
    if (newlineAt === -1 && !isWhole) break;
    const line = parseAuditLine(octets.subarray(newlineAt + 1, end));
    if (line !== undefined) {
      const piece = octets.subarray(Math.min(end + 1, contentEnd), contentEnd);
      if (end < contentEnd) assertCut(piece);
      return { head: line, piece, lacksNewline };
    }
    end = newlineAt;
  }
  const piece = octets.subarray(0, contentEnd);
  const isOurs = isWhole && LINE_START.startsWith(piece.toString('latin1', 0, LINE_START.length));
  if (octets.length > 0) {
    if (piece.length === 0 || !isOurs)
      throw new TrailRefusal('is not an audit trail: name another file, or move this one away');
    assertCut(piece);
  }
  return { head: null, piece, lacksNewline };
}

function assertCut(piece: Buffer): void {
  if (isCutPiece(piece)) return;
  throw new TrailRefusal(
    'does not end with a line of its chain: its end was changed, or something was added. ' +
      'Move it away and keep it (gcg audit verify says where); a new chain begins then',
  );
}
