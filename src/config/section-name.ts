// From a section as written to the section of the table and, for [credential.NAME] and [client.NAME], its name.

import { DEFAULT_NAME, refuseName } from './names.ts';
import { didYouMean } from './nearest.ts';
import type { SectionName } from './option.ts';
import { isNamedSection, SECTION_NAMES } from './options.ts';
import { shown } from './problem.ts';
import { accepted, type Parsed, refused } from './values.ts';

/** A section of the table; `name` is '' for the sections that have none. */
export interface SectionId {
  readonly section: SectionName;
  readonly name: string;
}

/** Reads `server`, `server.tls`, `credential`, `credential.crm`, `client.crm`. */
export function parseSection(written: string): Parsed<SectionId> {
  const known = SECTION_NAMES.find((name) => name === written);
  if (known === 'client') return refused('a client needs a name; write [client.NAME]');
  if (known === 'credential') return accepted({ section: known, name: DEFAULT_NAME });
  if (known !== undefined) return accepted({ section: known, name: '' });
  const dot = written.indexOf('.');
  const head = SECTION_NAMES.find((name) => name === written.slice(0, dot));
  if (dot > 0 && head !== undefined && isNamedSection(head)) {
    const name = written.slice(dot + 1);
    const reason = refuseName(name);
    return reason === undefined ? accepted({ section: head, name }) : refused(reason);
  }
  return refused(`there is no section ${shown(`[${written}]`)}${didYouMean(written, SECTION_NAMES)}`);
}

/** How messages call a setting: `server.listen`, `credential.crm.client_id`; the default credential's is `credential.client_id`. */
export function labelOf({ section, name }: SectionId, key?: string): string {
  const head = name === '' || (section === 'credential' && name === DEFAULT_NAME) ? section : `${section}.${name}`;
  return key === undefined ? head : `${head}.${key}`;
}
