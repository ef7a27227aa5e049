// Paths that lead to no plain file, or to one that cannot be read whole: what a configuration may name by mistake or by
// malice.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A path, and the words it is refused with. */
export interface OddPath {
  readonly path: string;
  readonly words: RegExp;
}

/** Makes one of each kind, which go with the test; nobody ever writes to the FIFO. */
export async function makeOddPaths(t: Test): Promise<Readonly<Record<string, OddPath>>> {
  // A short path, because that of a socket may have hundred characters only.
  const folder = mkdtempSync(join(tmpdir(), 'gcg-odd-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const at = (name: string) => join(folder, name);
  execFileSync('mkfifo', [at('fifo')]);
  mkdirSync(at('directory'));
  writeFileSync(at('huge'), '');
  truncateSync(at('huge'), 8 * 1024 ** 3);
  symlinkSync('loop', at('loop'));
  symlinkSync('fifo', at('link-to-fifo'));
  const server = createServer().listen(at('socket'));
  await once(server, 'listening');
  t.teardown(() => server.close());
  return {
    'a FIFO': { path: at('fifo'), words: /is a pipe, not a plain file/ },
    'a link to a FIFO': { path: at('link-to-fifo'), words: /is a pipe, not a plain file/ },
    'an endless device': { path: '/dev/zero', words: /is a device, not a plain file/ },
    'a terminal': { path: '/dev/ptmx', words: /is a device, not a plain file/ },
    'a directory': { path: at('directory'), words: /is a folder; name the file in it/ },
    'a socket': { path: at('socket'), words: /is a socket, not a plain file/ },
    'a huge file': { path: at('huge'), words: /is larger than \d+ MiB/ },
    nothing: { path: at('missing'), words: /does not exist|cannot be read \(ENOENT\)/ },
    'a file below a file': { path: at('huge/below'), words: /does not exist|cannot be read \(ENOTDIR\)/ },
    'a link to itself': { path: at('loop'), words: /leads to itself|cannot be read \(ELOOP\)/ },
    // A file by its kind, which fails when it is read, whoever reads it.
    ...(process.platform === 'linux' && {
      'an unreadable file': { path: '/proc/self/mem', words: /cannot be read \(E(IO|ACCES)\)|may not be read/ },
    }),
  };
}
