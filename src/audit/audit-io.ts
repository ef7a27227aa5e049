// What a trail asks of the system while calls run, so that a test can stand for a disk that is full or broken.

import { fdatasync, write } from 'node:fs';

export interface AuditIo {
  /** Writes `octets` from `offset` on; `count` were written, also where it failed. */
  write(
    fd: number,
    octets: Buffer,
    offset: number,
    done: (error: NodeJS.ErrnoException | null, count: number) => void,
  ): void;
  /** `done` when what was written is on the disk. */
  datasync(fd: number, done: (error: NodeJS.ErrnoException | null) => void): void;
}

export const nodeIo: AuditIo = {
  write: (fd, octets, offset, done) =>
    write(fd, octets, offset, octets.length - offset, null, (error, count) => done(error, count ?? 0)),
  datasync: fdatasync,
};
