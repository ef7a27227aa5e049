// A set of permissions as a role: as the platform's API takes it, and as a block of Terraform. Pure.

/** One policy of a role, as `POST /api/v2/authorization/roles` takes it. */
export interface RolePolicy {
  readonly domain: string;
  readonly entityName: string;
  readonly actionSet: readonly string[];
}

/** A role, as `POST /api/v2/authorization/roles` takes it. */
export interface Role {
  readonly name: string;
  readonly description: string;
  readonly permissionPolicies: readonly RolePolicy[];
}

/** The role that grants these permissions, `domain:entity:action`, and no others. */
export function roleOf(name: string, description: string, permissions: readonly string[]): Role {
  const policies = new Map<string, { domain: string; entityName: string; actionSet: string[] }>();
  for (const permission of permissions) {
    const [domain = '', entityName = '', action = ''] = permission.split(':');
    const policy = policies.get(`${domain}:${entityName}`) ?? { domain, entityName, actionSet: [] };
    policy.actionSet.push(action);
    policies.set(`${domain}:${entityName}`, policy);
  }
  return { name, description, permissionPolicies: [...policies.values()] };
}

/** The role as a resource of Genesys' Terraform provider. */
export function terraformOf({ name, description, permissionPolicies }: Role): string {
  const label = name.replaceAll(/[^\w-]/g, '_');
  const policies = permissionPolicies.map(
    ({ domain, entityName, actionSet }) =>
      `\n  permission_policies {\n    domain      = ${quoted(domain)}\n    entity_name = ${quoted(entityName)}\n` +
      `    action_set  = [${actionSet.map(quoted).join(', ')}]\n  }\n`,
  );
  return (
    `resource "genesyscloud_auth_role" "${label}" {\n  name        = ${quoted(name)}\n` +
    `  description = ${quoted(description)}\n${policies.join('')}}\n`
  );
}

/** A string of Terraform, in which `${` and `%{` would begin a template. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll(/[$%](?=\{)/g, '$&$&');
}
