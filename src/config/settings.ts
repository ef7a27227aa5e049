// Lays the sources over each other: for each option the highest source that sets it wins. Names every unknown section and key.
// Values are not read here; a secret's three forms (X, X_file, X_env) count as one setting.

import { DEFAULT_NAME } from './names.ts';
import { didYouMean } from './nearest.ts';
import type { Option, SecretForm } from './option.ts';
import { findKey, keysOf, SDK_ONLY_KEYS } from './options.ts';
import { onOneLine, type Problem, shown } from './problem.ts';
import type { RawEntry, RawSection, RawValue } from './raw-entry.ts';
import { labelOf, parseSection, type SectionId } from './section-name.ts';

/** A source of settings: flags beat the environment, which beats the file. */
export interface Layer {
  readonly entries: readonly RawEntry[];
  readonly sections?: readonly RawSection[];
  /** Relative paths are taken from here. */
  readonly baseFolder: string;
  /** Later entries replace earlier ones (flags); otherwise that is an error. */
  readonly laterWins?: boolean;
  readonly isFile?: boolean;
}

/** One setting that won. */
export interface Setting {
  readonly id: SectionId;
  readonly option: Option;
  readonly form: SecretForm;
  readonly value: RawValue;
  readonly where: string;
  readonly baseFolder: string;
  /** 0 is the highest. */
  readonly layer: number;
  readonly isFromFile: boolean;
  /** `credential.crm.client_secret_file`, as written. */
  readonly label: string;
}

/** One `[upstream.headers]` line. */
export interface HeaderSetting {
  readonly name: string;
  readonly value: RawValue;
  readonly where: string;
}

/** All settings that won, and the sections there are. */
export interface Settings {
  get(id: SectionId, key: string): Setting | undefined;
  all(): Iterable<Setting>;
  /** The names used in a section: `default` first, then in the order of their first appearance, file before environment before flags. */
  names(section: 'credential' | 'client'): readonly { readonly name: string; readonly where: string }[];
  readonly headers: readonly HeaderSetting[];
}

const slotOf = (id: SectionId, key: string) => `${id.section}\n${id.name}\n${key}`;

/** Merges the layers, highest first. Problems and warnings are added to the given lists. */
export function mergeLayers(layers: readonly Layer[], problems: Problem[], warnings: Problem[]): Settings {
  const winners = new Map<string, Setting>();
  const headers = new Map<string, HeaderSetting>();
  const names = layers.map(() => ({ credential: new Map<string, string>(), client: new Map<string, string>() }));
  const wrongSections = new Set<string>();

  const identify = (written: string, where: string): SectionId | undefined => {
    const parsed = parseSection(written);
    if (parsed.ok) return parsed.value;
    if (SDK_ONLY_KEYS.has(written)) {
      warnings.push({ where, key: onOneLine(written), message: 'only an SDK knows this; it has no effect here' });
    } else if (!wrongSections.has(written)) {
      problems.push({ where, key: '', message: parsed.message });
    }
    wrongSections.add(written);
    return undefined;
  };

  const readLayer = (layer: Layer, index: number): void => {
    const seen = new Map<string, Setting | HeaderSetting>();
    for (const { section, where } of layer.sections ?? []) {
      const id = identify(section, where);
      // An empty [credential] is a heading that somebody left in place; an empty [credential.crm] is a credential that lacks everything.
      if (id !== undefined && (id.section === 'credential' || id.section === 'client') && section !== 'credential') remember(id, where, index);
    }
    for (const entry of layer.entries) {
      const id = identify(entry.section, entry.where);
      if (id === undefined) continue;
      if (id.section === 'upstream.headers') {
        const slot = entry.key.toLowerCase();
        const before = seen.get(slot);
        if (before !== undefined && !layer.laterWins) problems.push(twice(labelOf(id, entry.key), entry.where, before.where));
        const header = { name: entry.key, value: entry.value, where: entry.where };
        seen.set(slot, header);
        if (!headers.has(slot) || layer.laterWins) headers.set(slot, header);
        continue;
      }
      const setting = recognise(id, entry, layer, index);
      if (setting === undefined) continue;
      const slot = slotOf(id, setting.option.key);
      const before = seen.get(slot);
      if (before !== undefined && !layer.laterWins) problems.push(twice(setting.label, entry.where, before.where));
      seen.set(slot, setting);
      remember(id, entry.where, index);
      if (!winners.has(slot) || (layer.laterWins && winners.get(slot)?.layer === index)) winners.set(slot, setting);
    }
  };

  const remember = (id: SectionId, where: string, index: number): void => {
    if (id.section !== 'credential' && id.section !== 'client') return;
    const known = names[index]?.[id.section];
    if (known?.has(id.name) === false) known.set(id.name, where);
  };

  const recognise = (id: SectionId, entry: RawEntry, layer: Layer, index: number): Setting | undefined => {
    const label = onOneLine(labelOf(id, entry.key));
    const match = findKey(id.section, entry.key);
    if (match !== undefined) {
      const { section: _section, key: _key, ...rest } = entry;
      return { ...rest, id, ...match, label, baseFolder: layer.baseFolder, layer: index, isFromFile: layer.isFile === true };
    }
    if (SDK_ONLY_KEYS.has(`${id.section}.${entry.key}`)) {
      const ours = id.section === 'proxy' ? `: write proxy.${entry.key.endsWith('username') ? 'username' : 'password'}` : '';
      warnings.push({ where: entry.where, key: label, message: `only an SDK knows this key; it has no effect here${ours}` });
    } else {
      problems.push({ where: entry.where, key: '', message: `there is no key ${shown(label)}${didYouMean(entry.key, keysOf(id.section))}` });
    }
    return undefined;
  };

  layers.forEach(readLayer);
  return {
    get: (id, key) => winners.get(slotOf(id, key)),
    all: () => winners.values(),
    names(section) {
      const fileFirst = new Map<string, string>();
      const ofDefault = names.findLast((layer) => layer[section].has(DEFAULT_NAME))?.[section].get(DEFAULT_NAME);
      if (ofDefault !== undefined) fileFirst.set(DEFAULT_NAME, ofDefault);
      for (const layer of names.toReversed()) {
        for (const [name, where] of layer[section]) if (!fileFirst.has(name)) fileFirst.set(name, where);
      }
      return [...fileFirst].map(([name, where]) => ({ name, where }));
    },
    headers: [...headers.values()],
  };
}

function twice(label: string, where: string, before: string): Problem {
  return { where, key: label, message: `already set at ${before}; keep one of the two` };
}
