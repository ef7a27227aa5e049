// Rules that name operations: each names what it says and nothing more, and a path that could be several operations is
// denied by one of them, and allowed by all of them only.

import t from 'tap';
import { createRules } from '../../../src/auth/callers/access.ts';
import type { Operation } from '../../../src/operations/operation.ts';
import { isReadOnly } from '../../../src/operations/read-only.ts';
import { operationTable } from '../../../src/operations/table.ts';

const { operations } = operationTable();
const ID = '8d6c0b2e-1f6f-4b5e-9d70-5a0e7f6a3c21';
const filled = (path: string) => path.replaceAll(/\{[^}]*\}/g, ID);

function mayDo(lists: { allow?: readonly string[]; deny?: readonly string[] }) {
  const rules = createRules({ allow: [], deny: [], ...lists });
  return (method: string, target: string) => rules?.judge(method, target) === null;
}

t.test('an id, a tag and a permission', async (t) => {
  const allowed = mayDo({
    allow: ['getUser*', 'tag:Routing', 'permission:analytics:*:view'],
    deny: ['deleteRoutingQueue'],
  });
  t.ok(allowed('GET', `/api/v2/users/${ID}?expand=presence`));
  t.ok(allowed('HEAD', '/api/v2/users'), 'HEAD is the GET');
  t.ok(allowed('POST', '/api/v2/routing/queues'));
  t.ok(allowed('POST', '/api/v2/analytics/conversations/details/query'));
  t.notOk(allowed('DELETE', `/api/v2/routing/queues/${ID}`));
  t.notOk(allowed('DELETE', `/api/v2/routing/%71ueues/${ID}`), 'however it is written');
  t.notOk(allowed('POST', '/api/v2/users'));
  t.notOk(allowed('PUT', `/api/v2/users/${ID}/profile/nothing`));
});

t.test('what the table does not know matches no rule by operation, and may be named by its path', async (t) => {
  t.ok(mayDo({ deny: ['get*', 'tag:*', 'permission:*:*:*'] })('GET', '/api/v2/nothing/known'));
  const allow = ['get*', 'tag:*', 'permission:*:*:*'];
  t.notOk(mayDo({ allow })('GET', '/api/v2/nothing/known'));
  t.ok(mayDo({ allow: [...allow, 'GET /api/v2/nothing/**'] })('GET', '/api/v2/nothing/known'));
});

t.test('@read-only is what the table says of each operation; of others it permits GET and HEAD alone', async (t) => {
  const allowed = mayDo({ allow: ['@read-only'] });
  const wrong = operations.filter(
    (operation) => allowed(operation.method, filled(operation.path)) !== isReadOnly(operation),
  );
  t.same(wrong, []);
  t.ok(allowed('GET', '/api/v2/nothing'));
  t.ok(allowed('HEAD', '/api/v2/nothing'));
  t.notOk(allowed('POST', '/api/v2/nothing/query'), 'an id of that name could end the path of anything');
  t.ok(mayDo({ allow: ['@read-only', 'POST /api/v2/nothing/query'] })('POST', '/api/v2/nothing/query'));
});

/** A path that both templates fit; null where there is none. */
function commonPath(a: Operation, b: Operation): string | null {
  const [first, second] = [a.path.split('/'), b.path.split('/')];
  if (first.length !== second.length) return null;
  const common: string[] = [];
  for (const [at, segment] of first.entries()) {
    const other = second[at] as string;
    if (segment.startsWith('{')) common.push(other.startsWith('{') ? ID : other);
    else if (segment === other || other.startsWith('{')) common.push(segment);
    else return null;
  }
  return common.join('/');
}

t.test('a path that could be two operations is denied by either, and allowed by both only', async (t) => {
  const byShape = new Map<string, Operation[]>();
  for (const operation of operations) {
    const segments = operation.path.split('/');
    const key = `${operation.method} ${segments[3]} ${segments.length}`;
    byShape.set(key, [...(byShape.get(key) ?? []), operation]);
  }
  const judges = new Map<string, ReturnType<typeof mayDo>>();
  const judge = (kind: 'allow' | 'deny', id: string) => {
    const known = judges.get(`${kind} ${id}`) ?? mayDo({ [kind]: [id] });
    judges.set(`${kind} ${id}`, known);
    return known;
  };
  let pairs = 0;
  const wrong: string[] = [];
  for (const alike of byShape.values()) {
    for (const [index, a] of alike.entries()) {
      for (const b of alike.slice(index + 1)) {
        const path = commonPath(a, b);
        if (path === null) continue;
        pairs += 1;
        const { method } = a;
        const isRight =
          !judge('deny', a.id)(method, path) &&
          !judge('deny', b.id)(method, path) &&
          !judge('allow', a.id)(method, path) &&
          !judge('allow', b.id)(method, path) &&
          mayDo({
            allow: operationTable()
              .all(method, path.split('/').slice(1))
              .map(({ id }) => id),
          })(method, path);
        if (!isRight) wrong.push(`${a.id} ${b.id} ${path}`);
      }
    }
  }
  t.equal(pairs, 683);
  t.same(wrong, []);
});
