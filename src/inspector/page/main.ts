// The page as a whole: its head, the view that is open, the state of the connection, the keyboard, and what is said to
// readers of the screen.

import { html, nothing, render, svg } from 'lit-html';
import { hasFailed } from '../culprit.ts';
import { count, timeOfDay, visible } from './format.ts';
import { Keyboard } from './keyboard.ts';
import { Live } from './live.ts';
import { hashOf, type Place, parsePlace } from './place.ts';
import { Session } from './session.ts';
import type { StoreChange } from './store.ts';
import type { App, Key, View } from './view.ts';
import { VIEWS, type ViewEntry } from './views.ts';

const LOGO = svg`<rect x="1" y="1" width="18" height="18" rx="5" fill="none" stroke="currentColor" stroke-width="1.6"
/><path d="M5 7.2h6M5 12.8h10M14 5v4.4" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/>`;

/** The files of the page are another version's since the gateway was replaced, or there is no gateway. */
const UNLOADED = html`<div class="entry">
  <h1>This view could not be loaded</h1>
  <p>The gateway is gone, or was replaced by another version.</p>
  <p><button class="button main" @click=${() => location.reload()}>Load the page again</button></p>
</div>`;

/** Counts are told no more often than this. */
const SAY_MS = 5000;
/** So long what came of an action is shown. */
const TELL_MS = 6000;

class Page implements App {
  readonly session = new Session();
  readonly live = new Live(this.session);
  readonly #head = byId('top');
  readonly #main = byId('main');
  readonly #said = byId('said');
  #entry: ViewEntry | null = null;
  #view: View | null = null;
  #isOpening = false;
  #isLocked = false;
  #toSay = '';
  #sayTimer: ReturnType<typeof setTimeout> | undefined;
  #lastSaidAt = 0;
  #told = { text: '', until: 0 };
  #newCalls = 0;
  #newFailures = 0;
  #failures = 0;
  cameFrom: Place | null = null;
  /** The last address of each view. */
  readonly #places = new Map<string, string>();
  #frame = 0;

  async start(): Promise<void> {
    this.#head.replaceChildren();
    this.session.onRefused = (message) => void this.#lock(message);
    this.live.listen(() => this.refresh());
    this.live.store.listen((change) => this.#count(change));
    addEventListener('hashchange', ({ oldURL }) => {
      this.cameFrom = parsePlace(new URL(oldURL).hash);
      void this.#open();
    });
    byId('skip').addEventListener('click', (event) => {
      event.preventDefault();
      this.#main.focus();
    });
    // A page that comes back out of the browser's memory may have been left for good.
    addEventListener('pageshow', ({ persisted }) => {
      if (persisted) location.reload();
    });
    new Keyboard(
      () => [...(this.#view?.keys ?? []), ...this.#keys],
      () => this.#pairs,
    );
    setInterval(() => this.refresh(), 1000);
    // Both are on their way at once.
    entryOf(parsePlace(location.hash))
      .load()
      .catch(() => {});
    const problem = await this.session.begin();
    if (problem !== null && this.session.key === null) return this.#lock(problem);
    await this.#unlock();
    this.live.notice = problem;
  }

  go(hash: string, replace = false): void {
    if (replace) {
      history.replaceState(null, '', hash);
      this.#open();
    } else location.hash = hash;
  }

  lastPlace(view: string): string {
    return this.#places.get(view) ?? hashOf(view);
  }

  say(text: string): void {
    this.#toSay = text;
    if (this.#sayTimer !== undefined) return;
    const wait = Math.max(0, this.#lastSaidAt + SAY_MS - Date.now());
    this.#sayTimer = setTimeout(() => {
      this.#sayTimer = undefined;
      this.#lastSaidAt = Date.now();
      this.#said.textContent = this.#toSay;
      this.#newCalls = 0;
      this.#newFailures = 0;
    }, wait);
  }

  tell(text: string): void {
    this.#told = { text, until: Date.now() + TELL_MS };
    this.refresh();
  }

  refresh(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  get #keys(): readonly Key[] {
    return [{ keys: ['?'], means: 'this list of keys', run: () => void this.#help() }];
  }

  get #pairs(): readonly Key[] {
    return VIEWS.flatMap(({ id, title, key }) =>
      key === null ? [] : [{ keys: [key], means: title, run: () => this.go(hashOf(id)) }],
    );
  }

  async #help(): Promise<void> {
    const { openHelp } = await import('./help.ts');
    openHelp([...(this.#view?.keys ?? []), ...this.#keys], this.#pairs, () => void this.#leave());
  }

  async #unlock(): Promise<void> {
    this.#isLocked = false;
    this.live.start();
    await this.#open();
  }

  async #leave(): Promise<void> {
    await this.session.leave();
    await this.#lock('You have left. Nothing of what was shown is kept.');
  }

  /** Shows nothing but the way in. */
  async #lock(message: string): Promise<void> {
    if (this.#isLocked) return;
    this.#isLocked = true;
    this.#close();
    this.live.stop();
    this.refresh();
    const { showEntry } = await import('./entry.ts');
    if (this.#isLocked) showEntry(this.session, this.#host(), message, () => void this.#unlock());
  }

  #close(): void {
    this.#view?.close();
    this.#view = null;
    this.#entry = null;
    this.#main.replaceChildren();
  }

  /** A new element for whatever is shown next. */
  #host(): HTMLElement {
    const host = document.createElement('div');
    host.className = 'view';
    this.#main.replaceChildren(host);
    return host;
  }

  /** Opens what the address says. */
  async #open(): Promise<void> {
    if (this.#isLocked || this.#isOpening) return;
    let place = parsePlace(location.hash);
    const entry = entryOf(place);
    if (entry !== this.#entry) {
      this.#isOpening = true;
      try {
        const { openView } = await entry.load();
        if (this.#isLocked) return;
        const isFirst = this.#entry === null;
        this.#close();
        this.#entry = entry;
        this.#view = openView(this, this.#host());
        // Whoever came by a link of the page reads on at its content.
        if (!isFirst) this.#main.focus();
      } catch {
        this.#close();
        render(UNLOADED, this.#host());
        return;
      } finally {
        this.#isOpening = false;
      }
      place = parsePlace(location.hash);
      if (entryOf(place) !== entry) return this.#open();
    }
    this.#places.set(entry.id, location.hash === '' ? hashOf(entry.id) : location.hash);
    this.#view?.show(place);
    this.refresh();
  }

  #count({ added, dropped, all }: StoreChange): void {
    const failures = added.filter(hasFailed).length;
    this.#failures += failures - dropped.filter(hasFailed).length;
    this.refresh();
    if (all || this.live.isReadingList) return;
    this.#newCalls += added.length;
    this.#newFailures += failures;
    this.say(`${count(this.#newCalls, 'new call')}, ${this.#newFailures} failed`);
  }

  #render(): void {
    const { live } = this;
    const calls = live.store.calls.length;
    const title = this.#entry?.title ?? 'Inspector';
    document.title = this.#isLocked
      ? 'Inspector - Genesys Cloud gateway'
      : `${title}: ${count(calls, 'call')}, ${this.#failures} failed - Genesys Cloud gateway`;
    render(
      html`<p class="brand"><svg viewBox="0 0 20 20" aria-hidden="true">${LOGO}</svg><span class="wide">Genesys Cloud gateway</span></p>
        ${this.#isLocked ? nothing : this.#navigation()}
        ${this.#isLocked ? nothing : this.#state()}`,
      this.#head,
    );
    render(this.#isLocked ? nothing : this.#notices(), byId('notices'));
  }

  #navigation() {
    const current = this.#entry?.id === 'call' || this.#entry?.id === 'compare' ? 'calls' : this.#entry?.id;
    return html`<nav aria-label="Views">
      <ul>
        ${VIEWS.filter(({ isInHead }) => isInHead).map(
          ({ id, title }) =>
            html`<li><a href=${hashOf(id)} aria-current=${id === current ? 'page' : nothing}>${title}</a></li>`,
        )}
      </ul>
    </nav>`;
  }

  #state() {
    const { connection, stats, hello } = this.live;
    const words = { connecting: 'Connecting', live: 'Live', lost: 'No connection', resting: 'Resting' };
    const rate = connection.phase === 'live' && stats !== null ? `${oneDigit(stats.callsPerSecond)} calls/s` : null;
    const watchers = stats?.watchers ?? hello?.watchers ?? 1;
    return html`<p class="state num" title=${hello === null ? nothing : `version ${hello.version}`}>
      <span class="dot ${connection.phase}"></span>${words[connection.phase]}
      ${rate === null ? nothing : html`<span class="soft">${rate}</span>`}
      ${watchers > 1 ? html`<span class="soft wide">${watchers} watch</span>` : nothing}
      <button class="button plain" aria-label="Help and keys" @click=${() => this.#help()}>?</button>
    </p>`;
  }

  #notices() {
    const { connection, capture, notice } = this.live;
    const seconds = Math.ceil(((connection.retryAt ?? 0) - Date.now()) / 1000);
    const again = seconds > 0 ? ` Trying again in ${seconds} s.` : ' Trying again.';
    const isTold = this.#told.until > Date.now();
    return html`<p class="told" role="status" ?hidden=${!isTold}>${isTold ? visible(this.#told.text, 500) : nothing}</p>${
      connection.phase === 'lost'
        ? html`<p class="banner bad">No connection: ${connection.reason}. What you see is the last that came.${again}</p>`
        : nothing
    }${
      capture === null || capture.until === null || capture.what === null
        ? nothing
        : html`<p class="banner">${capture.what === 'bodies' ? 'Headers and bodies' : 'Headers'} of calls are being
            captured until ${timeOfDay(Date.parse(capture.until), false)}.
            ${
              this.live.rights?.capture === true
                ? html`<button class="button plain" @click=${() => this.#stopCapture()}>Stop</button>`
                : nothing
            }</p>`
    }${
      notice === null
        ? nothing
        : html`<p class="banner">${visible(notice, 500)} <button class="button plain" @click=${() => this.#dismiss()}>Close</button></p>`
    }`;
  }

  async #stopCapture(): Promise<void> {
    const { stopCapture } = await import('./more-menu.ts');
    await stopCapture(this);
  }

  #dismiss(): void {
    this.live.notice = null;
    this.refresh();
  }
}

function entryOf({ view }: Place): ViewEntry {
  return VIEWS.find(({ id }) => id === view) ?? VIEWS[0];
}

function oneDigit(n: number): string {
  return n >= 10 ? String(Math.round(n)) : n.toFixed(1);
}

function byId(id: string): HTMLElement {
  return document.getElementById(id) as HTMLElement;
}

void new Page().start();
