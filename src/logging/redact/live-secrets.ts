// The last barrier of the log: the exact values of secrets that are in use, masked wherever they still turn up, in
// whatever encoding: as they are, with escapes of JSON or percent at any depth, in base64 or hex. Secrets are not recognised
// here by name or shape.

import type { SecretSource } from '../../secret.ts';
import { maskOf } from './mask.ts';
import { formsOf, SHORTEST, withoutEscapes } from './secret-forms.ts';

/**
 * Values in use. Never printed, never enumerated. Values shorter than 8 characters are not taken: masking them would
 * eat ordinary words.
 */
export interface LiveSecrets {
  /**
   * Takes the place of the configuration before. Its values are never forgotten for others; what a secret file holds
   * later is taken as it is read.
   */
  configure(sources: Iterable<SecretSource>): void;
  /**
   * Remembers a value that is not configured. Bounded, in number and in memory: the oldest of its origin is forgotten
   * when that is full.
   */
  add(value: string, origin?: SecretOrigin): void;
  /**
   * The text with every occurrence of a remembered value masked. Linear in the text, whatever the number of values.
   * Where a text ends in a mark of `cutLong`, the beginning of a value right before it is masked as well.
   */
  mask(text: string): string;
  /** Where in a text the first remembered value stands, in whatever form; -1 where none does. */
  find(text: string): number;
}

/**
 * `received` from the platform, such as a token, or `sent` to it: callers choose some of those, so they push out
 * nothing but their like.
 */
export type SecretOrigin = 'received' | 'sent';

/**
 * What is remembered of each origin, a form being some 400 octets: a token has a few, the largest assertion thousands.
 */
const MOST_FORMS: Record<SecretOrigin, number> = { received: 100_000, sent: 30_000 };

/** One thing that a value may look like in a text. It is found by the gram that stands at `offset` in it. */
interface Form {
  readonly text: string;
  readonly offset: number;
  readonly hash: number;
  /** Base64 of neighbours shares its first and last character with them. */
  readonly isEdged: boolean;
  /** The first value that has it. */
  readonly owner: string;
  /** How many values have it. */
  uses: number;
}

/** Values of one origin, the oldest first, and how many forms they have. */
interface Seen {
  readonly values: Set<string>;
  readonly mostForms: number;
  forms: number;
}

/** `capacity`: how many values of each origin are remembered. */
export function createLiveSecrets(capacity = 1024): LiveSecrets {
  const index = new FormIndex();
  const known = new Map<string, ReadonlySet<Form>>();
  const seen: Record<SecretOrigin, Seen> = {
    received: { values: new Set(), mostForms: MOST_FORMS.received, forms: 0 },
    sent: { values: new Set(), mostForms: MOST_FORMS.sent, forms: 0 },
  };
  let configured: ReadonlyMap<SecretSource, string> = new Map();

  const learn = (value: string): number => {
    const forms = known.get(value) ?? index.add(value);
    known.set(value, forms);
    return forms.size;
  };
  const isConfigured = (value: string) => {
    for (const current of configured.values()) if (current === value) return true;
    return false;
  };
  const forget = (value: string) => {
    if (seen.received.values.has(value) || seen.sent.values.has(value) || isConfigured(value)) return;
    index.remove(known.get(value) ?? new Set());
    known.delete(value);
  };
  const add = (value: string, origin: SecretOrigin = 'received') => {
    if (value.length < SHORTEST) return;
    const own = seen[origin];
    const forms = learn(value);
    if (!own.values.delete(value)) own.forms += forms;
    own.values.add(value);
    for (const oldest of own.values) {
      if (oldest === value || (own.values.size <= capacity && own.forms <= own.mostForms)) break;
      own.values.delete(oldest);
      own.forms -= known.get(oldest)?.size ?? 0;
      forget(oldest);
    }
  };

  return {
    add,
    configure(sources) {
      const before = new Set(configured.values());
      const now = new Map<SecretSource, string>();
      configured = now;
      const hold = (source: SecretSource, value: string) => {
        if (value.length < SHORTEST) return;
        const last = now.get(source);
        now.set(source, value);
        learn(value);
        // Good for a while yet, where it was replaced. So is what is still read for a configuration that is over.
        if (last !== undefined && last !== value) add(last);
        if (configured !== now) add(value);
      };
      for (const source of sources) {
        source.onNew?.((secret) => hold(source, secret.reveal()));
        try {
          hold(source, source.read().reveal());
        } catch {
          // An unreadable file is the business of whoever needs the secret; what cannot be read cannot be shown either.
        }
      }
      const current = new Set(now.values());
      for (const value of before) if (!current.has(value)) add(value);
    },
    mask: (text) => (known.size === 0 || text.length < SHORTEST ? text : index.mask(text)),
    find: (text) => (known.size === 0 || text.length < SHORTEST ? -1 : index.find(text)),
  };
}

/** The same for every string of a structure that holds plain values only, names included. */
export function maskStrings(value: unknown, mask: LiveSecrets['mask']): unknown {
  if (typeof value === 'string') return mask(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => maskStrings(item, mask));
  const out: Record<string, unknown> = Object.create(null);
  for (const [name, item] of Object.entries(value)) out[mask(name)] = maskStrings(item, mask);
  return out;
}

/** The same for a text that is JSON, which it stays. Where nothing is masked it costs one look. */
export function maskJson(json: string, mask: LiveSecrets['mask']): string {
  return mask(json) === json ? json : JSON.stringify(maskStrings(JSON.parse(json), mask));
}

const CUT_MARK = ' [cut at ';
const LONGEST_CUT_MARK = 100;

/** The mark behind the shown beginning of something longer. */
export function cutMark(shown: number, whole: string): string {
  return `${CUT_MARK}${shown} ${whole}]`;
}

/** Where the mark begins, or -1. */
function cutMarkAt(text: string): number {
  if (!text.endsWith(']')) return -1;
  const from = Math.max(0, text.length - LONGEST_CUT_MARK);
  const at = text.slice(from).lastIndexOf(CUT_MARK);
  return at === -1 ? -1 : from + at;
}

/** Every form is found by a gram of this length, every text is read once with a rolling hash of its grams. */
const GRAM_LENGTH = 8;
const HASH_BASE = 0x01000193;
let power = 1;
for (let i = 0; i < GRAM_LENGTH; i++) power = Math.imul(power, HASH_BASE);
const HASH_OUT = power;
const FILTER_BITS = 16;
/** The least beginning of a form that is masked before a cut. */
const PREFIX_LENGTH = 4;

const HALF_ESCAPE = /(?:%[0-9a-f]?|\\(?:u[0-9a-f]{0,3})?)$/i;
const LONGEST_HALF_ESCAPE = 5;

function isBase64At(text: string, at: number): boolean {
  return /^[A-Za-z0-9+/_-]$/.test(text.charAt(at));
}

/** Forms by their grams, and by their beginnings. */
class FormIndex {
  /** Plain ones and edged ones; values share those that are alike. */
  readonly #byText = { plain: new Map<string, Form>(), edged: new Map<string, Form>() };
  readonly #byHash = new Map<number, Form[]>();
  readonly #byPrefix = new Map<string, Form[]>();
  /** How many forms share the upper bits of a hash: nearly every gram of an ordinary text is ruled out by it. */
  readonly #filter = new Uint32Array(1 << FILTER_BITS);
  #longest = 0;

  add(value: string): ReadonlySet<Form> {
    const forms = new Set<Form>();
    for (const [text, isEdged] of formsOf(value)) forms.add(this.#formOf(text, isEdged, value));
    for (const form of forms) form.uses++;
    return forms;
  }

  #formOf(text: string, isEdged: boolean, owner: string): Form {
    const byText = isEdged ? this.#byText.edged : this.#byText.plain;
    const existing = byText.get(text);
    if (existing !== undefined) return existing;
    const form: Form = { text, isEdged, owner, uses: 0, ...this.#gramOf(text) };
    byText.set(text, form);
    push(this.#byHash, form.hash, form);
    push(this.#byPrefix, text.slice(0, PREFIX_LENGTH), form);
    (this.#filter[form.hash >>> (32 - FILTER_BITS)] as number)++;
    this.#longest = Math.max(this.#longest, text.length);
    return form;
  }

  remove(forms: ReadonlySet<Form>): void {
    for (const form of forms) {
      form.uses--;
      if (form.uses > 0) continue;
      (form.isEdged ? this.#byText.edged : this.#byText.plain).delete(form.text);
      pull(this.#byHash, form.hash, form);
      pull(this.#byPrefix, form.text.slice(0, PREFIX_LENGTH), form);
      (this.#filter[form.hash >>> (32 - FILTER_BITS)] as number)--;
    }
  }

  /** The first place where a form stands, or -1. */
  find(text: string): number {
    const ranges = this.#rangesIn(text, hasEscapes(text) ? withoutEscapes(text) : null);
    return ranges.reduce((first, [from]) => (first === -1 ? from : Math.min(first, from)), -1);
  }

  mask(text: string): string {
    const cutAt = cutMarkAt(text);
    // The cut may have gone through an escape.
    const half =
      cutAt === -1 ? '' : (HALF_ESCAPE.exec(text.slice(Math.max(0, cutAt - LONGEST_HALF_ESCAPE), cutAt))?.[0] ?? '');
    const read = cutAt === -1 ? text : text.slice(0, cutAt - half.length);
    const plain = hasEscapes(read) ? withoutEscapes(read) : null;
    const ranges = this.#rangesIn(read, plain);
    if (cutAt !== -1) {
      const begun = this.#findBegun(read);
      if (begun !== null) ranges.push([begun[0], cutAt, begun[1]]);
      const begunPlain = plain && this.#findBegun(plain.text);
      if (begunPlain !== null) ranges.push([plain?.starts[begunPlain[0]] as number, cutAt, begunPlain[1]]);
    }
    return ranges.length === 0 ? text : maskRanges(text, ranges);
  }

  /** Where forms stand in a text, and in `plain`, which is the same without its escapes. */
  #rangesIn(text: string, plain: ReturnType<typeof withoutEscapes>): Range[] {
    const ranges = this.#find(text);
    if (plain !== null)
      for (const [from, to, owner] of this.#find(plain.text))
        ranges.push([plain.starts[from] as number, plain.starts[to] as number, owner]);
    return ranges;
  }

  /** The gram that fewest others are found by: tokens of one issuer may all begin alike. */
  #gramOf(text: string): { offset: number; hash: number } {
    let best = { offset: 0, hash: 0 };
    let fewest = Number.POSITIVE_INFINITY;
    for (let offset = 0; offset + GRAM_LENGTH <= text.length && fewest > 0; offset++) {
      let hash = 0;
      for (let i = offset; i < offset + GRAM_LENGTH; i++) hash = (Math.imul(hash, HASH_BASE) + text.charCodeAt(i)) | 0;
      const others = this.#byHash.get(hash)?.length ?? 0;
      if (others < fewest) {
        fewest = others;
        best = { offset, hash };
      }
    }
    return best;
  }

  /** Where forms stand; what overlaps or touches is one. */
  #find(text: string): Range[] {
    const found: Range[] = [];
    let [start, end] = [-1, -1];
    let owner = '';
    const filter = this.#filter;
    let hash = 0;
    for (let at = 0; at < text.length; at++) {
      hash = (Math.imul(hash, HASH_BASE) + text.charCodeAt(at)) | 0;
      if (at < GRAM_LENGTH - 1) continue;
      if (at >= GRAM_LENGTH) hash = (hash - Math.imul(text.charCodeAt(at - GRAM_LENGTH), HASH_OUT)) | 0;
      if (filter[hash >>> (32 - FILTER_BITS)] === 0) continue;
      for (const form of this.#byHash.get(hash) ?? []) {
        let from = at - GRAM_LENGTH + 1 - form.offset;
        let to = from + form.text.length;
        const edge = form.isEdged ? 1 : 0;
        // What is masked already is not read again: where a text repeats itself, many forms may stand at each place.
        if (from - edge >= start && to + edge <= end) continue;
        if (from < 0 || !text.startsWith(form.text, from)) continue;
        if (form.isEdged && isBase64At(text, from - 1)) from--;
        if (form.isEdged && isBase64At(text, to)) to++;
        if (from >= start && from <= end) end = Math.max(end, to);
        else {
          if (end !== -1) found.push([start, end, owner]);
          [start, end] = [from, to];
          owner = form.owner;
        }
      }
    }
    if (end !== -1) found.push([start, end, owner]);
    return found;
  }

  /** Where the longest beginning of a form stands that this text ends in, and whose that is; null where none does. */
  #findBegun(text: string): readonly [from: number, owner: string] | null {
    for (let from = Math.max(0, text.length - this.#longest); from + PREFIX_LENGTH <= text.length; from++) {
      const rest = text.slice(from);
      const form = this.#byPrefix.get(rest.slice(0, PREFIX_LENGTH))?.find((one) => one.text.startsWith(rest));
      if (form !== undefined) return [from, form.owner];
    }
    return null;
  }
}

function hasEscapes(text: string): boolean {
  return text.includes('%') || text.includes('\\');
}

function push<K>(forms: Map<K, Form[]>, key: K, form: Form): void {
  const existing = forms.get(key);
  if (existing === undefined) forms.set(key, [form]);
  else existing.push(form);
}

function pull<K>(forms: Map<K, Form[]>, key: K, form: Form): void {
  const left = (forms.get(key) ?? []).filter((each) => each !== form);
  if (left.length === 0) forms.delete(key);
  else forms.set(key, left);
}

/** A place where a form of `owner` stands. */
type Range = readonly [from: number, to: number, owner: string];

function maskRanges(text: string, ranges: Range[]): string {
  ranges.sort((a, b) => a[0] - b[0]);
  let out = '';
  let done = 0;
  let open: Range | null = null;
  for (const range of ranges) {
    if (open !== null && range[0] <= open[1]) open = [open[0], Math.max(open[1], range[1]), open[2]];
    else {
      if (open !== null) {
        out += text.slice(done, open[0]) + maskOf(open[2]);
        done = open[1];
      }
      open = range;
    }
  }
  if (open === null) return text;
  return out + text.slice(done, open[0]) + maskOf(open[2]) + text.slice(open[1]);
}
