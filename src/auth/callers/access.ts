// What a caller may do: which credentials it may use, and which calls a client may make: by path (`METHOD[,METHOD]
// /path`), by the platform's operations, and by presets. Deny wins, and a rule must hold for every reading of a path.

import {
  type ClientConfig,
  type CredentialConfig,
  defaultCredential,
  type GatewayConfig,
} from '../../config/gateway-config.ts';
import type { Operation } from '../../operations/operation.ts';
import { isReadOnly } from '../../operations/read-only.ts';
import { allows, matches, parseSelector, type Selector } from '../../operations/selectors.ts';
import { operationTable } from '../../operations/table.ts';
import type { Caller } from './caller.ts';
import { fold, type Reading, readPath } from './path-readings.ts';

const NONE: ReadonlySet<string> = new Set();

/** Which credentials the callers of one configuration may use. */
export interface Access {
  /** The credential that serves a caller who names none; null when there is none. */
  defaultFor(caller: Caller): string | null;
  /** Whether the caller may use a credential of that name, which may not exist. */
  mayUse(caller: Caller, name: string): boolean;
  /** The names of all credentials that the caller may use, the first of a client's list first. */
  usableBy(caller: Caller): readonly string[];
  /** The permitted credential with that OAuth client id, the caller's default first. */
  byClientId(caller: Caller, clientId: string): CredentialConfig | null;
}

/**
 * Clients may use what is listed for them, or the default; all others what `anonymous_credentials` says, or the
 * default.
 */
export function createAccess(config: Pick<GatewayConfig, 'credentials' | 'clients' | 'server'>): Access {
  const defaultName = defaultCredential(config as GatewayConfig)?.name ?? null;
  const { anonymousCredentials } = config.server;
  const byDefault = defaultName === null ? [] : [defaultName];
  const listed = (names: readonly string[] | null): ReadonlySet<string> => {
    if (names === null || names.length === 0) return new Set(byDefault);
    return new Set(names.includes('*') ? [...byDefault, ...config.credentials.map(({ name }) => name)] : names);
  };
  const ofAnonymous = listed(anonymousCredentials);
  const ofClients = new Map(config.clients.map((client) => [client.name, listed(client.credentials)]));
  const allowed = ({ client }: Caller): ReadonlySet<string> =>
    client === null ? ofAnonymous : (ofClients.get(client.name) ?? NONE);

  return {
    defaultFor(caller) {
      const names = allowed(caller);
      const [first] = names;
      // The first of a client's list is its default. Anonymous callers get the gateway's default where they may use it,
      // or the only one they may use.
      if (caller.client !== null || names.size === 1) return first ?? null;
      return defaultName !== null && names.has(defaultName) ? defaultName : null;
    },
    mayUse: (caller, name) => allowed(caller).has(name),
    usableBy: (caller) => [...allowed(caller)],
    byClientId(caller, clientId) {
      const matching = config.credentials.filter(
        (credential) => credential.clientId === clientId && allowed(caller).has(credential.name),
      );
      return matching.find(({ name }) => name === this.defaultFor(caller)) ?? matching[0] ?? null;
    },
  };
}

/** Why a call is refused, for a message and a record; null when it is allowed. `rule` is the configured text. */
export type Verdict =
  | null
  | { readonly reason: 'denied'; readonly rule: string }
  | { readonly reason: 'unlisted' }
  | { readonly reason: 'ambiguous' };

/** Compiled rules of one client, or of callers who are none. */
export interface Rules {
  /** `target` is what goes upstream, query included. Microseconds for plain paths; never throws. */
  judge(method: string, target: string): Verdict;
  /** The rule by which a call is allowed; null where nothing is listed, or none allows it. */
  allowedBy(method: string, target: string): string | null;
}

interface Rule {
  readonly text: string;
  /** Upper case; null: any. */
  readonly methods: ReadonlySet<string> | null;
  readonly matches: (reading: Reading, method: string) => boolean;
}

const READ_METHODS = new Set(['GET', 'HEAD']);

/**
 * Of `@read-only` what needs no look into the table: whatever else it permits is a POST of an operation that only reads.
 */
const PRESETS: Readonly<Record<string, Rule['matches']>> = {
  '@read-only': (_reading, method) => READ_METHODS.has(method),
  '@no-delete': (_reading, method) => method !== 'DELETE',
};

/**
 * Null where there are no rules, so that nothing is paid for them. Throws a TypeError for text that is no rule; the
 * loader refuses it before.
 */
export function createRules(lists: Pick<ClientConfig, 'allow' | 'deny'>): Rules | null {
  if (lists.allow.length === 0 && lists.deny.length === 0) return null;
  const deny = new RuleList(lists.deny);
  const allow = new RuleList(lists.allow);
  return {
    judge(method, target) {
      const queryAt = target.indexOf('?');
      const readings = readPath(queryAt < 0 ? target : target.slice(0, queryAt));
      if (readings === null) return { reason: 'ambiguous' };
      for (const reading of readings) {
        const rule = deny.denying(method, reading);
        if (rule !== null) return { reason: 'denied', rule };
      }
      if (lists.allow.length === 0 || readings.every((reading) => allow.allowing(method, reading) !== null))
        return null;
      return { reason: 'unlisted' };
    },
    allowedBy(method, target) {
      const [reading] = readPath(target.split('?', 1)[0] as string) ?? [];
      return reading === undefined ? null : allow.allowing(method, reading);
    },
  };
}

/** The rules of one list, compiled. What it says of an operation is found out once. */
class RuleList {
  readonly #byPath: readonly Rule[];
  /** Those that name operations. */
  readonly #selectors: readonly Selector[];
  readonly #isReadOnlyListed: boolean;
  readonly #denying = new Map<Operation, string | null>();
  readonly #allowing = new Map<Operation, string | null>();

  constructor(rules: readonly string[]) {
    const selectors = rules.map(parseSelector);
    this.#selectors = selectors.filter((selector) => selector !== null);
    this.#byPath = rules.filter((_rule, index) => selectors[index] === null).map(parseRule);
    this.#isReadOnlyListed = rules.includes('@read-only');
  }

  /** The rule of a list of denials that one of the operations which a call could be meets; null where none does. */
  denying(method: string, reading: Reading): string | null {
    const rule = this.#ruleByPath(method, reading);
    if (rule !== null || this.#selectors.length === 0) return rule;
    for (const operation of operationTable().all(method, reading)) {
      const found = remembered(this.#denying, operation, this.#denyingOperation);
      if (found !== null) return found;
    }
    return null;
  }

  /**
   * The rule of a list of permissions that lets a call pass; null where none does. By operations it passes when there
   * are any and each that it could be is allowed: what the table does not know is let in by no such rule.
   */
  allowing(method: string, reading: Reading): string | null {
    const rule = this.#ruleByPath(method, reading);
    if (rule !== null || (this.#selectors.length === 0 && !this.#isReadOnlyListed)) return rule;
    let allowing: string | null = null;
    for (const operation of operationTable().all(method, reading)) {
      const found = remembered(this.#allowing, operation, this.#allowingOperation);
      if (found === null) return null;
      allowing ??= found;
    }
    return allowing;
  }

  #ruleByPath(method: string, reading: Reading): string | null {
    for (const rule of this.#byPath) if (applies(rule, method, reading)) return rule.text;
    return null;
  }

  readonly #denyingOperation = (operation: Operation): string | null =>
    this.#selectors.find((selector) => matches(selector, operation))?.text ?? null;

  readonly #allowingOperation = (operation: Operation): string | null => {
    if (this.#isReadOnlyListed && isReadOnly(operation)) return '@read-only';
    if (!allows(this.#selectors, operation)) return null;
    return this.#selectors.find((selector) => matches(selector, operation))?.text ?? null;
  };
}

function remembered(
  known: Map<Operation, string | null>,
  operation: Operation,
  find: (operation: Operation) => string | null,
): string | null {
  let rule = known.get(operation);
  if (rule === undefined) {
    rule = find(operation);
    known.set(operation, rule);
  }
  return rule;
}

function applies(rule: Rule, method: string, reading: Reading): boolean {
  return (rule.methods === null || rule.methods.has(method)) && rule.matches(reading, method);
}

function parseRule(text: string): Rule {
  const preset = PRESETS[text];
  if (preset !== undefined) return { text, methods: null, matches: preset };
  const [, methods, path] = /^(\S+)\s+(\/\S*)$/.exec(text) ?? [];
  if (methods === undefined || path === undefined) throw new TypeError(`not a rule: ${text}`);
  const pattern = path
    .split('/')
    .slice(1)
    .map((segment) => (segment === '*' || segment === '**' ? segment : fold(decodeSegment(segment))));
  if (pattern.length > 1 && pattern.at(-1) === '') pattern.pop();
  const named = methods.split(',').map((method) => method.toUpperCase());
  return {
    text,
    methods: named.includes('*') ? null : new Set(named),
    matches: (reading) => isMatch(pattern, reading),
  };
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/**
 * `*` is one segment that is not empty, `**` at the end the rest, which may be nothing: `/users/**` is also `/users`.
 */
function isMatch(pattern: readonly string[], reading: Reading): boolean {
  const isOpen = pattern.at(-1) === '**';
  const fixed = isOpen ? pattern.length - 1 : pattern.length;
  if (isOpen ? reading.length < fixed : reading.length !== fixed) return false;
  for (let i = 0; i < fixed; i++) {
    const wanted = pattern[i];
    const segment = reading[i];
    if (wanted === '*' ? segment === '' : wanted !== segment) return false;
  }
  return true;
}
