// One tab of several does the work for all: the gateway has few places for watchers, and a browser few connections for
// a host. By Web Locks where the browser has them; on plain http of another machine it has not, and tabs tell one
// another by beats.

/** What the tab that was elected does, until the signal is aborted. */
export type Work = (signal: AbortSignal) => Promise<void>;

/** An election among all tabs that use the same name. */
export interface Election {
  /** Stands for election; the work begins when this tab is elected. */
  join(): void;
  /** Gives the work up, to another tab where there is one. */
  leave(): void;
}

/** The election of this browser. */
export function createElection(name: string, work: Work): Election {
  return navigator.locks === undefined ? new BeatElection(name, work) : new LockElection(name, work);
}

class LockElection implements Election {
  readonly #name: string;
  readonly #work: Work;
  #joined: AbortController | null = null;

  constructor(name: string, work: Work) {
    this.#name = name;
    this.#work = work;
  }

  join(): void {
    if (this.#joined !== null) return;
    const joined = new AbortController();
    const { signal } = joined;
    this.#joined = joined;
    // A lock that is held ends with the work; one that is waited for, with the signal.
    navigator.locks.request(this.#name, { signal }, () => this.#work(signal)).catch(() => {});
  }

  leave(): void {
    this.#joined?.abort();
    this.#joined = null;
  }
}

const BEAT_MS = 1000;
/** Who has not heard a beat for so long, and up to a second more, takes the work. */
const DEAF_MS = 2500;

type Message = { readonly beat: string } | { readonly gone: string };

/** Two tabs may lead for a moment: of these the one with the smaller name goes on. */
class BeatElection implements Election {
  readonly #channel: BroadcastChannel;
  readonly #work: Work;
  readonly #me = String(Math.random());
  #isIn = false;
  #leading: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, work: Work) {
    this.#work = work;
    this.#channel = new BroadcastChannel(`${name}-lead`);
    this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#hear(data);
    addEventListener('pagehide', () => this.leave());
  }

  join(): void {
    if (this.#isIn) return;
    this.#isIn = true;
    // A leader that is there beats within a second.
    this.#wait(BEAT_MS * 1.5);
  }

  leave(): void {
    clearTimeout(this.#timer);
    this.#isIn = false;
    if (this.#leading !== null) this.#channel.postMessage({ gone: this.#me } satisfies Message);
    this.#leading?.abort();
    this.#leading = null;
  }

  #hear(message: Message): void {
    if (!this.#isIn) return;
    if ('gone' in message) this.#wait(0);
    else if (this.#leading === null) this.#wait(DEAF_MS);
    else if (message.beat < this.#me) {
      this.#leading.abort();
      this.#leading = null;
      this.#wait(DEAF_MS);
    }
  }

  #wait(ms: number): void {
    if (this.#leading !== null) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lead(), ms + Math.random() * Math.min(1000, ms + 200));
  }

  #lead(): void {
    const leading = new AbortController();
    this.#leading = leading;
    const beat = () => {
      if (leading.signal.aborted) return;
      this.#channel.postMessage({ beat: this.#me } satisfies Message);
      this.#timer = setTimeout(beat, BEAT_MS);
    };
    beat();
    void this.#work(leading.signal);
  }
}
