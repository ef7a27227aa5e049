// Advice on permissions: what the calls of one credential need at least, against what it is granted, and which of its
// operations are about to go. Pure.

import { needsUser } from './explain.ts';
import { compareGrants, type GrantedPolicy, leastPermissions } from './least-permissions.ts';
import type { Operation } from './operation.ts';
import { operationTable } from './table.ts';

/** Calls of one client by one credential to one operation. */
export interface OperationUse {
  /** Null for callers who are no client. */
  readonly client: string | null;
  readonly credential: string;
  /** An operationId, or a word for what has none. */
  readonly operation: string;
  readonly calls: number;
}

/** An operation that should be looked at, and which clients use it. */
export interface NotedOperation {
  readonly operation: string;
  readonly clients: readonly (string | null)[];
}

/** What is known and advised of one credential. Lists are sorted. */
export interface Advice {
  readonly credential: string;
  readonly clients: readonly (string | null)[];
  readonly calls: number;
  readonly operations: number;
  /** The least permissions for these operations, as far as they are declared. */
  readonly permissions: readonly string[];
  /** Whether that is proven to be the least. */
  readonly isLeast: boolean;
  /** Against what is granted; null where that is not known. */
  readonly granted: {
    readonly missing: readonly string[];
    readonly unused: readonly string[];
    readonly wide: readonly { readonly grant: string; readonly needed: readonly string[] }[];
    /** Operations that what is granted does not allow. */
    readonly refused: readonly string[];
  } | null;
  readonly deprecated: readonly NotedOperation[];
  readonly preview: readonly NotedOperation[];
  /** About the person who is logged in: of no use with client credentials. */
  readonly aboutUser: readonly string[];
  /** These declare no permission, and may check one all the same. */
  readonly undeclared: readonly string[];
  /** Of these it is not known what they need. */
  readonly unknown: readonly string[];
  /** Calls to what the table does not know. */
  readonly unlistedCalls: number;
}

/** Advice on each credential, by name. `granted` gives what is known of one, else null. */
export function adviseOn(
  uses: readonly OperationUse[],
  granted: (credential: string) => readonly GrantedPolicy[] | null,
): Advice[] {
  const ofCredentials = new Map<string, OperationUse[]>();
  for (const use of uses) {
    const known = ofCredentials.get(use.credential);
    if (known === undefined) ofCredentials.set(use.credential, [use]);
    else known.push(use);
  }
  return [...ofCredentials]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, itsUses]) => adviceOn(name, itsUses, granted(name)));
}

function adviceOn(
  credential: string,
  uses: readonly OperationUse[],
  policies: readonly GrantedPolicy[] | null,
): Advice {
  const clientsOf = new Map<Operation, Set<string | null>>();
  let unlistedCalls = 0;
  for (const { operation: id, client, calls } of uses) {
    const operation = operationTable().byId(id);
    if (operation === undefined) unlistedCalls += calls;
    else clientsOf.set(operation, (clientsOf.get(operation) ?? new Set()).add(client));
  }
  const operations = [...clientsOf.keys()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const { permissions, isLeast, undeclared, unknown } = leastPermissions(operations);
  const noted = (isNoted: (operation: Operation) => boolean): NotedOperation[] =>
    operations
      .filter(isNoted)
      .map((operation) => ({ operation: operation.id, clients: sorted(clientsOf.get(operation) ?? []) }));
  return {
    credential,
    clients: sorted(new Set(uses.map(({ client }) => client))),
    calls: uses.reduce((sum, { calls }) => sum + calls, 0),
    operations: operations.length,
    permissions,
    isLeast,
    granted: policies === null ? null : grantedOf(operations, policies),
    deprecated: noted(({ isDeprecated }) => isDeprecated),
    preview: noted(({ isPreview }) => isPreview),
    aboutUser: idsOf(operations.filter(needsUser)),
    undeclared: idsOf(undeclared),
    unknown: idsOf(unknown),
    unlistedCalls,
  };
}

function grantedOf(operations: readonly Operation[], policies: readonly GrantedPolicy[]): Advice['granted'] {
  const { missing, unused, wide, refused } = compareGrants(operations, policies);
  return { missing, unused, wide, refused: idsOf(refused) };
}

function idsOf(operations: readonly Operation[]): string[] {
  return operations.map(({ id }) => id).sort();
}

function sorted(clients: Iterable<string | null>): (string | null)[] {
  return [...clients].sort((a, b) => ((a ?? '') < (b ?? '') ? -1 : 1));
}
