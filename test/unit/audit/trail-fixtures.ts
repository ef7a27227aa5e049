// An audit trail with a clock, a log and a disk that the test owns.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { AuditIo } from '../../../src/audit/audit-io.ts';
import { nodeIo } from '../../../src/audit/audit-io.ts';
import { type AuditOptions, AuditTrail } from '../../../src/audit/audit-trail.ts';
import type { AuditedCall } from '../../../src/audit/audited-call.ts';
import { verifyTrail } from '../../../src/audit/verify-trail.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

/** A call as the data path tells it. */
export function call(at: number): AuditedCall {
  return {
    ...{ client: 'crm', credential: 'default', operation: null, method: 'POST', path: `/api/v2/users/${at}` },
    ...{ status: 200, requestId: `r${at}`, correlationId: `c${at}`, peer: '::1' },
  };
}

/** A disk whose writes and syncs a test can hold, shorten or let fail. */
export function createDisk() {
  const held: (() => void)[] = [];
  const disk = {
    /** Code that writes fail with, after `room` octets of each; null: they work. */
    writeFailure: null as string | null,
    syncFailure: null as string | null,
    room: 0,
    isHeld: false,
    syncs: 0,
    writes: 0,
    release() {
      disk.isHeld = false;
      for (const go of held.splice(0)) go();
    },
  };
  const later = (go: () => void) => (disk.isHeld ? held.push(go) : go());
  const failure = (code: string) => Object.assign(new Error(code), { code });
  const io: AuditIo = {
    write(fd, octets, offset, done) {
      disk.writes += 1;
      later(() => {
        if (disk.writeFailure === null) return nodeIo.write(fd, octets, offset, done);
        const code = disk.writeFailure;
        if (disk.room === 0) return void setImmediate(done, failure(code), 0);
        nodeIo.write(fd, octets.subarray(0, offset + disk.room), offset, (_error, count) => {
          disk.room = 0;
          done(failure(code), count);
        });
      });
    },
    datasync(fd, done) {
      disk.syncs += 1;
      later(() => {
        if (disk.syncFailure === null) nodeIo.datasync(fd, done);
        else setImmediate(done, failure(disk.syncFailure));
      });
    },
  };
  return { io, disk };
}

/** Opens a trail in the test's folder; `records` are what it logged. */
export async function openTrail(t: Test, options: Partial<AuditOptions> & { dir?: string } = {}) {
  const { dir = t.testdir(), ...rest } = options;
  const file = rest.file ?? join(dir, 'audit.jsonl');
  const clock = createFakeClock();
  const records: Record<string, unknown>[] = [];
  const note = (level: string) => (fields: Record<string, unknown>, msg: string) =>
    void records.push({ level, msg, ...fields });
  const log = { error: note('error'), warn: note('warn'), info: note('info'), debug: note('debug') };
  const trail = await AuditTrail.open({ file, sync: false, clock, log, io: nodeIo, ...rest });
  t.teardown(() => trail.close());
  return { trail, file, dir, clock, records, lines: () => readLines(file) };
}

export function readLines(file: string): Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** What verification says of the files, in short. */
export async function problemsOf(...files: string[]): Promise<string[]> {
  const { problems } = await verifyTrail(files);
  return problems.map(({ line, what }) => `${line}: ${what}`);
}

/** Waits, by the real clock, for what the disk does. */
export async function until(isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn++) {
    if (turn > 5_000) throw new Error('it never became so');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
