// Permissions of the simulated organisation: which a route needs, and what the token in use is granted. Enforced only
// while the switch `permissions` says what is granted.

import { PlatformError } from './faults.ts';

/** What a route needs: one of these, or all. */
export interface Needs {
  readonly any?: readonly string[];
  readonly all?: readonly string[];
}

/** Throws the platform's 403 where what is granted is not enough. `granted` may have `*` in any of the three places. */
export function assertPermitted({ any = [], all = [] }: Needs, granted: readonly string[]): void {
  const isGranted = (permission: string) => granted.some((grant) => covers(grant, permission));
  const missing = all.filter((permission) => !isGranted(permission));
  if (missing.length > 0) {
    throw new PlatformError(
      403,
      'missing.permissions',
      `Unable to perform the requested action. You are missing the following permission(s): ${missing.join(', ')}`,
    );
  }
  if (any.length > 0 && !any.some(isGranted)) {
    throw new PlatformError(
      403,
      'missing.any.permissions',
      'Unable to perform the requested action. You must have at least one of the following permissions assigned: ' +
        `[${any.join(', ')}]`,
    );
  }
}

/** Whether a grant, `routing:*:view`, covers a permission. */
export function covers(grant: string, permission: string): boolean {
  const words = permission.split(':');
  return grant.split(':').every((word, index) => word === '*' || word === words[index]);
}

/** What a role says: its policies, as the platform writes them. */
export function policiesOf(granted: readonly string[]): Record<string, unknown>[] {
  const policies = new Map<string, { domain: string; entityName: string; actions: string[] }>();
  for (const grant of granted) {
    const [domain = '', entityName = '', action = ''] = grant.split(':');
    const policy = policies.get(`${domain}:${entityName}`) ?? { domain, entityName, actions: [] };
    policy.actions.push(action);
    policies.set(`${domain}:${entityName}`, policy);
  }
  return [...policies.values()];
}
