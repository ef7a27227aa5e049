// Charts as SVG: columns and lines over time, lanes of states, bars of parts. Each has its numbers as a table as well,
// which a button shows. Pure: numbers in, templates out.

import { html, nothing, svg } from 'lit-html';
import type { LaneMark, LaneState, SeriesValues } from '../insight-answer.ts';
import { timeOfDay, visible } from './format.ts';

/** One row of numbers of a chart. `tone` is a class: `t0` to `t7`, or an outcome's. */
export interface ChartRow {
  readonly name: string;
  readonly tone: string;
  readonly values: SeriesValues;
}

/** A chart over time. `unit` writes a value. */
export interface TimeChart {
  readonly label: string;
  readonly from: number;
  readonly stepMs: number;
  readonly rows: readonly ChartRow[];
  readonly unit: (value: number) => string;
  /** A line across at this value: what is allowed. */
  readonly most?: number | null;
}

/** As many tones there are for things that have no colour of their own. */
export const TONES = 8;

/** What shows a chart's table, or hides it. */
export interface TableSwitch {
  readonly isOpen: boolean;
  readonly toggle: () => void;
}

const HEIGHT = 100;

/** Values on top of one another, a column for each step. */
export function columnChart(chart: TimeChart, table: TableSwitch) {
  const length = lengthOf(chart);
  const sums = Array.from({ length }, (_, at) => chart.rows.reduce((sum, { values }) => sum + (values[at] ?? 0), 0));
  const highest = Math.max(0, ...sums);
  const top = Math.max(1e-9, chart.most ?? 0, highest);
  const below = new Array<number>(length).fill(0);
  const paths = chart.rows.map(({ tone, values }) => {
    let path = '';
    for (let at = 0; at < length; at += 1) {
      const value = values[at] ?? 0;
      if (value <= 0) continue;
      const height = Math.max(1.5, (value / top) * HEIGHT);
      const y = Math.max(0, HEIGHT - ((below[at] as number) / top) * HEIGHT - height);
      below[at] = (below[at] as number) + value;
      path += `M${at + 0.1} ${y.toFixed(1)}h.8v${height.toFixed(1)}h-.8z`;
    }
    return svg`<path class="fill ${tone}" d=${path}/>`;
  });
  return frame(chart, { top, highest, paths }, table);
}

/** A line for each row; where nothing was noted there is a gap. */
export function lineChart(chart: TimeChart, table: TableSwitch) {
  const all = chart.rows.flatMap(({ values }) => values.filter((value) => value !== null));
  const highest = Math.max(0, ...all);
  const top = Math.max(1e-9, chart.most ?? 0, highest) * 1.05;
  const paths = chart.rows.map(({ tone, values }) => {
    let path = '';
    for (const [at, value] of values.entries()) {
      if (value === null) continue;
      const isAlone = values[at - 1] == null && values[at + 1] == null;
      const start = values[at - 1] == null ? 'M' : 'L';
      path += `${start}${at + 0.5} ${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}${isAlone ? 'h.5' : ''}`;
    }
    return svg`<path class="stroke ${tone}" d=${path} vector-effect="non-scaling-stroke"/>`;
  });
  return frame(chart, { top, highest, paths }, table);
}

function lengthOf({ rows }: TimeChart): number {
  return Math.max(1, ...rows.map(({ values }) => values.length));
}

/** `top` is the value at the upper edge, `highest` the largest that there is. */
interface Drawn {
  readonly top: number;
  readonly highest: number;
  readonly paths: unknown;
}

function frame(chart: TimeChart, { top, highest, paths }: Drawn, table: TableSwitch) {
  const { label, from, stepMs, rows, unit, most } = chart;
  const length = lengthOf(chart);
  const y = most == null ? null : (HEIGHT - (most / top) * HEIGHT).toFixed(1);
  return html`<figure class="chart" aria-label=${label}>
    <figcaption>
      <span class="name">${label}</span>
      <span class="key num">${rows.map(({ name, tone }) => html`<span class=${tone}>${visible(name, 64)}</span>`)}</span>
      ${tableButton(table, label)}
    </figcaption>
    <svg role="img" aria-label=${wordsOf(chart)} viewBox="0 0 ${length} ${HEIGHT}" preserveAspectRatio="none">
      ${paths}
      ${y === null ? nothing : svg`<path class="most" d=${`M0 ${y}H${length}`} vector-effect="non-scaling-stroke"/>`}
    </svg>
    <div class="axis num">
      <span>${timeOfDay(from, false)}</span>
      <span>${most == null ? `at most ${unit(highest)}` : `line at ${unit(most)}`}</span>
      <span>${timeOfDay(from + length * stepMs, false)}</span>
    </div>
    ${table.isOpen ? tableOf(chart) : nothing}
  </figure>`;
}

function wordsOf({ label, rows, unit }: TimeChart): string {
  const last = rows.map(({ name, values }) => {
    const value = values.findLast((one) => one !== null);
    return `${visible(name, 64)} ${value == null ? 'none' : unit(value)}`;
  });
  return `${label}. Last: ${last.join(', ')}`;
}

/** The button of a chart. */
export function tableButton({ isOpen, toggle }: TableSwitch, label: string) {
  return html`<button class="button plain" aria-expanded=${isOpen} @click=${toggle}>
    ${isOpen ? 'Hide table' : 'As table'}<span class="sr">: ${label}</span>
  </button>`;
}

/** Steps in which nothing was noted are left out; the newest first. */
function tableOf({ label, from, stepMs, rows, unit }: TimeChart) {
  const steps = Array.from({ length: lengthOf({ rows } as TimeChart) }, (_, at) => at)
    .filter((at) => rows.some(({ values }) => values[at] != null))
    .reverse();
  return html`<div class="scroll tall" role="region" tabindex="0" aria-label="${label}, as a table">
    <table>
      <thead>
        <tr><th>From</th>${rows.map(({ name }) => html`<th class="right">${visible(name, 64)}</th>`)}</tr>
      </thead>
      <tbody>
        ${steps.map(
          (at) =>
            html`<tr>
              <td class="num">${timeOfDay(from + at * stepMs, false)}</td>
              ${rows.map(({ values }) => {
                const value = values[at];
                return html`<td class="right">${value == null ? '' : unit(value)}</td>`;
              })}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** A part of a bar. */
export interface BarPart {
  readonly name: string;
  readonly value: number;
  readonly tone: string;
}

/** Parts of what is allowed, as one bar; `all` null: of their sum. */
export function partBar(parts: readonly BarPart[], all: number | null, label: string) {
  const sum = parts.reduce((total, { value }) => total + value, 0);
  const whole = Math.max(all ?? sum, sum, 1e-9);
  let x = 0;
  return html`<svg class="parts" role="img" aria-label=${label} viewBox="0 0 1000 16" preserveAspectRatio="none">
    <rect class="rest" x="0" y="0" width="1000" height="16" />
    ${parts.map(({ value, tone }) => {
      const from = x;
      x += (value / whole) * 1000;
      return value <= 0
        ? nothing
        : svg`<rect class="fill ${tone}" x=${from.toFixed(1)} y="0" width=${Math.max(1, x - from).toFixed(1)} height="16"/>`;
    })}
  </svg>`;
}

/** Calls over the span, and the failures among them, in the height of a line. */
export function spark(values: readonly (readonly [calls: number, failures: number])[]) {
  const top = Math.max(1, ...values.map(([calls]) => calls));
  const columns = (which: 0 | 1) =>
    values
      .map((pair, at) => {
        const height = pair[which] === 0 ? 0 : Math.max(1, (pair[which] / top) * 16);
        return height === 0 ? '' : `M${at + 0.1} ${(16 - height).toFixed(1)}h.8v${height.toFixed(1)}h-.8z`;
      })
      .join('');
  return html`<svg class="spark" viewBox="0 0 ${values.length} 16" preserveAspectRatio="none" aria-hidden="true">
    <path class="fill t0" d=${columns(0)} /><path class="fill failed" d=${columns(1)} />
  </svg>`;
}

/** States of a token from a time to another, with what happened to it as marks. */
export interface LaneChart {
  readonly states: readonly LaneState[];
  readonly marks: readonly LaneMark[];
  readonly from: number;
  readonly to: number;
}

/** Its states as a band; a mark above is a renewal, one below a failed attempt. */
export function laneChart({ states, marks, from, to }: LaneChart, label: string) {
  const width = Math.max(1, to - from);
  const x = (at: number) => Math.max(0, Math.min(1000, ((at - from) / width) * 1000));
  return html`<svg class="lane" role="img" aria-label=${label} viewBox="0 0 1000 34" preserveAspectRatio="none">
    <rect class="rest" x="0" y="8" width="1000" height="18" />
    ${states.map(({ at, token }, index) => {
      const end = states[index + 1]?.at ?? to;
      if (end <= from) return nothing;
      return svg`<rect class="fill s-${toneOfToken(token)}" x=${x(at).toFixed(1)} y="8" width=${Math.max(1.5, x(end) - x(at)).toFixed(1)} height="18"/>`;
    })}
    ${marks.map(({ at, kind }) =>
      at < from
        ? nothing
        : kind === 'renewed'
          ? svg`<rect class="mark" x=${(x(at) - 1).toFixed(1)} y="0" width="2" height="7"/>`
          : svg`<rect class="mark failed" x=${(x(at) - 1).toFixed(1)} y="27" width="2" height="7"/>`,
    )}
  </svg>`;
}

function toneOfToken(token: string): string {
  return /^[a-z]{1,10}$/.test(token) ? token : 'none';
}
