// Selectors of operations: what has the form of one, what each names, what a list of them lets pass, and what is said
// of one that names nothing.

import t from 'tap';
import { didYouMean } from '../../../src/config/problem.ts';
import type { Operation } from '../../../src/operations/operation.ts';
import {
  allows,
  alternativesTo,
  isPermissionMatch,
  matches,
  parseSelector,
  type Selector,
} from '../../../src/operations/selectors.ts';
import { operationTable } from '../../../src/operations/table.ts';

const { operations } = operationTable();

function selector(text: string): Selector {
  const parsed = parseSelector(text);
  if (parsed === null) throw new Error(`${text} is no selector`);
  return parsed;
}

const selected = (text: string) => operations.filter((operation) => matches(selector(text), operation));
const idsOf = (list: readonly Operation[]) => list.map(({ id }) => id);
const passing = (...texts: string[]) => operations.filter((operation) => allows(texts.map(selector), operation));

const anOperation = (
  requires: Operation['requires'],
  permissions: readonly string[],
  method = 'GET',
  path = '/api/v2/things',
): Operation => ({
  id: 'getThings',
  method,
  path,
  tags: ['Things'],
  requires,
  permissions,
  hasBody: false,
  isDeprecated: false,
  isPreview: false,
});

t.test('a selector is an operationId, a tag or a permission, with stars', async (t) => {
  for (const [text, by, pattern] of [
    ['getUsers', 'id', 'getUsers'],
    ['getUsers*', 'id', 'getUsers*'],
    ['*', 'id', '*'],
    ['tag:Routing', 'tag', 'Routing'],
    ['permission:routing:queue:view', 'permission', 'routing:queue:view'],
    ['permission:*:*:view*', 'permission', '*:*:view*'],
  ]) {
    t.same(parseSelector(text ?? ''), { text, by, pattern });
  }
});

t.test('what has not the form of a selector is null', async (t) => {
  for (const text of [
    '',
    'GET /users',
    '@read-only',
    '/api/v2/users',
    'get users',
    'get-users',
    'tag:',
    'Tag:Routing',
    'tag:Routing Queues',
    'permission:admin',
    'permission:*',
    'permission:routing:queue',
    'permission:routing:queue:view:all',
    'permission::queue:view',
    'permission:',
    'scope:routing',
    'getUsers\n',
    '__proto__',
  ]) {
    t.equal(parseSelector(text), null, text);
  }
});

t.test('a name selects one operation, with its case', async (t) => {
  t.same(idsOf(selected('getUsers')), ['getUsers']);
  t.same(idsOf(selected('getPresencedefinitions')), ['getPresencedefinitions']);
  t.same(idsOf(selected('GetUsers')), []);
});

t.test('a star is any run of characters', async (t) => {
  const users = idsOf(selected('getUsers*'));
  t.ok(users.includes('getUsers') && users.includes('getUsersMe') && !users.includes('getUser'));
  t.equal(selected('*').length, operations.length);
  t.same(
    idsOf(selected('*ers*Me*')),
    operations.map(({ id }) => id).filter((id) => /^.*ers.*Me.*$/.test(id)),
  );
  t.same(
    idsOf(selected('get*s')),
    operations.map(({ id }) => id).filter((id) => /^get.*s$/.test(id)),
  );
  t.same(selected('getUsers*getUsers'), [], 'both ends need characters of their own');
  const named = (pattern: string, id: string) => matches(selector(pattern), { ...anOperation('none', []), id });
  t.notOk(named('a*bc*c', 'abc'), 'and so does what is between');
  t.ok(named('a*bc*c', 'abcc'));
});

t.test('a star within a permission stays in its word', async (t) => {
  t.ok(isPermissionMatch('*:*:view', 'routing:queue:view'));
  t.ok(isPermissionMatch('routing:*:*', 'routing:queue:view'));
  t.notOk(isPermissionMatch('*:view', 'routing:queue:view'));
  t.notOk(isPermissionMatch('routing*:view', 'routing:queue:view'));
  t.notOk(isPermissionMatch('*:*:*', 'admin'));
  t.notOk(isPermissionMatch('*:*:view', 'routing:queue:viewAll'));
});

t.test('a hundred stars are as quick as one', async (t) => {
  const text = `${'*a'.repeat(100)}*`;
  t.equal(matches(selector(text), { ...anOperation('none', []), id: `${'a'.repeat(5000)}` }), true);
  t.equal(matches(selector(`${text}b`), { ...anOperation('none', []), id: `${'a'.repeat(5000)}` }), false);
});

t.test('a tag selects the operations that have it, beside others or not', async (t) => {
  const tagged = selected('tag:Objects');
  t.ok(tagged.length > 5 && tagged.every(({ tags }) => tags.includes('Objects')));
  t.ok(tagged.some(({ tags }) => tags.length > 1));
});

t.test('a permission selects what declares it, in a list of which all are needed or any', async (t) => {
  const one = selector('permission:a:b:view');
  t.ok(matches(one, anOperation('all', ['a:b:view', 'a:b:edit'])));
  t.ok(matches(one, anOperation('any', ['a:b:edit', 'a:b:view'])));
  t.notOk(matches(one, anOperation('any', ['a:b:edit'])));
  t.notOk(matches(one, anOperation('none', [])));
  t.notOk(matches(one, anOperation('unknown', [])));
});

t.test('an allowed id or tag lets an operation pass whatever it needs', async (t) => {
  const operation = anOperation('all', ['a:b:delete'], 'DELETE');
  t.ok(allows([selector('getThings')], operation));
  t.ok(allows([selector('nothing'), selector('tag:Things')], operation));
  t.notOk(allows([], operation));
  t.notOk(allows([selector('nothing')], operation));
});

t.test('allowed permissions count together, as if they were granted', async (t) => {
  const [view, edit] = [selector('permission:a:b:view'), selector('permission:a:b:edit')];
  const all = anOperation('all', ['a:b:view', 'a:b:edit']);
  t.notOk(allows([view], all));
  t.notOk(allows([edit], all));
  t.ok(allows([view, edit], all));
  t.ok(allows([selector('permission:a:*:*')], all));
});

t.test('of a list of alternatives one is enough to read, and all are asked for to change', async (t) => {
  const view = [selector('permission:a:b:view')];
  const alternatives = ['a:b:view', 'a:b:delete'];
  t.ok(allows(view, anOperation('any', alternatives, 'GET')));
  t.ok(allows(view, anOperation('any', alternatives, 'POST', '/api/v2/things/query')));
  t.notOk(allows(view, anOperation('any', alternatives, 'DELETE')));
  t.notOk(allows(view, anOperation('any', alternatives, 'POST')));
});

t.test('what declares no permission passes by none', async (t) => {
  for (const requires of ['none', 'unknown'] as const) {
    t.notOk(allows([selector('permission:*:*:*')], anOperation(requires, [])));
    t.ok(allows([selector('*')], anOperation(requires, [])));
  }
});

t.test(
  'with all permissions to view, nothing passes that changes more than jobs and searches of its own',
  async (t) => {
    const changing = passing('permission:*:*:view*', 'permission:*:*:search').filter(
      ({ method }) => method !== 'GET' && method !== 'POST',
    );
    t.same(
      changing.map(({ method, path }) => `${method} ${path}`).filter((call) => !/\/jobs\/\{jobId\}$/.test(call)),
      ['PATCH /api/v2/knowledge/knowledgebases/{knowledgeBaseId}/chunks/search/{searchId}'],
    );
    t.notOk(idsOf(passing('permission:*:*:view')).includes('deleteConversationRecordingAnnotation'));
  },
);

t.test('a selector that names nothing is told, with what is nearest', async (t) => {
  for (const [text, nearest] of [
    ['getUser5', 'getUsers'],
    ['GETUSERS', 'getUsers'],
    ['tag:routing', 'tag:Routing'],
    ['tag:Rooting', 'tag:Routing'],
    ['permission:routing:queues:view', 'permission:routing:queue:view'],
    ['permission:Routing:Queue:View', 'permission:routing:queue:view'],
  ] as const) {
    t.equal(didYouMean(text, alternativesTo(selector(text), operations) ?? []), `; did you mean "${nearest}"?`, text);
  }
  t.equal(didYouMean('entirelyElse', alternativesTo(selector('entirelyElse'), operations) ?? []), '');
});

t.test('a selector that names something has no alternatives, and one with stars must name something too', async (t) => {
  for (const text of [
    'getUsers',
    'getUsers*',
    '*',
    'tag:Routing',
    'permission:routing:queue:view',
    'permission:*:*:view',
  ])
    t.equal(alternativesTo(selector(text), operations), null, text);
  for (const text of ['getUserz*', 'tag:Rooting*', 'permission:rooting:*:view'])
    t.ok(alternativesTo(selector(text), operations), text);
});
