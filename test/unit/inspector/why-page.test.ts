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

t.test(
  'a limit of a service is named, and of one that an organisation shares no OAuth client of one’s own is advised',
  async (t) => {
    const heldBy = (name: string) => `the platform's limit ${name}`;
    const refused = { status: 429, errorCode: 'gateway.rate.limited', source: 'gateway', credential: 'crm' } as const;
    const why = (more: object) => whyOf(fakeCall(1, { ...refused, ...more }), NO_FACTS);
    const service = why({ heldBy: heldBy('directory:user.rate.per.minute of credential crm') });
    t.match(service?.title, 'directory:user.rate.per.minute of credential crm');
    const shared = why({ heldBy: heldBy('routing:org.rate.per.minute of organisation 12-ab') });
    t.match(shared?.title, 'routing:org.rate.per.minute, which the whole organisation shares,');
    t.match(shared?.todo.join('\n'), /all OAuth clients of the organisation/);
    const own = why({ heldBy: heldBy('platform.api:org.app.user.rate.per.minute of credential crm') });
    t.match(own?.title, 'rate limit for credential crm is used up');
    t.notMatch(own?.todo.join('\n'), /all OAuth clients of the organisation/);
    const told = { status: 429, source: 'upstream', limit: 'routing:org.rate.per.minute' } as const;
    t.match(whyOf(fakeCall(1, told), NO_FACTS)?.todo.join('\n'), /all OAuth clients of the organisation/);
  },
);

t.test('of an answer that broke off it is said what had come, and whether it was done', async (t) => {
  const cut = { status: 200, errorCode: 'gateway.upstream.unreachable', error: 'x ended the connection: try again' };
  const why = (more: object) => whyOf(fakeCall(1, { ...cut, responseBytes: 512, ...more }), NO_FACTS);
  t.match(why({ method: 'GET' })?.text, /^Genesys Cloud had answered 200, and 512 bytes of the body had come\./);
  t.match(why({ method: 'GET' })?.todo[0], /^Send it again/);
  t.match(why({ method: 'POST' })?.todo[0], /it was done/);
  const paused = why({ method: 'GET', errorCode: 'gateway.upstream.timeout' });
  t.match(paused?.text, /512 bytes of the body had come, and then nothing\./);
  t.match(paused?.todo.join('\n'), /^Send it again[\s\S]*\[timeouts\] body/, 'headers had come in time');
  t.notMatch(JSON.stringify(why({})), 'try again', 'advice for a connection that could not be made is none here');
});

t.test('a path that the platform is not known to have is said before all else', async (t) => {
  const why = (operation: string) =>
    whyOf(fakeCall(1, { status: 404, path: '/api/v2/usres?a=1', operation }), NO_FACTS);
  t.match(why('unlisted')?.todo[0], /^There is no GET \/api\/v2\/usres that this release knows of/);
  t.match(why('getUsers')?.todo[0], /^Check the id/);
});
