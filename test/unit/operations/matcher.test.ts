// The matcher: every operation is found by its own template, all that overlap are found together, and no path costs
// more than the table allows.

import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { readPath } from '../../../src/auth/callers/path-readings.ts';
import type { Operation } from '../../../src/operations/operation.ts';
import { allows, matches, parseSelector, type Selector } from '../../../src/operations/selectors.ts';
import { operationTable } from '../../../src/operations/table.ts';

const table = operationTable();
const { operations } = table;
const isParameter = (segment: string) => segment.startsWith('{');
const segmentsOf = (path: string) => path.split('/').slice(1);
const filled = (path: string, id: string = randomUUID()) => path.replaceAll(/\{[^}]*\}/g, id);
const idOf = (method: string, path: string) => table.find(method, path)?.id ?? null;

t.test('every operation is found by its own template with ids in it', async (t) => {
  for (const operation of operations) {
    for (const id of [randomUUID(), '42', 'someone@example.com', 'a%20b', 'A%2FB', 'É']) {
      const path = filled(operation.path, id);
      if (table.find(operation.method, path) !== operation) t.fail(`${operation.id} is not found by ${path}`);
      const readings = readPath(encodeURI(path)) ?? [];
      if (readings.length === 0) t.fail(`${path} cannot be read`);
      const [first = []] = readings;
      if (!table.all(operation.method, first).includes(operation))
        t.fail(`${operation.id} is not among all of ${path}`);
    }
  }
  t.pass();
});

t.test('what is found is what the templates say, for whatever mixture of words and ids', async (t) => {
  const words = [...new Set(operations.flatMap(({ path }) => segmentsOf(path)))].filter((word) => !isParameter(word));
  const fits = (template: string, segments: readonly string[]) => {
    const wanted = segmentsOf(template);
    return (
      wanted.length === segments.length &&
      wanted.every((word, at) => (isParameter(word) ? segments[at] !== '' : word === segments[at]))
    );
  };
  const call = fc.record({
    template: fc.constantFrom(...operations),
    changes: fc.array(fc.tuple(fc.nat(12), fc.constantFrom(...words, '', 'x1')), { maxLength: 3 }),
    method: fc.constantFrom(null, 'GET', 'POST', 'HEAD', 'OPTIONS'),
    id: fc.constantFrom(...words, 'x1'),
  });
  fc.assert(
    fc.property(call, ({ template, changes, method, id }) => {
      const segments = segmentsOf(filled(template.path, id));
      for (const [at, word] of changes) if (at < segments.length) segments[at] = word;
      const asked = method ?? template.method;
      const fitting = operations.filter((operation) => fits(operation.path, segments));
      const expected = fitting.filter(
        (operation) =>
          operation.method === asked ||
          (asked === 'HEAD' &&
            operation.method === 'GET' &&
            !fitting.some((other) => other.method === 'HEAD' && other.path === operation.path)),
      );
      const found = table.all(asked, segments);
      const ids = (list: readonly Operation[]) => list.map((operation) => operation.id).sort();
      const path = `/${segments.join('/')}`;
      if (ids(found).join() !== ids(expected).join()) throw new Error(`${asked} ${path}: ${ids(found)}`);
      const first = table.find(asked, path);
      if (segments.at(-1) !== '' && first !== (found[0] ?? null)) throw new Error(`${asked} ${path}: ${first?.id}`);
    }),
    { numRuns: 400 },
  );
  t.pass();
});

t.test('words win over parameters, and where they lead nowhere parameters are tried', async (t) => {
  t.equal(idOf('GET', '/api/v2/users/me'), 'getUsersMe');
  t.equal(idOf('GET', '/api/v2/users/me/queues'), 'getUserQueues');
  t.equal(idOf('GET', '/api/v2/users/search'), 'getUsersSearch');
  t.equal(idOf('DELETE', '/api/v2/users/search'), 'deleteUser');
  t.equal(idOf('GET', '/api/v2/flows/datatables/rows/rows/rows'), 'getFlowsDatatableRow');
});

t.test('what the table does not know is null', async (t) => {
  for (const path of ['', '/', '//', '/api', '/api/v2', '/api/v2/', '/api/v2/nothing', 'api/v2/users', '*', '/users']) {
    t.equal(idOf('GET', path), null, path);
  }
  t.equal(idOf('PUT', '/api/v2/users'), null);
  t.equal(idOf('get', '/api/v2/users'), null);
  t.equal(idOf('OPTIONS', '/api/v2/users'), null);
  t.equal(idOf('GET', '/api/v2/users//queues'), null);
  t.same(table.all('GET', ['api', 'v2', 'users', '', 'queues']), []);
});

t.test('a slash at the end, escapes and capitals do not hide an operation', async (t) => {
  t.equal(idOf('GET', '/api/v2/users/'), 'getUsers');
  t.equal(idOf('GET', '/api/v2/%75sers'), 'getUsers');
  t.equal(idOf('GET', '/API/V2/Users'), 'getUsers');
  t.equal(idOf('GET', '/api/v2/users%2Fme'), null, 'an encoded slash stays in its segment');
  t.equal(idOf('GET', '/api/v2/users/%zz'), 'getUser');
  t.equal(idOf('GET', '/api/v2/Users/%zz/queues'), 'getUserQueues', 'what is no escape is an id');
});

t.test('a HEAD is the GET of its path, unless the platform declares a HEAD', async (t) => {
  t.equal(idOf('HEAD', '/api/v2/users'), 'getUsers');
  t.equal(idOf('HEAD', '/api/v2/tokens/me'), 'headTokensMe');
  t.same(
    table.all('HEAD', ['api', 'v2', 'tokens', 'me']).map(({ id }) => id),
    ['headTokensMe'],
  );
});

t.test('names of prototypes are segments like others', async (t) => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf']) {
    t.equal(idOf('GET', `/api/v2/${name}`), null);
    t.equal(idOf('GET', `/${name}/v2/users`), null);
    t.equal(idOf('GET', `/api/v2/users/${name}/queues`), 'getUserQueues');
    t.equal(idOf(name, '/api/v2/users'), null);
    t.same(table.all('GET', [name, name, name]), []);
  }
});

t.test('a hostile path costs no more than the table allows', async (t) => {
  const paths = [
    `/${'a/'.repeat(100_000)}`,
    '/'.repeat(200_000),
    `/api/v2/users/${'%61'.repeat(100_000)}`,
    `/api/v2/nothing/${'%61'.repeat(100_000)}`,
    `/api/v2/users/${'%'.repeat(200_000)}/`,
    `/api/v2${'/users'.repeat(50_000)}`,
    `/api/v2/flows/datatables${'/rows'.repeat(300)}`,
  ];
  for (const path of paths) {
    // Split outside the loop: what the caller does to it is not what is asked here.
    const segments = segmentsOf(path);
    const from = process.cpuUsage();
    for (let n = 0; n < 1000; n++) {
      table.find('GET', path);
      table.all('GET', segments);
    }
    const { user, system } = process.cpuUsage(from);
    // CPU time, not time on the clock: 5 µs a round at most, and decoding such a path takes 300 and more.
    t.ok(user + system < 100_000, `${path.slice(0, 40)}: ${(user + system) / 1000} µs`);
  }
});

t.test(
  'of two operations that one path could be, a deny of either holds, and an allow of one alone does not',
  async (t) => {
    const shapes = new Map<string, Operation[]>();
    for (const operation of operations) {
      const key = `${operation.method} ${segmentsOf(operation.path).length}`;
      shapes.set(key, [...(shapes.get(key) ?? []), operation]);
    }
    let pairs = 0;
    let undecided = 0;
    for (const group of shapes.values()) {
      for (const [index, first] of group.entries()) {
        for (const second of group.slice(index + 1)) {
          const common = meet(segmentsOf(first.path), segmentsOf(second.path));
          if (common === null) continue;
          pairs++;
          if (!isMoreSpecific(first, second) && !isMoreSpecific(second, first)) undecided++;
          const found = table.all(first.method, common);
          const only = (operation: Operation) => [parseSelector(operation.id) as Selector];
          for (const each of [first, second]) {
            if (!found.some((operation) => only(each).some((selector) => matches(selector, operation))))
              t.fail(`a deny of ${each.id} is passed by /${common.join('/')}`);
            if (found.every((operation) => allows(only(each), operation)))
              t.fail(`an allow of ${each.id} lets /${common.join('/')} pass`);
          }
        }
      }
    }
    t.equal(pairs, 683);
    t.equal(undecided, 444);
  },
);

/** A path that fits both templates; null when there is none. */
function meet(a: readonly string[], b: readonly string[]): string[] | null {
  const path: string[] = [];
  for (const [at, word] of a.entries()) {
    const other = b[at] as string;
    if (isParameter(word)) path.push(isParameter(other) ? 'x1' : other);
    else if (isParameter(other) || word === other) path.push(word);
    else return null;
  }
  return path;
}

/** Whether the first has a word wherever they differ. */
function isMoreSpecific(first: Operation, second: Operation): boolean {
  const others = segmentsOf(second.path);
  return segmentsOf(first.path).every((word, at) => !isParameter(word) || isParameter(others[at] as string));
}
