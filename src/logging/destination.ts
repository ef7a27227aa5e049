// Where records are written: standard output and a file (0600, reopened for rotation). A reader that stalls or a full
// disk never stops a call: records are dropped and counted.

import { close, closeSync, constants, fchmodSync, fstatSync, openSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { makeFolder } from '../fs/atomic-write.ts';
import { FileRefusal } from '../fs/plain-file.ts';

/** Something that takes a batch of text. `done` is called once; `rest` is what was not written, when it failed. */
export interface Sink {
  write(batch: string | Buffer, done: (error: NodeJS.ErrnoException | null, rest?: Buffer) => void): void;
  /** Last resort while the process exits: writes what it can at once. */
  writeSync(text: string): void;
  close(): void;
}

/** Takes finished lines. Whoever creates it closes it. */
export interface Destination {
  write(line: string): void;
  /** Resolves when all lines taken so far are written or given up, or after `FLUSH_DEADLINE_MS`. Never rejects. */
  flush(): Promise<void>;
  /** Flushes, then releases the sink. Later lines are dropped. */
  close(): Promise<void>;
  /** Lines that were not and will not be written. */
  dropped(): number;
  /** Whether the sink will never work again, though nobody has closed it. */
  readonly isLost: boolean;
}

/** Lines wait this long for company: a write per line would cost more than the line. */
const GATHER_MS = 20;
/** And at most this much is gathered (UTF-16 units). */
const GATHER_LENGTH = 16 * 1024;
/** While the sink stalls, this much is kept. */
const MAX_PENDING_LENGTH = 4 * 1024 * 1024;
const FLUSH_DEADLINE_MS = 1000;
const BUSY_RETRY_MS = 100;
const FAULT_RETRY_MS = 1000;

/** Errors after which the sink will never work again. */
const FATAL = new Set([
  'EPIPE',
  'EBADF',
  'ECONNRESET',
  'ENOTCONN',
  'ENXIO',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
]);

/**
 * What open destinations still have to say when the process exits without closing them: one listener for all, whatever
 * their number.
 */
const atExit = new Set<() => void>();
process.on('exit', () => {
  for (const last of atExit) last();
});

/** A destination over a sink. `isImmediate` writes each line at once, for a person who watches. */
export function createDestination(
  sink: Sink,
  options: { isImmediate?: boolean; maxPendingLength?: number } = {},
): Destination {
  const { isImmediate = false, maxPendingLength = MAX_PENDING_LENGTH } = options;
  let pending = '';
  let pendingLines = 0;
  let flight: string | Buffer | null = null;
  let flightLines = 0;
  let dropped = 0;
  let state: 'open' | 'closing' | 'closed' = 'open';
  let isReleased = false;
  let timer: NodeJS.Timeout | null = null;
  let waiters: (() => void)[] = [];

  const arm = (delayMs: number) => {
    timer = setTimeout(send, delayMs);
    timer.unref();
  };
  const settle = () => {
    for (const waiter of waiters) waiter();
    waiters = [];
  };
  const giveUp = () => {
    dropped += pendingLines + flightLines;
    pending = '';
    flight = null;
    pendingLines = flightLines = 0;
    state = 'closed';
    settle();
  };

  function send(): void {
    if (timer) clearTimeout(timer);
    timer = null;
    if (flight === null) {
      if (pending === '') return;
      flight = pending;
      flightLines = pendingLines;
      pending = '';
      pendingLines = 0;
    }
    sink.write(flight, onWritten);
  }

  function onWritten(error: NodeJS.ErrnoException | null, rest?: Buffer): void {
    if (state === 'closed') return;
    if (error === null) {
      flight = null;
      flightLines = 0;
      if (pending === '') settle();
      else if (waiters.length > 0 || pending.length >= GATHER_LENGTH) send();
      else if (timer === null) arm(GATHER_MS);
    } else if (FATAL.has(error.code ?? '')) {
      giveUp();
    } else {
      flight = rest ?? flight;
      const isBusy = error.code === 'EAGAIN' || error.code === 'EBUSY';
      // A full disk may have room again later; whoever waits for a flush is not kept waiting for it.
      if (!isBusy) settle();
      arm(isBusy ? BUSY_RETRY_MS : FAULT_RETRY_MS);
    }
  }

  const flush = () =>
    new Promise<void>((resolve) => {
      if (state === 'closed' || (flight === null && pending === '')) return resolve();
      const deadline = setTimeout(resolve, FLUSH_DEADLINE_MS);
      waiters.push(() => {
        clearTimeout(deadline);
        resolve();
      });
      const isWriting = flight !== null && timer === null;
      if (!isWriting) send();
    });

  const onExit = () => {
    if (flight === null && pending !== '' && state === 'open') sink.writeSync(pending);
  };
  atExit.add(onExit);

  return {
    write(line) {
      if (state !== 'open' || pending.length + line.length > maxPendingLength) {
        dropped++;
        return;
      }
      pending += line;
      pendingLines++;
      if (flight !== null) return;
      if (isImmediate || pending.length >= GATHER_LENGTH) send();
      else if (timer === null) arm(GATHER_MS);
    },
    flush,
    async close() {
      if (isReleased) return;
      isReleased = true;
      atExit.delete(onExit);
      if (state === 'open') {
        state = 'closing';
        await flush();
      }
      if (timer) clearTimeout(timer);
      giveUp();
      sink.close();
    },
    dropped: () => dropped,
    get isLost() {
      return state === 'closed' && !isReleased;
    },
  };
}

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
 * A pipe or socket is written through the event loop: a blocking write would hold a thread while the reader stalls, and
 * with it the process's exit.
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
  /**
   * Opens the path again after a rotation; lines taken before still go to the old file. When it fails the old file
   * stays in use: returns the error's code.
   */
  reopen(): string | null;
  /** How the file was found when it was opened last. */
  readonly privacy: FilePrivacy;
}

/**
 * `private`: mode 0600, or no plain file. `restricted`: it was open to others, and is 0600 now. `open`: it still is,
 * because it is not ours.
 */
export type FilePrivacy = 'private' | 'restricted' | 'open';

/**
 * Takes from others what they may do with a file that was there before; only its owner may, and a root that is not its
 * owner leaves it.
 */
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

/**
 * Non-blocking matters only for a pipe, whose open would otherwise wait for a reader; and no terminal becomes the one
 * that controls us.
 */
const APPEND =
  constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** How often a pipe is opened again whose reader has gone. */
const RETURN_MS = 1_000;

/**
 * Appends to `path`, mode 0600, parents made with 0700. A pipe that nobody reads any more is opened again when there is
 * a line to write, and what was written meanwhile is dropped; terminals and other devices of characters are as good.
 * Throws what `open` throws when it cannot be opened at the start, and a FileRefusal for a disk, where records would
 * take the place of its files. `now` is monotonic.
 */
export function createFileDestination(path: string, now: () => number = () => performance.now()): FileDestination {
  const open = () => {
    makeFolder(dirname(path));
    const fd = openSync(path, APPEND, 0o600);
    if (fstatSync(fd).isBlockDevice()) {
      closeSync(fd);
      throw new FileRefusal('EFTYPE', 'is a disk, not a plain file');
    }
    privacy = restrict(fd);
    return fd;
  };
  let triedAt = Number.NEGATIVE_INFINITY;
  let privacy: FilePrivacy = 'private';
  let current = createDestination(descriptorSink(open(), true));
  let retiring: Promise<void> = Promise.resolve();
  let droppedBefore = 0;
  const reopen = (): string | null => {
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
  };
  return {
    write(line) {
      if (current.isLost && now() - triedAt >= RETURN_MS) {
        triedAt = now();
        // Fails while there is no reader: then the line is one more that is dropped.
        reopen();
      }
      current.write(line);
    },
    flush: () => current.flush(),
    async close() {
      await Promise.all([current.close(), retiring]);
    },
    dropped: () => droppedBefore + current.dropped(),
    get isLost() {
      return current.isLost;
    },
    reopen,
    get privacy() {
      return privacy;
    },
  };
}
