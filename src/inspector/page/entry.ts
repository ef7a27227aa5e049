// The way in for who has no key: what to do on the gateway's machine, and a field for the secret of a client.

import { html, nothing, render } from 'lit-html';
import { visible } from './format.ts';
import type { Session } from './session.ts';

/** Shows the way in; `onEntered` is told when there is a key. The secret stays in its field until it is sent. */
export function showEntry(session: Session, host: HTMLElement, message: string, onEntered: () => void): void {
  let problem: string | null = null;
  let isAsking = false;
  const enter = async (event: SubmitEvent) => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).elements.namedItem('secret') as HTMLInputElement;
    const secret = field.value;
    if (secret === '' || isAsking) return;
    isAsking = true;
    problem = null;
    show();
    try {
      await session.enter(secret);
      onEntered();
      return;
    } catch (error) {
      problem = (error as Error).message;
    } finally {
      field.value = '';
      isAsking = false;
    }
    show();
    field.focus();
  };
  const show = () =>
    render(
      html`<div class="entry">
        <h1>Who are you?</h1>
        <p>${sentence(message)}</p>
        <section class="card">
          <h2>On the gateway's machine</h2>
          <p><code>gcg open</code> opens this page with a key that lasts until the gateway ends.</p>
        </section>
        <section class="card">
          <h2>From elsewhere</h2>
          <form @submit=${enter}>
            <label for="secret">Secret of a client that may administer</label>
            <input
              id="secret"
              name="secret"
              type="password"
              autocomplete="off"
              spellcheck="false"
              aria-describedby=${problem === null ? nothing : 'refused'}
              required
            />
            ${problem === null ? nothing : html`<p class="bad" id="refused" role="alert">${sentence(problem)}</p>`}
            <button class="button main" ?disabled=${isAsking}>Enter</button>
            <p class="soft">It is sent once, for a key that ends after 30 minutes without use, and is not kept.</p>
          </form>
        </section>
        <p class="soft">The <a href="../../">status page</a> shows what may be seen without.</p>
      </div>`,
      host,
    );
  show();
}

function sentence(text: string): string {
  const shown = visible(text, 500);
  return `${shown.charAt(0).toUpperCase()}${shown.slice(1)}${/[.!?]$/.test(shown) ? '' : '.'}`;
}
