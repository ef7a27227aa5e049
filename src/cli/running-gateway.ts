// The beginning of `gcg login` and `gcg logout`: is a gateway running, and which of its credentials is meant. A running gateway is asked even
// where there is no configuration; what it says about its credentials counts before what a configuration here says.

import type { CredentialConfig, GatewayConfig } from '../config/gateway-config.ts';
import { formatListenAddress } from '../config/listen-address.ts';
import { onOneLine } from '../config/problem.ts';
import { USER_GRANTS } from '../config/sections/credentials.ts';
import { type AdminRequest, createAdminRequest, exitCodeOf } from './admin-request.ts';
import type { CommandLine } from './args.ts';
import { loadCredential, loadOrReport } from './configured.ts';
import { EXIT, type Io } from './io.ts';

/** A credential as both a configuration and a running gateway know it. */
export type KnownCredential = Pick<CredentialConfig, 'name' | 'grantType' | 'isDefault'>;

/** The credential that is meant, and who holds it: a gateway to ask, or the configuration of this command. */
export type Subject =
  | { readonly kind: 'running'; readonly config: GatewayConfig; readonly credential: KnownCredential; readonly ask: AdminRequest }
  | { readonly kind: 'alone'; readonly config: GatewayConfig; readonly credential: CredentialConfig };

/** Finds both, or answers an exit code after saying what is missing: 2 no such credential, 69, 77 by the gateway's answer, 78 no configuration. */
export async function findSubject(args: CommandLine, io: Io): Promise<Subject | number> {
  const config = loadOrReport(args, io, false);
  if (typeof config === 'number') return config;
  const ask = createAdminRequest(config, io);
  const status = await askStatus(ask);
  if (status?.error) {
    io.stderr.write(`gcg: ${refusal(status.error)}\n`);
    return exitCodeOf(status.error);
  }
  if (status === null) {
    const found = loadCredential(args, io, loginOf);
    if (typeof found !== 'number') return { kind: 'alone', ...found };
    if (config.credentials.length === 0) io.stderr.write(`gcg: nor can one be asked: ${nobodyAt(config)}\n`);
    return found;
  }
  const { credentials = [] } = (status.body ?? {}) as { credentials?: readonly KnownCredential[] };
  const [name] = args.positionals;
  const credential = name === undefined ? loginOf(credentials) : credentials.find((one) => one.name === name);
  if (credential !== undefined) return { kind: 'running', config, credential, ask };
  const names = credentials.map((one) => one.name).join(', ');
  const what = name === undefined ? 'has no default credential' : `has no credential called "${onOneLine(name)}"`;
  io.stderr.write(`gcg: the running gateway ${what}; there are: ${onOneLine(names)}\n`);
  return EXIT.usage;
}

/** Why no gateway can be asked: none is there, or none would listen. */
export function nobodyAt({ server }: GatewayConfig): string {
  const address = server.adminListen.find(({ kind }) => kind !== 'fd');
  if (address === undefined) return 'this configuration has no admin listener (server.admin_listen)';
  return `no gateway is running at ${formatListenAddress(address)}`;
}

/** A refusal of the gateway's in words; where a secret would help it says which. */
export function refusal({ status, message }: { readonly status: number; readonly message: string }): string {
  return `${message}${status === 401 ? ' (or set GCG_ADMIN_KEY)' : ''}`;
}

/** Null where nothing answers that is a gateway of ours. */
export function askStatus(ask: AdminRequest): ReturnType<AdminRequest> {
  return ask('GET', '/-/status').catch(() => null);
}

/** Whose login is meant without a name: the default one's, or that of the only one with a login. */
function loginOf<T extends KnownCredential>(credentials: readonly T[]): T | undefined {
  const theDefault = credentials.find(({ isDefault }) => isDefault);
  const withLogin = credentials.filter(({ grantType }) => USER_GRANTS.has(grantType));
  return withLogin.length === 1 && !(theDefault && USER_GRANTS.has(theDefault.grantType)) ? withLogin[0] : theDefault;
}
