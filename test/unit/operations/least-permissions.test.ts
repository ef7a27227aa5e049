// The least permissions of a set of operations: proven by brute force on ten made-up traffics and on random ones, and
// compared with what is granted.

import fc from 'fast-check';
import t from 'tap';
import { compareGrants, type GrantedPolicy, leastPermissions } from '../../../src/operations/least-permissions.ts';
import type { Operation } from '../../../src/operations/operation.ts';
import { isPermissionMatch } from '../../../src/operations/selectors.ts';
import { operationTable } from '../../../src/operations/table.ts';

const table = operationTable();
const operationsOf = (...ids: string[]): Operation[] =>
  ids.map((id) => {
    const operation = table.byId(id);
    if (operation === undefined) throw new Error(`there is no ${id}`);
    return operation;
  });

const isGrantable = (permission: string) => permission.split(':').length === 3;
const isAllowed = ({ requires, permissions }: Operation, isGranted: (permission: string) => boolean): boolean => {
  const named = permissions.filter(isGrantable);
  return named.length === 0 || (requires === 'all' ? named.every(isGranted) : named.some(isGranted));
};

const isBroad = (permission: string) => /:(?:all|admin)$/.test(permission);

/**
 * The size of the smallest set that allows all; tries all sets by growing size. Candidates are what the operations
 * name; what opens everything is one only where an operation leaves no choice.
 */
function bruteForce(operations: readonly Operation[], isGranted = (_permission: string) => false): number {
  const named = operations.flatMap(({ requires, permissions }) => {
    const grantable = permissions.filter(isGrantable);
    return requires === 'all' || grantable.every(isBroad) ? grantable : grantable.filter((each) => !isBroad(each));
  });
  const candidates = [...new Set(named)].filter((permission) => !isGranted(permission));
  const grow = (from: number, chosen: readonly string[], left: number): boolean => {
    const has = (permission: string) => isGranted(permission) || chosen.includes(permission);
    if (operations.every((operation) => isAllowed(operation, has))) return true;
    if (left === 0) return false;
    for (let at = from; at < candidates.length; at++) {
      if (grow(at + 1, [...chosen, candidates[at] as string], left - 1)) return true;
    }
    return false;
  };
  for (let size = 0; ; size++) if (grow(0, [], size)) return size;
}

const TRAFFICS: Readonly<Record<string, readonly string[]>> = {
  'a wallboard': [
    'getRoutingQueues',
    'postAnalyticsQueuesObservationsQuery',
    'getUsersMe',
    'postAnalyticsConversationsAggregatesQuery',
  ],
  'a data export': [
    'postAnalyticsConversationsDetailsJobs',
    'getAnalyticsConversationsDetailsJob',
    'getAnalyticsConversationsDetailsJobResults',
    'postRecordingBatchrequests',
  ],
  'a user sync': ['getUsers', 'postUsers', 'patchUser', 'deleteUser', 'postUserInvite', 'getGroups'],
  'a dialler': [
    'getOutboundCampaigns',
    'postOutboundContactlistContacts',
    'getOutboundContactlists',
    'postOutboundContactlistExport',
  ],
  'workforce reading': [
    'getWorkforcemanagementBusinessunit',
    'getWorkforcemanagementBusinessunitActivitycodes',
    'getWorkforcemanagementManagementunit',
    'getWorkforcemanagementManagementunitWorkplans',
  ],
  'a routing deployment': ['getRoutingQueue', 'putRoutingQueue', 'getRoutingSkills', 'postRoutingSkills', 'getFlows'],
  'a voicebot': ['getConversation', 'getIntegrations', 'getFlowsDatatableRow', 'putFlowsDatatableRow'],
  'a quality audit': [
    'postQualityEvaluationsSearch',
    'getConversationRecordings',
    'getConversationRecordingAnnotations',
    'postAuditsQuery',
  ],
  'a licence report': [
    'postLicenseUsers',
    'getLicenseDefinitions',
    'postLicenseInferPermissions',
    'getAuthorizationRoles',
  ],
  'only what needs nothing': ['getUsersMe', 'getTokensMe', 'postNotificationsChannels'],
};

for (const [name, ids] of Object.entries(TRAFFICS)) {
  t.test(`${name}: the least set is as small as any, and one less is too few`, async (t) => {
    const operations = operationsOf(...ids);
    const { permissions, isLeast } = leastPermissions(operations);
    t.ok(isLeast);
    t.equal(permissions.length, bruteForce(operations), permissions.join());
    t.ok(operations.every((operation) => isAllowed(operation, (each) => permissions.includes(each))));
    for (const left of permissions) {
      const rest = permissions.filter((each) => each !== left);
      t.notOk(
        operations.every((operation) => isAllowed(operation, (each) => rest.includes(each))),
        `without ${left}`,
      );
    }
    t.notOk(permissions.some((permission) => permission.includes('*')));
  });
}

t.test('random traffics over the whole table: never more than brute force finds', async (t) => {
  const several = table.operations.filter(
    ({ requires, permissions }) => requires === 'any' && permissions.length > 1 && permissions.length < 5,
  );
  fc.assert(
    fc.property(fc.uniqueArray(fc.constantFrom(...several), { maxLength: 4 }), (operations) => {
      const { permissions } = leastPermissions(operations);
      return permissions.length === bruteForce(operations);
    }),
    { numRuns: 200 },
  );
  t.pass();
});

t.test('of equally small sets the one that changes least is taken, and what opens everything is avoided', async (t) => {
  const needing = (...permissions: string[]): Operation => ({
    ...(table.operations[0] as Operation),
    requires: 'any',
    permissions,
  });
  t.same(leastPermissions([needing('a:b:edit', 'a:b:view', 'a:b:add')]).permissions, ['a:b:view']);
  t.same(leastPermissions([needing('a:b:manage', 'a:b:update')]).permissions, ['a:b:update']);
  t.same(leastPermissions([needing('a:b:admin', 'a:b:view', 'a:b:edit')]).permissions, ['a:b:view']);
  t.same(
    leastPermissions([needing('a:plugin:all', 'a:b:edit'), needing('a:plugin:all', 'c:d:edit')]).permissions,
    ['a:b:edit', 'c:d:edit'],
    'two are better than one that opens everything',
  );
  t.same(leastPermissions([needing('directory:organization:admin')]).permissions, ['directory:organization:admin']);
});

t.test('what is needed anyway serves the lists of alternatives too', async (t) => {
  const base = table.operations[0] as Operation;
  const both: Operation = { ...base, requires: 'all', permissions: ['a:b:view', 'a:b:edit'] };
  const either: Operation = { ...base, requires: 'any', permissions: ['a:a:view', 'a:b:edit'] };
  t.same(leastPermissions([either, both]).permissions, ['a:b:edit', 'a:b:view']);
});

t.test('what declares nothing, what is not known and what no role can grant are told apart', async (t) => {
  const { permissions, undeclared, unknown } = leastPermissions(
    operationsOf('getUsersMe', 'getFaxFaxIdStatus', 'getContentmanagementDocument', 'deleteUser', 'getUsersMe'),
  );
  t.same(permissions, ['directory:user:delete']);
  t.same(
    undeclared.map(({ id }) => id),
    ['getUsersMe'],
  );
  t.same(
    unknown.map(({ id }) => id),
    ['getFaxFaxIdStatus', 'getContentmanagementDocument'],
  );
  t.same(leastPermissions([]), { permissions: [], isLeast: true, undeclared: [], unknown: [] });
});

t.test('all operations of the platform at once are answered, and exactly', async (t) => {
  const { permissions, isLeast } = leastPermissions(table.operations);
  t.ok(isLeast);
  t.ok(permissions.length > 1000 && permissions.length < 1450);
  t.ok(
    table.operations.every((operation) => isAllowed(operation, (each) => permissions.includes(each))),
    `${permissions.length} permissions`,
  );
});

t.test('what is granted compares with what is needed: missing, refused, unused, too wide', async (t) => {
  const operations = operationsOf('getRoutingQueues', 'postRoutingSkills', 'deleteUser', 'getUsersMe');
  const comparison = compareGrants(operations, [
    { domain: 'routing', entityName: '*', actions: ['*'] },
    { domain: 'analytics', entityName: 'conversationDetail', actions: ['view', 'add'] },
  ]);
  t.same(comparison.missing, ['directory:user:delete']);
  t.same(
    comparison.refused.map(({ id }) => id),
    ['deleteUser'],
  );
  t.same(comparison.unused, ['analytics:conversationDetail:add', 'analytics:conversationDetail:view']);
  t.equal(comparison.wide.length, 1);
  t.equal(comparison.wide[0]?.grant, 'routing:*:*');
  t.same(comparison.wide[0]?.needed, ['routing:queue:view', 'routing:skill:create']);
});

t.test('nothing granted is everything missing, and everything granted is nothing missing', async (t) => {
  const operations = operationsOf(...Object.values(TRAFFICS).flat());
  const none = compareGrants(operations, []);
  t.same(none.missing, leastPermissions(operations).permissions);
  t.same([none.unused, none.wide], [[], []]);
  const all = compareGrants(operations, [{ domain: '*', entityName: '*', actions: ['*'] }]);
  t.same([all.missing, all.refused, all.unused], [[], [], []]);
  t.same(all.wide, [{ grant: '*:*:*', needed: none.missing }]);
  t.same(compareGrants([], [{ domain: 'a', entityName: 'b', actions: ['view'] }]).unused, ['a:b:view']);
});

t.test('with what is missing everything is allowed, and without what is unused nothing more is refused', async (t) => {
  const several = table.operations.filter(({ permissions }) => permissions.length > 0 && permissions.length < 6);
  const scenario = fc.uniqueArray(fc.constantFrom(...several), { minLength: 1, maxLength: 5 }).chain((operations) => {
    const words = operations.flatMap(({ permissions }) => permissions).filter(isGrantable);
    const policy = fc.constantFrom(...(words.length === 0 ? ['a:b:c'] : words)).chain((permission) => {
      const [domain = '', entityName = '', action = ''] = permission.split(':');
      return fc.record({
        domain: fc.constant(domain),
        entityName: fc.constantFrom(entityName, '*'),
        actions: fc.subarray([action, '*', 'unheardOf'], { minLength: 1 }),
      });
    });
    return fc.tuple(fc.constant(operations), fc.array(policy, { maxLength: 5 }));
  });
  fc.assert(
    fc.property(scenario, ([operations, policies]: [Operation[], GrantedPolicy[]]) => {
      const grants = policies.flatMap(({ domain, entityName, actions }) =>
        actions.map((action) => `${domain}:${entityName}:${action}`),
      );
      const grantedBy = (list: readonly string[]) => (permission: string) =>
        list.some((grant) => isPermissionMatch(grant, permission));
      const { missing, refused, unused, wide } = compareGrants(operations, policies);
      const allowedBy = (list: readonly string[]) =>
        operations.filter((operation) => isAllowed(operation, grantedBy(list))).length;
      const before = allowedBy(grants);
      if (operations.length - refused.length !== before) throw new Error('refused');
      if (allowedBy([...grants, ...missing]) !== operations.length) throw new Error(`missing ${missing}`);
      if (missing.length !== bruteForce(operations, grantedBy(grants))) throw new Error(`too many missing: ${missing}`);
      const kept = [...new Set(grants)].filter((grant) => !unused.includes(grant));
      // What is granted of an operation that is refused all the same counts as needed: it will be.
      const whole = operations.filter(({ requires }) => requires === 'all').flatMap(({ permissions }) => permissions);
      const keeps = (list: readonly string[]) =>
        allowedBy(list) === before &&
        whole.every((each) => grantedBy(list)(each) || !grantedBy(grants)(each) || !isGrantable(each));
      if (!keeps(kept)) throw new Error(`unused ${unused}`);
      const narrowed = kept.flatMap((grant) => wide.find((each) => each.grant === grant)?.needed ?? [grant]);
      if (!keeps(narrowed)) throw new Error(`too narrow: ${narrowed}`);
      for (const grant of kept) if (keeps(kept.filter((each) => each !== grant))) throw new Error(`kept ${grant}`);
    }),
    { numRuns: 400 },
  );
  t.pass();
});
