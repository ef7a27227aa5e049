// Asks the running gateway over its admin listener, and says in words why it could not be asked.

import type { CredentialConfig, GatewayConfig } from '../config/gateway-config.ts';
import { formatListenAddress } from '../config/listen-address.ts';
import { LARGEST_PEM_BYTES } from '../config/pem-file.ts';
import { onOneLine } from '../config/problem.ts';
import { USER_GRANTS } from '../config/sections/credentials.ts';
import { readPlainFileSync } from '../fs/plain-file.ts';
import type { CommandLine } from './args.ts';
import { type Answer, askGateway, type Question } from './ask-gateway.ts';
import { loadCredential, loadOrReport } from './configured.ts';
import { EXIT, type Io } from './io.ts';

/** What the gateway answered. `error` is null for 2xx; its message is cleaned for a terminal. */
export interface AdminAnswer {
  readonly body: unknown;
  readonly error: { readonly status: number; readonly code: string; readonly message: string } | null;
}

/** Where to ask, or why nobody can be asked. */
export type AdminRequest = (method: 'GET' | 'POST', path: string, body?: string) => Promise<AdminAnswer | null>;

const TIMEOUT_MS = 30_000;

/**
 * Asks with the secret of the first client with `admin` that the configuration holds, else with $GCG_ADMIN_KEY. Null:
 * no gateway answers there.
 */
export function createAdminRequest(config: GatewayConfig, io: Pick<Io, 'env'>): AdminRequest {
  const address = config.server.adminListen.find(({ kind }) => kind !== 'fd');
  const key = adminKey(config) ?? io.env.GCG_ADMIN_KEY;
  return async (method, path, body) => {
    if (address === undefined) return null;
    const headers = {
      'X-Gateway-Request': '1',
      ...(key && { 'X-Gateway-Key': key }),
      ...(body !== undefined && { 'Content-Type': 'text/plain' }),
    };
    const tls = address.kind === 'unix' ? null : trustOf(config);
    const answer = await askGateway({ address, tls, method, path, headers, body, timeoutMs: TIMEOUT_MS });
    return answer && readAnswer(answer);
  };
}

/** The exit code that fits an error: 77 refused, 69 unavailable, 1 otherwise. */
export function exitCodeOf({ status, code }: { status: number; code: string }): number {
  if (code === 'gateway.credential.rejected' || code === 'gateway.login.required' || status === 401 || status === 403)
    return EXIT.refused;
  return status >= 500 ? EXIT.unavailable : EXIT.failure;
}

function adminKey({ clients }: GatewayConfig): string | undefined {
  const admin = clients.find(({ isAdmin, secret }) => isAdmin && secret !== null);
  return admin?.secret?.read().reveal();
}

/** The very certificate of this configuration is asked for, whatever name is on it and whoever issued it. */
function trustOf({ server }: GatewayConfig): Question['tls'] {
  if (server.tls === null) return null;
  return {
    ca: readPlainFileSync(server.tls.certFile, LARGEST_PEM_BYTES).bytes,
    allowPartialTrustChain: true,
    checkServerIdentity: () => undefined,
  };
}

function readAnswer({ status, text }: Answer): AdminAnswer {
  const body = parse(text);
  if (status >= 200 && status < 300) return { body, error: null };
  const { code, message } = (body ?? {}) as { code?: unknown; message?: unknown };
  return {
    body,
    error: {
      status,
      code: String(code ?? ''),
      message: onOneLine(typeof message === 'string' ? message : `status ${status}`),
    },
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not ours: the status alone is told.
    return null;
  }
}

/** A credential as both a configuration and a running gateway know it. */
export type KnownCredential = Pick<CredentialConfig, 'name' | 'grantType' | 'isDefault'>;

/** The credential that is meant, and who holds it: a gateway to ask, or the configuration of this command. */
export type Subject =
  | {
      readonly kind: 'running';
      readonly config: GatewayConfig;
      readonly credential: KnownCredential;
      readonly ask: AdminRequest;
    }
  | { readonly kind: 'alone'; readonly config: GatewayConfig; readonly credential: CredentialConfig };

/**
 * Finds both, or answers an exit code after saying what is missing: 2 no such credential, 69, 77 by the gateway's
 * answer, 78 no configuration.
 */
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
