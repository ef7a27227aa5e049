// Says in words what an operation needs, and why the platform may have refused it. Pure. It explains beside the
// platform's own answer and decides nothing: what is declared is a floor, and the platform has the last word.

import { type GrantedPolicy, grantsOf } from './least-permissions.ts';
import type { Operation } from './operation.ts';
import { isPermissionMatch } from './selectors.ts';

/** A refusal, as far as it is known. */
export interface Refusal {
  /** Null for one that the table does not know. */
  readonly operation: Operation | null;
  readonly credential: string;
  /** Whether it is the token of a person's own session, whose roles count and not those of the application. */
  readonly isSession: boolean;
  /** Permissions that the platform itself names in its answer. */
  readonly named: readonly string[];
  /** What the credential's roles grant; null while it is not known. */
  readonly policies: readonly GrantedPolicy[] | null;
}

/** What an operation needs of permissions: `needs one of routing:queue:view, routing:queue:edit`. */
export function needsWords({ requires, permissions }: Operation): string {
  const list = permissions.join(', ');
  if (requires === 'none') return 'declares to need no permission';
  if (requires === 'unknown') return 'needs what is not known here';
  if (permissions.length === 1) return `needs ${list}`;
  return requires === 'all' ? `needs all of ${list}` : `needs one of ${list}`;
}

/** The permissions that an operation declares to need and that are not granted; empty where it is allowed. */
export function missingPermissions(operation: Operation, policies: readonly GrantedPolicy[]): readonly string[] {
  const { exact, wide } = grantsIn(policies);
  const missing = operation.permissions.filter(
    (permission) => !exact.has(permission) && !wide.some((grant) => isPermissionMatch(grant, permission)),
  );
  return operation.requires === 'any' && missing.length < operation.permissions.length ? [] : missing;
}

/** What policies grant, in a form in which to look it up. */
interface Grants {
  readonly exact: ReadonlySet<string>;
  /** Those with `*`. */
  readonly wide: readonly string[];
}

/** Roles may grant thousands, and a caller may be refused a thousand times a second: they are read once. */
const knownGrants = new WeakMap<readonly GrantedPolicy[], Grants>();

function grantsIn(policies: readonly GrantedPolicy[]): Grants {
  let grants = knownGrants.get(policies);
  if (grants === undefined) {
    const all = new Set(policies.flatMap(grantsOf));
    grants = { exact: all, wide: [...all].filter((grant) => grant.includes('*')) };
    knownGrants.set(policies, grants);
  }
  return grants;
}

/** Why the platform refused a call, and what to do, in one line of our own words and names of permissions. */
export function refusalWords({ operation, credential, isSession, named, policies }: Refusal): string {
  const isNews = named.length > 0 && [...named].sort().join() !== [...(operation?.permissions ?? [])].sort().join();
  const ofPlatform = isNews ? `; the platform names ${named.join(', ')}` : '';
  if (operation === null)
    return `the platform refused an operation that is not in the table of this release${ofPlatform}`;
  const needs = `${operation.id} ${needsWords(operation)}`;
  if (policies === null || operation.requires === 'unknown') return `${needs}${ofPlatform}`;
  const holder = isSession ? 'the person of this session' : `credential ${credential}`;
  const missing = missingPermissions(operation, policies);
  if (missing.length > 0) {
    const join = operation.requires === 'any' && missing.length > 1 ? ' or ' : ', ';
    return `${needs}; the roles of ${holder} lack ${missing.join(join)}${ofPlatform}`;
  }
  return (
    `${needs}, which the roles of ${holder} grant: a division, a condition of a grant, or a check that ` +
    `is not declared refused it${ofPlatform}`
  );
}

/** The longest word of a permission has 38 characters; a secret of 256 bits has 43 and more, and is no name. */
const PERMISSION_NAME = /(?<![\w:.])[A-Za-z]\w{0,41}:[A-Za-z*][\w*]{0,41}:[A-Za-z*][\w*]{0,41}(?![\w:*])/g;

/** Names of permissions in a text of the platform. */
export function permissionsIn(text: string): string[] {
  return [...new Set(text.slice(0, 4096).match(PERMISSION_NAME) ?? [])].slice(0, 20);
}

/** What of these is about the token, the organisation or its roles, and not about a person. */
const WITHOUT_PERSON = /^\/api\/v2\/(?:tokens|organizations|authorization)\//;

/** Whether an operation is about the person who is logged in, of whom client credentials have none. */
export function needsUser({ path }: Operation): boolean {
  return /\/me(?:\/|$)/.test(path) && !WITHOUT_PERSON.test(path);
}

/** Why an operation about the person who is logged in is of no use with client credentials. */
export function noUserWords(operation: Operation, credential: string): string {
  return (
    `${operation.id} is about the person who is logged in, and credential ${credential} (client_credentials) has none: ` +
    'use a credential with a login, or an operation that takes an id'
  );
}
