// The environment of a command that runs beside its own gateway: where the gateway is, in the words that curl, Genesys'
// CLI and its Terraform provider read, and none of the gateway's secrets.

import { basename } from 'node:path';
import type { EffectiveSetting } from '../config/effective.ts';
import { defaultCredential, type GatewayConfig, secretSettings } from '../config/gateway-config.ts';
import { REGIONS } from '../config/sections/general.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What the environment follows from. */
export interface ProgramSetting {
  readonly config: GatewayConfig;
  readonly settings: readonly EffectiveSetting[];
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** The command as it is written. */
  readonly program: string;
}

/**
 * Variables that are the gateway's own, or that would lead the command past it: all settings of ours, a token or secret
 * of Genesys, another gateway or a proxy for Genesys' tools.
 */
const REMOVED = /^(GCG_|GENESYSCLOUD_(ACCESS_TOKEN|OAUTHCLIENT_(ID|SECRET)|GATEWAY_|PROXY_))/;

/** Shorter values are words that other variables have for other reasons. */
const SHORTEST_SECRET = 8;
/** So long a value is looked for inside others, too: in a URL, or a header. */
const SHORTEST_SECRET_WITHIN = 16;

const NO_PROXY = ['NO_PROXY', 'no_proxy'] as const;
const PROXIES = ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy', 'HTTPS_PROXY', 'https_proxy'];

/** Makes the environment of the command from ours. */
export function programEnvironment(env: Environment, setting: ProgramSetting): Record<string, string> {
  const { config, settings, url, program } = setting;
  const secrets = knownSecrets(config);
  const named = new Set(settings.filter(({ key }) => key.endsWith('_env')).map(({ value }) => value));
  const kept = Object.entries(env).filter(
    ([name, value]) => value !== undefined && !REMOVED.test(name) && !named.has(name) && !holdsSecret(value, secrets),
  ) as [string, string][];
  const { hostname, port } = new URL(url);
  const clientId = defaultCredential(config)?.clientId;
  const next: Record<string, string> = {
    ...Object.fromEntries(kept),
    GATEWAY_URL: url,
    GENESYSCLOUD_GATEWAY_HOST: hostname,
    GENESYSCLOUD_GATEWAY_PORT: port,
    GENESYSCLOUD_GATEWAY_PROTOCOL: 'http',
    // The Terraform provider wants a region it knows; gc takes this machine for a gateway, without a login.
    GENESYSCLOUD_REGION: basename(program) === 'gc' ? `localhost:${port}` : regionName(config),
    // It also insists on logging in, where the gateway answers whatever the secret is.
    GENESYSCLOUD_OAUTHCLIENT_ID: clientId ?? 'gateway',
    GENESYSCLOUD_OAUTHCLIENT_SECRET: 'gateway',
  };
  // A proxy is not asked for this machine.
  if (PROXIES.some((name) => next[name]))
    for (const name of NO_PROXY) next[name] = [...(next[name] ? [next[name]] : []), hostname, 'localhost'].join(',');
  return next;
}

function holdsSecret(value: string, secrets: ReadonlySet<string>): boolean {
  for (const secret of secrets)
    if (value === secret || (secret.length >= SHORTEST_SECRET_WITHIN && value.includes(secret))) return true;
  return false;
}

function regionName({ general }: GatewayConfig): string {
  const { domain } = general.hosts;
  return Object.entries(REGIONS).find(([, one]) => one === domain)?.[0] ?? domain;
}

function knownSecrets(config: GatewayConfig): ReadonlySet<string> {
  const values = [...secretSettings(config).values()].map((source) => {
    try {
      return source.read().reveal();
    } catch {
      // It cannot be read, and was not used.
      return '';
    }
  });
  return new Set(values.filter((value) => value.length >= SHORTEST_SECRET));
}
