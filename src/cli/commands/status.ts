// `gcg status`: prints the status document of the running gateway, as a table or as JSON.

import { isUsable } from '../../auth/credentials/token-source.ts';
import { onOneLine } from '../../config/problem.ts';
import { humanDuration } from '../../config/values.ts';
import type { CredentialStatus, StatusDocument } from '../../server/routes/status.ts';
import { createAdminRequest, exitCodeOf, loadOrReport, noGatewayAt, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';

/** 0 when the gateway answered, whatever its state; 69 when none does, 77 when it wants an admin's secret. */
export async function status(args: CommandLine, io: Io): Promise<number> {
  const config = loadOrReport(args, io, false);
  if (typeof config === 'number') return config;
  const response = await createAdminRequest(config, io)('GET', '/-/status').catch((error: Error) => {
    io.stderr.write(`gcg: ${onOneLine(error.message)}\n`);
    return 'failed' as const;
  });
  if (response === 'failed') return EXIT.unavailable;
  if (response === null) {
    io.stderr.write(`gcg: ${noGatewayAt(config)}\n`);
    return EXIT.unavailable;
  }
  if (response.error !== null) {
    io.stderr.write(`gcg: ${refusal(response.error)}\n`);
    return exitCodeOf(response.error);
  }
  const text = args.flags.has('json') ? jsonOf(response.body) : tableOf(response.body);
  if (text === null) {
    io.stderr.write('gcg: what answers there is no gateway of this version: its status cannot be read\n');
    return EXIT.unavailable;
  }
  io.stdout.write(text);
  return EXIT.ok;
}

function jsonOf(body: unknown): string | null {
  return typeof body === 'object' && body !== null ? `${JSON.stringify(body, null, 2)}\n` : null;
}

/** The document as a table; null when it has another shape. */
function tableOf(body: unknown): string | null {
  try {
    return statusTable(body as StatusDocument);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** The document as lines for a person. */
export function statusTable(document: StatusDocument): string {
  const { version, uptimeSeconds, upstream, credentials, limits, limitsInAll, store, reload } = document;
  const lines = [
    `${document.status}: version ${version}, running for ${humanDuration(uptimeSeconds)}, calls go to ${upstream.api}`,
    '',
  ];
  lines.push(
    ...columns([['CREDENTIAL', 'GRANT', 'TOKEN', 'RENEWAL', 'NEXT ATTEMPT'], ...credentials.map(credentialRow)]),
  );
  for (const { name, lastError, login, storeError } of credentials) {
    if (lastError !== null) lines.push(`  ${name}: ${lastError.message} (${lastError.at})`);
    if (login !== null && login.lastError !== null)
      lines.push(`  ${name}: last login failed: ${login.lastError.message} (${login.lastError.at})`);
    if (storeError !== null) lines.push(`  ${name}: store: ${storeError}`);
  }
  if (reload?.last && !reload.last.applied) {
    lines.push('', `the configuration was changed and refused (${reload.last.at}); the one before it is still in use:`);
    for (const problem of reload.last.problems) lines.push(`  ${problem}`);
  }
  if (limits.length > 0) {
    const rows = limits.map(({ name, perMinute, used, waiting, pausedMs }) => [
      name,
      String(perMinute ?? '-'),
      String(used),
      String(waiting),
      pausedMs > 0 ? `paused for ${humanDuration(Math.ceil(pausedMs / 1000))}` : 'going on',
    ]);
    lines.push('', ...columns([['LIMIT', 'PER MINUTE', 'USED', 'WAITING', 'STATE'], ...rows]));
    if (limitsInAll > limits.length) lines.push(`(${limits.length} of ${limitsInAll})`);
  }
  lines.push('', `tokens are kept in ${store.type === 'file' ? 'an encrypted file' : 'memory'}`);
  return `${lines.map(onOneLine).join('\n')}\n`;
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

function columns(rows: readonly string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
