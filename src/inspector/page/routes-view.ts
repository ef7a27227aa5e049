// Routes: which are called, which fail, which are slow.

import { html } from 'lit-html';
import type { Insight, RouteInsight } from '../insight-answer.ts';
import { spark } from './charts.ts';
import { type DataColumn, dataTable } from './data-table.ts';
import { quoted } from './filter-box.ts';
import { count, duration, size, visible } from './format.ts';
import { InsightView, spanWords } from './insight-view.ts';
import { hashOf } from './place.ts';
import type { OpenView } from './view.ts';

export const openView: OpenView = (app, host) => new RoutesView(app, host);

const COLUMNS: readonly DataColumn<RouteInsight>[] = [
  { id: 'route', title: 'Route', by: ({ route, method }) => `${route} ${method}`, cell: routeLink },
  number('calls', 'Calls', ({ calls }) => calls),
  {
    ...number('failures', 'Failed', ({ failures, calls }) => failures / calls),
    cell: ({ failures, calls }) => part(failures, calls),
  },
  number('p50', 'p50', ({ p50 }) => p50, duration),
  number('p95', 'p95', ({ p95 }) => p95, duration),
  number('p99', 'p99', ({ p99 }) => p99, duration),
  number('bytes', 'Received', ({ bytesOut }) => bytesOut, size),
  number('sent', 'Sent', ({ bytesIn }) => bytesIn, size),
  number('retries', 'Retries', ({ retries }) => retries),
  number('limited', '429', ({ limited }) => limited),
  { id: 'spark', title: 'Over time', cell: ({ spark: values }) => spark(values) },
];

function number(
  id: string,
  title: string,
  by: (row: RouteInsight) => number,
  words: (value: number) => string = (value) => value.toLocaleString('en'),
): DataColumn<RouteInsight> {
  return { id, title, isRight: true, by, cell: (row) => words(by(row)) };
}

class RoutesView extends InsightView {
  protected readonly id = 'routes';
  protected readonly title = 'Routes';

  protected body(insight: Insight) {
    const { routes, moreRoutes } = insight;
    if (routes.length === 0) return html`<p class="card">No call in ${spanWords(insight.spanMs)}.</p>`;
    const sort = this.params.get('sort') ?? 'calls';
    return html`${this.reach(insight)}
      ${dataTable({
        ...{ label: 'Routes', columns: COLUMNS, rows: routes, sort },
        onSort: (id) => this.app.go(this.placeWith('sort', id === 'calls' ? null : id), true),
      })}
      ${moreRoutes > 0 ? html`<p class="soft num">and ${count(moreRoutes, 'more route')}</p>` : ''}`;
  }
}

function routeLink({ method, route }: RouteInsight) {
  const filter = `route:${quoted(route)} method:${quoted(method)}`;
  return html`<a class="route" href=${hashOf('calls', { f: filter })}
    ><span class="method">${visible(method, 20)}</span> ${visible(route.replace(/^\/api\/v2(?=\/)/, ''), 160)}</a
  >`;
}

/** `12 %`, with a word where it is much. */
export function part(failures: number, calls: number) {
  if (failures === 0) return html`<span class="soft">0</span>`;
  const percent = (failures / calls) * 100;
  const text = `${percent < 1 ? percent.toFixed(1) : Math.round(percent)} %`;
  return percent >= 10 ? html`<span class="bad">▲ ${text}</span>` : html`${text}`;
}
