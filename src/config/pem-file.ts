// Certificate and key files are looked at when the configuration is loaded, so that `check` finds a mistaken path. Nothing is kept of them.

import { closeSync, openSync, readSync } from 'node:fs';
import { isReadableByOthers } from './private-file.ts';
import type { SectionReader } from './reader.ts';
import type { ReaderContext } from './reader-context.ts';

/** Enough for whatever stands above the first PEM block. */
const LOOK_AT_BYTES = 64 * 1024;

/** The path of a PEM file; a problem is added when it cannot be read or holds no PEM block. null when not set. */
export function checkPemFile(reader: SectionReader, key: string, context: ReaderContext): string | null {
  const path = reader.path(key);
  if (path === null) return null;
  context.referencedFiles.add(path);
  const reason = refusePem(path);
  if (reason !== undefined) reader.problem(key, `${path} ${reason}`);
  else if (key === 'key_file' && isReadableByOthers(path))
    reader.warning(key, `others can read ${path}, which holds a private key; run chmod 600 on it`);
  return path;
}

function refusePem(path: string): string | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const bytes = Buffer.alloc(LOOK_AT_BYTES);
    const text = bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, 0));
    return text.includes('-----BEGIN ') ? undefined : 'holds no PEM block (-----BEGIN …); convert it to PEM';
  } catch (error) {
    return `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'}); mend the path or its permissions`;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
