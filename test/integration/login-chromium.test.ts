// The pages in a real browser: a login from the status page and back, each grant, its errors, and a policy that lets
// nothing foreign run.

import type { Page } from 'playwright-core';
import t from 'tap';
import { change, personAt, startAdminGateway, statusOf } from '../helpers/admin.ts';
import { openChromium, withoutBrowser } from '../helpers/chromium.ts';
import { credentialAt } from '../helpers/gateway.ts';

/** What a page complained about: blocked scripts and styles are errors on its console. */
function complaintsOf(page: Page): string[] {
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  return complaints;
}

async function keep(page: Page, name: string): Promise<void> {
  if (process.env.GCG_SCREENSHOTS)
    await page.screenshot({ path: `${process.env.GCG_SCREENSHOTS}/${name}.png`, fullPage: true });
}

t.test('in a browser', { skip: withoutBrowser }, async (t) => {
  const browser = await openChromium(t);

  for (const grant of ['pkce', 'authorization_code'] as const) {
    t.test(`${grant}: from the status page to the login and back, and the callback loaded again`, async (t) => {
      const { url, sandbox } = await startAdminGateway(t, {
        credentials: (origin) => [credentialAt(origin), personAt(origin, grant, { isDefault: false })],
      });
      const page = await browser.newPage();
      const complaints = complaintsOf(page);
      await page.goto(url);
      await keep(page, `status-${grant}`);
      await page.getByRole('link', { name: 'Log in as a person' }).click();
      await page.getByLabel('Log in as').selectOption({ index: 0 });
      await page.getByRole('button', { name: 'Log in' }).click();
      await page.getByRole('heading', { name: 'You are logged in', level: 1 }).waitFor();
      await keep(page, `done-${grant}`);
      await page.reload();
      await page.getByRole('heading', { name: 'You are logged in', level: 1 }).waitFor();
      t.equal(sandbox.stats.tokensIssued, 2, 'one for the service, one for the person');
      await page.getByRole('link', { name: 'Status of the gateway' }).click();
      t.equal(page.url(), `${url}/`);
      t.equal(await page.getByRole('region', { name: 'crm' }).getByText('works').count(), 1);
      await keep(page, `status-after-${grant}`);
      t.same(complaints, []);
      await page.close();
    });
  }

  t.test('a refusal is shown with its reason, as text', async (t) => {
    const reason = 'no <img src=x onerror=alert(1)> licence';
    const { url } = await startAdminGateway(t, {
      sandbox: { switches: { login: { deny: reason } } },
      credentials: (origin) => [personAt(origin, 'pkce')],
    });
    const page = await browser.newPage();
    await page.goto(`${url}/-/login/crm`);
    t.match(await page.getByRole('alert').textContent(), `access_denied: ${reason}`);
    t.equal(await page.locator('img').count(), 0);
    await keep(page, 'refused');
    await page.getByRole('link', { name: 'status page' }).click();
    await page.getByText('Last login').waitFor();
    await keep(page, 'status-refused');
    await page.close();
  });

  t.test('implicit: the token leaves the address bar, reaches the gateway, and the page says so', async (t) => {
    const { url } = await startAdminGateway(t, {
      sandbox: { switches: { login: { approve: 'ada.lindqvist@simulated-org.example' } } },
      credentials: (origin) => [personAt(origin, 'implicit')],
    });
    const page = await browser.newPage();
    const complaints = complaintsOf(page);
    await page.goto(`${url}/-/login/crm`);
    await page.getByRole('heading', { name: 'You are logged in', level: 1 }).waitFor();
    t.equal(page.url(), `${url}/-/callback`, 'no fragment is left');
    t.equal((await statusOf(url)).credentials[0]?.token, 'fresh');
    t.equal((await fetch(`${url}/api/v2/users/me`)).status, 200);
    await keep(page, 'implicit');
    await page.goto(`${url}/-/callback`);
    await page.getByRole('heading', { name: 'Nothing arrived' }).waitFor();
    t.same(complaints, []);
    await page.close();
  });

  t.test('implicit without scripts: the page says why nothing happens', async (t) => {
    const { url } = await startAdminGateway(t, { credentials: (origin) => [personAt(origin, 'implicit')] });
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(`${url}/-/callback`);
    t.match(await page.locator('noscript').textContent(), /Allow scripts for this page/);
    await context.close();
  });

  t.test('opened by localhost, the login comes back to localhost', async (t) => {
    const gateway = await startAdminGateway(t, {
      sandbox: { switches: { login: { approve: 'ada.lindqvist@simulated-org.example' } } },
      credentials: (origin) => [personAt(origin, 'pkce')],
    });
    const page = await browser.newPage();
    await page.goto(`http://localhost:${gateway.port}/-/login/crm`);
    await page.getByRole('heading', { name: 'You are logged in', level: 1 }).waitFor();
    t.match(page.url(), `http://localhost:${gateway.port}/-/callback`);
    await page.close();
  });

  t.test('no page of another origin can change anything, or put ours into a frame', async (t) => {
    const { url, sandbox } = await startAdminGateway(t);
    const foreign = await startAdminGateway(t);
    const page = await browser.newPage();
    await page.goto(`${foreign.url}/livez`);
    const outcome = (await page.evaluate(`(async () => {
      const answers = [];
      for (const init of [{}, { mode: 'no-cors' }, { headers: { 'X-Gateway-Request': '1' } }]) {
        const sent = fetch('${url}/-/credentials/default/refresh', { method: 'POST', ...init });
        answers.push(await sent.then(({ type }) => type, () => 'failed'));
      }
      const frame = document.createElement('iframe');
      frame.src = '${url}/';
      document.body.append(frame);
      await new Promise((resolve) => frame.addEventListener('load', resolve));
      return answers;
    })()`)) as string[];
    t.equal(page.frames().length, 2);
    t.equal(
      await page.frameLocator('iframe').getByText('Credentials').count(),
      0,
      'what is in the frame is not our page',
    );
    t.notOk(outcome.includes('basic') || outcome.includes('cors'), outcome.join());
    t.equal(sandbox.stats.tokensIssued, 1);
    t.equal((await change(`${url}/-/credentials/default/refresh`)).status, 200, 'control: the change itself works');
    await page.close();
  });

  t.test('the status page works by keyboard, names its parts, and fits a narrow screen', async (t) => {
    const { url } = await startAdminGateway(t, { credentials: (origin) => [personAt(origin, 'pkce')] });
    const page = await browser.newPage({ viewport: { width: 360, height: 720 } });
    await page.goto(url);
    t.equal(await page.locator('html').getAttribute('lang'), 'en');
    t.equal(await page.getByRole('main').count(), 1);
    t.equal(await page.getByRole('heading', { level: 1 }).count(), 1);
    await page.keyboard.press('Tab');
    t.equal(await page.evaluate('document.activeElement.tagName'), 'A');
    const overflow = (await page.evaluate(
      'document.documentElement.scrollWidth - document.documentElement.clientWidth',
    )) as number;
    t.ok(overflow <= 0, `${overflow} px too wide`);
    await keep(page, 'status-narrow');
    await page.close();
  });
});
