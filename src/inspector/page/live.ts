// What the page knows of the gateway, and how it stays true: the list of calls, read once, and the feed, read by one tab
// for all that have the same proof. Views listen; they never ask the feed themselves.

import type { CallsAnswer, FeedEvents, Rights } from '../wire.ts';
import { type FeedEvent, readFeed } from './feed.ts';
import { RequestFailure, type Session } from './session.ts';
import { CallStore, MOST_CALLS } from './store.ts';
import { createElection, type Election } from './tabs.ts';

/** How the page stands to the gateway. `resting`: hidden for so long that it let go. */
export interface Connection {
  readonly phase: 'connecting' | 'live' | 'lost' | 'resting';
  /** Why it is not live, for a person; null where there is nothing to say. */
  readonly reason: string | null;
  /** When it is tried again, epoch ms. */
  readonly retryAt: number | null;
}

/** What tabs with the same proof tell one another. */
type Message =
  | { readonly kind: 'event'; readonly event: FeedEvent }
  | { readonly kind: 'connection'; readonly connection: Connection }
  | { readonly kind: 'ask' };

const LONGEST_RETRY_MS = 16_000;
const HIDDEN_MS = 60_000;
const PAGE_CALLS = 1000;

const NONE_RUNNING: FeedEvents['running'] = { calls: [], count: 0 };

type Listener<Name extends keyof FeedEvents> = (data: FeedEvents[Name]) => void;

/** The gateway as it is now. */
export class Live {
  readonly session: Session;
  readonly store = new CallStore();
  connection: Connection = { phase: 'connecting', reason: null, retryAt: null };
  /** Null until the feed has said hello. */
  hello: FeedEvents['hello'] | null = null;
  stats: FeedEvents['stats'] | null = null;
  running: FeedEvents['running'] = NONE_RUNNING;
  capture: FeedEvents['capture'] = { until: null, what: null, by: null, left: 0, kept: 0, missed: 0 };
  /** Time of the oldest call that the gateway keeps, where earlier ones fell out. */
  keptSince: string | null = null;
  /** Of the successes each n-th is told. */
  sampled = 1;
  /** Whether the list was read: before, an empty one means nothing. */
  isListed = false;
  /** While the list is read, calls that come are not new. */
  isReadingList = false;
  /** What happened to the gateway meanwhile: `restarted: a new instance`. */
  notice: string | null = null;
  readonly #listeners = new Set<() => void>();
  readonly #eventListeners = new Map<keyof FeedEvents, Set<Listener<never>>>();
  #instance: string | null = null;
  #lastId = '';
  #channel: BroadcastChannel | null = null;
  #election: Election | null = null;
  #isLeading = false;
  /** Why the gateway ended the feed. */
  #farewell: string | null = null;
  /** Of the gateway's clock to this browser's, in ms. */
  #ahead = 0;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(session: Session) {
    this.session = session;
    document.addEventListener('visibilitychange', () => this.#seen());
  }

  get rights(): Rights | null {
    return this.hello?.rights ?? null;
  }

  /** The time at the gateway, epoch ms. */
  now(): number {
    return Date.now() + this.#ahead;
  }

  /** Told whenever anything but the list of calls changed. Returns what ends it. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Told each event of one kind, in every tab. Returns what ends it. */
  on<Name extends keyof FeedEvents>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.#eventListeners.get(name) ?? new Set();
    this.#eventListeners.set(name, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Begins with the session's proof. */
  start(): void {
    this.stop();
    const name = `gcg-inspector-${hashOf(this.session.key ?? '')}`;
    if (typeof BroadcastChannel !== 'undefined') {
      this.#channel = new BroadcastChannel(name);
      this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#hear(data);
    }
    this.#election = createElection(name, (signal) => this.#lead(signal));
    this.#set({ phase: 'connecting', reason: null, retryAt: null });
    this.#post({ kind: 'ask' });
    void this.#list();
    this.#election.join();
  }

  /** Ends all, and forgets what came. */
  stop(): void {
    this.#election?.leave();
    this.#channel?.close();
    this.#election = null;
    this.#channel = null;
    this.#instance = null;
    this.#lastId = '';
    this.hello = null;
    this.stats = null;
    this.running = NONE_RUNNING;
    this.isListed = false;
    this.notice = null;
    this.store.clear();
  }

  #post(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #set(connection: Connection): void {
    this.connection = connection;
    if (this.#isLeading) this.#post({ kind: 'connection', connection });
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** What another tab says. */
  #hear(message: Message): void {
    if (message.kind === 'ask') {
      if (!this.#isLeading) return;
      if (this.hello !== null) {
        const hello = { ...this.hello, now: new Date(this.now()).toISOString(), reset: false };
        this.#post({ kind: 'event', event: { event: 'hello', data: JSON.stringify(hello), id: this.#lastId } });
      }
      this.#post({ kind: 'connection', connection: this.connection });
    } else if (this.#isLeading) return;
    else if (message.kind === 'event') this.#take(message.event);
    else this.#set(message.connection);
  }

  /** Reads the feed, again and again, as the one tab that does. */
  async #lead(signal: AbortSignal): Promise<void> {
    this.#isLeading = true;
    let wait = 1000;
    while (!signal.aborted) {
      let reason: string;
      try {
        const since = this.#lastId === '' ? '' : `?since=${encodeURIComponent(this.#lastId)}`;
        const response = await this.session.request(`events${since}`, { signal });
        const startedAt = Date.now();
        this.#set({ phase: 'live', reason: null, retryAt: null });
        await readFeed(response, signal, (event) => {
          this.#post({ kind: 'event', event });
          this.#take(event);
        });
        if (Date.now() - startedAt > LONGEST_RETRY_MS) wait = 1000;
        reason = this.#farewell ?? 'the connection was lost';
      } catch (error) {
        if (signal.aborted) break;
        reason = (error as Error).message;
        if (error instanceof RequestFailure && error.status === 401) break;
      }
      if (signal.aborted) break;
      this.#farewell = null;
      this.running = NONE_RUNNING;
      this.#set({ phase: 'lost', reason, retryAt: Date.now() + wait });
      await pause(wait, signal);
      wait = Math.min(wait * 2, LONGEST_RETRY_MS);
    }
    this.#isLeading = false;
  }

  #take({ event, data, id }: FeedEvent): void {
    const value: unknown = JSON.parse(data);
    if (id !== '') this.#lastId = id;
    const name = event as keyof FeedEvents;
    this.#apply(name, value);
    for (const listener of this.#eventListeners.get(name) ?? []) (listener as Listener<typeof name>)(value as never);
    if (name !== 'calls') this.#tell();
  }

  #apply(name: keyof FeedEvents, value: unknown): void {
    if (name === 'hello') this.#greet(value as FeedEvents['hello']);
    else if (name === 'calls') {
      const { calls, sampled = 1 } = value as FeedEvents['calls'];
      if (sampled !== this.sampled) {
        this.sampled = sampled;
        this.#tell();
      }
      this.store.add(calls);
    } else if (name === 'running') this.running = value as FeedEvents['running'];
    else if (name === 'stats') this.stats = value as FeedEvents['stats'];
    else if (name === 'capture') this.capture = value as FeedEvents['capture'];
    else if (name === 'gap') void this.#list(this.store.newest);
    else if (name === 'bye') this.#farewell = (value as FeedEvents['bye']).reason;
  }

  #greet(hello: FeedEvents['hello']): void {
    const isOther = this.#instance !== null && hello.instance !== this.#instance;
    this.hello = hello;
    this.#ahead = Date.parse(hello.now) - Date.now() || 0;
    if (isOther) this.notice = 'The gateway was started again: this is its new instance.';
    if (isOther || hello.reset) {
      this.store.clear();
      this.#instance = hello.instance;
      void this.#list();
    }
    this.#instance = hello.instance;
  }

  /** Reads the list, or what is newer than a number, page by page. */
  async #list(after: number | null = null): Promise<void> {
    let before = '';
    this.isReadingList = true;
    try {
      for (let got = 0; got < MOST_CALLS; ) {
        const since = after === null ? '' : `&after=${after}`;
        const answer = await this.session.json<CallsAnswer>(`calls?limit=${PAGE_CALLS}${since}${before}`);
        if (this.#instance !== null && this.#instance !== answer.instance && before !== '') return;
        this.#instance ??= answer.instance;
        this.keptSince = answer.keptSince;
        this.isListed = true;
        this.store.add(answer.calls);
        got += answer.calls.length;
        const oldest = answer.calls.at(-1)?.seq;
        if (!answer.more || oldest === undefined) break;
        before = `&before=${oldest}`;
      }
    } catch {
      // The feed says what is wrong, and reads the list again when it is back.
    } finally {
      this.isReadingList = false;
    }
    this.#tell();
  }

  /** A tab that nobody looks at gives its place up; one that is looked at again catches up. */
  #seen(): void {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) {
      this.#hiddenTimer = setTimeout(() => {
        this.#election?.leave();
        this.#set({ phase: 'resting', reason: 'this tab was hidden', retryAt: null });
      }, HIDDEN_MS);
    } else if (this.connection.phase === 'resting') {
      this.#set({ phase: 'connecting', reason: null, retryAt: null });
      this.#post({ kind: 'ask' });
      this.#election?.join();
      void this.#list(this.store.newest);
    }
  }
}

/** FNV-1a, for a name that tells one key from another and gives none away. */
function hashOf(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(16);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
