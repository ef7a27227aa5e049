// The HTML of the simulated login: one form to choose a person, one page for what went wrong or has ended. No script.

import { createHash } from 'node:crypto';
import { type AuthorizeRequest, toFormActionSource } from './authorize-request.ts';
import type { SandboxUser } from './directory.ts';

const STYLE = `body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
.notice{border-left:.3rem solid #b45309;padding:.5rem 1rem;background:#fef3c7}
select,button{font:inherit;padding:.4rem .8rem;margin:.3rem .5rem .3rem 0}
label{display:block;font-weight:600}`;
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/** A page and the headers it must go with. */
export interface Page {
  html: string;
  headers: Record<string, string>;
}

/** The form. `transaction` names the request when the form comes back. */
export function renderLoginPage(
  request: AuthorizeRequest,
  users: readonly SandboxUser[],
  transaction: string,
  chosen: string | undefined,
): Page {
  const options = users.map((user) => {
    const selected = user.id === chosen ? ' selected' : '';
    return `<option value="${escapeHtml(user.id)}"${selected}>${escapeHtml(`${user.name} (${user.email}), ${user.title}`)}</option>`;
  });
  const facts = [
    request.org !== undefined && `Organization ${request.org}, identity provider ${request.provider}.`,
    request.target !== undefined && `Access to authorized organization ${request.target}.`,
  ].filter((fact) => fact !== false);
  return renderPage(
    'Log in',
    `<p><strong>${escapeHtml(request.client.name)}</strong> asks for access. You will return to ${escapeHtml(new URL(request.redirectUri).host || request.redirectUri)}.</p>
${facts.map((fact) => `<p>${escapeHtml(fact)}</p>`).join('\n')}
<form method="post" action="/oauth/authorize">
<input type="hidden" name="transaction" value="${escapeHtml(transaction)}">
<label for="user">Log in as</label>
<select id="user" name="user">
${options.join('\n')}
</select>
<p><button type="submit" name="decision" value="allow">Log in</button>
<button type="submit" name="decision" value="deny">Refuse</button></p>
</form>`,
    `'self' ${toFormActionSource(request.redirectUri)}`,
  );
}

/** A page that only says something. */
export function renderMessagePage(title: string, text: string): Page {
  return renderPage(title, `<p>${escapeHtml(text)}</p>`, "'none'");
}

function renderPage(title: string, body: string, formAction: string): Page {
  return {
    html: `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)} - simulation</title>
<style>${STYLE}</style></head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p class="notice">This is a simulation for development and tests. It is not Genesys Cloud, and no password is needed.</p>
${body}
</main>
</body>
</html>
`,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy':
        `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; form-action ${formAction}; frame-ancestors 'none'; ` +
        `base-uri 'none'`,
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
      'Cache-Control': 'no-store',
    },
  };
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}
