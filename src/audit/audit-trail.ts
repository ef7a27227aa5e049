// The audit trail: a file with a line for each changing call, chained by hashes. It keeps the order, writes lines that
// wait together with one write, and says when it cannot write. It decides nothing about calls: whoever serves them asks
// `failure` and waits for `append`.

import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, type Stats, writeSync } from 'node:fs';
import type { Clock, Timer } from '../clock.ts';
import type { FileLock } from '../file-lock.ts';
import { closeToOthers, openAppendFile } from '../fs/append-file.ts';
import { createIsoClock } from '../logging/format.ts';
import type { Log } from '../logging/log.ts';
import { AuditChain, type ChainHead, describeCut } from './audit-chain.ts';
import type { AuditIo } from './audit-io.ts';
import { type AuditedCall, callFields } from './audited-call.ts';
import { readRotatedEnd, readTrailEnd, TrailRefusal } from './trail-end.ts';
import { asAuditError, idAt, lockTrail, type TrailPlace } from './trail-file.ts';

export interface AuditOptions extends TrailPlace {
  /** Each line is on the disk, and not only with the system, before `append` resolves. */
  readonly sync: boolean;
  readonly io: AuditIo;
}

/** While the disk does not take lines, this much is kept (UTF-16 units); what comes then is counted as lost. */
const MOST_PENDING_LENGTH = 4 * 1024 * 1024;
/** One write takes at most this much, plus a line. */
const BATCH_LENGTH = 256 * 1024;
/** A failed write is tried again after this long. */
const RETRY_MS = 1_000;
/** The head goes into the log this often, and the file is looked for at its path. */
const HEAD_MS = 60_000;
/** How long `close` tries to write what is left. */
const CLOSE_MS = 5_000;

/** Lines for one file; after a rotation those for the old one are written first. */
interface Segment {
  readonly fd: number;
  /** Device and inode: tells whether the path still leads to this file. */
  readonly id: string;
  text: string;
}

/** What was taken from a segment to be written as one. */
interface Batch {
  readonly octets: Buffer;
  readonly settled: Settlement | null;
  /** How much of it the file has. */
  writtenBytes: number;
}

/** Those who wait for one batch, behind one promise. */
interface Settlement {
  readonly promise: Promise<boolean>;
  readonly resolve: (isOnDisk: boolean) => void;
}

/** A time in which lines could not be written. */
interface Fault {
  readonly code: string;
  readonly from: string;
  lost: number;
}

/** Made by `AuditTrail.open`, ended by `close`. No method but `open` throws. */
export class AuditTrail {
  readonly #file: string;
  readonly #sync: boolean;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #io: AuditIo;
  readonly #time: () => string;
  readonly #lock: FileLock;
  readonly #chain: AuditChain;
  /** In order; there is always one, and the last takes new lines. */
  readonly #segments: Segment[];
  /** Length of the text of all segments. */
  #pendingLength = 0;
  /** Those who wait for the next batch; made with the first of them. */
  #gathering: Settlement | null = null;
  /** A batch that is being written, or is tried again. */
  #batch: Batch | null = null;
  /** Whether a write runs, or one is planned. */
  #isBusy = false;
  #fault: Fault | null = null;
  /** Why a file that was removed cannot be followed by another: what is written to it is gone with the process. */
  #removal: string | null = null;
  /** Calls without a line, over all faults. */
  #lost = 0;
  #retry: Timer | null = null;
  #headTimer: Timer;
  #headTold = 0;
  #isClosed = false;
  /** Told when nothing is left to write. */
  #onIdle: (() => void) | null = null;

  /** Opens the file, mends its end, and writes a first line. Throws AuditError. */
  static async open(options: AuditOptions): Promise<AuditTrail> {
    const lock = await keepAlive(lockTrail(options));
    try {
      return new AuditTrail(options, lock);
    } catch (error) {
      await lock.release();
      throw asAuditError(options.file, error);
    }
  }

  private constructor({ file, sync, clock, log, io }: AuditOptions, lock: FileLock) {
    this.#file = file;
    this.#sync = sync;
    this.#clock = clock;
    this.#log = log;
    this.#io = io;
    this.#time = createIsoClock(clock.now);
    this.#lock = lock;
    const { segment, stats } = this.#openFile();
    const { size } = stats;
    const end = size === 0 ? readRotatedEnd(file) : this.#readEnd(segment);
    this.#closeToOthers(segment, stats);
    this.#segments = [segment];
    this.#chain = new AuditChain(this.#time, end?.head ?? undefined);
    const cut = end === null || end.piece.length === 0 ? '' : `"cut":${JSON.stringify(describeCut(end.piece))}`;
    if (size > 0 && end?.lacksNewline) this.#put('\n');
    if (end?.head) this.#put(this.#chain.next(size === 0 ? 'continued' : 'opened', cut));
    else this.#put(this.#chain.next('chain', `"chain":"${randomUUID()}"${cut === '' ? '' : `,${cut}`}`));
    if (cut !== '')
      log.warn({ file, octets: end?.piece.length }, 'audit file ended with a cut line, which is noted in the next one');
    this.#headTimer = clock.after(HEAD_MS, this.#tell);
    process.on('exit', this.#onExit);
  }

  /** The last line that was made, which is not on the disk yet where one is pending. */
  get head(): ChainHead {
    return this.#chain.head;
  }

  /** Why lines cannot be written just now, as the system's code; null while they can. */
  get failure(): string | null {
    return this.#fault?.code ?? this.#removal;
  }

  /** Calls whose lines could not be kept, since the start. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * Writes the line of a call. With `sync` the promise tells when it is on the disk (true), or that it is not and may
   * be later (false); without, null is returned: nobody has to wait.
   */
  append(call: AuditedCall, kind: 'call' | 'admin' = 'call'): Promise<boolean> | null {
    if (this.#isClosed || this.#pendingLength > MOST_PENDING_LENGTH) {
      this.#fault ??= { code: 'EAGAIN', from: this.#time(), lost: 0 };
      this.#fault.lost += 1;
      this.#lost += 1;
      return this.#sync ? Promise.resolve(false) : null;
    }
    this.#put(this.#chain.next(kind, callFields(call)));
    if (!this.#sync) return null;
    // Whoever waits while the disk refuses would wait for as long as it does.
    if (this.#fault !== null) return Promise.resolve(false);
    this.#gathering ??= createSettlement();
    return this.#gathering.promise;
  }

  /**
   * Opens the path again, after a rotation; the chain goes on in the new file. Where the path leads to the same file,
   * nothing happens; where it cannot be opened, the old file stays in use, which is a failure where it was removed.
   */
  reopen(): void {
    if (this.#isClosed) return;
    const current = this.#segments[this.#segments.length - 1] as Segment;
    let next: { segment: Segment; stats: Stats } | undefined;
    try {
      next = this.#openFile();
      if (next.segment.id === current.id) {
        closeSync(next.segment.fd);
        return;
      }
      // Its end is not the end of our chain: no line of ours belongs behind it.
      if (next.stats.size > 0) throw new TrailRefusal('is not empty: the next file of a rotation must be');
    } catch (error) {
      if (next !== undefined) closeSync(next.segment.fd);
      const { message } = asAuditError(this.#file, error);
      if (fstatSync(current.fd).nlink === 0) this.#removal = (error as NodeJS.ErrnoException).code ?? 'EEXIST';
      this.#log.error({ file: this.#file, reason: message }, 'audit file cannot be reopened, the old one stays in use');
      return;
    }
    this.#removal = null;
    this.#closeToOthers(next.segment, next.stats);
    this.#tellHead();
    this.#segments.push(next.segment);
    this.#put(this.#chain.next('continued', ''));
  }

  /** Writes what is left and a last line, and lets go of the file. Resolves within a few seconds in any case. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#headTimer.cancel();
    this.#put(this.#chain.next('closed', ''));
    this.#isClosed = true;
    const isWritten = await keepAlive(this.#drained());
    // A write that hangs keeps its descriptor: closed, the number could be another file's by then.
    const isWriting = !isWritten && this.#retry === null;
    this.#retry?.cancel();
    process.off('exit', this.#onExit);
    if (isWritten) this.#tellHead();
    else
      this.#log.error(
        { file: this.#file, code: this.failure, lost: this.lost },
        'audit file could not be written to the end',
      );
    if (!isWriting) for (const { fd } of this.#segments) closeSync(fd);
    await this.#lock.release();
  }

  #put(line: string): void {
    (this.#segments[this.#segments.length - 1] as Segment).text += line;
    this.#pendingLength += line.length;
    if (this.#isBusy) return;
    this.#isBusy = true;
    // Lines of calls that end in the same turn go out together.
    setImmediate(this.#write);
  }

  readonly #write = (): void => {
    this.#retry = null;
    this.#batch ??= this.#nextBatch();
    if (this.#batch === null) {
      this.#isBusy = false;
      this.#onIdle?.();
      return;
    }
    const { octets, writtenBytes } = this.#batch;
    const { fd } = this.#segments[0] as Segment;
    if (writtenBytes === octets.length) this.#io.datasync(fd, this.#onSynced);
    else this.#io.write(fd, octets, writtenBytes, this.#onWritten);
  };

  /** Takes the text of the first segment that has some; a file that is left behind is complete, and closed. */
  #nextBatch(): Batch | null {
    let [first] = this.#segments as [Segment];
    while (first.text === '' && this.#segments.length > 1) {
      this.#io.datasync(first.fd, closeQuietly(first.fd));
      this.#segments.shift();
      [first] = this.#segments as [Segment];
    }
    if (first.text === '') return null;
    const isAll = first.text.length <= BATCH_LENGTH;
    const length = isAll ? first.text.length : first.text.indexOf('\n', BATCH_LENGTH) + 1;
    const text = isAll ? first.text : first.text.slice(0, length);
    first.text = isAll ? '' : first.text.slice(length);
    this.#pendingLength -= length;
    const isLast = isAll && this.#segments.length === 1;
    const settled = isLast ? this.#gathering : null;
    if (isLast) this.#gathering = null;
    return { octets: Buffer.from(text), settled, writtenBytes: 0 };
  }

  readonly #onWritten = (error: NodeJS.ErrnoException | null, count: number): void => {
    const batch = this.#batch as Batch;
    batch.writtenBytes += count;
    if (error !== null) this.#failed(error);
    else if (batch.writtenBytes < batch.octets.length || this.#sync) this.#write();
    else this.#done(batch);
  };

  readonly #onSynced = (error: NodeJS.ErrnoException | null): void => {
    if (error === null) this.#done(this.#batch as Batch);
    else this.#failed(error);
  };

  #done({ settled }: Batch): void {
    this.#batch = null;
    settled?.resolve(true);
    if (this.#fault !== null) this.#recovered(this.#fault);
    this.#write();
  }

  /** Nobody waits for a disk that refuses; the lines stay, and are tried again. */
  #failed(error: NodeJS.ErrnoException): void {
    const code = error.code ?? 'UNKNOWN';
    if (this.#fault === null)
      this.#log.error({ file: this.#file, code }, 'audit file cannot be written, it is tried again every second');
    this.#fault ??= { code, from: this.#time(), lost: 0 };
    this.#batch?.settled?.resolve(false);
    this.#gathering?.resolve(false);
    this.#gathering = null;
    this.#retry = this.#clock.after(RETRY_MS, this.#write);
  }

  /** The chain itself tells that it was interrupted, and what is missing. */
  #recovered({ code, from, lost }: Fault): void {
    this.#fault = null;
    const fields = `"code":${JSON.stringify(code)},"from":"${from}","to":"${this.#time()}","lost":${lost}`;
    this.#put(this.#chain.next('fault', fields));
    this.#log.warn({ file: this.#file, code, from, lost }, 'audit file is written again');
  }

  /** True when all lines are in the file. */
  #drained(): Promise<boolean> {
    if (!this.#isBusy) return Promise.resolve(true);
    return new Promise((resolve) => {
      const deadline = this.#clock.after(CLOSE_MS, () => resolve(false));
      this.#onIdle = () => {
        deadline.cancel();
        resolve(true);
      };
    });
  }

  readonly #tell = (): void => {
    this.#headTimer = this.#clock.after(HEAD_MS, this.#tell);
    this.#tellHead();
    const current = this.#segments[this.#segments.length - 1] as Segment;
    if (idAt(this.#file) === current.id) return;
    this.#log.warn({ file: this.#file }, 'audit file was moved or removed without a signal, it is opened again');
    this.reopen();
  };

  /** A head that is kept elsewhere shows later that no line up to it was changed or cut off. */
  #tellHead(): void {
    const { seq, hash } = this.#chain.head;
    if (seq === this.#headTold) return;
    this.#headTold = seq;
    this.#log.info({ file: this.#file, seq, hash }, 'audit head');
  }

  #openFile(): { segment: Segment; stats: Stats } {
    const { fd, stats } = openAppendFile(this.#file);
    return { segment: { fd, id: `${stats.dev}:${stats.ino}`, text: '' }, stats };
  }

  /** Not before it is known to be ours: another file that somebody named by mistake stays as it is. */
  #closeToOthers({ fd }: Segment, stats: Stats): void {
    if (closeToOthers(fd, stats) === 'open')
      this.#log.warn({ file: this.#file, advice: 'make it 0600 and yours' }, 'audit file is open to other users');
  }

  #readEnd({ fd }: Segment) {
    try {
      return readTrailEnd(this.#file);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** A process that ends without `close` still writes what is pending, unless a write of unknown outcome runs. */
  readonly #onExit = (): void => {
    if (this.#batch !== null) return;
    try {
      for (const { fd, text } of this.#segments) if (text !== '') writeSync(fd, text);
    } catch {
      // The process is exiting: nobody is left to tell.
    }
  };
}

/** The clock's timers let the process end, which must not happen before this is done. */
async function keepAlive<T>(done: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, CLOSE_MS);
  try {
    return await done;
  } finally {
    clearInterval(timer);
  }
}

function createSettlement(): Settlement {
  let resolve!: (isOnDisk: boolean) => void;
  const promise = new Promise<boolean>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function closeQuietly(fd: number): () => void {
  // What a sync says of a file that is left behind changes nothing: its lines are with the system.
  return () => closeSync(fd);
}
