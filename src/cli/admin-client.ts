// Asks the running gateway over its admin listener and says in words why it could not be asked; finds the credential
// that a command means, in that gateway or in the configuration.

import type { IncomingMessage } from 'node:http';
import { LARGEST_PEM_BYTES } from '../config/certificates.ts';
import type { CredentialConfig, GatewayConfig, ListenAddress } from '../config/gateway-config.ts';
import { type CallableAddress, formatListenAddress } from '../config/listen-address.ts';
import { firstAddress } from '../config/listeners.ts';
import { loadConfig } from '../config/load.ts';
import { onOneLine } from '../config/problem.ts';
import { USER_GRANTS } from '../config/sections/credential.ts';
import { readPlainFileSync } from '../fs/plain-file.ts';
import { KEY_OF_START } from '../inspector/page-place.ts';
import { VERSION } from '../version.ts';
import type { CommandLine } from './args.ts';
import { askGateway, type GatewayRequest, type GatewayResponse, readWhole, send } from './ask-gateway.ts';
import { EXIT, type Io, loadInput, reportProblems } from './io.ts';
import { readPageKey } from './page-key.ts';

/** A response of the admin listener. `error` is null for 2xx; its message is cleaned for a terminal. */
export interface AdminResponse {
  readonly body: unknown;
  /** The body as it came. */
  readonly text: string;
  readonly error: { readonly status: number; readonly code: string; readonly message: string } | null;
}

/** Sends one request to the admin listener. Null: no gateway answers there. */
export type AdminRequest = (
  method: 'GET' | 'POST',
  path: string,
  body?: string,
  bounds?: Partial<Pick<GatewayRequest, 'maxBytes' | 'timeoutMs'>>,
) => Promise<AdminResponse | null>;

const TIMEOUT_MS = 30_000;

/**
 * Authenticates with the secret of the first client with `admin` in the configuration, else with $GCG_ADMIN_KEY; for
 * the live page and its data, where there are no clients, with the key of that. With `isGuess` the address is one that
 * nobody wrote down: no secret goes there, and nothing that changes anything.
 */
export function createAdminRequest(
  config: GatewayConfig,
  io: Pick<Io, 'env' | 'home' | 'platform'>,
  { isGuess = false, forPage = false } = {},
): AdminRequest {
  const address = adminAddress(config);
  const key = isGuess ? undefined : adminProof(config, io, forPage);
  return async (method, path, body, bounds) => {
    if (address === undefined) return null;
    if (isGuess && method !== 'GET') throw new Error('the address is a guess, and nothing is changed there');
    const headers = {
      'X-Gateway-Request': '1',
      'User-Agent': `gcg/${VERSION}`,
      ...(key && { 'X-Gateway-Key': key }),
      ...(body !== undefined && { 'Content-Type': 'text/plain' }),
    };
    const tls = address.kind === 'unix' ? null : isGuess ? unverified(config) : trustOf(config);
    const response = await askGateway({ address, tls, method, path, headers, body, timeoutMs: TIMEOUT_MS, ...bounds });
    return response && readAdminResponse(response);
  };
}

/** What a stream of the admin listener begins with: the response itself where that is 2xx. */
export type AdminStream =
  | { readonly response: IncomingMessage; readonly error: null }
  | { readonly response: null; readonly error: NonNullable<AdminResponse['error']> };

/**
 * Opens a response of the live page's data that has no end; `signal` ends it. Null: no gateway answers there. The proof
 * is that of `createAdminRequest`, read anew: that of a gateway that was started again is another.
 */
export async function openAdminStream(
  { config, isGuess }: Pick<ConfigToAsk, 'config' | 'isGuess'>,
  io: Pick<Io, 'env' | 'home' | 'platform'>,
  path: string,
  signal: AbortSignal,
): Promise<AdminStream | null> {
  const address = adminAddress(config);
  if (address === undefined) return null;
  const key = isGuess ? undefined : adminProof(config, io, true);
  const headers = {
    Accept: 'text/event-stream',
    'X-Gateway-Request': '1',
    'User-Agent': `gcg/${VERSION}`,
    ...(key && { 'X-Gateway-Key': key }),
  };
  const tls = address.kind === 'unix' ? null : isGuess ? unverified(config) : trustOf(config);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), TIMEOUT_MS);
  const begins = AbortSignal.any([signal, late.signal]);
  try {
    const response = await send({ address, tls, method: 'GET', path, headers, timeoutMs: TIMEOUT_MS }, begins);
    if (response === null) return null;
    const { statusCode: status = 0 } = response;
    if (status >= 200 && status < 300) return { response, error: null };
    const { error } = readAdminResponse({ status, text: await readWhole(response) });
    return { response: null, error: error ?? { status, code: '', message: `status ${status}` } };
  } finally {
    clearTimeout(timer);
  }
}

/** The exit code that fits an error: 77 refused, 69 unavailable, 1 otherwise. */
export function exitCodeOf({ status, code }: { status: number; code: string }): number {
  if (code === 'gateway.credential.rejected' || code === 'gateway.login.required' || status === 401 || status === 403)
    return EXIT.refused;
  return status >= 500 ? EXIT.unavailable : EXIT.failure;
}

/** What proves at the admin listener who asks: for the live page and its data, or for the rest. */
export function adminProof(
  config: GatewayConfig,
  io: Pick<Io, 'env' | 'home' | 'platform'>,
  forPage: boolean,
): string | undefined {
  const ofPage = () => (forPage ? readPageKey(config, adminAddress(config), io) : undefined);
  const ofClient = () => adminKey(config) ?? io.env.GCG_ADMIN_KEY;
  // Where there are no clients, no secret of one is asked for. The gateway at --listen may be another one, a demo beside
  // a configuration with clients.
  return config.clients.length === 0 ? (ofPage() ?? ofClient()) : (ofClient() ?? ofPage());
}

function adminKey({ clients }: GatewayConfig): string | undefined {
  const admin = clients.find(({ isAdmin, secret }) => isAdmin && secret !== null);
  try {
    return admin?.secret?.read().reveal();
  } catch {
    // Its file may be what is wrong with the configuration: the gateway then says that it wants a secret.
    return undefined;
  }
}

/** Where the admin pages can be asked for; undefined where there are none, or nobody says where they are. */
export function adminAddress({ server }: GatewayConfig): CallableAddress | undefined {
  return firstAddress(server.adminListen);
}

/** For requests that send nothing secret and believe nothing they are told. */
function unverified({ server }: GatewayConfig): GatewayRequest['tls'] {
  return server.tls === null ? null : { rejectUnauthorized: false };
}

/** Trusts exactly the certificate of this configuration, whatever name is on it and whoever issued it. */
function trustOf({ server }: GatewayConfig): GatewayRequest['tls'] {
  if (server.tls === null) return null;
  return {
    ca: readPlainFileSync(server.tls.certFile, LARGEST_PEM_BYTES).bytes,
    allowPartialTrustChain: true,
    checkServerIdentity: () => undefined,
  };
}

function readAdminResponse({ status, text }: GatewayResponse): AdminResponse {
  const body = parse(text);
  if (status >= 200 && status < 300) return { body, text, error: null };
  const { code, message } = (body ?? {}) as { code?: unknown; message?: unknown };
  return {
    body,
    text,
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
    // Not a document of ours: only the status is reported.
    return null;
  }
}

/** Returns the configuration, or 78 after printing what is wrong with it. Warnings are left to `check`. */
export function loadOrReport(args: CommandLine, io: Io, requireCredential: boolean): GatewayConfig | number {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential });
  if (result.ok) return result.config;
  reportProblems(io, result.problems, []);
  return EXIT.badConfig;
}

/** A configuration by which a running gateway is asked. */
export interface ConfigToAsk {
  readonly config: GatewayConfig;
  /** Whether a gateway would refuse to start with it; the problems have been printed. */
  readonly isBroken: boolean;
  /** Whether the address is one that nobody wrote down. */
  readonly isGuess: boolean;
}

/**
 * The configuration as far as it can be read: a gateway that runs is asked also where the file on disk is bad, as it is
 * just then. Prints what is wrong with it as warnings, and what is asked all the same.
 */
export function loadToAsk(args: CommandLine, io: Io): ConfigToAsk {
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  if (result.ok) return { config: result.config, isBroken: false, isGuess: false };
  const { config, isAddressCertain } = result.readable();
  reportProblems(io, [], result.problems);
  const address = firstAddress([...config.server.adminListen, ...config.server.listen]);
  const where = address === undefined ? '' : ` at ${formatListenAddress(address)}`;
  const guess = isAddressCertain ? '' : '; that address is a guess, --listen names another';
  io.stderr.write(`warning: no gateway starts with this configuration; one that runs${where} is asked${guess}\n`);
  return { config, isBroken: true, isGuess: !isAddressCertain };
}

/**
 * Returns the configuration and the credential that the command names, else the one that `choose` picks; or an exit
 * code, after printing what is missing.
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

/** A credential as both a configuration and a running gateway know it. */
export type KnownCredential = Pick<CredentialConfig, 'name' | 'grantType' | 'isDefault'>;

/** The credential of a login or logout, and who holds it: a running gateway, or the configuration of this command. */
export type LoginTarget =
  | {
      readonly kind: 'running';
      readonly config: GatewayConfig;
      readonly credential: KnownCredential;
      readonly ask: AdminRequest;
      /** All that the gateway has. */
      readonly credentials: readonly KnownCredential[];
    }
  | { readonly kind: 'standalone'; readonly config: GatewayConfig; readonly credential: CredentialConfig };

/**
 * Returns the target, or an exit code after printing what is missing: 2 no such credential, 69 or 77 as the gateway
 * responded, 78 no configuration.
 */
export async function findLoginTarget(args: CommandLine, io: Io): Promise<LoginTarget | number> {
  const known = loadToAsk(args, io);
  const { config, isGuess } = known;
  if (isGuess) {
    io.stderr.write('gcg: where the gateway is cannot be read, and a login is not sent to a guess: say --listen\n');
    return EXIT.badConfig;
  }
  const ask = createAdminRequest(config, io);
  const status = await askStatus(ask);
  if (status?.error) {
    io.stderr.write(`gcg: ${refusal(status.error)}\n`);
    return exitCodeOf(status.error);
  }
  if (status === null && known.isBroken) {
    io.stderr.write(`gcg: ${noGatewayAt(config)}\n`);
    return EXIT.badConfig;
  }
  if (status === null) {
    const found = loadCredential(args, io, credentialToLogIn);
    if (typeof found !== 'number') return { kind: 'standalone', ...found };
    if (config.credentials.length === 0)
      io.stderr.write(`gcg: no running gateway could be reached either: ${noGatewayAt(config)}\n`);
    return found;
  }
  const { credentials = [] } = (status.body ?? {}) as { credentials?: readonly KnownCredential[] };
  const [name] = args.positionals;
  const credential = name === undefined ? credentialToLogIn(credentials) : credentials.find((one) => one.name === name);
  if (credential !== undefined) return { kind: 'running', config, credential, ask, credentials };
  const names = credentials.map((one) => one.name).join(', ');
  const what = name === undefined ? 'has no default credential' : `has no credential called "${onOneLine(name)}"`;
  io.stderr.write(`gcg: the running gateway ${what}; there are: ${onOneLine(names)}\n`);
  return EXIT.usage;
}

/** Says why no gateway can be asked: none is running, or the configuration does not say where to ask. */
export function noGatewayAt(config: GatewayConfig): string {
  const address = adminAddress(config);
  if (address !== undefined) return `no gateway is running at ${formatListenAddress(address)}`;
  const [descriptor] = config.server.adminListen;
  if (descriptor !== undefined) return whereIsDescriptor(descriptor);
  return (
    'this configuration has no admin listener (server.admin_listen): write admin_listen = 127.0.0.1:8081 into ' +
    '[server], and restart the gateway'
  );
}

/** Says that nothing tells where an inherited descriptor is bound, and what to write. */
export function whereIsDescriptor(descriptor: ListenAddress): string {
  const fd = formatListenAddress(descriptor);
  return (
    `${fd} in this configuration is an inherited socket, and nothing says where it is bound: write ` +
    `${fd}@127.0.0.1:8080, with the address of the socket unit, or say --listen 127.0.0.1:8080`
  );
}

/** The gateway's refusal in words; of one for want of a secret, what a person at a terminal does about it. */
export function refusal(
  { status, message }: { readonly status: number; readonly message: string },
  { isGuess = false } = {},
): string {
  if (isGuess && status === 401)
    return `${message} (none was sent: where the gateway is cannot be read from the configuration; say --listen)`;
  if (status !== 401) return message;
  if (message.startsWith(KEY_OF_START))
    return 'this takes the key that the gateway has written for the user who runs it: run it as that user';
  // What a program is told about headers is of no use at a terminal.
  const what = message.replace(/: send its secret as .*$/, '');
  return (
    `${what}: set GCG_ADMIN_KEY to the secret of a client with admin = true ` +
    '(gcg client add NAME makes one; write admin = true below its line)'
  );
}

/** Asks for the status document. Null where no gateway of ours answers. */
export function askStatus(ask: AdminRequest): ReturnType<AdminRequest> {
  return ask('GET', '/-/status').catch(() => null);
}

/** The credential to log in when none is named: the default one, or the only one that has a login. */
function credentialToLogIn<T extends KnownCredential>(credentials: readonly T[]): T | undefined {
  const defaultCredential = credentials.find(({ isDefault }) => isDefault);
  const withLogin = credentials.filter(({ grantType }) => USER_GRANTS.has(grantType));
  return withLogin.length === 1 && !(defaultCredential && USER_GRANTS.has(defaultCredential.grantType))
    ? withLogin[0]
    : defaultCredential;
}
