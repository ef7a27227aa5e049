// A file that somebody was sent: opened here, with the browser's own means, and shown as the live calls are. Nothing of
// it leaves the browser, and leaving the view forgets it.

import { html, nothing, render } from 'lit-html';
import { type Filter, matches, parseFilter } from '../filter.ts';
import { type FileCall, HarError, type HarFile, readHar } from '../har-reader.ts';
import type { Call, CallAnswer } from '../wire.ts';
import { CallGrid, COLUMNS } from './call-grid.ts';
import { openView as openCall } from './call-view.ts';
import { count, visible } from './format.ts';
import { hashOf, type Place, parsePlace } from './place.ts';
import { RequestFailure } from './session.ts';
import { CallStore } from './store.ts';
import type { App, Key, OpenView, View } from './view.ts';
import { loadViewStyle } from './view-style.ts';

export const openView: OpenView = (app, host) => new FileView(app, host);

const ALL_COLUMNS = COLUMNS.map(({ id }) => id);
/** What is done with a live call cannot be done with one of a file. */
const KEYS_OF_CALL = new Set(['Escape', 'j', 'k', 'i']);
const LARGEST_BYTES = 64 * 1024 * 1024;

/** What a file holds, as the list and the view of one call ask for it. */
interface OpenFile {
  readonly name: string;
  readonly har: HarFile;
  readonly store: CallStore;
  readonly byId: ReadonlyMap<string, FileCall>;
}

class FileView implements View {
  readonly #app: App;
  readonly #host: HTMLElement;
  /** The list of its calls; one call is shown in its place. */
  readonly #list = document.createElement('div');
  #file: OpenFile | null = null;
  #problem: string | null = null;
  #isReading = false;
  #filterText = '';
  #filterProblem: string | null = null;
  #grid: CallGrid | null = null;
  #call: View | null = null;

  constructor(app: App, host: HTMLElement) {
    this.#app = app;
    this.#host = host;
    loadViewStyle();
    this.#list.className = 'view';
    host.append(this.#list);
    host.addEventListener('click', this.#follow, true);
  }

  get keys(): readonly Key[] {
    if (this.#call !== null) return this.#call.keys.filter(({ keys }) => keys.some((key) => KEYS_OF_CALL.has(key)));
    const move = (by: number) => () => {
      this.#grid?.move(by);
      this.#grid?.focus();
    };
    return [
      { keys: ['j', 'ArrowDown'], means: 'next call', run: move(1) },
      { keys: ['k', 'ArrowUp'], means: 'call before', run: move(-1) },
      { keys: ['Enter'], means: 'open the call', run: () => this.#open(this.#grid?.active ?? null) },
      { keys: ['o'], means: 'choose a file', run: () => this.#host.querySelector<HTMLInputElement>('#file')?.click() },
    ];
  }

  show({ rest: [id], params }: Place): void {
    this.#filterText = params.get('f') ?? '';
    this.#endCall();
    if (id !== undefined && this.#file !== null) this.#showCall(this.#file, id);
    else this.#render();
  }

  close(): void {
    this.#endCall();
    this.#grid?.close();
    this.#host.removeEventListener('click', this.#follow, true);
    this.#file = null;
  }

  #open(call: Call | null): void {
    if (call !== null) this.#app.go(hashOf('file', {}, call.requestId));
  }

  /** One call of the file, by the view of the live ones: it asks this file instead of the gateway. */
  #showCall(file: OpenFile, id: string): void {
    const element = document.createElement('div');
    element.className = 'view of-file';
    this.#host.replaceChildren(element);
    const app = appOf(this.#app, file);
    this.#call = openCall(app, element);
    this.#call.show({ view: 'call', rest: [id], params: new URLSearchParams() });
  }

  #endCall(): void {
    if (this.#call === null) return;
    this.#call.close();
    this.#call = null;
    this.#host.replaceChildren(this.#list);
  }

  /** Links of the view of one call lead to the live list; in a file they lead into the file. */
  readonly #follow = (event: MouseEvent): void => {
    if (this.#call === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    const hash = link?.getAttribute('href') ?? '';
    if (!hash.startsWith('#/calls')) return;
    event.preventDefault();
    event.stopPropagation();
    this.#app.go(hash.replace('#/calls', '#/file'));
  };

  async #read(file: File | undefined): Promise<void> {
    if (file === undefined) return;
    this.#isReading = true;
    this.#problem = null;
    this.#render();
    try {
      if (file.size > LARGEST_BYTES) throw new HarError(`the file is larger than ${LARGEST_BYTES / 1024 / 1024} MiB`);
      const har = readHar(await file.text());
      const store = new CallStore();
      store.add(har.calls.map(({ call }) => call));
      const byId = new Map(har.calls.map((one) => [one.call.requestId, one]));
      this.#file = { name: file.name, har, store, byId };
    } catch (error) {
      this.#file = null;
      this.#problem = error instanceof HarError ? error.message : 'the file cannot be read';
    } finally {
      this.#isReading = false;
    }
    if (this.#filterText !== '') this.#app.go(hashOf('file'), true);
    this.#render();
    this.#app.tell(this.#file === null ? 'Not opened' : `${count(this.#file.har.calls.length, 'call')} in the file`);
  }

  #render(): void {
    const file = this.#file;
    const shown = file === null ? [] : this.#passed(file);
    render(
      html`<div class="calls file-view">
        <div class="calls-head">
          <div class="title">
            <h1>File</h1>
            <span class="soft">${file === null ? nothing : visible(file.name, 120)}</span>
            <label class="button ${file === null ? 'main' : ''}" for="file">Choose a file…</label>
            <input
              id="file"
              class="sr"
              type="file"
              accept=".har,.json,application/json"
              @change=${(event: Event) => this.#chosen(event)}
            />
          </div>
          ${this.#problem === null ? nothing : html`<p class="card" role="alert">${visible(this.#problem, 300)}.</p>`}
          ${file === null ? nothing : html`${manifest(file.har)} ${this.#filter(file, shown.length)}`}
        </div>
        ${
          file === null
            ? this.#invitation()
            : html`<div class="grid-wrap">
          <div class="grid" role="grid" tabindex="0" aria-label="Calls of the file, the last first"></div>
        </div>`
        }
      </div>`,
      this.#list,
    );
    const element = this.#list.querySelector<HTMLElement>('.grid');
    if (element === null) {
      this.#grid?.close();
      this.#grid = null;
      return;
    }
    this.#grid ??= new CallGrid(
      element,
      (call) => this.#open(call),
      () => {},
    );
    this.#grid.show({ calls: shown, columns: ALL_COLUMNS, isMarked: () => false });
  }

  #chosen(event: Event): void {
    const input = event.target as HTMLInputElement;
    const [file] = input.files ?? [];
    void this.#read(file).finally(() => {
      // The same file may be chosen again.
      input.value = '';
    });
  }

  #passed({ store: { calls } }: OpenFile): readonly Call[] {
    this.#filterProblem = null;
    if (this.#filterText === '') return calls;
    let filter: Filter;
    try {
      filter = parseFilter(this.#filterText);
    } catch (error) {
      this.#filterProblem = (error as Error).message;
      return calls;
    }
    return calls.filter((call) => matches(filter, call, Date.now()));
  }

  #filter({ store: { calls } }: OpenFile, shown: number) {
    return html`<div class="bar">
      <label class="sr" for="file-filter">Filter</label>
      <input
        id="file-filter"
        type="text"
        class="field mono"
        placeholder="status:>=400 who:token"
        spellcheck="false"
        .value=${this.#filterText}
        @change=${(event: Event) =>
          this.#app.go(hashOf('file', { f: (event.target as HTMLInputElement).value.trim() }), true)}
      />
      <span class="soft num">${shown === calls.length ? count(shown, 'call') : `${shown} of ${count(calls.length, 'call')}`}</span>
      ${this.#filterProblem === null ? nothing : html`<span class="bad">${visible(this.#filterProblem, 200)}</span>`}
    </div>`;
  }

  #invitation() {
    return html`<div
      class="empty drop"
      @dragover=${(event: DragEvent) => event.preventDefault()}
      @drop=${(event: DragEvent) => {
        event.preventDefault();
        void this.#read(event.dataTransfer?.files[0]);
      }}
    >
      <h2>${this.#isReading ? 'Reading…' : 'Open an HTTP Archive (.har)'}</h2>
      <p>
        Choose a file, or drop it here: one that <code>gcg har</code> or “Save as HAR” made is shown with all that it
        says, any other as far as it goes.
      </p>
      <p>It is read in this browser. Nothing of it is sent to anybody, and leaving this view forgets it.</p>
    </div>`;
  }
}

/** The page as the view of one call sees it in a file: everything is asked of the file. */
function appOf(app: App, { store, byId }: OpenFile): App {
  const json = async (path: string): Promise<CallAnswer> => {
    const found = byId.get(decodeURIComponent(path.replace(/^calls\//, '')));
    if (found === undefined) throw new RequestFailure(404, 'no such call in the file');
    const { call, why, captured } = found;
    const replay = { possible: false, needsConfirmation: false, reason: 'it is a call of a file' };
    // It is made here, if at all: the gateway of the file may be anywhere.
    const base = new URL('../..', document.baseURI).href.replace(/\/$/, '');
    const copy = { base, needsKey: (app.live.rights?.client ?? null) !== null, operation: null };
    const answer: CallAnswer = { instance: '', call, why, replay, copy, ...(captured !== undefined && { captured }) };
    return answer;
  };
  const refused = async () => {
    throw new RequestFailure(0, 'this is a call of a file');
  };
  const session = Object.assign(Object.create(app.session), { json, request: refused });
  const now = () => app.live.now();
  const live = Object.create(app.live, { store: { value: store }, rights: { value: null }, now: { value: now } });
  const inFile = (hash: string) => (parsePlace(hash).view === 'call' ? hash.replace('#/calls', '#/file') : hash);
  return {
    session,
    live,
    go: (hash, replace) => app.go(inFile(hash), replace),
    lastPlace: (view) => (view === 'calls' ? hashOf('file') : app.lastPlace(view)),
    say: (text) => app.say(text),
    tell: (text) => app.tell(text),
    cameFrom: null,
    refresh: () => app.refresh(),
  };
}

/** What the file says of itself, and of what was done about secrets: first of all. */
function manifest({ redaction, comment, creator, skipped, filter, settings }: HarFile) {
  const words =
    redaction === null
      ? html`<p><b>▲ No gateway made this file:</b> nothing is known of the secrets in it. Handle it as one.</p>`
      : html`<p>
          <b>${redaction.scanner === 'passed' ? '● Searched for secrets: none found.' : '▲ Not searched for secrets.'}</b>
          ${redaction.replaced === 0 ? 'No value had to be masked' : `${count(redaction.replaced, 'value')} masked, ${redaction.distinct} of them different`}; bodies:
          ${visible(redaction.bodies, 20)}${redaction.bodies === 'full' ? ': they may hold personal data' : ''}; marks compare
          ${redaction.scope === 'run' ? 'with other files of the same run' : 'within this file only'}.
        </p>`;
  return html`<section class="card manifest ${redaction === null ? 'unsure' : ''}" aria-label="What is in this file">
    ${words}
    <p class="facts">
      ${creator === '' ? nothing : html`<span>made by <b>${visible(creator, 120)}</b></span>`}
      ${filter === null || filter === '' ? nothing : html`<span>filter <code>${visible(filter, 200)}</code></span>`}
      ${skipped === 0 ? nothing : html`<span class="wait">▲ ${count(skipped, 'entry')} not read</span>`}
    </p>
    ${
      comment === '' && settings.length === 0
        ? nothing
        : html`<details>
            <summary>What it says of itself</summary>
            <p class="soft">${visible(comment, 2000)}</p>
            ${
              settings.length === 0
                ? nothing
                : html`<dl class="rows">
                    ${settings.map(([key, value]) => html`<dt><code>${visible(key, 128)}</code></dt><dd>${visible(value, 256)}</dd>`)}
                  </dl>`
            }
          </details>`
    }
  </section>`;
}
