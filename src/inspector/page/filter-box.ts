// The field for a filter: what is wrong with it and where, what could follow, from the calls that are there. It holds
// the text; what is shown for it is the view's.

import { html, nothing } from 'lit-html';
import { FilterError, parseFilter } from '../filter.ts';
import { type Suggestions, suggest } from '../filter-suggestions.ts';
import type { Call } from '../wire.ts';
import { count, visible } from './format.ts';

/** So many of the newest calls are looked at for values. */
const SAMPLE = 3000;
/** After the last key. */
const SETTLE_MS = 120;

const NONE: Suggestions = { from: 0, to: 0, list: [] };

/** A text with a term added at its end, or taken out where it is there. */
export function toggled(text: string, term: string): string {
  return hasTerm(text, term) ? withoutTerm(text, term) : `${text.trim()} ${term}`.trim();
}

/** Whether a term stands by itself in a text. */
export function hasTerm(text: string, term: string): boolean {
  return text.split(/\s+/).includes(term);
}

function withoutTerm(text: string, term: string): string {
  return text
    .split(/\s+/)
    .filter((word) => word !== term)
    .join(' ');
}

/** A value as it stands in a filter. */
export function quoted(value: string): string {
  return /[\s()",|*]/.test(value) || value === '' ? `"${value.replace(/["\\]/g, '\\$&')}"` : value;
}

/** The field and its list. */
export class FilterBox {
  readonly #calls: () => readonly Call[];
  readonly #onText: (text: string) => void;
  readonly #onChange: () => void;
  readonly #onEnter: () => void;
  #text = '';
  /** The text that was taken into use last. */
  #applied = '';
  #problem: FilterError | null = null;
  #suggestions = NONE;
  #chosen = -1;
  #settle: ReturnType<typeof setTimeout> | undefined;
  #input: HTMLInputElement | null = null;

  /**
   * `onText` is told a text that can be read; `onChange` that the template is another one; `onEnter` that a text is
   * whole.
   */
  constructor(calls: () => readonly Call[], onText: (text: string) => void, onChange: () => void, onEnter: () => void) {
    this.#calls = calls;
    this.#onText = onText;
    this.#onChange = onChange;
    this.#onEnter = onEnter;
  }

  /** Takes a text from elsewhere: the address, a chip, a saved filter. */
  set(text: string): void {
    this.#applied = text;
    if (text === this.#text.trim()) return;
    this.#text = text;
    this.#check();
    if (this.#input !== null) this.#input.value = text;
  }

  focus(host: HTMLElement): void {
    host.querySelector<HTMLInputElement>('#filter')?.select();
    host.querySelector<HTMLInputElement>('#filter')?.focus();
  }

  template() {
    const isOpen = this.#suggestions.list.length > 0;
    const problem = this.#problem;
    return html`<div class="filter" @focusout=${(event: FocusEvent) => this.#left(event)}>
      <svg viewBox="0 0 14 14" aria-hidden="true">
        <path d="M1 2h12L8.5 7.5V12l-3-1.5v-3z" fill="none" stroke="currentColor" stroke-linejoin="round" />
      </svg>
      <input
        id="filter"
        type="text"
        role="combobox"
        aria-label="Filter"
        aria-expanded=${isOpen}
        aria-controls="options"
        aria-autocomplete="list"
        aria-activedescendant=${this.#chosen >= 0 ? `option-${this.#chosen}` : nothing}
        aria-invalid=${problem === null ? nothing : 'true'}
        aria-describedby=${problem === null ? nothing : 'problem'}
        autocomplete="off"
        autocapitalize="off"
        spellcheck="false"
        maxlength="1024"
        placeholder="status:4xx client:etl path:/users/** ms:>500"
        .value=${this.#text}
        @input=${(event: InputEvent) => this.#typed(event)}
        @click=${() => this.#suggest()}
        @keydown=${(event: KeyboardEvent) => this.#key(event)}
      />
      ${
        this.#text === ''
          ? nothing
          : html`<button class="button plain clear" @click=${() => this.#empty()}>Clear</button>`
      }
      <ul class="options" id="options" role="listbox" aria-label="What could stand here" ?hidden=${!isOpen}>
        ${this.#suggestions.list.map(
          ({ text, count: calls, meaning }, at) =>
            html`<li
              id="option-${at}"
              role="option"
              aria-selected=${at === this.#chosen}
              @mousedown=${(event: Event) => {
                event.preventDefault();
                this.#accept(at);
              }}
            >
              <code>${visible(text, 80)}</code><span class="soft"
                >${meaning ?? count(calls ?? 0, 'call')}</span
              >
            </li>`,
        )}
      </ul>
      ${
        problem === null
          ? nothing
          : html`<p class="problem bad" id="problem">Column ${problem.column}: ${visible(problem.message, 400)}</p>`
      }
    </div>`;
  }

  #empty(): void {
    this.#text = '';
    if (this.#input !== null) this.#input.value = '';
    this.#close();
  }

  #left({ relatedTarget, currentTarget }: FocusEvent): void {
    if (relatedTarget instanceof Node && (currentTarget as Element).contains(relatedTarget)) return;
    this.#close();
  }

  #close(): void {
    this.#suggestions = NONE;
    this.#chosen = -1;
    this.#apply();
  }

  /** Takes the text into use, where it can be read. */
  #apply(): void {
    clearTimeout(this.#settle);
    this.#check();
    const text = this.#text.trim();
    if (this.#problem === null && text !== this.#applied) {
      this.#applied = text;
      this.#onText(text);
    }
    this.#onChange();
  }

  #typed(event: InputEvent): void {
    this.#input = event.target as HTMLInputElement;
    this.#text = this.#input.value;
    this.#suggest();
    clearTimeout(this.#settle);
    // The beginning of a field's name is not yet what is looked for.
    const isName = this.#suggestions.list.some(({ count: calls }) => calls === null);
    if (!isName || this.#text === '') this.#settle = setTimeout(() => this.#apply(), SETTLE_MS);
  }

  #check(): void {
    this.#problem = null;
    try {
      parseFilter(this.#text);
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      this.#problem = error;
    }
  }

  #key(event: KeyboardEvent): void {
    this.#input = event.target as HTMLInputElement;
    const { length } = this.#suggestions.list;
    if (event.key === 'Escape') {
      if (length > 0) this.#close();
      else this.#input.blur();
    } else if (event.key === 'ArrowDown' && length === 0) this.#suggest();
    else if (event.key === 'ArrowDown') this.#choose((this.#chosen + 1) % length);
    else if (event.key === 'ArrowUp' && length > 0) this.#choose(this.#chosen <= 0 ? length - 1 : this.#chosen - 1);
    else if ((event.key === 'Enter' || event.key === 'Tab') && this.#chosen >= 0) this.#accept(this.#chosen);
    else if (event.key === 'Enter') {
      this.#close();
      if (this.#problem === null) this.#onEnter();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #choose(at: number): void {
    this.#chosen = at;
    this.#onChange();
  }

  #accept(at: number): void {
    const input = this.#field();
    const { from, to, list } = this.#suggestions;
    const text = list[at]?.text;
    if (input === null || text === undefined) return;
    // A field waits for its value; a term that is whole is followed by the next.
    const isWhole = !text.endsWith(':');
    const before = `${input.value.slice(0, from)}${text}${isWhole ? ' ' : ''}`;
    this.#text = before + input.value.slice(to).trimStart();
    input.value = this.#text;
    input.setSelectionRange(before.length, before.length);
    input.focus();
    if (isWhole) this.#close();
    else this.#suggest();
  }

  #suggest(): void {
    const input = this.#field();
    if (input === null) return;
    this.#suggestions = suggest(input.value, input.selectionStart ?? input.value.length, this.#calls().slice(-SAMPLE));
    this.#chosen = -1;
    this.#onChange();
  }

  #field(): HTMLInputElement | null {
    this.#input ??= document.querySelector<HTMLInputElement>('#filter');
    return this.#input;
  }
}
