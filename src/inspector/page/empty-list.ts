// What stands where no call does: a call to try, or which term of the filter keeps all away.

import { html } from 'lit-html';
import { type Filter, matches } from '../filter.ts';
import { filterOf, termsOf, textOf } from './call-list.ts';
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

/** Which term keeps most calls away, to be taken out. */
function noMatch({ live }: App, filter: Filter, ask: (filter: string) => void) {
  const { calls } = live.store;
  const now = live.now();
  const terms = termsOf(filter);
  const without = terms
    .map((term) => {
      const others = terms.filter((one) => one !== term);
      const rest = filterOf(others);
      const found = calls.reduce((sum, call) => sum + Number(matches(rest, call, now)), 0);
      return { text: textOf([term]), rest: textOf(others), found };
    })
    .sort((a, b) => b.found - a.found);
  return html`<div class="empty">
    <h2>None of ${count(calls.length, 'call')} passes the filter</h2>
    ${
      without.length === 1
        ? html`<button class="button" @click=${() => ask('')}>No filter</button>`
        : without.slice(0, 3).map(
            ({ text, rest, found }) =>
              html`<button class="button" ?disabled=${found === 0} @click=${() => ask(rest)}>
                Without <code>${visible(text, 60)}</code> ${count(found, 'call')}
              </button>`,
          )
    }
  </div>`;
}
