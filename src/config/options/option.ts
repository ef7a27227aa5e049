// The shape of one configuration option, and how a name in a file maps to it. The options themselves are rows of the
// table.

/** What a value may be. `items` of a list are of the kind given; durations and integers carry their bounds. */
export type OptionKind =
  | { readonly type: 'boolean' }
  | { readonly type: 'duration'; readonly minMs?: number; readonly maxMs?: number }
  | { readonly type: 'integer'; readonly min?: number; readonly max?: number }
  /** A whole number from `min` up, or this one word. */
  | { readonly type: 'integerOr'; readonly word: string; readonly min: number }
  | { readonly type: 'choice'; readonly of: readonly string[] }
  /** Printable text. `maybeEmpty`: an empty value means "not set", as the SDKs read it. */
  | { readonly type: 'text'; readonly maybeEmpty?: boolean }
  /** A file or folder; relative ones are taken from the folder of the configuration file. */
  | { readonly type: 'path'; readonly maybeEmpty?: boolean }
  /** Separated by commas, or repeated (`key[]`, a JSON array). */
  | { readonly type: 'commaList' }
  /** Repeated (`key[]`, a JSON array): the items may hold commas. */
  | { readonly type: 'itemList' };

/** Sections with a fixed name, and the two that are repeated under a NAME. */
export type SectionName =
  | 'general'
  | 'gateway'
  | 'server'
  | 'server.tls'
  | 'credential'
  | 'reauthentication'
  | 'logging'
  | 'proxy'
  | 'tls'
  | 'timeouts'
  | 'retry'
  | 'rate_limit'
  | 'client'
  | 'store'
  | 'upstream.headers';

/** One row of the option table. */
export interface Option {
  readonly section: SectionName;
  readonly key: string;
  readonly kind: OptionKind;
  /** As it would be written in a file; null: none, or computed (then `defaultNote` says how). */
  readonly default: string | null;
  readonly defaultNote?: string;
  /** A value to show where there is no default to show. */
  readonly example?: string;
  /** Also settable as `KEY_file` and `KEY_env`; never by a flag, never printed. */
  readonly isSecret?: true;
  /** `restart`: a change is only said, and counts after a restart. */
  readonly reload: 'live' | 'restart';
  /** One line, for tables and help. */
  readonly doc: string;
  /** More lines for the example file and the reference page. */
  readonly more?: string;
}

/** How a secret is given: as itself, in a file, or in an environment variable. */
export type SecretForm = 'value' | 'file' | 'env';

/** A key as written: the option it belongs to and, for secrets, the form. */
export interface KeyMatch {
  readonly option: Option;
  readonly form: SecretForm;
}
