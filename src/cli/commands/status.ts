// `gcg status`: prints the status document of the running gateway, as a table or as JSON.

import { isUsable } from '../../auth/credentials/token-source.ts';
import { onOneLine } from '../../config/problem.ts';
import { humanDuration } from '../../config/values.ts';
import {
  auditWords,
  channelWords,
  READ_ONLY,
  ruleWords,
  SOURCES,
  stateWords,
  tokenWords,
  tracingWords,
} from '../../server/pages/status-words.ts';
import type { RefusalStatus } from '../../server/refusals.ts';
import type { ClientStatus } from '../../server/routes/client-status.ts';
import type { CredentialStatus, StatusDocument } from '../../server/routes/status.ts';
import { storeWords } from '../../server/routes/store-status.ts';
import type { CommandLine } from '../args.ts';
import { showDocument } from '../document.ts';
import type { Io } from '../io.ts';
import { columns } from '../table.ts';
import { whoInWords } from '../who-is-it.ts';

/**
 * 0 when the gateway answered, whatever its state; 69 when none does, or 78 where none would start either; 77 when it
 * wants an admin's secret.
 */
export async function status(args: CommandLine, io: Io): Promise<number> {
  return showDocument(args, io, { path: '/-/status', what: 'status', table: statusTable });
}

/** What a gateway does that is about to end. */
const DRAINING = ' (it ends when the calls in progress are done, at the latest after server.drain_timeout)';

/** The document as lines for a person. */
export function statusTable(document: StatusDocument): string {
  const { version, uptimeSeconds, upstream, credentials, limits, limitsInAll, store, reload } = document;
  const { clients = [], refusals = [] } = document as Partial<StatusDocument>;
  const state = `${document.status}${document.status === 'draining' ? DRAINING : ''}`;
  const lines = [
    `${state}: version ${version}, running for ${humanDuration(uptimeSeconds)}, calls go to ${upstream.api}`,
    '',
  ];
  lines.push(
    ...columns([['CREDENTIAL', 'GRANT', 'TOKEN', 'RENEWAL', 'NEXT ATTEMPT'], ...credentials.map(credentialRow)]),
  );
  for (const {
    name,
    lastError,
    login,
    storeError,
    identity,
    identityProblem,
    tokens = null,
    maxTokens,
  } of credentials) {
    const who = whoInWords(identity);
    if (who !== null) lines.push(`  ${name}: ${who}`);
    if (identityProblem) lines.push(`  ${name}: whose it is, is not known: ${identityProblem}`);
    if (lastError !== null) lines.push(`  ${name}: ${lastError.message} (${lastError.at})`);
    if (login !== null && login.lastError !== null)
      lines.push(`  ${name}: last login failed: ${login.lastError.message} (${login.lastError.at})`);
    for (const token of tokens ?? []) lines.push(`  ${name}: ${tokenWords(token)}`);
    if (tokens !== null && tokens.length < maxTokens)
      lines.push(`  ${name}: up to ${maxTokens} tokens, as they are needed`);
    if (storeError !== null) lines.push(`  ${name}: store: ${storeError}`);
  }
  if (reload?.last && !reload.last.applied) {
    lines.push('', `the configuration was changed and refused (${reload.last.at}); the one before it is still in use:`);
    for (const problem of reload.last.problems) lines.push(`  ${problem}`);
  }
  if (clients.length > 0) lines.push('', ...clientTable(clients));
  if (limits.length > 0) {
    const rows = limits.map(({ name, perMinute, source, used, waiting, pausedMs }) => [
      name,
      String(perMinute ?? '-'),
      source ? SOURCES[source] : '-',
      String(used),
      String(waiting),
      pausedMs > 0 ? `paused for ${humanDuration(Math.ceil(pausedMs / 1000))}` : 'going on',
    ]);
    lines.push('', ...columns([['LIMIT', 'PER MINUTE', 'KNOWN FROM', 'USED', 'WAITING', 'STATE'], ...rows]));
    if (limitsInAll > limits.length) lines.push(`(${limits.length} of ${limitsInAll})`);
  }
  if (refusals.length > 0) lines.push('', 'refused by Genesys Cloud of late:', ...refusals.map(refusalText));
  const expiring = (document.certificates ?? []).flatMap(({ warning }) => warning ?? []);
  if (expiring.length > 0) lines.push('', ...expiring);
  const many = (document.channels ?? []).flatMap((account) => channelWords(account) ?? []);
  if (many.length > 0) lines.push('', ...many);
  lines.push('');
  if (document.readOnly) lines.push(READ_ONLY);
  if (document.inspector) lines.push(liveWords(document.inspector));
  if (document.audit) lines.push(auditWords(document.audit));
  if (document.tracing) lines.push(tracingWords(document.tracing));
  lines.push(storeWords(store));
  if (store.type === 'redis' && store.error !== null) lines.push(`store: ${store.error}`);
  return `${lines.map(onOneLine).join('\n')}\n`;
}

function liveWords({ pages: [page], for: whom, watchers }: NonNullable<StatusDocument['inspector']>): string {
  const names = watchers.map(({ client, peer }) => client ?? peer ?? 'somebody');
  const now = names.length === 0 ? '' : `; watching now: ${names.join(', ')}`;
  return `live page${page === undefined ? '' : ` ${page}`}: for ${whom}${now}`;
}

function refusalText({ client, status, count, lastAt, explanation }: RefusalStatus): string {
  return `  ${client ?? 'anonymous callers'}: ${status}, ${count} times, last ${lastAt}: ${explanation}`;
}

function credentialRow({
  name,
  isDefault,
  grantType,
  token,
  secondsLeft,
  renewal,
  nextAttemptAt,
}: CredentialStatus): string[] {
  const life = isUsable(token)
    ? `, ${secondsLeft === null ? 'end not known' : `${humanDuration(secondsLeft)} left`}`
    : '';
  return [isDefault ? `${name} *` : name, grantType, `${token}${life}`, renewal, nextAttemptAt ?? '-'];
}

/** So many rules of a list are shown; `gcg client list` shows them all. */
const MOST_RULES = 3;

function clientTable(clients: readonly ClientStatus[]): string[] {
  const rows = clients.map((client) => [
    client.isAdmin ? `${client.name} (admin)` : client.name,
    stateWords(client),
    client.credentials.join(', ') || '-',
    client.lastSeenAt ?? '-',
    String(client.calls ?? '-'),
    String(client.refused ?? '-'),
    String(client.sockets),
    ruleWords(client, MOST_RULES),
  ]);
  return columns([['CLIENT', 'STATE', 'MAY USE', 'LAST SEEN', 'CALLS', 'REFUSED', 'SOCKETS', 'RULES'], ...rows]);
}
