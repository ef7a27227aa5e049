// A configuration of one's own against the simulated Genesys Cloud: clients, rules, listeners and limits stay as they
// are written; whatever leads to Genesys Cloud, holds a secret for it, or keeps something, is replaced. Nothing that is
// replaced is looked at: secret files need not be there, and commands do not run.

import { createHash } from 'node:crypto';
import type { CredentialConfig, GatewayConfig, GrantType } from '../config/gateway-config.ts';
import type { Layer } from '../config/layers.ts';
import { type LoadInput, type LoadResult, loadConfig } from '../config/load.ts';
import { DEFAULT_NAME } from '../config/section.ts';
import { DEMO_CLIENTS, type GrantKind, type SandboxClient } from '../sandbox/clients.ts';
import { createUsers, DEFAULT_ORGANIZATION } from '../sandbox/directory.ts';
import { createSandbox, type Sandbox } from '../sandbox/sandbox.ts';
import type { Switches } from '../sandbox/switches.ts';
import { layerOf, withoutSettings } from './substitution.ts';

/** A simulation that listens, and the configuration that leads to it; or what is wrong with the configuration. */
export type Rehearsal =
  | ({ readonly ok: true; readonly config: GatewayConfig; readonly warnings: LoadResult['warnings'] } & RehearsalParts)
  | (Extract<LoadResult, { ok: false }> & { readonly sandbox: null });

interface RehearsalParts {
  readonly sandbox: Sandbox;
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  readonly clients: readonly SandboxClient[];
  /** The settings that were left out or replaced, by their keys. */
  readonly replaced: readonly string[];
}

/** Loads the configuration and starts a simulation for it. The caller closes that. */
export async function rehearse(input: LoadInput, switches: Partial<Switches>): Promise<Rehearsal> {
  // The first reading says which clients there are; the second knows where the simulation is.
  const first = load(input, { host: '127.0.0.1', port: 1, accessToken: 'simulated', secrets: new Map() });
  if (!first.result.ok) return { ...first.result, sandbox: null };
  const clients = simulatedClients(first.result.config);
  const sandbox = createSandbox({ switches, clients, controls: true });
  const { host, port } = await sandbox.listen();
  const accessToken = sandbox.issueToken({ clientId: clients[0]?.id ?? DEMO_CLIENTS.clientCredentials.id }).value;
  const secrets = new Map(
    first.result.config.credentials.map(({ name, clientId }) => [name, simulatedSecret(clientId)]),
  );
  const { result, replaced } = load(input, { host, port, accessToken, secrets });
  if (result.ok) return { ...result, sandbox, address: `${host}:${port}`, clients, replaced };
  await sandbox.close();
  return { ...result, sandbox: null };
}

/** Sections that say where Genesys Cloud is, how it is reached, and where something is kept. */
const REPLACED_SECTIONS = new Set(['gateway', 'proxy', 'tls', 'store', 'audit']);

/** Secrets of credentials, in whatever form. */
const SECRET_KEY = /^(client_secret|access_token|refresh_token|assertion)(_file|_env|_command)?$/;

function isReplaced(section: string, key: string): boolean {
  if (REPLACED_SECTIONS.has(section)) return true;
  // Browsers and sockets would be led to the real gateway.
  if (section === 'server') return key === 'public_url';
  if (section === 'logging') return key === 'log_file_path' || key === 'log_to_console';
  return isCredential(section) && (SECRET_KEY.test(key) || key === 'org_name' || key === 'org');
}

const isCredential = (section: string) => section === 'credential' || section.startsWith('credential.');

interface Simulated {
  readonly host: string;
  readonly port: number;
  readonly accessToken: string;
  /** The client secrets by the names of credentials. */
  readonly secrets: ReadonlyMap<string, string>;
}

function load(input: LoadInput, simulated: Simulated): { result: LoadResult; replaced: readonly string[] } {
  const replaced = new Set<string>();
  const result = loadConfig({
    ...input,
    requireCredential: true,
    substitute(layers) {
      for (const { section, key } of layers.flatMap(({ entries }) => entries))
        if (isReplaced(section, key)) replaced.add(`${section}.${key}`);
      const own = [...hostSettings(simulated), ...credentialSettings(layers, simulated)];
      return [layerOf(own, 'gcg demo'), ...layers.map((layer) => withoutSettings(layer, isReplaced))];
    },
  });
  return { result, replaced: [...replaced] };
}

type Settings = readonly (readonly [section: string, key: string, value: string])[];

function hostSettings({ host, port }: Simulated): Settings {
  return [
    ['gateway', 'host', host],
    ['gateway', 'port', String(port)],
    ['gateway', 'protocol', 'http'],
    ['proxy', 'off', 'true'],
    ['store', 'type', 'memory'],
  ];
}

/** What each credential has of these, it has a simulated one of. A refresh token has to come from a login. */
function credentialSettings(layers: readonly Layer[], { accessToken, secrets }: Simulated): Settings {
  const entries = layers.flatMap((layer) => layer.entries).filter(({ section }) => isCredential(section));
  const sections = new Set(entries.map(({ section }) => section));
  return [...sections].flatMap((section) => {
    const own = entries.filter((entry) => entry.section === section);
    const has = (name: string) => own.some(({ key }) => SECRET_KEY.exec(key)?.[1] === name || key === name);
    const secret = secrets.get(section === 'credential' ? DEFAULT_NAME : section.slice('credential.'.length));
    return [
      ...(has('client_secret') ? [[section, 'client_secret', secret ?? 'simulated'] as const] : []),
      ...(has('access_token') ? [[section, 'access_token', accessToken] as const] : []),
      ...(has('assertion') ? [[section, 'assertion', simulatedAssertion()] as const] : []),
      ...(['org_name', 'org'] as const).flatMap((key) =>
        has(key) ? [[section, key, DEFAULT_ORGANIZATION.shortName] as const] : [],
      ),
    ];
  });
}

/** The secret of a client: the same in each rehearsal, and of no use elsewhere. */
function simulatedSecret(clientId: string | null): string {
  return `simulated-secret-${createHash('sha256')
    .update(clientId ?? '')
    .digest('hex')
    .slice(0, 12)}`;
}

function simulatedAssertion(): string {
  const [user] = createUsers(1);
  const xml =
    `<saml:Assertion><saml:Subject><saml:NameID>${user?.email}</saml:NameID></saml:Subject>` +
    '<saml:Conditions NotOnOrAfter="2099-01-01T00:00:00Z"/></saml:Assertion>';
  return Buffer.from(xml).toString('base64');
}

const GRANTS: Readonly<Record<GrantType, GrantKind>> = {
  client_credentials: 'client_credentials',
  authorization_code: 'code',
  pkce: 'code',
  saml2_bearer: 'saml2_bearer',
  implicit: 'implicit',
  access_token: 'client_credentials',
};

/** One registered client for each client id, with the grants of all credentials that use it. */
function simulatedClients({ credentials }: GatewayConfig): SandboxClient[] {
  const byId = new Map<string, CredentialConfig[]>();
  for (const credential of credentials) {
    const { clientId: id } = credential;
    if (id !== null) byId.set(id, [...(byId.get(id) ?? []), credential]);
  }
  return [...byId].map(([id, users]) => ({
    id,
    name: users.map(({ name }) => name).join(', '),
    ...(users.some(hasSecret) && { secret: simulatedSecret(id) }),
    grants: [...new Set(users.map(({ grantType }) => GRANTS[grantType]))],
    redirectUris: [...DEMO_CLIENTS.pkce.redirectUris, ...users.flatMap(({ redirectUri }) => redirectUri ?? [])],
  }));
}

/** A public client shows none, though one may be configured. */
function hasSecret({ clientSecret, grantType }: CredentialConfig): boolean {
  return clientSecret !== null && grantType !== 'pkce' && grantType !== 'implicit';
}
