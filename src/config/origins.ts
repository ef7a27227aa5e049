// For `gcg config`: every effective value and where it came from. Secrets are masked here, so that no caller can forget to.

import type { CredentialConfig, GatewayConfig } from './gateway-config.ts';
import { formatListenAddress } from './listen-address.ts';
import { DEFAULT_NAME } from './names.ts';
import type { SectionName } from './option.ts';
import { isNamedSection, optionsOf, SECTION_NAMES } from './options.ts';
import { onOneLine, withoutUserInfo } from './problem.ts';
import type { RawValue } from './raw-entry.ts';
import { REDACTED } from './secret.ts';
import { labelOf } from './section-name.ts';
import type { Setting, Settings } from './settings.ts';

/** One effective value. */
export interface OriginEntry {
  /** `server.listen`, `credential.crm.client_secret_file`. */
  readonly key: string;
  /** null: not set. */
  readonly value: string | null;
  /** `default`, `config.ini:12`, `env GCG_X`, `flag --listen`. */
  readonly origin: string;
}

/** All options of the sections without a name, and of each credential and client; then the upstream headers. */
export function listOrigins(settings: Settings, config: GatewayConfig): OriginEntry[] {
  const computed = computedDefaults(config);
  const entries: OriginEntry[] = [];
  const list = (section: SectionName, name: string, head: string) => {
    for (const option of optionsOf(section)) {
      const setting = settings.get({ section, name }, option.key);
      const key = `${head}.${option.key}`;
      entries.push(setting === undefined ? { key, value: computed.get(key) ?? option.default, origin: 'default' } : shownSetting(setting));
    }
  };
  for (const section of SECTION_NAMES) {
    if (!isNamedSection(section)) list(section, '', section);
    else for (const { name } of settings.names(section)) list(section, name, labelOf({ section, name }));
  }
  // Somebody may give another gateway its key this way.
  for (const { name, value, where } of settings.headers) {
    entries.push({
      key: `upstream.headers.${onOneLine(name)}`,
      value: /auth|token|secret|key|pass/i.test(name) ? REDACTED : onOneLine(withoutUserInfo(textOf(value))),
      origin: where,
    });
  }
  return entries;
}

function shownSetting({ option, form, value, where, label }: Setting): OriginEntry {
  const text = textOf(value);
  const isMasked = option.isSecret && form === 'value';
  return { key: label, value: isMasked ? REDACTED : onOneLine(withoutUserInfo(text)), origin: where };
}

function textOf(value: RawValue): string {
  if (value.type === 'broken') return '';
  return value.type === 'list' ? value.items.join(', ') : value.text.trim();
}

/** What the options without a fixed default came to. */
function computedDefaults(config: GatewayConfig): Map<string, string> {
  const values = new Map<string, string>([
    ['server.admin_listen', config.server.adminListen.map(formatListenAddress).join(', ') || 'none'],
    ['logging.log_format', config.logging.format],
    ['store.type', config.store.type],
    ['store.path', config.store.path],
  ]);
  for (const credential of config.credentials) {
    const head = credential.name === DEFAULT_NAME ? 'credential' : `credential.${credential.name}`;
    for (const [key, value] of Object.entries(computedOf(credential))) values.set(`${head}.${key}`, value);
  }
  return values;
}

function computedOf({ grantType, isDefault, isRequired, hosts }: CredentialConfig): Record<string, string> {
  return { grant_type: grantType, default: String(isDefault), required: String(isRequired), host: hosts.domain };
}
