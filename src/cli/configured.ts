// The beginning of every command that works with one credential of the configuration: loads it, and finds the
// credential that is meant.

import type { CredentialConfig, GatewayConfig } from '../config/gateway-config.ts';
import { loadConfig } from '../config/load.ts';
import { onOneLine } from '../config/problem.ts';
import type { CommandLine } from './args.ts';
import { EXIT, type Io, loadInput, reportProblems } from './io.ts';

/** The configuration, or 78 after saying what is wrong with it. Warnings are for `check`. */
export function loadOrReport(args: CommandLine, io: Io, requireCredential: boolean): GatewayConfig | number {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential });
  if (result.ok) return result.config;
  reportProblems(io, result.problems, []);
  return EXIT.badConfig;
}

/**
 * The configuration and the credential that the command names, or the one that `choose` takes; an exit code after
 * saying what is missing.
 */
export function loadCredential(
  args: CommandLine,
  io: Io,
  choose: (credentials: readonly CredentialConfig[]) => CredentialConfig | undefined = (credentials) =>
    credentials.find(({ isDefault }) => isDefault),
): { config: GatewayConfig; credential: CredentialConfig } | number {
  const config = loadOrReport(args, io, true);
  if (typeof config === 'number') return config;
  const [name] = args.positionals;
  const credential =
    name === undefined ? choose(config.credentials) : config.credentials.find((one) => one.name === name);
  if (credential !== undefined) return { config, credential };
  const names = config.credentials.map((one) => one.name).join(', ');
  io.stderr.write(
    `gcg: ${name === undefined ? 'no credential is the default' : `no credential is called "${onOneLine(name)}"`}; ` +
      `there are: ${names}\n`,
  );
  return EXIT.usage;
}
