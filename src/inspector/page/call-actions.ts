// What can be done with a call: copy it as a command or code, make it again, compare it with another.

import { html, nothing } from 'lit-html';
import { lastGoodOf, repeatsOf } from '../compare.ts';
import { isMasked } from '../repeat.ts';
import type { Call, CallAnswer } from '../wire.ts';
import { copyText } from './copy-line.ts';
import { markedCall, toggleMark } from './marked.ts';
import { hashOf } from './place.ts';
import { replayCall } from './replay-dialog.ts';
import type { App, Key } from './view.ts';

/** Buttons and keys of one call. */
export class CallActions {
  readonly #app: App;
  readonly #answer: () => CallAnswer | null;
  /** Told when what the buttons say has changed. */
  readonly #onChange: () => void;

  constructor(app: App, answer: () => CallAnswer | null, onChange: () => void) {
    this.#app = app;
    this.#answer = answer;
    this.#onChange = onChange;
  }

  get keys(): readonly Key[] {
    return [
      { keys: ['c'], means: 'copy as curl', run: () => void this.#copy('curl') },
      { keys: ['r'], means: 'make it again', run: () => void this.#replay() },
      { keys: ['x'], means: 'mark it, to compare', run: () => this.#mark() },
      {
        keys: ['='],
        means: 'compare with the marked call, its repeat, or the last good one',
        run: () => this.#compare(),
      },
    ];
  }

  /** The buttons; nothing while the call is not known. */
  buttons() {
    const answer = this.#answer();
    if (answer === null) return nothing;
    const { call, replay } = answer;
    const good = lastGoodOf(call, this.#app.live.store.calls);
    const [repeat] = repeatsOf(call, this.#app.live.store.calls);
    const marked = markedCall();
    const copies = html`<details class="menu start" name="call-menu">
        <summary class="button">Copy as</summary>
        <div @click=${closeMenu}>
          ${item('curl', () => this.#copy('curl'))} ${item('PowerShell', () => this.#copy('powershell'))}
          ${item('HTTPie', () => this.#copy('httpie'))} ${item('fetch', () => this.#copy('fetch'))}
          ${
            answer.copy.operation === null
              ? nothing
              : html`${item('JavaScript SDK', () => this.#copy('javascript'))}
                ${item('Python SDK', () => this.#copy('python'))} ${item('Java SDK', () => this.#copy('java'))}
                ${item('.NET SDK', () => this.#copy('dotnet'))} ${item('Go SDK', () => this.#copy('go'))}`
          }
        </div>
      </details>`;
    // A call of a file is not this gateway's.
    if (answer.instance === '') return copies;
    return html`${copies}
      <button
        class="button"
        aria-disabled=${replay.possible ? nothing : 'true'}
        title=${replay.reason ?? nothing}
        @click=${() => this.#replay()}
      >
        Make again
      </button>
      <details class="menu start" name="call-menu">
        <summary class="button">Compare</summary>
        <div @click=${closeMenu}>
          ${repeat === undefined ? nothing : item('With its repeat', () => this.#compareWith(call, repeat.requestId))}
          ${good === undefined ? nothing : item('With the last good one', () => this.#compareWith(call, good.requestId))}
          ${
            marked === null || marked === call.requestId
              ? nothing
              : item('With the marked one', () => this.#compareWith(call, marked))
          }
          ${item(marked === call.requestId ? 'Not marked any more' : 'Mark this one', () => this.#mark())}
        </div>
      </details>`;
  }

  /** Written when it is asked for: by then all is known of the call. */
  async #copy(form: string): Promise<void> {
    const answer = this.#answer();
    if (answer === null) return;
    const { copyOf } = await import('../copies.ts');
    const text = copyOf(form, answer);
    if (text === null) return this.#app.tell('This call cannot be written as one of its operation: copy it as curl');
    await copyText(text, this.#app);
    this.#app.tell(
      isMasked(answer.call.path) ? 'Copied; a secret in the path was masked: put it there yourself' : 'Copied',
    );
  }

  async #replay(): Promise<void> {
    const answer = this.#answer();
    if (answer === null) return;
    if (!answer.replay.possible) return this.#app.tell(`Not made again: ${answer.replay.reason ?? ''}`);
    const id = await replayCall(this.#app, answer);
    if (id !== null) this.#app.go(hashOf('compare', {}, answer.call.requestId, id));
  }

  #mark(): void {
    const { call, instance = '' } = this.#answer() ?? {};
    if (call === undefined || instance === '') return;
    const id = call.requestId;
    toggleMark(id);
    this.#app.tell(markedCall() === id ? 'Marked: = on another call compares the two' : 'Not marked any more');
    this.#onChange();
  }

  #compare(): void {
    const { call, instance = '' } = this.#answer() ?? {};
    if (call === undefined || instance === '') return;
    const { calls } = this.#app.live.store;
    const marked = markedCall();
    const other = marked !== null && marked !== call.requestId ? marked : undefined;
    const id = other ?? repeatsOf(call, calls)[0]?.requestId ?? lastGoodOf(call, calls)?.requestId;
    if (id === undefined) this.#app.tell('There is nothing to compare it with: mark another call by x');
    else this.#compareWith(call, id);
  }

  /** The older one is on the left. */
  #compareWith(call: Call, id: string): void {
    const other = this.#app.live.store.get(id);
    const isFirst = other !== undefined && other.seq > call.seq;
    this.#app.go(hashOf('compare', {}, ...(isFirst ? [call.requestId, id] : [id, call.requestId])));
  }
}

function item(word: string, run: () => unknown) {
  return html`<button class="button plain item" @click=${run}>${word}</button>`;
}

function closeMenu(event: Event): void {
  (event.currentTarget as HTMLElement).closest('details')?.removeAttribute('open');
}
