// The gateway itself: how it fares over time, the origins it calls and by which way, what it was told to read, who
// watches.

import { html, nothing } from 'lit-html';
import type { GatewayInsight, Insight } from '../insight-answer.ts';
import { type ChartRow, columnChart, lineChart } from './charts.ts';
import { duration, size, timeOfDay, visible } from './format.ts';
import { InsightView } from './insight-view.ts';
import type { OpenView } from './view.ts';

export const openView: OpenView = (app, host) => new GatewayView(app, host);

const BREAKERS: Readonly<Record<string, readonly [mark: string, tone: string, words: string]>> = {
  closed: ['●', 'good', 'can be reached'],
  recovering: ['▲', 'wait', 'coming back: few calls at a time'],
  open: ['■', 'bad', 'cannot be reached: calls are refused at once'],
};

class GatewayView extends InsightView {
  protected readonly id = 'gateway';
  protected readonly title = 'Gateway';

  protected body(insight: Insight) {
    const { gateway } = insight;
    if (gateway === null)
      return html`<p class="card">What the gateway itself does is for a client with <code>admin = true</code>.</p>`;
    return html`${facts(insight, gateway, this.now())} ${this.#charts(insight)} ${origins(gateway)}
      <div class="pair">${this.#configuration(gateway)} ${stores(gateway)}</div>
      <div class="pair">${watchers(gateway)} ${certificates(gateway)}</div>`;
  }

  #charts({ series: { from, stepMs, columns } }: Insight) {
    const row = (name: string, tone: string, column: string, map = (value: number) => value): ChartRow => ({
      name,
      tone,
      values: (columns[column] ?? []).map((value) => (value === null ? null : map(value))),
    });
    const perSecond = (value: number) => value / (stepMs / 1000);
    const rate = (value: number) => `${value >= 10 ? Math.round(value) : Math.round(value * 100) / 100}/s`;
    const whole = (value: number) => String(Math.round(value));
    const outcomes = [
      row('good', 'ok', 'ok', perSecond),
      row('refused', 'refused', 'refused', perSecond),
      row('429', 'limited', 'limited', perSecond),
      row('failed', 'failed', 'failed', perSecond),
    ];
    const mean = (columns.seconds ?? []).map((seconds, at) => {
      const calls = ['ok', 'refused', 'limited', 'failed'].reduce((sum, name) => sum + (columns[name]?.[at] ?? 0), 0);
      return seconds === null || calls === 0 ? null : (seconds * 1000) / calls;
    });
    const chart = (label: string, rows: readonly ChartRow[], unit: (value: number) => string) =>
      html`<div class="card">${lineChart({ label, from, stepMs, rows, unit }, this.table(label))}</div>`;
    return html`<div class="charts">
      <div class="card">
        ${columnChart({ label: 'Calls', from, stepMs, rows: outcomes, unit: rate }, this.table('Calls'))}
      </div>
      ${chart('Mean time of a call', [{ name: 'mean', tone: 't0', values: mean }], duration)}
      ${chart('Calls that run and wait', [row('running', 't0', 'running'), row('waiting', 'refused', 'queued')], whole)}
      ${chart('Connections', [row('in use', 't0', 'active'), row('idle', 't3', 'idle')], whole)}
      ${chart('Memory', [row('resident', 't0', 'memory')], size)}
      ${chart('Event loop', [row('busy', 't0', 'busy', (part) => part * 100)], (percent) => `${Math.round(percent)} %`)}
    </div>`;
  }

  #configuration({ files, canReload, reloads }: GatewayInsight) {
    return html`<section class="card" aria-labelledby="configuration">
      <div class="card-head">
        <h2 id="configuration">Configuration</h2>
        ${
          canReload && this.mayAct
            ? html`<button class="button" @click=${() => this.act('reload', 'Read again, and in use')}>Read it again</button>`
            : nothing
        }
      </div>
      ${
        files.length === 0
          ? html`<p class="soft">No file: from the environment and the command line.</p>`
          : html`<ul>${files.map((file) => html`<li><code>${visible(file, 300)}</code></li>`)}</ul>`
      }
      ${
        reloads.length === 0
          ? html`<p class="soft">Not read again since the start.</p>`
          : html`<ul class="history num">${reloads.map(reloadLine)}</ul>`
      }
    </section>`;
  }
}

function facts({ startedAt }: Insight, gateway: GatewayInsight, now: number) {
  const { status, version, node, memoryBytes, connections, sockets, logDropped } = gateway;
  const isReady = status === 'ready';
  return html`<p class="facts num">
    <span class="pill ${isReady ? 'good' : 'wait'}">${isReady ? '●' : '▲'} ${visible(status, 20)}</span>
    <span>version <b>${visible(version, 40)}</b>, Node.js ${visible(node, 20)}</span>
    <span>up <b>${upWords(now - Date.parse(startedAt))}</b></span>
    <span>memory <b>${size(memoryBytes)}</b></span>
    <span>connections <b>${connections.active}</b> in use, <b>${connections.idle + connections.unused}</b> idle</span>
    <span>sockets <b>${sockets}</b></span>
    ${logDropped === 0 ? nothing : html`<span class="bad">■ ${logDropped} log records were lost</span>`}
  </p>`;
}

function upWords(ms: number): string {
  const minutes = Math.floor(Math.max(0, ms) / 60_000);
  if (minutes < 60) return duration(Math.floor(Math.max(0, ms) / 1000) * 1000);
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

function origins({ origins: all }: GatewayInsight) {
  return html`<section class="card" aria-labelledby="origins">
    <h2 id="origins">Where calls go</h2>
    <div class="scroll" role="region" tabindex="0" aria-label="Origins">
      <table>
        <thead>
          <tr><th>Origin</th><th>State</th><th>Way out</th><th class="right">Running</th><th class="right">Waiting</th></tr>
        </thead>
        <tbody>
          ${all.map(({ origin, breaker, via, reason, running, waiting }) => {
            const [mark, tone, words] = BREAKERS[breaker] ?? ['▲', 'wait', breaker];
            return html`<tr>
              <td><code>${visible(origin, 200)}</code></td>
              <td><span class=${tone}>${mark} ${words}</span></td>
              <td>${visible(via, 200)} <span class="soft">${visible(reason, 200)}</span></td>
              <td class="right">${running}</td>
              <td class="right">${waiting}</td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>
  </section>`;
}

function reloadLine({
  at,
  applied,
  changed = [],
  restart = [],
  problems = [],
  trigger,
}: GatewayInsight['reloads'][number]) {
  const what = changed.length === 0 ? '' : `: ${changed.join(', ')}`;
  return html`<li>
    ${timeOfDay(Date.parse(at), false)}
    <span class=${applied ? 'good' : 'bad'}>${applied ? '● in use' : '■ refused'}</span>
    <span class="soft">${trigger === undefined ? nothing : visible(trigger, 20)}</span>${visible(what, 400)}
    ${problems.length === 0 ? nothing : html`<br />${visible(problems.join('; '), 800)}`}
    ${restart.length === 0 ? nothing : html`<br /><span class="wait">▲ after a restart: ${visible(restart.join(', '), 400)}</span>`}
  </li>`;
}

function stores({ store, audit }: GatewayInsight) {
  return html`<section class="card" aria-labelledby="keeps">
    <h2 id="keeps">What it keeps</h2>
    <dl class="rows">
      <dt>Store</dt>
      <dd>${visible(store.type, 20)}${store.error === null ? nothing : html` <span class="bad">■ ${visible(store.error, 300)}</span>`}</dd>
      <dt>Audit trail</dt>
      <dd>
        ${
          audit === null
            ? 'none'
            : audit.failure === null
              ? html`<span class="good">● written</span>`
              : html`<span class="bad">■ ${visible(audit.failure, 300)}</span>`
        }
        ${audit !== null && audit.lost > 0 ? html`<span class="bad">${audit.lost} lines lost</span>` : nothing}
      </dd>
    </dl>
  </section>`;
}

function watchers({ watchers: all, keys }: GatewayInsight) {
  return html`<section class="card" aria-labelledby="watchers">
    <h2 id="watchers">Who watches</h2>
    ${
      all.length === 0
        ? html`<p class="soft">Nobody.</p>`
        : html`<ul class="history num">
            ${all.map(
              ({ client, peer, since }) =>
                html`<li>
                  <b>${visible(client ?? 'whoever has the key of this start', 64)}</b>
                  <span class="soft">${visible(peer ?? '', 80)} since ${timeOfDay(Date.parse(since), false)}</span>
                </li>`,
            )}
          </ul>`
    }
    ${
      keys.length === 0
        ? nothing
        : html`<h3 class="soft">Keys</h3>
            <ul class="history num">
              ${keys.map(
                ({ client, lastUsedAt }) =>
                  html`<li><b>${visible(client, 64)}</b> <span class="soft">used ${timeOfDay(Date.parse(lastUsedAt), false)}</span></li>`,
              )}
            </ul>`
    }
  </section>`;
}

function certificates({ certificates: all }: GatewayInsight) {
  if (all.length === 0) return nothing;
  return html`<section class="card" aria-labelledby="certificates">
    <h2 id="certificates">Certificates</h2>
    <ul class="history num">
      ${all.map(
        ({ use, subject, expiresAt }) =>
          html`<li><b>${visible(use, 40)}</b> ${visible(subject, 120)} <span class="soft">until ${visible(expiresAt.slice(0, 10), 10)}</span></li>`,
      )}
    </ul>
  </section>`;
}
