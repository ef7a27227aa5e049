// A real browser for tests of pages. Where there is none the test is skipped with that word, on CI it fails.

import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';
import type { Test } from 'tap';

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const QUIET = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
const OFFLINE = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** What tap is told when there is no browser: a reason to skip, or false. */
export const withoutBrowser: string | false =
  process.env.CI === 'true' || PATHS.some(existsSync) ? false : 'there is no Chromium on this machine';

/** Ends with the test. */
export async function openChromium(t: Test): Promise<Browser> {
  const executablePath = PATHS.find(existsSync);
  if (executablePath === undefined) throw new Error('Chromium is needed here: install it, or run without CI=true');
  const browser = await chromium.launch({ executablePath, args: [...QUIET, ...OFFLINE] });
  t.teardown(() => browser.close());
  return browser;
}
