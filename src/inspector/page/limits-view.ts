// Limits: how much of each is used and by whom, who waits and when each starts, and what the platform refused.

import { html, nothing } from 'lit-html';
import type { Insight, LimitInsight } from '../insight-answer.ts';
import { type BarPart, lineChart, partBar, TONES, tableButton } from './charts.ts';
import { quoted } from './filter-box.ts';
import { count, duration, timeOfDay, visible } from './format.ts';
import { InsightView, spanWords } from './insight-view.ts';
import { hashOf } from './place.ts';
import type { OpenView } from './view.ts';

export const openView: OpenView = (app, host) => new LimitsView(app, host);

const SOURCES = {
  configured: 'from the configuration',
  asked: 'as Genesys Cloud answered when it was asked',
  met: 'as an answer 429 named it',
  shared: 'as another instance knows it',
};

class LimitsView extends InsightView {
  protected readonly id = 'limits';
  protected readonly title = 'Limits';

  protected body(insight: Insight) {
    const { limits } = insight;
    if (limits.length === 0)
      return html`<p class="card">No limit is known yet: none is set, and Genesys Cloud has refused nothing.</p>`;
    return html`<div class="cards">${limits.map((limit, at) => this.#card(limit, at, insight))}</div>`;
  }

  #card(limit: LimitInsight, at: number, insight: Insight) {
    const { perMinute, used, source, lastRefusalAt, routes, name } = limit;
    const id = `limit-${at}`;
    const parts = partsOf(limit, insight);
    const label =
      perMinute === null
        ? `${count(used, 'call')} in the last minute`
        : `${used} of ${count(perMinute, 'call')} a minute are used`;
    const table = this.table(name);
    const title = visible(titleOf(limit), 200);
    return html`<section class="card" aria-labelledby=${id}>
      <div class="card-head">
        <h2 id=${id}>${title}</h2>
        ${stateMark(limit)}
      </div>
      <p class="figure num"><b>${used}</b> ${perMinute === null ? 'calls in the last minute' : `of ${perMinute} a minute`}</p>
      ${partBar(parts, perMinute, label)}
      <p class="key num">
        ${parts.map(({ name: who, value, tone }) => html`<span class=${tone}>${visible(who, 64)} <b>${value}</b></span>`)}
        ${tableButton(table, title)}
      </p>
      ${table.isOpen ? shareTable(parts, limit, title) : nothing} ${lineTable(limit, title)} ${this.#history(limit, insight)}
      <p class="facts num">
        ${
          perMinute === null
            ? html`<span>its size is not known: no answer 429 has named it</span>`
            : html`<span>size ${source === null ? 'unknown' : SOURCES[source]}</span>`
        }
        ${limit.scope === 'client' ? nothing : refusalWords(limit, insight)}
        ${lastRefusalAt === null ? nothing : html`<span>last at ${timeOfDay(Date.parse(lastRefusalAt), false)}</span>`}
        ${limit.limit === null ? nothing : html`<span><code>${visible(limit.limit, 120)}</code></span>`}
      </p>
      ${
        routes === null
          ? nothing
          : html`<p class="soft">Counts for ${routes.map((route) => html`<code>${visible(route, 120)}</code> `)}</p>`
      }
      <p class="links">${linkOf(limit)}</p>
    </section>`;
  }

  #history({ credential, routes, scope, perMinute }: LimitInsight, { series }: Insight) {
    const values = credential === null ? undefined : series.columns[`used:${credential}`];
    if (values === undefined || routes !== null || scope !== 'token') return nothing;
    const rows = [{ name: 'used of the minute', tone: 't0', values }];
    const unit = (value: number) => String(Math.round(value));
    const { from, stepMs } = series;
    const label = `Use of ${visible(credential ?? '', 64)}`;
    return lineChart({ label, from, stepMs, rows, unit, most: perMinute }, this.table(`history ${credential}`));
  }
}

function refusalWords({ refusals: { seen, absorbed, passed } }: LimitInsight, { spanMs }: Insight) {
  if (seen === 0) return html`<span>no 429 in ${spanWords(spanMs)}</span>`;
  return html`<span
    >429 in ${spanWords(spanMs)}: <b>${seen}</b> seen, <b>${absorbed}</b> absorbed, <b>${passed}</b> passed on</span
  >`;
}

function titleOf({ name, scope, credential, routes }: LimitInsight): string {
  if (scope === 'client') return `Client ${clientOf(name)}: its own limit`;
  if (scope === 'token' && credential !== null && routes === null) return `Credential ${credential}`;
  return name.replace(/^the platform's limit( of)?/, (_, of) => (of === undefined ? 'Limit' : 'Limit of'));
}

/** The client whose own limit has this name. */
function clientOf(name: string): string {
  return name.replace(/^requests_per_minute of client /, '');
}

function partsOf({ usedBy, used }: LimitInsight, { clients }: Insight): BarPart[] {
  if (usedBy === null || usedBy.length === 0)
    return used === 0
      ? []
      : [{ name: usedBy === null ? 'all callers' : 'not ended yet', value: used, tone: 'rest-tone' }];
  const parts = usedBy.map(({ client, calls }) => ({
    name: client ?? 'anonymous',
    value: calls,
    tone: toneOf(client, clients),
  }));
  const known = parts.reduce((sum, { value }) => sum + value, 0);
  // Calls count from their start, and are kept from their end.
  return used > known ? [...parts, { name: 'running, or not kept', value: used - known, tone: 'rest-tone' }] : parts;
}

/** A client has one colour in all charts. */
export function toneOf(client: string | null, clients: Insight['clients']): string {
  const names = clients.map((one) => one.client ?? '').sort();
  const at = names.indexOf(client ?? '');
  return at < 0 ? 'rest-tone' : `t${at % TONES}`;
}

function stateMark({ pausedMs, waiting, used, perMinute }: LimitInsight) {
  if (pausedMs > 0) return html`<span class="pill bad num">■ paused, goes on in ${duration(pausedMs)}</span>`;
  if (waiting > 0) return html`<span class="pill wait num">▲ ${count(waiting, 'call')} waiting</span>`;
  if (perMinute !== null && used >= perMinute) return html`<span class="pill wait num">▲ used up</span>`;
  return html`<span class="pill good num">● ${perMinute === null ? 'free' : `${perMinute - used} free`}</span>`;
}

function shareTable(parts: readonly BarPart[], { perMinute }: LimitInsight, title: string) {
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${title}, by client, as a table">
    <table>
      <thead><tr><th>Client</th><th class="right">Calls of the minute</th><th class="right">Part</th></tr></thead>
      <tbody>
        ${parts.map(
          ({ name, value }) =>
            html`<tr>
              <td>${visible(name, 64)}</td>
              <td class="right">${value}</td>
              <td class="right">${perMinute === null ? '' : `${Math.round((value / perMinute) * 100)} %`}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function lineTable({ line, waiting }: LimitInsight, title: string) {
  if (line.length === 0) return nothing;
  return html`<h3 class="soft">Who waits, in this order</h3>
    <div class="scroll" role="region" tabindex="0" aria-label="${title}: who waits">
      <table>
        <thead><tr><th>Turn</th><th>Client</th><th class="right">Has waited</th><th class="right">Starts in</th></tr></thead>
        <tbody>
          ${line.map(
            ({ client, waitedMs, startsInMs }, at) =>
              html`<tr>
                <td class="num">${at + 1}</td>
                <td>${visible(client ?? 'anonymous', 64)}</td>
                <td class="right">${duration(waitedMs)}</td>
                <td class="right">${startText(startsInMs)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${waiting > line.length ? html`<p class="soft num">and ${count(waiting - line.length, 'more call')}</p>` : nothing}`;
}

/** No more exact than it is. */
function startText(ms: number): string {
  if (ms < 500) return 'now';
  return `about ${ms < 60_000 ? `${Math.round(ms / 1000)} s` : duration(ms)}`;
}

function linkOf({ credential, scope, name }: LimitInsight) {
  const filter =
    scope === 'client'
      ? `client:${quoted(clientOf(name))} status:429`
      : credential === null
        ? 'status:429'
        : `cred:${quoted(credential)} status:429`;
  return html`<a href=${hashOf('calls', { f: filter })}>Calls that were refused</a>`;
}
