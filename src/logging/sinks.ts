// What log lines are written to: descriptors and streams, and a file that survives rotation. Gathering, retrying and counting is destination.ts's job.

import { close, constants, fchmodSync, fstatSync, openSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { makeFolder } from '../make-folder.ts';
import { createDestination, type Destination, type Sink } from './destination.ts';

/** A sink over a descriptor of a file, terminal or device. `owns`: closed with the sink. */
function descriptorSink(fd: number, owns: boolean): Sink {
  return {
    write(batch, done) {
      const bytes = typeof batch === 'string' ? Buffer.from(batch) : batch;
      const step = (offset: number) =>
        write(fd, bytes, offset, bytes.length - offset, null, (error, written) => {
          if (error) done(error, bytes.subarray(offset));
          else if (offset + written < bytes.length) step(offset + written);
          else done(null);
        });
      step(0);
    },
    writeSync: (text) => writeQuietly(fd, text),
    close() {
      // An error here (a full disk, again) has nobody to go to; the descriptor is released all the same.
      if (owns) close(fd, () => {});
    },
  };
}

function ignoreError(): void {}

/** A sink over a stream. The stream stays open: it is not ours. */
function streamSink(stream: Writable): Sink {
  // Without a listener a closed pipe would end the process; the write's own callback reports the same error.
  if (!stream.listeners('error').includes(ignoreError)) stream.on('error', ignoreError);
  return {
    write: (batch, done) => void stream.write(batch, (error) => done(error ?? null)),
    writeSync: (text) => void stream.write(text),
    close() {},
  };
}

/**
 * A pipe or socket is written through the event loop: a blocking write would hold a thread while the reader stalls, and with it the process's exit.
 */
function pipeSink(fd: number): Sink {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.unref();
  return { ...streamSink(socket), writeSync: (text) => writeQuietly(fd, text) };
}

function writeQuietly(fd: number, text: string): void {
  try {
    writeSync(fd, text);
  } catch {
    // The process is exiting and the log is gone: nobody is left to tell.
  }
}

/** A destination over standard output (or whatever descriptor or stream stands for it), which is left open. */
export function createConsoleDestination(stdout: number | Writable, isImmediate: boolean): Destination {
  if (typeof stdout !== 'number') return createDestination(streamSink(stdout), { isImmediate });
  let isPipe = false;
  try {
    const stat = fstatSync(stdout);
    isPipe = stat.isFIFO() || stat.isSocket();
  } catch {
    // A closed descriptor: the first write fails with EBADF and is counted.
  }
  return createDestination(isPipe ? pipeSink(stdout) : descriptorSink(stdout, false), { isImmediate });
}

/** A file destination that can be pointed at a fresh file of the same name. */
export interface FileDestination extends Destination {
  /** Opens the path again after a rotation; lines taken before still go to the old file. When it fails the old file stays in use: returns the error's code. */
  reopen(): string | null;
  /** How the file was found when it was opened last. */
  readonly privacy: FilePrivacy;
}

/** `private`: mode 0600, or no plain file. `restricted`: it was open to others, and is 0600 now. `open`: it still is, because it is not ours. */
export type FilePrivacy = 'private' | 'restricted' | 'open';

/** Takes from others what they may do with a file that was there before; only its owner may, and a root that is not its owner leaves it. */
function restrict(fd: number): FilePrivacy {
  const stat = fstatSync(fd);
  if (!stat.isFile() || (stat.mode & 0o077) === 0 || process.getuid === undefined) return 'private';
  if (stat.uid !== process.getuid()) return 'open';
  try {
    fchmodSync(fd, 0o600);
    return 'restricted';
  } catch {
    // A file system without modes, or a read-only attribute.
    return 'open';
  }
}

/** Appends to `path`, mode 0600, parents made with 0700. Throws what `open` throws when it cannot be opened at the start. */
export function createFileDestination(path: string): FileDestination {
  const open = () => {
    makeFolder(dirname(path));
    // Non-blocking matters only for a FIFO, whose open would otherwise wait for a reader.
    const fd = openSync(path, constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | (constants.O_NONBLOCK ?? 0), 0o600);
    privacy = restrict(fd);
    return fd;
  };
  let privacy: FilePrivacy = 'private';
  let current = createDestination(descriptorSink(open(), true));
  let retiring: Promise<void> = Promise.resolve();
  let droppedBefore = 0;
  return {
    write: (line) => current.write(line),
    flush: () => current.flush(),
    async close() {
      await Promise.all([current.close(), retiring]);
    },
    dropped: () => droppedBefore + current.dropped(),
    reopen() {
      let fd: number;
      try {
        fd = open();
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
      }
      const old = current;
      current = createDestination(descriptorSink(fd, true));
      retiring = Promise.all([retiring, old.close()]).then(() => {
        droppedBefore += old.dropped();
      });
      return null;
    },
    get privacy() {
      return privacy;
    },
  };
}
