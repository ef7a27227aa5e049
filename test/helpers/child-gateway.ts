// A gateway in a process of its own, so that its memory and its descriptors are its alone. Linux: read from /proc.

import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { addressOf, startCommand } from './command.ts';

export interface ChildGateway {
  readonly port: number;
  /** Resident memory now, MiB. */
  residentMiB(): number;
  /** Highest resident memory since the last call, MiB. */
  peakMiB(): number;
  /** Sockets that are open, listening ones included. */
  sockets(): number;
}

/**
 * Starts `gcg serve` before `origin` (plain http on loopback) with `token`; ends with the test. `lines` are further
 * sections of its file.
 */
export async function startChildGateway(t: Test, origin: string, token: string, lines = ''): Promise<ChildGateway> {
  const folder = t.testdir();
  const file = join(folder, 'gcg.ini');
  const upstream = new URL(origin);
  const sections =
    `[gateway]\nhost = ${upstream.hostname}\nprotocol = http\nport = ${upstream.port}\n[server]\nlisten = ` +
    `127.0.0.1:0\n`;
  writeFileSync(file, `${sections}[credential]\ngrant_type = access_token\naccess_token = ${token}\n${lines}`, {
    mode: 0o600,
  });
  const { child, until } = startCommand(t, ['serve', '--config', file], { cwd: folder });
  const port = Number(new URL(addressOf(await until('"msg":"listening"'))).port);
  const proc = `/proc/${child.pid}`;
  const status = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`${proc}/status`, 'utf8'))?.[1]) / 1024;
  return {
    port,
    residentMiB: () => status('VmRSS'),
    peakMiB() {
      const peak = status('VmHWM');
      // Starts the peak anew: proc_pid_clear_refs(5).
      writeFileSync(`${proc}/clear_refs`, '5');
      return peak;
    },
    sockets: () => readdirSync(`${proc}/fd`).filter((fd) => isSocket(`${proc}/fd/${fd}`)).length,
  };
}

function isSocket(path: string): boolean {
  try {
    return readlinkSync(path).startsWith('socket:');
  } catch {
    // Closed while we looked.
    return false;
  }
}
