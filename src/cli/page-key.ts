// The key of the live page in a file, so that the commands of whoever runs the gateway can show it: one file for each
// admin listener, since several gateways may run on a machine. A file that is left behind by a process that was killed
// opens nothing: each start has another key.

import { rmSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { type CallableAddress, isLoopbackHost, isWildcardHost, stripBrackets } from '../config/listen-address.ts';
import { defaultStateFolder } from '../config/sections/store.ts';
import { replaceFile } from '../fs/atomic-write.ts';
import { makeFolder } from '../fs/make-folder.ts';
import { readPlainFileSync } from '../fs/plain-file.ts';
import type { Io } from './io.ts';

type TcpAddress = Extract<CallableAddress, { kind: 'tcp' }>;

const LARGEST_KEY_BYTES = 256;

/**
 * The name of the file for a listener. Whatever name of loopback is written, it is the same machine; only `[::1]` may
 * belong to another gateway than 127.0.0.1 or 0.0.0.0 with the same port.
 */
export function pageKeyFile(folder: string, { host, port }: Pick<TcpAddress, 'host' | 'port'>): string {
  const name = stripBrackets(host);
  if (isSixthLoopback(name)) return join(folder, `ui-__1-${port}.key`);
  const isUsual = isWildcardHost(name) || name === '127.0.0.1' || (isLoopbackHost(name) && !/^127\./.test(name));
  return join(folder, `ui-${isUsual ? '' : `${name.replaceAll(/[^\w.-]/g, '_')}-`}${port}.key`);
}

function isSixthLoopback(host: string): boolean {
  return isIP(host) === 6 && new URL(`http://[${host.replace(/%.*$/, '')}]`).hostname === '[::1]';
}

/**
 * Which files may hold the key for an address, the likelier ones first. Who listens on 127.0.0.1 or everywhere is there
 * at `[::1]`, too, unless another one is; `localhost` may be either.
 */
function filesFor(folders: readonly string[], { host, port }: TcpAddress): string[][] {
  const of = (name: string) => folders.map((folder) => pageKeyFile(folder, { host: name, port }));
  const own = stripBrackets(host);
  if (isSixthLoopback(own)) return [of('::1'), of('127.0.0.1')];
  return isLoopbackHost(own) && isIP(own) === 0 ? [[...of('127.0.0.1'), ...of('::1')]] : [of(own)];
}

/** The files of a gateway that runs. Whoever writes them removes them. */
export class PageKeyFiles {
  readonly #key: string;
  readonly #paths: string[] = [];

  constructor(key: string) {
    this.#key = key;
  }

  /** Writes a file for each listener, mode 0600. Rejects with the system's error where that cannot be done. */
  async write(folder: string, listeners: readonly Pick<TcpAddress, 'host' | 'port'>[]): Promise<void> {
    if (listeners.length > 0) makeFolder(folder);
    for (const listener of listeners) {
      const path = pageKeyFile(folder, listener);
      await replaceFile(path, `${this.#key}\n`);
      this.#paths.push(path);
    }
  }

  /** Removes them, save one that another start has written meanwhile. Never throws. */
  remove(): void {
    for (const path of this.#paths.splice(0)) if (readKey(path) === this.#key) rmSync(path, { force: true });
  }
}

/** The key of the gateway at an address, where this user may read it: of the files that could be it, the last one. */
export function readPageKey(
  { store }: Pick<GatewayConfig, 'store'>,
  address: CallableAddress | undefined,
  io: Pick<Io, 'env' | 'home' | 'platform'>,
): string | undefined {
  if (address?.kind !== 'tcp') return undefined;
  const folders = new Set([store.path, defaultStateFolder(io) ?? ''].filter((folder) => folder !== ''));
  for (const paths of filesFor([...folders], address)) {
    const [newest] = paths
      .map((path) => ({ path, at: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? null }))
      .filter(({ at }) => at !== null)
      .sort((a, b) => (b.at ?? 0) - (a.at ?? 0));
    if (newest !== undefined) return readKey(newest.path);
  }
  return undefined;
}

function readKey(path: string): string | undefined {
  try {
    return readPlainFileSync(path, LARGEST_KEY_BYTES).bytes.toString('latin1').trim() || undefined;
  } catch {
    // Not there, or not for this user: the gateway then says what it takes.
    return undefined;
  }
}
