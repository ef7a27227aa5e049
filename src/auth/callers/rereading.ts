// Reading again what others may have changed: one reading runs, and at most one more waits for it, however often it is
// asked for.

/** The readings of one thing. */
export class Rereading {
  readonly #read: () => Promise<void>;
  /** The readings that are under way. */
  #running: Promise<void> | null = null;
  #isWanted = false;

  /** `read` never rejects. */
  constructor(read: () => Promise<void>) {
    this.#read = read;
  }

  /** Whether a reading is under way. */
  get isRunning(): boolean {
    return this.#running !== null;
  }

  /** Resolves when a reading has ended that began after this was called. Never rejects. */
  again(): Promise<void> {
    this.#isWanted = true;
    this.#running ??= this.#readWhileWanted();
    return this.#running;
  }

  async #readWhileWanted(): Promise<void> {
    while (this.#isWanted) {
      this.#isWanted = false;
      await this.#read();
    }
    this.#running = null;
  }
}
