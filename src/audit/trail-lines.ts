// The lines of an audit file as verification reads them: a plain file, a compressed one, or a pipe, of any length, in
// bounded memory.

import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { LONGEST_LINE_BYTES } from './audit-chain.ts';

/** Told each line, without its newline. `isEnded`: it has one. */
export type TakeLine = (octets: Buffer, isEnded: boolean) => void;

/** What stands for a line that is longer than any of ours, of which nobody needs to see more: no line has such octets. */
const TOO_LONG = Buffer.from('\n');
const NOTHING = Buffer.alloc(0);

/**
 * Reads a file to its end. Throws the system's error, with the path; resolves with the code where what is compressed
 * goes on for some lines and cannot be read any further, else with null.
 */
export async function readLines(file: string, take: TakeLine): Promise<string | null> {
  const splitter = new LineSplitter(take);
  try {
    for await (const chunk of await openStream(file)) splitter.write(chunk as Buffer);
    splitter.end();
    return null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code?.startsWith('Z_')) return code;
    throw Object.assign(error as NodeJS.ErrnoException, { path: file });
  }
}

/** Rotated files may be compressed; gzip begins with two octets that no line begins with. */
async function openStream(file: string): Promise<Readable> {
  const source = createReadStream(file);
  await once(source, 'readable');
  const start: Buffer | null = source.read();
  if (start === null) return source;
  // A pipe cannot be opened again to be read from its beginning.
  source.unshift(start);
  if (start.length < 2 || start.readUInt16BE() !== 0x1f8b) return source;
  // What goes wrong ends the reading of what comes out.
  return pipeline(source, createGunzip(), () => {});
}

class LineSplitter {
  readonly #take: TakeLine;
  /** The beginning of a line whose end is still to come. */
  #rest: Buffer = NOTHING;
  #isTooLong = false;

  constructor(take: TakeLine) {
    this.#take = take;
  }

  write(chunk: Buffer): void {
    let start = 0;
    for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, start)) {
      this.#gather(chunk.subarray(start, at));
      this.#deliver(true);
      start = at + 1;
    }
    this.#gather(chunk.subarray(start));
  }

  end(): void {
    if (this.#rest.length > 0) this.#deliver(false);
  }

  #gather(octets: Buffer): void {
    if (this.#isTooLong) return;
    this.#isTooLong = this.#rest.length + octets.length > LONGEST_LINE_BYTES;
    if (this.#isTooLong) this.#rest = TOO_LONG;
    else this.#rest = this.#rest.length === 0 ? octets : Buffer.concat([this.#rest, octets]);
  }

  #deliver(isEnded: boolean): void {
    this.#take(this.#rest, isEnded);
    this.#rest = NOTHING;
    this.#isTooLong = false;
  }
}
