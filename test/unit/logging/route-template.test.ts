// Route templates: readable for the platform's own paths, and few whatever the caller sends.

import { randomUUID } from 'node:crypto';
import t from 'tap';
import { createRouteTemplates } from '../../../src/logging/metrics/route-template.ts';

t.test('ids of every look become {id}, words of the platform stay', async (t) => {
  const { of } = createRouteTemplates();
  const cases: [target: string, template: string][] = [
    ['/api/v2/users', '/api/v2/users'],
    ['/api/v2/users/me?expand=presence', '/api/v2/users/me'],
    [`/api/v2/users/${randomUUID()}/queues/${randomUUID()}`, '/api/v2/users/{id}/queues/{id}'],
    ['/api/v2/users/42', '/api/v2/users/{id}'],
    ['/api/v2/users/someoneslastname', '/api/v2/users/{id}'],
    ['/api/v2/users/a%20b', '/api/v2/users/{id}'],
    ['/api/v2/analytics/conversations/details/query', '/api/v2/analytics/conversations/details/query'],
    ['/crm/api/v2/users', '/api/v2/users'],
    ['/crm/api/api/v2/users', '/api/v2/users'],
    ['/api/v2/', '/api/v2'],
    ['/wp-login.php', 'other'],
    ['', 'other'],
  ];
  for (const [target, template] of cases) t.equal(of(target), template, target);
});

t.test('10,000 different ids make one template, also when the cache overflows', async (t) => {
  const { of } = createRouteTemplates();
  const seen = new Set<string>();
  for (let n = 0; n < 10_000; n++) {
    seen.add(of(`/api/v2/users/${randomUUID()}/queues`));
    seen.add(of(`/api/v2/users/x${n.toString(36)}x/queues`));
  }
  t.strictSame([...seen], ['/api/v2/users/{id}/queues']);
});

t.test('whatever combinations of words are asked for, the number of templates is capped', async (t) => {
  const { of } = createRouteTemplates();
  const words = ['users', 'queues', 'me', 'query', 'search', 'groups', 'routing', 'skills', 'x1'];
  const seen = new Set<string>();
  for (const a of words)
    for (const b of words) for (const c of words) for (const d of words) seen.add(of(`/api/v2/${a}/${b}/${c}/${d}`));
  t.equal(seen.size, 151);
  t.ok(seen.has('other'));
  t.equal(of('/api/v2/users/users/users/users'), '/api/v2/users/users/users/users', 'what was admitted stays');
});

t.test('a path of many segments and a very long one are cut short', async (t) => {
  const { of } = createRouteTemplates();
  t.match(of(`/api/v2${'/users'.repeat(500)}`), /^\/api\/v2(\/users){12}\/…$/);
  t.equal(of(`/api/v2/users/${'a'.repeat(100_000)}`), '/api/v2/users/{id}');
});
