// The list of calls as a grid: as many rows in the document as are seen, whatever the length of the list. The grid has
// the focus and says which row is active, since rows are used again for other calls as the list moves.

import { html, nothing, render, svg } from 'lit-html';
import { culpritOf, hasFailed } from '../culprit.ts';
import type { Call, Culprit } from '../wire.ts';
import { duration, type Outcome, outcomeOf, pathParts, size, timeOfDay, visible } from './format.ts';
import { hashOf } from './place.ts';

/** A column; `width` is a track of a CSS grid. */
interface Column {
  readonly id: string;
  readonly title: string;
  readonly width: string;
  readonly isRight?: boolean;
  readonly cell: (call: Call) => unknown;
}

const SHAPES: Readonly<Record<Outcome, unknown>> = {
  ok: svg`<circle cx="5" cy="5" r="4"/>`,
  refused: svg`<path d="M5 0 10 5 5 10 0 5z"/>`,
  limited: svg`<path d="M1 1h3v8H1zM6 1h3v8H6z"/>`,
  failed: svg`<path d="M5 0.5 10 9.5H0z"/>`,
  left: svg`<path d="M1.6 0 5 3.4 8.4 0 10 1.6 6.6 5 10 8.4 8.4 10 5 6.6 1.6 10 0 8.4 3.4 5 0 1.6z"/>`,
};

const WORDS: Readonly<Record<Culprit, string>> = {
  caller: 'caller',
  rule: 'rule',
  token: 'token',
  limit: 'limit',
  proxy: 'proxy',
  network: 'network',
  platform: 'platform',
  gateway: 'gateway',
  reader: 'reader',
};

/** A status with its shape, and the word for who is to blame: never told by colour alone. */
export function statusMark(call: Call) {
  const outcome = outcomeOf(call);
  const culprit = culpritOf(call);
  return html`<span class="status ${outcome}"
    ><svg viewBox="0 0 10 10" aria-hidden="true">${SHAPES[outcome]}</svg>${call.status === 0 ? '–' : call.status}${
      culprit === null
        ? nothing
        : html` <span class="by">${hasFailed(call) ? WORDS[culprit] : `slow: ${WORDS[culprit]}`}</span>`
    }${outcome === 'left' ? html` <span>left</span>` : nothing}</span
  >`;
}

/** A path with the pieces that are the template's own in bold. `isShort`: without the beginning that all calls have. */
export function pathMark({ path, route }: Call, isShort = false) {
  return html`<span class="path"
    >${pathParts(path, route).map(({ text, kind }) => {
      if (kind === 'own') return text;
      if (kind === 'fixed') return html`<b>${text}</b>`;
      return isShort ? nothing : html`<span class="base">${text}</span>`;
    })}</span
  >`;
}

/** All columns, in their order. */
export const COLUMNS: readonly Column[] = [
  { id: 'time', title: 'Time', width: '6.2rem', cell: ({ time }) => timeOfDay(Date.parse(time)) },
  { id: 'method', title: 'Method', width: '3.4rem', cell: ({ method }) => visible(method, 20) },
  { id: 'status', title: 'Status', width: '9.2rem', cell: statusMark },
  { id: 'path', title: 'Path', width: 'minmax(9rem, 1fr)', cell: (call) => link(call, pathMark(call, true)) },
  { id: 'ms', title: 'Took', width: '4rem', isRight: true, cell: ({ durationMs }) => duration(durationMs) },
  { id: 'bars', title: 'Where', width: '5rem', cell: miniBars },
  { id: 'client', title: 'Client', width: '5rem', cell: ({ client }) => visible(client ?? '', 64) },
  {
    id: 'cred',
    title: 'Credential',
    width: '5rem',
    cell: ({ credential }) => visible(credential ?? '', 64),
  },
  { id: 'tries', title: 'Tries', width: '2.4rem', isRight: true, cell: ({ attempts }) => attempts },
  { id: 'size', title: 'Size', width: '3.6rem', isRight: true, cell: ({ responseBytes }) => size(responseBytes) },
];

function link({ requestId }: Call, what: unknown) {
  return html`<a class="open" tabindex="-1" href=${hashOf('call', {}, requestId)}>${what}</a>`;
}

/** Whole width of a bar, in ms; its length grows with the logarithm. */
const LONGEST_MS = 60_000;

/** Where a call's time went, from the sums of its record: one short bar. */
function miniBars({ durationMs, queueMs, tokenWaitMs, upstreamMs, trace }: Call) {
  const pauseMs = trace?.waits.reduce((sum, one) => sum + (one.for === 'pause' ? one.ms : 0), 0) ?? 0;
  const scale = (100 * Math.log1p(Math.min(durationMs, LONGEST_MS))) / Math.log1p(LONGEST_MS) / (durationMs || 1);
  const rest = Math.max(0, durationMs - queueMs - tokenWaitMs - upstreamMs - pauseMs);
  let x = 0;
  const pieces = (
    [
      ['queue', queueMs],
      ['token', tokenWaitMs],
      ['wait', upstreamMs],
      ['pause', pauseMs],
      ['rules', rest],
    ] as const
  ).map(([name, ms]) => {
    const from = x;
    x += ms * scale;
    return x - from < 0.5 ? nothing : svg`<rect class=${`r-${name}`} x=${from} y="1" width=${x - from} height="8"/>`;
  });
  return html`<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">${pieces}</svg>`;
}

/** What a grid shows. */
export interface GridContent {
  /** Oldest first; shown from the end. */
  readonly calls: readonly Call[];
  readonly columns: readonly string[];
  readonly isMarked: (call: Call) => boolean;
}

/** Rows beyond those that are seen, above and below. */
const SPARE = 4;
const PHONE = matchMedia('(max-width: 46rem)');

/** A grid in an element of its own. */
export class CallGrid {
  readonly #host: HTMLElement;
  readonly #onMoved: (isAtTop: boolean) => void;
  readonly #open: (call: Call) => void;
  readonly #sizes = new ResizeObserver(() => {
    this.#height = this.#host.clientHeight;
    this.#render();
  });
  #content: GridContent = { calls: [], columns: [], isMarked: () => false };
  #top = 0;
  #height = 0;
  /** The request id of the row that keys move. */
  #active: string | null = null;
  #lines: HTMLElement | null = null;

  /** `onMoved` is told when the list was scrolled, or a row was chosen below its top. */
  constructor(host: HTMLElement, open: (call: Call) => void, onMoved: (isAtTop: boolean) => void) {
    this.#host = host;
    this.#open = open;
    this.#onMoved = onMoved;
    this.#sizes.observe(host);
    PHONE.addEventListener('change', this.#render);
    host.addEventListener(
      'scroll',
      () => {
        this.#top = host.scrollTop;
        this.#onMoved(this.#top < this.#row);
        this.#render();
      },
      { passive: true },
    );
  }

  get active(): Call | null {
    return this.#active === null ? null : (this.#content.calls[this.#indexOf(this.#active)] ?? null);
  }

  show(content: GridContent): void {
    if (content.columns !== this.#content.columns) {
      const shown = COLUMNS.filter(({ id }) => content.columns.includes(id));
      // Set through the object model: the policy allows no style in markup.
      this.#host.style.setProperty('--columns', shown.map(({ width }) => width).join(' '));
    }
    this.#content = content;
    this.#render();
  }

  /** Moves the active row by so many; the first move chooses the first row that is seen. */
  move(by: number): void {
    const { calls } = this.#content;
    if (calls.length === 0) return;
    const at = this.#active === null ? -1 : this.#indexOf(this.#active);
    const line = at < 0 ? Math.floor(this.#top / this.#row) : calls.length - 1 - at + by;
    this.choose(Math.max(0, Math.min(calls.length - 1, line)));
  }

  /** Makes the line of a call the active one, where the list has it. */
  chooseCall(requestId: string): void {
    const at = this.#indexOf(requestId);
    if (at >= 0) this.choose(this.#content.calls.length - 1 - at);
  }

  /** Makes a line (0 is the newest) the active one, and brings it into view. */
  choose(line: number): void {
    const call = this.#content.calls[this.#content.calls.length - 1 - line];
    if (call === undefined) return;
    this.#active = call.requestId;
    // Nobody saw it while it was hidden.
    this.#height = this.#host.clientHeight;
    const head = PHONE.matches ? 0 : this.#row + 4;
    const from = line * this.#row;
    if (from < this.#host.scrollTop) this.#host.scrollTop = from;
    else if (from + this.#row > this.#host.scrollTop + this.#height - head)
      this.#host.scrollTop = from + this.#row + head - this.#height;
    this.#top = this.#host.scrollTop;
    this.#onMoved(line === 0);
    this.#render();
  }

  /** For other calls than before: none is active. */
  begin(): void {
    this.#active = null;
    this.toTop();
  }

  /** Back to the newest call. */
  toTop(): void {
    this.#host.scrollTop = 0;
    this.#top = 0;
    this.#render();
  }

  focus(): void {
    this.#host.focus();
  }

  close(): void {
    this.#sizes.disconnect();
    PHONE.removeEventListener('change', this.#render);
  }

  get #row(): number {
    return PHONE.matches ? 48 : 24;
  }

  #indexOf(requestId: string): number {
    return this.#content.calls.findLastIndex((call) => call.requestId === requestId);
  }

  readonly #render = (): void => {
    const { calls, columns } = this.#content;
    const shown = COLUMNS.filter(({ id }) => columns.includes(id));
    const first = Math.max(0, Math.floor(this.#top / this.#row) - SPARE);
    const end = Math.min(calls.length, Math.ceil((this.#top + this.#height) / this.#row) + SPARE);
    const rows = [];
    let activeId: string | null = null;
    for (let line = first; line < end; line += 1) {
      const call = calls[calls.length - 1 - line] as Call;
      const isActive = call.requestId === this.#active;
      if (isActive) activeId = `line-${line}`;
      rows.push(this.#line(call, line, shown, isActive));
    }
    this.#host.setAttribute('aria-rowcount', String(calls.length + 1));
    this.#host.setAttribute('aria-colcount', String(shown.length));
    if (activeId === null) this.#host.removeAttribute('aria-activedescendant');
    else this.#host.setAttribute('aria-activedescendant', activeId);
    render(
      html`<div class="tr head" role="row" aria-rowindex="1">
          ${shown.map(
            ({ title, isRight }) =>
              html`<span role="columnheader" class=${isRight === true ? 'right' : nothing}>${title}</span>`,
          )}
        </div>
        <div class="lines" role="rowgroup">${rows}</div>`,
      this.#host,
    );
    this.#lines ??= this.#host.querySelector('.lines');
    if (this.#lines === null) return;
    this.#lines.style.height = `${calls.length * this.#row}px`;
    this.#lines.style.paddingTop = `${first * this.#row}px`;
  };

  #line(call: Call, line: number, shown: readonly Column[], isActive: boolean) {
    const marks = `${isActive ? ' active' : ''}${this.#content.isMarked(call) ? ' high' : ''}`;
    return html`<div
      class="tr line${marks}"
      role="row"
      id="line-${line}"
      aria-rowindex=${line + 2}
      aria-selected=${isActive}
      @click=${(event: MouseEvent) => this.#click(event, call)}
    >
      ${shown.map(
        ({ id, cell, isRight }) =>
          html`<span role="gridcell" class="td c-${id}${isRight === true ? ' right' : ''}">${cell(call)}</span>`,
      )}
    </div>`;
  }

  /** A click anywhere on the row opens it, unless it ends a selection of text or is for the browser. */
  #click(event: MouseEvent, call: Call): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (getSelection()?.isCollapsed === false) return;
    this.#active = call.requestId;
    this.#open(call);
  }
}
