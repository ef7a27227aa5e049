// One call: why it failed first, where its time went, what was asked and answered, and the calls it belongs to.

import { html, nothing, render } from 'lit-html';
import { WHO } from '../culprit.ts';
import type { Call, CallAnswer, Why } from '../wire.ts';
import { CallActions } from './call-actions.ts';
import { pathMark, statusMark } from './call-grid.ts';
import { neighbour } from './call-list.ts';
import { copyText } from './copy-line.ts';
import { exportHar } from './export-har.ts';
import { quoted } from './filter-box.ts';
import { duration, size, timeOfDay, visible } from './format.ts';
import { hashOf, type Place, parsePlace } from './place.ts';
import { RequestFailure } from './session.ts';
import { timelineMark, timelineOf, timelineTable } from './timeline.ts';
import type { App, Key, OpenView, View } from './view.ts';

export const openView: OpenView = (app, host) => new CallView(app, host);

type Headers = readonly (readonly [name: string, value: string])[];

class CallView implements View {
  readonly #app: App;
  readonly #host: HTMLElement;
  readonly #end: () => void;
  readonly #actions: CallActions;
  #id = '';
  #answer: CallAnswer | null = null;
  #problem: string | null = null;
  #isTable = false;
  #asked = 0;

  constructor(app: App, host: HTMLElement) {
    this.#app = app;
    this.#host = host;
    this.#actions = new CallActions(
      app,
      () => this.#answer,
      () => this.#render(),
    );
    // A call that is still running, or that the list does not have yet.
    this.#end = app.live.store.listen(({ added }) => {
      if (this.#answer === null && added.some(({ requestId }) => requestId === this.#id)) void this.#load();
    });
  }

  get keys(): readonly Key[] {
    return [
      { keys: ['Escape'], means: 'back to the list', run: () => this.#app.go(this.#app.lastPlace('calls')) },
      { keys: ['j'], means: 'older call', run: () => this.#step(-1) },
      { keys: ['k'], means: 'newer call', run: () => this.#step(1) },
      ...this.#actions.keys,
      { keys: ['i'], means: 'copy the request id', run: () => void copyText(this.#id, this.#app) },
    ];
  }

  show({ rest: [id = ''] }: Place): void {
    if (id === this.#id) return;
    this.#id = id;
    this.#answer = null;
    this.#problem = null;
    this.#host.scrollTop = 0;
    this.#render();
    void this.#load();
  }

  close(): void {
    this.#end();
    this.#asked += 1;
  }

  async #load(): Promise<void> {
    const asked = ++this.#asked;
    try {
      const answer = await this.#app.session.json<CallAnswer>(`calls/${encodeURIComponent(this.#id)}`);
      if (asked !== this.#asked) return;
      this.#answer = answer;
      this.#problem = null;
    } catch (error) {
      if (asked !== this.#asked) return;
      const isGone = error instanceof RequestFailure && error.status === 404;
      this.#problem = isGone
        ? 'The gateway does not keep this call any more, it has not ended yet, or it is not yours to see.'
        : (error as Error).message;
    }
    this.#render();
  }

  /** To the next call, in either direction, of those that the list showed. */
  #step(by: number): void {
    const { live } = this.#app;
    const filter = parsePlace(this.#app.lastPlace('calls')).params.get('f') ?? '';
    const next = neighbour(live.store.calls, this.#id, by, filter, live.now());
    if (next !== undefined) this.#app.go(hashOf('call', {}, next.requestId), true);
  }

  #render(): void {
    const call = this.#answer?.call ?? this.#app.live.store.get(this.#id);
    render(
      html`<div class="call">
        <p><a href=${this.#app.lastPlace('calls')}>← Calls</a></p>
        ${call === undefined ? html`<h1>Call ${visible(this.#id, 80)}</h1>` : this.#head(call)}
        ${this.#problem === null ? nothing : html`<p class="card" role="alert">${visible(this.#problem)}</p>`}
        ${call === undefined ? nothing : this.#parts(call)}
      </div>`,
      this.#host,
    );
  }

  #head(call: Call) {
    return html`<div class="what">${statusMark(call)}
        <h1><span>${visible(call.method, 40)}</span> ${pathMark(call)}</h1>
      </div>
      <p class="facts num">
        <span>${timeOfDay(Date.parse(call.time))}</span>
        <span>took <b>${duration(call.durationMs)}</b></span>
        ${call.client === undefined ? nothing : html`<span>client <b>${visible(call.client, 64)}</b></span>`}
        ${call.credential === undefined ? nothing : html`<span>credential <b>${visible(call.credential, 64)}</b></span>`}
        ${
          call.attempts === 0
            ? html`<span>not sent</span>`
            : html`<span><b>${call.attempts}</b> ${call.attempts === 1 ? 'try' : 'tries'}</span>`
        }
        <span>${size(call.responseBytes)}</span>
      </p>`;
  }

  #bar(call: Call) {
    return html`<div class="bar" role="group" aria-label="This call">
        ${this.#actions.buttons()}
        ${this.#copier('Copy id', () => call.requestId)}
        ${this.#copier('Copy link', () => new URL(hashOf('call', {}, call.requestId), document.baseURI).href)}
        <button class="button" @click=${() => exportHar(this.#app, { ids: [call.requestId] })}>Save as HAR</button>
        ${this.#copier('Copy JSON', () => JSON.stringify(this.#answer?.call ?? call, null, 2))}
      </div>`;
  }

  #copier(word: string, text: () => string) {
    return html`<button class="button" @click=${() => copyText(text(), this.#app)}>${word}</button>`;
  }

  #parts(call: Call) {
    const why = this.#answer?.why ?? null;
    const captured = this.#answer?.captured;
    return html`${why === null ? nothing : whyCard(why, call)} ${this.#bar(call)} ${this.#timeline(call)}
      <div class="pair">
        <section class="card" aria-labelledby="request"><h2 id="request">Request</h2>${requestRows(call)}</section>
        <section class="card" aria-labelledby="answer"><h2 id="answer">Answer</h2>${answerRows(call)}</section>
      </div>
      ${captured === undefined ? nothing : capturedCards(captured)} ${attemptsCard(call)}
      <div class="pair">${tokenCard(call)} ${this.#related(call)}</div>`;
  }

  #timeline(call: Call) {
    const timeline = timelineOf(call);
    return html`<section class="card" aria-labelledby="timeline">
      <div class="card-head">
        <h2 id="timeline">Time line</h2>
        <button
          class="button plain"
          aria-expanded=${this.#isTable}
          @click=${() => {
            this.#isTable = !this.#isTable;
            this.#render();
          }}
        >
          ${this.#isTable ? 'Hide table' : 'As table'}
        </button>
      </div>
      ${timelineMark(timeline)} ${this.#isTable ? timelineTable(timeline) : nothing}
    </section>`;
  }

  #related(call: Call) {
    const { calls } = this.#app.live.store;
    const sameRoute = calls.filter(({ route, method }) => route === call.route && method === call.method);
    const at = sameRoute.findIndex(({ requestId }) => requestId === call.requestId);
    const near = at < 0 ? [] : sameRoute.slice(Math.max(0, at - 3), at + 4).filter((one) => one !== sameRoute[at]);
    const repeats = calls.filter(
      ({ replayOf, requestId }) => replayOf === call.requestId || requestId === call.replayOf,
    );
    const links: [string, string][] = [['Calls of this route', `route:${quoted(call.route)}`]];
    if (call.client !== undefined) links.push(['Calls of this client', `client:${quoted(call.client)}`]);
    if (call.correlationId !== undefined)
      links.push(['With this correlation id', `corr:${quoted(call.correlationId)}`]);
    if (call.traceId !== undefined) links.push(['Of this trace', `trace:${call.traceId}`]);
    return html`<section class="card" aria-labelledby="related">
      <h2 id="related">Related</h2>
      ${lines('Repeats', repeats)} ${lines('Same route, before and after', near)}
      <ul class="links">
        ${links.map(([word, filter]) => html`<li><a href=${hashOf('calls', { f: filter })}>${word}</a></li>`)}
      </ul>
    </section>`;
  }
}

function whyCard({ who, title, text, todo }: Why, { status, errorCode }: Call) {
  const isCalm = status < 400 && errorCode === undefined;
  return html`<section class="card why${isCalm ? ' calm' : ''}" aria-labelledby="why">
    <h2 id="why"><span class="who">${WHO[who]}</span> ${visible(title, 300)}</h2>
    <p>${visible(text, 2000)}</p>
    ${todo.length === 0 ? nothing : html`<ol>${todo.map((one) => html`<li><span>${visible(one, 1000)}</span></li>`)}</ol>`}
  </section>`;
}

type Row = readonly [name: string, value: unknown];

function rows(all: readonly Row[]) {
  return html`<dl class="rows">
    ${all.map(([name, value]) =>
      value === undefined || value === null
        ? nothing
        : html`<dt>${name}</dt><dd>${typeof value === 'string' ? visible(value) : value}</dd>`,
    )}
  </dl>`;
}

function code(text: string | undefined) {
  return text === undefined ? undefined : html`<code>${visible(text)}</code>`;
}

function requestRows(call: Call) {
  const { requestBytes } = call;
  return rows([
    ['Request id', code(call.requestId)],
    ['Path', code(call.path)],
    ['Route', code(call.route)],
    ['Operation', code(call.operation)],
    ['Client', call.client ?? (call.claimedClient === undefined ? 'anonymous' : undefined)],
    ['Claims to be', call.claimedClient],
    ['Proved by', code(call.secretFingerprint)],
    ['User', call.sessionUser],
    ['From', call.peer],
    ['Program', call.userAgent],
    ['Body', requestBytes === 0 ? 'none' : size(requestBytes)],
    ['Authorization', call.authorizationReplaced === true ? 'had one of its own, which was replaced' : undefined],
    ['Rule', code(call.rule)],
    ['Trace', code(call.traceId)],
  ]);
}

function answerRows(call: Call) {
  return rows([
    ['Status', statusMark(call)],
    ['Made by', call.source === 'upstream' ? 'Genesys Cloud' : 'this gateway'],
    ['Code', code(call.errorCode)],
    ['Says', call.error],
    ['Platform code', code(call.platform?.code)],
    ['Platform says', call.platform?.message],
    ['Explained', call.explanation],
    ['Correlation id', code(call.correlationId)],
    ['Body', size(call.responseBytes)],
    ['Close code', call.closeCode],
    ['Caller', call.aborted === true ? 'left before the answer was whole' : undefined],
  ]);
}

function attemptsCard({ trace, retries, attempts }: Call) {
  if (attempts < 2) return nothing;
  return html`<section class="card" aria-labelledby="attempts">
    <h2 id="attempts">Tries</h2>
    ${
      trace === undefined
        ? html`<p>${attempts} tries, again after: ${visible((retries ?? []).join(', '))}.</p>`
        : html`<div class="scroll" role="region" tabindex="0" aria-label="Tries, one by one">
            <table>
              <thead>
                <tr><th>Try</th><th class="right">From</th><th class="right">Took</th><th>Outcome</th><th>Connection</th></tr>
              </thead>
              <tbody>
                ${trace.attempts.map(
                  ({ at, ms, status, error, retryAfter, idle, dial }, index) =>
                    html`<tr>
                      <td>${index + 1}</td>
                      <td class="right">${duration(at)}</td>
                      <td class="right">${duration(ms)}</td>
                      <td>
                        ${status ?? visible(error ?? 'no answer', 120)}${
                          retryAfter === undefined ? nothing : `, retry after ${duration(retryAfter)}`
                        }
                      </td>
                      <td>${dial !== undefined ? 'new' : idle === undefined ? '' : `was there, idle ${duration(idle)}`}</td>
                    </tr>`,
                )}
              </tbody>
            </table>
          </div>`
    }
  </section>`;
}

function tokenCard({ credential, tokenFingerprint, tokenWaitMs, retries = [] }: Call) {
  const renewed = retries.filter((reason) => reason === '401').length;
  return html`<section class="card" aria-labelledby="token">
    <h2 id="token">Token</h2>
    ${rows([
      ['Credential', credential ?? 'none was needed'],
      [
        'Fingerprint',
        tokenFingerprint === undefined
          ? undefined
          : html`<a href=${hashOf('calls', { f: `fp:${quoted(tokenFingerprint)}` })}><code>${visible(tokenFingerprint)}</code></a>`,
      ],
      ['Waited for it', duration(tokenWaitMs)],
      ['Renewed', renewed > 0 ? 'yes: the platform refused the first one' : undefined],
    ])}
  </section>`;
}

function lines(title: string, calls: readonly Call[]) {
  if (calls.length === 0) return nothing;
  return html`<h3 class="soft">${title}</h3>
    <ul class="near num">
      ${calls
        .slice(-8)
        .reverse()
        .map(
          (call) =>
            html`<li>
              <a href=${hashOf('call', {}, call.requestId)}>${timeOfDay(Date.parse(call.time))}</a>
              ${statusMark(call)} <span class="soft">${duration(call.durationMs)}</span>
            </li>`,
        )}
    </ul>`;
}

function capturedCards(captured: NonNullable<CallAnswer['captured']>) {
  const { requestHeaders, sentHeaders, responseHeaders, requestBody, responseBody } = captured;
  return html`${
    requestHeaders === undefined && sentHeaders === undefined
      ? nothing
      : card('Headers of the request', sentTable(requestHeaders ?? [], sentHeaders ?? []))
  }
  ${responseHeaders === undefined ? nothing : card('Headers of the answer', headerTable(responseHeaders))}
  ${requestBody === undefined ? nothing : card('Body of the request', bodyText(requestBody))}
  ${responseBody === undefined ? nothing : card('Body of the answer', bodyText(responseBody))}`;
}

function card(title: string, content: unknown) {
  return html`<section class="card" aria-label=${title}><h2>${title}</h2>${content}</section>`;
}

function headerTable(headers: Headers) {
  return html`<div class="scroll" role="region" tabindex="0" aria-label="Headers as a table">
    <table>
      <tbody>
        ${headers.map(
          ([name, value]) =>
            html`<tr><th scope="row"><code>${visible(name, 128)}</code></th><td class="mono">${visible(value)}</td></tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** What the caller sent beside what went to the platform, by name. */
function sentTable(asked: Headers, sent: Headers) {
  const values = (headers: Headers, wanted: string) =>
    headers
      .filter(([name]) => name.toLowerCase() === wanted)
      .map(([, value]) => visible(value))
      .join(', ');
  const names = [...new Set([...asked, ...sent].map(([name]) => name.toLowerCase()))].sort();
  return html`<div class="scroll" role="region" tabindex="0" aria-label="Headers side by side">
    <table>
      <thead><tr><th>Name</th><th>From the caller</th><th>To Genesys Cloud</th><th>Change</th></tr></thead>
      <tbody>
        ${names.map((name) => {
          const [before, after] = [values(asked, name), values(sent, name)];
          const mark = before === after ? '' : before === '' ? 'added' : after === '' ? 'taken out' : 'changed';
          return html`<tr>
            <th scope="row"><code>${visible(name, 128)}</code></th>
            <td class="mono">${before}</td>
            <td class="mono">${after}</td>
            <td class="wait">${mark}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </div>`;
}

const LONGEST_BODY = 70_000;

/** A body: JSON is set out, everything else is text as it came. */
function bodyText(body: string) {
  let text = body;
  try {
    text = JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    // It is no JSON, or was cut.
  }
  const shown = text
    .slice(0, LONGEST_BODY)
    .split('\n')
    .map((line) => visible(line, LONGEST_BODY))
    .join('\n');
  return html`<pre class="body" tabindex="0">${shown}</pre>`;
}
