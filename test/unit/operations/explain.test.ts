// The words for refusals: what an operation needs, what is lacking, what the platform names; never text of the platform.

import t from 'tap';
import {
  missingPermissions,
  needsUser,
  needsWords,
  permissionsIn,
  refusalWords,
} from '../../../src/operations/explain.ts';
import type { Operation } from '../../../src/operations/operation.ts';
import { operationTable } from '../../../src/operations/table.ts';

const anOperation = (requires: Operation['requires'], ...permissions: string[]): Operation => ({
  id: 'getThings',
  method: 'GET',
  path: '/api/v2/things',
  tags: [],
  requires,
  permissions,
  hasBody: false,
  isDeprecated: false,
  isPreview: false,
});
const grants = (...all: string[]) =>
  all.map((grant) => {
    const [domain = '', entityName = '', action = ''] = grant.split(':');
    return { domain, entityName, actions: [action] };
  });

t.test('what an operation needs, in words', async (t) => {
  t.equal(needsWords(anOperation('none')), 'declares to need no permission');
  t.equal(needsWords(anOperation('unknown')), 'needs what is not known here');
  t.equal(needsWords(anOperation('any', 'a:b:c')), 'needs a:b:c');
  t.equal(needsWords(anOperation('any', 'a:b:c', 'd:e:f')), 'needs one of a:b:c, d:e:f');
  t.equal(needsWords(anOperation('all', 'a:b:c', 'd:e:f')), 'needs all of a:b:c, d:e:f');
});

t.test('ANY is missing whole or not at all, ALL by what is lacking; wildcards grant', async (t) => {
  t.same(missingPermissions(anOperation('any', 'a:b:c', 'd:e:f'), grants('d:*:f')), []);
  t.same(missingPermissions(anOperation('any', 'a:b:c', 'd:e:f'), grants('x:y:z')), ['a:b:c', 'd:e:f']);
  t.same(missingPermissions(anOperation('all', 'a:b:c', 'd:e:f'), grants('a:*:*')), ['d:e:f']);
});

t.test('a refusal', async (t) => {
  const refusal = { credential: 'crm', isSession: false, named: [], policies: null };
  const operation = anOperation('all', 'a:b:c', 'd:e:f');
  t.equal(refusalWords({ ...refusal, operation }), 'getThings needs all of a:b:c, d:e:f');
  t.equal(
    refusalWords({ ...refusal, operation, named: ['d:e:f'] }),
    'getThings needs all of a:b:c, d:e:f; the platform names d:e:f',
  );
  t.equal(
    refusalWords({ ...refusal, operation, policies: grants('a:b:c') }),
    'getThings needs all of a:b:c, d:e:f; the roles of credential crm lack d:e:f',
  );
  t.equal(
    refusalWords({ ...refusal, isSession: true, operation, policies: grants('a:b:c') }),
    'getThings needs all of a:b:c, d:e:f; the roles of the person of this session lack d:e:f',
  );
  t.match(refusalWords({ ...refusal, operation, policies: grants('*:*:*') }), /grant: a division, a condition/);
  t.match(refusalWords({ ...refusal, operation: null, named: ['a:b:c'] }), /not in the table.*names a:b:c/);
});

t.test('of a text of the platform only names of permissions are taken, and not too many', async (t) => {
  t.same(permissionsIn('missing: [routing:queue:add, a:b:*] in http://host:80:x and 10:20:30'), [
    'routing:queue:add',
    'a:b:*',
  ]);
  t.same(permissionsIn('com.inin.pubapi.iam.util.ResourcePermission'), []);
  const many = Array.from({ length: 500 }, (_, n) => `a:b:c${n}`).join(' ');
  t.equal(permissionsIn(many).length, 20);
});

t.test('operations about a person', async (t) => {
  const isAbout = (id: string) => needsUser(operationTable().byId(id) as Operation);
  for (const id of ['getUsersMe', 'getRoutingQueuesMe', 'getVoicemailMeMailbox']) t.ok(isAbout(id), id);
  for (const id of ['getTokensMe', 'getOrganizationsMe', 'getAuthorizationSubjectsMe', 'getUser'])
    t.notOk(isAbout(id), id);
});

t.test('roles that grant very much are read once, not at each refusal', async (t) => {
  let reads = 0;
  const counted = grants('a:b:c').map(({ domain, entityName, actions }) => ({
    domain,
    entityName,
    get actions() {
      reads += 1;
      return actions;
    },
  }));
  for (let i = 0; i < 100; i += 1) t.same(missingPermissions(anOperation('all', 'a:b:c', 'd:e:f'), counted), ['d:e:f']);
  t.equal(reads, 1);
});
