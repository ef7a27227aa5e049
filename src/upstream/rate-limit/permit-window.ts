// The window of a limit that several instances share: counts what this one sends, and lets calls start by the permits
// that it was given, so that no call waits for the store that they share. What it tells and is told goes by ticks, which
// the ledger makes.

import { ClientCounts } from './client-counts.ts';
import { evenlyUsed, type Openings, OwnPace, openingsOf } from './own-pace.ts';
import { AHEAD_MS, PERMIT_LIFE_MS, type QuotaReply, type QuotaReport } from './quota-report.ts';
import {
  type CountedCall,
  type LimitWindow,
  MINUTE_MS,
  type PlaceQueue,
  RateWindow,
  RollingCount,
  type WindowSettings,
} from './rate-window.ts';

/** The rate of calls is that of so long, and while there is one, the limit is in use. */
const RATE_MS = 5_000;
/** So much of it is kept at hand. */
const SPARE_MS = 1_500;
/** Calls are told in steps of this; of more where many instances have to be summed up. */
const BUCKET_MS = MINUTE_MS / 240;
const INSTANCES_A_BUCKET = 5;
/** An instance that sends less of a limit that nobody knows need not tell. */
const UNTOLD_PER_MINUTE = 20;
/** Pauses that differ by less are the same. */
const SAME_PAUSE_MS = 100;
/** Assumed where the store was never reached: who shares a store has company. */
const FEWEST_INSTANCES = 2;

const NEVER = Number.NEGATIVE_INFINITY;

/** What a window needs of the ledger that ticks for it. Times are monotonic ms. */
export interface PermitLedger {
  readonly instanceId: string;
  /** That were seen; 0 while that is not known. */
  readonly instances: number;
  /** Whether the store can be asked. */
  readonly isConnected: boolean;
  /** Whether no further limit can be shared. */
  readonly isFull: boolean;
  /** Whether calls are held back at all. */
  readonly isEnforced: boolean;
  /** Until when all limits are paced by each instance itself, and since when. */
  readonly alone: { readonly until: number; readonly since: number };
  /** Permits that were got for calls that waited, and to have at hand; calls that were let go without any. */
  readonly counts: { asked: number; spare: number; alone: number };
  now(): number;
  wallNow(): number;
  /** What stands for a name in the store. */
  nameOf(text: string): string;
  /** Ticks for a window from now on, until it is idle. */
  enlist(window: PermitWindow): void;
  /** Ticks for it as soon as may be; `isUrgent`: for a call that goes before all others, or for news. */
  want(window: PermitWindow, isUrgent: boolean): void;
  /** Ticks for it, unless that was done a moment ago; resolves when there is an answer, or none to come. */
  ask(window: PermitWindow): Promise<void>;
}

/** One limit at one instance. Listed in the ledger while it is in use. */
export class PermitWindow implements LimitWindow {
  metUntil = NEVER;
  /** Whether the ledger ticks for it. */
  isListed = false;
  /** Whether a tick is under way. */
  isBusy = false;
  /** When the last one was sent. */
  tickedAt = NEVER;
  /** Tells this window's row from others of this instance. */
  readonly serial: number;
  readonly #ledger: PermitLedger;
  readonly #own: RateWindow;
  #identity = '';
  #queue: PlaceQueue | null = null;
  #limit: number;
  /** What others know of its size. */
  #limitElsewhere = Number.POSITIVE_INFINITY;

  /** Permits that are good now, and later: ascending times. All are good until `#validUntil`, by both clocks. */
  #ready = 0;
  readonly #coming: { at: number; count: number }[] = [];
  #validUntil = NEVER;
  #validWallUntil = NEVER;
  #spareMost = 0;

  readonly #starts = new RollingCount({ bucketMs: 500, periodMs: RATE_MS });
  readonly #clients = new ClientCounts();
  #sequence = 0;
  #acknowledged = { sequence: 0, at: NEVER };
  /** Whether something was counted that no tick has told. */
  #isUntold = false;
  /** How long the platform asked to pause, as far as others were told, or told us. */
  #pausedUntil = NEVER;

  /** What the last tick that counts told of all instances, and when. */
  #repliedAt = NEVER;
  #known: Openings = [];
  #free = 0;
  #share = 1;
  /** What the others had used, and when that was heard. */
  #elsewhere = { calls: 0, at: NEVER };
  #instances = 0;
  /** Calls that were started since then, and those of them that the tick under way tells. */
  #started = 0;
  #telling = 0;
  /** Until when it paces itself for reasons of its own, and since when. */
  #alone = { until: NEVER, since: NEVER };
  #pace: OwnPace | null = null;

  constructor(ledger: PermitLedger, { perMinute, isCautious }: WindowSettings, serial: number) {
    this.#ledger = ledger;
    this.#limit = perMinute;
    this.#own = new RateWindow({ perMinute, isCautious });
    this.serial = serial;
  }

  get perMinute(): number {
    return this.#own.perMinute;
  }

  get limit(): number {
    return this.#limit;
  }

  set limit(perMinute: number) {
    if (perMinute === this.#limit) return;
    this.#limit = perMinute;
    this.#resize();
    if (this.metUntil > this.#ledger.now()) this.#tellNow();
  }

  get identity(): string {
    return this.#identity;
  }

  identify(identity: string): void {
    if (identity === this.#identity) return;
    this.#identity = identity;
    // The row in the other hash is told of no more, and ends like that of an instance that is gone.
    this.#acknowledged = { sequence: 0, at: NEVER };
    this.#repliedAt = NEVER;
    this.#dropPermits();
  }

  serve(queue: PlaceQueue): void {
    this.#queue = queue;
  }

  acquire(now: number, _call?: CountedCall, client?: string): void {
    this.#own.acquire(now);
    this.#starts.add(now);
    this.#started += 1;
    this.#isUntold = true;
    if (client !== undefined) this.#clients.of(client).add(now);
    if (this.#pace !== null) {
      this.#pace.start(now);
      this.#ledger.counts.alone += 1;
    }
    if (this.#ready > 0) this.#ready -= 1;
    if (!this.isListed) this.#ledger.enlist(this);
    // What nobody knows is found out carefully when much of it is used, by all together.
    if (this.#started >= UNTOLD_PER_MINUTE && this.perMinute === Number.POSITIVE_INFINITY)
      this.#ledger.want(this, true);
  }

  complete(arrivedAt: number): void {
    this.#own.complete(arrivedAt);
    this.#isUntold = true;
    if (!this.isListed) this.#ledger.enlist(this);
  }

  cancel(): void {
    this.#own.cancel();
    this.#isUntold = true;
    if (!this.isListed) this.#ledger.enlist(this);
  }

  free(now: number): number {
    const own = this.#own;
    own.elsewhere = this.#elsewhereAt(now);
    if (own.perMinute === Number.POSITIVE_INFINITY) return own.free(now);
    if (!this.#ledger.isEnforced) return own.free(now) - own.elsewhere;
    if (this.#isAlone(now)) return Math.min(own.free(now), this.#paceAt(now).free(now, own.perMinute));
    this.#pace = null;
    this.#takePermits(now);
    return Math.min(own.free(now), this.#ready);
  }

  freeFor(now: number): number {
    // A permit that is missing says nothing of the limit.
    return this.#own.free(now) - this.#elsewhereAt(now);
  }

  async freeAside(now: number): Promise<number> {
    if (this.perMinute === Number.POSITIVE_INFINITY || this.#isAlone(now) || !this.#ledger.isEnforced)
      return this.free(now);
    await this.#ledger.ask(this);
    const later = this.#ledger.now();
    return this.#isAlone(later) ? this.free(later) : Math.max(this.free(later), this.#free - this.#started);
  }

  used(now: number): number {
    return this.#own.used(now) + Math.round(this.#elsewhereAt(now));
  }

  enterSlowStart(until: number): void {
    this.#own.enterSlowStart(until);
  }

  pause(): boolean {
    return false;
  }

  notePause(until: number): void {
    if (until <= this.#pausedUntil + SAME_PAUSE_MS || until <= this.#ledger.now()) return;
    this.#pausedUntil = until;
    this.#tellNow();
  }

  isGranted(now: number): boolean {
    return this.perMinute !== Number.POSITIVE_INFINITY && this.#ledger.isEnforced && !this.#isAlone(now);
  }

  awaited(now: number, isDue: boolean): void {
    if (!this.isListed) this.#ledger.enlist(this);
    if (!this.isGranted(now)) return;
    this.#takePermits(now);
    let promised = this.#ready;
    for (const { count } of this.#coming) promised += count;
    if (promised === 0 || isDue) this.#ledger.want(this, isDue);
  }

  openings(now: number): () => number {
    const { perMinute } = this;
    if (perMinute === Number.POSITIVE_INFINITY) return this.#own.openings(now);
    if (!this.isGranted(now)) {
      if (!this.#ledger.isEnforced) return this.#own.openings(now);
      const { open, later } = this.#paceAt(now).outlook(now, perMinute);
      return openingsOf(now, open, later, (MINUTE_MS * this.#company()) / perMinute);
    }
    this.#takePermits(now);
    const later: [number, number][] = this.#coming.map(({ at, count }) => [at, count]);
    const everyMs = MINUTE_MS / (perMinute * this.#share);
    // Where nothing was heard lately there may be room at once.
    if (now - this.#repliedAt > PERMIT_LIFE_MS) return openingsOf(now, Math.max(1, perMinute), [], everyMs);
    const told = Math.max(this.#repliedAt + PERMIT_LIFE_MS / 3, now + 1);
    const open = this.#ready + Math.min(0, this.#free) * this.#share;
    if (this.#free > 0) later.push([told, this.#free * this.#share]);
    for (const [at, count] of this.#known) if (at > told) later.push([at, count * this.#share]);
    return openingsOf(now, open, later, everyMs);
  }

  /** Whether nothing happens, so that nothing has to be told any more. */
  isIdle(now: number): boolean {
    return this.#own.inFlight === 0 && this.#starts.recent(now) === 0 && this.#pausedUntil <= now && !this.#isAwaited();
  }

  /** Whether the others know all of it, and it keeps nothing. */
  get isTold(): boolean {
    return !this.#isUntold && this.#ready === 0 && this.#coming.length === 0;
  }

  /** Whether a tick is worth its while: of a limit that nobody knows only large counts are. */
  isWorthTelling(now: number): boolean {
    return (
      this.perMinute !== Number.POSITIVE_INFINITY || this.#pausedUntil > now || this.#own.used(now) >= UNTOLD_PER_MINUTE
    );
  }

  /** What the next tick tells. Permits that are not needed are given back with it. */
  report(now: number, isLast: boolean): QuotaReport {
    const isGranting = this.isGranted(now) && !isLast;
    this.#takePermits(now);
    this.#coming.length = 0;
    const rate = this.#starts.recent(now) / RATE_MS;
    // One more than that: calls come in twos as well.
    const spare = isGranting && rate > 0 ? Math.ceil(rate * SPARE_MS) + 1 : 0;
    if (!isGranting) this.#ready = 0;
    else if (!this.#isAwaited()) this.#ready = Math.min(this.#ready, spare, Math.max(this.#spareMost, 1));
    const paced = isLast ? 0 : this.#pacedAt(now);
    this.#sequence += 1;
    this.#telling = this.#started;
    // What it does not start after all has to be given back.
    this.#isUntold = paced > 0;
    return {
      row: `${this.#ledger.instanceId}:${this.serial}`,
      sequence: this.#sequence,
      // Rows that nobody writes end after a minute.
      acknowledged: now - this.#acknowledged.at < MINUTE_MS ? this.#acknowledged.sequence : 0,
      limit: this.#limit === Number.POSITIVE_INFINITY ? 0 : this.#limit,
      metLeftMs: Math.max(0, this.metUntil - now),
      pauseMs: Math.max(0, this.#pausedUntil - now),
      inFlight: this.#own.inFlight,
      held: this.#ready + paced,
      spare,
      isGranting,
      sharers: this.#queue?.sharers ?? 0,
      counted: this.#counted(now),
      clients: this.#clients.report(now, new Map(this.#queue?.waitingOf() ?? []), (name) => this.#ledger.nameOf(name)),
    };
  }

  /** Takes what a tick was answered that was sent at these times of both clocks. */
  apply(reply: QuotaReply, sentAt: number, sentWallAt: number): void {
    const now = this.#ledger.now();
    this.#acknowledged = { sequence: this.#sequence, at: now };
    this.#instances = reply.instances;
    this.#pace?.grow(reply.instances);
    this.#elsewhere = { calls: reply.usedElsewhere, at: now };
    const wasAlone = this.#isAlone(now);
    if (this.#alone.until === Number.POSITIVE_INFINITY) this.#alone.until = now + PERMIT_LIFE_MS;
    if (reply.guardMs > 0) this.#beAlone(now, now + reply.guardMs);
    // Until rows are whole again, what was known before counts.
    if (!wasAlone && !this.#isAlone(now)) {
      this.#repliedAt = now;
      // What another gap began with says nothing of the next one.
      this.#pace = null;
      this.#known = reply.openings.map(([inMs, count]) => [now + inMs, count]);
      this.#free = reply.free;
      this.#share = Math.max(0.001, reply.share);
      this.#started -= this.#telling;
      this.#spareMost = reply.spareMost;
      this.#validUntil = sentAt + PERMIT_LIFE_MS;
      this.#validWallUntil = sentWallAt + PERMIT_LIFE_MS;
      // What nobody asked for is not kept.
      if (this.#starts.recent(now) > 0 || this.#isAwaited()) this.#add(reply, now);
    }
    const limitElsewhere = reply.limit === 0 ? Number.POSITIVE_INFINITY : reply.limit;
    if (limitElsewhere !== this.#limitElsewhere) {
      this.#limitElsewhere = limitElsewhere;
      this.#resize();
    }
    const until = now + reply.pauseMs;
    if (reply.pauseMs > 0 && until > this.#pausedUntil + SAME_PAUSE_MS) {
      this.#pausedUntil = until;
      this.#queue?.pauseUntil(until);
    }
    this.#queue?.reconsider();
  }

  /** A tick failed: it paces itself until one succeeds, and a while longer. */
  lose(): void {
    const now = this.#ledger.now();
    this.#isUntold = true;
    this.#beAlone(now, Number.POSITIVE_INFINITY);
    this.#queue?.reconsider();
  }

  /** Whether calls wait for it. */
  #isAwaited(): boolean {
    for (const _ of this.#queue?.waitingOf() ?? []) return true;
    return false;
  }

  /** Others are to know at once. */
  #tellNow(): void {
    this.#isUntold = true;
    if (!this.isListed) this.#ledger.enlist(this);
    this.#ledger.want(this, true);
  }

  #resize(): void {
    this.#own.perMinute = Math.min(this.#limit, this.#limitElsewhere);
  }

  #isAlone(now: number): boolean {
    return now < this.#ledger.alone.until || now < this.#alone.until || (!this.isListed && this.#ledger.isFull);
  }

  #beAlone(now: number, until: number): void {
    if (now >= this.#alone.until) this.#alone.since = now;
    this.#alone.until = Math.max(this.#alone.until, until);
    this.#dropPermits();
  }

  #company(): number {
    return Math.max(this.#instances, this.#ledger.instances) || FEWEST_INSTANCES;
  }

  /** What it may start by itself: others must not be given that before it has told what became of it. */
  #pacedAt(now: number): number {
    if (!this.#ledger.isEnforced || this.perMinute === Number.POSITIVE_INFINITY || !this.#isAlone(now)) return 0;
    return Math.max(0, this.free(now));
  }

  #paceAt(now: number): OwnPace {
    if (this.#pace === null) {
      this.#dropPermits();
      const since = Math.max(this.#ledger.alone.until > now ? this.#ledger.alone.since : NEVER, this.#alone.since);
      const settings = { known: this.#knownSince(since), started: this.#started, instances: this.#company() };
      this.#pace = new OwnPace(settings, now);
    }
    this.#pace.grow(this.#ledger.instances);
    return this.#pace;
  }

  /** What all instances together had used when the store was lost, and when it stops to count. */
  #knownSince(since: number): Openings {
    // Rows may be missing, but others can be asked: this instance has just come, or all have.
    if (this.#repliedAt === NEVER && this.#ledger.isConnected) return [];
    // Others may have been given what has opened since, and what opens next.
    const givenUntil = since + AHEAD_MS;
    const kept = this.#known.filter(([at]) => at > givenUntil);
    if (this.#repliedAt >= since - PERMIT_LIFE_MS) {
      const given = this.#known.slice(0, this.#known.length - kept.length);
      return [...kept, ...given.map(([at, count]) => [at + MINUTE_MS, count] as const)];
    }
    // It was not told lately: others may have used all the rest.
    const rest = this.#own.perMinute - kept.reduce((sum, [, count]) => sum + count, 0);
    return [...kept, ...evenlyUsed(Math.max(0, rest), Math.max(0, since))].sort(([a], [b]) => a - b);
  }

  #elsewhereAt(now: number): number {
    const { calls, at } = this.#elsewhere;
    return now - at >= MINUTE_MS ? 0 : calls * (1 - Math.max(0, now - at) / MINUTE_MS);
  }

  /** Permits end with their time, also where this process or this machine slept meanwhile. */
  #takePermits(now: number): void {
    if (this.#ready === 0 && this.#coming.length === 0) return;
    if (now >= this.#validUntil || this.#ledger.wallNow() >= this.#validWallUntil) {
      this.#dropPermits();
      return;
    }
    for (let next = this.#coming[0]; next !== undefined && next.at <= now; next = this.#coming[0]) {
      this.#ready += next.count;
      this.#coming.shift();
    }
  }

  #dropPermits(): void {
    if (this.#ready > 0 || this.#coming.length > 0) this.#isUntold = true;
    this.#ready = 0;
    this.#coming.length = 0;
  }

  #add({ permits }: QuotaReply, now: number): void {
    let count = 0;
    for (const [inMs, some] of permits) {
      count += some;
      if (inMs === 0) this.#ready += some;
      else this.#coming.push({ at: now + inMs, count: some });
    }
    this.#coming.sort((a, b) => a.at - b.at);
    this.#ledger.counts[this.#isAwaited() ? 'asked' : 'spare'] += count;
  }

  #counted(now: number): [number, number][] {
    const widthMs = BUCKET_MS * Math.ceil(this.#company() / INSTANCES_A_BUCKET);
    const counted: [number, number][] = [];
    let bucket = Number.NaN;
    this.#own.eachCounted(now, (endsAt, count) => {
      const leftMs = endsAt - now;
      const last = counted.at(-1);
      if (last !== undefined && Math.floor(leftMs / widthMs) === bucket) {
        last[0] = leftMs;
        last[1] += count;
        return true;
      }
      bucket = Math.floor(leftMs / widthMs);
      return counted.push([leftMs, count]) > 0;
    });
    return counted;
  }
}
