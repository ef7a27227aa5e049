// The views over time and of a file, in a real browser before a real gateway, and the numbers behind them over HTTP: who
// gets them, what is in them, under hostile names, in both themes, at 360 px, by keyboard. One gateway and one browser
// for all. GCG_PICTURES=FOLDER keeps pictures of them there.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import axeCore from 'axe-core';
import type { BrowserContext, Page } from 'playwright-core';
import t from 'tap';
import type { Insight } from '../../src/inspector/insight-answer.ts';
import { until, WatchedBrowser, withoutBrowser } from '../helpers/chromium.ts';
import { clientNamed } from '../helpers/clients.ts';
import { HOSTILE_TEXTS } from '../helpers/hostile-texts.ts';
import { startInspected } from '../helpers/inspected.ts';
import { isThorough } from '../helpers/thorough.ts';

const SKIP = { skip: withoutBrowser };
const VIEWS = ['tokens', 'limits', 'routes', 'clients', 'gateway'] as const;

const inspected = await startInspected(t, {
  clients: [
    clientNamed('ops', { isAdmin: true }),
    clientNamed('ivr', { inspect: 'own', requestsPerMinute: 60 }),
    clientNamed('etl', { requestsPerMinute: 90 }),
  ],
  rateLimit: { requestsPerMinute: 300 },
});
const { url } = inspected;

const proof = (client: string | null): Record<string, string> => ({
  'X-Gateway-Request': '1',
  ...(client !== null && { 'X-Gateway-Key': `${client}-secret` }),
});

async function insight(client: string, span = '15m'): Promise<Insight> {
  const answer = await fetch(`${url}/-/insight?span=${span}`, { headers: proof(client) });
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Insight;
}

for (const client of ['ops', 'ivr', 'etl', 'etl'])
  await (await fetch(`${url}/api/v2/users`, { headers: { 'X-Gateway-Key': `${client}-secret` } })).arrayBuffer();
inspected.add(
  { client: 'ivr', status: 404 },
  { client: 'etl', attempts: 2, retries: ['429'], queueMs: 1_500 },
  { client: 'etl', route: '/api/v2/etl-alone', rule: 'deny[] = GET /etl-rule/**' },
);

t.test('the numbers are for whoever may look, with the header that no link sends', async (t) => {
  const statusOf = async (path: string, headers: Record<string, string>) =>
    (await fetch(url + path, { headers, redirect: 'manual' })).status;
  t.equal(await statusOf('/-/insight', proof('ops')), 200);
  t.equal(await statusOf('/-/insight', proof('ivr')), 200);
  t.equal(await statusOf('/-/insight', proof('etl')), 403, 'a client that may not look');
  t.equal(await statusOf('/-/insight', proof(null)), 401);
  t.equal(await statusOf('/-/insight', { 'X-Gateway-Key': 'ops-secret' }), 403, 'without the header');
  t.equal(await statusOf('/-/insight', { ...proof('ops'), Origin: 'https://evil.test' }), 403);
  for (const path of ['/-/Insight', '/-/insight/', '/-/%69nsight', '/-//insight'])
    t.ok([400, 404].includes(await statusOf(path, proof('ops'))), path);
  for (const span of ['', '0m', '59s', '25h', '1d', '15', '-5m', '1e2m', '9999999m', '15m%20', '15m%0a'])
    t.equal(await statusOf(`/-/insight?span=${span}`, proof('ops')), 400, span);
  for (const span of ['60s', '24h', '1440m'])
    t.equal(await statusOf(`/-/insight?span=${span}`, proof('ops')), 200, span);
  const { headers } = await fetch(`${url}/-/insight`, { headers: proof('ops') });
  t.match(Object.fromEntries(headers), {
    'content-type': 'application/json',
    'cache-control': 'no-store, no-transform',
    'cross-origin-resource-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
  });
});

t.test('who sees all gets routes, clients, limits, tokens and the gateway', async (t) => {
  const { reach, routes, clients, limits, credentials, gateway } = await insight('ops');
  t.match(reach, { isWhole: true });
  t.ok(routes.some(({ route, calls }) => route === '/api/v2/users' && calls === 4));
  const etl = clients.find(({ client }) => client === 'etl');
  t.match(etl, { limitedByPlatform: 1, wouldBeDenied: [{ rule: 'deny[] = GET /etl-rule/**', calls: 1 }] });
  t.equal(etl?.queueMs, 1_500);
  t.ok((etl?.sinceStart?.calls ?? 0) >= 2);
  const [token] = limits.filter(({ credential }) => credential === 'default');
  t.match(token, { perMinute: 300, source: 'configured', used: 4, refusals: { seen: 1, absorbed: 1, passed: 0 } });
  // As the record has each client.
  const uses = Object.fromEntries(token?.usedBy?.map(({ client, calls }) => [client, calls]) ?? []);
  t.match(uses, { etl: 4, ivr: 2, ops: 1 });
  t.match(
    limits.find(({ name }) => name.endsWith('client ivr')),
    { scope: 'client', perMinute: 60, used: 1 },
  );
  t.match(credentials, [{ name: 'default', token: 'fresh', lane: { marks: [{ kind: 'renewed' }] } }]);
  t.match(gateway, { status: 'ready', store: { type: 'memory' }, origins: [{ breaker: 'closed', via: 'direct' }] });
});

t.test('who sees its own calls gets nothing of others, but how full the limits are that it draws on', async (t) => {
  const own = await insight('ivr');
  t.notMatch(JSON.stringify(own), /etl|ops/, 'no name, route or rule of theirs');
  t.equal(own.gateway, null);
  t.equal(own.reach.calls, 2);
  t.strictSame(
    own.clients.map(({ client, calls }) => [client, calls]),
    [['ivr', 2]],
  );
  t.match(own.clients[0], { share: 1, causedMs: 0 }, 'of its own calls: how many others made is not told');
  t.notOk('sinceStart' in (own.clients[0] ?? {}));
  t.ok(Object.keys(own.series.columns).every((name) => name === 'client:ivr'));
  const token = own.limits.find(({ credential }) => credential === 'default');
  t.match(token, { used: 4, refusals: { seen: 0 } });
  t.strictSame(
    token?.usedBy?.map(({ client }) => client),
    ['other clients', 'ivr'],
  );
  t.equal(own.credentials[0]?.identity, null);
});

t.test('who reads nothing of what it asks for is refused more of it', async (t) => {
  const answers = await Promise.all(
    Array.from({ length: 12 }, () => fetch(`${url}/-/insight?span=24h`, { headers: proof('ops') })),
  );
  const statuses = answers.map(({ status }) => status);
  for (const answer of answers) await answer.arrayBuffer();
  t.ok(statuses.every((status) => status === 200 || status === 429));
  t.equal((await fetch(`${url}/-/insight`, { headers: proof('ops') })).status, 200, 'places are given back');
});

const watched = new WatchedBrowser(t);
const { reports } = watched;
const profile = watched.profile.bind(watched);

async function open(context: BrowserContext, client: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${url}/-/ui/`);
  await page.fill('#secret', `${client}-secret`);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.dot.live');
  return page;
}

async function show(page: Page, hash: string): Promise<void> {
  await page.evaluate(`void (location.hash = ${JSON.stringify(hash)})`);
  const heading = hash.replace(/^#\/(\w)(\w*).*$/, (_, first: string, rest: string) => first.toUpperCase() + rest);
  await until(page, `document.querySelector('h1')?.textContent === ${JSON.stringify(heading)}`);
  if (!hash.startsWith('#/file')) await page.waitForSelector('.insight .card');
}

async function axe(page: Page): Promise<string[]> {
  await page.evaluate(axeCore.source);
  return page.evaluate<string[]>(`axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) =>
    id + ' (' + impact + '): ' + nodes.slice(0, 3).map(({ html, any }) => html + ' ' + any[0]?.message).join(' | ')))`);
}

async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.GCG_PICTURES;
  if (folder !== undefined) writeFileSync(join(folder, `inspector-${name}.png`), await page.screenshot());
}

const THEMES = [
  ['light', {}],
  ['dark', { colorScheme: 'dark' }],
  ['phone', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }],
] as const;

// The light theme is looked at by `npm run test:long`: it differs in nothing but colours.
for (const [theme, options] of isThorough ? THEMES : THEMES.slice(1))
  t.test(`each view shows its numbers, is found good by axe, and fits: ${theme}`, SKIP, async (t) => {
    const page = await open(await profile(t, options), 'ops');
    // The calls from the start may be more than a minute ago.
    await (await fetch(`${url}/api/v2/users`, { headers: { 'X-Gateway-Key': 'etl-secret' } })).arrayBuffer();
    const expected = {
      tokens: /default.*fresh.*left/s,
      limits: /Credential default.*of 300 a minute.*etl [1-9].*1 absorbed.*Client ivr: its own limit/s,
      routes: /users.*etl-alone/s,
      clients: /etl.*ivr.*Would be denied.*etl-rule/s,
      gateway: /ready.*Where calls go.*can be reached.*Who watches.*ops/s,
    };
    for (const view of VIEWS) {
      await show(page, `#/${view}`);
      t.match((await page.textContent('.insight'))?.replaceAll(/\s+/g, ' '), expected[view], view);
      await picture(page, `${view}-${theme}`);
      const closed = page.locator('.insight button[aria-expanded=false]');
      while ((await closed.count()) > 0) await closed.first().click();
      t.strictSame(await axe(page), [], `${view}, with all tables`);
      t.ok(await page.evaluate(`document.querySelector('main').scrollWidth <= innerWidth`), `${view} fits`);
      const small = `[...document.querySelectorAll('.insight button')].filter((one) =>
        one.getBoundingClientRect().height < 24).map((one) => one.outerHTML)`;
      t.strictSame(await page.evaluate(small), [], 'targets are large enough');
    }
  });

t.test('by keyboard: views, spans in the address, the order of a table, and links into the list', SKIP, async (t) => {
  const page = await open(await profile(t), 'ops');
  const press = async (...keys: string[]) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  for (const [key, view] of [
    ['t', 'tokens'],
    ['l', 'limits'],
    ['r', 'routes'],
    ['k', 'clients'],
    ['w', 'gateway'],
    ['o', 'file'],
  ] as const) {
    await press('g', key);
    await until(page, `location.hash === '#/${view}'`);
  }
  await show(page, '#/routes');
  await page.focus('text=1 h');
  await press('Enter');
  await until(page, `location.hash === '#/routes?span=1h'`);
  await page.focus('.sort:has-text("p95")');
  await press('Enter');
  await until(page, `location.hash === '#/routes?span=1h&sort=p95'`);
  t.equal(await page.getAttribute('th[aria-sort]', 'aria-sort'), 'descending');
  t.equal(await page.locator('th[aria-sort]').count(), 1);
  await page.focus('.route:has-text("etl-alone")');
  await press('Enter');
  await until(page, `document.querySelectorAll('.line').length === 1`);
  t.match(await page.inputValue('#filter'), 'route:/api/v2/etl-alone method:GET');
  await show(page, '#/clients');
  await page.click('.data a:has-text("ivr")');
  await until(page, `location.hash.startsWith('#/calls?f=client:ivr')`);
});

t.test('a token is renewed and forgotten from the page; forgetting is asked for twice', SKIP, async (t) => {
  const page = await open(await profile(t), 'ops');
  await show(page, '#/tokens');
  const before = (await insight('ops')).credentials[0]?.renewals ?? 0;
  await page.click('text=Renew now');
  await until(page, `document.querySelector('.told')?.textContent.includes('A new token')`);
  t.equal((await insight('ops')).credentials[0]?.renewals, before + 1);
  await page.click('text=Log out');
  await page.click('text=Keep it');
  t.equal((await insight('ops')).credentials[0]?.token, 'fresh');
  await page.click('text=Log out');
  await page.click('text=Forget it');
  await until(page, `document.querySelector('.told')?.textContent.includes('is forgotten')`);
  await page.click('text=Renew now');
  await until(page, `document.querySelector('.pill')?.textContent.includes('fresh')`);
});

t.test('who sees its own calls is offered no change, and no gateway', SKIP, async (t) => {
  const page = await open(await profile(t), 'ivr');
  for (const view of VIEWS) {
    await show(page, `#/${view}`);
    t.notMatch(await page.textContent('main'), /etl|ops|Renew now|Log out|Read it again/, view);
  }
  t.match(await page.textContent('main'), /for a client with admin = true/);
});

t.test('hostile names and paths are texts', SKIP, async (t) => {
  inspected.add(
    ...HOSTILE_TEXTS.map((text, at) => ({
      ...{ client: text, route: `/api/v2/${text}`, method: text.slice(0, 20), rule: text, limit: text },
      credential: at % 2 === 0 ? 'default' : text,
      ...(at % 3 === 0 ? { status: 429, attempts: 2, retries: ['429', text] } : {}),
    })),
  );
  const page = await open(await profile(t), 'ops');
  for (const view of VIEWS) {
    await show(page, `#/${view}`);
    const foreign = `document.querySelectorAll('main :is(script, iframe, img, object, embed, style, form, video)').length`;
    t.equal(await page.evaluate(foreign), 0, view);
    const links = await page.evaluate<string[]>(
      `[...document.querySelectorAll('main a')].map((one) => one.getAttribute('href'))`,
    );
    t.strictSame(
      links.filter((link) => !link.startsWith('#/') && !link.startsWith(`${url}/-/`)),
      [],
    );
  }
  await show(page, '#/routes');
  t.match(await page.textContent('.insight'), '<script>gcgFell()</script>');
});

t.test('a file is opened here: its manifest first, its calls, one of them, and nothing is sent', SKIP, async (t) => {
  const wish = { method: 'POST', headers: proof('ops'), body: JSON.stringify({ f: 'client:etl route:/api/v2/users' }) };
  const archive = await (await fetch(`${url}/-/export`, wish)).text();
  const page = await open(await profile(t), 'ops');
  await show(page, '#/file');
  const asked: string[] = [];
  page.on('request', (request) => asked.push(`${request.method()} ${request.url()}`));
  const choose = (name: string, text: string) =>
    page.setInputFiles('#file', { name, mimeType: 'application/json', buffer: Buffer.from(text) });
  await choose('calls.har', archive);
  await page.waitForSelector('.line');
  t.match(await page.textContent('.manifest'), /Searched for secrets: none found.*genesys-cloud-gateway/s);
  t.strictSame(await axe(page), []);
  await picture(page, 'file');
  const count = await page.locator('.line').count();
  t.ok(count > 0);
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#timeline');
  t.match(page.url(), /#\/file\//);
  t.equal(await page.locator('summary:has-text("Copy as")').count(), 1, 'it can be copied');
  t.equal(await page.locator('text=Make again').count(), 0, 'and is no call of this gateway');
  t.strictSame(await axe(page), []);
  await page.click('text=Calls of this client');
  await until(page, `location.hash.startsWith('#/file?f=client:etl')`);
  await until(page, `document.querySelectorAll('.line').length === ${count}`);
  t.strictSame(
    asked.filter((one) => !/ \S+\/-\/(ui\/[0-9a-f]{12}\/|events|calls\?)/.test(one)),
    [],
  );
  await choose('notes.txt', 'no archive');
  await page.waitForSelector('[role=alert]');
  t.match(await page.textContent('[role=alert]'), /not JSON/);
  const entries = HOSTILE_TEXTS.map((text) => ({
    startedDateTime: text,
    request: { method: text, url: `https://api.mypurecloud.com/${text}`, headers: [{ name: text, value: text }] },
    response: { status: 500, statusText: text, headers: [], content: { text } },
    _gcg: { client: text, error: text, why: { who: 'platform', title: text, text, todo: [text] } },
  }));
  await choose(
    'foreign.har',
    JSON.stringify({ log: { comment: HOSTILE_TEXTS[0], creator: { name: HOSTILE_TEXTS[1] }, entries } }),
  );
  await page.waitForSelector('.manifest');
  t.match(await page.textContent('.manifest'), /No gateway made this file/);
  for (const line of [0, 1]) {
    await page.locator('.line').nth(line).click();
    await page.waitForSelector('#timeline');
    t.equal(await page.evaluate(`document.querySelectorAll('main :is(script, iframe, img, object, embed)').length`), 0);
    await page.keyboard.press('Escape');
    await page.waitForSelector('.line');
  }
  await show(page, '#/tokens');
  await show(page, '#/file');
  t.equal(await page.locator('.manifest').count(), 0, 'leaving the view forgets the file');
});

t.test('calls that fell out are not made up for by the failures that are kept longer', async (t) => {
  const small = await startInspected(t, { clients: [clientNamed('ops', { isAdmin: true })], inspector: { memory: 1 } });
  small.add(...Array.from({ length: 300 }, () => ({ status: 500 })));
  small.add(...Array.from({ length: 3_000 }, () => ({})));
  const answer = await fetch(`${small.url}/-/insight`, { headers: proof('ops') });
  const { reach, routes } = (await answer.json()) as Insight;
  t.equal(reach.isWhole, false);
  t.ok(reach.calls > 100 && reach.calls < 3_000, `${reach.calls}`);
  t.match(routes, [{ calls: reach.calls, failures: 0 }]);
});

t.test('nothing of the whole run offended the policy, or fell', SKIP, async (t) => {
  t.strictSame(reports, []);
});
