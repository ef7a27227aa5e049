// The clients on the status page: what each may do, and what was seen of it.

import type { ClientStatus } from '../routes/client-status.ts';
import { type Html, html } from './page.ts';

const COLUMNS = ['Client', 'May use', 'Rules', 'Last seen', 'Calls', 'Refused', 'Open sockets'];

/** Renders the table; what nobody has counted is a dash. */
export function renderClients(clients: readonly ClientStatus[]): Html {
  if (clients.length === 0) return html`<p>None is configured.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Clients"><table>
<thead><tr>${COLUMNS.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>
${clients.map(renderClient)}</tbody></table></div>`;
}

function renderClient(client: ClientStatus): Html {
  const { name, isAdmin, credentials, lastSeenAt, calls, refused, sockets } = client;
  return html`<tr><th scope="row">${name}${isAdmin && ' (admin)'}</th><td>${credentials.join(', ')}</td>
<td>${ruleWords(client)}</td><td>${lastSeenAt === null ? '-' : `${lastSeenAt.slice(0, 19).replace('T', ' ')} UTC`}</td>
<td>${calls ?? '-'}</td><td>${refused ?? '-'}</td><td>${sockets}</td></tr>
`;
}

/** The rules of a client in a few words. */
export function ruleWords({ rules }: Pick<ClientStatus, 'rules'>): string {
  const { allow, deny, mode } = rules;
  if (allow.length + deny.length === 0) return 'none: all calls';
  const parts = [allow.length > 0 && `allow ${listed(allow)}`, deny.length > 0 && `deny ${listed(deny)}`];
  return `${parts.filter((part) => part !== false).join('; ')}${mode === 'report' ? ' (only reported)' : ''}`;
}

const MOST_RULES = 3;

function listed(rules: readonly string[]): string {
  const rest = rules.length - MOST_RULES;
  return rules.slice(0, MOST_RULES).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
