// What the views over time have in common: they ask for the numbers of a span every few seconds while they are seen, and
// hold which charts are shown as tables. A view says what it makes of the numbers.

import { html, nothing, render } from 'lit-html';
import type { Insight } from '../insight-answer.ts';
import type { TableSwitch } from './charts.ts';
import { count, timeOfDay, visible } from './format.ts';
import { hashOf, type Place } from './place.ts';
import type { App, Key, View } from './view.ts';
import { loadViewStyle } from './view-style.ts';

const ASK_MS = 5000;
/** What happens is looked at sooner, and not more often than this. */
const SOON_MS = 1000;

/** Spans to choose from, with their words. */
const SPANS: Readonly<Record<string, string>> = { '15m': '15 min', '1h': '1 h', '6h': '6 h', '24h': '24 h' };
const USUAL_SPAN = '15m';

/** A view over time, in an element of its own. */
export abstract class InsightView implements View {
  readonly keys: readonly Key[] = [];
  protected readonly app: App;
  protected params = new URLSearchParams();
  readonly #host: HTMLElement;
  readonly #ends: (() => void)[] = [];
  readonly #tables = new Set<string>();
  readonly #fixedSpan: string | null;
  #span: string;
  #insight: Insight | null = null;
  #problem: string | null = null;
  #asked = 0;
  #lastAskedAt = 0;
  #isSoon = false;
  #isClosed = false;

  /** `fixedSpan`: the span of its numbers where none can be chosen. */
  constructor(app: App, host: HTMLElement, fixedSpan: string | null = null) {
    this.app = app;
    this.#fixedSpan = fixedSpan;
    this.#span = fixedSpan ?? USUAL_SPAN;
    this.#host = host;
    loadViewStyle();
    const every = setInterval(() => this.#tick(), 1000);
    this.#ends.push(
      () => clearInterval(every),
      app.live.on('limit', () => this.#soon()),
      app.live.on('token', () => this.#soon()),
      app.live.on('reload', () => this.#soon()),
    );
  }

  /** Its name, as a heading. */
  protected abstract readonly title: string;

  /** What it shows. */
  protected abstract body(insight: Insight): unknown;

  show({ params }: Place): void {
    const span = params.get('span') ?? USUAL_SPAN;
    const isOther = this.#fixedSpan === null && Object.hasOwn(SPANS, span) && span !== this.#span;
    if (isOther) this.#span = span;
    this.params = params;
    if (isOther || this.#insight === null) void this.load();
    this.render();
  }

  close(): void {
    this.#isClosed = true;
    this.#asked += 1;
    for (const end of this.#ends) end();
  }

  /** Whether the viewer may change something. */
  protected get mayAct(): boolean {
    return this.app.live.rights?.sees === 'all';
  }

  /** The time at the gateway, epoch ms. */
  protected now(): number {
    return this.app.live.now();
  }

  /** An address of this view with another parameter. */
  protected placeWith(name: string, value: string | null): string {
    const params = Object.fromEntries(this.params);
    return hashOf(this.app.lastPlace(this.id).replace(/^#\/?([^/?]*).*$/, '$1'), { ...params, [name]: value });
  }

  /** Its first part of the address. */
  protected abstract readonly id: string;

  /** Which of its charts and lists are shown as tables. */
  protected table(name: string): TableSwitch {
    const tables = this.#tables;
    const toggle = () => {
      if (!tables.delete(name)) tables.add(name);
      this.render();
    };
    return { isOpen: tables.has(name), toggle };
  }

  /** Asks the gateway to do something, says what came of it, and looks again. */
  protected async act(path: string, done: string): Promise<void> {
    try {
      await this.app.session.request(path, { method: 'POST' });
      this.app.tell(done);
    } catch (error) {
      this.app.tell(`Not done: ${(error as Error).message}`);
    }
    await this.load();
  }

  protected async load(): Promise<void> {
    const asked = ++this.#asked;
    this.#lastAskedAt = Date.now();
    this.#isSoon = false;
    try {
      const insight = await this.app.session.json<Insight>(`insight?span=${this.#span}`);
      if (asked !== this.#asked) return;
      this.#insight = insight;
      this.#problem = null;
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#problem = (error as Error).message;
    }
    this.render();
  }

  protected render(): void {
    if (this.#isClosed) return;
    const insight = this.#insight;
    render(
      html`<div class="insight">
        <div class="title">
          <h1>${this.title}</h1>
          ${this.#fixedSpan === null ? this.#spans() : nothing}
        </div>
        ${this.#problem === null ? nothing : html`<p class="card" role="alert">${visible(this.#problem)}</p>`}
        ${insight === null ? (this.#problem === null ? html`<p class="soft">Reading…</p>` : nothing) : this.body(insight)}
      </div>`,
      this.#host,
    );
  }

  /** What the tables are made of, where that is not all. */
  protected reach({ reach, spanMs }: Insight) {
    if (reach.isWhole) return nothing;
    const since = reach.since === null ? '' : ` since ${timeOfDay(Date.parse(reach.since), false)}`;
    return html`<p class="soft num">
      Of the ${count(reach.calls, 'call')} that are kept${since}: not all of ${spanWords(spanMs)} (
      <code>inspector.memory</code>, or the log level, keeps no more).
    </p>`;
  }

  #spans() {
    return html`<span class="bar" role="group" aria-label="Span of time">
      ${Object.entries(SPANS).map(
        ([span, words]) =>
          html`<button
            class="chip"
            aria-pressed=${span === this.#span}
            @click=${() => this.app.go(this.placeWith('span', span === USUAL_SPAN ? null : span), true)}
          >
            ${words}
          </button>`,
      )}
    </span>`;
  }

  #tick(): void {
    if (document.hidden) return;
    const age = Date.now() - this.#lastAskedAt;
    if (age >= ASK_MS || (this.#isSoon && age >= SOON_MS)) void this.load();
    // Countdowns go on.
    else this.render();
  }

  #soon(): void {
    this.#isSoon = true;
  }
}

/** `the last 15 minutes`. */
export function spanWords(spanMs: number): string {
  const minutes = spanMs / 60_000;
  return minutes < 60 ? `the last ${minutes} minutes` : `the last ${count(minutes / 60, 'hour')}`;
}
