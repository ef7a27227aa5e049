// What the pages promise is in the table of docs/security.md, where each row names the tests that hold it.

import t from 'tap';
import { anchorsOf, read } from './pages.ts';

/** The groups of the promises, and the rows of each: what is promised, and where its tests are. */
function promises(): [group: string, rows: [promise: string, tests: string][]][] {
  const section =
    read('docs/security.md')
      .split(/^## /m)
      .find((text) => text.startsWith('What is promised')) ?? '';
  return section
    .split(/^### /m)
    .slice(1)
    .map((text) => [
      text.split('\n', 1)[0] ?? '',
      [...text.matchAll(/^\| (.*) \| (.*) \|$/gm)].slice(2).map(([, promise = '', tests = '']) => [promise, tests]),
    ]);
}

t.test('every promise names the tests that hold it, once, and is a line', async (t) => {
  const groups = promises();
  t.equal(groups.length, 9);
  const seen = new Set<string>();
  for (const [group, rows] of groups) {
    t.ok(rows.length > 5, group);
    for (const [promise, tests] of rows) {
      t.match(tests, /^`test\/[\w./-]+\.test\.ts`(?:, `test\/[\w./-]+\.test\.ts`)*$/, promise);
      t.ok(promise.length > 20 && promise.length < 400 && !seen.has(promise), promise);
      seen.add(promise);
    }
  }
});

t.test('the pages that sum up promise what is in these groups, and say in which', async (t) => {
  const anchors = anchorsOf(
    promises()
      .map(([group]) => `### ${group}`)
      .join('\n'),
  );
  for (const [page, begin, end] of [
    ['README.md', '## Why', '## Documentation'],
    ['docs/overview.md', '## What it promises', '## What it is not'],
    ['SECURITY.md', 'In short:', undefined],
  ] as const) {
    const text = read(page);
    const part = text.slice(text.indexOf(begin), end === undefined ? undefined : text.indexOf(end));
    const items = part.split('\n').filter((line) => line.startsWith('- '));
    t.ok(items.length > 4, page);
    for (const item of items) {
      const groups = [...item.matchAll(/\((?:docs\/)?security\.md#([^)]+)\)/g)].map(([, anchor = '']) => anchor);
      t.ok(groups.length > 0 && groups.every((anchor) => anchors.includes(anchor)), item);
    }
  }
});
