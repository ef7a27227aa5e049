// What is done rarely with a list of calls: capture headers and bodies for a while, save it as a file, forget it.

import { html, nothing } from 'lit-html';
import { type ExportWish, exportHar } from './export-har.ts';
import type { App } from './view.ts';

const CAPTURE_S = 300;
const CAPTURE_CALLS = 100;

/** The menu for the calls that pass a filter. */
export function moreMenu(app: App, filter: string) {
  const { rights, capture } = app.live;
  const which = filter === '' ? 'all calls' : 'calls that pass the filter';
  return html`<p class="soft">${capture?.what == null ? `Of ${which}:` : 'Headers or bodies are being captured.'}</p>
    ${
      rights?.capture !== true
        ? nothing
        : capture?.what == null
          ? html`${item('Capture headers for 5 min', () => captureFor(app, 'headers', filter))}
            ${item('Capture headers and bodies for 5 min', () => captureFor(app, 'bodies', filter))}`
          : item('Stop capturing', () => stopCapture(app))
    }
    ${item('Save as HAR', () => exportHar(app, { f: filter }))}
    ${
      rights?.sees === 'all'
        ? item('Save as HAR, with the shape of bodies', () =>
            exportHar(app, { f: filter, bodies: 'shape' } as ExportWish),
          )
        : nothing
    }
    ${rights?.clear === true ? item('Forget all calls', () => forget(app)) : nothing}`;
}

function item(word: string, run: () => void) {
  return html`<button class="button plain item" @click=${run}>${word}</button>`;
}

async function captureFor(app: App, what: 'headers' | 'bodies', f: string): Promise<void> {
  const body = JSON.stringify({ what, f, seconds: CAPTURE_S, calls: CAPTURE_CALLS });
  await change(app, 'capture', { method: 'POST', body }, `Captured are the next ${CAPTURE_CALLS} calls, for 5 minutes`);
}

/** Ends a capture before its time. What it kept stays for ten minutes. */
export function stopCapture(app: App): Promise<void> {
  return change(app, 'capture', { method: 'DELETE' }, 'Nothing is captured any more');
}

async function forget(app: App): Promise<void> {
  await change(app, 'calls', { method: 'DELETE' }, 'All calls are forgotten');
}

async function change(app: App, path: string, init: RequestInit, done: string): Promise<void> {
  try {
    await app.session.request(path, init);
    app.tell(done);
  } catch (error) {
    app.tell(`Not done: ${(error as Error).message}`);
  }
}
