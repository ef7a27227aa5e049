// `gcg check`: reads the configuration and reports every problem in it; opens nothing. The check of --online is passed
// in, so that its code is loaded only when it runs.

import type { GatewayConfig } from '../../config/gateway-config.ts';
import { formatListenAddress } from '../../config/listen-address.ts';
import { loadConfig } from '../../config/load.ts';
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
  reportProblems(io, [], result.warnings);
  const isOnline = args.flags.has('online');
  // "OK" is printed only when nothing more is to be checked; with --online the verdict comes last.
  io.stdout.write(`${isOnline ? 'configuration' : 'OK'}: ${summarise(result.config)}`);
  return isOnline ? online(result.config, io) : EXIT.ok;
}

function summarise({ files, general, credentials, clients, server }: GatewayConfig): string {
  const named = credentials.map(({ name, grantType, hosts, isDefault }) => {
    const region = hosts.domain === general.hosts.domain ? '' : `, ${hosts.domain}`;
    return `${name} (${grantType}${region}${isDefault ? ', default' : ''})`;
  });
  const { origin, pathPrefix } = general.hosts.api;
  const rows: [string, string][] = [
    ['region', general.hosts.domain],
    ['calls go to', origin + pathPrefix],
    ['credentials', named.join(', ')],
    [
      'clients',
      clients.length === 0 ? 'none: local callers need no proof' : clients.map(({ name }) => name).join(', '),
    ],
    ['listens on', server.listen.map(formatListenAddress).join(', ')],
  ];
  const lines = rows.map(([head, text]) => `  ${head.padEnd(13)}${text}`);
  return `${[files[0] ?? 'no file, settings from flags and environment', ...lines].join('\n')}\n`;
}
