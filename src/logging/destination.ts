// Where records are written: standard output and a file (0600, reopened for rotation). A reader that stalls or a full
// disk never stops a call: records are dropped and counted.

import { close, closeSync, fstatSync, write, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { closeToOthers, type FilePrivacy, openForAppending } from '../fs/append-file.ts';
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
const GATHER_LENGTH = 64 * 1024;
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

/** Lines on their way to a sink, gathered; one batch is written at a time. */
export class BufferedDestination implements Destination {
  readonly #sink: Sink;
  readonly #isImmediate: boolean;
  readonly #maxPendingLength: number;
  /** Lines that wait for the batch in flight, or for company. */
  #pending = '';
  #pendingLines = 0;
  /** The batch that the sink has, or that it could not take yet. */
  #flight: string | Buffer | null = null;
  #flightLines = 0;
  #dropped = 0;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #isReleased = false;
  #timer: NodeJS.Timeout | null = null;
  /** Told when nothing is left to be written. */
  #waiters: (() => void)[] = [];

  /** `isImmediate` writes each line at once, for a person who watches. */
  constructor(sink: Sink, options: { isImmediate?: boolean; maxPendingLength?: number } = {}) {
    this.#sink = sink;
    this.#isImmediate = options.isImmediate ?? false;
    this.#maxPendingLength = options.maxPendingLength ?? MAX_PENDING_LENGTH;
    atExit.add(this.#onExit);
  }

  get isLost(): boolean {
    return this.#state === 'closed' && !this.#isReleased;
  }

  write(line: string): void {
    if (this.#state !== 'open' || this.#pending.length + line.length > this.#maxPendingLength) {
      this.#dropped++;
      return;
    }
    this.#pending += line;
    this.#pendingLines++;
    if (this.#flight !== null) return;
    if (this.#isImmediate || this.#pending.length >= GATHER_LENGTH) this.#send();
    else if (this.#timer === null) this.#arm(GATHER_MS);
  }

  flush(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#state === 'closed' || (this.#flight === null && this.#pending === '')) return resolve();
      const deadline = setTimeout(resolve, FLUSH_DEADLINE_MS);
      this.#waiters.push(() => {
        clearTimeout(deadline);
        resolve();
      });
      const isWriting = this.#flight !== null && this.#timer === null;
      if (!isWriting) this.#send();
    });
  }

  async close(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    atExit.delete(this.#onExit);
    if (this.#state === 'open') {
      this.#state = 'closing';
      await this.flush();
    }
    if (this.#timer) clearTimeout(this.#timer);
    this.#giveUp();
    this.#sink.close();
  }

  dropped(): number {
    return this.#dropped;
  }

  readonly #send = (): void => {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#flight === null) {
      if (this.#pending === '') return;
      this.#flight = this.#pending;
      this.#flightLines = this.#pendingLines;
      this.#pending = '';
      this.#pendingLines = 0;
    }
    this.#sink.write(this.#flight, this.#onWritten);
  };

  readonly #onWritten = (error: NodeJS.ErrnoException | null, rest?: Buffer): void => {
    if (this.#state === 'closed') return;
    if (error === null) {
      this.#flight = null;
      this.#flightLines = 0;
      if (this.#pending === '') this.#settle();
      else if (this.#waiters.length > 0 || this.#pending.length >= GATHER_LENGTH) this.#send();
      else if (this.#timer === null) this.#arm(GATHER_MS);
    } else if (FATAL.has(error.code ?? '')) {
      this.#giveUp();
    } else {
      this.#flight = rest ?? this.#flight;
      const isBusy = error.code === 'EAGAIN' || error.code === 'EBUSY';
      // A full disk may have room again later; whoever waits for a flush is not kept waiting for it.
      if (!isBusy) this.#settle();
      this.#arm(isBusy ? BUSY_RETRY_MS : FAULT_RETRY_MS);
    }
  };

  #arm(delayMs: number): void {
    this.#timer = setTimeout(this.#send, delayMs);
    this.#timer.unref();
  }

  #settle(): void {
    for (const waiter of this.#waiters) waiter();
    this.#waiters = [];
  }

  #giveUp(): void {
    this.#dropped += this.#pendingLines + this.#flightLines;
    this.#pending = '';
    this.#flight = null;
    this.#pendingLines = this.#flightLines = 0;
    this.#state = 'closed';
    this.#settle();
  }

  readonly #onExit = (): void => {
    if (this.#flight === null && this.#pending !== '' && this.#state === 'open') this.#sink.writeSync(this.#pending);
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
  if (typeof stdout !== 'number') return new BufferedDestination(streamSink(stdout), { isImmediate });
  let isPipe = false;
  try {
    const stat = fstatSync(stdout);
    isPipe = stat.isFIFO() || stat.isSocket();
  } catch {
    // A closed descriptor: the first write fails with EBADF and is counted.
  }
  return new BufferedDestination(isPipe ? pipeSink(stdout) : descriptorSink(stdout, false), { isImmediate });
}

/** How often a pipe is opened again whose reader has gone. */
const RETURN_MS = 1_000;

/**
 * Appends to a file, mode 0600, parents made with 0700, and can be pointed at a fresh file of the same name. A pipe
 * that nobody reads any more is opened again when there is a line to write, and what was written meanwhile is dropped;
 * terminals and other devices of characters are as good.
 */
export class FileDestination implements Destination {
  readonly #path: string;
  /** Monotonic. */
  readonly #now: () => number;
  #current: BufferedDestination;
  /** Resolves when the old files have been closed. */
  #retiring: Promise<unknown> = Promise.resolve();
  /** Lines that old files did not get. */
  #droppedBefore = 0;
  #privacy: FilePrivacy = 'private';
  /** When a pipe without a reader was last opened again. */
  #triedAt = Number.NEGATIVE_INFINITY;

  /**
   * Throws what `open` throws when the file cannot be opened, and a FileRefusal for a disk, where records would take
   * the place of its files.
   */
  constructor(path: string, now: () => number = () => performance.now()) {
    this.#path = path;
    this.#now = now;
    this.#current = this.#open();
  }

  get isLost(): boolean {
    return this.#current.isLost;
  }

  /** How the file was found when it was opened last. */
  get privacy(): FilePrivacy {
    return this.#privacy;
  }

  write(line: string): void {
    if (this.#current.isLost && this.#now() - this.#triedAt >= RETURN_MS) {
      this.#triedAt = this.#now();
      // Fails while there is no reader: then the line is one more that is dropped.
      this.reopen();
    }
    this.#current.write(line);
  }

  /**
   * Opens the path again after a rotation; lines taken before still go to the old file. When it fails the old file
   * stays in use: returns the error's code.
   */
  reopen(): string | null {
    let next: BufferedDestination;
    try {
      next = this.#open();
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
    }
    const old = this.#current;
    this.#current = next;
    this.#retiring = Promise.all([this.#retiring, old.close()]).then(() => {
      this.#droppedBefore += old.dropped();
    });
    return null;
  }

  flush(): Promise<void> {
    return this.#current.flush();
  }

  async close(): Promise<void> {
    await Promise.all([this.#current.close(), this.#retiring]);
  }

  dropped(): number {
    return this.#droppedBefore + this.#current.dropped();
  }

  #open(): BufferedDestination {
    const fd = openForAppending(this.#path);
    if (fstatSync(fd).isBlockDevice()) {
      closeSync(fd);
      throw new FileRefusal('EFTYPE', 'is a disk, not a plain file');
    }
    this.#privacy = closeToOthers(fd);
    return new BufferedDestination(descriptorSink(fd, true));
  }
}
