// A caller's request body, ready to be sent more than once: small ones whole, large ones streamed and kept up to a
// limit. What is streamed is read no faster than the upstream accepts it, beyond a small read-ahead; what
// all calls keep together is counted.

import type { IncomingMessage } from 'node:http';
import { GatewayError, isGatewayError } from '../errors.ts';
import { bareCause } from './errors.ts';

/** The platform refuses more than 512 000 bytes on its API, so what can succeed can be replayed. */
const REPLAY_LIMIT_BYTES = 512 * 1024;
/** Bodies up to here are read whole before an upstream connection is taken, so that a slow sender holds none. */
const WHOLE_LIMIT_BYTES = 64 * 1024;

/** The largest piece that a socket hands out at once. */
const LARGEST_CHUNK_BYTES = 64 * 1024;

/** Bounds what all calls together keep for replays. */
export interface ReplayBudget {
  /** Takes `bytes` if they fit. */
  take(bytes: number): boolean;
  give(bytes: number): void;
  readonly usedBytes: number;
}

/** A budget of `limitBytes` over all calls; when it is used up, further large bodies can be sent once only. */
export function createReplayBudget(limitBytes = 64 * 1024 * 1024): ReplayBudget {
  let usedBytes = 0;
  return {
    take(bytes) {
      if (usedBytes + bytes > limitBytes) return false;
      usedBytes += bytes;
      return true;
    },
    give(bytes) {
      usedBytes -= bytes;
    },
    get usedBytes() {
      return usedBytes;
    },
  };
}

/**
 * A body that layers may send again while `canReplay` holds. `release` gives its share of the budget back and is safe
 * to repeat.
 */
export interface RequestBody {
  readonly canReplay: boolean;
  /** Bytes received from the caller so far. */
  readonly receivedBytes: number;
  /** True while octets are still expected from the caller: such a call uses a connection of its own share. */
  readonly isStreaming: boolean;
  /** True while an attempt waits for the caller's next octets: what takes time then is not the upstream's fault. */
  readonly isAwaitingCaller: boolean;
  /** What to hand to the dispatcher for one attempt; only the latest attempt may go on reading. */
  attempt(): Buffer | AsyncIterable<Buffer> | null;
  /**
   * For a call that has to wait: takes more from the caller meanwhile, as far as it may be kept. A client that
   * disconnects is only noticed while it is read from. Ends by itself when an attempt begins; never throws.
   */
  readAhead?(): void;
  release(): void;
}

/** The body of a request that has none. */
export const NO_BODY: RequestBody = {
  canReplay: true,
  receivedBytes: 0,
  isStreaming: false,
  isAwaitingCaller: false,
  attempt: () => null,
  release: () => {},
};

/** How a request body is read. */
export interface BodyRules {
  /** 0: no limit. */
  readonly maxBytes: number;
  /** How long a caller may send nothing before it is told 408. */
  readonly idleMs: number;
  readonly budget: ReplayBudget;
  /** Called when the body is about to be read: the time for `100 Continue`. */
  readonly invite?: () => void;
  /** Sees every chunk once, for the log. */
  readonly observe: ((chunk: Buffer) => void) | null;
}

/** Whether a request comes without a body (RFC 9112, section 6.3). */
export function hasNoBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  const length = headers['content-length'];
  return length === undefined ? headers['transfer-encoding'] === undefined : Number(length) === 0;
}

/**
 * Resolves when the body is ready to be sent: at once without one, whole when small, after the first chunk otherwise.
 * Throws gateway.body.too.large, gateway.request.invalid (408 when the caller stalls), or the abort of a client that
 * disconnected.
 */
export async function readRequestBody(
  message: IncomingMessage,
  contentLength: number | null,
  rules: BodyRules,
): Promise<RequestBody> {
  if (hasNoBody(message)) return NO_BODY;
  if (rules.maxBytes > 0 && contentLength !== null && contentLength > rules.maxBytes) throw tooLarge(rules.maxBytes);
  rules.invite?.();
  const body = new StreamedBody(message, rules);
  const isWhole = contentLength !== null && contentLength <= WHOLE_LIMIT_BYTES;
  try {
    do await body.pull();
    while (isWhole && body.isStreaming);
    return body;
  } catch (error) {
    body.release();
    throw error;
  }
}

function tooLarge(maxBytes: number): GatewayError {
  return new GatewayError(
    'gateway.body.too.large',
    `the request body is larger than server.max_body_bytes (${maxBytes}): send less or raise the limit`,
  );
}

class StreamedBody implements RequestBody {
  readonly #source: AsyncIterator<Buffer>;
  readonly #rules: BodyRules;
  #chunks: Buffer[] = [];
  /** How many chunks in front of `#chunks` are gone for good; above 0 the body cannot be replayed. */
  #dropped = 0;
  #keptBytes = 0;
  #overflowed = false;
  #ended = false;
  #error: Error | null = null;
  #pending: Promise<void> | null = null;
  #attempts = 0;
  /** Taken from the budget for the piece that is being read ahead. */
  #reservedBytes = 0;
  readonly #mayBeKept: boolean;
  receivedBytes = 0;

  constructor(message: IncomingMessage, rules: BodyRules) {
    this.#rules = rules;
    this.#mayBeKept = Number(message.headers['content-length']) <= REPLAY_LIMIT_BYTES;
    // An attempt that is given up must not destroy the message: the caller is still owed a response on the same socket.
    this.#source = message.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  get canReplay(): boolean {
    return this.#dropped === 0 && !this.#overflowed && this.#error === null;
  }

  get isStreaming(): boolean {
    return !this.#ended;
  }

  get isAwaitingCaller(): boolean {
    return this.#pending !== null;
  }

  attempt(): Buffer | AsyncIterable<Buffer> {
    this.#attempts += 1;
    if (this.#ended && this.#dropped === 0)
      return this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    return this.#read(this.#attempts);
  }

  readAhead(): void {
    void this.#readOn(this.#attempts);
  }

  async #readOn(attempts: number): Promise<void> {
    const { budget } = this.#rules;
    const isWanted = () => attempts === this.#attempts && !this.#ended && !this.#overflowed && this.#error === null;
    // What could not be kept stays with the caller: nothing is read that would have to be thrown away, or held beside
    // the budget.
    const fits = () => this.#mayBeKept || this.receivedBytes + LARGEST_CHUNK_BYTES <= REPLAY_LIMIT_BYTES;
    while (isWanted() && fits() && this.#reservedBytes === 0 && budget.take(LARGEST_CHUNK_BYTES)) {
      this.#reservedBytes = LARGEST_CHUNK_BYTES;
      // A failure is kept for the attempt that comes to it.
      await this.pull().catch(() => {});
      this.#giveReserved();
    }
  }

  #giveReserved(): void {
    this.#rules.budget.give(this.#reservedBytes);
    this.#reservedBytes = 0;
  }

  release(): void {
    this.#rules.budget.give(this.#keptBytes);
    this.#keptBytes = 0;
    this.#overflowed = true;
    this.#chunks = [];
  }

  /**
   * Takes the next chunk from the caller. Attempts share one pull, so that none is lost when an attempt is given up.
   */
  pull(): Promise<void> {
    this.#pending ??= this.#take().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  async #take(): Promise<void> {
    try {
      const { done, value } = await this.#next();
      if (done) this.#ended = true;
      else this.#keep(value);
    } catch (error) {
      // Whatever the message fails with, it is the caller that broke off: the upstream must not be blamed for its
      // ECONNRESET.
      this.#error ??= isGatewayError(error)
        ? error
        : new GatewayError('gateway.request.invalid', 'the request broke off', { cause: bareCause('ECONNRESET') });
      throw this.#error;
    }
  }

  /**
   * The next chunk, or 408. The message itself is left whole: it is the way to the caller, who is owed that response.
   */
  #next(): Promise<IteratorResult<Buffer>> {
    return new Promise((resolve, reject) => {
      const { idleMs } = this.#rules;
      const idle = setTimeout(() => {
        reject(
          new GatewayError(
            'gateway.request.invalid',
            `the request body stalled for ${idleMs / 1000} s (timeouts.body): send it again`,
            {
              statusCode: 408,
            },
          ),
        );
      }, idleMs);
      idle.unref();
      this.#source
        .next()
        .then(resolve, reject)
        .finally(() => clearTimeout(idle));
    });
  }

  #keep(chunk: Buffer): void {
    const { maxBytes, observe, budget } = this.#rules;
    this.receivedBytes += chunk.length;
    if (maxBytes > 0 && this.receivedBytes > maxBytes) throw tooLarge(maxBytes);
    observe?.(chunk);
    this.#chunks.push(chunk);
    this.#giveReserved();
    if (this.#overflowed) return;
    if (this.receivedBytes <= REPLAY_LIMIT_BYTES && budget.take(chunk.length)) {
      this.#keptBytes += chunk.length;
      return;
    }
    this.#overflowed = true;
    budget.give(this.#keptBytes);
    this.#keptBytes = 0;
  }

  async *#read(attempt: number): AsyncGenerator<Buffer> {
    let position = 0;
    for (;;) {
      // An attempt that was given up may wake once more: it must not take what belongs to the next.
      if (attempt !== this.#attempts) return;
      const chunk = this.#chunks[position - this.#dropped];
      if (chunk !== undefined) {
        position += 1;
        if (this.#overflowed) {
          // From here on nothing is kept: what this attempt took is gone for any other.
          this.#chunks.splice(0, position - this.#dropped);
          this.#dropped = position;
        }
        yield chunk;
      } else if (this.#error !== null) throw this.#error;
      else if (this.#ended) return;
      else await this.pull();
    }
  }
}
