// The token requests of one credential that holds several tokens: one at a time and a second apart, since the login
// host throttles; and while it refuses one of them, the others do not ask the same.

import type { Clock } from '../../clock.ts';
import type { TokenEndpoint } from './token-endpoint.ts';
import { backoffMs, REFUSED_WAIT_MS, SHORTEST_WAIT_MS } from './token-life.ts';
import { TokenFailure, toTokenFailure } from './token-source.ts';

/** What the turns are made of. `random` is 0 (inclusive) to 1 (exclusive). */
export interface TokenTurnsDeps {
  readonly clock: Clock;
  readonly random: () => number;
}

/** The last request, where it failed. */
interface Failed {
  readonly by: number;
  readonly failure: TokenFailure;
  /** Monotonic ms, until when it speaks for the requests of others. */
  readonly until: number;
  readonly revision: string;
}

/**
 * Gives the turns. The first token's requests go first, and always ask: its source keeps the distances of its own. A
 * credential with one token has them only, and waits here for nothing but what a configuration before began.
 */
export class TokenTurns {
  /** Changes when a secret may have changed: what was refused with the one before says nothing of it. */
  revision: () => string = () => '';
  readonly #deps: TokenTurnsDeps;
  readonly #waiting: { readonly number: number; readonly go: () => void }[] = [];
  #isTaken = false;
  /** Whose request was the last, and when it ended (monotonic ms). */
  #last: { readonly by: TokenEndpoint | 1; readonly endedMono: number } = {
    by: 1,
    endedMono: Number.NEGATIVE_INFINITY,
  };
  #failed: Failed | null = null;
  #failuresInRow = 0;

  constructor(deps: TokenTurnsDeps) {
    this.#deps = deps;
  }

  /** `endpoint` for the token of that number, from 1 on: its requests wait for their turns. */
  around(endpoint: TokenEndpoint, number: number): TokenEndpoint {
    const asking: TokenEndpoint = async (call) => {
      // A reload may make another source of a further token, while the request of the one before is under way.
      const by = number === 1 ? 1 : asking;
      await this.#take(number);
      try {
        this.#assertWorthAsking(number);
        await this.#keepDistance(by);
        const granted = await endpoint(call);
        this.#failed = null;
        this.#failuresInRow = 0;
        this.#last = { by, endedMono: this.#deps.clock.monotonic() };
        return granted;
      } catch (thrown) {
        throw this.#note(number, by, thrown);
      } finally {
        this.#release();
      }
    };
    return asking;
  }

  #take(number: number): Promise<void> | void {
    if (!this.#isTaken) {
      this.#isTaken = true;
      return;
    }
    return new Promise((go) => {
      if (number === 1) this.#waiting.unshift({ number, go });
      else this.#waiting.push({ number, go });
    });
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#isTaken = false;
    else next.go();
  }

  /** Throws the failure of another's request as long as that one speaks for this one, too. */
  #assertWorthAsking(number: number): void {
    const failed = this.#failed;
    if (number === 1 || failed === null || failed.by === number) return;
    const leftMs = failed.until - this.#deps.clock.monotonic();
    if (leftMs <= 0 || failed.revision !== this.revision()) return;
    throw new SharedFailure(failed.failure, leftMs);
  }

  async #keepDistance(by: TokenEndpoint | 1): Promise<void> {
    const { clock } = this.#deps;
    const waitMs = this.#last.endedMono + SHORTEST_WAIT_MS - clock.monotonic();
    if (this.#last.by !== by && waitMs > 0) await new Promise<void>((resolve) => clock.after(waitMs, resolve));
  }

  /** Notes what a request failed by; gives what its source is to be told. */
  #note(number: number, by: TokenEndpoint | 1, thrown: unknown): unknown {
    if (thrown instanceof SharedFailure) return thrown;
    const { clock, random } = this.#deps;
    const failure = toTokenFailure(thrown);
    const { kind, retryAfterMs = 0 } = failure;
    this.#failuresInRow += 1;
    const now = clock.monotonic();
    const waitMs =
      kind === 'refused'
        ? Math.max(REFUSED_WAIT_MS, retryAfterMs)
        : backoffMs(this.#failuresInRow, random(), retryAfterMs);
    this.#last = { by, endedMono: now };
    this.#failed = { by: number, failure, until: now + waitMs, revision: this.revision() };
    return thrown;
  }
}

/** The failure of another's request, which stands for one that was not sent. */
class SharedFailure extends TokenFailure {
  constructor({ kind, message, error, oauthError }: TokenFailure, retryAfterMs: number) {
    super(kind, message, { code: error.code, retryAfterMs, oauthError });
  }
}
