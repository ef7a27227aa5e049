// The stream of events to those who watch. It works only while somebody does: ten times a second what has ended is made
// into one text for all who see the same, a few times a second the present state is told where it changed. Who may
// watch, and where the text goes, is the server's.

import type { Clock, Timer } from '../clock.ts';
import type { CallRing, KeptCall } from './call-ring.ts';
import { callsText, type EndedCall, eventText, PING, Sampler } from './frames.ts';
import { type PresentSources, PresentState } from './present-state.ts';
import { maySee, searchCalls } from './search.ts';
import { type Watch, Watcher } from './watcher.ts';
import type { Call, CaptureState, FeedEvents, Rights } from './wire.ts';

/** What a feed tells of, and by what. */
export interface FeedDeps extends PresentSources {
  readonly instance: string;
  readonly version: string;
  readonly ring: CallRing;
  readonly clock: Clock;
  /** Makes calls be traced, while somebody watches; returns what ends that. */
  readonly watch: () => () => void;
  /** Whether headers or bodies are captured, and until when. */
  readonly capture: () => CaptureState;
}

/** One who watches, as all others are told; not what it looks for. */
export interface WatcherStatus {
  readonly client: string | null;
  readonly peer: string | null;
  readonly sees: Rights['sees'];
  /** Epoch ms. */
  readonly since: number;
}

const TICK_MS = 100;
const RUNNING_TICKS = 3;
const LIMIT_TICKS = 5;
const SECOND_TICKS = 10;
const PING_TICKS = 150;

const MOST_WATCHERS = 10;
/** Of these, so many are kept for those who see all: clients that watch their own calls do not keep an admin out. */
const KEPT_FOR_ALL = 2;
const MOST_OF_A_CLIENT = 3;
/** So many calls wait for the next frame; of more it is told that they are missing. */
const MOST_PENDING = 2_000;
/** So many are told of when somebody comes back. */
const MOST_RESUMED = 1_000;
const CALLS_A_FRAME = 200;

/** Watchers who see the same calls: these are chosen and put into words once for all of them. */
interface Group {
  readonly watchers: Set<Watcher>;
  readonly sampler: Sampler;
}

/** The feed of one gateway. `close` ends it. */
export class Feed {
  readonly #deps: FeedDeps;
  readonly #watchers = new Set<Watcher>();
  readonly #groups = new Map<string, Group>();
  readonly #present: PresentState;
  #pending: EndedCall[] = [];
  #lost = 0;
  #ticks = 0;
  #timer: Timer | null = null;
  #unwatch: (() => void) | null = null;
  #isClosed = false;

  constructor(deps: FeedDeps) {
    this.#deps = deps;
    this.#present = new PresentState(deps);
  }

  get isWatched(): boolean {
    return this.#watchers.size > 0;
  }

  get watchers(): WatcherStatus[] {
    return Array.from(this.#watchers, ({ since, watch: { rights, peer } }) => {
      const { client, sees } = rights;
      return { client, peer, sees, since };
    });
  }

  /** Why there is no room for one more; null where there is. */
  whyFull({ client, sees }: Pick<Rights, 'client' | 'sees'>): string | null {
    const { watchers } = this;
    if (watchers.length >= MOST_WATCHERS) return `${MOST_WATCHERS} are watching already, and no more are allowed`;
    const ofClients = watchers.filter((one) => one.sees === 'own').length;
    if (sees === 'own' && ofClients >= MOST_WATCHERS - KEPT_FOR_ALL)
      return `${ofClients} are watching calls of their own already, and no more are allowed`;
    const own = client === null ? 0 : watchers.filter((one) => one.client === client).length;
    return own < MOST_OF_A_CLIENT ? null : `${MOST_OF_A_CLIENT} watch as ${client} already, and no more may`;
  }

  /**
   * Begins to tell somebody. `since` is the id of the last event that this one has; the calls after it come first,
   * where all of them are kept. Returns what ends it; it is to be called when the outlet has closed, too.
   */
  watch(watch: Watch, since: string | null): () => void {
    const watcher = new Watcher(watch, this.#deps.clock);
    this.#watchers.add(watcher);
    this.#unwatch ??= this.#deps.watch();
    this.#timer ??= this.#deps.clock.after(TICK_MS, this.#tick);
    void this.#begin(watcher, since);
    return () => this.#remove(watcher);
  }

  /** Takes a call in that has ended. */
  ended(call: EndedCall): void {
    if (this.#pending.length < MOST_PENDING) this.#pending.push(call);
    else this.#lost += 1;
  }

  /** Tells something at once, to those who see all. */
  tell<N extends 'token' | 'reload'>(name: N, data: FeedEvents[N]): void {
    const text = eventText(name, data);
    for (const watcher of this.#watchers) if (watcher.watch.rights.sees === 'all') watcher.send(text, 0, this.#nextSeq);
  }

  /** Tells all at once that headers or bodies are captured from now on, or not any more. */
  tellCapture(): void {
    for (const watcher of this.#watchers) this.#sendCapture(watcher);
  }

  /** Who captures and how much is for those who see all; that it is done, for everybody. */
  #sendCapture(watcher: Watcher): void {
    const state = this.#deps.capture();
    const shown = watcher.watch.rights.sees === 'all' ? state : { ...state, by: null, left: 0, kept: 0, missed: 0 };
    watcher.send(eventText('capture', shown), 0, this.#nextSeq);
  }

  /** Says that calls were forgotten: lists are to be read again. */
  reset(): void {
    this.#pending = [];
    for (const watcher of this.#watchers) this.#greet(watcher, this.#deps.ring.present, true);
  }

  /** Asks of each one whether it may still watch what it does; whoever may not is told so and let go. */
  review(): void {
    for (const watcher of this.#watchers) {
      const { rights, review } = watcher.watch;
      const now = review();
      if (now === null) this.#end(watcher, 'you may not look any more');
      else if (JSON.stringify(now) !== JSON.stringify(rights)) this.#end(watcher, 'what you may see has changed');
    }
  }

  /** Ends all streams; nobody may watch any more. */
  close(reason: string): void {
    this.#isClosed = true;
    for (const watcher of this.#watchers) this.#end(watcher, reason);
    this.#timer?.cancel();
    this.#timer = null;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get #nextSeq(): number {
    return this.#deps.ring.present + 1;
  }

  #idAt(seq: number): string {
    return `${this.#deps.instance}-${seq}`;
  }

  /** Says who is there, and what it has missed; then it is told what the others are. */
  async #begin(watcher: Watcher, since: string | null): Promise<void> {
    const { ring } = this.#deps;
    const from = since === null ? null : this.#resumable(since);
    let upTo = ring.present;
    const missed = from === null ? null : await this.#callsBetween(watcher, from, upTo);
    if (!this.#watchers.has(watcher)) return;
    this.#greet(watcher, upTo, since !== null && missed === null);
    this.#sendCalls(watcher, missed ?? [], upTo);
    // What ended while others had their turn: until nothing did.
    while (missed !== null && ring.lastSeq > upTo) {
      const reached = ring.present;
      const more = await this.#callsBetween(watcher, upTo, reached);
      if (!this.#watchers.has(watcher)) return;
      this.#sendCalls(watcher, more ?? [], reached);
      upTo = reached;
    }
    // Others have had what waits for the next frame by then, so that it is not told twice to this one.
    this.#flush();
    this.#join(watcher);
  }

  #greet(watcher: Watcher, upTo: number, reset: boolean): void {
    const { ring, instance, version, clock } = this.#deps;
    const { rights } = watcher.watch;
    const { oldest, newest } = rights.sees === 'all' ? ring : { oldest: null, newest: null };
    const now = new Date(clock.now()).toISOString();
    const watchers = this.#watchers.size;
    const hello = { instance, version, now, oldest, newest, rights, watchers, reset };
    watcher.send(eventText('hello', hello, this.#idAt(upTo)), 0, upTo + 1);
    if (this.#deps.capture().what !== null) this.#sendCapture(watcher);
  }

  /** The number of the last call that somebody knows, where all that came later are kept; else null. */
  #resumable(id: string): number | null {
    const { instance, ring } = this.#deps;
    const at = id.lastIndexOf('-');
    const seq = Number(id.slice(at + 1));
    if (id.slice(0, at) !== instance || seq > ring.present) return null;
    return seq >= ring.lostUpTo ? seq : null;
  }

  /** The calls in between, the oldest first; null where they are too many. */
  async #callsBetween({ watch }: Watcher, after: number, upTo: number) {
    const { rights, matches } = watch;
    const query = { matches, limit: MOST_RESUMED, before: upTo + 1, after };
    const { calls, more } = await searchCalls(this.#deps.ring, rights, query);
    return more ? null : calls.toReversed();
  }

  #sendCalls(watcher: Watcher, calls: readonly { readonly seq: number; readonly json: string }[], upTo: number): void {
    for (let at = 0; at < calls.length; at += CALLS_A_FRAME) {
      const some = calls.slice(at, at + CALLS_A_FRAME);
      const isLast = at + CALLS_A_FRAME >= calls.length;
      const id = this.#idAt(isLast ? upTo : (some.at(-1)?.seq ?? upTo));
      watcher.send(callsText(some, id, 1), some.length, upTo + 1);
    }
  }

  #join(watcher: Watcher): void {
    const key = groupKey(watcher);
    const group = this.#groups.get(key) ?? { watchers: new Set(), sampler: new Sampler() };
    this.#groups.set(key, group);
    group.watchers.add(watcher);
    this.#present.join(watcher.rightsKey);
  }

  #end(watcher: Watcher, reason: string): void {
    watcher.end(reason);
    this.#remove(watcher);
  }

  #remove(watcher: Watcher): void {
    if (!this.#watchers.delete(watcher)) return;
    const key = groupKey(watcher);
    const group = this.#groups.get(key);
    group?.watchers.delete(watcher);
    if (group?.watchers.size === 0) this.#groups.delete(key);
    if (this.isWatched) return;
    this.#unwatch?.();
    this.#unwatch = null;
    this.#pending = [];
    this.#lost = 0;
    this.#present.clear();
    this.#timer?.cancel();
    this.#timer = null;
  }

  readonly #tick = (): void => {
    this.#timer = null;
    this.#ticks += 1;
    const isDue = (ticks: number) => this.#ticks % ticks === 0;
    for (const watcher of this.#watchers) {
      if (watcher.hasRoom(this.#nextSeq) || !watcher.isStuck) continue;
      watcher.watch.outlet.destroy();
      this.#remove(watcher);
    }
    this.#flush();
    if (isDue(RUNNING_TICKS)) this.#present.tellRunning(this.#watchers, this.#nextSeq);
    if (isDue(LIMIT_TICKS)) this.#present.tellLimits(this.#watchers, this.#nextSeq);
    if (isDue(SECOND_TICKS)) {
      this.#present.tellStats(this.#watchers, this.#nextSeq, this.#idAt(this.#deps.ring.present));
      this.review();
    }
    if (isDue(PING_TICKS)) for (const watcher of this.#watchers) watcher.send(PING, 0, this.#nextSeq);
    if (this.isWatched) this.#timer ??= this.#deps.clock.after(TICK_MS, this.#tick);
  };

  /** One text for each group, of the lines that the ring has. What fell out of it meanwhile is missing. */
  #flush(): void {
    const { ring } = this.#deps;
    const pending = this.#pending;
    const lost = this.#lost;
    this.#pending = [];
    this.#lost = 0;
    const callOf = reader(ring);
    for (const { watchers, sampler } of this.#groups.values()) {
      const [first] = watchers;
      if (first === undefined) continue;
      const { rights, matches } = first.watch;
      let missed = lost;
      const wanted = pending.filter((one) => {
        if (!maySee(one.client, rights)) return false;
        if (matches === null) return true;
        const call = callOf(one);
        if (call === null) missed += 1;
        return call !== null && matches(call);
      });
      const { chosen, sampled } = sampler.choose(wanted);
      const told = chosen.map(({ seq }) => ring.get(seq)).filter((kept): kept is KeptCall => kept !== null);
      missed += chosen.length - told.length;
      if (told.length > 0) {
        const text = Buffer.from(callsText(told, this.#idAt(ring.present), sampled));
        for (const watcher of watchers) watcher.send(text, told.length, this.#nextSeq);
      }
      if (missed > 0) {
        // How many others call is not for everybody to know.
        const gap = eventText('gap', { missed: rights.sees === 'all' ? missed : 0, resumeAt: this.#nextSeq });
        for (const watcher of watchers) watcher.send(gap, 0, this.#nextSeq);
      }
    }
    this.#present.count(pending, lost);
  }
}

/** Reads calls from the ring as filters ask for them, each one once; null for what fell out. */
function reader(ring: CallRing): (one: EndedCall) => Call | null {
  const calls = new Map<number, Call | null>();
  return ({ seq }) => {
    let call = calls.get(seq);
    if (call === undefined) {
      const kept = ring.get(seq);
      call = kept && (JSON.parse(kept.json) as Call);
      calls.set(seq, call);
    }
    return call;
  };
}

function groupKey({ rightsKey, watch }: Watcher): string {
  return `${rightsKey}\n${watch.filter}`;
}
