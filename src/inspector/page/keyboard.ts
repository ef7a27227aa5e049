// The keyboard: keys of the page and of the view that is open. Single letters do nothing in fields, and can be switched
// off (WCAG 2.1.4).

import type { Key } from './view.ts';

const SWITCH = 'gcg-inspector-keys';
/** How long the second key of a pair may take. */
const PAIR_MS = 1500;

/** Whether single letters do something. Kept in this browser. */
export function areLettersOn(): boolean {
  return localStorage.getItem(SWITCH) !== 'off';
}

/** Switches single letters on or off. */
export function switchLetters(isOn: boolean): void {
  if (isOn) localStorage.removeItem(SWITCH);
  else localStorage.setItem(SWITCH, 'off');
}

/** Hands keys on to whoever has them: `keys` are asked at each key, those of the view first; `pairs` come after `g`. */
export class Keyboard {
  readonly #keys: () => readonly Key[];
  readonly #pairs: () => readonly Key[];
  #pairUntil = 0;

  constructor(keys: () => readonly Key[], pairs: () => readonly Key[]) {
    this.#keys = keys;
    this.#pairs = pairs;
    addEventListener('keydown', (event) => this.#press(event));
  }

  #press(event: KeyboardEvent): void {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector('dialog[open]') !== null) return;
    const element = target instanceof HTMLElement ? target : document.body;
    const isLetter = key.length === 1;
    if (isTyping(element) || (isLetter && !areLettersOn())) return;
    // Enter on a link or button is theirs; so are the arrows of a chart or a menu.
    if (!isLetter && key !== 'Escape' && element.closest('a,button,summary,select,[role=slider]') !== null) return;
    if (this.#pairUntil > event.timeStamp) {
      this.#pairUntil = 0;
      this.#run(this.#pairs(), event);
    } else if (key === 'g') this.#pairUntil = event.timeStamp + PAIR_MS;
    else this.#run(this.#keys(), event);
  }

  #run(keys: readonly Key[], event: KeyboardEvent): void {
    const found = keys.find((one) => one.keys.includes(event.key));
    if (found === undefined) return;
    event.preventDefault();
    found.run();
  }
}

function isTyping(element: HTMLElement): boolean {
  return element.matches('input:not([type=checkbox]):not([type=radio]),textarea,select') || element.isContentEditable;
}
