// What is now, as watchers are told of it: which calls run, how limits stand, how much there is to do. It is told where
// it changed, and whole to whoever comes or was not told for a while.

import { type EndedCall, eventText } from './frames.ts';
import type { Watcher } from './watcher.ts';
import type { FeedEvents, Rights } from './wire.ts';

/** What is looked up a few times a second while somebody watches. */
export interface PresentSources {
  /** What runs now, as somebody with these rights may see it. */
  readonly running: (rights: Rights) => FeedEvents['running'];
  /** The limits, each by a key that stays the same. */
  readonly limits: () => Iterable<readonly [key: string, state: Readonly<Record<string, unknown>>]>;
}

/** What those with the same rights were told last, and how many calls ended in this second. */
interface Told {
  running: string;
  ended: number;
}

const MOST_LIMITS_AT_ONCE = 50;

/** The present state, as it was told last. */
export class PresentState {
  readonly #sources: PresentSources;
  /** By the rights of watchers. */
  readonly #told = new Map<string, Told>();
  readonly #limits = new Map<string, string>();

  constructor(sources: PresentSources) {
    this.#sources = sources;
  }

  /** Somebody with these rights watches from now on. */
  join(rightsKey: string): void {
    if (!this.#told.has(rightsKey)) this.#told.set(rightsKey, { running: '', ended: 0 });
  }

  /** Nobody watches any more. */
  clear(): void {
    this.#told.clear();
    this.#limits.clear();
  }

  /** Counts calls that have ended; `lost` are further ones of which nothing is known. */
  count(calls: readonly EndedCall[], lost: number): void {
    for (const [key, told] of this.#told) {
      const own = key === '' ? calls : calls.filter(({ client }) => client !== null && key === `own ${client}`);
      told.ended += own.length + (key === '' ? lost : 0);
    }
  }

  tellRunning(watchers: Iterable<Watcher>, nextSeq: number): void {
    for (const [told, seeing] of this.#together(watchers)) {
      const text = eventText('running', this.#sources.running(seeing[0].watch.rights));
      for (const watcher of seeing) {
        if (text === told.running && !watcher.needsState) continue;
        // Of limits only changes are told: this one is to be told them all.
        if (watcher.needsState) this.#limits.clear();
        watcher.needsState = !watcher.send(text, 0, nextSeq);
      }
      told.running = text;
    }
  }

  /** For those who see all. */
  tellLimits(watchers: Iterable<Watcher>, nextSeq: number): void {
    const seeing = [...watchers].filter(({ watch }) => watch.rights.sees === 'all');
    if (seeing.length === 0) return;
    let count = 0;
    let text = '';
    for (const [key, state] of this.#sources.limits()) {
      const json = JSON.stringify(state);
      if (this.#limits.get(key) === json) continue;
      if (++count > MOST_LIMITS_AT_ONCE) break;
      this.#limits.set(key, json);
      text += eventText('limit', state);
    }
    if (text !== '') for (const watcher of seeing) watcher.send(text, 0, nextSeq);
  }

  /** To be told each second. */
  tellStats(watchers: ReadonlySet<Watcher>, nextSeq: number, id: string): void {
    for (const [told, seeing] of this.#together(watchers)) {
      const { count: running } = this.#sources.running(seeing[0].watch.rights);
      const stats = { callsPerSecond: told.ended, running, watchers: watchers.size };
      told.ended = 0;
      const text = eventText('stats', stats, id);
      for (const watcher of seeing) watcher.send(text, 0, nextSeq);
    }
  }

  /** Those who see the same, with what they were told. */
  #together(watchers: Iterable<Watcher>): Iterable<readonly [told: Told, seeing: [Watcher, ...Watcher[]]]> {
    const groups = new Map<string, [Watcher, ...Watcher[]]>();
    for (const watcher of watchers) {
      const group = groups.get(watcher.rightsKey);
      if (group === undefined) groups.set(watcher.rightsKey, [watcher]);
      else group.push(watcher);
    }
    return Array.from(groups, ([key, seeing]) => {
      this.join(key);
      return [this.#told.get(key) as Told, seeing] as const;
    });
  }
}
