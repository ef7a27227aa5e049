// The writes of sessions: those of one session go one after the other, so that what is written last is what is true
// last. A store that fails costs a session its restart, and nothing else.

import type { Clock } from '../../clock.ts';
import type { Log } from '../../logging/log.ts';
import type { SessionStore, StoredSession } from './session-store.ts';

/** A removal that failed is tried again after 1, 2, 4 … 60 s. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

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

/** The sessions that outlive this process, in a store that no other instance shares; `close()` ends its retries. */
export class KeptSessions {
  readonly #store: SessionStore;
  readonly #writes: SessionWrites;
  readonly #clock: Clock;
  #isClosed = false;

  constructor(store: SessionStore, writes: SessionWrites, clock: Clock) {
    this.#store = store;
    this.#writes = writes;
    this.#clock = clock;
  }

  /** `session` is asked when its turn has come; null: it has ended meanwhile. Never rejects. */
  async save(hash: string, session: () => StoredSession | null): Promise<void> {
    await this.#writes.write(hash, async () => {
      const stored = session();
      if (stored !== null) await this.#store.save(stored);
    });
  }

  /**
   * Tried until the store has forgotten it: a restart would bring an ended session back, and nobody could end it a
   * second time. Never rejects.
   */
  async forget(hash: string, retryMs = FIRST_RETRY_MS): Promise<void> {
    if ((await this.#writes.write(hash, () => this.#store.remove(hash))) || this.#isClosed) return;
    this.#clock.after(retryMs, () => void this.forget(hash, Math.min(retryMs * 2, LONGEST_RETRY_MS)));
  }

  /** Those that can be read and are not over, the one used last at the end; the others are removed. Never throws. */
  async load(idleMs: number): Promise<readonly StoredSession[]> {
    const now = this.#clock.now();
    const isOver = ({ usedAt, refreshToken, token }: StoredSession) =>
      now - usedAt > idleMs || (refreshToken === null && (token === null || token.expiresAt <= now));
    const found = await this.#store.load().catch(() => []);
    for (const session of found) if (isOver(session)) void this.forget(session.hash);
    return found.filter((session) => !isOver(session)).sort((a, b) => a.usedAt - b.usedAt);
  }

  close(): void {
    this.#isClosed = true;
  }
}
