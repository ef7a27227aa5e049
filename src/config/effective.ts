// Effective settings: the value of every option and where it comes from (default, file and line, environment, flag, or
// another setting that it follows from).

import { REDACTED } from '../redacted.ts';
import { type CredentialConfig, defaultCredential, type GatewayConfig } from './gateway-config.ts';
import type { Settings } from './layers.ts';
import { formatListenAddress } from './listen-address.ts';
import type { SectionId, Setting } from './option.ts';
import { onOneLine, withoutUserInfo } from './problem.ts';
import { labelOf } from './section.ts';
import { USER_GRANTS } from './sections/credential.ts';
import { findKey, SECTIONS } from './table.ts';
import type { RawValue } from './values.ts';

/** One option with its value in effect. */
export interface EffectiveSetting {
  /** `server.listen`, `credential.crm.client_secret_file`. */
  readonly key: string;
  /** Secrets are masked; null: not set. */
  readonly value: string | null;
  /**
   * `default`, `config.ini:12`, `env GCG_X`, `flag --listen`; where another setting decided, that one: `config.ini:2
   * (general.host)`.
   */
  readonly origin: string;
}

/** All options of the sections without a name, and of each credential and client; then the upstream headers. */
export function effectiveSettings(
  settings: Settings,
  config: GatewayConfig,
  env: Readonly<Record<string, string | undefined>>,
): EffectiveSetting[] {
  const derived = new DerivedValues(settings, config, env).all();
  const effective = SECTIONS.flatMap(({ name: section, isNamed, rows }) => {
    const names = isNamed ? settings.names(section as 'credential' | 'client').map(({ name }) => name) : [''];
    return names.flatMap((name) =>
      rows.map((option): EffectiveSetting => {
        const setting = settings.get({ section, name }, option.key);
        if (setting !== undefined) return asEffective(setting);
        const key = labelOf({ section, name }, option.key);
        return { key, ...(derived.get(key) ?? { value: option.default, origin: 'default' }) };
      }),
    );
  });
  const headers = settings.headers.map(({ name, value, location }) => ({
    key: `upstream.headers.${onOneLine(name)}`,
    // A header may hold the key of another gateway.
    value: /auth|token|secret|key|pass/i.test(name) ? REDACTED : onOneLine(withoutUserInfo(textOf(value))),
    origin: location,
  }));
  return [...effective, ...headers];
}

function asEffective({ isSecret, form, value, location, label }: Setting): EffectiveSetting {
  const isMasked = isSecret && form === 'value';
  return { key: label, value: isMasked ? REDACTED : onOneLine(withoutUserInfo(textOf(value))), origin: location };
}

function textOf(value: RawValue): string {
  if (value.type === 'broken') return '';
  return value.type === 'list' ? value.items.join(', ') : value.text.trim();
}

/** A value that no source sets. */
interface DerivedValue {
  readonly value: string;
  /** `gcg.ini:2 (general.host)`, `env XDG_STATE_HOME`, or `default`. */
  readonly origin: string;
}

/** Values of options that no source sets and that are not simply the default of the table. */
class DerivedValues {
  readonly #settings: Settings;
  readonly #config: GatewayConfig;
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(settings: Settings, config: GatewayConfig, env: Readonly<Record<string, string | undefined>>) {
    this.#settings = settings;
    this.#config = config;
    this.#env = env;
  }

  /** By key, for all options that may have one. */
  all(): ReadonlyMap<string, DerivedValue> {
    const { server, logging, store, retry, credentials } = this.#config;
    const xdg = this.#env.XDG_STATE_HOME;
    const isOnXdg = xdg !== undefined && store.path.startsWith(xdg);
    const adminListen = server.adminListen.map(formatListenAddress).join(', ') || 'none';
    return new Map<string, DerivedValue>([
      ['server.admin_listen', { value: adminListen, origin: this.#originOfSetting('server', 'listen') }],
      ['logging.log_format', { value: logging.format, origin: 'default' }],
      ['store.type', { value: store.type, origin: this.#originOfStore() }],
      ['store.path', { value: store.path, origin: isOnXdg ? 'env XDG_STATE_HOME' : 'default' }],
      ['retry.retry_wait_min', this.#yieldedDefault('retry_wait_min', retry.waitMinMs, 'retry_wait_max')],
      ['retry.retry_wait_max', this.#yieldedDefault('retry_wait_max', retry.waitMaxMs, 'retry_wait_min')],
      ...this.#gatewayProtocol(),
      ...credentials.flatMap((credential) => this.#ofCredential(credential)),
    ]);
  }

  #originOf(id: SectionId, key: string): string {
    const setting = this.#settings.get(id, key);
    return setting === undefined ? 'default' : `${setting.location} (${setting.label})`;
  }

  /** The same in a section without a name. */
  #originOfSetting(section: string, key: string): string {
    return this.#originOf({ section, name: '' }, key);
  }

  /** A default that gives way where it would contradict another setting. */
  #yieldedDefault(key: string, ms: number, otherKey: string): DerivedValue {
    const value = String(ms / 1000);
    const isDefault = value === findKey('retry', key)?.option.default;
    return { value, origin: isDefault ? 'default' : this.#originOfSetting('retry', otherKey) };
  }

  #gatewayProtocol(): [key: string, DerivedValue][] {
    const host = this.#settings.get({ section: 'gateway', name: '' }, 'host')?.value;
    if (host?.type !== 'text' || !/^https?:/i.test(host.text.trim())) return [];
    const value = new URL(this.#config.general.hosts.api.origin).protocol.slice(0, -1);
    return [['gateway.protocol', { value, origin: this.#originOfSetting('gateway', 'host') }]];
  }

  #ofCredential({ name, grantType, isDefault, isRequired, hosts }: CredentialConfig): [key: string, DerivedValue][] {
    const id: SectionId = { section: 'credential', name };
    const chosen = defaultCredential(this.#config);
    const flag = chosen === undefined ? 'default' : this.#originOf({ ...id, name: chosen.name }, 'default');
    const isFlagged = this.#settings.get(id, 'default') !== undefined;
    const values: Record<string, DerivedValue> = {
      grant_type: {
        value: grantType,
        origin: grantType === 'access_token' ? this.#originOf(id, 'access_token') : 'default',
      },
      default: { value: String(isDefault), origin: flag },
      required: { value: String(isRequired), origin: isFlagged ? this.#originOf(id, 'default') : flag },
      host: { value: hosts.domain, origin: this.#originOfSetting('general', 'host') },
    };
    return Object.entries(values).map(([key, value]) => [labelOf(id, key), value]);
  }

  /** The first setting that needs a file store: a grant in which a person logs in, or a client. */
  #originOfStore(): string {
    const { credentials, clients, store } = this.#config;
    if (store.type !== 'file') return 'default';
    const person = credentials.find(({ grantType }) => USER_GRANTS.has(grantType));
    if (person !== undefined) return this.#originOf({ section: 'credential', name: person.name }, 'grant_type');
    const [client] = this.#settings.names('client').filter(({ name }) => clients.some((one) => one.name === name));
    return client === undefined ? 'default' : `${client.location} (client.${client.name})`;
  }
}
