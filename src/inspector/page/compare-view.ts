// Two calls side by side: how they ended, where their time went, what was asked and answered. What differs is marked by
// a word.

import { html, nothing, render, svg } from 'lit-html';
import {
  type ComparedPhase,
  type ComparedRow,
  type Comparison,
  compareCalls,
  type Difference,
  lastGoodOf,
  repeatsOf,
} from '../compare.ts';
import type { Call, CallAnswer } from '../wire.ts';
import { pathMark, statusMark } from './call-grid.ts';
import { exportHar } from './export-har.ts';
import { duration, timeOfDay, visible } from './format.ts';
import { hashOf, type Place } from './place.ts';
import { RequestFailure } from './session.ts';
import type { App, Key, OpenView, View } from './view.ts';

export const openView: OpenView = (app, host) => new CompareView(app, host);

/** A side: the call, or why there is none yet. */
type Side = CallAnswer | string | null;

/** A call that is made again has ended by then, or takes too long to be waited for. */
const MOST_TRIES = 30;
const AGAIN_MS = 1000;

const WORDS: Readonly<Record<Difference, string>> = { same: '', changed: 'changed', added: 'added', gone: 'gone' };

class CompareView implements View {
  readonly #app: App;
  readonly #host: HTMLElement;
  readonly #end: () => void;
  #ids: readonly [string, string] = ['', ''];
  #sides: [Side, Side] = [null, null];
  #asked = 0;

  constructor(app: App, host: HTMLElement) {
    this.#app = app;
    this.#host = host;
    // A call that was made again may still run when it is looked at.
    this.#end = app.live.store.listen(({ added }) => {
      for (const at of [0, 1] as const)
        if (typeof this.#sides[at] !== 'object' && added.some(({ requestId }) => requestId === this.#ids[at]))
          void this.#load(at);
    });
  }

  get keys(): readonly Key[] {
    return [
      { keys: ['Escape'], means: 'back to the call', run: () => this.#app.go(hashOf('call', {}, this.#ids[0])) },
      { keys: ['s'], means: 'swap the sides', run: () => this.#swap() },
    ];
  }

  show({ rest: [a = '', b = ''] }: Place): void {
    if (a === this.#ids[0] && b === this.#ids[1]) return;
    this.#ids = [a, b];
    this.#sides = [null, null];
    this.#asked += 1;
    this.#render();
    void this.#load(0);
    void this.#load(1);
  }

  close(): void {
    this.#end();
    this.#asked += 1;
  }

  async #load(at: 0 | 1, triesLeft = MOST_TRIES): Promise<void> {
    const asked = this.#asked;
    let side: Side;
    try {
      side = await this.#app.session.json<CallAnswer>(`calls/${encodeURIComponent(this.#ids[at])}`);
    } catch (error) {
      const isGone = error instanceof RequestFailure && error.status === 404;
      // What the feed leaves out of a flood is asked for.
      if (isGone && asked === this.#asked && triesLeft > 0)
        setTimeout(() => asked === this.#asked && this.#load(at, triesLeft - 1), AGAIN_MS);
      side = isGone ? 'It has not ended yet, is not kept any more, or is not yours to see.' : (error as Error).message;
    }
    if (asked !== this.#asked) return;
    this.#sides[at] = side;
    this.#render();
  }

  #swap(): void {
    this.#app.go(hashOf('compare', {}, this.#ids[1], this.#ids[0]), true);
  }

  #render(): void {
    const [a, b] = this.#sides;
    const areBoth = a !== null && typeof a === 'object' && b !== null && typeof b === 'object';
    render(
      html`<div class="call">
        <p><a href=${hashOf('call', {}, this.#ids[0])}>← Call</a></p>
        <h1 class="words">Two calls</h1>
        <div class="bar" role="group" aria-label="This comparison">
          <button class="button" @click=${() => this.#swap()}>Swap</button>
          <button class="button" @click=${() => exportHar(this.#app, { ids: this.#ids })}>Save both as HAR</button>
          ${areBoth ? this.#presets(a.call) : nothing}
        </div>
        <div class="pair">${this.#side('First', 0)} ${this.#side('Second', 1)}</div>
        ${areBoth ? comparison(compareCalls(a, b)) : nothing}
      </div>`,
      this.#host,
    );
  }

  #presets(call: Call) {
    const { calls } = this.#app.live.store;
    const [repeat] = repeatsOf(call, calls);
    const good = lastGoodOf(call, calls);
    const link = (word: string, other: Call | undefined) =>
      other === undefined || other.requestId === this.#ids[1]
        ? nothing
        : html`<a class="button" href=${hashOf('compare', {}, call.requestId, other.requestId)}>${word}</a>`;
    return html`${link('With its repeat', repeat)} ${link('With the last good one', good)}`;
  }

  #side(word: string, at: 0 | 1) {
    const side = this.#sides[at];
    const call = side !== null && typeof side === 'object' ? side.call : this.#app.live.store.get(this.#ids[at]);
    return html`<section class="card" aria-label=${word}>
      <h2>${word}</h2>
      ${typeof side === 'string' ? html`<p role="status">${visible(side)}</p>` : nothing}
      ${
        call === undefined
          ? html`<p><code>${visible(this.#ids[at], 80)}</code></p>`
          : html`<p>${statusMark(call)} <a href=${hashOf('call', {}, call.requestId)}>${timeOfDay(Date.parse(call.time))}</a></p>
            <p>${visible(call.method, 40)} ${pathMark(call)}</p>
            ${call.replayedBy === undefined ? nothing : html`<p class="soft">made again by ${visible(call.replayedBy, 64)}</p>`}`
      }
    </section>`;
  }
}

function comparison({
  outcome,
  phases,
  query,
  requestHeaders,
  responseHeaders,
  requestBody,
  responseBody,
}: Comparison) {
  return html`${table('Outcome', outcome)} ${phaseTable(phases)} ${table('Parameters', query)}
    ${table('Headers of the request', requestHeaders)} ${table('Headers of the answer', responseHeaders)}
    ${table('Fields of the request', requestBody)} ${table('Fields of the answer', responseBody)}
    ${
      requestHeaders === null || responseHeaders === null
        ? html`<p class="soft">Headers and bodies are compared where both were captured.</p>`
        : nothing
    }`;
}

/** What differs comes first. */
function table(title: string, rows: readonly ComparedRow[] | null) {
  if (rows === null || rows.length === 0) return nothing;
  const sorted = [...rows].sort((a, b) => Number(a.difference === 'same') - Number(b.difference === 'same'));
  return html`<section class="card" aria-label=${title}>
    <h2>${title}</h2>
    <div class="scroll">
      <table>
        <thead><tr><th>Name</th><th>First</th><th>Second</th><th>Difference</th></tr></thead>
        <tbody>
          ${sorted.map(
            ({ name, a, b, difference }) =>
              html`<tr>
                <th scope="row"><code>${visible(name, 128)}</code></th>
                <td class="mono">${visible(a ?? '–', 1000)}</td>
                <td class="mono">${visible(b ?? '–', 1000)}</td>
                <td class="wait">${WORDS[difference]}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

const BAR = 120;

function phaseTable(phases: readonly ComparedPhase[]) {
  const most = Math.max(1, ...phases.flatMap(({ a, b }) => [a ?? 0, b ?? 0]));
  const cell = (ms: number | null) =>
    html`<td>
      <svg class="phase-bar" width=${BAR} height="10" aria-hidden="true">
        ${ms === null ? nothing : svg`<rect width=${Math.max(1, (ms / most) * BAR)} height="10" fill="currentColor"/>`}
      </svg>
      ${ms === null ? '–' : duration(ms)}
    </td>`;
  return html`<section class="card" aria-label="Where the time went">
    <h2>Where the time went</h2>
    <div class="scroll">
      <table>
        <thead><tr><th>Phase</th><th>First</th><th>Second</th></tr></thead>
        <tbody>
          ${phases.map(({ name, a, b }) => html`<tr><th scope="row">${name}</th>${cell(a)}${cell(b)}</tr>`)}
        </tbody>
      </table>
    </div>
  </section>`;
}
