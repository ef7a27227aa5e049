// What a program or a shared library for Linux needs to be started, read from its file: the loader and the libraries by
// name. Reads only, so it works for other processors than the one it runs on.

import { closeSync, openSync, readSync } from 'node:fs';

/** What the header of an ELF file names. */
export interface ElfNeeds {
  /** The loader's path, null for a library. */
  readonly interpreter: string | null;
  /** Names of shared libraries, as `libc.so.6`. */
  readonly libraries: readonly string[];
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly bytes: number;
}

const LOAD = 1;
const DYNAMIC = 2;
const INTERPRETER = 3;
/** Tags of the dynamic section (System V gABI, chapter 5). */
const NEEDED = 1;
const STRING_TABLE = 5;
const SEARCH_PATHS = [15, 29];

/** Reads a file of 64 bit, least significant byte first. Throws with the path where it is none, or is cut off. */
export function elfNeeds(path: string): ElfNeeds {
  const file = openSync(path, 'r');
  try {
    return needsOf((offset, bytes) => {
      const buffer = Buffer.alloc(bytes);
      if (readSync(file, buffer, 0, bytes, offset) !== bytes) throw new Error(`${path} is cut off`);
      return buffer;
    }, path);
  } finally {
    closeSync(file);
  }
}

function needsOf(read: (offset: number, bytes: number) => Buffer, path: string): ElfNeeds {
  const header = read(0, 64);
  if (header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
    throw new Error(`${path} is no ELF file of 64 bit, least significant byte first`);
  const size = header.readUInt16LE(54);
  const count = header.readUInt16LE(56);
  const table = read(Number(header.readBigUInt64LE(32)), size * count);
  const segments = Array.from({ length: count }, (_, n): Segment => {
    const at = n * size;
    return {
      type: table.readUInt32LE(at),
      offset: Number(table.readBigUInt64LE(at + 8)),
      address: Number(table.readBigUInt64LE(at + 16)),
      bytes: Number(table.readBigUInt64LE(at + 32)),
    };
  });
  const content = (type: number) => {
    const segment = segments.find((one) => one.type === type);
    return segment === undefined ? null : read(segment.offset, segment.bytes);
  };
  const interpreter = content(INTERPRETER);
  const dynamic = content(DYNAMIC);
  if (dynamic === null) return { interpreter: interpreter && textAt(interpreter, 0), libraries: [] };

  const names: number[] = [];
  let strings: number | null = null;
  for (let at = 0; at + 16 <= dynamic.length; at += 16) {
    const tag = Number(dynamic.readBigInt64LE(at));
    const value = Number(dynamic.readBigUInt64LE(at + 8));
    if (tag === 0) break;
    if (tag === NEEDED) names.push(value);
    if (tag === STRING_TABLE) strings = value;
    if (SEARCH_PATHS.includes(tag)) throw new Error(`${path} looks for libraries in folders of its own`);
  }
  const libraries = names.map((name) => {
    const address = (strings ?? 0) + name;
    const home = segments.find(
      (one) => one.type === LOAD && one.address <= address && address < one.address + one.bytes,
    );
    if (strings === null || home === undefined) throw new Error(`${path} names a library outside of itself`);
    const offset = home.offset + address - home.address;
    return textAt(read(offset, Math.min(256, home.offset + home.bytes - offset)), 0);
  });
  return { interpreter: interpreter && textAt(interpreter, 0), libraries };
}

function textAt(buffer: Buffer, at: number): string {
  const end = buffer.indexOf(0, at);
  return buffer.toString('latin1', at, end === -1 ? buffer.length : end);
}
