// What this process knows of the entries of a shared store, sealed as they are there: what is told again when the store
// has lost it, and what makes the revision of an entry a thing that can be read at once. It asks nothing.

import type { Clock } from '../../../clock.ts';

/** An entry as the store has it. Where it has none, the generation is 0 and the texts are ''. */
export interface SealedEntry {
  readonly generation: number;
  readonly version: string;
  readonly data: string;
}

/** An entry that was found in the store. */
export interface FoundEntry extends SealedEntry {
  /** How long the store keeps it from now on, ms; null: for ever, or there is none. */
  readonly keptForMs: number | null;
}

/** An entry that can be told again. */
export interface KnownEntry {
  readonly id: string;
  /** Of the key, for listings. */
  readonly name: string;
  readonly sealed: SealedEntry;
  /** How long the store keeps it, ms; null: for ever. */
  readonly keptForMs: number | null;
}

interface Mirrored {
  readonly id: string;
  name: string;
  sealed: SealedEntry | null;
  /** Counted from `notedMono`. */
  keptForMs: number | null;
  /** When it was written or read last, monotonic. */
  notedMono: number;
  /** The store does not have it yet. */
  isUnwritten: boolean;
  /** The version that another instance told of, and that was not read yet. */
  heard: string | null;
  /** The moment at which it was heard. */
  heardAt: number;
  readonly listeners: Set<() => void>;
}

/** More than any gateway has sessions: the bound of what is remembered. */
const MOST_ENTRIES = 50_000;

/** The entries by id, those used last at the end. */
export class RedisMirror {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Mirrored>();
  /** Counts the times after which nothing may be taken for granted. */
  #gaps = 0;
  /** Counts what was heard. */
  #moment = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What is known of an entry, as long as the store would keep it; null where nothing is. */
  known(id: string): SealedEntry | null {
    return this.entry(id)?.sealed ?? null;
  }

  /**
   * The present moment, taken before the store is asked about an entry: what is heard of it from now on may be later than
   * the answer, whichever is dealt with first.
   */
  moment(id: string, name: string): number {
    this.#touch(id, name);
    return this.#moment;
  }

  /** Notes what the store has, as it answered to what was asked at a moment. */
  note(id: string, name: string, { keptForMs, ...sealed }: FoundEntry, askedAt: number): void {
    const entry = this.#touch(id, name);
    entry.sealed = sealed.data === '' ? null : sealed;
    entry.keptForMs = keptForMs;
    entry.notedMono = this.#clock.monotonic();
    entry.isUnwritten = false;
    forgetHeard(entry, sealed.version, askedAt);
  }

  /** Notes what the store is to have. */
  intend({ id, name, sealed, keptForMs }: KnownEntry): void {
    const entry = this.#touch(id, name);
    entry.sealed = sealed;
    entry.keptForMs = keptForMs;
    entry.notedMono = this.#clock.monotonic();
    entry.isUnwritten = true;
    entry.heard = null;
  }

  /** Notes that the store has taken what it was told at a moment; does nothing where another was intended since. */
  written(id: string, version: string, toldAt: number): void {
    const entry = this.#entries.get(id);
    if (entry?.sealed?.version !== version) return;
    entry.isUnwritten = false;
    forgetHeard(entry, version, toldAt);
  }

  /** Whether the store had that version once. */
  isWritten(id: string, version: string): boolean {
    const entry = this.#entries.get(id);
    return entry?.sealed?.version === version && !entry.isUnwritten;
  }

  /** Whether the store has not taken what it was told last. */
  isUnwritten(id: string): boolean {
    return this.#entries.get(id)?.isUnwritten === true;
  }

  /** Another instance, or this one, has written a version: tells whoever listens, if it is news. */
  heard(id: string, version: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.heard === version) return;
    if (entry.sealed?.version === version) {
      // Pushes come in the order of what was written: this one is the last.
      entry.heard = null;
      return;
    }
    this.#moment += 1;
    entry.heard = version;
    entry.heardAt = this.#moment;
    for (const listener of entry.listeners) listener();
  }

  /** Pushes may have been missed: every entry may have changed. */
  gapEnded(): void {
    this.#gaps += 1;
    for (const { listeners } of [...this.#entries.values()]) for (const listener of listeners) listener();
  }

  /** As it is now, or was when that version was the last one. */
  revision(id: string, name: string, version?: string): string {
    const entry = this.#entries.get(id) ?? this.#touch(id, name);
    return `${this.#gaps} ${version ?? entry.heard ?? entry.sealed?.version ?? ''}`;
  }

  listen(id: string, name: string, listener: () => void): () => void {
    const { listeners } = this.#touch(id, name);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** What the store should have; `isUnwritten`: only what it does not have yet. */
  *toTell({ isUnwritten = false } = {}): Iterable<KnownEntry> {
    for (const { id, isUnwritten: isDue } of [...this.#entries.values()]) {
      const entry = isUnwritten && !isDue ? null : this.entry(id);
      if (entry !== null) yield entry;
    }
  }

  /** An entry that can be told again, kept for what is left of its time; null where nothing is known of it. */
  entry(id: string): KnownEntry | null {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.sealed === null) return null;
    const { name, sealed, keptForMs, isUnwritten } = entry;
    // What the store does not have yet is kept for as long as was said.
    if (keptForMs === null || isUnwritten) return { id, name, sealed, keptForMs };
    const leftMs = Math.ceil(keptForMs - (this.#clock.monotonic() - entry.notedMono));
    return leftMs > 0 ? { id, name, sealed, keptForMs: leftMs } : null;
  }

  get unwritten(): number {
    let count = 0;
    for (const { isUnwritten } of this.#entries.values()) if (isUnwritten) count += 1;
    return count;
  }

  names(): string[] {
    const held = [...this.#entries.values()].filter(({ sealed }) => sealed !== null);
    return [...new Set(held.map(({ name }) => name))].sort();
  }

  /** The entry, made where there is none, and used last. */
  #touch(id: string, name: string): Mirrored {
    const existing = this.#entries.get(id);
    if (existing !== undefined) {
      this.#entries.delete(id);
      this.#entries.set(id, existing);
      existing.name = name;
      return existing;
    }
    const made: Mirrored = {
      id,
      name,
      sealed: null,
      keptForMs: null,
      notedMono: this.#clock.monotonic(),
      isUnwritten: false,
      heard: null,
      heardAt: 0,
      listeners: new Set(),
    };
    this.#entries.set(id, made);
    this.#makeRoom();
    return made;
  }

  #makeRoom(): void {
    if (this.#entries.size <= MOST_ENTRIES) return;
    for (const [id, { isUnwritten, listeners }] of this.#entries) {
      if (isUnwritten || listeners.size > 0) continue;
      this.#entries.delete(id);
      return;
    }
  }
}

/** What was heard before the store was asked is in its answer; what was heard since may be later. */
function forgetHeard(entry: Mirrored, version: string, askedAt: number): void {
  if (entry.heardAt <= askedAt || entry.heard === version) entry.heard = null;
}
