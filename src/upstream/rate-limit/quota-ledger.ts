// The ledger of the limits that several instances share: ticks for the windows in use, all in one write, and hears what
// other instances were told. It knows when the store cannot be relied on: then each instance paces itself.

import { createHmac } from 'node:crypto';
import type { Clock, Timer } from '../../clock.ts';
import type { Script, ScriptCall } from '../../redis/script.ts';
import { type PermitLedger, PermitWindow } from './permit-window.ts';
import { decodeReply, encodeReport, PERMIT_LIFE_MS } from './quota-report.ts';
import { QUOTA_ENDS, TICK } from './quota-script.ts';
import type { LimitWindow, WindowMaker, WindowSettings } from './rate-window.ts';

/** What it needs of the connection to the store. */
export interface QuotaLink {
  /** What all keys begin with. */
  readonly prefix: string;
  readonly instanceId: string;
  /** Whether scripts are sent at all. */
  readonly isReady: boolean;
  readonly instances: readonly unknown[];
  /** Of all instances; null until the store was reached. */
  readonly meta: { readonly salt: string } | null;
  /** Rejects in time where there is no reply. */
  script(call: ScriptCall): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): void;
  /** Told when a time is over in which something may have been missed; and when one begins. */
  onGap(listener: () => void): void;
  onLoss(listener: () => void): void;
}

/** What a ledger is made of. */
export interface QuotaLedgerDeps {
  readonly link: QuotaLink;
  readonly clock: Clock;
  /** Default: TICK. */
  readonly script?: Script;
}

/** For status and metrics. */
export interface QuotaStatus {
  /** `own`: each instance paces itself, for a while. */
  readonly quota: 'shared' | 'own';
  readonly degradedSeconds: number;
  /** Permits that were got for calls that waited, and to have at hand; calls that were let go without any. */
  readonly permits: { readonly asked: number; readonly spare: number; readonly alone: number };
}

/** Ticks of a limit in use. */
const BEAT_MS = 800;
/** Ticks for calls that wait come no closer than this, those for a call that goes before all others no closer than that. */
const ASKED_AGAIN_MS = 200;
const DUE_ASKED_AGAIN_MS = 50;
/** Limits in use that are shared; further ones are paced by each instance itself. */
const MOST_SHARED = 1_000;
/** Names that are remembered. */
const MOST_NAMES = 10_000;

/** All shared limits of one instance. `close` ends it. */
export class QuotaLedger implements WindowMaker, PermitLedger {
  /** `enforce`: else nothing is asked for, and only counts are told. Set with each configuration. */
  isEnforced = true;
  readonly counts = { asked: 0, spare: 0, alone: 0 };
  /** Until when all limits are paced by each instance itself, and since when; monotonic ms. */
  readonly alone = { until: Number.NEGATIVE_INFINITY, since: Number.NEGATIVE_INFINITY };
  readonly #deps: QuotaLedgerDeps;
  readonly #script: Script;
  readonly #listed = new Set<PermitWindow>();
  readonly #names = new Map<string, string>();
  #salt: string | null = null;
  #serial = 0;
  #beat: Timer | null = null;
  /** Windows whose next tick is due before the beat, by its time. */
  readonly #wanted = new Map<PermitWindow, number>();
  #wantedTimer: Timer | null = null;
  #wantedAt = Number.POSITIVE_INFINITY;
  #degradedMs = 0;
  #isClosed = false;

  constructor(deps: QuotaLedgerDeps) {
    this.#deps = deps;
    this.#script = deps.script ?? TICK;
    const { link } = deps;
    link.onLoss(() => this.#lose());
    link.onGap(() => this.#recover());
    link.subscribe(`${link.prefix}${QUOTA_ENDS.channel}`, (message) => this.#hear(message));
  }

  /** To be called once the connection was tried: one that is absent then is told of by no event. */
  start(): void {
    if (!this.isConnected) this.#lose();
  }

  get instanceId(): string {
    return this.#deps.link.instanceId;
  }

  get instances(): number {
    return this.#deps.link.instances.length;
  }

  get isConnected(): boolean {
    return this.#deps.link.isReady;
  }

  get isFull(): boolean {
    return this.#listed.size >= MOST_SHARED;
  }

  now(): number {
    return this.#deps.clock.monotonic();
  }

  wallNow(): number {
    return this.#deps.clock.now();
  }

  make(settings: WindowSettings): LimitWindow {
    this.#serial += 1;
    return new PermitWindow(this, settings, this.#serial);
  }

  nameOf(text: string): string {
    const salt = this.#deps.link.meta?.salt ?? '';
    if (salt !== this.#salt || this.#names.size >= MOST_NAMES) this.#names.clear();
    this.#salt = salt;
    let name = this.#names.get(text);
    if (name === undefined) {
      name = createHmac('sha256', salt).update(text).digest('base64url').slice(0, 22);
      this.#names.set(text, name);
    }
    return name;
  }

  enlist(window: PermitWindow): void {
    if (this.#isClosed || this.isFull || window.identity === '') return;
    window.isListed = true;
    this.#listed.add(window);
    this.#beat ??= this.#deps.clock.after(BEAT_MS, () => this.#onBeat());
  }

  want(window: PermitWindow, isUrgent: boolean): void {
    if (!window.isListed || !this.isConnected) return;
    const now = this.now();
    const at = window.tickedAt + (isUrgent ? DUE_ASKED_AGAIN_MS : ASKED_AGAIN_MS);
    if (at <= now && !window.isBusy) {
      void this.#tick(window);
      return;
    }
    if ((this.#wanted.get(window) ?? Number.POSITIVE_INFINITY) <= at) return;
    this.#wanted.set(window, at);
    this.#wakeAt(Math.max(at, now + 1));
  }

  async ask(window: PermitWindow): Promise<void> {
    this.enlist(window);
    const isFresh = this.now() - window.tickedAt < ASKED_AGAIN_MS;
    if (window.isListed && !window.isBusy && !isFresh && this.isConnected) await this.#tick(window);
  }

  status(): QuotaStatus {
    const now = this.now();
    const runningMs = this.alone.until > now ? now - this.alone.since : 0;
    return {
      quota: this.alone.until > now ? 'own' : 'shared',
      degradedSeconds: (this.#degradedMs + runningMs) / 1_000,
      permits: { ...this.counts },
    };
  }

  /** Gives all permits back, and tells what was counted; the others reckon with it as long as it counts. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#beat?.cancel();
    this.#wantedTimer?.cancel();
    if (this.isConnected) await Promise.all(Array.from(this.#listed, (window) => this.#tick(window)));
    this.#listed.clear();
  }

  #lose(): void {
    const now = this.now();
    if (now >= this.alone.until) this.alone.since = now;
    this.alone.until = Number.POSITIVE_INFINITY;
  }

  /** It is there again: for a while counts are only told, until all have told theirs. */
  #recover(): void {
    const now = this.now();
    if (now >= this.alone.until) this.alone.since = now;
    this.alone.until = now + PERMIT_LIFE_MS;
    this.#degradedMs += this.alone.until - this.alone.since;
    for (const window of this.#listed) this.#tickUnlessBusy(window);
  }

  /** Another instance has news of one limit. */
  #hear(message: string): void {
    for (const window of this.#listed) if (this.nameOf(window.identity) === message) this.want(window, true);
  }

  #onBeat(): void {
    this.#beat = null;
    const now = this.now();
    for (const window of this.#listed) {
      if (window.isIdle(now) && window.isTold) {
        window.isListed = false;
        this.#listed.delete(window);
        this.#wanted.delete(window);
      } else if (window.isWorthTelling(now)) this.#tickUnlessBusy(window);
      else if (window.isIdle(now)) window.isListed = !this.#listed.delete(window);
    }
    if (this.#listed.size > 0) this.#beat = this.#deps.clock.after(BEAT_MS, () => this.#onBeat());
  }

  #wakeAt(at: number): void {
    if (this.#wantedTimer !== null && this.#wantedAt <= at) return;
    this.#wantedTimer?.cancel();
    this.#wantedAt = at;
    this.#wantedTimer = this.#deps.clock.after(at - this.now(), () => this.#onWanted());
  }

  #onWanted(): void {
    this.#wantedTimer = null;
    const now = this.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [window, at] of this.#wanted) {
      // The end of a tick looks again.
      if (window.isBusy) continue;
      if (at > now) next = Math.min(next, at);
      else {
        this.#wanted.delete(window);
        this.#tickUnlessBusy(window);
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.#wakeAt(next);
  }

  #tickUnlessBusy(window: PermitWindow): void {
    if (!window.isBusy && this.isConnected) void this.#tick(window);
  }

  /** Never rejects. */
  async #tick(window: PermitWindow): Promise<void> {
    const { link, clock } = this.#deps;
    const sentAt = clock.monotonic();
    const sentWallAt = clock.now();
    const { identity } = window;
    const name = this.nameOf(identity);
    const keys = [`${link.prefix}${QUOTA_ENDS.hash}${name}`];
    keys.push(`${link.prefix}${QUOTA_ENDS.since}`, `${link.prefix}${QUOTA_ENDS.channel}`);
    window.isBusy = true;
    window.tickedAt = sentAt;
    this.#wanted.delete(window);
    const args = [...encodeReport(window.report(sentAt, this.#isClosed)), name];
    let reply: unknown = null;
    try {
      reply = await link.script({ script: this.#script, keys, args });
    } catch {
      // The connection tells what is wrong with the store, once for all.
    }
    window.isBusy = false;
    const told = decodeReply(reply);
    if (told === null) window.lose();
    else if (window.identity === identity) window.apply(told, sentAt, sentWallAt);
    const again = this.#wanted.get(window);
    if (again !== undefined) this.#wakeAt(Math.max(again, this.now() + 1));
  }
}
