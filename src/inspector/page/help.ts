// The list of keys, their switch, and the way out.

import { html, render } from 'lit-html';
import { areLettersOn, switchLetters } from './keyboard.ts';
import type { Key } from './view.ts';

const NAMES: Readonly<Record<string, string>> = { ArrowDown: '↓', ArrowUp: '↑', Escape: 'Esc' };

/** Opens the help as a dialog. `pairs` are keys after `g`; `onLeave` forgets who looks. */
export function openHelp(keys: readonly Key[], pairs: readonly Key[], onLeave: () => void): void {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', 'help-title');
  render(
    html`<h2 id="help-title">Keys</h2>
      <dl class="keys">
        ${keys.map(({ keys: names, means }) => line(names, means))}
        ${pairs.map(({ keys: [key = ''], means }) => line([`g ${key}`], means))}
      </dl>
      <label
        ><input
          type="checkbox"
          .checked=${areLettersOn()}
          @change=${(event: Event) => switchLetters((event.target as HTMLInputElement).checked)}
        />Keys that are letters or signs</label
      >
      <div class="bar">
        <a class="button" href="../../">Status page</a>
        <button
          class="button"
          @click=${() => {
            dialog.close();
            onLeave();
          }}
        >
          Forget my key
        </button>
        <span class="gap"></span>
        <button class="button main" @click=${() => dialog.close()}>Close</button>
      </div>`,
    dialog,
  );
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
}

function line(names: readonly string[], means: string) {
  return html`<div><dt>${names.map((name) => html`<kbd>${NAMES[name] ?? name}</kbd> `)}</dt><dd>${means}</dd></div>`;
}
