// `gcg demo` with faults, as somebody meets it who has a keyboard and the link of the live page: for each fault, who
// failed and what to do are found within five steps, a step being a key or a text that is typed. GCG_PICTURES=FOLDER
// keeps pictures.

import { join } from 'node:path';
import axeCore from 'axe-core';
import type { Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { openChromium, withoutBrowser } from '../helpers/chromium.ts';
import { startCommand } from '../helpers/command.ts';

const MOST_STEPS = 5;
const USER = '/api/v2/users/4f1c2a9e-0000-4000-8000-000000000001';

/** A fault, how it is looked for from the list of calls, and what must be read at the end. */
interface Walk {
  readonly fault: string;
  /** Keys by their names; what begins with a blank is typed. */
  readonly steps: readonly string[];
  readonly who: string;
  readonly why: RegExp;
  readonly todo: RegExp;
}

const WALKS: readonly Walk[] = [
  {
    fault: 'more calls than the platform takes in a minute',
    steps: ['f', 'j', 'Enter'],
    who: 'a rate limit',
    why: /rate limit for credential default is used up.*60 calls a minute are allowed.*turn would have been \d+ s later/s,
    todo: /Send it again after \d+ s: Retry-After says so.*pageSize=100.*\[timeouts\] total_wait = \d+/s,
  },
  {
    fault: 'nobody has logged in',
    steps: ['/', ' 424', 'Enter', 'Enter'],
    who: 'the credential or its token',
    why: /a person must log in for credential person/,
    todo: /gcg login person, or open \/-\/login\/person/,
  },
  {
    fault: 'the platform fails',
    steps: ['/', ' status:5xx', 'Enter', 'Enter'],
    who: 'Genesys Cloud',
    why: /Genesys Cloud failed with 500.*It says: The server encountered an unexpected condition/s,
    todo: /Send it again in a while\..*status\.mypurecloud\.com.*give [\da-f-]{36} to the support of Genesys/s,
  },
  {
    fault: 'an answer breaks off',
    steps: ['/', ' who:network', 'Enter', 'j', 'Enter'],
    who: 'the network',
    why: /broke while the answer was on its way.*had answered 200, and [\d.]+ \S+ of the body had come/s,
    todo: /Send it again: what came is not whole\..*gcg doctor/s,
  },
  {
    fault: 'a rule denies it',
    steps: ['/', ' who:rule', 'Enter', 'Enter'],
    who: 'a rule of this gateway',
    why: /a rule denies this to callers who are no client.*server\.anonymous_deny\[\] = deleteUser/s,
    todo: /narrow or remove that line in \[server\].*gcg client can - DELETE \/api\/v2\/users/s,
  },
  {
    fault: 'a path that is misspelt',
    steps: ['/', ' usres', 'Enter', 'Enter'],
    who: 'the caller',
    why: /Genesys Cloud has nothing at this path.*It answered 404/s,
    todo: /^There is no GET \/api\/v2\/usres that this release knows of: check its spelling\./,
  },
  {
    fault: 'the program gives up',
    steps: ['/', ' aborted:yes -status:200', 'Enter', 'Enter'],
    who: 'the caller',
    why: /the caller left after [\d.]+ m?s, before it had its answer.*waiting for Genesys Cloud/s,
    todo: /time limit of the program/,
  },
  {
    fault: 'calls go well, and take long',
    steps: ['/', ' failed:no path:/organizations/**', 'Enter', 'Enter'],
    who: 'Genesys Cloud',
    why: /Genesys Cloud took (?:[2-9]|\d\d)(?:\.\d)? s to answer/,
    todo: /a smaller page/,
  },
];

t.test('six faults and more, by keyboard alone', { skip: withoutBrowser }, async (t) => {
  const cwd = t.testdir();
  const process = { cwd, env: { XDG_STATE_HOME: cwd } };
  const faults = ['--simulate', 'rate-limit=60,slow', '--set', 'server.anonymous_deny=deleteUser'];
  const demo = startCommand(t, ['demo', '--listen', '127.0.0.1:0', ...faults], process);
  const [browser] = await Promise.all([openChromium(t), demo.until('Ctrl-C ends it')]);
  const [, gateway = ''] = /listens on (http:\S+);/.exec(demo.stderr()) ?? [];
  const [, controls = ''] = /curl (http:\S+\/sandbox\/controls)/.exec(demo.stderr()) ?? [];
  const opened = startCommand(t, ['open', '--print', '--listen', new URL(gateway).host], process);
  const [calls] = await Promise.all([makeFaults(gateway, controls), opened.ended]);

  t.equal(await opened.ended, 0, opened.stderr());
  const context = await browser.newContext({ viewport: { width: 1120, height: 660 } });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  await page.goto(opened.stdout().trim());
  await page.waitForSelector('.dot.live');
  await isListed(page, calls);
  for (const walk of WALKS) await t.test(walk.fault, (t) => walkTo(t, page, walk, calls));

  await t.test('from one to the next of those that were looked for, and back to the same row', async (t) => {
    await press(page, ['/', ' who:rule OR usres', 'Enter', 'Enter']);
    await page.waitForSelector('h1:has-text("usres")');
    await press(page, ['j']);
    await page.waitForSelector('h1:has-text("DELETE")');
    await press(page, ['j']);
    await page.waitForSelector('h1:has-text("DELETE")');
    await press(page, ['Escape']);
    t.match(await page.textContent('.line.active'), /DELETE/);
    t.equal(await page.getAttribute('.line.active', 'aria-rowindex'), '3');
    await press(page, ['Escape']);
    await isListed(page, calls);
  });

  await t.test('what is seen on the way, in both themes and on a phone', async (t) => {
    await press(page, ['f', 'j', 'Enter']);
    await page.waitForSelector('.why');
    await isAccessible(t, page, 'why');
    await press(page, ['Escape']);
    await page.waitForSelector('.line');
    await isAccessible(t, page, 'failures');
  });
});

/** Makes each fault; returns how many calls there are then. */
async function makeFaults(gateway: string, controls: string): Promise<number> {
  const headers = { 'Content-Type': 'application/json' };
  const set = {
    serverError: { status: 500, next: 1, path: '/api/v2/locations' },
    cutBody: { next: 1, path: '/api/v2/authorization/permissions' },
  };
  await fetch(controls, { method: 'POST', headers, body: JSON.stringify({ set }) });
  let made = 0;
  const call = async (path: string, init: RequestInit = {}) => {
    made += 1;
    const answer = await fetch(gateway + path, init);
    await answer.text();
    return answer.status;
  };
  const stats = async () =>
    ((await (await fetch(controls)).json()) as { stats: { peak: { api: number }; apiCallsTotal: number } }).stats;
  const { apiCallsTotal: before } = await stats();
  const leaving = new AbortController();
  const first = Promise.allSettled([
    call('/api/v2/organizations/me'),
    call('/api/v2/locations'),
    call('/api/v2/authorization/permissions'),
    call('/api/v2/usres'),
    call('/api/v2/users?pageSize=500', { signal: leaving.signal }),
    call('/person/api/v2/users/me'),
    call(USER, { method: 'DELETE' }),
  ]);
  // The platform counts calls as they come: these five before the many.
  for (;;) {
    const { peak, apiCallsTotal } = await stats();
    if (peak.api >= 5 || apiCallsTotal >= before + 5) break;
  }
  leaving.abort();
  await Promise.all(Array.from({ length: 62 }, (_, at) => call(`/api/v2/users?pageNumber=${at + 1}`)));
  await first;
  if ((await call('/api/v2/users?pageSize=1')) !== 429) throw new Error('the limit was not reached');
  return made;
}

/** Takes the steps, and reads what the page says. Then back to the list of all calls. */
async function walkTo(t: Test, page: Page, { steps, who, why, todo }: Walk, calls: number): Promise<void> {
  t.ok(steps.length <= MOST_STEPS, `${steps.length} steps`);
  await press(page, steps);
  await page.waitForSelector('.why');
  t.equal(await page.textContent('.why .who'), who, 'who failed it');
  t.match(await page.textContent('.why'), why, 'what happened');
  t.match((await page.locator('.why li').allTextContents()).join('\n'), todo, 'what to do');
  t.ok(await page.locator('.why li').first().isVisible(), 'to be read without scrolling');
  await press(page, ['Escape']);
  await page.waitForSelector('.line.active');
  await press(page, ['Escape']);
  await isListed(page, calls);
}

async function press(page: Page, steps: readonly string[]): Promise<void> {
  for (const step of steps)
    await (step.startsWith(' ') ? page.keyboard.type(step.slice(1)) : page.keyboard.press(step));
}

/** Waits for the list of all calls. */
async function isListed(page: Page, calls: number): Promise<void> {
  await page.waitForSelector(`.grid[aria-rowcount="${calls + 1}"]`);
}

async function isAccessible(t: Test, page: Page, view: string): Promise<void> {
  const pictures = process.env.GCG_PICTURES;
  for (const [name, colorScheme, viewport] of [
    ['light', 'light', { width: 1120, height: 660 }],
    ['dark', 'dark', { width: 1120, height: 660 }],
    ['phone', 'light', { width: 360, height: 740 }],
  ] as const) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    await page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))');
    if (pictures !== undefined) await page.screenshot({ path: join(pictures, `inspector-${view}-${name}.png`) });
    await page.evaluate(axeCore.source);
    const found = await page.evaluate<string[]>(`axe.run().then(({ violations }) =>
      violations.map(({ id, impact, nodes }) => id + ' (' + impact + '): ' + nodes[0]?.html))`);
    t.strictSame(found, [], `${view}, ${name}`);
    const wide = await page.evaluate<number>(`document.documentElement.scrollWidth - innerWidth`);
    t.ok(wide <= 0, 'nothing is wider than the window');
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1120, height: 660 });
}
