// Tokens: the state of each credential's token and of its renewal, over a day; what went wrong last, who waited for it,
// and what can be done.

import { html, nothing } from 'lit-html';
import type { CredentialInsight, Insight } from '../insight-answer.ts';
import { laneChart, tableButton } from './charts.ts';
import { quoted } from './filter-box.ts';
import { count, duration, timeOfDay, visible } from './format.ts';
import { InsightView, spanWords } from './insight-view.ts';
import { hashOf } from './place.ts';
import { address } from './session.ts';
import type { OpenView } from './view.ts';

export const openView: OpenView = (app, host) => new TokensView(app, host, '24h');

const DAY_MS = 86_400_000;
/** More changes than anybody reads. */
const MOST_ROWS = 200;

/** The states of a token, with their shape, tone and meaning. */
const TOKENS: Readonly<Record<string, readonly [mark: string, tone: string, meaning: string]>> = {
  none: ['○', 'wait', ''],
  fresh: ['●', 'good', 'it is good'],
  due: ['◐', 'good', 'it is good, and renewed soon'],
  suspect: ['▲', 'wait', 'Genesys Cloud refused it: it is being renewed'],
  expired: ['■', 'bad', 'calls wait for another'],
};
const RENEWALS: Readonly<Record<string, string>> = {
  idle: 'nothing to renew',
  running: 'being renewed now',
  backoff: 'failed, to be tried again',
  rejected: 'refused: not tried again until something changes',
  login_required: 'somebody has to log in',
};

class TokensView extends InsightView {
  protected readonly id = 'tokens';
  protected readonly title = 'Tokens';
  /** The credential whose logout was asked for once. */
  #leaving: string | null = null;

  protected body(insight: Insight) {
    if (insight.credentials.length === 0) return html`<p class="card">No credential that you may use.</p>`;
    return html`<div class="cards">${insight.credentials.map((one, at) => this.#card(one, at, insight))}</div>`;
  }

  #card(one: CredentialInsight, at: number, insight: Insight) {
    const { name, grantType, token, renewal, region, identity, waited, lane } = one;
    const id = `credential-${at}`;
    const [mark, tone, meaning] = TOKENS[token] ?? ['○', 'wait', token];
    const now = this.now();
    const from = Math.max(now - DAY_MS, Math.min(now - 60_000, Date.parse(insight.startedAt)));
    const renewed = lane.marks.filter(({ kind }) => kind === 'renewed').length;
    const failed = lane.marks.length - renewed;
    const words = `Token of ${visible(name, 64)} since ${timeOfDay(from, false)}: ${token} now, renewed ${renewed} times, ${failed} failed attempts`;
    const table = this.table(name);
    return html`<section class="card" aria-labelledby=${id}>
      <div class="card-head">
        <h2 id=${id}>${visible(name, 64)}</h2>
        <span class="pill ${tone}">${mark} ${visible(token, 20)}</span>
      </div>
      <p class="figure num"><b>${this.#left(one, now)}</b> ${meaning}</p>
      ${laneChart({ ...lane, from, to: now }, words)}
      <div class="axis num">
        <span>${timeOfDay(from, false)}</span>
        <span>${count(renewed, 'renewal')}, ${count(failed, 'failed attempt')}</span>
        <span>now ${tableButton(table, visible(name, 64))}</span>
      </div>
      ${table.isOpen ? laneTable(one) : nothing}
      <dl class="rows">
        ${row('Renewal', RENEWALS[renewal] ?? visible(renewal, 40))}
        ${one.nextAttemptAt === null ? nothing : row('Next attempt', countdown(one.nextAttemptAt, now))}
        ${row('Grant', visible(grantType, 40))} ${row('Region', visible(region, 80))}
        ${identity === null ? nothing : row('Organisation', visible(identity, 120))}
        ${one.fingerprint === null ? nothing : row('Fingerprint', fingerprintLink(one.fingerprint))}
        ${row('Waited for it', waitedWords(waited, insight.spanMs))}
        ${one.tokens === null ? nothing : row('Tokens', tokensOf(one.tokens))}
      </dl>
      ${
        one.lastError === null
          ? nothing
          : html`<p class="error"><b>${timeOfDay(Date.parse(one.lastError.at), false)}</b>
              ${visible(one.lastError.message, 600)} <code>${visible(one.lastError.code, 64)}</code></p>`
      }
      ${this.mayAct ? this.#actions(one) : nothing}
    </section>`;
  }

  /** A link that the browser opens carries no proof: where one is asked for, the command logs in. */
  #login(name: string) {
    if (this.app.live.rights?.client != null)
      return html`<span class="soft">To log in: <code>gcg login ${visible(name, 64)}</code></span>`;
    return html`<a class="button" target="_blank" rel="noopener" href=${address(`login/${encodeURIComponent(name)}`).href}
      >Log in…</a
    >`;
  }

  #left({ expiresAt, token }: CredentialInsight, now: number): string {
    if (expiresAt === null) return token === 'none' ? 'no token' : 'no known end';
    const ms = Date.parse(expiresAt) - now;
    return ms <= 0 ? 'ended' : `${longSpan(ms)} left`;
  }

  #actions({ name, hasLogin }: CredentialInsight) {
    const path = `credentials/${encodeURIComponent(name)}`;
    const isLeaving = this.#leaving === name;
    return html`<div class="bar" role="group" aria-label="Token of ${visible(name, 64)}">
      <button class="button" @click=${() => this.act(`${path}/refresh`, 'A new token is there, or on its way')}>
        Renew now
      </button>
      ${hasLogin ? this.#login(name) : nothing}
      <button
        class="button"
        @click=${() => {
          if (isLeaving) void this.act(`${path}/logout`, 'The token is forgotten');
          this.#leaving = isLeaving ? null : name;
          this.render();
        }}
      >
        ${isLeaving ? 'Forget it: calls will fail' : 'Log out'}
      </button>
      ${
        isLeaving
          ? html`<button
              class="button plain"
              @click=${() => {
                this.#leaving = null;
                this.render();
              }}
            >
              Keep it
            </button>`
          : nothing
      }
      <a href=${hashOf('calls', { f: `cred:${quoted(name)} who:token` })}>Calls it failed</a>
    </div>`;
  }
}

function row(name: string, value: unknown) {
  return html`<dt>${name}</dt><dd class="num">${value}</dd>`;
}

function countdown(at: string, now: number): string {
  const ms = Date.parse(at) - now;
  return ms <= 0 ? 'now' : `in ${longSpan(ms)}`;
}

/** `23 h 04 min`, `12 min 03 s`. */
function longSpan(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return duration(Math.floor(ms / 1000) * 1000);
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  return `${hours} h ${String(minutes % 60).padStart(2, '0')} min`;
}

function fingerprintLink(fingerprint: string) {
  return html`<a href=${hashOf('calls', { f: `fp:${quoted(fingerprint)}` })}><code>${visible(fingerprint, 64)}</code></a>`;
}

function waitedWords({ calls, ms, longestMs }: CredentialInsight['waited'], spanMs: number): string {
  if (calls === 0) return `no call of ${spanWords(spanMs)}`;
  return `${count(calls, 'call')} of ${spanWords(spanMs)}: ${duration(ms)} together, ${duration(longestMs)} at most`;
}

function tokensOf(tokens: NonNullable<CredentialInsight['tokens']>): string {
  return tokens.map(({ number, token, used }) => `${number}: ${visible(token, 20)}, ${used} a minute`).join('; ');
}

/** What happened, the newest first. */
function laneTable({ lane, name }: CredentialInsight) {
  const all = [
    ...lane.states.map(({ at, token, renewal }) => ({ at, what: token, note: RENEWALS[renewal] ?? renewal })),
    ...lane.marks.map(({ at, kind, code }) => ({
      at,
      what: kind === 'renewed' ? 'renewed' : 'failed',
      note: code ?? '',
    })),
  ].sort((a, b) => b.at - a.at);
  return html`<div class="scroll tall" role="region" tabindex="0" aria-label="States of ${visible(name, 64)}, as a table">
    <table>
      <thead><tr><th>Time</th><th>State</th><th>Note</th></tr></thead>
      <tbody>
        ${all
          .slice(0, MOST_ROWS)
          .map(
            ({ at, what, note }) =>
              html`<tr><td class="num">${timeOfDay(at)}</td><td>${visible(what, 40)}</td><td>${visible(note, 80)}</td></tr>`,
          )}
      </tbody>
    </table>
  </div>`;
}
