// Where each effective value comes from: default, file and line, environment, flag, or another setting that it follows
// from.

import { REDACTED } from '../secret.ts';
import type { CredentialConfig, GatewayConfig } from './gateway-config.ts';
import { DEFAULT_NAME, labelOf, type RawValue, type SectionId, type Setting, type Settings } from './layers.ts';
import { formatListenAddress } from './listen-address.ts';
import type { SectionName } from './options/option.ts';
import { isNamedSection, optionOf, optionsOf, SECTION_NAMES } from './options/table.ts';
import { onOneLine, withoutUserInfo } from './problem.ts';
import { USER_GRANTS } from './sections/credentials.ts';

/** One effective value. */
export interface OriginEntry {
  /** `server.listen`, `credential.crm.client_secret_file`. */
  readonly key: string;
  /** null: not set. */
  readonly value: string | null;
  /**
   * `default`, `config.ini:12`, `env GCG_X`, `flag --listen`; where another setting decided, that one: `config.ini:2
   * (general.host)`.
   */
  readonly origin: string;
}

/** All options of the sections without a name, and of each credential and client; then the upstream headers. */
export function listOrigins(
  settings: Settings,
  config: GatewayConfig,
  env: Readonly<Record<string, string | undefined>>,
): OriginEntry[] {
  const derived = derivedValues(settings, config, env);
  const entries: OriginEntry[] = [];
  const list = (section: SectionName, name: string, head: string) => {
    for (const option of optionsOf(section)) {
      const setting = settings.get({ section, name }, option.key);
      const key = `${head}.${option.key}`;
      if (setting !== undefined) entries.push(shownSetting(setting));
      else entries.push({ key, ...(derived.get(key) ?? { value: option.default, origin: 'default' }) });
    }
  };
  for (const section of SECTION_NAMES) {
    if (!isNamedSection(section)) list(section, '', section);
    else for (const { name } of settings.names(section)) list(section, name, labelOf({ section, name }));
  }
  // Somebody may give another gateway its key this way.
  for (const { name, value, location } of settings.headers) {
    entries.push({
      key: `upstream.headers.${onOneLine(name)}`,
      value: /auth|token|secret|key|pass/i.test(name) ? REDACTED : onOneLine(withoutUserInfo(textOf(value))),
      origin: location,
    });
  }
  return entries;
}

function shownSetting({ option, form, value, location, label }: Setting): OriginEntry {
  const text = textOf(value);
  const isMasked = option.isSecret && form === 'value';
  return { key: label, value: isMasked ? REDACTED : onOneLine(withoutUserInfo(text)), origin: location };
}

function textOf(value: RawValue): string {
  if (value.type === 'broken') return '';
  return value.type === 'list' ? value.items.join(', ') : value.text.trim();
}

/** A value that nobody gave, under the key of its option. */
interface DerivedValue {
  readonly value: string;
  /** `gcg.ini:2 (general.host)`, `env XDG_STATE_HOME`, or `default`. */
  readonly origin: string;
}

/** For all options of this configuration that are not set, and whose value is not simply the default of the table. */
export function derivedValues(
  settings: Settings,
  config: GatewayConfig,
  env: Readonly<Record<string, string | undefined>>,
): ReadonlyMap<string, DerivedValue> {
  const { server, logging, store, retry } = config;
  const originOf = createOriginOf(settings);
  const originOfSetting = (section: SectionId['section'], key: string) => originOf({ section, name: '' }, key);
  const isOnXdg = env.XDG_STATE_HOME !== undefined && store.path.startsWith(env.XDG_STATE_HOME);
  const values = new Map<string, DerivedValue>([
    [
      'server.admin_listen',
      {
        value: server.adminListen.map(formatListenAddress).join(', ') || 'none',
        origin: originOfSetting('server', 'listen'),
      },
    ],
    ['logging.log_format', { value: logging.format, origin: 'default' }],
    ['store.type', { value: store.type, origin: originOfStore(config, settings) }],
    ['store.path', { value: store.path, origin: isOnXdg ? 'env XDG_STATE_HOME' : 'default' }],
    // A default that would contradict the other one has given way to it.
    [
      'retry.retry_wait_min',
      yieldedDefault('retry_wait_min', retry.waitMinMs, originOfSetting('retry', 'retry_wait_max')),
    ],
    [
      'retry.retry_wait_max',
      yieldedDefault('retry_wait_max', retry.waitMaxMs, originOfSetting('retry', 'retry_wait_min')),
    ],
  ]);
  const gatewayHost = settings.get({ section: 'gateway', name: '' }, 'host')?.value;
  if (gatewayHost?.type === 'text' && /^https?:/i.test(gatewayHost.text.trim())) {
    values.set('gateway.protocol', {
      value: new URL(config.general.hosts.api.origin).protocol.slice(0, -1),
      origin: originOfSetting('gateway', 'host'),
    });
  }
  for (const credential of config.credentials) {
    const head = credential.name === DEFAULT_NAME ? 'credential' : `credential.${credential.name}`;
    for (const [key, derived] of Object.entries(ofCredential(credential, config, settings)))
      values.set(`${head}.${key}`, derived);
  }
  return values;
}

function ofCredential(
  credential: CredentialConfig,
  { credentials }: GatewayConfig,
  settings: Settings,
): Record<string, DerivedValue> {
  const { name, grantType, isDefault, isRequired, hosts } = credential;
  const originOf = createOriginOf(settings);
  const idOf = (other: string): SectionId => ({ section: 'credential', name: other });
  const defaultCredential = credentials.find((one) => one.isDefault);
  const flag = defaultCredential === undefined ? 'default' : originOf(idOf(defaultCredential.name), 'default');
  return {
    grant_type: {
      value: grantType,
      origin: grantType === 'access_token' ? originOf(idOf(name), 'access_token') : 'default',
    },
    default: { value: String(isDefault), origin: flag },
    required: {
      value: String(isRequired),
      origin: settings.get(idOf(name), 'default') ? originOf(idOf(name), 'default') : flag,
    },
    host: { value: hosts.domain, origin: originOf({ section: 'general', name: '' }, 'host') },
  };
}

/** A file where a person logs in or an application holds handles: the first setting that asks for one. */
function originOfStore({ credentials, clients, store }: GatewayConfig, settings: Settings): string {
  if (store.type !== 'file') return 'default';
  const person = credentials.find(({ grantType }) => USER_GRANTS.has(grantType));
  if (person !== undefined) return createOriginOf(settings)({ section: 'credential', name: person.name }, 'grant_type');
  const [client] = settings.names('client').filter(({ name }) => clients.some((one) => one.name === name));
  return client === undefined ? 'default' : `${client.location} (client.${client.name})`;
}

const createOriginOf =
  (settings: Settings) =>
  (id: SectionId, key: string): string => {
    const setting = settings.get(id, key);
    return setting === undefined ? 'default' : `${setting.location} (${setting.label})`;
  };

function yieldedDefault(key: string, ms: number, origin: string): DerivedValue {
  const value = String(ms / 1000);
  return { value, origin: value === optionOf('retry', key).default ? 'default' : origin };
}
