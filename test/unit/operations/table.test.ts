// The table of operations: what it holds is what the installed SDK has, its file is sorted and can be read back, and a
// damaged row is told.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { operationsOfSdk } from '../../../scripts/operations.ts';
import {
  formatOperations,
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
  const empty = new OperationTable([]);
  t.equal(empty.find('GET', '/api/v2/users'), null);
  t.same(empty.all('GET', ['api']), []);
  t.same(empty.all('GET', []), []);
});
