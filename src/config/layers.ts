// The layers of a configuration, flags over environment over file: which setting is given where, as written, and which
// sections and names there are. Nothing is interpreted here.

import type { Option, SecretForm, SectionName } from './options/option.ts';
import { findKey, isNamedSection, keysOf, SDK_ONLY_KEYS, SECTION_NAMES } from './options/table.ts';
import { didYouMean, onOneLine, type Problem, quote } from './problem.ts';
import { err, ok, type Parsed } from './values.ts';

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
  readonly location: string;
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
  readonly location: string;
}

/** All settings that won, and the sections there are. */
export interface Settings {
  get(id: SectionId, key: string): Setting | undefined;
  all(): Iterable<Setting>;
  /**
   * The names used in a section: `default` first, then in the order of their first appearance, file before environment
   * before flags.
   */
  names(section: 'credential' | 'client'): readonly { readonly name: string; readonly location: string }[];
  readonly headers: readonly HeaderSetting[];
}

const slotOf = (id: SectionId, key: string) => `${id.section}\n${id.name}\n${key}`;

/** Merges the layers, highest first. Problems and warnings are added to the given lists. */
export function mergeLayers(layers: readonly Layer[], problems: Problem[], warnings: Problem[]): Settings {
  const winners = new Map<string, Setting>();
  const headers = new Map<string, HeaderSetting>();
  const names = layers.map(() => ({ credential: new Map<string, string>(), client: new Map<string, string>() }));
  const wrongSections = new Set<string>();

  const identify = (written: string, location: string): SectionId | undefined => {
    const parsed = parseSection(written);
    if (parsed.ok) return parsed.value;
    if (SDK_ONLY_KEYS.has(written)) {
      warnings.push({ location, key: onOneLine(written), message: 'only an SDK knows this; it has no effect here' });
    } else if (!wrongSections.has(written)) {
      problems.push({ location, key: '', message: parsed.message });
    }
    wrongSections.add(written);
    return undefined;
  };

  const readLayer = (layer: Layer, index: number): void => {
    const seen = new Map<string, Setting | HeaderSetting>();
    for (const { section, location } of layer.sections ?? []) {
      const id = identify(section, location);
      // An empty [credential] is a heading that somebody left in place; an empty [credential.crm] is a credential that
      // lacks everything.
      if (id !== undefined && (id.section === 'credential' || id.section === 'client') && section !== 'credential')
        remember(id, location, index);
    }
    for (const entry of layer.entries) {
      const id = identify(entry.section, entry.location);
      if (id === undefined) continue;
      if (id.section === 'upstream.headers') {
        const slot = entry.key.toLowerCase();
        const before = seen.get(slot);
        if (before !== undefined && !layer.laterWins)
          problems.push(twice(labelOf(id, entry.key), entry.location, before.location));
        const header = { name: entry.key, value: entry.value, location: entry.location };
        seen.set(slot, header);
        if (!headers.has(slot) || layer.laterWins) headers.set(slot, header);
        continue;
      }
      const setting = recognise(id, entry, layer, index);
      if (setting === undefined) continue;
      const slot = slotOf(id, setting.option.key);
      const before = seen.get(slot);
      if (before !== undefined && !layer.laterWins)
        problems.push(twice(setting.label, entry.location, before.location));
      seen.set(slot, setting);
      remember(id, entry.location, index);
      if (!winners.has(slot) || (layer.laterWins && winners.get(slot)?.layer === index)) winners.set(slot, setting);
    }
  };

  const remember = (id: SectionId, location: string, index: number): void => {
    if (id.section !== 'credential' && id.section !== 'client') return;
    const known = names[index]?.[id.section];
    if (known?.has(id.name) === false) known.set(id.name, location);
  };

  const recognise = (id: SectionId, entry: RawEntry, layer: Layer, index: number): Setting | undefined => {
    const label = onOneLine(labelOf(id, entry.key));
    const match = findKey(id.section, entry.key);
    if (match !== undefined) {
      const { section: _section, key: _key, ...rest } = entry;
      return {
        ...rest,
        id,
        ...match,
        label,
        baseFolder: layer.baseFolder,
        layer: index,
        isFromFile: layer.isFile === true,
      };
    }
    if (SDK_ONLY_KEYS.has(`${id.section}.${entry.key}`)) {
      const ours =
        id.section === 'proxy' ? `: write proxy.${entry.key.endsWith('username') ? 'username' : 'password'}` : '';
      warnings.push({
        location: entry.location,
        key: label,
        message: `only an SDK knows this key; it has no effect here${ours}`,
      });
    } else {
      problems.push({
        location: entry.location,
        key: '',
        message: `there is no key ${quote(label)}${didYouMean(entry.key, keysOf(id.section))}`,
      });
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
        for (const [name, location] of layer[section]) if (!fileFirst.has(name)) fileFirst.set(name, location);
      }
      return [...fileFirst].map(([name, location]) => ({ name, location }));
    },
    headers: [...headers.values()],
  };
}

function twice(label: string, location: string, before: string): Problem {
  return { location, key: label, message: `already set at ${before}; keep one of the two` };
}

/** A value before its option is known. JSON's native numbers and booleans keep their spelling and their type. */
export type RawValue =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'number' | 'boolean'; readonly text: string }
  | { readonly type: 'list'; readonly items: readonly string[] }
  /** It was there and could not be read; that has been said already. */
  | { readonly type: 'broken' };

/** One setting as written; `section` may hold a name, `credential.crm`. */
export interface RawEntry {
  readonly section: string;
  readonly key: string;
  readonly value: RawValue;
  readonly location: string;
}

/** A section line, kept because a section may be named and empty. */
export interface RawSection {
  readonly section: string;
  readonly location: string;
}

/** All that one source says, and what is wrong with how it says it. */
export interface RawSource {
  readonly entries: readonly RawEntry[];
  readonly sections: readonly RawSection[];
  readonly problems: readonly Problem[];
  /** Settings were lost to mistakes: what seems to be missing may be there. */
  readonly isIncomplete: boolean;
}

/** A text value. */
export function rawText(text: string): RawValue {
  return { type: 'text', text };
}

/** A section of the table; `name` is '' for the sections that have none. */
export interface SectionId {
  readonly section: SectionName;
  readonly name: string;
}

/** Reads `server`, `server.tls`, `credential`, `credential.crm`, `client.crm`. */
export function parseSection(written: string): Parsed<SectionId> {
  const known = SECTION_NAMES.find((name) => name === written);
  if (known === 'client') return err('a client needs a name; write [client.NAME]');
  if (known === 'credential') return ok({ section: known, name: DEFAULT_NAME });
  if (known !== undefined) return ok({ section: known, name: '' });
  const dot = written.indexOf('.');
  const head = SECTION_NAMES.find((name) => name === written.slice(0, dot));
  if (dot > 0 && head !== undefined && isNamedSection(head)) {
    const name = written.slice(dot + 1);
    const reason = refuseName(name);
    return reason === undefined ? ok({ section: head, name }) : err(reason);
  }
  return err(`there is no section ${quote(`[${written}]`)}${didYouMean(written, SECTION_NAMES)}`);
}

/**
 * How messages call a setting: `server.listen`, `credential.crm.client_id`; the default credential's is
 * `credential.client_id`.
 */
export function labelOf({ section, name }: SectionId, key?: string): string {
  const head = name === '' || (section === 'credential' && name === DEFAULT_NAME) ? section : `${section}.${name}`;
  return key === undefined ? head : `${head}.${key}`;
}

/** Path segments the gateway serves itself; a credential of that name could never be reached as `/NAME/api/v2`. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set([
  'api',
  'login',
  'logout',
  'oauth',
  'streaming',
  'livez',
  'healthz',
  'readyz',
  'metrics',
]);

/** The name of the `[credential]` section that has none. */
export const DEFAULT_NAME = 'default';

/** Why a name cannot be used, or undefined when it can. */
export function refuseName(name: string): string | undefined {
  if (name.length > 64 || !/^[a-z0-9][a-z0-9-]*$/.test(name)) {
    return (
      `${quote(name)} is not a name; use a-z, 0-9 and hyphens, beginning with a letter or digit, at most 64 ` +
      'characters'
    );
  }
  if (RESERVED_NAMES.has(name)) return `"${name}" is a path of the gateway itself; choose another name`;
  return undefined;
}
