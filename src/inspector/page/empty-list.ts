// What stands where no call does: a call to try, or which term of the filter keeps all away.

import { html } from 'lit-html';
import type { Filter } from '../filter.ts';
import { loosest } from '../filter-suggestions.ts';
import { copyLine } from './copy-line.ts';
import { count, visible } from './format.ts';
import { address } from './session.ts';
import type { App } from './view.ts';

/** `ask` takes another filter into use. */
export function emptyList(app: App, filter: Filter, ask: (filter: string) => void) {
  const { store, isListed, rights } = app.live;
  if (store.calls.length > 0) return noMatch(app, filter, ask);
  if (!isListed) return html`<div class="empty"><p>Reading the calls…</p></div>`;
  const proof = rights?.client == null ? '' : ' -H "X-Gateway-Key: $GCG_KEY"';
  return html`<div class="empty">
    <h2>No call yet</h2>
    <p>Calls are shown here when they end. Try one:</p>
    ${copyLine(`curl${proof} '${address('../api/v2/users').href}'`, app)}
  </div>`;
}

/** Which part keeps most calls away, to be taken out. */
function noMatch({ live }: App, filter: Filter, ask: (filter: string) => void) {
  const { calls } = live.store;
  const looser = loosest(filter, calls, live.now());
  return html`<div class="empty">
    <h2>None of ${count(calls.length, 'call')} passes the filter</h2>
    ${
      looser === null
        ? html`<button class="button" @click=${() => ask('')}>No filter</button>`
        : html`<button class="button" @click=${() => ask(looser.filter)}>
            Without <code>${visible(looser.without, 60)}</code> ${count(looser.count, 'call')}
          </button>`
    }
  </div>`;
}
