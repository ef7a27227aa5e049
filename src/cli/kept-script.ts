// A script of the program whose compiled code is kept. It is made soon after the first call that was answered, of all
// that has run by then, and the next start need not compile it: Node's own cache has only what is compiled as a file is
// loaded, and a start runs two thousand functions more. The code is executed, so it is in a folder that `privateFolder`
// found to be closed to others; a checksum is for disks and for writes that were cut off.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { closeSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { crc32 } from 'node:zlib';

/** As Node wraps a CommonJS module. On one line, so that the file's lines are those of its source map. */
const HEAD = Buffer.from('(function(exports,require,module,__filename,__dirname){');
const TAIL = Buffer.from('\n})');

/** Before the code stand its CRC-32 and four octets more: V8 copies data that does not begin at a multiple of eight. */
const CHECKSUM_OCTETS = 8;

/** For so many programs, commands, Nodes and settings of Node the code is kept; what was made first goes first. */
const KEPT_FILES = 6;

/** After the first call that was answered its record is written, and a token renewed: so long is waited for them, ms. */
const AFTERWARDS_MS = 1_000;

/** Node tells of each answer that a server has sent. */
const ANSWERED = 'http.server.response.finish';

/** Age of the process, ms, until which code is made. V8 drops what has not run for long: later it would lack the start. */
const MADE_WITHIN_MS = 60_000;

/** A CommonJS script, run; `close()` when it has done its work. */
export class KeptScript<Exports> {
  readonly exports: Exports;
  readonly #path: string;
  readonly #script: Script;
  /** Runs from the first call that was answered until the code is made. */
  #due: NodeJS.Timeout | null = null;
  readonly #ageMs: () => number;

  /**
   * Runs the script in `file`, which is Latin-1. `folder`: one that nobody else can write to; `command`: what is run of
   * it, since each runs other functions; `ageMs`: of the process.
   */
  constructor(file: URL, folder: string, command: string, ageMs = () => performance.now()) {
    this.#ageMs = ageMs;
    const filename = fileURLToPath(file);
    const text = readFileSync(filename);
    this.#path = join(folder, `${basename(filename)}-${keyOf(text, command)}.code`);
    const wrapped = Buffer.concat([HEAD, text, TAIL]);
    const kept = readKept(this.#path);
    const cachedData = kept?.subarray(CHECKSUM_OCTETS);
    // Called by its URL, as modules are, for stacks.
    this.#script = new Script(wrapped.toString('latin1'), { filename: file.href, ...(cachedData && { cachedData }) });
    if (this.#script.cachedDataRejected !== false) subscribe(ANSWERED, this.#onAnswered);
    for (const used of [text, wrapped, kept]) release(used);
    const module = { exports: {} as Exports };
    const run = this.#script.runInThisContext() as (...given: unknown[]) => void;
    run(module.exports, createRequire(file), module, filename, dirname(filename));
    this.exports = module.exports;
  }

  /** Keeps the code now, where it was to be made soon. Never throws. */
  close(): void {
    unsubscribe(ANSWERED, this.#onAnswered);
    if (this.#due === null) return;
    clearTimeout(this.#due);
    this.#keep();
  }

  readonly #onAnswered = (message: unknown): void => {
    const { request, response } = message as { request: { url: string }; response: { statusCode: number } };
    const isLate = this.#ageMs() > MADE_WITHIN_MS;
    // Of a call that is refused little has run, and anybody can send one.
    if (!isLate && (response.statusCode >= 400 || !request.url.includes('/api/v2/'))) return;
    unsubscribe(ANSWERED, this.#onAnswered);
    if (!isLate) this.#due = setTimeout(() => this.#keep(), AFTERWARDS_MS).unref();
  };

  /** Never throws: without the code the starts that follow take longer, and nothing else. */
  #keep(): void {
    this.#due = null;
    const unfinished = `${this.#path}.${process.pid}`;
    try {
      const code = this.#script.createCachedData();
      const checksum = Buffer.alloc(CHECKSUM_OCTETS);
      checksum.writeUInt32LE(crc32(code));
      // It is there in one step, for whoever reads it and for others that make it now.
      rmSync(unfinished, { force: true });
      writeNew(unfinished, checksum, code);
      renameSync(unfinished, this.#path);
      release(code);
      removeOldest(this.#path);
    } catch {
      remove(unfinished);
    }
  }
}

/** Writes a file that is not there yet: through one descriptor, since processes in containers may have the same number. */
function writeNew(path: string, ...parts: readonly Buffer[]): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    for (const part of parts) writeFileSync(fd, part);
  } finally {
    closeSync(fd);
  }
}

/** Removes a file, at once: the process may be about to end. Never throws. */
function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A file system that cannot be written.
  }
}

/** Gives back the memory of a buffer that has it alone. As garbage it would be there as long as nothing is called. */
function release(used: Buffer | undefined): void {
  try {
    if (used?.buffer instanceof ArrayBuffer && used.length === used.buffer.byteLength) used.buffer.transfer(0);
  } catch {
    // Node may not let go of what it has made.
  }
}

/** What code fits: the text, since V8 compares lengths alone, the command, and the Node that made it, with its settings. */
function keyOf(text: Buffer, command: string): string {
  const { version, arch, execArgv, env } = process;
  // Code that is made while coverage is taken counts whenever it runs.
  const isCounting = (env.NODE_V8_COVERAGE ?? '') !== '';
  const host = [command, version, arch, ...execArgv, env.NODE_OPTIONS ?? '', isCounting].join('\n');
  return [crc32(text), text.length, crc32(host)].map((number) => number.toString(16)).join('-');
}

/** What is kept at a path, checksum and code; undefined where there is none, or not the whole. */
function readKept(path: string): Buffer | undefined {
  try {
    const kept = readFileSync(path);
    return crc32(kept.subarray(CHECKSUM_OCTETS)) === kept.readUInt32LE() ? kept : undefined;
  } catch {
    return undefined;
  }
}

/** Leaves the newest files of a script, unfinished ones included, and the one at `path` whatever the clock said then. */
function removeOldest(path: string): void {
  const folder = dirname(path);
  const [script = ''] = basename(path).split('-');
  const files = readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((file) => basename(file).startsWith(`${script}-`) && file !== path)
    // Another process may have given it its name, or removed it.
    .map((file) => ({ file, madeAt: statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.madeAt - a.madeAt);
  for (const { file } of files.slice(KEPT_FILES - 1)) remove(file);
}
