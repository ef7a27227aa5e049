// `gcg client list`: who may call, when each was last seen and with which secret. From the running gateway; without one,
// from the configuration, which has seen nobody.

import { createAccess } from '../../auth/callers/access.ts';
import { ANONYMOUS } from '../../auth/callers/caller.ts';
import { digestOf, secretFingerprint } from '../../auth/callers/clients.ts';
import type { ClientConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { onOneLine } from '../../config/problem.ts';
import { humanDuration } from '../../config/values.ts';
import { isAnonymousServed } from '../../server/listener-plan.ts';
import { READ_ONLY, ruleWords, stateWords } from '../../server/pages/status-words.ts';
import type { AnonymousStatus, ClientStatus } from '../../server/routes/client-status.ts';
import type { StatusDocument } from '../../server/routes/status.ts';
import { askStatus, createAdminRequest, loadOrReport, noGatewayAt, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { otherVersion, shownOrNull } from '../document.ts';
import { EXIT, type Io } from '../io.ts';
import { columns } from '../table.ts';

/** What is listed, and where it comes from. */
type Listed = Pick<StatusDocument, 'clients' | 'anonymous' | 'readOnly'> & { readonly source: 'gateway' | 'file' };

/** Exit code 0, also where no gateway runs; 69 for the answer of another version. */
export async function listClients(args: CommandLine, io: Io): Promise<number> {
  const config = loadOrReport(args, io, false);
  if (typeof config === 'number') return config;
  const running = await findStatus(config, io);
  const listed = running === null ? listedOf(config) : { ...running, source: 'gateway' as const };
  if (args.flags.has('json')) {
    const { source, readOnly, clients, anonymous } = listed;
    io.stdout.write(`${JSON.stringify({ source, readOnly, clients, anonymous }, null, 2)}\n`);
    return EXIT.ok;
  }
  const text = shownOrNull(listed, () => `${tableOf(listed, Date.now()).map(onOneLine).join('\n')}\n`);
  if (text === null) {
    io.stderr.write(otherVersion('status'));
    return EXIT.unavailable;
  }
  io.stdout.write(text);
  return EXIT.ok;
}

/** The running gateway's document; null, after saying why, where there is none that tells of clients. */
export async function findStatus(config: GatewayConfig, io: Io): Promise<StatusDocument | null> {
  const status = await askStatus(createAdminRequest(config, io));
  const document = status?.body as StatusDocument | null | undefined;
  if (status?.error === null && Array.isArray(document?.clients)) return document as StatusDocument;
  const why = status?.error ? refusal(status.error) : noGatewayAt(config);
  io.stderr.write(`note: from the configuration alone, what was seen is not known: ${why}\n`);
  return null;
}

/** The fingerprints of a client's secrets, as far as they can be read now. */
export function fingerprintsOf({ secret, secretSha256 }: ClientConfig): readonly string[] {
  const digests = [...secretSha256];
  try {
    if (secret !== null) digests.push(digestOf(secret.read().reveal()).toString('hex'));
  } catch {
    // Its file is not there now; the configuration says so where it is read.
  }
  return digests.map((digest) => secretFingerprint(digest) ?? '');
}

function listedOf(config: GatewayConfig): Listed {
  const access = createAccess(config);
  const unseen = { calls: 0, refused: 0, lastSeenAt: null };
  const { anonymousAllow, anonymousDeny, readOnly } = config.server;
  const clients = config.clients.map((client): ClientStatus => {
    const { name, expiresAt, isAdmin, allow, deny, mode, from, certSubject } = client;
    const fingerprints = [...fingerprintsOf(client), ...(certSubject === null ? [] : [null])];
    const left = expiresAt === null ? null : Math.max(0, Math.floor((expiresAt - Date.now()) / 1000));
    return {
      name,
      state: left === 0 ? 'expired' : 'active',
      blockedAt: null,
      expiresAt: expiresAt === null ? null : new Date(Math.min(expiresAt, 8.64e15)).toISOString(),
      secondsLeft: left,
      isAdmin,
      credentials: access.usableBy({ ...ANONYMOUS, client }),
      rules: { allow, deny, mode },
      from,
      ...unseen,
      rejected: 0,
      sockets: 0,
      secrets: fingerprints.map((fingerprint) => ({ fingerprint, lastSeenAt: null, lastFrom: null, calls: 0 })),
    };
  });
  const anonymous: AnonymousStatus = {
    served: isAnonymousServed(config),
    credentials: access.usableBy(ANONYMOUS),
    rules: { allow: anonymousAllow, deny: anonymousDeny, mode: 'enforce' },
    ...unseen,
  };
  return { source: 'file', readOnly, clients, anonymous };
}

/** The list as lines for a person. */
function tableOf({ source, clients, anonymous, readOnly }: Listed, now: number): string[] {
  const isSeen = source === 'gateway';
  const seen = clients.flatMap((client) =>
    client.secrets.map(({ fingerprint, lastSeenAt, lastFrom, calls }, at) => [
      at === 0 ? client.name : '',
      at === 0 ? stateWords(client) : '',
      fingerprint ?? 'certificate',
      isSeen ? ago(lastSeenAt, now) : '-',
      lastFrom ?? '-',
      isSeen ? String(calls) : '-',
      isSeen && at === 0 ? String(client.refused) : '',
      isSeen && at === 0 ? String(client.rejected) : '',
      isSeen && at === 0 ? String(client.sockets) : '',
    ]),
  );
  const nobody = [
    '-',
    anonymous.served ? 'active' : 'not served',
    'none',
    isSeen ? ago(anonymous.lastSeenAt, now) : '-',
    '-',
  ];
  if (isSeen) nobody.push(String(anonymous.calls), String(anonymous.refused));
  const rights = clients.map((client) => [
    client.isAdmin ? `${client.name} (admin)` : client.name,
    client.credentials.join(', ') || 'none',
    ruleWords(client),
    client.from.join(', ') || 'anywhere',
  ]);
  if (anonymous.served)
    rights.push(['-', anonymous.credentials.join(', ') || 'none', ruleWords(anonymous), 'this machine']);
  return [
    ...columns([
      ['CLIENT', 'STATE', 'SECRET', 'LAST SEEN', 'FROM', 'CALLS', 'REFUSED', 'WRONG PROOFS', 'SOCKETS'],
      ...seen,
      nobody,
    ]),
    '',
    ...columns([['CLIENT', 'CREDENTIALS', 'RULES', 'MAY CALL FROM'], ...rights]),
    '',
    '- stands for callers who are no client; numbers count from the start of the gateway',
    ...(readOnly ? [READ_ONLY] : []),
  ];
}

function ago(at: string | null, now: number): string {
  if (at === null) return 'not since the start';
  return `${humanDuration(Math.max(0, Math.floor((now - Date.parse(at)) / 1000)))} ago`;
}
