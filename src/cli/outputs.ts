// What happens to a result that nobody can take: a reader that has gone, as in `gcg config | head -1`, or a disk that
// is full.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { EXIT } from './io.ts';

/** The outputs of a process, watched until it ends. */
export interface WatchedOutputs {
  /** The exit code to end with: 1 in place of 0 when the result could not be written, which is then said on stderr. */
  settle(code: number): Promise<number>;
}

type Output = Pick<NodeJS.WriteStream, 'on' | 'write'>;

/**
 * From now on a failed write no longer throws. A reader that has gone wants no more, and has not made the command fail.
 */
export function watchOutputs({
  stdout,
  stderr,
}: {
  readonly stdout: Output;
  readonly stderr: Output;
} = process): WatchedOutputs {
  let failure: string | null = null;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') failure ??= error.code ?? error.name;
  });
  // There is nowhere left to say so.
  stderr.on('error', () => {});
  return {
    async settle(code) {
      // Errors of a write are told in the turn after it.
      await nextTurn();
      if (failure === null || code !== EXIT.ok) return code;
      stderr.write(`gcg: the result could not be written (${failure}): is the disk full?\n`);
      return EXIT.failure;
    },
  };
}
