// One option: how it is declared (kind, default, documentation) and how its value is read from what was written. It
// knows no section and no other option.

import { isGatewayError } from '../errors.ts';
import { isReadableByOthers } from '../fs/permissions.ts';
import { fileSecret, hasOuterBlanks, inlineSecret, type SecretSource } from '../secret.ts';
import { type HostEnvironment, pathsOf } from './file.ts';
import { type Problem, quote } from './problem.ts';
import {
  err,
  isPrintable,
  ok,
  type Parsed,
  parseBoolean,
  parseChoice,
  parseDuration,
  parseFraction,
  parseInstant,
  parseInteger,
  type RawValue,
  splitCommas,
  splitItems,
} from './values.ts';

/** What a value may be, as data: for the documentation and the JSON schema. */
export type OptionKind =
  | { readonly type: 'boolean' }
  | { readonly type: 'duration' }
  | { readonly type: 'integer'; readonly min: number; readonly max: number | null }
  /** 0 to 1. */
  | { readonly type: 'fraction' }
  /** A whole number from `min` up, or this one word. */
  | { readonly type: 'integerOr'; readonly word: string; readonly min: number }
  | { readonly type: 'choice'; readonly of: readonly string[] }
  | { readonly type: 'text' }
  /** A file or folder; relative ones are taken from the folder of the configuration file. */
  | { readonly type: 'path' }
  /** Separated by commas, or repeated (`key[]`, a JSON array). */
  | { readonly type: 'commaList' }
  /** Repeated (`key[]`, a JSON array): the items may hold commas. */
  | { readonly type: 'itemList' };

/** What the documentation says of an option. */
interface About {
  /** One line, for tables and help. */
  readonly doc: string;
  /** More lines for the example file and the reference page. */
  readonly more?: string;
  /** How the default is found, where it is not a fixed one. */
  readonly defaultNote?: string;
  /** A value to show where there is no default to show. */
  readonly example?: string;
  /** A change is only reported, and counts after a restart. */
  readonly reload?: 'restart';
}

/** An option as it is declared in its section, and the type of its value. */
export interface Option<T = unknown, K extends OptionKind = OptionKind> extends About {
  readonly kind: K;
  /** As it would be written in a file; null: none, or computed. */
  readonly default: string | null;
  /** Also settable as `KEY_file` and `KEY_env`; never by a flag, never printed. */
  readonly isSecret?: true;
  /** White space around this secret does no harm. */
  readonly ignoresBlanks?: true;
  /** The value of what is written; a problem is added where it does not fit, and the default taken. */
  read(slot: OptionSlot): T;
}

/** How a secret is given: as itself, in a file, or in an environment variable. */
export type SecretForm = 'value' | 'file' | 'env';

/** The section and, for `[credential.NAME]` and `[client.NAME]`, the name; else the name is ''. */
export interface SectionId {
  readonly section: string;
  readonly name: string;
}

/** One setting in effect, as written. */
export interface Setting {
  readonly id: SectionId;
  readonly key: string;
  readonly isSecret: boolean;
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

/** What reading an option depends on besides its setting, and what it adds to. */
export interface ReadContext extends Pick<HostEnvironment, 'env' | 'home' | 'platform'> {
  readonly problems: Problem[];
  readonly warnings: Problem[];
  /** Files that settings refer to; grows as they are read. */
  readonly referencedFiles: Set<string>;
  /** Settings were lost to mistakes that are reported already: nothing is called missing then. */
  readonly isIncomplete: boolean;
}

/** Where one option is read: what is written for it, if anything, and where its problems go. */
export interface OptionSlot {
  readonly option: Option;
  readonly setting: Setting | undefined;
  readonly context: ReadContext;
  problem(message: string): void;
  warning(message: string): void;
}

/** The type of a value: without a default it may be null. */
type Value<T, D extends string | null> = D extends string ? T : T | null;

/** Declares an option that is true or false. */
export function boolean<D extends string | null>(value: D, about: About) {
  return scalar({ type: 'boolean' }, value, about, parseBoolean);
}

/** Declares a duration. Its field holds milliseconds and its name ends in `Ms`. */
export function duration<D extends string | null>(
  value: D,
  { minMs, maxMs, ...about }: About & { readonly minMs?: number; readonly maxMs: number },
) {
  return scalar({ type: 'duration' }, value, about, (text) => parseDuration(text, minMs, maxMs));
}

/** Declares a whole number within bounds. */
export function integer<D extends string | null>(
  value: D,
  { min = 0, max, ...about }: About & { readonly min?: number; readonly max?: number },
) {
  const kind = { type: 'integer', min, max: max ?? null } as const;
  return scalar(kind, value, about, (text) => parseInteger(text, min, max));
}

/** Declares a part of a whole: 0 to 1. */
export function fraction<D extends string | null>(value: D, about: About) {
  return scalar({ type: 'fraction' }, value, about, parseFraction);
}

/** Declares a whole number from `min` up, or the word that is the default. */
export function integerOr<W extends string>(word: W, { min, ...about }: About & { readonly min: number }) {
  return scalar({ type: 'integerOr', word, min }, word, about, (text): Parsed<number | W> => {
    if (text.toLowerCase() === word) return ok(word);
    const number = parseInteger(text, min, 1_000_000);
    return number.ok ? number : err(`${number.message}, nor "${word}"`);
  });
}

/** Declares an option that is one of some words. */
export function choice<const C extends string, D extends C | null>(of: readonly C[], value: D, about: About) {
  return scalar({ type: 'choice', of }, value, about, (text) => parseChoice(text, of));
}

/** `parse` reads a text that has a form of its own. */
type TextAbout = About & { readonly parse?: (text: string) => Parsed<string> };

/** Declares printable text. */
export function text<D extends string | null>(value: D, { parse = ok, ...about }: TextAbout) {
  return scalar({ type: 'text' }, value, about, parse);
}

/** Declares a point in time: a date, or an RFC 3339 time. Its value is epoch ms. */
export function instant(about: About) {
  return scalar({ type: 'text' }, null, about, parseInstant);
}

/** Declares text whose empty value means "not set", as the SDKs read it. */
export function textOrEmpty({ parse = ok, ...about }: TextAbout) {
  return scalar({ type: 'text' }, null, about, parse, true);
}

/** Declares a file or folder; the value is its absolute path. `check` examines what is there. */
export function path({
  check,
  ...about
}: About & { readonly check?: (path: string, slot: OptionSlot) => void }): Option<string | null> {
  return {
    ...about,
    kind: { type: 'path' },
    default: null,
    read(slot) {
      const found = readPath(slot, false);
      if (found !== null) check?.(found, slot);
      return found;
    },
  };
}

/** Declares a file whose empty value means "not set". */
export function pathOrEmpty(about: About): Option<string | null> {
  return { ...about, kind: { type: 'path' }, default: null, read: (slot) => readPath(slot, true) };
}

/** How the items of a list are read, and what is right where there are none. */
interface ItemRules {
  readonly item?: (text: string) => Parsed<string>;
  /** What is right in place of an empty list; without it one may be empty. */
  readonly whenEmpty?: string;
}

/** Declares a list that may also be one line with commas. */
export function commaList(
  value: string | null,
  { item, whenEmpty, ...about }: About & ItemRules,
): Option<readonly string[]> {
  const read = (slot: OptionSlot) => readList(slot, splitCommas, { item, whenEmpty });
  return { ...about, kind: { type: 'commaList' }, default: value, read };
}

/** Declares a list whose items may hold commas. */
export function itemList({ item, whenEmpty, ...about }: About & ItemRules): Option<readonly string[]> {
  const read = (slot: OptionSlot) => readList(slot, splitItems, { item, whenEmpty });
  return { ...about, kind: { type: 'itemList' }, default: null, read };
}

/** Declares a secret. The value is null when it is not set or cannot be used. */
export function secret(about: About & { readonly ignoresBlanks?: true }): Option<SecretSource | null> {
  return { ...about, kind: { type: 'text' }, default: null, isSecret: true, read: readSecret };
}

function scalar<T, D extends string | null, const K extends OptionKind>(
  kind: K,
  value: D,
  about: About,
  parse: (text: string) => Parsed<T>,
  mayBeEmpty = false,
): Option<Value<T, D>, K> {
  return {
    ...about,
    kind,
    default: value,
    read(slot) {
      const written = readScalar(slot, mayBeEmpty);
      const parsed = written === null ? null : parse(written);
      if (parsed?.ok === false) slot.problem(parsed.message);
      const fallback = parsed?.ok === false && value !== null ? parse(value) : parsed;
      return (fallback?.ok ? fallback.value : null) as Value<T, D>;
    },
  };
}

/** The text of one value; the default where nothing is set that could be read, null where there is none. */
function readScalar(slot: OptionSlot, mayBeEmpty: boolean): string | null {
  const { option, setting } = slot;
  if (setting === undefined || setting.value.type === 'broken') return option.default;
  const reason = whyNoScalar(setting.value, option.kind, mayBeEmpty);
  if (reason !== null) slot.problem(reason);
  if (reason !== null || setting.value.type === 'list') return option.default;
  const text = setting.value.text.trim();
  return text === '' ? option.default : text;
}

function whyNoScalar(value: Exclude<RawValue, { type: 'broken' }>, kind: OptionKind, mayBeEmpty: boolean) {
  if (value.type === 'list') return 'is not a list; give one value, without []';
  const needsText = kind.type === 'text' || kind.type === 'path' || kind.type === 'choice';
  if (needsText && value.type !== 'text') return 'must be text; write it in double quotes';
  if (value.text.trim() === '') return mayBeEmpty ? null : 'is empty; give a value or leave the key out';
  return isPrintable(value.text) ? null : 'holds control characters';
}

function readPath(slot: OptionSlot, mayBeEmpty: boolean): string | null {
  const written = readScalar(slot, mayBeEmpty);
  return written === null || slot.setting === undefined
    ? null
    : resolvePath(written, slot.setting.baseFolder, slot.context);
}

function readList(
  slot: OptionSlot,
  split: (text: string) => string[],
  { item: parse = ok, whenEmpty }: { [R in keyof ItemRules]: ItemRules[R] | undefined },
): readonly string[] {
  const { option, setting } = slot;
  const value: RawValue | null =
    setting?.value ?? (option.default === null ? null : { type: 'text', text: option.default });
  if (value === null || value.type === 'broken') return [];
  const items = value.type === 'list' ? value.items.map((item) => item.trim()) : split(value.text);
  const isGood = (item: string) => item !== '' && isPrintable(item);
  if (!items.every(isGood)) slot.problem('has an empty item, or one with control characters');
  if (value.type !== 'list' && value.type !== 'text') slot.problem('must be a list of texts');
  const good = items.filter(isGood);
  if (good.length === 0 && whenEmpty !== undefined) slot.problem(`is empty; ${whenEmpty}`);
  return good.flatMap((item) => {
    const parsed = parse(item);
    if (!parsed.ok) slot.problem(parsed.message);
    return parsed.ok ? [parsed.value] : [];
  });
}

/** A list item that must pass a test; the message follows the quoted item. */
export function itemThat(isGood: (item: string) => boolean, message: string): (item: string) => Parsed<string> {
  return (item) => (isGood(item) ? ok(item) : err(`${quote(item)} ${message}`));
}

/** Makes a path absolute: `~/x` is in the home folder, others are relative to the folder of their file. */
function resolvePath(path: string, baseFolder: string, { home, platform }: ReadContext): string {
  const paths = pathsOf(platform);
  if (home !== undefined && /^~[/\\]/.test(path)) return paths.join(home, path.slice(2));
  return paths.resolve(baseFolder, path);
}

function readSecret(slot: OptionSlot): SecretSource | null {
  const { setting } = slot;
  if (setting === undefined || setting.value.type === 'broken') return null;
  const result = secretOf(setting, slot);
  if (result.ok) {
    warnOfBlanks(result.value, slot);
    return result.value;
  }
  slot.problem(result.message);
  return null;
}

/** Warns of white space that was copied along with a secret. Of an assertion it is left out when it is sent. */
function warnOfBlanks(source: SecretSource, { option, warning }: OptionSlot): void {
  if (option.ignoresBlanks || !hasOuterBlanks(source.read())) return;
  warning(`the secret (${source.origin}) begins or ends with a blank or an empty line, which is sent as part of it`);
}

function secretOf({ value, form, location, baseFolder }: Setting, slot: OptionSlot): Parsed<SecretSource> {
  if (value.type !== 'text') return err('must be text; write it in double quotes');
  const text = value.text.trim();
  if (text === '') return err('is empty; give a value or leave the key out');
  if (form === 'env') return secretInVariable(text, slot.context);
  if (form === 'file') return secretInFile(resolvePath(text, baseFolder, slot.context), slot);
  return isPrintable(value.text) ? ok(inlineSecret(value.text, location)) : err('holds control characters');
}

function secretInVariable(variable: string, { env }: ReadContext): Parsed<SecretSource> {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable))
    return err('must be the name of an environment variable, not its value');
  // A value in small letters may be the secret itself, under the wrong key: it is not shown.
  const named = /^[A-Z_][A-Z0-9_]*$/.test(variable)
    ? `the environment variable ${variable}`
    : 'the environment variable it names';
  const content = env[variable];
  if (content === undefined) return err(`${named} is not set`);
  return content.trim() === '' ? err(`${named} is empty`) : ok(inlineSecret(content, `env ${variable}`));
}

function secretInFile(path: string, slot: OptionSlot): Parsed<SecretSource> {
  const source = fileSecret(path);
  slot.context.referencedFiles.add(path);
  try {
    source.read();
    if (isReadableByOthers(path)) slot.warning(`others can read ${path}, which holds a secret; run chmod 600 on it`);
    return ok(source);
  } catch (error) {
    return err(isGatewayError(error) ? error.message : `secret file ${path} cannot be read`);
  }
}
