// Reads plain files whose paths come from people, with a bound on size and on time: a FIFO, a device or a file without
// an end can neither block the process nor fill its memory. It does not know what a file is for, and does not protect
// against a file system that hangs (NFS, FUSE).

import { closeSync, constants, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';

/** The content of a file, and its metadata at the same moment. */
export interface PlainFile {
  readonly bytes: Buffer;
  readonly uid: number;
  readonly mode: number;
  /** As `fileRevision` gives it. */
  readonly revision: string;
}

/** Thrown for a path that is not read. The message continues a sentence that begins with the path. */
export class FileRefusal extends Error {
  override readonly name = 'FileRefusal';
  /** `EISDIR` a folder, `EFTYPE` another thing that is no file, `EFBIG` too large, `EBUSY` written to all the while. */
  readonly code: 'EISDIR' | 'EFTYPE' | 'EFBIG' | 'EBUSY';

  constructor(code: FileRefusal['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Opening never waits for the writer of a FIFO, and makes no terminal the controlling one. Not on Windows. */
const READ_ONLY = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** How often a file is read at most while it changes under the reading. */
const MOST_READINGS = 3;

/** Reads the file at `path`; follows links. Throws FileRefusal, or the system's error. */
export function readPlainFileSync(path: string | URL, largestBytes: number): PlainFile {
  for (let reading = 1; ; reading++) {
    // The kind of file is checked before opening, because opening a device can have an effect, and again after it,
    // because the file may have been replaced.
    assertPlain(statSync(path), largestBytes);
    const fd = openSync(path, READ_ONLY);
    try {
      const before = fstatSync(fd);
      const content = new Content(before, largestBytes);
      while (content.take(readSync(fd, content.free, 0, content.free.length, content.length)));
      if (isUnchanged(before, fstatSync(fd), reading)) return plainFile(content, before);
    } finally {
      closeSync(fd);
    }
  }
}

/** Reads a file without blocking the event loop, for files that are read while calls run. */
export async function readPlainFile(path: string | URL, largestBytes: number): Promise<PlainFile> {
  for (let reading = 1; ; reading++) {
    assertPlain(await stat(path), largestBytes);
    const file = await open(path, READ_ONLY);
    try {
      const before = await file.stat();
      const content = new Content(before, largestBytes);
      while (content.take((await file.read(content.free, 0, content.free.length, content.length)).bytesRead));
      if (isUnchanged(before, await file.stat(), reading)) return plainFile(content, before);
    } finally {
      await file.close();
    }
  }
}

/**
 * A text that changes whenever the content of the file may have changed. Costs one stat and never throws: a file that
 * cannot be examined has a revision, too.
 */
export function fileRevision(path: string): string {
  try {
    return revisionOf(statSync(path));
  } catch (error) {
    return `unreadable:${(error as NodeJS.ErrnoException).code}`;
  }
}

/** Says why a file could not be read, to follow its path. `advice` is added to errors of the system. */
export function whyNotRead(error: unknown, advice?: string): string {
  if (error instanceof FileRefusal) return error.message;
  return (
    'cannot be read ' +
    `(${(error as NodeJS.ErrnoException).code ?? 'error'})${advice === undefined ? '' : `; ${advice}`}`
  );
}

/** The content read so far. Reads at most one byte more than is allowed. */
class Content {
  #buffer: Buffer;
  #length = 0;
  readonly #largest: number;

  constructor(stats: Stats, largestBytes: number) {
    assertPlain(stats, largestBytes);
    this.#largest = largestBytes;
    // Files of /proc report size 0 and have content.
    this.#buffer = Buffer.alloc(Math.max(stats.size, Math.min(largestBytes, 4095)) + 1);
  }

  get free(): Buffer {
    return this.#buffer.subarray(this.#length);
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Counts the bytes read into `free`; false at the end of the file. */
  take(count: number): boolean {
    this.#length += count;
    if (this.#length > this.#largest) throw tooLarge(this.#largest);
    if (this.#length === this.#buffer.length) {
      const larger = Buffer.alloc(Math.min(this.#length * 2, this.#largest + 1));
      this.#buffer.copy(larger);
      this.#buffer = larger;
    }
    return count > 0;
  }
}

/** Throws a FileRefusal for what is no plain file, or a larger one. */
export function assertPlain(stats: Stats, largestBytes: number = Number.POSITIVE_INFINITY): void {
  if (stats.isDirectory()) throw new FileRefusal('EISDIR', 'is a folder; name the file in it');
  if (!stats.isFile()) {
    const kind = stats.isFIFO() ? 'a pipe' : stats.isSocket() ? 'a socket' : 'a device';
    throw new FileRefusal('EFTYPE', `is ${kind}, not a plain file; write its content into a file and name that`);
  }
  if (stats.size > largestBytes) throw tooLarge(largestBytes);
}

function tooLarge(largestBytes: number): FileRefusal {
  return new FileRefusal('EFBIG', `is larger than ${largestBytes / 1024 / 1024} MiB; is it the right file?`);
}

/**
 * False when the content may be half of one version and half of the next; throws at the last try. The change time is
 * not compared: it also changes when another file replaces this one, and then the content is still whole.
 */
function isUnchanged(before: Stats, after: Stats, reading: number): boolean {
  if (before.mtimeMs === after.mtimeMs && before.size === after.size) return true;
  if (reading < MOST_READINGS) return false;
  throw new FileRefusal('EBUSY', 'is written to while it is read; put the whole content in place at once, by a rename');
}

function plainFile({ bytes }: Content, stats: Stats): PlainFile {
  return { bytes, uid: stats.uid, mode: stats.mode, revision: revisionOf(stats) };
}

function revisionOf({ ino, mtimeMs, ctimeMs, size }: Stats): string {
  return `${ino}:${mtimeMs}:${ctimeMs}:${size}`;
}
