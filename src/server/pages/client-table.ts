// The clients on the status page: what each may do, and what was seen of it.

import type { ClientStatus } from '../routes/client-status.ts';
import { type Html, html } from './page.ts';
import { ruleWords, stateWords } from './status-words.ts';

const COLUMNS = ['Client', 'State', 'May use', 'Rules', 'Last seen', 'Calls', 'Refused', 'Open sockets'];

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
  return html`<tr><th scope="row">${name}${isAdmin && ' (admin)'}</th><td>${renderState(client)}</td>
<td>${credentials.join(', ')}</td>
<td>${ruleWords(client, MOST_RULES)}</td><td>${lastSeenAt === null ? '-' : `${lastSeenAt.slice(0, 19).replace('T', ' ')} UTC`}</td>
<td>${calls ?? '-'}</td><td>${refused ?? '-'}</td><td>${sockets}</td></tr>
`;
}

function renderState(client: ClientStatus): Html {
  return client.state === 'active' ? html`${stateWords(client)}` : html`<span class="bad">${stateWords(client)}</span>`;
}

/** So many rules of a list are shown; `gcg client list` shows them all. */
const MOST_RULES = 3;
