// The list of calls as it grows: what is shown of it (filter, columns, time), when it stands still, and what runs just
// now.

import { html, nothing, render } from 'lit-html';
import { hasFailed } from '../culprit.ts';
import { type Filter, matches, readFilter } from '../filter.ts';
import type { Call } from '../wire.ts';
import { CallGrid, COLUMNS } from './call-grid.ts';
import { CallList, type Time, timeOf } from './call-list.ts';
import { emptyList } from './empty-list.ts';
import { FilterBox, hasTerm, quoted, toggled } from './filter-box.ts';
import { count, timeOfDay } from './format.ts';
import { hashOf, type Place } from './place.ts';
import { runningCalls } from './running-calls.ts';
import { savedMenu } from './saved-filters.ts';
import type { StoreChange } from './store.ts';
import { SPANS, StripChart } from './strip-chart.ts';
import type { App, Key, OpenView, View } from './view.ts';

/** What the address says, and nothing else decides. */
interface Wish {
  readonly filter: string;
  readonly highlight: string;
  readonly columns: string;
  readonly span: string;
}

const ALL_COLUMNS = COLUMNS.map(({ id }) => id);

export const openView: OpenView = (app, host) => new CallsView(app, host);

class CallsView implements View {
  readonly #app: App;
  readonly #host: HTMLElement;
  readonly #box: FilterBox;
  readonly #chart: StripChart;
  readonly #list: CallList;
  readonly #ends: (() => void)[];
  #grid: CallGrid | null = null;
  #wish: Wish = { filter: '', highlight: '', columns: '', span: '5m' };
  #marked: Filter | null = null;
  #columns: readonly string[] = ALL_COLUMNS;
  /** Loaded when it is first opened. */
  #more: typeof import('./more-menu.ts') | null = null;
  #frame = 0;

  constructor(app: App, host: HTMLElement) {
    this.#app = app;
    this.#host = host;
    const change = () => this.#update();
    this.#box = new FilterBox(
      () => app.live.store.calls,
      (filter) => this.#ask({ filter }),
      change,
      () => this.#enterList(),
    );
    this.#chart = new StripChart((time) => this.#choose(time), change);
    this.#list = new CallList(app.live.store, () => app.live.now());
    const timer = setInterval(() => this.#tick(), 1000);
    const onPress = ({ target }: Event) => void this.#closeMenus(target);
    document.addEventListener('pointerdown', onPress);
    this.#ends = [
      app.live.store.listen((stored) => this.#take(stored)),
      app.live.listen(change),
      () => clearInterval(timer),
      () => document.removeEventListener('pointerdown', onPress),
    ];
  }

  get keys(): readonly Key[] {
    return [
      { keys: ['j', 'ArrowDown'], means: 'next call', run: () => this.#move(1) },
      { keys: ['k', 'ArrowUp'], means: 'call before', run: () => this.#move(-1) },
      { keys: ['PageDown'], means: 'a page on', run: () => this.#move(20) },
      { keys: ['PageUp'], means: 'a page back', run: () => this.#move(-20) },
      { keys: ['Home'], means: 'newest call', run: () => this.#top() },
      { keys: ['Enter'], means: 'open the call', run: () => this.#open(this.#grid?.active ?? null) },
      { keys: ['/'], means: 'filter', run: () => this.#box.focus(this.#host) },
      { keys: ['p'], means: 'stand still, go on', run: () => this.#pause() },
      { keys: ['f'], means: 'failures only', run: () => this.#toggle('failed:yes') },
      { keys: ['Escape'], means: 'close a menu; no filter', run: () => this.#escape() },
    ];
  }

  show({ params }: Place): void {
    const wish: Wish = {
      filter: params.get('f') ?? '',
      highlight: params.get('hl') ?? '',
      columns: params.get('cols') ?? '',
      span: Object.hasOwn(SPANS, params.get('w') ?? '') ? (params.get('w') as string) : '5m',
    };
    this.#wish = wish;
    this.#box.set(wish.filter);
    this.#marked = wish.highlight === '' ? null : readFilter(wish.highlight);
    const columns =
      wish.columns === '' ? ALL_COLUMNS : ALL_COLUMNS.filter((id) => wish.columns.split(',').includes(id));
    this.#columns = columns.length === 0 ? ALL_COLUMNS : columns;
    this.#list.show(readFilter(wish.filter) ?? this.#list.filter);
    this.#beginChart();
    const isNew = this.#grid === null;
    this.#render();
    this.#grid?.begin();
    const { cameFrom } = this.#app;
    // Whoever comes back from a call goes on there.
    if (isNew && cameFrom?.view === 'call') this.#grid?.chooseCall(cameFrom.rest[0] ?? '');
  }

  close(): void {
    for (const end of this.#ends) end();
    cancelAnimationFrame(this.#frame);
    this.#grid?.close();
  }

  /** Changes the address: what is shown follows from it. */
  #ask(change: Partial<Wish>): void {
    const { filter, highlight, columns, span } = { ...this.#wish, ...change };
    this.#app.go(hashOf('calls', { f: filter, hl: highlight, cols: columns, w: span === '5m' ? '' : span }), true);
    if (change.filter !== undefined)
      this.#app.say(`${count(this.#list.passed.length, 'call')} of ${this.#app.live.store.calls.length}`);
  }

  #toggle(term: string): void {
    this.#ask({ filter: toggled(this.#wish.filter, term) });
  }

  /** Puts a time into the filter, in the place of an earlier one. */
  #choose(time: Time | null): void {
    const rest = this.#wish.filter
      .split(/\s+/)
      .filter((word) => !/^(?:since|until):/.test(word))
      .join(' ');
    const term = time === null ? '' : ` since:${isoOf(time.from)} until:${isoOf(time.to)}`;
    this.#ask({ filter: `${rest}${term}`.trim() });
  }

  /** What moves with the clock alone. */
  #tick(): void {
    if (/\b(?:since|until):\d+[smhd]\b/.test(this.#wish.filter)) this.#list.refresh();
    this.#update();
  }

  #beginChart(): void {
    this.#chart.begin(SPANS[this.#wish.span] as number, this.#list.untimed(this.#app.live.store.calls));
  }

  #take(change: StoreChange): void {
    this.#list.take(change);
    if (change.all) this.#beginChart();
    else this.#chart.add(this.#list.untimed(change.added));
    this.#update();
  }

  #move(by: number): void {
    this.#grid?.focus();
    this.#grid?.move(by);
  }

  /** From the filter into the calls that pass it. */
  #enterList(): void {
    if (this.#list.shown.length === 0) return;
    this.#grid?.focus();
    this.#grid?.choose(0);
  }

  #top(): void {
    this.#grid?.choose(0);
    this.#goOn();
  }

  #escape(): void {
    if (!this.#closeMenus(null)) this.#ask({ filter: '' });
  }

  /** Closes the menus that an event was not in; whether there were any. */
  #closeMenus(target: EventTarget | null): boolean {
    const open = [...this.#host.querySelectorAll<HTMLDetailsElement>('.menu[open]')].filter(
      (menu) => !(target instanceof Node && menu.contains(target)),
    );
    for (const menu of open) menu.open = false;
    return open.length > 0;
  }

  #open(call: Call | null): void {
    if (call !== null) this.#app.go(hashOf('call', {}, call.requestId));
  }

  #pause(): void {
    if (this.#list.isStill) this.#goOn();
    else this.#list.stop(false);
    this.#update();
  }

  #goOn(): void {
    this.#list.goOn();
    this.#grid?.toTop();
    this.#update();
  }

  /** The list stands still while somebody reads below its top. */
  #moved(isAtTop: boolean): void {
    if (!isAtTop && !this.#list.isStill) this.#list.stop(true);
    else if (isAtTop && this.#list.isReading) this.#goOn();
    this.#update();
  }

  #update(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  #render(): void {
    const { live } = this.#app;
    const isEmpty = this.#list.shown.length === 0;
    render(
      html`<div class="calls">
        <div class="calls-head">
          ${this.#title()}
          ${this.#box.template()}
          ${this.#chips()}
          ${this.#chart.template(live.now(), timeOf(this.#list.filter))}
        </div>
        ${runningCalls(this.#app)}
        <div class="grid-wrap" ?hidden=${isEmpty}>
          ${this.#newerButton()}
          <div class="grid" role="grid" tabindex="0" aria-label="Calls, newest first"></div>
        </div>
        ${isEmpty ? emptyList(this.#app, this.#list.filter, (filter) => this.#ask({ filter })) : nothing}
        ${this.#foot()}
      </div>`,
      this.#host,
    );
    const element = this.#host.querySelector<HTMLElement>('.grid');
    if (this.#grid === null && element !== null)
      this.#grid = new CallGrid(
        element,
        (call) => this.#open(call),
        (isAtTop) => this.#moved(isAtTop),
      );
    const marked = this.#marked;
    this.#grid?.show({
      calls: this.#list.shown,
      columns: this.#columns,
      isMarked: marked === null ? () => false : (call) => matches(marked, call, live.now()),
    });
  }

  #title() {
    const { live } = this.#app;
    const all = live.store.calls.length;
    const isAll = this.#wish.filter === '';
    return html`<div class="title">
      <h1>Calls</h1>
      <span class="soft num">${isAll ? count(all, 'call') : `${this.#list.passed.length.toLocaleString('en')} of ${count(all, 'call')}`}</span>
      ${this.#menus()}
      <button class="button" aria-pressed=${this.#list.isStill} @click=${() => this.#pause()}>
        ${this.#list.isStill ? 'Go on' : 'Pause'}
      </button>
    </div>`;
  }

  #chips() {
    const client = this.#app.live.rights?.client ?? null;
    const chips: [string, string][] = [
      ['Failures', 'failed:yes'],
      ['Slow', 'ms:>1s'],
      ['429', 'status:429'],
      ['Retried', 'tries:>1'],
    ];
    if (client !== null) chips.push(['Mine', `client:${quoted(client)}`]);
    const time = timeOf(this.#list.filter);
    return html`<div class="bar chips" role="group" aria-label="Usual filters">
      ${chips.map(
        ([word, term]) =>
          html`<button
            class="chip"
            aria-pressed=${hasTerm(this.#wish.filter, term)}
            title=${term}
            @click=${() => this.#toggle(term)}
          >
            ${word}
          </button>`,
      )}
      ${
        time === null
          ? nothing
          : html`<button class="chip num" aria-pressed="true" @click=${() => this.#choose(null)}>
              ${timeOfDay(time.from, false)} – ${timeOfDay(time.to, false)} <span aria-hidden="true">×</span>
              <span class="sr">any time</span>
            </button>`
      }
      <span class="gap"></span>
      <span class="bar" role="group" aria-label="Time of the chart">
        ${Object.keys(SPANS).map(
          (span) =>
            html`<button class="chip" aria-pressed=${span === this.#wish.span} @click=${() => this.#ask({ span })}>
              ${span.replace('m', ' min').replace('h', ' h')}
            </button>`,
        )}
      </span>
    </div>`;
  }

  #menus() {
    return html`<details class="menu" name="menu">
        <summary class="button">Saved</summary>
        <div>${savedMenu(
          this.#wish.filter,
          (filter) => this.#ask({ filter }),
          () => this.#update(),
        )}</div>
      </details>
      <details class="menu" name="menu" @toggle=${() => this.#loadMore()}>
        <summary class="button">More</summary>
        <div @click=${() => this.#closeMenus(null)}>${this.#more?.moreMenu(this.#app, this.#wish.filter)}</div>
      </details>
      <details class="menu view-menu" name="menu">
        <summary class="button">View</summary>
        <div>
          <fieldset>
            <legend class="soft">Columns</legend>
            ${COLUMNS.map(
              ({ id, title }) =>
                html`<label
                  ><input
                    type="checkbox"
                    .checked=${this.#columns.includes(id)}
                    @change=${() => this.#toggleColumn(id)}
                  />${title}</label
                >`,
            )}
          </fieldset>
          <label for="highlight" class="soft">Highlight</label>
          <input
            id="highlight"
            type="text"
            placeholder="client:etl"
            .value=${this.#wish.highlight}
            @change=${(event: Event) => this.#ask({ highlight: (event.target as HTMLInputElement).value.trim() })}
          />
        </div>
      </details>`;
  }

  async #loadMore(): Promise<void> {
    this.#more ??= await import('./more-menu.ts');
    this.#update();
  }

  #toggleColumn(id: string): void {
    const columns = ALL_COLUMNS.filter((one) => this.#columns.includes(one) !== (one === id));
    this.#ask({ columns: columns.length === ALL_COLUMNS.length || columns.length === 0 ? '' : columns.join(',') });
  }

  #newerButton() {
    if (!this.#list.isStill) return nothing;
    const { newer } = this.#list;
    return html`<button class="button main newer num" @click=${() => this.#goOn()}>
      ${newer === 0 ? 'Standing still' : `${newer.toLocaleString('en')} new`}
    </button>`;
  }

  #foot() {
    const { keptSince, sampled, store } = this.#app.live;
    const failed = this.#list.passed.reduce((sum, call) => sum + Number(hasFailed(call)), 0);
    return html`<p class="foot num">
      ${count(failed, 'failure')} shown.
      ${sampled > 1 ? `More than 300 calls a second: of those that went well one of ${sampled} is told. ` : nothing}
      ${
        keptSince !== null && store.calls.length > 0
          ? `Calls before ${timeOfDay(Date.parse(keptSince), false)} were dropped.`
          : nothing
      }
    </p>`;
  }
}

function isoOf(at: number): string {
  return new Date(at).toISOString();
}
