// A real browser for tests of pages. Where there is none the test is skipped with that word, on CI it fails.

import { existsSync } from 'node:fs';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import type { Test } from 'tap';

// The shell is the same engine without the windows around a page: a page of it costs a third.
const PATHS = [
  ...(process.env.GCG_TEST_CHROMIUM === undefined ? [] : [process.env.GCG_TEST_CHROMIUM]),
  '/usr/bin/chromium-headless-shell',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

const QUIET = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
const OFFLINE = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** What tap is told when there is no browser: a reason to skip, or false. */
export const withoutBrowser: string | false =
  process.env.CI === 'true' || PATHS.some(existsSync) ? false : 'there is no Chromium on this machine';

/** Ends with the test; `more` are switches of the browser. */
export async function openChromium(t: Test, more: readonly string[] = []): Promise<Browser> {
  const executablePath = PATHS.find(existsSync);
  if (executablePath === undefined) throw new Error('Chromium is needed here: install it, or run without CI=true');
  const browser = await chromium.launch({ executablePath, args: [...QUIET, ...OFFLINE, ...more] });
  t.teardown(() => browser.close());
  return browser;
}

/** One browser for a file of tests, and what its pages report that must not happen: offences, errors, dialogs. */
export class WatchedBrowser {
  readonly reports: string[] = [];
  readonly #suite: Test;
  #browser: Promise<Browser> | null = null;

  /** The browser starts with the first profile, and ends with `suite`. */
  constructor(suite: Test) {
    this.#suite = suite;
  }

  /** A new profile. Whatever its pages report is kept. */
  async profile(t: Test, options: Parameters<Browser['newContext']>[0] = {}): Promise<BrowserContext> {
    this.#browser ??= openChromium(this.#suite);
    const context = await (await this.#browser).newContext({ viewport: { width: 1280, height: 800 }, ...options });
    t.teardown(() => context.close());
    context.setDefaultTimeout(20_000);
    const { reports } = this;
    await context.exposeBinding('gcgReport', (_source, report: string) => void reports.push(report));
    await context.addInitScript(`
    addEventListener('securitypolicyviolation', (event) =>
      gcgReport('policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample));
    window.gcgFell = () => gcgReport('a text was run');`);
    context.on('page', (page) => {
      page.on('pageerror', (error) => reports.push(`error: ${error.stack}`));
      page.on('dialog', (dialog) => {
        reports.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
    });
    return context;
  }
}

/**
 * Waits until an expression holds in the page. Not by the browser driver's own means: these evaluate a text in the page,
 * which its policy refuses.
 */
export async function until(page: Page, expression: string): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await page.evaluate(expression))) {
    if (Date.now() > end) throw new Error(`it never came to be: ${expression}`);
    await page.evaluate('new Promise((resolve) => setTimeout(resolve, 20))');
  }
}
