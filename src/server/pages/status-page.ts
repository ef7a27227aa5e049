// The status page: the status document for a person. No script; what can be done is a link where it only looks, a
// command where it changes something.

import { isUsable } from '../../auth/credentials/token-source.ts';
import { humanDuration } from '../../config/values.ts';
import type { Named } from '../../upstream/own-calls.ts';
import type { CredentialStatus, StatusDocument } from '../routes/status.ts';
import { storeWords } from '../routes/store-status.ts';
import { renderClients } from './client-table.ts';
import { type Html, html, type Page, renderPage } from './page.ts';
import {
  auditWords,
  channelWords,
  tokenWords as oneOfSeveralWords,
  READ_ONLY,
  SOURCES,
  tracingWords,
} from './status-words.ts';

/** What a page knows of its reader. */
export interface StatusView {
  /** This gateway's address, for commands to copy; null where it cannot be told. */
  readonly address: string | null;
  /** Seconds after which the page loads itself again; null: it does not. */
  readonly refreshS: number | null;
  /** Whether calls can be looked at where this page is. */
  readonly hasLivePage?: boolean;
}

/** Renders the status page. All links are relative, so that the page works behind a path prefix. */
export function renderStatusPage(status: StatusDocument, { address, refreshS, hasLivePage = false }: StatusView): Page {
  const base = address ?? 'ADDRESS';
  const body = html`<h1>${HEADINGS[status.status]}</h1>
<p class="soft">Version ${status.version}, running for ${humanDuration(status.uptimeSeconds)},
calls go to ${status.upstream.api}.
${refreshWords(refreshS)} <a href="-/status">The same as JSON</a>.</p>
${hasLivePage && html`<p><a href="-/ui/">Calls as they happen</a>, why they fail and where their time goes.</p>`}
${address === null && html`<p class="soft">In the commands below, ADDRESS stands for the address of this gateway.</p>`}
${storeProblem(status)}${auditProblem(status)}${refusedConfiguration(status)}${expiringCertificates(status)}${manyChannels(status)}
<h2>Credentials</h2>
${status.credentials.map((credential) => renderCredential(credential, base, status.clients.length > 0))}
<h2>Clients</h2>
${renderClients(status.clients)}
${status.readOnly && html`<p>${capital(READ_ONLY)}.</p>`}
<h2>Limits of the platform</h2>
${renderLimits(status)}
<h2>Configuration</h2>
<p>${readFrom(status)}
${capital(storeWords(status.store))}.
${status.audit?.failure === null && `${capital(auditWords(status.audit))}.`}
${status.tracing !== null && `${capital(tracingWords(status.tracing))}.`}
<code>gcg config</code> shows every value and where it came from.</p>`;
  return renderPage({ title: 'Status', body, refreshS });
}

function refreshWords(refreshS: number | null): Html {
  return refreshS === null
    ? html`This page is what was true when it was loaded; <a href="?refresh=5">load it again every 5 s</a>.`
    : html`This page is loaded again every ${refreshS} s; <a href="./">stop that</a>.`;
}

function readFrom({ configuration: { files } }: StatusDocument): string {
  return files.length === 0 ? 'No file: defaults, environment and flags.' : `Read from ${files.join(', ')}.`;
}

const HEADINGS = { ready: 'Ready', waiting: 'Waiting for a token', draining: 'Shutting down' } as const;

function storeProblem({ store }: StatusDocument): Html | null {
  return store.error === null
    ? null
    : html`<p class="bad" role="alert">The token store has a problem: ${store.error}</p>`;
}

function auditProblem({ audit }: StatusDocument): Html | null {
  return audit === null || audit.failure === null
    ? null
    : html`<p class="bad" role="alert">${capital(auditWords(audit))}.</p>`;
}

function capital(words: string): string {
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}

function expiringCertificates({ certificates }: StatusDocument): readonly Html[] {
  return certificates.flatMap(({ warning }) =>
    warning === null ? [] : [html`<p class="bad" role="alert">Soon to end: ${warning}.</p>`],
  );
}

function manyChannels({ channels }: StatusDocument): readonly Html[] {
  return channels.flatMap((account) => {
    const words = channelWords(account);
    return words === null ? [] : [html`<p class="wait" role="alert">${capital(words)}.</p>`];
  });
}

function refusedConfiguration({ reload }: StatusDocument): Html | null {
  if (!reload?.last || reload.last.applied) return null;
  const { at, problems } = reload.last;
  const told = `The configuration was changed at ${shortTime(at)} and refused; the one before it is still in use.`;
  return html`<div role="alert"><p class="bad">${told}</p>
<ul>${problems.map((problem) => html`<li>${problem}</li>`)}</ul></div>`;
}

function renderCredential(credential: CredentialStatus, base: string, hasClients: boolean): Html {
  const { name, grantType, isDefault, upstream, lastError, login, fingerprint, nextAttemptAt } = credential;
  const id = `credential-${name}`;
  return html`<section class="card" aria-labelledby="${id}">
<div class="head"><h3 id="${id}">${name}</h3>${
    isDefault && name !== 'default' && html`<span class="soft">default</span>`
  } <span class="soft">${grantType}</span> ${verdict(credential)}</div>
<dl>
<dt>Token</dt><dd>${tokenWords(credential)}${
    fingerprint !== null && html` <span class="soft">fingerprint ${fingerprint}</span>`
  }</dd>
<dt>Renewal</dt><dd>${RENEWALS[credential.renewal]}${
    nextAttemptAt !== null && `, next attempt at ${shortTime(nextAttemptAt)}`
  }</dd>
${renderTokens(credential)}<dt>Region</dt><dd>${upstream.region}</dd>
${renderIdentity(credential)}${lastError !== null && html`<dt>Last failure</dt><dd>${shortTime(lastError.at)}: ${lastError.message}</dd>`}
${login !== null && renderLogin(credential, login)}
<dt>Try</dt><dd>${renderTry(credential, base)}</dd>
<dt>Renew now</dt><dd><code>curl -X POST -H "X-Gateway-Request: 1"${
    hasClients && ADMIN_PROOF
  } ${base}/-/credentials/${name}/refresh</code></dd>
</dl>
</section>
`;
}

function renderTokens({ tokens, maxTokens }: CredentialStatus): Html | null {
  if (tokens === null) return null;
  return html`<dt>Tokens</dt><dd>${tokens.length} of at most ${maxTokens}<ul>${tokens.map(
    (token) => html`<li>${oneOfSeveralWords(token)}</li>`,
  )}</ul></dd>
`;
}

/** What an administrator shows where clients are configured. */
const ADMIN_PROOF = ' -H "X-Gateway-Key: SECRET-OF-AN-ADMIN"';

function renderTry({ name, basePath, usableBy, login }: CredentialStatus, base: string): Html {
  const url = `${base}${basePath}/api/v2/${login === null ? 'organizations/me' : 'users/me'}`;
  if (usableBy.anonymous) return html`<code>curl ${url}</code>`;
  if (usableBy.clients.length > 0) return html`<code>curl -H "X-Gateway-Key: SECRET-OF-A-CLIENT" ${url}</code>`;
  return html`nobody may use it yet: add <code>${name}</code> to <code>server.anonymous_credentials</code>, or to the
<code>credential</code> list of a <code>[client.NAME]</code>`;
}

function renderIdentity({ identity = null, identityProblem = null }: CredentialStatus): Html {
  const { organization = null, user = null, oauthClient = null } = identity ?? {};
  return html`${
    organization !== null &&
    html`<dt>Organisation</dt><dd>${named(organization)}</dd>
`
  }${
    user !== null &&
    html`<dt>User</dt><dd>${named(user)}</dd>
`
  }${
    oauthClient !== null &&
    html`<dt>OAuth client</dt><dd>${named(oauthClient)}</dd>
`
  }${
    identityProblem !== null &&
    html`<dt>Whose it is</dt><dd>${identity === null ? 'not known' : 'not wholly known'}: ${identityProblem}</dd>
`
  }`;
}

function named({ id, name }: Named): Html {
  return html`${name}${id !== name && html` <span class="soft">${id}</span>`}`;
}

function renderLogin({ name, token }: CredentialStatus, { lastError }: NonNullable<CredentialStatus['login']>): Html {
  const isLoggedIn = isUsable(token);
  return html`${
    lastError !== null &&
    html`<dt>Last login</dt><dd>failed at ${shortTime(lastError.at)}: ${lastError.message}</dd>
`
  }<dt>Log in</dt><dd><a href="-/login/${name}">${isLoggedIn ? 'Log in again, or as somebody else' : 'Log in as a person'}</a>,
or run <code>gcg login ${name}</code></dd>
${
  isLoggedIn &&
  html`<dt>Log out</dt><dd>run <code>gcg logout ${name}</code>, with <code>--revoke</code> to end the token at
Genesys Cloud, too</dd>`
}`;
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
  return html`<div class="scroll"><table>
<thead><tr>${LIMIT_COLUMNS.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>
${limits.map(renderLimit)}</tbody></table></div>
${limitsInAll > limits.length ? html`<p>${limits.length} of ${limitsInAll} are shown.</p>` : ''}`;
}

const LIMIT_COLUMNS = ['Limit', 'Calls a minute', 'Known from', 'Used in the last minute', 'Waiting', 'State'];

function renderLimit({ name, perMinute, source, used, waiting, pausedMs }: StatusDocument['limits'][number]): Html {
  const pause = humanDuration(Math.ceil(pausedMs / 1000));
  const state = pausedMs > 0 ? html`<span class="wait">paused for ${pause}</span>` : 'going on';
  return html`<tr><th scope="row">${name}</th><td>${perMinute ?? 'not known'}</td><td>${source === null ? '' : SOURCES[source]}</td><td>${used}</td><td>${waiting}</td>
<td>${state}</td></tr>
`;
}

function shortTime(iso: string): string {
  return `${iso.slice(0, 19).replace('T', ' ')} UTC`;
}
