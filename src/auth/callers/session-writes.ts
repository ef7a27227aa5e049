// The writes of sessions: those of one session go one after the other, so that what is written last is what is true
// last. A store that fails costs a session its restart, and nothing else.

import type { Log } from '../../logging/log.ts';

/** The writes of one gateway that are under way. */
export class SessionWrites {
  readonly #log: Pick<Log, 'warn'>;
  /** The last one of each session; resolves with whether it is written. */
  readonly #last = new Map<string, Promise<boolean>>();

  constructor(log: Pick<Log, 'warn'>) {
    this.#log = log;
  }

  /** Resolves with whether it is written. Never rejects. */
  write(hash: string, work: () => Promise<void>): Promise<boolean> {
    const done = (this.#last.get(hash) ?? Promise.resolve()).then(work).then(
      () => true,
      () => {
        this.#log.warn({}, 'session could not be stored');
        return false;
      },
    );
    this.#last.set(hash, done);
    return done.finally(() => this.#last.get(hash) === done && this.#last.delete(hash));
  }

  /** Whether the last write of a session that is under way is written; true where there is none. */
  async last(hash: string): Promise<boolean> {
    return (await this.#last.get(hash)) ?? true;
  }

  /** Resolves when none is under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
