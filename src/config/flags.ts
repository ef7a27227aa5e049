// Settings given on the command line: `--set section.key=value` and the short forms. A secret is never taken from here:
// other users see argv.

import { parseSection } from './layers.ts';
import { didYouMean, quote } from './problem.ts';
import { labelOf } from './section.ts';
import { findKey, keysOf } from './table.ts';
import { err, ok, type Parsed, type RawEntry, rawText } from './values.ts';

/** What the command line says about the configuration. */
export interface Overrides {
  /** `--config FILE`. */
  readonly configPath?: string | undefined;
  /** From parseSetFlag and shortFlag, in the order given. */
  readonly entries?: readonly RawEntry[] | undefined;
}

/** Reads `server.listen=127.0.0.1:9000`. The message of a usage error never holds the value. */
export function parseSetFlag(text: string): Parsed<RawEntry> {
  const equals = text.indexOf('=');
  const path = (equals < 0 ? text : text.slice(0, equals)).trim();
  const dot = path.lastIndexOf('.');
  if (equals < 0 || dot < 1) return err(`--set needs section.key=value, as in --set server.listen=127.0.0.1:8080`);
  const section = parseSection(path.slice(0, dot));
  if (!section.ok) return err(`--set ${quote(path)}: ${section.message}`);
  const key = path.slice(dot + 1);
  if (section.value.section !== 'upstream.headers') {
    const match = findKey(section.value.section, key);
    const label = labelOf(section.value, key);
    if (match === undefined) {
      const known = keysOf(section.value.section);
      return err(`--set ${quote(path)}: there is no such key${didYouMean(key, known)}`);
    }
    if (match.option.isSecret && match.form === 'value') {
      return err(
        `--set ${label}: a secret is not taken from the command line, where others see it; use ${label}_file or ` +
          `${label}_env`,
      );
    }
  }
  if (path === 'proxy.url' && /\/\/[^/]*@/.test(text)) {
    return err(
      '--set proxy.url: a password is not taken from the command line; use proxy.username and proxy.password_file ' +
        'or proxy.password_env',
    );
  }
  return ok({
    section: path.slice(0, dot),
    key,
    value: rawText(text.slice(equals + 1)),
    location: `flag --set ${path}`,
  });
}

/** The short forms and what they set. */
export const SHORT_FLAGS = {
  listen: ['server', 'listen'],
  host: ['general', 'host'],
  'log-level': ['logging', 'log_level'],
  'log-format': ['logging', 'log_format'],
} as const satisfies Record<string, readonly [section: string, key: string]>;

/** The setting of a short form such as `--listen VALUE`. */
export function shortFlag(flag: keyof typeof SHORT_FLAGS, value: string): RawEntry {
  const [section, key] = SHORT_FLAGS[flag];
  return { section, key, value: rawText(value), location: `flag --${flag}` };
}

/** Switches that set something to true. */
const SWITCHES: Readonly<Record<string, readonly [section: string, key: string]>> = {
  'read-only': ['server', 'read_only'],
};

/** The setting of a switch such as `--read-only`; undefined for any other flag. */
export function switchSetting(flag: string): RawEntry | undefined {
  const [section, key] = (Object.hasOwn(SWITCHES, flag) && SWITCHES[flag]) || [];
  if (section === undefined || key === undefined) return undefined;
  return { section, key, value: rawText('true'), location: `flag --${flag}` };
}
