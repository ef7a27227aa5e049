// For `gcg config`: every effective value and where it came from. Secrets are masked here, so that no caller can forget to.

import { derivedValues } from './derived-values.ts';
import type { GatewayConfig } from './gateway-config.ts';
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
  /** `default`, `config.ini:12`, `env GCG_X`, `flag --listen`; where another setting decided, that one: `config.ini:2 (general.host)`. */
  readonly origin: string;
}

/** All options of the sections without a name, and of each credential and client; then the upstream headers. */
export function listOrigins(settings: Settings, config: GatewayConfig, env: Readonly<Record<string, string | undefined>>): OriginEntry[] {
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
