// Merges the layers of a configuration: flags over environment over file. Finds which setting is set where, and which
// sections and names there are. It does not interpret values.

import type { Findings } from './find-file.ts';
import type { SectionId, Setting } from './option.ts';
import { didYouMean, onOneLine, quote } from './problem.ts';
import { DEFAULT_NAME, labelOf, type WrittenSettings } from './section.ts';
import type { HeaderSetting } from './sections/traffic.ts';
import { findKey, keysOf, SDK_ONLY_KEYS, SECTIONS } from './table.ts';
import { err, ok, type Parsed, type RawEntry, type RawSection } from './values.ts';

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

/** All settings that count. */
export interface Settings extends WrittenSettings {
  all(): Iterable<Setting>;
  /** False where a key of `[server]` or `[server.tls]`, or a whole section, was not understood. */
  readonly isServerWhole: boolean;
  /** False where a section was reported as unknown: it may have been meant as another. */
  readonly areSectionsKnown: boolean;
  readonly headers: readonly HeaderSetting[];
}

/** Merges layers, given highest first. */
export function mergeLayers(layers: readonly Layer[], findings: Findings): Settings {
  const merged = new MergedLayers(findings);
  for (const layer of layers) merged.add(layer);
  return merged;
}

const slotOf = (id: SectionId, key: string) => `${id.section}\n${id.name}\n${key}`;

/** Where each option of one layer was set last. */
type Seen = Map<string, string>;

/** Merged layers. Adds a problem for each setting that is set twice or unknown. */
class MergedLayers implements Settings {
  readonly #findings: Findings;
  /** The highest setting of each option. */
  readonly #winners = new Map<string, Setting>();
  /** The highest value of each header, by its name in lower case. */
  readonly #headers = new Map<string, HeaderSetting>();
  /** Names of credentials and clients, and where each appears first, by layer. */
  readonly #names: { readonly credential: Map<string, string>; readonly client: Map<string, string> }[] = [];
  /** Sections that were reported as unknown: once is enough. */
  readonly #unknownSections = new Set<string>();
  #isServerWhole = true;

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  get headers(): readonly HeaderSetting[] {
    return [...this.#headers.values()];
  }

  get isServerWhole(): boolean {
    return this.#isServerWhole && this.#unknownSections.size === 0;
  }

  get areSectionsKnown(): boolean {
    return [...this.#unknownSections].every((written) => SDK_ONLY_KEYS.has(written));
  }

  get(id: SectionId, key: string): Setting | undefined {
    return this.#winners.get(slotOf(id, key));
  }

  all(): Iterable<Setting> {
    return this.#winners.values();
  }

  names(section: 'credential' | 'client'): { readonly name: string; readonly location: string }[] {
    const found = new Map<string, string>();
    const ofDefault = this.#names.findLast((layer) => layer[section].has(DEFAULT_NAME))?.[section].get(DEFAULT_NAME);
    if (ofDefault !== undefined) found.set(DEFAULT_NAME, ofDefault);
    for (const layer of this.#names.toReversed()) {
      for (const [name, location] of layer[section]) if (!found.has(name)) found.set(name, location);
    }
    return [...found].map(([name, location]) => ({ name, location }));
  }

  /** Adds a layer below those that are there. */
  add(layer: Layer): void {
    const depth = this.#names.push({ credential: new Map(), client: new Map() }) - 1;
    for (const { section, location } of layer.sections ?? []) {
      const id = this.#identify(section, location);
      // An empty [credential] is a heading that somebody left in place; an empty [credential.crm] is a credential that
      // lacks everything.
      if (id !== undefined && section !== 'credential') this.#remember(id, location, depth);
    }
    const seen: Seen = new Map();
    for (const entry of layer.entries) {
      const id = this.#identify(entry.section, entry.location);
      if (id?.section === 'upstream.headers') this.#addHeader(id, entry, layer, seen);
      else if (id !== undefined) this.#addSetting(id, entry, layer, depth, seen);
    }
  }

  #addHeader(id: SectionId, entry: RawEntry, layer: Layer, seen: Seen): void {
    const { key, value, location } = entry;
    const slot = key.toLowerCase();
    this.#assertOnce(slot, labelOf(id, key), location, layer, seen);
    if (!this.#headers.has(slot) || layer.laterWins) this.#headers.set(slot, { name: key, value, location });
  }

  #addSetting(id: SectionId, entry: RawEntry, layer: Layer, depth: number, seen: Seen): void {
    const label = onOneLine(labelOf(id, entry.key));
    const match = findKey(id.section, entry.key);
    if (match === undefined) {
      this.#reportUnknownKey(id, entry, label);
      return;
    }
    const { value, location } = entry;
    const { key, isSecret = false } = match.option;
    const slot = slotOf(id, key);
    this.#assertOnce(slot, label, location, layer, seen);
    this.#remember(id, location, depth);
    const winner = this.#winners.get(slot);
    if (winner !== undefined && !(layer.laterWins && winner.layer === depth)) return;
    const { baseFolder, isFile: isFromFile = false } = layer;
    const form = match.form;
    this.#winners.set(slot, { id, key, isSecret, form, value, location, baseFolder, layer: depth, isFromFile, label });
  }

  #assertOnce(slot: string, label: string, location: string, layer: Layer, seen: Seen): void {
    const before = seen.get(slot);
    if (before !== undefined && !layer.laterWins) {
      const message = `already set at ${before}; keep one of the two`;
      this.#findings.problems.push({ location, key: label, message });
    }
    seen.set(slot, location);
  }

  #remember({ section, name }: SectionId, location: string, depth: number): void {
    if (section !== 'credential' && section !== 'client') return;
    const known = this.#names[depth]?.[section];
    if (known?.has(name) === false) known.set(name, location);
  }

  /** The section of that name; undefined, and reported, where there is none. */
  #identify(written: string, location: string): SectionId | undefined {
    const parsed = parseSection(written);
    if (parsed.ok) return parsed.value;
    const { problems, warnings } = this.#findings;
    if (SDK_ONLY_KEYS.has(written)) {
      warnings.push({ location, key: onOneLine(written), message: 'only an SDK knows this; it has no effect here' });
    } else if (!this.#unknownSections.has(written)) {
      problems.push({ location, key: '', message: parsed.message });
    }
    this.#unknownSections.add(written);
    return undefined;
  }

  #reportUnknownKey(id: SectionId, { key, location }: RawEntry, label: string): void {
    if (SDK_ONLY_KEYS.has(`${id.section}.${key}`)) {
      const ours = id.section === 'proxy' ? `: write proxy.${key.endsWith('username') ? 'username' : 'password'}` : '';
      const message = `only an SDK knows this key; it has no effect here${ours}`;
      this.#findings.warnings.push({ location, key: label, message });
      return;
    }
    if (id.section === 'server' || id.section === 'server.tls') this.#isServerWhole = false;
    const message = `there is no key ${quote(label)}${didYouMean(key, keysOf(id.section))}`;
    this.#findings.problems.push({ location, key: '', message });
  }
}

const SECTION_NAMES = SECTIONS.map(({ name }) => name);

/** Reads `server`, `server.tls`, `credential`, `credential.crm`, `client.crm`. */
export function parseSection(written: string): Parsed<SectionId> {
  const section = SECTIONS.find(({ name }) => name === written);
  if (section?.name === 'client') return err('a client needs a name; write [client.NAME]');
  if (section !== undefined) return ok({ section: section.name, name: section.isNamed ? DEFAULT_NAME : '' });
  const dot = written.indexOf('.');
  const named = SECTIONS.find(({ name, isNamed }) => isNamed && name === written.slice(0, dot));
  if (dot < 1 || named === undefined)
    return err(`there is no section ${quote(`[${written}]`)}${didYouMean(written, SECTION_NAMES)}`);
  const name = written.slice(dot + 1);
  const reason = refuseName(name);
  return reason === undefined ? ok({ section: named.name, name }) : err(reason);
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
