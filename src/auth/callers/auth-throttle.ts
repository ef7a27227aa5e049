// Throttles a peer that keeps failing to authenticate: its refusals are sent one after the other, each later than the
// one before, however many come at once. Never delays a correct secret and locks nobody out; bounded in peers, in
// refusals that wait and in how long they wait.

import { hash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../clock.ts';

/** Failures of one peer that cost nothing: a typing error, a rotated secret. */
const FREE_FAILURES = 3;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8_000;
/** A peer without a failure for this long begins anew. */
const FORGET_MS = 10 * 60_000;
const MAX_PEERS = 10_000;
/** Refusals that may wait at a time, over all peers. Those of one peer are bounded by the longest delay. */
const MAX_DELAYED = 256;
/** Wrong values that were served without an identity, by peer: who shows one of them again learns nothing. */
const MAX_VALUES = 10_000;

/**
 * When the response to a failure may be sent. `until`: null for at once. `isOverflow`: it gets none, and its connection
 * is closed.
 */
export interface ResponseDelay {
  readonly until: Promise<void> | null;
  readonly isOverflow: boolean;
}

interface Peer {
  failures: number;
  /** When the last of its refusals goes out. */
  lastAnswerMono: number;
  lastFailureMono: number;
}

const AT_ONCE: ResponseDelay = { until: null, isOverflow: false };
const NEVER: ResponseDelay = { until: null, isOverflow: true };

/** Knows the 10,000 peers that failed last. */
export class AuthThrottle {
  readonly #clock: Clock;
  // With `max` instead, each would have room for all of them at once.
  readonly #peers = new LRUCache<string, Peer>({ maxSize: MAX_PEERS, sizeCalculation: () => 1 });
  readonly #values = new LRUCache<string, true>({ maxSize: MAX_VALUES, sizeCalculation: () => 1 });
  #delayedCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Refusals that wait at the moment. */
  get delayedCount(): number {
    return this.#delayedCount;
  }

  /** Notes a failure of the peer at `address`. */
  delayFailure(address: string): ResponseDelay {
    return this.#failed(networkOf(address));
  }

  /**
   * The same for a wrong value whose caller is served all the same, as nobody. Only a value that the peer has not shown
   * lately is a guess: an application that always sends the same one is never slowed.
   */
  delayGuess(address: string, value: string): ResponseDelay {
    const network = networkOf(address);
    const key = `${network} ${hash('sha256', value).slice(0, 16)}`;
    if (this.#values.get(key)) return AT_ONCE;
    const delay = this.#failed(network);
    if (!delay.isOverflow) this.#values.set(key, true);
    return delay;
  }

  #failed(network: string): ResponseDelay {
    const nowMono = this.#clock.monotonic();
    let peer = this.#peers.get(network);
    if (peer === undefined || nowMono - peer.lastFailureMono > FORGET_MS) {
      peer = { failures: 0, lastAnswerMono: nowMono, lastFailureMono: nowMono };
      this.#peers.set(network, peer);
    }
    peer.failures += 1;
    peer.lastFailureMono = nowMono;
    const delayMs = delayAfter(peer.failures);
    if (delayMs === 0) return AT_ONCE;
    const answerMono = Math.max(nowMono, peer.lastAnswerMono) + delayMs;
    if (answerMono - nowMono > LONGEST_DELAY_MS || this.#delayedCount >= MAX_DELAYED) return NEVER;
    peer.lastAnswerMono = answerMono;
    this.#delayedCount += 1;
    const until = new Promise<void>((resolve) => {
      this.#clock.after(answerMono - nowMono, () => {
        this.#delayedCount -= 1;
        resolve();
      });
    });
    return { until, isOverflow: false };
  }
}

/** 0 for the first three failures, then 250 ms doubling up to 8 s. */
export function delayAfter(failures: number): number {
  if (failures <= FREE_FAILURES) return 0;
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - FREE_FAILURES - 1));
}

/**
 * Who is one peer: an IPv4 address, or the /64 of an IPv6 one, of which a single machine has 2^64; and all of
 * 127.0.0.0/8, for the same reason.
 */
export function networkOf(address: string): string {
  if (address.startsWith('127.') && isIPv4(address)) return '127.0.0.0/8';
  const [plain = ''] = address.split('%', 1);
  if (!isIPv6(plain)) return address;
  const [head = '', tail] = new URL(`http://[${plain}]`).hostname.slice(1, -1).split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? 0 : tail.split(':').length;
  // What `::` stands for; without one there are eight groups already.
  while (tail !== undefined && groups.length + after < 8) groups.push('0');
  return `${groups.slice(0, 4).join(':')}::/64`;
}
