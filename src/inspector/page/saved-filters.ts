// Filters that a person has named, kept in this browser: names and filters, nothing of any call.

import { html, nothing } from 'lit-html';
import { visible } from './format.ts';

/** A filter with a name. */
interface SavedFilter {
  readonly name: string;
  readonly filter: string;
}

const STORED = 'gcg-inspector-filters';
const MOST = 50;

/** All saved filters; none where what is stored cannot be read. */
function savedFilters(): SavedFilter[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(STORED) ?? '[]');
    return Array.isArray(stored) ? stored.filter(isSavedFilter).slice(0, MOST) : [];
  } catch {
    return [];
  }
}

/** Saves a filter; one of the same name gives way. */
function saveFilter(name: string, filter: string): void {
  store([{ name, filter }, ...savedFilters().filter((one) => one.name !== name)]);
}

function forgetFilter(name: string): void {
  store(savedFilters().filter((one) => one.name !== name));
}

function store(filters: readonly SavedFilter[]): void {
  localStorage.setItem(STORED, JSON.stringify(filters.slice(0, MOST)));
}

function isSavedFilter(value: unknown): value is SavedFilter {
  const { name, filter } = (value ?? {}) as Partial<Record<string, unknown>>;
  return typeof name === 'string' && typeof filter === 'string' && name.length <= 64 && filter.length <= 1024;
}

/** The list of saved filters, and a form to save the one in use. `onChange` is told when the list is another one. */
export function savedMenu(filter: string, ask: (filter: string) => void, onChange: () => void) {
  const saved = savedFilters();
  const save = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const name = new FormData(form).get('name');
    if (typeof name !== 'string' || name.trim() === '') return;
    saveFilter(name.trim(), filter);
    form.reset();
    onChange();
  };
  const forget = (name: string) => {
    forgetFilter(name);
    onChange();
  };
  return html`${saved.length === 0 ? html`<p class="soft">No filter is saved yet.</p>` : nothing}
    ${saved.map(
      ({ name, filter: one }) =>
        html`<div class="saved">
          <button class="button plain" title=${visible(one, 200)} @click=${() => ask(one)}>${visible(name, 64)}</button>
          <button class="button plain" aria-label="Forget ${visible(name, 64)}" @click=${() => forget(name)}>×</button>
        </div>`,
    )}
    <form @submit=${save}>
      <input type="text" name="name" maxlength="64" required aria-label="Name for this filter" placeholder="Name" />
      <button class="button" ?disabled=${filter === ''}>Save</button>
    </form>`;
}
