// The live page in a real browser, served by a real gateway: what it may do, what it shows, by keyboard and by screen
// reader, under hostile texts, in many tabs. Nothing of the whole run may offend the page's policy.
// GCG_PICTURES=FOLDER keeps pictures of it there.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import axeCore from 'axe-core';
import type { BrowserContext, Page } from 'playwright-core';
import t, { type Test } from 'tap';
import type { Call } from '../../src/inspector/wire.ts';
import { until, WatchedBrowser, withoutBrowser } from '../helpers/chromium.ts';
import { clientNamed } from '../helpers/clients.ts';
import { startGateway } from '../helpers/gateway.ts';
import { HOSTILE_TEXTS } from '../helpers/hostile-texts.ts';
import { type Inspected, startInspected } from '../helpers/inspected.ts';
import { isThorough } from '../helpers/thorough.ts';

const ROOT = new URL('../../', import.meta.url).pathname;
const SKIP = { skip: withoutBrowser };
/** `npm run test:long` looks at what is rarer as well. */
const isLookedAt = isThorough || process.env.GCG_PICTURES !== undefined;
const LOCAL = [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const;

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; " +
  "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types lit-html";

const watched = new WatchedBrowser(t);
const { reports } = watched;
const profile = watched.profile.bind(watched);

/** The page as somebody sees it who opened it by a link. */
async function open(context: BrowserContext, { link }: Pick<Inspected, 'link'>, hash = ''): Promise<Page> {
  const page = await context.newPage();
  await page.goto(await link());
  await page.waitForSelector('.dot.live');
  if (hash !== '') await go(page, hash);
  return page;
}

/** Changes the fragment of the address. */
const go = (page: Page, hash: string) => page.evaluate(`void (location.hash = ${JSON.stringify(hash)})`);

const lines = (page: Page, count: number) => until(page, `document.querySelectorAll('.line').length === ${count}`);

/** What axe finds, with the elements. */
async function axe(page: Page): Promise<string[]> {
  await page.evaluate(axeCore.source);
  return page.evaluate<string[]>(`axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) =>
    id + ' (' + impact + '): ' + nodes.slice(0, 3).map(({ html, any }) => html + ' ' + any[0]?.message).join(' | ')))`);
}

const focused = (page: Page) =>
  page.evaluate<string>(`(({ tagName, id, className }) =>
    tagName.toLowerCase() + (id && '#' + id) + (className && '.' + className.split(' ')[0]))(document.activeElement)`);

const rows = (page: Page) => page.locator('.grid .line');
const rowCount = async (page: Page) => Number(await page.getAttribute('.grid', 'aria-rowcount')) - 1;

const FAILED: Partial<Call> = { status: 404, platform: { code: 'not.found', message: 'There is no such user' } };
const LIMITED: Partial<Call> = {
  status: 429,
  source: 'gateway',
  errorCode: 'gateway.rate.limited',
  error: 'the limit of this client is used up',
  attempts: 0,
  upstreamMs: 0,
  client: 'etl',
};

/** Small enough for a page of documentation. */
const WINDOW = { viewport: { width: 1120, height: 660 } };

/** SHA-256 of lit-html.js as it was read. */
const LIT_HTML = 'b878e7f95dec8a9b6e9b217faca6b6a11bad82ebc44c0caa77419ed83edd81f2';

t.test('the shell and its files', async (t) => {
  const { url } = await startInspected(t);
  const shell = await fetch(`${url}/-/ui/`);
  const text = await shell.text();
  t.equal(shell.status, 200, 'need no proof');
  const isolation = {
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
  };
  const headers = Object.fromEntries(shell.headers);
  t.match(headers, { ...isolation, 'content-security-policy': POLICY, 'cache-control': 'no-store' });
  t.equal(headers['content-security-policy'], POLICY, 'to the letter');
  t.equal(headers['set-cookie'], undefined);
  t.notMatch(text, /<script>|style=|\son\w+=|https?:/, 'nothing in line, nothing from elsewhere');
  const paths = [...text.matchAll(/(?:href|src)="([0-9a-f]{12}\/[^"]+)"/g)].map(([, path]) => path as string);
  t.ok(paths.length > 5);
  for (const path of paths) {
    const file = await fetch(`${url}/-/ui/${path}`);
    t.equal(file.status, 200, path);
    const { 'cache-control': kept, ...rest } = Object.fromEntries(file.headers);
    t.equal(kept, 'public, max-age=31536000, immutable');
    t.match(rest, isolation);
    t.match(rest['content-type'], path.endsWith('.css') ? /^text\/css/ : /^text\/javascript/);
    t.notMatch(await file.text(), /sourceMappingURL/);
  }
  const [main] = paths as [string];
  // Not by fetch, which has an opinion of its own about these headers.
  const statusOf = (path: string, init: RequestOptions = {}) =>
    new Promise<number>((resolve, reject) => {
      request(url + path, init, (answer) => resolve(answer.resume().statusCode ?? 0))
        .on('error', reject)
        .end();
    });
  t.equal(await statusOf(`/-/ui/000000000000/${main.split('/')[1]}`), 404, 'another version');
  for (const path of ['/-/ui/%2e%2e/page.css', '/-/ui//page.css', '/-/UI/', '/-/ui/a/b/c'])
    t.ok([400, 404].includes(await statusOf(path)), path);
  t.equal(await statusOf('/-/ui'), 302);
  t.equal(await statusOf('/-/ui/', { method: 'POST' }), 405);
  t.equal(await statusOf(`/-/ui/${main}`, { method: 'HEAD' }), 200);
  const away = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' };
  t.equal(await statusOf('/-/ui/', { headers: away }), 200, 'a link in a ticket');
  t.equal(await statusOf('/-/ui/', { headers: { ...away, 'Sec-Fetch-Dest': 'iframe' } }), 403, 'a frame');
  t.equal(await statusOf('/-/ui/', { headers: { ...away, 'Sec-Fetch-Mode': 'no-cors' } }), 403);
  t.equal(await statusOf('/-/ui/', { headers: { Origin: 'https://evil.test' } }), 403);
  t.equal(await statusOf(`/-/ui/${main}`, { headers: away }), 403, 'nothing else by a link');
  t.equal(await statusOf('/-/calls', { headers: away }), 403);
});

t.test('the page is served where calls can be looked at, and nowhere else', async (t) => {
  const statusOf = async (url: string) => (await fetch(`${url}/-/ui/`)).status;
  const config = (overrides: object) => ({ config: { server: { adminListen: LOCAL }, ...overrides } });
  t.equal(await statusOf((await startGateway(t)).url), 404, 'a listener without administration');
  const off = await startGateway(t, config({ inspector: { enabled: false } }));
  t.equal(await statusOf(off.url), 404, 'switched off');
  const linkIn = async (url: string) => (await (await fetch(url)).text()).includes('href="-/ui/"');
  t.equal(await linkIn(off.url), false, 'and the status page does not lead there');
  t.equal(await linkIn((await startGateway(t, config({}))).url), true);
  const clients = await startGateway(t, config({ clients: [clientNamed('ops', { isAdmin: true })] }));
  t.equal(await statusOf(clients.url), 200, 'with clients: it holds no data');
});

t.test('what is taken from elsewhere is what was read: the files of the version in the lockfile', async (t) => {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  const { version, license } = lock.packages['node_modules/lit-html'];
  t.equal(license, 'BSD-3-Clause');
  const file = readFileSync(join(ROOT, 'node_modules/lit-html/lit-html.js'));
  t.strictSame(
    [version, createHash('sha256').update(file).digest('hex')],
    ['3.3.3', LIT_HTML],
    'a new version is read before its hash is written here',
  );
  t.match(readFileSync(join(ROOT, 'node_modules/lit-html/LICENSE'), 'utf8'), /BSD 3-Clause/);
});

t.test('the key comes by the link once, is in no address, and another tab gets it', SKIP, async (t) => {
  const inspected = await startInspected(t);
  const context = await profile(t);
  const page = await context.newPage();
  const seen: string[] = [];
  context.on('request', (request) => seen.push(`${request.url()} ${request.headers().referer ?? ''}`));
  const link = await inspected.link();
  await page.goto(link);
  await page.waitForSelector('.dot.live');
  const key = inspected.gateway.pageKey;
  t.equal(page.url(), `${inspected.url}/-/ui/`, 'the code has left the address');
  t.equal(await page.evaluate(`history.length`), 2, 'and its history: about:blank, the page');
  const stored = await page.evaluate(`[{ ...localStorage }, { ...sessionStorage }, document.cookie]`);
  t.strictSame(stored, [{}, { 'gcg-inspector-key': key }, ''], 'the key is with the tab, and nowhere else');
  t.notOk(seen.some((one) => one.includes(key) || one.includes(link.split('#o=')[1] as string)));
  const second = await context.newPage();
  await second.goto(`${inspected.url}/-/ui/`);
  await second.waitForSelector('.dot.live');
  await page.reload();
  await page.waitForSelector('.dot.live');
  const again = await context.newPage();
  await again.goto(link);
  await again.waitForSelector('.dot.live');
  t.match(await again.textContent('.banner'), /this link was used already/, 'said also to who has the key');
  const other = await profile(t);
  const late = await other.newPage();
  await late.goto(link);
  t.match(await late.textContent('.entry'), /This link was used already/);
  t.equal(late.url(), `${inspected.url}/-/ui/`);
  await late.fill('#secret', 'wrong');
  await late.keyboard.press('Enter');
  await late.waitForSelector('#refused');
  t.equal(await late.inputValue('#secret'), '', 'what was typed is not kept');
  t.strictSame(await axe(late), []);
});

t.test('a client that may administer enters by its secret, and leaves', SKIP, async (t) => {
  const ops = clientNamed('ops', { isAdmin: true });
  const inspected = await startInspected(t, { clients: [ops] });
  const page = await (await profile(t)).newPage();
  await page.goto(`${inspected.url}/-/ui/`);
  await page.fill('#secret', 'ops-secret');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.dot.live');
  t.notMatch(await page.evaluate<string>(`JSON.stringify([{ ...localStorage }, { ...sessionStorage }])`), 'ops-secret');
  inspected.add({ path: '/api/v2/users/to-be-forgotten' });
  await page.waitForSelector('.line');
  const key = await page.evaluate<string>(`sessionStorage.getItem('gcg-inspector-key') ?? ''`);
  await page.keyboard.press('?');
  await page.click('text=Forget my key');
  await page.waitForSelector('.entry');
  t.notMatch(await page.content(), /to-be-forgotten/);
  t.strictSame(await page.evaluate(`({ ...sessionStorage })`), {});
  const asked = await fetch(`${inspected.url}/-/calls`, {
    headers: { 'X-Gateway-Request': '1', 'X-Gateway-Key': key },
  });
  t.equal(asked.status, 401, 'the gateway has forgotten it as well');
});

t.test('by keyboard alone', SKIP, async (t) => {
  const inspected = await startInspected(t);
  const page = await open(await profile(t), inspected);
  inspected.add(...Array.from({ length: 60 }, (_, at) => (at % 10 === 0 ? FAILED : {})), LIMITED);
  await until(page, `document.querySelectorAll('.line').length > 10`);
  const press = async (...keys: string[]) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await press('Tab');
  t.equal(await focused(page), 'a#skip.skip', 'the first stop');
  await press('Enter');
  t.equal(await focused(page), 'main#main');
  const stops = new Set<string>();
  for (let stop = 0; stop < 25; stop += 1) {
    await press('Tab');
    stops.add(await focused(page));
    const isSeen = await page.evaluate(`(() => {
      const element = document.activeElement;
      if (element === document.body) return true;
      const { left, top, width, height } = element.getBoundingClientRect();
      const hit = document.elementFromPoint(left + width / 2, top + Math.min(height / 2, 40));
      return element.contains(hit) || hit?.contains(element) === true;
    })()`);
    t.ok(isSeen, `the focus is to be seen: ${[...stops].at(-1)}`);
  }
  for (const stop of ['input#filter', 'div.grid', 'button.chip']) t.ok(stops.has(stop), stop);

  await press('/');
  t.equal(await focused(page), 'input#filter');
  await page.keyboard.type('status:4');
  // Values are suggested, with their number, once the calls were read.
  await until(page, `/404\\s*6 calls/.test(document.querySelector('#options')?.textContent ?? '')`);
  await press('ArrowDown', 'Enter');
  await until(page, `location.hash.startsWith('#/calls?f=status:404')`);
  t.equal(await rowCount(page), 6);
  await press('Escape');
  t.not(await focused(page), 'input#filter');
  await press('Escape');
  await until(page, `!location.hash.includes('f=')`);
  await press('f');
  await until(page, `location.hash.includes('failed:yes')`);
  t.equal(await rowCount(page), 7);
  await press('f', 'j', 'j', 'j', 'k');
  t.equal(await focused(page), 'div.grid');
  const active = await page.getAttribute('.grid', 'aria-activedescendant');
  t.equal(await page.getAttribute(`#${active}`, 'aria-selected'), 'true');
  t.equal(active, 'line-1');
  await press('Enter');
  await page.waitForSelector('#timeline');
  t.match(page.url(), /#\/calls\/00000000-0000-4000-8000-000000000060$/);
  t.equal(await page.evaluate(`document.querySelectorAll('h1').length`), 1);
  await press('j');
  await until(page, `location.hash.endsWith('59')`);
  await press('Escape');
  await page.waitForSelector('.newer');
  t.equal(await page.getAttribute('.line.active', 'aria-rowindex'), '4', 'back at the call that was looked at');
  await press('Home', 'p');
  await page.waitForSelector('.newer');
  inspected.add({});
  await until(page, `document.querySelector('.newer')?.textContent?.includes('1 new')`);
  t.equal(await rowCount(page), 61, 'it stands still');
  await press('p');
  await until(page, `document.querySelector('.newer') === null`);
  t.equal(await rowCount(page), 62);

  await press('?');
  await page.waitForSelector('dialog[open]');
  t.match(await page.textContent('dialog'), /next call/);
  t.strictSame(await axe(page), []);
  await page.focus('dialog input');
  await press('Space', 'Escape');
  await until(page, `document.querySelector('dialog') === null`);
  await press('f');
  t.notMatch(page.url(), 'failed', 'letters are switched off');
  await press('ArrowDown');
  t.equal(await focused(page), 'div.grid', 'other keys are not');
  t.strictSame(await page.evaluate(`({ ...localStorage })`), { 'gcg-inspector-keys': 'off' });
});

t.test('filters: what is wrong and where, chips, times, columns, saved ones, and nothing found', SKIP, async (t) => {
  const inspected = await startInspected(t);
  const page = await open(await profile(t), inspected);
  inspected.add({}, {}, FAILED, LIMITED, { durationMs: 4000, upstreamMs: 3990 });
  await rows(page).first().waitFor();
  await page.fill('#filter', 'status:abc');
  await page.waitForSelector('#problem');
  t.match(await page.textContent('#problem'), /^Column 8: status is asked for like/);
  t.equal(await page.getAttribute('#filter', 'aria-invalid'), 'true');
  t.equal(await rowCount(page), 5, 'the last filter that could be read stays');
  await page.fill('#filter', '');
  await page.keyboard.press('Escape');
  for (const [chip, found] of [
    ['Failures', 2],
    ['429', 1],
    ['Slow', 1],
  ] as const) {
    await page.click(`.chip:has-text("${chip}")`);
    await page.waitForSelector(`.chip[aria-pressed=true]:has-text("${chip}")`);
    t.equal(await rowCount(page), found, chip);
    await page.click(`.chip:has-text("${chip}")`);
  }
  const chart = page.locator('.strip svg');
  const box = (await chart.boundingBox()) as { x: number; y: number; width: number; height: number };
  await page.mouse.move(box.x + box.width * 0.2, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 20, { steps: 4 });
  await page.mouse.up();
  await until(page, `/since:.*until:/.test(location.hash)`);
  t.match(await page.textContent('.empty'), /None of 5 calls passes the filter/);
  await page.click('.chip:has-text("any time")');
  await until(page, `!location.hash.includes('since')`);
  await page.click('text=As table');
  await page.click('text=Only this time >> nth=0');
  await until(page, `location.hash.includes('since')`);
  t.equal(await rowCount(page), 5, 'the table does what a drag does');

  await page.fill('#filter', 'client:crm status:503');
  await page.waitForSelector('.empty');
  t.match(await page.textContent('.empty'), /Without\s+status:503\s+4 calls/, 'the term that keeps most away first');
  await page.click('.empty button');
  await until(page, `location.hash.endsWith('f=client:crm')`);
  await page.click('summary:has-text("Saved")');
  await page.fill('[name=name]', 'of crm');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.saved');
  t.strictSame(await page.evaluate(`({ ...localStorage })`), {
    'gcg-inspector-filters': '[{"name":"of crm","filter":"client:crm"}]',
  });
  await page.click('summary:has-text("View")');
  await page.uncheck('label:has-text("Credential") input');
  await until(page, `location.hash.includes('cols=')`);
  t.notMatch(await page.textContent('.head'), 'Credential');
  await page.fill('#highlight', 'ms:>1s');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.line.high');
  t.equal(await page.locator('.line.high').count(), 1);
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.waitForSelector('.line.high');
  t.equal(await rowCount(other), 4, 'a link is the state');
  await page.click('summary:has-text("Saved")');
  await page.click('.saved [aria-label^=Forget]');
  await until(page, `document.querySelector('.saved') === null`);
});

t.test('one call: where its time went, what was asked and answered', SKIP, async (t) => {
  const inspected = await startInspected(t);
  inspected.add({ route: '/api/v2/users/{userId}' }, WHOLE);
  const page = await open(await profile(t), inspected, '#/calls/00000000-0000-4000-8000-000000000002');
  await page.waitForSelector('#timeline');
  const text = (await page.textContent('main')) ?? '';
  for (const word of ['Waited for a limit', 'Try 2', 'retry after 2.50 s', 'Rate limit exceeded', 'python-requests'])
    t.ok(text.includes(word), word);
  await page.click('text=As table');
  t.match(await page.textContent('[aria-label="Time line as a table"]'), /tunnel by the proxy\s*1.24 s\s*21 ms/i);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.click('text=Copy id');
  t.equal(await page.evaluate(`navigator.clipboard.readText()`), '00000000-0000-4000-8000-000000000002');
  await page.click('text=Calls of this client');
  await until(page, `location.hash.includes('client:etl')`);
  await go(page, '#/calls/nobody');
  await page.waitForSelector('[role=alert]');
  t.match(await page.textContent('[role=alert]'), /does not keep this call/);
});

t.test('what is done rarely: captured for a while, saved as a file, forgotten', SKIP, async (t) => {
  const inspected = await startInspected(t);
  inspected.add({}, FAILED);
  const page = await open(await profile(t), inspected, '#/calls?f=failed:yes');
  const more = async (word: string) => {
    await page.click('summary:has-text("More")');
    await page.click(`.menu .item:text-is("${word}")`);
  };
  const saved = async (begin: () => Promise<void>) => {
    const [download] = await Promise.all([page.waitForEvent('download'), begin()]);
    t.match(download.suggestedFilename(), /^gcg-[\w-]+\.har$/);
    return JSON.parse(readFileSync(await download.path(), 'utf8')).log.entries.length;
  };
  t.equal(await saved(() => more('Save as HAR')), 1, 'what passes the filter');
  await go(page, '#/calls');
  await lines(page, 2);
  await more('Capture headers for 5 min');
  await page.waitForSelector('.banner');
  t.match(await page.textContent('.banner'), /Headers of calls are being\s+captured until \d\d:\d\d:\d\d/);
  await page.evaluate("fetch('/api/v2/organizations/me').then((answer) => answer.text())");
  await lines(page, 3);
  await page.click('.line');
  await page.waitForSelector('[aria-label="Headers side by side"]');
  t.match(await page.textContent('[aria-label="Headers side by side"]'), /authorization\s*\[redacted[^\]]*\]\s*added/i);
  t.strictSame(await axe(page), []);
  t.equal(await saved(() => page.click('text=Save as HAR')), 1, 'one call');
  await page.click('.banner button');
  await until(page, `document.querySelector('.banner') === null`);
  await page.keyboard.press('Escape');
  await rows(page).first().waitFor();
  await more('Forget all calls');
  await page.waitForSelector('.empty h2');
  t.match(await page.textContent('.told'), 'All calls are forgotten');
});

t.test('nothing of what is hostile becomes an element, an address, or runs', SKIP, async (t) => {
  const inspected = await startInspected(t);
  t.ok(HOSTILE_TEXTS.length >= 80, `${HOSTILE_TEXTS.length} texts`);
  const page = await open(await profile(t), inspected);
  await page.evaluate(
    (texts) => {
      const filters = texts.map((text) => ({ name: text.slice(0, 60), filter: text.slice(0, 1000) }));
      localStorage.setItem('gcg-inspector-filters', JSON.stringify(filters));
    },
    HOSTILE_TEXTS.slice(0, 50),
  );
  inspected.add(...HOSTILE_TEXTS.map(hostileCall));
  for (const text of HOSTILE_TEXTS.slice(0, 5))
    inspected.run({ client: text, method: text, target: `/${text}`, waitsFor: text, ago: 2000 });
  await page.setViewportSize({ width: 1280, height: 3200 });
  await lines(page, HOSTILE_TEXTS.length);
  await page.click('summary:has-text("Saved")');
  const check = async (what: string) => t.strictSame(await page.evaluate(FOREIGN), [], what);
  await check('the list');
  t.ok((await page.textContent('.grid'))?.includes('<img src=x onerror=gcgFell()>'), 'they are there as texts');
  await page.setViewportSize({ width: 1280, height: 800 });
  const ids = HOSTILE_TEXTS.map((_, at) => `00000000-0000-4000-8000-${String(at + 1).padStart(12, '0')}`);
  t.strictSame(
    await page.evaluate(`(async () => {
      const found = [];
      for (const id of ${JSON.stringify(ids)}) {
        location.hash = '#/calls/' + id;
        const isThere = () => document.querySelector('.call dd code')?.textContent === id && document.querySelector('.why');
        while (!isThere()) await new Promise((resolve) => setTimeout(resolve, 5));
        found.push(...${FOREIGN});
      }
      return found;
    })()`),
    [],
    'each of them by itself, with what the gateway says of it',
  );
  const hashes = HOSTILE_TEXTS.map((text) => encodeURIComponent(text.replace('\ud800', '')).slice(0, 900)).flatMap(
    (part) => [`#/calls/${part}`, `#/${part}`, `#/calls?f=${part}&hl=${part}&cols=${part}&w=${part}`],
  );
  t.strictSame(
    await page.evaluate(`(async () => {
      const found = [];
      for (const hash of ${JSON.stringify(hashes)}) {
        location.hash = hash;
        await new Promise((resolve) => setTimeout(resolve, 5));
        found.push(...${FOREIGN});
      }
      return found;
    })()`),
    [],
    'in the address',
  );
  await go(page, '#/calls?f=%3Cimg%20src%3Dx%3E');
  await page.waitForSelector('.empty');
  await check('the address');
  t.notMatch(await page.title(), /<|gcgFell|evil/, 'the title has numbers alone');
  t.match(await page.title(), /^Calls: [\d,]+ calls, \d+ failed - Genesys Cloud gateway$/);
});

t.test('tabs have one feed together; when its tab goes, another one takes it', SKIP, async (t) => {
  const without = ['three, without, as on plain http of another machine', 3, `delete Navigator.prototype.locks;`];
  for (const [what, count, prepare] of [['eight, with Web Locks', 8, ''], ...(isLookedAt ? [without] : [])] as [
    string,
    number,
    string,
  ][])
    await t.test(what, async (t) => {
      const inspected = await startInspected(t);
      const context = await profile(t);
      await context.addInitScript(prepare);
      const tabs = [await open(context, inspected)];
      for (let tab = 1; tab < count; tab += 1) {
        const page = await context.newPage();
        await page.goto(`${inspected.url}/-/ui/`);
        tabs.push(page);
      }
      const all = (predicate: string) => Promise.all(tabs.map((tab) => until(tab, predicate)));
      await all(`document.querySelector('.dot.live') !== null`);
      t.equal(inspected.streams(), 1);
      inspected.add({}, {});
      await all(`document.querySelectorAll('.line').length === 2`);
      const answer = await tabs.at(-1)?.evaluate(`fetch('/api/v2/organizations/me').then(({ status }) => status)`);
      t.equal(answer, 200, 'and the browser has connections left');
      await tabs.shift()?.close();
      inspected.add({});
      // The call of the tab above is in the list as well.
      await all(`document.querySelectorAll('.line').length === 4`);
      inspected.add({});
      await all(`document.querySelectorAll('.line').length === 5`);
      t.equal(inspected.streams(), 1);
    });
});

t.test('a connection that breaks is said, what was there stays, and what was missed comes', SKIP, async (t) => {
  const inspected = await startInspected(t);
  const relay = await startRelay(t, Number(new URL(inspected.url).port));
  const page = await open(await profile(t), {
    link: async () => (await inspected.link()).replace(/:\d+/, `:${relay.port}`),
  });
  inspected.add({}, FAILED);
  await lines(page, 2);
  relay.cut();
  await page.waitForSelector('.banner.bad');
  t.match(await page.textContent('.banner'), /No connection: .*Trying again/s);
  t.equal(await rowCount(page), 2);
  inspected.add({});
  relay.mend();
  await lines(page, 3);
  await page.waitForSelector('.dot.live');
  t.equal(await page.locator('.banner').count(), 0);
  await inspected.gateway.drain();
  await page.waitForSelector('.banner.bad');
  t.match(await page.textContent('.banner'), /No connection: the gateway ends/);
});

t.test('accessible: full, empty, one call, in both themes and on a phone', SKIP, async (t) => {
  const empty = await startInspected(t);
  const pictures = process.env.GCG_PICTURES;
  const formats = [
    ['light', WINDOW],
    ['phone', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }],
    ['dark', { ...WINDOW, colorScheme: 'dark' }],
    ['forced-colors', { forcedColors: 'active' }],
    ['reduced-motion', { reducedMotion: 'reduce' }],
  ] as const;
  for (const [name, options] of formats.slice(0, isLookedAt ? formats.length : 2))
    await t.test(name, async (t) => {
      const full = await startInspected(t);
      full.add(...traffic());
      const page = await open(await profile(t, options), full);
      await rows(page).first().waitFor();
      const keep = async (view: string) => {
        if (pictures === undefined || !['light', 'dark', 'phone'].includes(name)) return;
        await page.screenshot({ path: join(pictures, `inspector-${view}-${name}.png`) });
      };
      full.run({ ...RUNNING, ago: 2100 });
      full.run({ ...RUNNING, client: 'crm', target: '/api/v2/conversations/calls', waitsFor: null, ago: 120 });
      await page.waitForSelector('.running li');
      await keep('calls');
      t.strictSame(await axe(page), [], 'the list');
      const wide = await page.evaluate<number>(`document.documentElement.scrollWidth - innerWidth`);
      t.ok(wide <= 0, 'nothing is wider than the window');
      const small = await page.evaluate<
        string[]
      >(`[...document.querySelectorAll('button,summary,input:not(label input),label,nav a')]
        .map((element) => ({ box: element.getBoundingClientRect(), html: element.outerHTML.slice(0, 80) }))
        .filter(({ box }) => box.width > 0 && (box.height < 24 || box.width < 24)).map(({ html }) => html)`);
      t.strictSame(small, [], 'each target has 24 px');
      if (name === 'reduced-motion')
        t.equal(await page.evaluate(`document.getAnimations().length`), 0, 'nothing moves');
      await go(page, '#/calls/00000000-0000-4000-8000-000000000401');
      await page.waitForSelector('#timeline');
      await keep('call');
      t.strictSame(await axe(page), [], 'one call');
      t.ok((await page.evaluate<number>(`document.documentElement.scrollWidth - innerWidth`)) <= 0);
      if (name === 'forced-colors' || name === 'reduced-motion') return;
      const none = await open(await profile(t, options), empty);
      await none.waitForSelector('.empty h2');
      t.match(await none.textContent('.empty'), /curl 'http/);
      t.strictSame(await axe(none), [], 'no call');
    });
});

t.test('ten thousand calls: few elements, few requests, bounded numbers', SKIP, async (t) => {
  const inspected = await startInspected(t, { inspector: { memory: 16 } });
  inspected.add(...Array.from({ length: 10_400 }, (_, at) => (at % 50 === 0 ? FAILED : {})));
  const context = await profile(t);
  const asked: string[] = [];
  context.on('request', (request) => asked.push(new URL(request.url()).pathname));
  const page = await open(context, inspected);
  await until(page, `Number(document.querySelector('.grid')?.getAttribute('aria-rowcount')) === 10_001`);
  const readyMs = await page.evaluate<number>(`performance.now()`);
  const files = asked.filter((path) => path.startsWith('/-/ui/') && path !== '/-/ui/session');
  t.ok(files.length <= 27, `${files.length} files`);
  t.ok(asked.filter((path) => path === '/-/calls').length <= 11);
  const elements = await page.evaluate<number>(`document.querySelectorAll('*').length`);
  t.ok(elements <= 1500, `${elements} elements`);
  await page.evaluate(`document.querySelector('.grid')?.scrollTo(0, 120_000)`);
  await until(page, `document.querySelector('.line')?.id === 'line-4996'`);
  t.ok((await page.evaluate<number>(`document.querySelectorAll('*').length`)) <= 1500, 'nor after a scroll');
  t.match(await page.textContent('.newer'), 'Standing still', 'who reads is left in peace');
  inspected.add(...Array.from({ length: 200 }, () => ({})));
  await until(page, `document.querySelector('.newer')?.textContent?.includes('200 new')`);
  await page.evaluate(`document.querySelector('.grid')?.scrollTo(0, 0)`);
  await until(page, `document.querySelector('.newer') === null`);
  t.equal(await rowCount(page), 10_000, 'no more than ten thousand are kept');
  t.comment(`ready after ${Math.round(readyMs)} ms, ${elements} elements, ${files.length} files`);
});

t.test('a call is copied, made again and compared, by keyboard and by mouse', SKIP, async (t) => {
  const inspected = await startInspected(t, { inspector: { replay: 'confirm' } });
  const context = await profile(t);
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: inspected.url });
  const page = await open(context, inspected);
  const pasted = () => page.evaluate<string>('navigator.clipboard.readText()');
  await page.evaluate("fetch('/api/v2/organizations/me').then((answer) => answer.text())");
  await page.evaluate("fetch('/api/v2/users/nobody?a=1', { method: 'DELETE' }).then((answer) => answer.text())");
  await lines(page, 2);
  await page.click('.line >> nth=1');
  await page.waitForSelector('text=Make again');
  await page.keyboard.press('c');
  await until(page, "document.querySelector('.told')?.textContent?.includes('Copied')");
  t.match(await pasted(), /^curl --globoff[\s\S]*'http:\/\/127\.0\.0\.1:\d+\/api\/v2\/organizations\/me'\n$/);
  await page.click('summary:has-text("Copy as")');
  t.strictSame(await axe(page), []);
  await page.click('text=JavaScript SDK');
  await until(page, "document.querySelector('details[open]') === null");
  let code = '';
  while (!code.includes('OrganizationApi')) code = await pasted();
  t.match(code, /setGateway\(\{ host: "127\.0\.0\.1", protocol: "http", port: \d+ \}\)[\s\S]*getOrganizationsMe\(\)/);
  await page.keyboard.press('x');
  await until(page, "document.querySelector('.told')?.textContent?.includes('Marked')");
  await page.keyboard.press('r');
  await until(page, "location.hash.startsWith('#/compare/')");
  await page.waitForSelector('[aria-label="Outcome"]');
  t.match(await page.textContent('[aria-label="Second"]'), /made again by operator/);
  t.match(await page.textContent('[aria-label="Where the time went"]'), /waiting for the answer/);
  t.strictSame(await axe(page), []);
  const [first, second] = (await page.evaluate<string>('location.hash')).split('/').slice(2);
  await page.keyboard.press('s');
  await until(page, `location.hash === '#/compare/${second}/${first}'`);
  await page.keyboard.press('Escape');
  await page.waitForSelector('#related');
  t.match(await page.textContent('#related ~ *'), /Repeats/);

  await go(page, '#/calls');
  await lines(page, 3);
  await page.click('.line >> nth=1');
  await page.waitForSelector('text=Make again');
  await page.keyboard.press('r');
  await page.waitForSelector('dialog[open]');
  t.match(await page.textContent('dialog'), /This will be done again[\s\S]*DELETE \/api\/v2\/users\/nobody\?a=1/);
  t.strictSame(await axe(page), []);
  const ended = await rowCountNow(page);
  await page.fill('dialog input', 'DELETE /api/v2/users/nobody');
  await page.keyboard.press('Enter');
  t.ok(await page.evaluate("document.querySelector('dialog[open]') !== null"), 'not the call itself');
  await page.fill('dialog input', 'DELETE /api/v2/users/nobody?a=1');
  await page.keyboard.press('Enter');
  await until(page, "location.hash.startsWith('#/compare/')");
  await page.waitForSelector('[aria-label="Outcome"]');
  t.equal(await rowCountNow(page), ended + 1, 'once');
  await page.keyboard.press('Escape');
  await page.waitForSelector('text=Make again');
  await page.keyboard.press('r');
  await page.waitForSelector('dialog[open]');
  await page.keyboard.press('Escape');
  await until(page, "document.querySelector('dialog') === null");
  await page.keyboard.press('=');
  await until(page, `location.hash.includes('${first}')`);
  t.equal(await rowCountNow(page), ended + 1);
});

/** How many calls the gateway keeps. */
const rowCountNow = (page: Page) =>
  page.evaluate<number>(`fetch('/-/calls', { headers: {
    'X-Gateway-Request': '1', 'X-Gateway-Key': sessionStorage.getItem('gcg-inspector-key') } })
    .then((answer) => answer.json()).then(({ calls }) => calls.length)`);

t.test('what is told to readers of the screen are numbers, and not often', SKIP, async (t) => {
  const inspected = await startInspected(t);
  const page = await open(await profile(t), inspected);
  await page.evaluate(`(() => {
    const said = [];
    Object.assign(globalThis, { said });
    const observe = () => said.push(document.getElementById('said')?.textContent ?? '');
    new MutationObserver(observe).observe(document.getElementById('said'), { childList: true });
  })()`);
  for (let at = 0; at < 20; at += 1) {
    inspected.add(at % 5 === 0 ? FAILED : {});
    await lines(page, at + 1);
  }
  await until(page, `document.getElementById('said')?.textContent !== ''`);
  const said = await page.evaluate<string[]>('said');
  t.ok(said.length <= 2, `${said.length} times`);
  for (const text of said) t.match(text, /^\d+ new calls?, \d+ failed$/);
});

t.test('over all of it: no offence against the policy, no error, no dialog', SKIP, async (t) => {
  t.strictSame(reports, []);
});

/** A call with a text in each of its fields. */
function hostileCall(text: string): Partial<Call> {
  return {
    client: text,
    credential: text,
    method: text,
    path: `/api/v2/${text}?q=${text}`,
    route: text,
    operation: text,
    correlationId: text,
    tokenFingerprint: text,
    peer: text,
    userAgent: text,
    status: 400,
    errorCode: text,
    error: text,
    rule: text,
    claimedClient: text,
    sessionUser: text,
    explanation: text,
    retries: [text],
    heldBy: text,
    traceId: text,
    replayOf: text,
    attempts: 2,
    platform: { code: text, message: text },
  };
}

/** Elements, attributes and addresses that no template of ours makes. */
const FOREIGN = `(() => {
    const known =
      'html,head,meta,title,link,script,body,a,header,p,section,main,noscript,div,span,nav,ul,ol,li,button,h1,h2,h3,' +
      'input,details,summary,fieldset,legend,label,form,figure,svg,g,path,rect,circle,code,kbd,b,table,thead,tbody,tr,' +
      'th,td,dl,dt,dd,pre,dialog';
    const found = [];
    for (const element of document.querySelectorAll('*')) {
      if (!element.matches(known)) found.push(element.outerHTML.slice(0, 200));
      for (const { name, value } of element.attributes) {
        if (
          /^on|^style$|^srcdoc$|^action$/.test(name) &&
          !(element instanceof HTMLElement && name === 'style' && element.matches('.grid,.lines'))
        )
          found.push(element.tagName + ' ' + name + '=' + value);
        if (name === 'href' && element instanceof HTMLAnchorElement) {
          const isOwn = new URL(value, document.baseURI).origin === location.origin;
          if (!isOwn || !(value.startsWith('#') || value.startsWith('../'))) found.push('href=' + value);
        }
      }
    }
    if (document.querySelectorAll('script').length !== 1) found.push('another script');
    return found;
  })()`;

/** A call with all that can be told of one. */
const WHOLE: Partial<Call> = {
  client: 'etl',
  method: 'POST',
  path: '/api/v2/analytics/conversations/details/query',
  route: '/api/v2/analytics/conversations/details/query',
  operation: 'postAnalyticsConversationsDetailsQuery',
  status: 429,
  attempts: 2,
  retries: ['429'],
  durationMs: 4211,
  upstreamMs: 268,
  queueMs: 1200,
  tokenWaitMs: 40,
  requestBytes: 912,
  responseBytes: 214,
  correlationId: '8f1d3c55-6a0e-4f0d-9d53-1d2f6e9f0b1c',
  tokenFingerprint: '~3fa9c1d0',
  userAgent: 'python-requests/2.32',
  peer: '10.20.3.7',
  platform: {
    code: 'too.many.requests',
    message: 'Rate limit exceeded the maximum [300] requests within [60] seconds',
  },
  trace: {
    rules: 0.4,
    stalled: 0,
    waits: [
      { at: 0.4, ms: 1200, for: 'queue' },
      { at: 1200.4, ms: 15, for: 'token' },
      { at: 1355, ms: 2500, for: 'pause' },
    ],
    attempts: [
      {
        at: 1215.4,
        ms: 139,
        pool: 0.2,
        dial: { dns: 4, tcp: 18, proxy: 21, tls: 31 },
        send: 1,
        wait: 61,
        body: 3,
        status: 429,
        retryAfter: 2500,
      },
      { at: 3855, ms: 129, idle: 2500, send: 1, wait: 120, body: 8, status: 429, retryAfter: 12_000 },
    ],
  },
};

/** A repeatable number between 0 and 1. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

const ROUTES = [
  ['GET', '/api/v2/users/ID?expand=presence', '/api/v2/users/{userId}'],
  ['GET', '/api/v2/routing/queues?pageSize=100&pageNumber=2', '/api/v2/routing/queues'],
  ['GET', '/api/v2/conversations/ID', '/api/v2/conversations/{conversationId}'],
  ['POST', '/api/v2/analytics/conversations/details/query', '/api/v2/analytics/conversations/details/query'],
  ['PATCH', '/api/v2/users/ID/presences/PURECLOUD', '/api/v2/users/{userId}/presences/{sourceId}'],
] as const;

/** Five minutes of a gateway with some faults, and at last a call with all that can be told of one. */
function traffic(): Partial<Call>[] {
  const random = numbers(7);
  const now = Date.now();
  const calls = Array.from({ length: 400 }, (_, at): Partial<Call> => {
    const [method, path, route] = ROUTES[Math.floor(random() * random() * ROUTES.length)] as (typeof ROUTES)[number];
    const id = `${Math.floor(random() * 2 ** 31)
      .toString(16)
      .padStart(8, '0')}-8c21-4b7e-9d10-aa31f0c2e9d4`;
    const upstreamMs = (20 + random() * random() * 400) * (method === 'POST' ? 5 : 1);
    const queueMs = random() < 0.05 ? 600 + random() * 2500 : 0;
    const call = {
      method,
      path: path.replace('ID', id),
      route,
      time: new Date(now - (400 - at) * 730 * (0.7 + 0.3 * random()) - 900).toISOString(),
      client: ['crm', 'etl', 'ivr', 'portal'][Math.floor(random() * 4)] as string,
      durationMs: upstreamMs * 1.06 + queueMs,
      upstreamMs,
      queueMs,
      responseBytes: Math.floor(300 + random() * random() * 90_000),
    };
    const luck = random();
    if (luck > 0.95) return { ...call, ...FAILED };
    if (luck > 0.93) return { ...call, ...LIMITED, durationMs: 0.7, queueMs: 0 };
    if (luck > 0.915)
      return { ...call, status: 502, source: 'gateway', errorCode: 'gateway.upstream.unreachable', attempts: 4 };
    return call;
  });
  calls.sort((a, b) => ((a.time as string) < (b.time as string) ? -1 : 1));
  return [...calls, { ...WHOLE, time: new Date(now - 400).toISOString() }];
}

const RUNNING = {
  client: 'etl',
  method: 'GET',
  target: '/api/v2/users?pageSize=500',
  waitsFor: 'queued behind client etl, about 2.1 s',
};

/** Hands connections on to a port of this machine, and can cut and refuse them all. */
async function startRelay(t: Test, to: number) {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((socket) => {
    if (isCut) return void socket.destroy();
    const other = connect(to, '127.0.0.1');
    for (const [one, end] of [
      [socket, other],
      [other, socket],
    ] as const) {
      sockets.add(one);
      one
        .on('error', () => {})
        .on('close', () => {
          sockets.delete(one);
          end.destroy();
        });
      one.pipe(end);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  const mend = () => {
    isCut = false;
  };
  return { port: (server.address() as AddressInfo).port, cut, mend };
}
