// What each client has done since the start: when it was last seen, with which secret and from where, how many calls it
// made and how many were refused. In memory, bounded by what is configured. A call allocates nothing here.

import type { Clock } from '../../clock.ts';
import type { Caller } from './caller.ts';
import { secretFingerprint } from './clients.ts';

/** Where calls are counted that no client makes. No client can have that name. */
export const NO_CLIENT = '-';

/** The use of one secret, or of a client's certificates. */
export interface SecretUse {
  /** The `secretFingerprint`; null for certificates, and for callers without a proof. */
  readonly fingerprint: string | null;
  /** Epoch ms. */
  readonly lastSeenAt: number;
  readonly lastFrom: string | null;
  readonly calls: number;
}

/** What one client did. */
export interface ClientUse {
  readonly calls: number;
  /** Of these, how many the gateway refused by itself: by rules, limits, or because they made no sense. */
  readonly refused: number;
  /** Requests that named the client, and whose proof was not taken. */
  readonly rejected: number;
  /** Those that were seen, in no order. */
  readonly secrets: readonly SecretUse[];
}

/** What is looked at of a record when its exchange has ended. */
export interface EndedExchange {
  readonly client: string | null;
  readonly source: 'upstream' | 'gateway';
  readonly status: number;
  readonly claimedClient?: string | null;
  /** Set for one that somebody had made again: it says nothing of its client. */
  readonly replayOf?: string | null;
}

interface Counts {
  calls: number;
  refused: number;
  rejected: number;
  readonly secrets: Map<string | null, Mutable<SecretUse>>;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A client has two secrets during a rotation; more come and go with secret files. */
const MOST_SECRETS = 8;

const UNUSED: ClientUse = { calls: 0, refused: 0, rejected: 0, secrets: [] };

/** The activity of the clients of one gateway; it outlives its configurations. Nothing to close. */
export class ClientActivity {
  readonly #clock: Pick<Clock, 'now'>;
  #counts = new Map<string, Counts>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
    this.setNames([]);
  }

  /** The clients there are, after each load of the configuration. What was counted for others is forgotten. */
  setNames(names: Iterable<string>): void {
    const before = this.#counts;
    this.#counts = new Map(
      [NO_CLIENT, ...names].map((name) => [
        name,
        before.get(name) ?? { calls: 0, refused: 0, rejected: 0, secrets: new Map() },
      ]),
    );
  }

  /** A caller was admitted that comes from `peer`. */
  seen({ client, authFingerprint }: Pick<Caller, 'client' | 'authFingerprint'>, peer: string | null): void {
    const counts = this.#counts.get(client === null ? NO_CLIENT : client.name);
    if (counts === undefined) return;
    counts.calls += 1;
    const use = counts.secrets.get(markOf(authFingerprint)) ?? addSecret(counts, authFingerprint);
    use.calls += 1;
    use.lastSeenAt = this.#clock.now();
    use.lastFrom = peer;
  }

  /** An exchange has ended, whether its caller was admitted or not. */
  ended({ client, source, status, claimedClient, replayOf = null }: EndedExchange): void {
    if (replayOf !== null || source !== 'gateway' || status < 400 || status >= 500) return;
    const name = client ?? claimedClient ?? NO_CLIENT;
    const counts = this.#counts.get(name);
    if (counts === undefined) return;
    if (client === null && claimedClient != null) counts.rejected += 1;
    else counts.refused += 1;
  }

  /** What a client did; null stands for callers who are none. */
  of(client: string | null): ClientUse {
    const counts = this.#counts.get(client ?? NO_CLIENT);
    return counts === undefined ? UNUSED : { ...counts, secrets: [...counts.secrets.values()] };
  }
}

/** Certificates of a client are one, whatever their CA: their fingerprints are not secrets'. */
function markOf(authFingerprint: string | null): string | null {
  return authFingerprint === null || authFingerprint.includes(':') ? null : authFingerprint;
}

function addSecret({ secrets }: Counts, authFingerprint: string | null): Mutable<SecretUse> {
  const mark = markOf(authFingerprint);
  if (secrets.size >= MOST_SECRETS) {
    const [oldest] = [...secrets].sort(([, a], [, b]) => a.lastSeenAt - b.lastSeenAt);
    if (oldest !== undefined) secrets.delete(oldest[0]);
  }
  const use = { fingerprint: secretFingerprint(mark), lastSeenAt: 0, lastFrom: null, calls: 0 };
  secrets.set(mark, use);
  return use;
}
