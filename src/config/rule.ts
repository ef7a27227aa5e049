// A rule as it is written, `METHOD[,METHOD] /path` or a preset: its spelling, and whether it can match any call. What it
// matches is decided where calls are judged.

import { METHODS } from 'node:http';
import { OPERATION_FORMS, refuseOperationRule } from './operation-rule.ts';
import { didYouMean, quote } from './problem.ts';
import { err, ok, type Parsed } from './values.ts';

/** Names for sets of rules, in lists of what is allowed. */
const RULE_PRESETS: readonly string[] = ['@read-only', '@no-delete'];

/** A rule with one blank between its parts. */
export function parseRule(rule: string, key: 'allow' | 'deny'): Parsed<string> {
  const reason = refuseRule(rule, key);
  return reason === undefined ? ok(rule.replace(/\s+/, ' ')) : err(reason);
}

/** Why a rule cannot be used: `METHOD[,METHOD] /path`, an operation, or a preset in `allow`. undefined when it can. */
export function refuseRule(rule: string, key: 'allow' | 'deny'): string | undefined {
  if (rule.startsWith('@')) {
    if (!RULE_PRESETS.includes(rule))
      return `${quote(rule)} is not known${didYouMean(rule, RULE_PRESETS) || `; there is ${RULE_PRESETS.join(', ')}`}`;
    return key === 'deny' ? `${quote(rule)} says what is allowed; it belongs into allow` : undefined;
  }
  const refused = refuseOperationRule(rule);
  if (refused !== null) return refused;
  const [, methods, path] = /^(\S+)\s+(\S+)$/.exec(rule) ?? [];
  if (methods === undefined || path === undefined)
    return `${quote(rule)} is not a rule; write it like GET /api/v2/users/**, or ${OPERATION_FORMS}`;
  if (!methods.split(',').every((method) => method === '*' || /^[A-Za-z]+$/.test(method))) {
    return `${quote(rule)}: ${quote(methods)} is not a list of methods; write it like GET,POST or *`;
  }
  // One that no request can have would look like a rule and protect nothing.
  const unknown = methods.split(',').find((method) => method !== '*' && !METHODS.includes(method.toUpperCase()));
  if (unknown !== undefined)
    return `${quote(rule)}: ${quote(unknown)} is not a method${didYouMean(unknown.toUpperCase(), METHODS)}`;
  if (!path.startsWith('/') || /[?#\\]/.test(path))
    return `${quote(rule)}: the path must begin with / and have no query`;
  const segments = path.slice(1).split('/');
  if (segments.some((segment) => segment === '.' || segment === '..'))
    return `${quote(rule)}: the path must not hold . or ..`;
  if (segments.slice(0, -1).includes('**'))
    return `${quote(rule)}: ** stands for the rest and must be the end of the path`;
  if (segments.some((segment) => segment.includes('*') && segment !== '*' && segment !== '**')) {
    return `${quote(rule)}: * stands for a whole segment`;
  }
  return undefined;
}

/** Why a rule that is well written can match no call: all of them go to /api/v2/… Null when it can. */
export function whyMatchesNothing(rule: string): string | null {
  const [, methods = '', path] = /^(\S+) (\S+)$/.exec(rule) ?? [];
  if (path === undefined) return null;
  const segments = path.slice(1).split('/');
  const open = segments.indexOf('**');
  const isOpen = (at: number) => (open >= 0 && open <= at) || segments[at] === '*';
  if (API_PREFIX.every((wanted, at) => isOpen(at) || decode(segments[at]) === wanted)) return null;
  const isNamed = API_PREFIX.every((wanted, at) => decode(segments[at + 1]) === wanted);
  const right = isNamed ? `/${segments.slice(1).join('/')}` : `/api/v2${path}`;
  return `${quote(rule)} matches nothing, since calls go to /api/v2/…; write ${methods} ${right}`;
}

const API_PREFIX = ['api', 'v2'];

function decode(segment = ''): string {
  try {
    return decodeURIComponent(segment).toLowerCase();
  } catch {
    // Not an escape: it is compared as written.
    return segment.toLowerCase();
  }
}
