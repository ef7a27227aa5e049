// How the shared store is: what it was seen to do, in a state that is logged when it changes, and the gaps in which
// something may have been missed. Connects nothing and asks nothing.

import type { Clock } from '../clock.ts';
import { formatRedisAddress } from '../config/redis-url.ts';
import type { Log } from '../logging/log.ts';
import type { Link } from './link.ts';
import type { RedisError } from './redis-error.ts';

/** Whether the store can be used: `degraded` is a server that is slow or takes no writes. */
export type StoreCondition = 'ok' | 'degraded' | 'down';

/** For status and readiness. Holds no secret. */
export interface StoreStatus {
  readonly state: StoreCondition;
  /** Epoch ms: since when it is in this state. */
  readonly sinceAt: number;
  /** Where it is, or was last; null before the first connection. */
  readonly server: string | null;
  /** `redis 7.0.15`; null before the first connection. */
  readonly version: string | null;
  readonly gaps: number;
  /** Why it is not `ok`, in words. */
  readonly error: string | null;
}

/** A time in which something may have been missed. It is over when it is told of. */
export interface Gap {
  readonly cause: RedisError;
  /** How long it was, ms. */
  readonly lastedMs: number;
  /** Whether the server has lost everything since: it does not know this gateway any more. */
  readonly isEmptied: boolean;
}

/** How many refusals are logged while there is no connection: a server chooses its words. */
const MOST_REFUSALS_TOLD = 5;

/** Told by the connection of what happens to it. */
export class StoreHealth {
  readonly gapListeners: ((gap: Gap) => void)[] = [];
  readonly lossListeners: (() => void)[] = [];
  readonly #clock: Clock;
  readonly #log: Log;
  #isConnected = false;
  /** Monotonic time of the first missed deadline; null: it answers in time. */
  #slowSince: number | null = null;
  /** The gap that goes on. */
  #gap: { readonly at: number; readonly cause: RedisError } | null = null;
  /** A refusal that lasts until a write succeeds. */
  #refusal: RedisError | null = null;
  #error: RedisError | null = null;
  #server: Pick<StoreStatus, 'server' | 'version'> = { server: null, version: null };
  #gaps = 0;
  #backMono = Number.NEGATIVE_INFINITY;
  /** A connection of the gap that goes on found a server that had lost everything. */
  #isEmptied = false;
  /** What was logged last. */
  #told: StoreCondition | null = null;
  #toldAt: number;
  /** Refusals that were logged since then, by their words. */
  readonly #toldWords = new Set<string>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
    this.#toldAt = clock.now();
  }

  /** There is a connection to a server that was checked. */
  connected({ address, hello }: Link, isEmptied: boolean): void {
    this.#isConnected = true;
    this.#slowSince = null;
    this.#error = null;
    this.#server = { server: formatRedisAddress(address), version: `${hello.server} ${hello.version}` };
    this.#isEmptied ||= isEmptied;
    // Also where it is only read for now, and the gap goes on.
    if (this.#gap !== null) this.#backMono = this.#clock.monotonic();
    this.#endGap();
    this.#tell();
  }

  /** There was no connection, and it could not be made. */
  failed(error: RedisError): void {
    this.#error = error;
    this.#gap ??= { at: this.#clock.monotonic(), cause: error };
    this.#tell();
  }

  /** The connection ended. */
  lost(cause: RedisError): void {
    this.#isConnected = false;
    this.#slowSince = null;
    this.#error = cause;
    this.#beginGap(cause);
    this.#tell();
  }

  /** A deadline was missed. */
  late(failure: RedisError): void {
    this.#slowSince ??= this.#clock.monotonic();
    this.#beginGap(failure);
    this.#tell();
  }

  /**
   * A write was refused, as all will be until one succeeds: what was obtained meanwhile is told by nobody, and whoever
   * reads may read what is old.
   */
  refused(failure: RedisError): void {
    this.#refusal = failure;
    this.#beginGap(failure);
    this.#tell();
  }

  /** A write succeeded. */
  wrote(): void {
    const wasRefused = this.#refusal !== null;
    this.#refusal = null;
    if (wasRefused && this.#isConnected) this.#endGap();
    this.#tell();
  }

  /** It answered in time. A slow one has to do so for `recoveryMs` before it is one that does. */
  answered(recoveryMs: number): void {
    if (this.#slowSince === null || this.#clock.monotonic() - this.#slowSince < recoveryMs) return;
    this.#slowSince = null;
    this.#endGap();
    this.#tell();
  }

  /** Whether writes are refused, as far as is known. */
  get isRefused(): boolean {
    return this.#refusal !== null;
  }

  /** Monotonic time at which a gap ended last, or was at least connected over; -Infinity where there was none. */
  get backMono(): number {
    return this.#backMono;
  }

  get isSlow(): boolean {
    return this.#slowSince !== null;
  }

  /** What went wrong last, as long as it is not well. */
  get error(): RedisError | null {
    const whyDown = this.#isConnected ? null : this.#error;
    return whyDown ?? this.#refusal ?? this.#gap?.cause ?? null;
  }

  status(): StoreStatus {
    const state = this.#condition();
    const error = state === 'ok' ? null : (this.error?.message ?? null);
    return { state, sinceAt: this.#toldAt, ...this.#server, gaps: this.#gaps, error };
  }

  #beginGap(cause: RedisError): void {
    if (this.#gap !== null) return;
    this.#gap = { at: this.#clock.monotonic(), cause };
    this.#gaps += 1;
    for (const listener of this.lossListeners) listener();
  }

  /** Ends it where nothing stands in the way any more. */
  #endGap(): void {
    if (this.#gap === null || this.#slowSince !== null || this.#refusal !== null) return;
    const { at, cause } = this.#gap;
    this.#gap = null;
    this.#backMono = this.#clock.monotonic();
    const gap = { cause, lastedMs: this.#backMono - at, isEmptied: this.#isEmptied };
    this.#isEmptied = false;
    for (const listener of this.gapListeners) listener(gap);
  }

  #condition(): StoreCondition {
    if (!this.#isConnected) return 'down';
    return this.#slowSince === null && this.#refusal === null ? 'ok' : 'degraded';
  }

  /** Writes one line for each change of state, and one for each refusal that keeps it `down`: a person has to mend it. */
  #tell(): void {
    const state = this.#condition();
    const hasBegun = this.#told !== null || this.#isConnected || this.#error !== null;
    if (!hasBegun) return;
    const word = state === 'down' ? (this.#error?.word ?? '') : '';
    const isNewRefusal = word !== '' && !this.#toldWords.has(word) && this.#toldWords.size < MOST_REFUSALS_TOLD;
    if (state === this.#told && !isNewRefusal) return;
    if (state !== this.#told) this.#toldWords.clear();
    if (word !== '') this.#toldWords.add(word);
    this.#write(state);
  }

  #write(state: StoreCondition): void {
    const now = this.#clock.now();
    const before = this.#told === null ? {} : { before: this.#told, lastedS: Math.round((now - this.#toldAt) / 1000) };
    if (state !== this.#told) this.#toldAt = now;
    this.#told = state;
    const { server, version, error } = this.status();
    const fields = { state, ...before, server, version, ...(error !== null && { error }) };
    if (state === 'ok') this.#log.info(fields, 'the store is connected');
    else if (state === 'degraded') this.#log.warn(fields, 'the store is slow, or takes no writes');
    else this.#log.warn(fields, 'the store is not connected');
  }
}
