// The least permissions that a set of operations declares to need, and how they compare with what is granted. Pure.
// Advice, never a decision: what is declared is a floor, and some of what the platform checks is declared nowhere.

import { leastHittingSet } from './hitting-set.ts';
import type { Operation } from './operation.ts';
import { isReadingPermission } from './read-only.ts';
import { isPermissionMatch } from './selectors.ts';

/** What a set of operations needs. */
export interface LeastPermissions {
  /** Sorted, without wildcards: all of the lists that are needed whole, and the least for the others. */
  readonly permissions: readonly string[];
  /** Whether no smaller set exists; false when finding that out would have taken too long. */
  readonly isLeast: boolean;
  /** Operations that declare no permission, and all the same may be refused. */
  readonly undeclared: readonly Operation[];
  /** Operations of which it is not known what they need, or that need something which no role can grant by name. */
  readonly unknown: readonly Operation[];
}

/** What a role grants, as the platform writes it: `*` in any place stands for all. */
export interface GrantedPolicy {
  readonly domain: string;
  readonly entityName: string;
  readonly actions: readonly string[];
}

/** How what is needed and what is granted compare. Permissions are `domain:entity:action`, grants may have `*`. */
export interface GrantComparison {
  /** Permissions to add: the least that the operations need beside what is granted. */
  readonly missing: readonly string[];
  /** Operations that what is granted does not allow. */
  readonly refused: readonly Operation[];
  /** Grants that no operation needs: they can be taken away, all of them at once. */
  readonly unused: readonly string[];
  /** Grants with `*` of which only a part is needed, and that part. */
  readonly wide: readonly { readonly grant: string; readonly needed: readonly string[] }[];
  readonly isLeast: boolean;
}

// A permission that opens everything costs more than any number of others, and one more permission costs more than
// whatever several others do. Between equally many, those that read are better than those that change one thing, and
// these better than those that manage all of it.
const COST_OF_BROAD = 1e8;
const COST_OF_ONE = 1e4;
const COST_OF_CHANGING = 1;
const COST_OF_MANAGING = 2;

/** The least set of permissions with which all the operations declare to be allowed. Order does not matter. */
export function leastPermissions(operations: Iterable<Operation>): LeastPermissions {
  const { whole, choices, undeclared, unknown } = needsOf(operations);
  const open = choices.filter((list) => !list.some((permission) => whole.has(permission)));
  const chosen = leastHittingSet(open, costOf);
  return { permissions: [...whole, ...chosen.items].sort(), isLeast: chosen.isLeast, undeclared, unknown };
}

/**
 * What is missing of what the operations need, and what is granted beyond it. Where several permissions would do, one
 * that is granted is taken.
 */
export function compareGrants(operations: Iterable<Operation>, policies: Iterable<GrantedPolicy>): GrantComparison {
  const needing = [...new Set(operations)];
  const { whole, choices } = needsOf(needing);
  const grants = [...new Set([...policies].flatMap(grantsOf))].sort();
  const isGranted = (permission: string) => grants.some((grant) => isPermissionMatch(grant, permission));

  const missingWhole = [...whole].filter((permission) => !isGranted(permission));
  const open = choices.filter((list) => !list.some((permission) => whole.has(permission)));
  const added = leastHittingSet(
    open.filter((list) => !list.some(isGranted)),
    costOf,
  );

  const granted = [...whole].filter(isGranted).map((permission) => [permission]);
  const served = [...granted, ...choices.filter((list) => list.some(isGranted))];
  const kept = leastHittingSet(
    served.map((list) => grants.filter((grant) => list.some((permission) => isPermissionMatch(grant, permission)))),
    costOf,
  );
  const isKept = (permission: string) => kept.items.some((grant) => isPermissionMatch(grant, permission));
  const needed = leastHittingSet(
    served.map((list) => list.filter(isKept)),
    costOf,
  );
  return {
    missing: [...missingWhole, ...added.items].sort(),
    refused: needing.filter((operation) => !isAllowed(operation, isGranted)),
    unused: grants.filter((grant) => !kept.items.includes(grant)),
    wide: kept.items
      .filter((grant) => grant.includes('*'))
      .map((grant) => ({ grant, needed: needed.items.filter((each) => isPermissionMatch(grant, each)) })),
    isLeast: added.isLeast && kept.isLeast && needed.isLeast,
  };
}

interface Needs {
  /** Needed whatever else there is. */
  readonly whole: ReadonlySet<string>;
  /** Of each of these one is needed. */
  readonly choices: readonly (readonly string[])[];
  readonly undeclared: readonly Operation[];
  readonly unknown: readonly Operation[];
}

function needsOf(operations: Iterable<Operation>): Needs {
  const whole = new Set<string>();
  const choices: (readonly string[])[] = [];
  const undeclared: Operation[] = [];
  const unknown: Operation[] = [];
  for (const operation of new Set(operations)) {
    const { requires, permissions } = operation;
    const named = permissions.filter(isGrantable);
    if (requires === 'none') undeclared.push(operation);
    else if (named.length === 0 || (requires === 'all' && named.length < permissions.length)) unknown.push(operation);
    if (requires === 'all' || named.length === 1) for (const permission of named) whole.add(permission);
    else if (named.length > 0) choices.push(named);
  }
  return { whole, choices, undeclared, unknown };
}

function isAllowed({ requires, permissions }: Operation, isGranted: (permission: string) => boolean): boolean {
  const named = permissions.filter(isGrantable);
  if (named.length === 0) return true;
  return requires === 'all' ? named.every(isGranted) : named.some(isGranted);
}

/** `admin` and `content_management_user` are words of the platform's past: no policy can name them. */
function isGrantable(permission: string): boolean {
  return permission.split(':').length === 3;
}

/** The grants of a policy, `domain:entity:action`, each of which may have `*`. */
export function grantsOf({ domain, entityName, actions }: GrantedPolicy): string[] {
  return actions.map((action) => `${domain}:${entityName}:${action}`);
}

function costOf(permission: string): number {
  const isBroad = /(?::|^)(?:\*|all|admin)(?::|$)/i.test(permission);
  const power = isReadingPermission(permission) ? 0 : /:manage$/.test(permission) ? COST_OF_MANAGING : COST_OF_CHANGING;
  return COST_OF_ONE + (isBroad ? COST_OF_BROAD : 0) + power;
}
