// Clients: who calls most, who waits for whom, whose calls fail by what, and what rules refuse, or would.

import { html, nothing } from 'lit-html';
import type { ClientInsight, Insight, RuleCount } from '../insight-answer.ts';
import { columnChart } from './charts.ts';
import { type DataColumn, dataTable } from './data-table.ts';
import { quoted } from './filter-box.ts';
import { count, duration, timeOfDay, visible } from './format.ts';
import { InsightView, spanWords } from './insight-view.ts';
import { toneOf } from './limits-view.ts';
import { hashOf } from './place.ts';
import { part } from './routes-view.ts';
import type { OpenView } from './view.ts';

export const openView: OpenView = (app, host) => new ClientsView(app, host);

const COLUMNS: readonly DataColumn<ClientInsight>[] = [
  { id: 'client', title: 'Client', by: ({ client }) => client ?? '', cell: clientLink },
  number('calls', 'Calls', ({ calls }) => calls),
  number(
    'share',
    'Share',
    ({ share }) => share,
    (share) => (share === 0 ? '–' : `${Math.round(share * 100)} %`),
  ),
  {
    ...number('failures', 'Failed', ({ failures, calls }) => failures / Math.max(1, calls)),
    cell: ({ failures, calls }) => part(failures, calls),
  },
  { id: 'who', title: 'By', cell: culprits },
  number('ours', 'Our 429', ({ limitedByGateway }) => limitedByGateway),
  number('theirs', "Genesys' 429", ({ limitedByPlatform }) => limitedByPlatform),
  number('denied', 'Denied', ({ denied }) => sumOf(denied)),
  number('would', 'Would be', ({ wouldBeDenied }) => sumOf(wouldBeDenied)),
  number('queue', 'Waited', ({ queueMs }) => queueMs, spanOf),
  number('caused', 'Made wait', ({ causedMs }) => causedMs, spanOf),
  { id: 'seen', title: 'Last seen', by: ({ lastSeenAt }) => -Date.parse(lastSeenAt ?? ''), cell: lastSeen },
];

function number(
  id: string,
  title: string,
  by: (row: ClientInsight) => number,
  words: (value: number) => string = (value) => (value === 0 ? '–' : value.toLocaleString('en')),
): DataColumn<ClientInsight> {
  return { id, title, isRight: true, by, cell: (row) => words(by(row)) };
}

class ClientsView extends InsightView {
  protected readonly id = 'clients';
  protected readonly title = 'Clients';

  protected body(insight: Insight) {
    const { clients, series, spanMs } = insight;
    const sort = this.params.get('sort') ?? 'calls';
    const { from, stepMs, columns } = series;
    const rows = Object.entries(columns)
      .filter(([name]) => name.startsWith('client:'))
      .map(([name, values]) => ({ name: name.slice(7), values }))
      .map(({ name, values }) => ({ name, values, tone: toneOf(name === 'anonymous' ? null : name, clients) }))
      .filter(({ values }) => values.some((value) => value !== null && value > 0));
    const unit = (value: number) => Math.round(value).toLocaleString('en');
    return html`${
      rows.length === 0
        ? nothing
        : html`<div class="card">
            ${columnChart({ label: 'Calls by client', from, stepMs, rows, unit }, this.table('calls'))}
          </div>`
    }
    ${this.reach(insight)}
    ${
      clients.length === 0
        ? html`<p class="card">No call in ${spanWords(spanMs)}.</p>`
        : dataTable({
            ...{ label: 'Clients', columns: COLUMNS, rows: clients, sort },
            onSort: (id) => this.app.go(this.placeWith('sort', id === 'calls' ? null : id), true),
          })
    }
    ${rules('Denied by rule', clients, ({ denied }) => denied)}
    ${rules('Would be denied: mode is report', clients, ({ wouldBeDenied }) => wouldBeDenied)}
    <p class="soft">
      Share: of all attempts at Genesys Cloud. Denied, would be: by rules, and where their mode is report. Waited: for rate limits. Made wait: what others waited for the same
      credential, by this client's part of its calls.
    </p>`;
  }
}

function clientLink({ client, state, sockets = 0 }: ClientInsight) {
  const name = client ?? 'anonymous';
  const filter = client === null ? 'client:-' : `client:${quoted(client)}`;
  return html`${client === null ? html`anonymous` : html`<a href=${hashOf('calls', { f: filter })}>${visible(name, 64)}</a>`}
  ${state === undefined || state === 'active' ? nothing : html` <span class="bad">■ ${state}</span>`}
  ${sockets === 0 ? nothing : html` <span class="soft">${count(sockets, 'socket')}</span>`}`;
}

function culprits({ culprits: counts, client }: ClientInsight) {
  return Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([who, calls]) => {
      const own = client === null ? '' : `client:${quoted(client)} `;
      return html`<a class="who-count" href=${hashOf('calls', { f: `${own}who:${who} failed:yes` })}>${who} ${calls}</a> `;
    });
}

function lastSeen({ lastSeenAt, sinceStart }: ClientInsight) {
  if (lastSeenAt === null) return html`<span class="soft">not since the start</span>`;
  const total =
    sinceStart === undefined
      ? nothing
      : html` <span class="soft under">${count(sinceStart.calls, 'call')} in all</span>`;
  return html`${timeOfDay(Date.parse(lastSeenAt), false)}${total}`;
}

function rules(title: string, clients: readonly ClientInsight[], of: (client: ClientInsight) => readonly RuleCount[]) {
  const all = clients.flatMap((one) => of(one).map((rule) => ({ ...rule, client: one.client })));
  if (all.length === 0) return nothing;
  return html`<section class="card" aria-label=${title}>
    <h2>${title}</h2>
    <div class="scroll" role="region" tabindex="0" aria-label="${title}, by client">
      <table>
        <thead><tr><th>Client</th><th>Rule</th><th class="right">Calls</th></tr></thead>
        <tbody>
          ${all
            .sort((a, b) => b.calls - a.calls)
            .map(
              ({ client, rule, calls }) =>
                html`<tr>
                  <td>${visible(client ?? 'anonymous', 64)}</td>
                  <td><code>${visible(rule, 200)}</code></td>
                  <td class="right">${calls}</td>
                </tr>`,
            )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function sumOf(rules: readonly RuleCount[]): number {
  return rules.reduce((sum, { calls }) => sum + calls, 0);
}

function spanOf(ms: number): string {
  return ms < 1 ? '–' : duration(ms);
}
