// Calls by time and outcome, as columns: where failures began is seen before a row is read. A drag over it chooses a
// time; the same can be had as a table.

import { html, nothing, svg } from 'lit-html';
import type { Call } from '../wire.ts';
import type { Time } from './call-list.ts';
import { count, type Outcome, outcomeOf, timeOfDay } from './format.ts';

/** Spans to choose from, in ms. */
export const SPANS: Readonly<Record<string, number>> = { '5m': 300_000, '1h': 3_600_000, '24h': 86_400_000 };

/** What a column is made of, from below. */
const LAYERS = ['ok', 'refused', 'limited', 'failed'] as const;
const WORDS = { ok: 'good', refused: 'refused', limited: '429', failed: 'failed' };
type Layer = (typeof LAYERS)[number];

const COLUMNS = 60;

type Counts = Record<Layer, number>;

/** The chart's numbers and its pointer; it renders into its view's template. */
export class StripChart {
  readonly #onTime: (time: Time) => void;
  readonly #onChange: () => void;
  readonly #columns = new Map<number, Counts>();
  #span = SPANS['5m'] as number;
  #isTable = false;
  /** Where a drag began and is, as parts of the width. */
  #drag: { from: number; to: number } | null = null;
  /** The end of the span as it was when the drag began. */
  #dragEnd = 0;

  constructor(onTime: (time: Time) => void, onChange: () => void) {
    this.#onTime = onTime;
    this.#onChange = onChange;
  }

  /** Begins again, with a span and its calls. */
  begin(span: number, calls: readonly Call[]): void {
    this.#span = span;
    this.#columns.clear();
    this.add(calls);
  }

  add(calls: readonly Call[]): void {
    for (const call of calls) {
      const at = Math.floor(Date.parse(call.time) / this.#width);
      let counts = this.#columns.get(at);
      if (counts === undefined) {
        counts = { ok: 0, refused: 0, limited: 0, failed: 0 };
        this.#columns.set(at, counts);
      }
      counts[layerOf(outcomeOf(call))] += 1;
    }
  }

  /** `now` at the gateway, epoch ms. */
  template(now: number, chosen: Time | null) {
    const last = Math.floor((this.#drag === null ? now : this.#dragEnd) / this.#width);
    for (const at of this.#columns.keys()) if (at <= last - COLUMNS) this.#columns.delete(at);
    const columns = Array.from({ length: COLUMNS }, (_, x) => this.#columns.get(last - COLUMNS + 1 + x));
    const most = Math.max(1, ...columns.map((counts) => (counts === undefined ? 0 : totalOf(counts))));
    const all = columns.reduce((sum, counts) => sum + (counts === undefined ? 0 : totalOf(counts)), 0);
    const bad = columns.reduce((sum, counts) => sum + (counts?.failed ?? 0) + (counts?.refused ?? 0), 0);
    const from = (last - COLUMNS + 1) * this.#width;
    const words = `${count(all, 'call')} in ${spanWords(this.#span)}, ${bad} failed or refused`;
    return html`<figure class="strip" aria-label="Calls by time">
      <svg
        role="img"
        aria-label=${words}
        viewBox="0 0 ${COLUMNS} 100"
        preserveAspectRatio="none"
        @pointerdown=${(event: PointerEvent) => this.#press(event, now)}
        @pointermove=${(event: PointerEvent) => this.#pull(event)}
        @pointerup=${() => this.#drop(from)}
        @pointercancel=${() => this.#drop(null)}
      >
        ${LAYERS.map((layer) => svg`<path class=${layer} d=${pathOf(columns, layer, most)}/>`)}
        ${this.#spanMark(from, chosen)}
      </svg>
      <div class="legend">${LAYERS.map((layer) => html`<span class=${layer}>${WORDS[layer]}</span>`)}</div>
      <div class="axis num">
        <span>${timeOfDay(from, false)}</span>
        <span>at most ${rate((most * 1000) / this.#width)}</span>
        <span>${timeOfDay((last + 1) * this.#width, false)}</span>
      </div>
      <button class="button plain" aria-expanded=${this.#isTable} @click=${() => this.#switchTable()}>
        ${this.#isTable ? 'Hide table' : 'As table'}
      </button>
      ${this.#isTable ? this.#table(columns, last) : nothing}
    </figure>`;
  }

  get #width(): number {
    return this.#span / COLUMNS;
  }

  #spanMark(from: number, chosen: Time | null) {
    const [a, b] =
      this.#drag !== null
        ? [this.#drag.from * COLUMNS, this.#drag.to * COLUMNS]
        : chosen !== null
          ? [(chosen.from - from) / this.#width, (chosen.to - from) / this.#width]
          : [0, 0];
    const x = Math.max(0, Math.min(a, b));
    const width = Math.min(COLUMNS, Math.max(a, b)) - x;
    return width <= 0
      ? nothing
      : svg`<rect class="span" x=${x} y="0" width=${width} height="100" vector-effect="non-scaling-stroke"/>`;
  }

  #table(columns: readonly (Counts | undefined)[], last: number) {
    const rows = columns.flatMap((counts, x) =>
      counts === undefined ? [] : [{ counts, from: (last - COLUMNS + 1 + x) * this.#width }],
    );
    if (rows.length === 0) return html`<p class="soft">No call in ${spanWords(this.#span)}.</p>`;
    return html`<div class="scroll" role="region" tabindex="0" aria-label="Calls by time, as a table">
      <table>
        <thead>
          <tr>
            <th>From</th>
            ${LAYERS.map((layer) => html`<th class="right">${WORDS[layer]}</th>`)}
            <th><span class="sr">Choose</span></th>
          </tr>
        </thead>
        <tbody>
          ${rows.reverse().map(
            ({ counts, from }) =>
              html`<tr>
                <td class="num">${timeOfDay(from, false)}</td>
                ${LAYERS.map((layer) => html`<td class="right">${counts[layer]}</td>`)}
                <td>
                  <button class="button plain" @click=${() => this.#onTime({ from, to: from + this.#width })}>
                    Only this time
                  </button>
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
  }

  #switchTable(): void {
    this.#isTable = !this.#isTable;
    this.#onChange();
  }

  #press(event: PointerEvent, now: number): void {
    if (event.button !== 0) return;
    const target = event.currentTarget as Element;
    target.setPointerCapture(event.pointerId);
    const at = partOf(event);
    this.#dragEnd = now;
    this.#drag = { from: at, to: at };
  }

  #pull(event: PointerEvent): void {
    if (this.#drag === null) return;
    this.#drag.to = partOf(event);
    this.#onChange();
  }

  #drop(from: number | null): void {
    const drag = this.#drag;
    this.#drag = null;
    if (drag === null) return;
    const [a, b] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
    // A click chooses nothing.
    if (from !== null && b - a > 0.01) this.#onTime({ from: from + a * this.#span, to: from + b * this.#span });
    this.#onChange();
  }
}

function layerOf(outcome: Outcome): Layer {
  return outcome === 'left' ? 'refused' : outcome;
}

function totalOf({ ok, refused, limited, failed }: Counts): number {
  return ok + refused + limited + failed;
}

/** All columns of a layer as one path. */
function pathOf(columns: readonly (Counts | undefined)[], layer: Layer, most: number): string {
  let path = '';
  for (const [x, counts] of columns.entries()) {
    const own = counts?.[layer] ?? 0;
    if (counts === undefined || own === 0) continue;
    let below = 0;
    for (const other of LAYERS) {
      if (other === layer) break;
      below += counts[other];
    }
    // One failure among a thousand calls is still to be seen.
    const height = Math.max((own * 100) / most, layer === 'ok' ? 2 : 5);
    const y = Math.max(0, 100 - (below * 100) / most - height);
    path += `M${x + 0.12} ${y.toFixed(1)}h.76v${height.toFixed(1)}h-.76z`;
  }
  return path;
}

function partOf(event: PointerEvent): number {
  const { left, width } = (event.currentTarget as Element).getBoundingClientRect();
  return Math.max(0, Math.min(1, (event.clientX - left) / width));
}

function spanWords(span: number): string {
  return span < 3_600_000
    ? `the last ${span / 60_000} minutes`
    : `the last ${span / 3_600_000} hours`.replace('1 hours', 'hour');
}

function rate(perSecond: number): string {
  return perSecond >= 1 ? `${perSecond.toFixed(perSecond >= 10 ? 0 : 1)}/s` : `${(perSecond * 60).toFixed(1)}/min`;
}
