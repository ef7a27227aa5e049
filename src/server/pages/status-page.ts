// The status page: the status document for a person. No script; what can be done is a link where it only looks, a
// command where it changes something.

import { isUsable } from '../../auth/credentials/token-source.ts';
import { humanDuration } from '../../config/values.ts';
import type { CredentialStatus, StatusDocument } from '../routes/status.ts';
import { type Html, html, type Page, renderPage } from './page.ts';

/** Renders it. All links are relative, so that the page works behind a path prefix. */
export function renderStatusPage(status: StatusDocument): Page {
  const body = html`<h1>${HEADINGS[status.status]}</h1>
<p class="soft">Version ${status.version}, running for ${humanDuration(status.uptimeSeconds)}, calls go to ${status.upstream.api}.
This page is what was true when it was loaded; <a href="-/status">the same as JSON</a>.</p>
${storeProblem(status)}${refusedConfiguration(status)}
<h2>Credentials</h2>
${status.credentials.map(renderCredential)}
<h2>Limits of the platform</h2>
${renderLimits(status)}
<h2>Configuration</h2>
<p>${status.configuration.files.length === 0 ? 'No file: defaults, environment and flags.' : `Read from ${status.configuration.files.join(', ')}.`}
Tokens are kept ${status.store.type === 'file' ? 'in an encrypted file' : 'in memory'}. <code>gcg config</code> shows every value and where it came from.</p>`;
  return renderPage({ title: 'Status', body });
}

const HEADINGS = { ready: 'Ready', waiting: 'Waiting for a token', draining: 'Shutting down' } as const;

function storeProblem({ store }: StatusDocument): Html | null {
  return store.error === null
    ? null
    : html`<p class="bad" role="alert">The token store has a problem: ${store.error}</p>`;
}

function refusedConfiguration({ reload }: StatusDocument): Html | null {
  if (!reload?.last || reload.last.applied) return null;
  const { at, problems } = reload.last;
  return html`<div role="alert"><p class="bad">The configuration was changed at ${shortTime(at)} and refused; the one before it is still in use.</p>
<ul>${problems.map((problem) => html`<li>${problem}</li>`)}</ul></div>`;
}

function renderCredential(credential: CredentialStatus): Html {
  const { name, grantType, isDefault, upstream, lastError, login, fingerprint, nextAttemptAt } = credential;
  const id = `credential-${name}`;
  return html`<section class="card" aria-labelledby="${id}">
<div class="head"><h3 id="${id}">${name}</h3>${isDefault && name !== 'default' && html`<span class="soft">default</span>`} <span class="soft">${grantType}</span> ${verdict(credential)}</div>
<dl>
<dt>Token</dt><dd>${tokenWords(credential)}${fingerprint !== null && html` <span class="soft">fingerprint ${fingerprint}</span>`}</dd>
<dt>Renewal</dt><dd>${RENEWALS[credential.renewal]}${nextAttemptAt !== null && `, next attempt at ${shortTime(nextAttemptAt)}`}</dd>
<dt>Region</dt><dd>${upstream.region}</dd>
${lastError !== null && html`<dt>Last failure</dt><dd>${shortTime(lastError.at)}: ${lastError.message}</dd>`}
${login !== null && login.lastError !== null && html`<dt>Last login</dt><dd>failed at ${shortTime(login.lastError.at)}: ${login.lastError.message}</dd>`}
${login !== null && html`<dt>Log in</dt><dd><a href="-/login/${name}">Log in as a person</a>, or run <code>gcg login ${name}</code></dd>`}
<dt>Renew now</dt><dd><code>curl -X POST -H "X-Gateway-Request: 1" ADDRESS/-/credentials/${name}/refresh</code></dd>
</dl>
</section>
`;
}

function verdict({ token, renewal }: CredentialStatus): Html {
  if (isUsable(token)) return html`<span class="good">works</span>`;
  if (renewal === 'login_required') return html`<span class="bad">login needed</span>`;
  if (renewal === 'rejected') return html`<span class="bad">refused</span>`;
  return html`<span class="wait">no token yet</span>`;
}

function tokenWords({ token, secondsLeft, expiresAt }: CredentialStatus): string {
  if (token === 'none') return 'none';
  if (token === 'expired') return 'expired';
  if (secondsLeft === null || expiresAt === null) return 'valid, its end is not known';
  return (
    `valid for ${humanDuration(secondsLeft)} ` +
    `more${token === 'fresh' ? '' : token === 'due' ? ', about to be renewed' : ', but refused by the upstream'}`
  );
}

const RENEWALS: Readonly<Record<CredentialStatus['renewal'], string>> = {
  idle: 'nothing to do',
  running: 'under way',
  backoff: 'failed, will be tried again',
  rejected: 'refused by the platform',
  login_required: 'waits for a person',
};

function renderLimits({ limits, limitsInAll }: StatusDocument): Html {
  if (limits.length === 0) return html`<p>None is known yet; nothing is held back.</p>`;
  const rows = limits.map(
    ({
      name,
      perMinute,
      used,
      waiting,
      pausedMs,
    }) => html`<tr><th scope="row">${name}</th><td>${perMinute ?? 'not known'}</td><td>${used}</td><td>${waiting}</td>
<td>${pausedMs > 0 ? html`<span class="wait">paused for ${humanDuration(Math.ceil(pausedMs / 1000))}</span>` : 'going on'}</td></tr>
`,
  );
  return html`<div class="scroll"><table>
<thead><tr><th scope="col">Limit</th><th scope="col">Calls a minute</th><th scope="col">Used in the last minute</th><th scope="col">Waiting</th><th scope="col">State</th></tr></thead>
<tbody>
${rows}</tbody></table></div>
${limitsInAll > limits.length ? html`<p>${limits.length} of ${limitsInAll} are shown.</p>` : ''}`;
}

function shortTime(iso: string): string {
  return `${iso.slice(0, 19).replace('T', ' ')} UTC`;
}
