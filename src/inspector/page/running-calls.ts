// The calls that run just now, above those that have ended: how long already, and what they wait for.

import { html, nothing } from 'lit-html';
import type { RunningCall } from '../wire.ts';
import { count, duration, visible } from './format.ts';
import type { App } from './view.ts';

/** So many are shown. */
const MOST = 5;

/** Nothing while nothing runs. */
export function runningCalls({ live }: App) {
  const { calls, count: all } = live.running;
  if (calls.length === 0) return nothing;
  const now = live.now();
  const more = all - MOST;
  return html`<section class="running" aria-label="Running now">
    <ul>
      ${calls.slice(0, MOST).map((call) => line(call, now))}
      ${more > 0 ? html`<li class="soft">and ${count(more, 'more running call')}</li>` : nothing}
    </ul>
  </section>`;
}

function line({ method, path, client, startedAt, waitsFor }: RunningCall, now: number) {
  return html`<li>
    <span class="num soft">${duration(Math.max(0, now - Date.parse(startedAt)))}</span>
    <span class="mono">${visible(method, 20)}</span>
    <span class="path">${visible(path.replace(/^\/api\/v2(?=\/)/, ''), 200)}</span>
    ${client === undefined ? nothing : html`<span class="soft">${visible(client, 64)}</span>`}
    ${waitsFor === null ? html`<span class="soft">on its way</span>` : html`<span class="for">${visible(waitsFor, 200)}</span>`}
  </li>`;
}
