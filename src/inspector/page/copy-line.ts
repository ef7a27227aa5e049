// Copying text: by the clipboard where the browser lets a page have it, by a selection elsewhere (plain http of another
// machine).

import { html } from 'lit-html';
import type { App } from './view.ts';

/** Copies a text, and says so. */
export async function copyText(text: string, app: App): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    app.tell('Copied');
  } catch {
    app.tell(copyBySelection(text) ? 'Copied' : 'Not copied: select the text and copy it');
  }
}

/** A line to copy, with its button. */
export function copyLine(text: string, app: App) {
  return html`<div class="copy">
    <code>${text}</code>
    <button class="button" @click=${(event: Event) => copyFrom(event, text, app)}>Copy</button>
  </div>`;
}

/** A button that copies, and shows that it did. */
export async function copyFrom(event: Event, text: string, app: App): Promise<void> {
  const button = event.currentTarget as HTMLButtonElement;
  await copyText(text, app);
  button.classList.add('done');
  setTimeout(() => button.classList.remove('done'), 1500);
}

function copyBySelection(text: string): boolean {
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'sr';
  document.body.append(field);
  const before = document.activeElement;
  field.select();
  // Deprecated, and the only way on an origin that is not trustworthy.
  const isCopied = document.execCommand('copy');
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return isCopied;
}
