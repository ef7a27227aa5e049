// The page about failed calls has every row of the table of explanations and every field of the filter, and no other;
// its filters can be read.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ERROR_TABLE } from '../../../src/errors.ts';
import { CULPRIT_OF_CODE, culpritOf, hasFailed, WHO } from '../../../src/inspector/culprit.ts';
import { parseFilter } from '../../../src/inspector/filter.ts';
import { FILTER_FIELDS } from '../../../src/inspector/filter-fields.ts';
import { WHY_ROWS, whyOf, whyRowOf } from '../../../src/inspector/why.ts';
import { NO_FACTS } from '../../../src/inspector/why-facts.ts';
import { fakeCall } from '../../helpers/fake-inspector.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/troubleshooting.md'), 'utf8');
const [, filters = '', rows = ''] = page.split(/^## (?:Filters|By what was seen)$/m);
const firstCells = (part: string) =>
  [...part.matchAll(/^\| (`.+?) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name),
  );

t.test('every kind of failure is on the page, and each is of somebody that is told there', async (t) => {
  t.strictSame(firstCells(rows).sort(), Object.keys(WHY_ROWS).sort());
  for (const [code, who] of Object.entries(CULPRIT_OF_CODE)) {
    if (!Object.hasOwn(WHY_ROWS, code)) continue;
    const [, told = ''] = new RegExp(`^\\| \`${code.replaceAll('.', '\\.')}\` \\| ([^|]+) \\|`, 'm').exec(rows) ?? [];
    t.ok(told.includes(who), `${code}: ${who}, and not only ${told}`);
  }
});

t.test('every field of a filter is on the page, and its filters can be read', async (t) => {
  t.strictSame(firstCells(filters.split('| --- | --- |')[1] ?? '').sort(), Object.keys(FILTER_FIELDS).sort());
  const [, examples = ''] = /```text\n([\s\S]*?)```/.exec(filters) ?? [];
  for (const filter of examples.trim().split('\n')) t.doesNotThrow(() => parseFilter(filter), filter);
  for (const who of Object.keys(WHO)) t.ok(filters.includes(`\`${who}\``), who);
});

t.test('every code of the gateway has a culprit and an explanation', async (t) => {
  t.strictSame(Object.keys(CULPRIT_OF_CODE).sort(), Object.keys(ERROR_TABLE).sort());
  // Who looks at calls makes none that is kept.
  const kept = Object.keys(ERROR_TABLE).filter((code) => code !== 'gateway.inspector.busy');
  for (const code of kept) t.ok(Object.hasOwn(WHY_ROWS, code), code);
});

t.test('who failed a call is known for each answer there may be', async (t) => {
  const wrong: string[] = [];
  for (const status of [0, ...Array.from({ length: 500 }, (_, index) => 100 + index)]) {
    for (const source of ['upstream', 'gateway'] as const) {
      for (const aborted of [undefined, true]) {
        const call = fakeCall(1, { status, source, ...(aborted && { aborted }) });
        const isFine = status > 0 && status < 400 && !aborted;
        const who = culpritOf(call);
        const isRight =
          hasFailed(call) !== isFine &&
          (who === null) === isFine &&
          (whyRowOf(call) === null) === isFine &&
          (whyOf(call, NO_FACTS)?.who ?? null) === who;
        if (!isRight) wrong.push(`${status} ${source} ${aborted}`);
      }
    }
  }
  t.strictSame(wrong, []);
  const unknown = fakeCall(1, { status: 500, errorCode: 'gateway.of.the.future', source: 'gateway' });
  t.equal(whyRowOf(unknown), 'gateway.internal');
  t.equal(whyRowOf(fakeCall(1, { status: 499, errorCode: 'constructor' })), 'caller.left');
});
