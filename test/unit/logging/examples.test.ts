// The dashboard and the alert rules in examples/ use metrics and labels that exist, and every metric of ours is of use
// in one of them.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { createExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { createMetrics } from '../../../src/logging/metrics/metrics.ts';

const read = (path: string) => readFileSync(new URL(`../../../examples/${path}`, import.meta.url), 'utf8');

/** Every exported name, with histogram suffixes, and the labels its series carry. */
async function exported(): Promise<Map<string, Set<string>>> {
  const metrics = createMetrics({ version: '0' });
  metrics.setNames({ clients: [], credentials: ['a'] });
  metrics.setSources({
    credentials: () => [{ name: 'a', isRequired: true, token: 'fresh', renewal: 'idle', expiresAt: 1, pool: null }],
    clients: () => [
      { name: 'a', expiresAt: 1, isBlocked: false, rejected: 0, secrets: [{ fingerprint: 'f', lastSeenAt: 1 }] },
    ],
    certificates: () => [{ use: 'listener', expiresAt: 1 }],
    queueLengths: () => [['a', 0]],
    connections: () => ({ active: 0, idle: 0, unused: 0 }),
    channels: () => [{ client: null, credential: 'a', channels: 1 }],
    logRecordsDropped: () => 0,
  });
  metrics.tokenRequest('a', 'pkce', 'ok');
  metrics.tokenTransition('a', 'fresh', 'idle');
  metrics.configReload(true);
  metrics.started();
  metrics.ended(
    Object.assign(createExchangeRecord(0), {
      credential: 'a',
      queueMs: 1,
      retryReasons: ['429'],
      status: 200,
      errorCode: 'gateway.internal',
    }),
  );
  const names = new Map<string, Set<string>>();
  for (const [, name, labels] of (await metrics.render()).matchAll(/^([a-z]\w*)(?:\{(.*)\})? /gm)) {
    const known = names.get(name as string) ?? new Set();
    for (const [, label] of (labels ?? '').matchAll(/(\w+)="/g)) known.add(label as string);
    names.set(name as string, known);
  }
  return names;
}

const USED = /\b((?:gcg|process|nodejs)_\w+)(?:\{([^}]*)\})?/g;

function expressions(): string[] {
  const found: string[] = [];
  const collect = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(collect);
    else if (typeof node === 'object' && node !== null) {
      for (const [key, value] of Object.entries(node)) {
        if ((key === 'expr' || key === 'definition') && typeof value === 'string') found.push(value);
        else collect(value);
      }
    }
  };
  collect(JSON.parse(read('grafana/dashboard.json')));
  const rules = read('prometheus/alerts.yml');
  for (const [, block] of rules.matchAll(/expr: ((?:\|\n(?: {10,}.*\n)+)|.+)/g)) found.push(block as string);
  return found;
}

t.test('every metric and label that the dashboard and the rules use is exported', async (t) => {
  const names = await exported();
  const used = expressions();
  t.ok(used.length > 40, `${used.length} expressions`);
  for (const expression of used) {
    for (const [, name, matchers] of expression.matchAll(USED)) {
      t.ok(names.has(name as string), `${name} exists`);
      for (const [, label] of (matchers ?? '').matchAll(/(\w+)\s*=~?\s*"/g)) {
        if (label !== 'job' && label !== 'instance')
          t.ok(names.get(name as string)?.has(label as string), `${name} has the label ${label}`);
      }
    }
  }
});

t.test('every metric of the gateway appears in the dashboard', async (t) => {
  const shown = expressions().join('\n');
  for (const name of (await exported()).keys()) {
    if (name.startsWith('gcg_')) t.ok(shown.includes(name.replace(/_(?:bucket|sum|count)$/, '')), name);
  }
});

t.test('panels have distinct ids and do not overlap', async (t) => {
  const { panels } = JSON.parse(read('grafana/dashboard.json')) as {
    panels: { id: number; title: string; gridPos: { x: number; y: number; w: number; h: number } }[];
  };
  t.equal(new Set(panels.map((panel) => panel.id)).size, panels.length);
  for (const [at, { title, gridPos: a }] of panels.entries()) {
    t.ok(a.x + a.w <= 24, title);
    for (const { gridPos: b } of panels.slice(at + 1)) {
      const isApart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      if (!isApart) t.fail(`${title} overlaps`);
    }
  }
});
