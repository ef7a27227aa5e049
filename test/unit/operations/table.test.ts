// The table of operations: what it holds is what the installed SDK has, its file is sorted and can be read back, and a
// damaged row is told.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { operationsOfSdk } from '../../../scripts/operations.ts';
import {
  formatOperations,
  identifyOperation,
  OPERATIONS_FILE,
  OperationTable,
  operationTable,
  parseOperations,
} from '../../../src/operations/table.ts';

const { operations } = operationTable();

t.test('the table is loaded once', async (t) => {
  t.equal(operationTable(), operationTable());
  t.ok(operations.length > 3000);
});

t.test('it holds the operations of the installed SDK, no more and no less, as the SDK describes them', async (t) => {
  const ofSdk = operationsOfSdk(operations);
  const rows = (list: typeof ofSdk) => formatOperations(list).split('\n');
  const [here, there] = [new Set(rows([...operations])), new Set(rows(ofSdk))];
  t.same(
    [...there].filter((row) => !here.has(row)),
    [],
    'in the SDK and not so in the table; npm run operations',
  );
  t.same(
    [...here].filter((row) => !there.has(row)),
    [],
    'in the table and not so in the SDK; npm run operations',
  );
});

t.test('five pairs of ids differ in case only, for which the SDK has names of its own', async (t) => {
  const ids = new Map<string, string[]>();
  for (const { id } of operations) ids.set(id.toLowerCase(), [...(ids.get(id.toLowerCase()) ?? []), id]);
  const pairs = [...ids.values()].filter((same) => same.length > 1);
  t.equal(pairs.length, 5);
  for (const [first = '', second = ''] of pairs) {
    t.match(first, /Presence[Dd]efinition/);
    t.not(operationTable().byId(first), operationTable().byId(second));
  }
});

t.test('the file is what the table is written as: sorted, one row a line', async (t) => {
  const text = readFileSync(OPERATIONS_FILE, 'utf8');
  t.equal(formatOperations([...operations].reverse()), text);
  t.same(parseOperations(text), operations);
});

t.test('ids are unique, and so are method and path', async (t) => {
  t.equal(new Set(operations.map(({ id }) => id)).size, operations.length);
  t.equal(new Set(operations.map(({ method, path }) => `${method} ${path}`)).size, operations.length);
  t.ok(operations.every((operation) => operationTable().byId(operation.id) === operation));
  t.equal(operationTable().byId('getNothing'), undefined);
  t.equal(operationTable().byId('constructor'), undefined);
});

t.test('what needs permissions names them, and nothing else does', async (t) => {
  const wrong = operations.filter(
    ({ requires, permissions }) =>
      permissions.length > 0 !== (requires === 'any' || requires === 'all') ||
      new Set(permissions).size !== permissions.length,
  );
  t.same(wrong, []);
});

t.test('templates have no segment that mixes text and parameter, and words are in small letters', async (t) => {
  const plain = /^(?:\/(?:[a-z0-9]+|\{[A-Za-z]+\}))+$/;
  t.same(
    operations.filter(({ path }) => !plain.test(path)),
    [],
  );
});

t.test('a row that is damaged is told', async (t) => {
  const good = 'GET\t/api/v2/users\tgetUsers\tUsers\tany directory:user:view';
  t.equal(parseOperations(`${good}\n`)[0]?.id, 'getUsers');
  for (const row of [
    good.replace('any', 'some'),
    good.split('\t', 4).join('\t'),
    `${good}\tbody\tmore`,
    'GET',
    '\t\t',
  ]) {
    t.throws(() => parseOperations(row), TypeError, row);
  }
  const [operation] = parseOperations(good);
  t.ok(operation);
  if (operation) t.throws(() => formatOperations([{ ...operation, tags: ['a,b'] }]), TypeError);
});

t.test('an empty table knows nothing', async (t) => {
  const empty = new OperationTable('');
  t.equal(empty.find('GET', '/api/v2/users'), null);
  t.same(empty.all('GET', ['api']), []);
  t.same(empty.all('GET', []), []);
});

t.test('a path that no operation has is told by as much of it as is known, whatever is asked for', async (t) => {
  const cases: [path: string, known: string][] = [
    ['/api/v2/users/someone/profile', '/api/v2/users/{id}/profile'],
    ['/api/v2/users/someone/nothing/more', '/api/v2/users/{id}/…'],
    ['/api/v2/Users/me', '/api/v2/users/me'],
    ['/api/v2/nothing', '/api/v2/…'],
    ['/api/v2/nothing/users', '/api/v2/…'],
    ['/api/v2', '/api/v2/…'],
    [`/api/v2/users${'/users'.repeat(500)}`, '/api/v2/users/{id}/…'],
    [`/api/v2/users/${'a'.repeat(100_000)}`, '/api/v2/users/{id}'],
  ];
  const table = operationTable();
  for (const [path, known] of cases) t.equal(table.known(path), known, path.slice(0, 60));
  const words = ['users', 'queues', 'me', 'query', 'search', 'groups', 'routing', 'skills', 'x1'];
  const seen = new Set<string>();
  for (const a of words)
    for (const b of words)
      for (const c of words)
        for (const d of words) seen.add(identifyOperation('PUT', `/api/v2/${a}/${b}/${c}/${d}`).template);
  t.ok(seen.size < 60, `${seen.size} templates of ${9 ** 4} paths`);
});

t.test('a call is identified by method and target', async (t) => {
  const id = (method: string, target: string) => identifyOperation(method, target);
  t.same(id('GET', '/api/v2/users/me?expand=presence'), { id: 'getUsersMe', template: '/api/v2/users/me' });
  t.same(id('GET', '/api/v2/users/a%20b'), { id: 'getUser', template: '/api/v2/users/{userId}' });
  t.same(id('PUT', '/api/v2/users/me'), { id: 'unlisted', template: '/api/v2/users/me' });
});
