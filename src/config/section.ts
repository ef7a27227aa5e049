// A section of the configuration: the declaration of its options, the type of their values, and its reader.

import type { Option, OptionSlot, ReadContext, SectionId, Setting } from './option.ts';

/** The name of the `[credential]` section that has none. */
export const DEFAULT_NAME = 'default';

/** The options of a section by their keys. */
type Options = Readonly<Record<string, Option>>;

type Key<O> = keyof O & string;

type CamelCase<K extends string> = K extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : K;

/** `total_wait` is `totalWaitMs`: camel case, without the section's prefix, durations with their unit. */
type FieldName<K extends string, O extends Option, P extends string> = `${K extends `${P}${infer Rest}`
  ? CamelCase<Rest>
  : CamelCase<K>}${O['kind'] extends { readonly type: 'duration' } ? 'Ms' : ''}`;

type ValuesOf<O extends Options, P extends string> = {
  readonly [K in Key<O> as FieldName<K, O[K], P>]: ReturnType<O[K]['read']>;
};

/** The values of a section: one field for each option. */
export type Values<S> = S extends Section<infer O, infer P> ? ValuesOf<O, P> : never;

/** An option with its place in the table. */
export interface OptionRow extends Option {
  readonly section: string;
  readonly key: string;
}

/** What the table knows of a section. */
export type SectionInfo = Pick<Section, 'name' | 'doc' | 'isNamed' | 'rows' | 'secrets'>;

/** All settings in effect, and the names of credentials and clients. */
export interface WrittenSettings {
  get(id: SectionId, key: string): Setting | undefined;
  /**
   * The names used in a section: `default` first, then in the order of their first appearance, file before environment
   * before flags.
   */
  names(section: 'credential' | 'client'): readonly { readonly name: string; readonly location: string }[];
}

/** A section of the configuration, declared once. Parser, types, help, documentation and JSON schema follow from it. */
export class Section<O extends Options = Options, P extends string = ''> {
  readonly name: string;
  /** What the section is for. */
  readonly doc: string;
  /** Whether it is repeated under a NAME: `[credential.NAME]`. */
  readonly isNamed: boolean;
  /** Its options in the order of the documentation. */
  readonly rows: readonly OptionRow[];
  readonly options: O;
  /** A prefix of the keys, as the SDKs write them; field names omit it. */
  readonly prefix: P;

  constructor(name: string, doc: string, options: O, more: { readonly isNamed?: true; readonly prefix?: P } = {}) {
    this.name = name;
    this.doc = doc;
    this.isNamed = more.isNamed ?? false;
    this.options = options;
    this.prefix = more.prefix ?? ('' as P);
    this.rows = Object.entries(options).map(([key, option]) => ({ ...option, section: name, key }));
  }

  /** Reads this section as it is written; `location` is that of a section with a name. */
  reader(context: SectionContext, name = '', location = 'configuration'): SectionReader<O, P> {
    return new SectionReader(this, context, name, location);
  }

  /** All its values. */
  read(context: SectionContext): ValuesOf<O, P> {
    return this.reader(context).values();
  }

  /** Its values where nothing is written. */
  defaults(): ValuesOf<O, P> {
    return this.read({
      settings: { get: () => undefined, names: () => [] },
      env: {},
      home: undefined,
      platform: 'linux',
      problems: [],
      warnings: [],
      referencedFiles: new Set(),
      isIncomplete: false,
    });
  }

  /** The secrets among its values, by their keys. */
  secrets(values: object): [key: string, value: unknown][] {
    return this.rows
      .filter(({ isSecret }) => isSecret)
      .map(({ key }) => [key, (values as Record<string, unknown>)[this.fieldOf(key)]]);
  }

  /** The field that holds the value of an option. */
  fieldOf(key: string): string {
    const bare = key.startsWith(this.prefix) ? key.slice(this.prefix.length) : key;
    const camel = bare.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    return this.options[key]?.kind.type === 'duration' ? `${camel}Ms` : camel;
  }
}

/** What reading a section depends on. */
export interface SectionContext extends ReadContext {
  readonly settings: WrittenSettings;
}

/** Where problems with the settings of a section go, by key. */
export interface SectionReport {
  problem(key: string, message: string): void;
  /** Adds a problem about a missing key, unless the key may have been lost to another mistake. */
  missing(key: string, message: string): void;
  warning(key: string, message: string): void;
}

/** Reads the options of one section, each when it is asked for, so that problems come in the order of the checks. */
export class SectionReader<O extends Options, P extends string = ''> implements SectionReport {
  readonly #section: Section<O, P>;
  readonly #context: SectionContext;
  readonly #id: SectionId;
  readonly #location: string;

  constructor(section: Section<O, P>, context: SectionContext, name: string, location: string) {
    this.#section = section;
    this.#context = context;
    this.#id = { section: section.name, name };
    this.#location = location;
  }

  /** The value of one option, its default included. */
  get<K extends Key<O>>(key: K): ReturnType<O[K]['read']> {
    const option = this.#section.options[key] as Option;
    const slot: OptionSlot = {
      option,
      setting: this.setting(key),
      context: this.#context,
      problem: (message) => this.problem(key, message),
      warning: (message) => this.warning(key, message),
    };
    return option.read(slot) as ReturnType<O[K]['read']>;
  }

  /** The values of all options but these, in the order of their declaration. */
  values<X extends Key<O> = never>(...except: readonly X[]): ValuesOf<Omit<O, X>, P> {
    const keys = Object.keys(this.#section.options).filter((key) => !except.some((one) => one === key));
    return Object.fromEntries(keys.map((key) => [this.#section.fieldOf(key), this.get(key as Key<O>)])) as ValuesOf<
      Omit<O, X>,
      P
    >;
  }

  setting(key: Key<O>): Setting | undefined {
    return this.#context.settings.get(this.#id, key);
  }

  isSet(key: Key<O>): boolean {
    return this.setting(key) !== undefined;
  }

  /** Where a key was set; when it was not, where the section begins, or `configuration`. */
  location(key: Key<O>): string {
    return this.setting(key)?.location ?? this.#location;
  }

  problem(key: Key<O>, message: string): void {
    this.#context.problems.push({ location: this.location(key), key: this.#label(key), message });
  }

  missing(key: Key<O>, message: string): void {
    if (!this.#context.isIncomplete) this.problem(key, message);
  }

  warning(key: Key<O>, message: string): void {
    this.#context.warnings.push({ location: this.location(key), key: this.#label(key), message });
  }

  #label(key: Key<O>): string {
    return this.setting(key)?.label ?? labelOf(this.#id, key);
  }
}

/**
 * How messages call a setting: `server.listen`, `credential.crm.client_id`; the default credential's is
 * `credential.client_id`.
 */
export function labelOf({ section, name }: SectionId, key?: string): string {
  const head = name === '' || (section === 'credential' && name === DEFAULT_NAME) ? section : `${section}.${name}`;
  return key === undefined ? head : `${head}.${key}`;
}
