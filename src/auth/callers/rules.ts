// What a client may call: `METHOD[,METHOD] /path`, allow and deny, and the presets. Pure; deny wins, and a rule must
// hold for every reading of a path.

import type { ClientConfig } from '../../config/gateway-config.ts';
import { fold, type Reading, readPath } from './path-readings.ts';

/** Why a call is refused, for a message and a record; null when it is allowed. `rule` is the configured text. */
export type Verdict =
  | null
  | { readonly reason: 'denied'; readonly rule: string }
  | { readonly reason: 'unlisted' }
  | { readonly reason: 'ambiguous' };

/** Compiled rules of one client. */
export interface Rules {
  /** `target` is what goes upstream, query included. Microseconds for plain paths; never throws. */
  judge(method: string, target: string): Verdict;
}

interface Rule {
  readonly text: string;
  /** Upper case; null: any. */
  readonly methods: ReadonlySet<string> | null;
  readonly matches: (reading: Reading, method: string) => boolean;
}

const READ_METHODS = new Set(['GET', 'HEAD']);
/** POST routes of the platform that only ask: their last segment. */
const ASKING = new Set(['query', 'search', 'aggregates', 'suggest', 'simplesearch']);

const PRESETS: Readonly<Record<string, Rule['matches']>> = {
  '@read-only': (reading, method) =>
    READ_METHODS.has(method) || (method === 'POST' && ASKING.has(reading.at(-1) ?? '')),
  '@no-delete': (_reading, method) => method !== 'DELETE',
};

/**
 * Null when the client has no rules, so that nothing is paid for them. Throws a TypeError for text that is no rule; the
 * loader refuses it before.
 */
export function createRules(client: Pick<ClientConfig, 'allow' | 'deny'>): Rules | null {
  if (client.allow.length === 0 && client.deny.length === 0) return null;
  const allow = client.allow.map(parseRule);
  const deny = client.deny.map(parseRule);
  return {
    judge(method, target) {
      const queryAt = target.indexOf('?');
      const readings = readPath(queryAt < 0 ? target : target.slice(0, queryAt));
      if (readings === null) return { reason: 'ambiguous' };
      for (const rule of deny) {
        if (readings.some((reading) => applies(rule, method, reading))) return { reason: 'denied', rule: rule.text };
      }
      if (allow.length === 0 || readings.every((reading) => allow.some((rule) => applies(rule, method, reading))))
        return null;
      return { reason: 'unlisted' };
    },
  };
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
