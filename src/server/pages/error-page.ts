// The page that a browser gets in the place of an error document, at the addresses that people open.

import type { GatewayError } from '../../errors.ts';
import { html, type Page, renderPage } from './page.ts';

/** An error for a person. `statusHref` leads to the status page, where there is one to be seen. */
export function renderErrorPage(
  { message, code, statusCode }: Pick<GatewayError, 'message' | 'code' | 'statusCode'>,
  requestId: string,
  statusHref: string | null,
): Page {
  const body = html`<h1 class="bad">${HEADINGS[statusCode] ?? 'This did not work'}</h1>
<p role="alert">${message.charAt(0).toUpperCase()}${message.slice(1)}.</p>
<p class="soft">${statusCode} <code>${code}</code>, request <code>${requestId}</code></p>
${statusHref !== null && html`<p><a href="${statusHref}">Status of the gateway</a></p>`}`;
  return renderPage({ title: 'Error', body, isNarrow: true });
}

const HEADINGS: Readonly<Record<number, string>> = {
  401: 'Who are you?',
  403: 'Not for you',
  404: 'There is nothing here',
  405: 'Not in this way',
  503: 'Not now',
};
