// Environment variables as settings: GCG_*, named by section and key; GCG_DEFAULT_*, by which an image or a unit gives
// defaults of its own, below the file; and a few GENESYSCLOUD_* ones that are used when there is no file. A variable that fits no option is a warning, since containers hold variables of other programs.

import { didYouMean, type Problem } from './problem.ts';
import { labelOf } from './section.ts';
import { keysOf, SECTIONS } from './table.ts';
import { type RawEntry, rawText } from './values.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Variables of ours that are not settings. */
export const NOT_SETTINGS: ReadonlySet<string> = new Set(['GCG_CONFIG', 'GCG_ADMIN_KEY', 'GCG_DEBUG']);

/** What variables begin with that count less than the file. */
export const PRESET_PREFIX = 'GCG_DEFAULT_';

/** The variables of sections without a NAME, as `GCG_SERVER_TLS_CERT_FILE`, with section and key. */
const PLAIN_NAMES = new Map<string, { readonly section: string; readonly key: string }>(
  SECTIONS.filter(({ isNamed }) => !isNamed).flatMap(({ name: section }) =>
    keysOf(section).map((key) => [envName(section, '', key), { section, key }]),
  ),
);

/** Keys of the sections with a NAME, longest first: the longest known suffix wins. */
const NAMED_KEYS = SECTIONS.filter(({ isNamed }) => isNamed).map(({ name: section }) => ({
  section,
  prefix: `GCG_${section.toUpperCase()}_`,
  keys: keysOf(section).sort((a, b) => b.length - a.length),
}));

/** The variable that sets an option: `GCG_CREDENTIAL_CRM_CLIENT_ID`. */
export function envName(section: string, name: string, key: string): string {
  return `GCG_${labelOf({ section, name }, key).replaceAll(/[.-]/g, '_').toUpperCase()}`;
}

/** What a GCG_ variable sets; undefined when it is not one of ours. Names are in lower case with hyphens. */
export function parseEnvName(variable: string): { readonly section: string; readonly key: string } | undefined {
  const originOfSetting = PLAIN_NAMES.get(variable);
  if (originOfSetting !== undefined) return originOfSetting;
  const headers = 'GCG_UPSTREAM_HEADERS_';
  if (variable.startsWith(headers) && variable.length > headers.length) {
    return { section: 'upstream.headers', key: headerCase(variable.slice(headers.length)) };
  }
  for (const { section, prefix, keys } of NAMED_KEYS) {
    if (!variable.startsWith(prefix)) continue;
    const rest = variable.slice(prefix.length).toLowerCase();
    if (/[^a-z0-9_]/.test(rest)) return undefined;
    const key = keys.find((candidate) => rest === candidate || rest.endsWith(`_${candidate}`));
    if (key === undefined) return undefined;
    const name = rest.slice(0, -key.length - 1).replaceAll('_', '-');
    if (name === '' && section === 'client') return undefined;
    return { section: name === '' ? section : `${section}.${name}`, key };
  }
  return undefined;
}

/** Converts GENESYS_APP to Genesys-App. */
function headerCase(words: string): string {
  return words
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase())
    .join('-');
}

/** All GCG_* settings. Values never appear in the warnings. */
export function readEnvironment(env: Environment): { entries: RawEntry[]; warnings: Problem[] } {
  const entries: RawEntry[] = [];
  const warnings: Problem[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith('GCG_') || text === undefined || NOT_SETTINGS.has(variable)) continue;
    if (variable.startsWith(PRESET_PREFIX)) continue;
    const setting = parseEnvName(variable);
    if (setting !== undefined) {
      entries.push({ ...setting, value: rawText(text), location: `env ${variable}` });
    } else {
      const likely = suggestions(variable);
      const hint = likely.length === 1 ? `; did you mean "${likely[0]}"?` : didYouMean(variable, likely);
      warnings.push({ location: `env ${variable}`, key: '', message: `no option has this name; it is ignored${hint}` });
    }
  }
  return { entries, warnings };
}

/**
 * All GCG_DEFAULT_* settings: what an image or a unit sets for everybody, and any file may set otherwise. Credentials and
 * clients have no such defaults.
 */
export function readPresets(env: Environment): { entries: RawEntry[]; warnings: Problem[] } {
  const entries: RawEntry[] = [];
  const warnings: Problem[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(PRESET_PREFIX) || text === undefined) continue;
    const setting = PLAIN_NAMES.get(`GCG_${variable.slice(PRESET_PREFIX.length)}`);
    const location = `env ${variable}`;
    if (setting !== undefined) entries.push({ ...setting, value: rawText(text), location });
    else warnings.push({ location, key: '', message: 'no option has this name, or it can have no default of yours' });
  }
  return { entries, warnings };
}

/** Variables that may have been meant. A misspelling is mostly in the key, so the NAME is tried with every key. */
function suggestions(variable: string): string[] {
  const forgotten = variable.replace(/^GCG_CLIENT_/, 'GCG_CREDENTIAL_CLIENT_');
  if (parseEnvName(forgotten) !== undefined) return [forgotten];
  const named = NAMED_KEYS.flatMap(({ section, prefix, keys }) => {
    const name = variable.startsWith(prefix) ? /^([A-Z0-9]+)_/.exec(variable.slice(prefix.length))?.[1] : undefined;
    return keys.flatMap((key) => [
      envName(section, '', key),
      ...(name === undefined ? [] : [envName(section, name.toLowerCase(), key)]),
    ]);
  });
  return [
    ...PLAIN_NAMES.keys(),
    ...named.filter((candidate) => parseEnvName(candidate) !== undefined),
    ...NOT_SETTINGS,
  ];
}

/** The variables of Genesys' own CLI and Terraform provider. */
const GENESYS_NAMES: readonly (readonly [variable: string, section: string, key: string])[] = [
  ['GENESYSCLOUD_REGION', 'general', 'host'],
  ['GENESYSCLOUD_OAUTHCLIENT_ID', 'credential', 'client_id'],
  ['GENESYSCLOUD_OAUTHCLIENT_SECRET', 'credential', 'client_secret'],
  ['GENESYSCLOUD_ACCESS_TOKEN', 'credential', 'access_token'],
];

/**
 * The GENESYSCLOUD_* settings, for use when there is no configuration file; empty ones do not count. A region on this
 * machine is how `gc` is pointed at a gateway, so it is left out with a warning.
 */
export function readGenesysEnvironment(env: Environment): { entries: RawEntry[]; warnings: Problem[] } {
  const entries: RawEntry[] = [];
  const warnings: Problem[] = [];
  for (const [variable, section, key] of GENESYS_NAMES) {
    const text = env[variable];
    if (text === undefined || text.trim() === '') continue;
    const location = `env ${variable}`;
    if (key === 'host' && /^(https?:\/\/)?(localhost|127\.|\[::1\])/i.test(text.trim())) {
      warnings.push({
        location,
        key: 'general.host',
        message: 'names this machine, which is how gc is pointed at a gateway; it is ignored here',
      });
    } else {
      entries.push({ section, key, value: rawText(text), location });
    }
  }
  return { entries, warnings };
}
