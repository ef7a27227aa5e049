// /api/v2/authorization: what the caller's token is granted, the permissions there are, and roles, which are checked and
// not kept.

import { readBody } from '../exchange.ts';
import { PlatformError } from '../faults.ts';
import { policiesOf } from '../permissions.ts';
import { createUuid } from '../random.ts';
import { type ApiCall, createPage, type Route } from '../route-table.ts';

const PERMISSIONS = ['analytics', 'authorization', 'directory', 'notifications', 'oauth', 'routing'].map((domain) => ({
  domain,
  permissionMap: {
    [domain]: [{ domain, entityType: domain, action: 'view', label: `View ${domain}`, allowsConditions: false }],
  },
}));

/** The id of the division that everything is in. */
const HOME_DIVISION = 'd1715105-0000-4000-8000-000000000001';
const ROLE = 'e01e0000-0000-4000-8000-000000000001';

function describeSubject(call: ApiCall): Promise<void> {
  const { sandbox, token } = call;
  const id = token.userId ?? token.clientId;
  const division = {
    id: HOME_DIVISION,
    name: 'Home',
    homeDivision: true,
    selfUri: `/api/v2/authorization/divisions/${HOME_DIVISION}`,
  };
  const policies = policiesOf(sandbox.switches.now.permissions ?? ['*:*:*']);
  const role = {
    id: ROLE,
    name: 'Simulated role',
    policies,
    default: false,
    selfUri: `/api/v2/authorization/roles/${ROLE}`,
  };
  return call.reply(200, {
    id,
    name: sandbox.clients.find(token.clientId)?.name ?? 'Simulated client',
    grants: [{ subjectId: id, division, role, grantMadeAt: '2026-01-01T00:00:00.000Z' }],
    version: 1,
  });
}

/** Takes a role as the platform does, and says what is wrong with it; it is given to nobody. */
async function createRole(call: ApiCall): Promise<void> {
  let role: { name?: unknown; permissionPolicies?: unknown };
  try {
    role = JSON.parse((await readBody(call.req)).toString('utf8'));
  } catch (error) {
    if (error instanceof PlatformError) throw error;
    throw new PlatformError(400, 'bad.request', 'The request body is not JSON.');
  }
  const { name, permissionPolicies } = role;
  if (typeof name !== 'string' || name === '') throw new PlatformError(400, 'bad.request', 'name is required.');
  if (!Array.isArray(permissionPolicies) || !permissionPolicies.every(isPolicy))
    throw new PlatformError(400, 'bad.request', 'permissionPolicies is not a list of policies.');
  const id = createUuid(call.sandbox.random);
  await call.reply(200, { ...role, id, selfUri: `/api/v2/authorization/roles/${id}` });
}

function isPolicy(policy: unknown): boolean {
  const { domain, entityName, actionSet } = (policy ?? {}) as Record<string, unknown>;
  const isWord = (value: unknown) => typeof value === 'string' && /^[\w*-]+$/.test(value);
  return (
    isWord(domain) && isWord(entityName) && Array.isArray(actionSet) && actionSet.length > 0 && actionSet.every(isWord)
  );
}

export const authorizationRoutes: readonly Route[] = [
  { template: 'GET /api/v2/authorization/subjects/me', handle: describeSubject },
  {
    template: 'GET /api/v2/authorization/permissions',
    handle: (call) => call.reply(200, createPage(call, PERMISSIONS)),
  },
  { template: 'POST /api/v2/authorization/roles', needs: { any: ['authorization:role:add'] }, handle: createRole },
];
