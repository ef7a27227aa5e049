// What `@read-only` takes for reading. The page of all of it is held against drift with the other generated files.

import t from 'tap';
import { isReadingPermission, isReadOnly } from '../../../src/operations/read-only.ts';
import { operationTable } from '../../../src/operations/table.ts';

const table = operationTable();
const isReading = (id: string) => {
  const operation = table.byId(id);
  if (operation === undefined) throw new Error(`there is no ${id}`);
  return isReadOnly(operation);
};

t.test('GET and HEAD read, PUT, PATCH and DELETE do not', async (t) => {
  const methodsOf = (isRead: boolean) =>
    [...new Set(table.operations.filter((each) => isReadOnly(each) === isRead).map(({ method }) => method))].sort();
  t.same(methodsOf(true), ['GET', 'HEAD', 'POST']);
  t.same(methodsOf(false), ['DELETE', 'PATCH', 'POST', 'PUT']);
});

t.test('a POST reads when all it needs is to read, or when it ends in a word of asking', async (t) => {
  for (const id of [
    'postAnalyticsConversationsDetailsJobs',
    'postAnalyticsConversationsDetailsQuery',
    'postRecordingBatchrequests',
    'postExternalcontactsBulkContacts',
    'postAuditsQueryRealtime',
    'postUsersSearch',
    'postGroupsSearch',
    'postQualityEvaluationsAggregatesQueryMe',
    'postKnowledgeGuestSessionDocumentsSearchSuggestions',
    'postConversationsParticipantsAttributesSearch',
    'postWorkforcemanagementTimeofflimitsAvailableQuery',
  ]) {
    t.ok(isReading(id), id);
  }
});

t.test('a POST that changes something does not, whatever it is called', async (t) => {
  for (const id of [
    'postUsers',
    'postUsersMePassword',
    'postNotificationsChannels',
    'postGreetings',
    'postAuthorizationDivisionObject',
    'postConversationRecordingAnnotations',
    'postBusinessrulesDecisiontableVersionRows',
    'postExternalcontactsContactsExports',
    'postLearningAssessmentsScoring',
    'postAnalyticsReportingDashboardsUsersBulkRemove',
    'postTelephonyPrefixesBulk',
  ]) {
    t.notOk(isReading(id), id);
  }
});

t.test('a parameter is no word of asking', async (t) => {
  const [operation] = table.operations;
  t.ok(operation);
  if (!operation) return;
  const post = { ...operation, method: 'POST', requires: 'none', permissions: [] } as const;
  t.ok(isReadOnly({ ...post, path: '/api/v2/things/query' }));
  t.notOk(isReadOnly({ ...post, path: '/api/v2/things/{query}' }));
  t.notOk(isReadOnly({ ...post, path: '/api/v2/query/things' }));
  t.notOk(isReadOnly({ ...post, path: '/api/v2/things/me' }));
  t.notOk(isReadOnly({ ...post, method: 'PUT', path: '/api/v2/things/query' }));
});

t.test('a permission reads by its action', async (t) => {
  const actions = (isRead: boolean) =>
    [
      ...new Set(
        table.operations
          .flatMap(({ permissions }) => permissions)
          .filter((permission) => /view|search|read/i.test(permission.split(':')[2] ?? ''))
          .filter((permission) => isReadingPermission(permission) === isRead)
          .map((permission) => permission.split(':')[2]),
      ),
    ].sort();
  t.same(actions(true), [
    'attributesview',
    'read',
    'readonly',
    'schemaView',
    'search',
    'searchAny',
    'searchPreview',
    'selfView',
    'view',
    'viewAll',
    'viewOther',
    'viewOwn',
    'viewPrivate',
    'viewSchedule',
  ]);
  t.same(actions(false), ['preview']);
  for (const permission of ['admin', 'view', '', ':::view', 'a:b:', 'a:b:viewer', 'a:b:reader', 'a:b:c:view'])
    t.notOk(isReadingPermission(permission), permission);
});
