// Making a call again: at once where it changes nothing, after a dialog that says what will be done where it may.

import { html, nothing, render } from 'lit-html';
import type { CallAnswer, ReplayAnswer, ReplayWish } from '../wire.ts';
import { visible } from './format.ts';
import { RequestFailure } from './session.ts';
import type { App } from './view.ts';

/** The request id of the new call; null where none was made. */
export async function replayCall(app: App, answer: CallAnswer): Promise<string | null> {
  const { call, replay } = answer;
  let wish: ReplayWish = {};
  if (replay.needsConfirmation) {
    const confirmed = await confirmReplay(app, answer);
    if (confirmed === null) return null;
    wish = { confirm: confirmed };
  }
  for (;;) {
    try {
      const body = JSON.stringify(wish);
      const path = `calls/${encodeURIComponent(call.requestId)}/replay`;
      return (await app.session.json<ReplayAnswer>(path, { method: 'POST', body })).id;
    } catch (error) {
      const { message } = error as Error;
      const isPaused = error instanceof RequestFailure && error.status === 429 && message.includes(' is paused');
      if (!isPaused || wish.anyway === true) {
        app.tell(`Not made again: ${message}`);
        return null;
      }
      if (!(await confirmPaused(message))) return null;
      wish = { ...wish, anyway: true };
    }
  }
}

/** What was typed or agreed to; null where somebody thought better of it. */
async function confirmReplay(app: App, { call, captured }: CallAnswer): Promise<string | null> {
  const literal = `${call.method} ${call.path}`;
  // What takes something away is spelled out by hand.
  const isTyped = call.method === 'DELETE';
  const organization = await organizationOf(app, call.credential);
  return ask<string>(
    `Make this ${visible(call.method, 40)} again?`,
    (done) => html`<p>This will be done again, in Genesys Cloud, as the caller that did it.</p>
      <dl class="rows">
        ${organization === null ? nothing : html`<dt>Organization</dt><dd>${visible(organization, 120)}</dd>`}
        <dt>Credential</dt><dd>${visible(call.credential ?? '–', 64)}</dd>
        <dt>Client</dt><dd>${visible(call.client ?? 'anonymous', 64)}</dd>
        <dt>Call</dt><dd><code>${visible(literal, 2000)}</code></dd>
        ${
          captured?.requestBody === undefined || captured.requestBody === ''
            ? nothing
            : html`<dt>Body</dt><dd><pre class="body" tabindex="0">${bodyText(captured.requestBody)}</pre></dd>`
        }
      </dl>
      <form
        @submit=${(event: SubmitEvent) => {
          event.preventDefault();
          const typed = new FormData(event.target as HTMLFormElement).get('confirm');
          if (!isTyped || typed === literal) done(literal);
        }}
      >
        ${
          isTyped
            ? html`<label class="typed"
                >Type the call itself
                <input type="text" name="confirm" autocomplete="off" spellcheck="false" required pattern=${patternOf(literal)}
              /></label>`
            : nothing
        }
        <div class="bar">
          <button class="button main">Make it again</button>
          <button class="button" type="button" @click=${() => done(null)}>Cancel</button>
        </div>
      </form>`,
  );
}

function confirmPaused(message: string): Promise<boolean> {
  return ask<true>(
    'A limit is paused',
    (done) => html`<p>${visible(message.replace(/: "anyway".*$/, ''), 500)}. It would take its place before them.</p>
      <div class="bar">
        <button class="button main" @click=${() => done(true)}>Make it all the same</button>
        <button class="button" @click=${() => done(null)}>Cancel</button>
      </div>`,
  ).then((answer) => answer === true);
}

/** Opens a dialog; resolves with what `done` was called with, null where it was closed. */
function ask<T>(title: string, content: (done: (value: T | null) => void) => unknown): Promise<T | null> {
  return new Promise((resolve) => {
    const dialog = document.createElement('dialog');
    dialog.setAttribute('aria-labelledby', 'ask-title');
    let answer: T | null = null;
    render(
      html`<h2 id="ask-title">${title}</h2>
        ${content((value) => {
          answer = value;
          dialog.close();
        })}`,
      dialog,
    );
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Whose data would be changed; null where that is not known, or not told. */
async function organizationOf(app: App, credential: string | undefined): Promise<string | null> {
  interface Status {
    readonly credentials?: readonly { name?: string; identity?: { organization?: { name?: string } | null } | null }[];
  }
  const status = await app.session.json<Status>('status').catch(() => null);
  return status?.credentials?.find(({ name }) => name === credential)?.identity?.organization?.name ?? null;
}

function bodyText(body: string): string {
  return body
    .slice(0, 4000)
    .split('\n')
    .map((line) => visible(line, 4000))
    .join('\n');
}

/** A pattern that only this text passes; no other character may have a backslash there. */
function patternOf(literal: string): string {
  return literal.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
