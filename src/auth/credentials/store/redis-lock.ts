// Locks of a shared store: leases that their holder prolongs, waited for by push and by asking again. After a time in
// which the store was away, nobody gets one for a rotating token until its holder has had the time to come back.

import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../../../clock.ts';
import type { Reply } from '../../../redis/link.ts';
import type { Script } from '../../../redis/script.ts';
import { EXTEND, INTENT, LOCK, RELEASE } from './redis-scripts.ts';
import { type LockUse, type LockWaitEnd, type StoredEntry, StoreError, type StoreLock } from './store.ts';

/** How much longer than the longest request made under it a lock is held by whoever is silent. */
export const LEASE_MARGIN_MS = 2_000;

/** The longest request, where the maker of a lock does not say. */
const USUAL_WORK_MS = 4_000;

/** How often a lock is asked for again: a push may be missed. */
const POLL_MS = 250;

/** What locks need of their store. Keys and channels are whole. */
export interface LockDeps {
  /** Runs a script. Throws StoreError; `isUncertain`: it may be executed all the same. */
  readonly call: (script: Script, keys: readonly string[], args: readonly string[]) => Promise<Reply>;
  readonly isUncertain: (error: unknown) => boolean;
  /** Resolves when the store was told again what it may have lost. Throws StoreError. */
  readonly ready: () => Promise<void>;
  /** Why the store is away, or takes no writes. */
  readonly problem: () => string | null;
  readonly lockKey: (id: string) => string;
  readonly entryKey: (id: string) => string;
  readonly channel: string;
  /** Names this process among the instances: who holds a lock can be told. */
  readonly instanceId: string;
  readonly leaseMarginMs: number;
  readonly clock: Clock;
  readonly random: () => number;
}

/** A lock that was taken, with what was found under it. */
export interface TakenLock extends Omit<StoreLock, 'entry'> {
  /** The entry, as READ answers it. */
  readonly found: readonly Reply[];
  /** Prolongs it no more; its lease ends it. */
  abandon(): void;
}

/** The locks of one process. */
export class RedisLocks {
  /** Waits for locks that another held, by how they ended. */
  readonly waits: Record<LockWaitEnd, number> = { taken: 0, timeout: 0, failed: 0 };
  readonly #deps: LockDeps;
  /** Who holds a lock, by id: this instance, or another that somebody here waits for. */
  readonly #holders = new Map<string, string>();
  /** Locks that are done with but for what was obtained under them, which the store does not have yet: by id. */
  readonly #kept = new Map<string, TakenLock>();
  /** Who waits, by id: woken when somebody gives the lock back. */
  readonly #waiting = new Map<string, Set<() => void>>();
  /** Owners of locks that may have been taken after nobody waited for them any more, or not been given back. */
  readonly #orphans = new Map<string, string>();
  /** Whether a gap goes on: a lock that the store makes meanwhile says nothing of what was obtained. */
  #isAway = false;
  /** When the store came back, or was first reached: monotonic. */
  #backMono: number;

  constructor(deps: LockDeps) {
    this.#deps = deps;
    this.#backMono = deps.clock.monotonic();
  }

  /** Waits for the lock as `TokenStore.lock` does. */
  async take(id: string, waitMs: number, use: LockUse = {}): Promise<TakenLock> {
    const { clock, leaseMarginMs, instanceId, call, lockKey, entryKey, ready } = this.#deps;
    const workMs = use.workMs ?? USUAL_WORK_MS;
    const leaseMs = workMs + leaseMarginMs;
    const endsMono = clock.monotonic() + waitMs;
    const owner = `${instanceId} ${randomBytes(12).toString('hex')}`;
    let hasWaited = false;
    for (;;) {
      if (use.isRotating === true) await this.#keepSilent(leaseMs, endsMono);
      await ready();
      const free = this.#listen(id);
      try {
        const askedMono = clock.monotonic();
        const reply = await call(LOCK, [lockKey(id), entryKey(id)], [owner, String(leaseMs)]);
        const [isTaken, ...found] = reply as readonly Reply[];
        if (isTaken === 1) {
          if (hasWaited) this.waits.taken += 1;
          this.#holders.set(id, instanceId);
          return new HeldLock({ ...this.#deps, locks: this, id, owner, workMs, leaseMs }, found, askedMono);
        }
        hasWaited = true;
        this.#holders.set(id, holderOf(found));
        if (clock.monotonic() >= endsMono)
          throw new StoreError('locked', `instance ${holderOf(found)} held the lock for ${waitMs / 1000} s`);
      } catch (error) {
        if (this.#deps.isUncertain(error)) this.#orphans.set(owner, id);
        free.stop();
        if (hasWaited) this.#gaveUp(id, error);
        throw error;
      }
      await free.within(Math.min(POLL_MS * (0.75 + this.#deps.random() / 2), endsMono - clock.monotonic()));
    }
  }

  /** Who holds a lock as far as it is known here; null where nobody does, or nobody here waits for it. */
  holder(id: string): string | null {
    return this.#holders.get(id) ?? null;
  }

  /** Keeps a lock until the store was told what was obtained under it: nobody else may go by what is there. */
  keep(id: string, lock: TakenLock): void {
    this.#kept.get(id)?.abandon();
    this.#kept.set(id, lock);
  }

  /** The store was told. */
  told(id: string): void {
    void this.#kept.get(id)?.release();
    this.#kept.delete(id);
  }

  close(): void {
    for (const lock of this.#kept.values()) lock.abandon();
  }

  /** A lock of this instance is over: given back, or lost. */
  ended(id: string): void {
    if (this.#holders.get(id) === this.#deps.instanceId) this.#holders.delete(id);
  }

  /** Somebody has given a lock back. */
  wake(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
  }

  /** The store is away, or takes no writes. */
  gapBegan(): void {
    this.#isAway = true;
  }

  /** The store is back: what it may hold for nobody is given back first, and who waits for a rotating token waits on. */
  async gapEnded(): Promise<void> {
    this.#isAway = false;
    this.#backMono = this.#deps.clock.monotonic();
    await Promise.all([...this.#orphans].map(([owner, id]) => this.release(id, owner)));
  }

  /** Gives a lock back; where that cannot be told now, as soon as it can. Never throws. */
  async release(id: string, owner: string): Promise<void> {
    const { call, lockKey, channel } = this.#deps;
    this.#orphans.set(owner, id);
    this.ended(id);
    try {
      await call(RELEASE, [lockKey(id), channel], [owner, id]);
      this.#orphans.delete(owner);
    } catch {
      // The lease ends it, if nothing else does.
    }
  }

  /**
   * Waits until a lease has passed since the store was away. An instance that held a lock then, and has spent a refresh
   * token under it, tells what it got as soon as it can.
   */
  async #keepSilent(leaseMs: number, endsMono: number): Promise<void> {
    const { clock } = this.#deps;
    for (;;) {
      if (this.#isAway) throw new StoreError('absent', this.#deps.problem() ?? 'the store is away');
      const leftMs = this.#backMono + leaseMs - clock.monotonic();
      if (leftMs <= 0) return;
      if (clock.monotonic() + leftMs > endsMono) {
        const seconds = Math.ceil(leftMs / 1000);
        throw new StoreError(
          'absent',
          `the store was away: other instances have ${seconds} s to tell it what they know`,
        );
      }
      await new Promise<void>((resolve) => clock.after(leftMs, resolve));
    }
  }

  #gaveUp(id: string, error: unknown): void {
    this.waits[error instanceof StoreError && error.code === 'locked' ? 'timeout' : 'failed'] += 1;
    if (this.holder(id) !== this.#deps.instanceId) this.#holders.delete(id);
  }

  /** Hears from now on whether the lock is given back. */
  #listen(id: string): { within(ms: number): Promise<void>; stop(): void } {
    const { clock } = this.#deps;
    const own = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, own);
    let isFree = false;
    let end = () => {};
    const wake = () => {
      isFree = true;
      end();
    };
    own.add(wake);
    const stop = () => {
      own.delete(wake);
      if (own.size === 0 && this.#waiting.get(id) === own) this.#waiting.delete(id);
    };
    const within = (ms: number) =>
      new Promise<void>((resolve) => {
        const timer = clock.after(Math.max(0, ms), () => end());
        end = () => {
          timer.cancel();
          stop();
          resolve();
        };
        if (isFree) end();
      });
    return { within, stop };
  }
}

/** The instance that holds a lock, by what the server has of it, which anybody may have written there. */
function holderOf([owner]: readonly Reply[]): string {
  return /^[A-Za-z0-9.-]{1,80}(?= )/.exec(String(owner))?.[0] ?? 'that is not known';
}

interface HeldLockDeps extends LockDeps {
  readonly locks: RedisLocks;
  readonly id: string;
  readonly owner: string;
  readonly workMs: number;
  readonly leaseMs: number;
}

/** A lock as its holder has it: prolonged every quarter of its lease, until it is released or lost. */
class HeldLock implements TakenLock {
  readonly fence: string;
  readonly found: readonly Reply[];
  readonly unfinished: number | null;
  readonly #deps: HeldLockDeps;
  /** Until then it is certainly held: counted from before it was asked for. */
  #heldUntilMono: number;
  #timer: Timer | undefined;
  #isReleased = false;

  constructor(deps: HeldLockDeps, found: readonly Reply[], askedMono: number) {
    this.#deps = deps;
    this.fence = deps.owner;
    this.found = found;
    const [generation, , , , begun] = found.map(Number);
    this.unfinished = (begun ?? 0) > (generation ?? 0) ? (begun ?? null) : null;
    this.#heldUntilMono = askedMono + deps.leaseMs;
    this.#prolongLater();
  }

  async begin(read: StoredEntry | null): Promise<number> {
    const { call, lockKey, entryKey, id, owner, leaseMs, workMs, clock } = this.#deps;
    const askedMono = clock.monotonic();
    const keys = [lockKey(id), entryKey(id)];
    const reply = await call(INTENT, keys, [
      owner,
      read?.version ?? '',
      String(leaseMs),
      String(read?.generation ?? 0),
    ]);
    if (reply === 'changed') throw new StoreError('conflict', 'another instance stored something meanwhile');
    const generation = Number(reply);
    if (reply === 'lost' || !(generation > 0)) throw new StoreError('lock_lost', 'the lock was lost meanwhile');
    this.#heldUntilMono = askedMono + leaseMs;
    // A reply that came late leaves no time for the request, or this process has slept.
    if (this.#heldUntilMono - clock.monotonic() < workMs)
      throw new StoreError('lock_lost', 'too little time was left of the lock');
    return generation;
  }

  abandon(): void {
    this.#isReleased = true;
    this.#timer?.cancel();
  }

  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.abandon();
    await this.#deps.locks.release(this.#deps.id, this.#deps.owner);
  }

  #prolongLater(): void {
    this.#timer = this.#deps.clock.after(this.#deps.leaseMs / 4, () => void this.#prolong());
  }

  async #prolong(): Promise<void> {
    const { call, lockKey, id, owner, leaseMs, clock } = this.#deps;
    const askedMono = clock.monotonic();
    // A failure is no end: the lease goes on, and the next time may be better.
    const reply = await call(EXTEND, [lockKey(id)], [owner, String(leaseMs)]).catch(() => null);
    if (this.#isReleased) return;
    if (reply === 0) return this.#deps.locks.ended(id);
    if (reply === 1) this.#heldUntilMono = askedMono + leaseMs;
    this.#prolongLater();
  }
}
