// `gcg check`: reads the configuration and reports every problem in it; opens no listener and changes no file. The check
// of --online is passed in, so that its code is loaded only when it runs.

import { whyNoTrail } from '../../audit/trail-file.ts';
import { createAccess } from '../../auth/callers/access.ts';
import { ANONYMOUS } from '../../auth/callers/caller.ts';
import { canProve } from '../../config/access-rules.ts';
import type { ClientConfig, CredentialConfig, GatewayConfig } from '../../config/gateway-config.ts';
import { formatListenAddress } from '../../config/listen-address.ts';
import { loadConfig } from '../../config/load.ts';
import { formatRedisAddress } from '../../config/redis-url.ts';
import { lastDayOf } from '../../config/sections/client.ts';
import { isInspectorOn, plannedPages, viewersInWords } from '../../inspector/page-place.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';

/** Obtains a token per credential, tries it and prints the results. Returns the exit code: 0, 69 or 77. */
export type OnlineCheck = (config: GatewayConfig, io: Io) => Promise<number>;

/**
 * Exit code 0 with a summary on stdout, or 78 with one line per problem on stderr; with --online, the code of the
 * online check.
 */
export async function check(args: CommandLine, io: Io, online: OnlineCheck): Promise<number> {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: true });
  if (!result.ok) {
    reportProblems(io, result.problems, result.warnings);
    return EXIT.badConfig;
  }
  const { audit, files } = result.config;
  const noTrail = audit.file === null ? null : whyNoTrail(audit.file);
  if (noTrail !== null) {
    const location = files[0] ?? 'configuration';
    reportProblems(io, [{ location, key: 'audit.file', message: noTrail }], result.warnings);
    return EXIT.badConfig;
  }
  reportProblems(io, [], result.warnings);
  warnOfUnused(result.config, io);
  const isOnline = args.flags.has('online');
  // "OK" is printed only when nothing more is to be checked; with --online the verdict comes last.
  io.stdout.write(`${isOnline ? 'configuration' : 'OK'}: ${summarise(result.config, await storeRows(result.config))}`);
  return isOnline ? online(result.config, io) : EXIT.ok;
}

function summarise(config: GatewayConfig, store: readonly [string, string][]): string {
  const { files, general, credentials, clients, server } = config;
  const named = credentials.map((credential) => {
    const { name, grantType, hosts, isDefault } = credential;
    const region = hosts.domain === general.hosts.domain ? '' : `, ${hosts.domain}`;
    const users = usersOf(credential, config).join(', ') || 'nobody';
    return `${name} (${grantType}${region}${isDefault ? ', default' : ''}): for ${users}`;
  });
  const { origin, pathPrefix } = general.hosts.api;
  const rows: [string, string][] = [
    ['region', general.hosts.domain],
    ['calls go to', origin + pathPrefix],
    ...named.map((text, at): [string, string] => [at === 0 ? 'credentials' : '', text]),
    ['clients', clients.length === 0 ? 'none: local callers need no proof' : clients.map(clientInWords).join(', ')],
    ['listens on', server.listen.map(formatListenAddress).join(', ')],
    ['live page', pageInWords(config)],
    ...store,
    ...(server.readOnly ? [['read-only', 'nobody may change anything (server.read_only)'] as [string, string]] : []),
  ];
  const lines = rows.map(([head, text]) => `  ${head.padEnd(13)}${text}`);
  return `${[files[0] ?? 'no file, settings from flags and environment', ...lines].join('\n')}\n`;
}

/** Of a store that instances share: where it is, and what its administrator has to allow. */
async function storeRows({ store }: GatewayConfig): Promise<[string, string][]> {
  if (store.type !== 'redis') return [];
  const { aclLine } = await import('../store-rights.ts');
  const { addresses, database } = store.place;
  const where = addresses.map(formatRedisAddress).join(', ');
  const name = store.sentinel === null ? '' : `, master ${store.sentinel}`;
  const number = database === 0 ? '' : `, database ${database}`;
  return [
    ['store', `shared by instances: redis at ${where}${name}${number}, keys {${store.prefix}}:*`],
    ['its rights', aclLine(store)],
  ];
}

function pageInWords(config: GatewayConfig): string {
  const [page] = plannedPages(config);
  if (page !== undefined && isInspectorOn(config)) return `${page} for ${viewersInWords(config)}`;
  const { adminListen } = config.server;
  const why = adminListen.length === 0 ? 'no admin listener' : 'inspector.enabled';
  return `off (${why})`;
}

function clientInWords({ name, isAdmin, expiresAt, from }: ClientConfig): string {
  const end = expiresAt === null ? '' : `until ${lastDayOf(expiresAt)}`;
  const facts = [isAdmin ? 'admin' : '', end, from.length > 0 ? `from ${from.join(' and ')}` : ''].filter(Boolean);
  return facts.length === 0 ? name : `${name} (${facts.join(', ')})`;
}

/** Who may use a credential, in words. */
function usersOf({ name }: CredentialConfig, config: GatewayConfig): string[] {
  const access = createAccess(config);
  const names = config.clients
    .filter((client) => access.mayUse({ ...ANONYMOUS, client }, name))
    .map((client) => client.name);
  if (!access.mayUse(ANONYMOUS, name)) return names;
  const isServed = config.server.anonymousCredentials !== null || !canProve(config);
  if (isServed) return ['callers without proof', ...names];
  return config.clients.length === 0 ? ['callers with a certificate'] : names;
}

/** Warns of each credential that no caller may use, with the settings that would let one. */
function warnOfUnused(config: GatewayConfig, io: Io): void {
  for (const credential of config.credentials) {
    if (usersOf(credential, config).length > 0) continue;
    const { name, location } = credential;
    const listed = [...createAccess(config).usableBy(ANONYMOUS), name].join(', ');
    const message =
      `nobody may use this credential: set server.anonymous_credentials = ${listed}, or credential = ${name} in a ` +
      '[client.NAME]; then it is reached as ' +
      `/${name}/api/v2/…`;
    reportProblems(io, [], [{ location, key: name === 'default' ? 'credential' : `credential.${name}`, message }]);
  }
}
