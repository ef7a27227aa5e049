// Reads the settings of one section: kinds, defaults, and a problem for each that does not fit.

import { isGatewayError } from '../errors.ts';
import { isReadableByOthers } from '../fs/permissions.ts';
import { fileSecret, inlineSecret, type SecretSource } from '../secret.ts';
import { pathsOf } from './file.ts';
import { DEFAULT_NAME, type Setting, type Settings } from './layers.ts';
import type { Option, OptionKind, SectionName } from './options/option.ts';
import { optionOf } from './options/table.ts';
import type { Problem } from './problem.ts';
import {
  isPrintable,
  type Parsed,
  parseBoolean,
  parseChoice,
  parseDuration,
  parseInteger,
  splitCommas,
} from './values.ts';

/**
 * The settings of one section (and name). Every method throws TypeError when the option table says another kind: a
 * mistake of ours.
 */
export interface SectionReader {
  text(key: string): string | null;
  boolean(key: string): boolean;
  /** Like `boolean`, for options without a fixed default. */
  maybeBoolean(key: string): boolean | null;
  integer(key: string): number;
  maybeInteger(key: string): number | null;
  integerOr<W extends string>(key: string, word: W): number | W;
  durationMs(key: string): number;
  choice<T extends string>(key: string, choices: readonly T[]): T | null;
  list(key: string): readonly string[];
  path(key: string): string | null;
  secret(key: string): SecretSource | null;
  isSet(key: string): boolean;
  /** Where a key was set; when it was not, the whole section's origin, or `configuration`. */
  location(key: string): string;
  setting(key: string): Setting | undefined;
  /** Adds a problem (or warning) about a key. */
  problem(key: string, message: string): void;
  /** The same for a key that is not there; says nothing when it may have been lost to another mistake. */
  missing(key: string, message: string): void;
  warning(key: string, message: string): void;
}

/** A reader of one section; `where` is the origin of a section with a name. */
export function createSectionReader(
  context: ReaderContext,
  section: SectionName,
  name = '',
  location = 'configuration',
): SectionReader {
  const id = { section, name };
  const head = name === '' || (section === 'credential' && name === DEFAULT_NAME) ? section : `${section}.${name}`;
  const get = (key: string): Setting | undefined => context.settings.get(id, key);
  const locationOf = (key: string): string => get(key)?.location ?? location;
  const labelOfKey = (key: string): string => get(key)?.label ?? `${head}.${key}`;
  const problem = (key: string, message: string) =>
    void context.problems.push({ location: locationOf(key), key: labelOfKey(key), message });

  /** The text of a scalar, `''` included; null when it is not set and has no default, or is of the wrong type. */
  const scalar = (key: string, type: OptionKind['type']): string | null => {
    const option = expectKind(section, key, type);
    const setting = get(key);
    if (setting === undefined) return option.default;
    const { value } = setting;
    if (value.type === 'broken') return option.default;
    if (value.type === 'list') {
      problem(key, 'is not a list; give one value, without []');
      return option.default;
    }
    const needsText = option.kind.type === 'text' || option.kind.type === 'path' || option.kind.type === 'choice';
    if (needsText && value.type !== 'text') {
      problem(key, 'must be text; write it in double quotes');
      return option.default;
    }
    if (value.text.trim() === '') {
      if (!('maybeEmpty' in option.kind && option.kind.maybeEmpty))
        problem(key, 'is empty; give a value or leave the key out');
      return option.default;
    }
    if (!isPrintable(value.text)) {
      problem(key, 'holds control characters');
      return option.default;
    }
    return value.text.trim();
  };
  const parsed = <T>(
    key: string,
    type: OptionKind['type'],
    parse: (text: string, option: Option) => Parsed<T>,
  ): T | null => {
    const text = scalar(key, type);
    if (text === null) return null;
    const option = optionOf(section, key);
    const result = parse(text, option);
    if (result.ok) return result.value;
    problem(key, result.message);
    const fallback = option.default === null ? null : parse(option.default, option);
    return fallback?.ok ? fallback.value : null;
  };
  const asBoolean = (key: string) => parsed(key, 'boolean', parseBoolean);
  const asInteger = (key: string) =>
    parsed(key, 'integer', (text, { kind }) =>
      kind.type === 'integer' ? parseInteger(text, kind.min, kind.max) : parseInteger(text),
    );

  return {
    text: (key) => scalar(key, 'text'),
    boolean: (key) => asBoolean(key) ?? false,
    maybeBoolean: asBoolean,
    integer: (key) => asInteger(key) ?? 0,
    maybeInteger: asInteger,
    integerOr: (key, word) =>
      parsed<number | typeof word>(key, 'integerOr', (text, { kind }) => {
        if (text.toLowerCase() === word) return { ok: true, value: word };
        const number = parseInteger(text, kind.type === 'integerOr' ? kind.min : 0, 1_000_000);
        return number.ok ? number : { ok: false, message: `${number.message}, nor "${word}"` };
      }) ?? word,
    durationMs: (key) =>
      parsed(key, 'duration', (text, { kind }) =>
        kind.type === 'duration' ? parseDuration(text, kind.minMs, kind.maxMs) : parseDuration(text),
      ) ?? 0,
    choice: (key, choices) => parsed(key, 'choice', (text) => parseChoice(text, choices)),
    list(key) {
      const option = optionOf(section, key);
      const isComma = option.kind.type === 'commaList';
      if (!isComma && option.kind.type !== 'itemList') throw new TypeError(`${head}.${key} is no list`);
      const value =
        get(key)?.value ?? (option.default === null ? undefined : ({ type: 'text', text: option.default } as const));
      if (value === undefined || value.type === 'broken') return [];
      const items =
        value.type === 'list'
          ? value.items.map((item) => item.trim())
          : isComma
            ? splitCommas(value.text)
            : splitItems(value.text);
      if (items.some((item) => item === '' || !isPrintable(item)))
        problem(key, 'has an empty item, or one with control characters');
      if (value.type !== 'list' && value.type !== 'text') problem(key, 'must be a list of texts');
      return items.filter((item) => item !== '' && isPrintable(item));
    },
    path(key) {
      const text = scalar(key, 'path');
      const setting = get(key);
      return text === null || setting === undefined ? null : resolvePath(text, setting.baseFolder, context);
    },
    secret(key) {
      if (!optionOf(section, key).isSecret) throw new TypeError(`${head}.${key} is no secret`);
      const setting = get(key);
      return setting === undefined ? null : resolveSecret(setting, context);
    },
    isSet: (key) => get(key) !== undefined,
    location: locationOf,
    setting: get,
    problem,
    missing: (key, message) => {
      if (!context.isIncomplete) problem(key, message);
    },
    warning: (key, message) => void context.warnings.push({ location: locationOf(key), key: labelOfKey(key), message }),
  };
}

function expectKind(section: SectionName, key: string, type: OptionKind['type']): Option {
  const option = optionOf(section, key);
  if (option.kind.type !== type)
    throw new TypeError(`${section}.${key} is of the kind ${option.kind.type}, not ${type}`);
  return option;
}

/**
 * Items of a list whose items may hold commas, where only one text can be given (environment, --set): a JSON array, or
 * one a line.
 */
function splitItems(text: string): string[] {
  if (text.trim().startsWith('[')) {
    try {
      const items: unknown = JSON.parse(text);
      if (Array.isArray(items) && items.every((item) => typeof item === 'string'))
        return items.map((item) => item.trim());
    } catch {
      // Not JSON: it is taken as written.
    }
  }
  return text
    .split('\n')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** What reading depends on besides the settings. */
export interface ReaderContext {
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string | undefined;
  readonly platform: NodeJS.Platform;
  readonly problems: Problem[];
  readonly warnings: Problem[];
  /** Files that settings refer to; grows as they are read. */
  readonly referencedFiles: Set<string>;
  /** Settings were lost to mistakes that are reported already: nothing is called missing then. */
  readonly isIncomplete: boolean;
}

/** An absolute path: `~/x` is in the home folder, a relative one in the folder of the file that names it. */
export function resolvePath(
  path: string,
  baseFolder: string,
  { home, platform }: Pick<ReaderContext, 'home' | 'platform'>,
): string {
  const paths = pathsOf(platform);
  if (home !== undefined && /^~[/\\]/.test(path)) return paths.join(home, path.slice(2));
  return paths.resolve(baseFolder, path);
}

/** The source of a secret; null, with a problem added, when it holds nothing that could be used. */
export function resolveSecret(setting: Setting, context: ReaderContext): SecretSource | null {
  const { value, form, location, label: key, baseFolder } = setting;
  const fail = (message: string): null => {
    context.problems.push({ location, key, message });
    return null;
  };
  if (value.type === 'broken') return null;
  if (value.type !== 'text') return fail('must be text; write it in double quotes');
  if (value.text.trim() === '') return fail('is empty; give a value or leave the key out');
  if (form === 'value') {
    if (!isPrintable(value.text)) return fail('holds control characters');
    return inlineSecret(value.text, location);
  }
  if (form === 'env') {
    const variable = value.text.trim();
    const content = context.env[variable];
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable))
      return fail('must be the name of an environment variable, not its value');
    // What does not look like a variable's name may be the secret itself, in the wrong key.
    const named = /^[A-Z_][A-Z0-9_]*$/.test(variable)
      ? `the environment variable ${variable}`
      : 'the environment variable it names';
    if (content === undefined) return fail(`${named} is not set`);
    if (content.trim() === '') return fail(`${named} is empty`);
    return inlineSecret(content, `env ${variable}`);
  }
  const path = resolvePath(value.text.trim(), baseFolder, context);
  const source = fileSecret(path);
  context.referencedFiles.add(path);
  try {
    source.read();
    if (isReadableByOthers(path))
      context.warnings.push({
        location,
        key,
        message: `others can read ${path}, which holds a secret; run chmod 600 on it`,
      });
    return source;
  } catch (error) {
    return fail(isGatewayError(error) ? error.message : `secret file ${path} cannot be read`);
  }
}
