// The keys that the live page and the terminal show, in X-Gateway-Key: one of this start, for whoever may read its file,
// and short-lived ones that clients get for their own proof. And the links that hand one of them over, once. In memory
// only: all end with the process.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../clock.ts';

/** What a client proved itself with, so that it can be asked again. */
export interface PageOwner {
  readonly client: string;
  readonly authFingerprint: string;
}

/** Whose a key is: a client's, or the operator's: whoever may read the file with the key of this start. */
export type KeyHolder = PageOwner | 'operator';

/** A key that was given to a client. Times in epoch ms. */
export interface GivenKey extends PageOwner {
  readonly givenAt: number;
  readonly lastUsedAt: number;
}

/** What became of a link: whose page it opens, or why it opens none. */
export type Redeemed = { readonly holder: KeyHolder } | { readonly refused: 'used' | 'expired' | 'unknown' };

const PREFIX = 'gcgp_';
const KEY_BYTES = 16;
const IDLE_MS = 30 * 60_000;
const LONGEST_MS = 12 * 3_600_000;
/** So many keys of clients there are at a time: the one that was idle longest gives way. */
const MOST_KEYS = 8;
const LINK_MS = 60_000;
/** A link that is over is remembered as long, to say so. */
const REMEMBERED_MS = 3_600_000;
const MOST_LINKS = 64;

interface Link {
  readonly holder: KeyHolder;
  readonly madeAt: number;
  isUsed: boolean;
}

/** Whether a value is one of these keys by its look: a client's secret never is. */
export function isPageKey(value: string): boolean {
  return value.startsWith(PREFIX);
}

/** The keys and links of one process. */
export class PageKeys {
  /** The key of this start. */
  readonly own = newKey();
  readonly #clock: Clock;
  readonly #given = new Map<string, PageOwner & { readonly givenAt: number; lastUsedAt: number }>();
  readonly #links = new Map<string, Link>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Gives a client a key of its own. */
  give(owner: PageOwner): string {
    this.#forgetOld();
    if (this.#given.size >= MOST_KEYS) this.#given.delete(this.#longestIdle());
    const now = this.#clock.now();
    const key = newKey();
    this.#given.set(key, {
      client: owner.client,
      authFingerprint: owner.authFingerprint,
      givenAt: now,
      lastUsedAt: now,
    });
    return key;
  }

  /** Whose key this is; null for one that is unknown or over. It is a use of the key. */
  find(key: string): KeyHolder | null {
    if (isSame(key, this.own)) return 'operator';
    const found = this.#given.get(key);
    if (found === undefined) return null;
    const now = this.#clock.now();
    if (isOver(found, now)) {
      this.#given.delete(key);
      return null;
    }
    found.lastUsedAt = now;
    return found;
  }

  /** Whether a key is good still; it is no use of it. */
  isGood(key: string): boolean {
    const found = this.#given.get(key);
    return isSame(key, this.own) || (found !== undefined && !isOver(found, this.#clock.now()));
  }

  /** Ends a key of a client. */
  end(key: string): void {
    this.#given.delete(key);
  }

  /** The keys that clients have, the oldest first. */
  list(): GivenKey[] {
    this.#forgetOld();
    return [...this.#given.values()];
  }

  /** Makes the code of a link: good for one use within a minute. */
  invite(holder: KeyHolder): string {
    for (const [code, { madeAt }] of this.#links)
      if (this.#links.size >= MOST_LINKS || this.#clock.now() - madeAt > REMEMBERED_MS) this.#links.delete(code);
    const code = randomBytes(KEY_BYTES).toString('base64url');
    this.#links.set(code, { holder, madeAt: this.#clock.now(), isUsed: false });
    return code;
  }

  /** Uses a link up. */
  redeem(code: string): Redeemed {
    const link = this.#links.get(code);
    if (link === undefined) return { refused: 'unknown' };
    if (link.isUsed) return { refused: 'used' };
    const age = this.#clock.now() - link.madeAt;
    if (age < 0 || age > LINK_MS) return { refused: 'expired' };
    link.isUsed = true;
    return { holder: link.holder };
  }

  #forgetOld(): void {
    const now = this.#clock.now();
    for (const [key, given] of this.#given) if (isOver(given, now)) this.#given.delete(key);
  }

  #longestIdle(): string {
    const [first] = [...this.#given].sort(([, a], [, b]) => a.lastUsedAt - b.lastUsedAt);
    return first?.[0] ?? '';
  }
}

function isOver({ givenAt, lastUsedAt }: GivenKey, now: number): boolean {
  // A clock that was set back does not prolong a key.
  return now < givenAt || now - givenAt > LONGEST_MS || now - lastUsedAt > IDLE_MS;
}

function newKey(): string {
  return PREFIX + randomBytes(KEY_BYTES).toString('base64url');
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}
