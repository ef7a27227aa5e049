// TLS sessions of outgoing connections, kept so that the next connection to the same host resumes one: a round trip, or
// the certificates and their verification, less. In memory only. Whose trust they belong to is their owner's business.

import { LRUCache } from 'lru-cache';

/** How many hosts are remembered. */
const MOST_HOSTS = 100;
/** A server gives several tickets with one handshake; each is best used once (RFC 8446, appendix C.4). */
const MOST_OF_A_HOST = 4;
/**
 * How long connections may go on from one handshake in which the certificate was verified. A resumed connection gives new
 * tickets, which would go on for ever without.
 */
const LONGEST_MS = 24 * 60 * 60 * 1000;

/** One session, and until when it may be used. */
export interface TlsSession {
  readonly ticket: Buffer;
  /** Epoch ms: a day after the certificate was verified, or when the certificate ends. */
  readonly until: number;
}

/**
 * The sessions of one set of trusted CAs and client certificate, by endpoint. A session stands for a verification that was
 * made: another trust, another client certificate or another name needs another object or another key.
 */
export class TlsSessions {
  /** The newest last. */
  readonly #byEndpoint = new LRUCache<string, TlsSession[]>({ max: MOST_HOSTS });
  readonly #now: () => number;

  /** `now`: epoch ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The newest session; it is not given again, unless it is the last one. */
  take(endpoint: string): TlsSession | undefined {
    const now = this.#now();
    const good = this.#byEndpoint.get(endpoint)?.filter(({ until }) => now < until) ?? [];
    const newest = good.at(-1);
    if (good.length > 1) good.pop();
    if (newest === undefined) this.#byEndpoint.delete(endpoint);
    else this.#byEndpoint.set(endpoint, good);
    return newest;
  }

  /**
   * Keeps a ticket. `resumed` is the session that its connection resumed, whose verification it goes on from; otherwise
   * the certificate, which ends at `certificateEndsAt` (epoch ms), was verified just now.
   */
  keep(endpoint: string, ticket: Buffer, resumed: TlsSession | undefined, certificateEndsAt: number): void {
    const until = resumed?.until ?? Math.min(this.#now() + LONGEST_MS, certificateEndsAt);
    const kept = this.#byEndpoint.get(endpoint) ?? [];
    this.#byEndpoint.set(endpoint, [...kept, { ticket, until }].slice(-MOST_OF_A_HOST));
  }

  /** Forgets an endpoint's: one of them may be what its handshake failed by. */
  forget(endpoint: string): void {
    this.#byEndpoint.delete(endpoint);
  }
}
