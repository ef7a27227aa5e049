// A real browser: whatever the upstream answers, nothing of it runs as this gateway, and pages of listed origins stay
// with the API.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Page, Response } from 'playwright-core';
import t, { type Test } from 'tap';
import { createGateway } from '../../src/gateway.ts';
import { startAdminGateway } from '../helpers/admin.ts';
import { openChromium, withoutBrowser } from '../helpers/chromium.ts';
import { clientNamed } from '../helpers/clients.ts';
import { givenTokenConfig, ok } from '../helpers/direct.ts';
import { createTestLog, type TestLog } from '../helpers/gateway.ts';
import { startRawUpstream } from '../helpers/raw-http.ts';

/**
 * What a script of the upstream would do first. Requests that it begins are on their way before the picture behind it
 * is asked for.
 */
const DEED =
  `fetch('/-/status'); fetch('/-/credentials/default/refresh', { method: 'POST', headers: { 'X-Gateway-Request': ` +
  `'1' } });`;
const HTML = `<!doctype html><title>upstream</title><script>${DEED}</script>
<img src="/api/v2/picture" onerror="${DEED}">
<form method="post" action="/-/credentials/default/refresh"><button id="post">post</button></form>
<a id="popup" target="_blank" href="/-/status">popup</a> <a id="link" href="/-/status">link</a>
<iframe src="/-/status"></iframe>`;
const SVG = `<svg xmlns="http://www.w3.org/2000/svg"><script>${DEED}</script><image href="/api/v2/picture"/></svg>`;
const XHTML = `<html xmlns="http://www.w3.org/1999/xhtml"><body><script>${DEED}</script></body></html>`;
const CODE =
  `self.ran = true; ${DEED} self.onconnect = ({ ports: [port] }) => port.postMessage('ran'); globalThis.document ` +
  `?? self.postMessage?.('ran');`;

const BODIES: Record<string, readonly [body: string, lines: readonly string[]]> = {
  html: [HTML, ['Content-Type: text/html']],
  untyped: [HTML, []],
  unclear: [HTML, ['Content-Type: application/json, text/html']],
  policy: [
    HTML,
    [
      'Content-Type: text/html',
      'Content-Security-Policy: sandbox allow-scripts allow-same-origin allow-forms allow-popups',
    ],
  ],
  svg: [SVG, ['Content-Type: image/svg+xml']],
  xhtml: [XHTML, ['Content-Type: application/xhtml+xml']],
  xml: [XHTML, ['Content-Type: application/xml']],
  code: [CODE, ['Content-Type: text/javascript', 'Service-Worker-Allowed: /']],
  data: ['{"good":true}', ['Content-Type: application/json']],
};

/**
 * A page at our own origin without any policy, as nobody should serve: what it can do, a script that ran as us could.
 */
function controlPage(app: FastifyInstance): void {
  app.get('/control', (_request, reply) => reply.type('text/html').send(HTML));
}

async function start(t: Test, corsOrigins: readonly string[] = []) {
  const upstream = await startRawUpstream(t, (socket, request) => {
    const name = /^\w+ \/api\/v2\/(\w+)/.exec(request)?.[1] ?? '';
    const [body, lines] = BODIES[name] ?? ['nothing', ['Content-Type: text/plain']];
    socket.write(ok(body, lines));
  });
  const { url, log } = await startBeforeUpstream(t, upstream.origin, corsOrigins);
  return { url, log, deeds: () => deedsIn(log), upstream };
}

async function startBeforeUpstream(t: Test, origin: string, corsOrigins: readonly string[] = []) {
  const log = createTestLog();
  const server = { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] as const, corsOrigins };
  const gateway = await createGateway(givenTokenConfig(origin, { server }), { log, env: {}, plugins: [controlPage] });
  const [url] = (await gateway.listen()) as [string];
  t.teardown(() => gateway.drain());
  return { url, log };
}

function deedsIn(log: TestLog): string[] {
  return log.exchanges
    .filter(({ target, status }) => target.startsWith('/-/') && status !== 403)
    .map(({ target }) => target);
}

/** What comes when a kept page is asked about: fields that would take the place of its own. */
const REVISIONS: Record<string, readonly string[]> = {
  'of no type': [],
  'of a type that nothing renders': ['Content-Type: application/json'],
  'without a body that was never there': ['Content-Length: 0'],
};

async function startForeign(t: Test): Promise<string> {
  const server = createServer((_request, response) =>
    response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>foreign</title>'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Everything that the page began has been answered once a later request of the same browser has. */
async function settle(page: Page, url: string): Promise<void> {
  await page.goto(`${url}/livez`);
}

t.test('in Chromium', { skip: withoutBrowser }, async (t) => {
  const browser = await openChromium(t);

  t.test('control: a script at our origin would reach the admin routes', async (t) => {
    const { url, log } = await start(t);
    const page = await browser.newPage();
    await page.goto(`${url}/control`);
    await log.nextExchange(({ target, status }) => target === '/-/status' && status === 200);
    await log.nextExchange(({ target, status }) => target.endsWith('/refresh') && status !== 403);
    await page.close();
  });

  for (const name of ['html', 'untyped', 'unclear', 'policy', 'svg', 'xhtml', 'xml', 'code']) {
    t.test(`an answer of the upstream, opened as a page, does nothing: ${name}`, async (t) => {
      const { url, deeds, upstream } = await start(t);
      const page = await browser.newPage();
      const answer = (await page.goto(`${url}/api/v2/${name}`, { waitUntil: 'load' })) as Response;
      t.equal(answer.status(), 200);
      t.equal((await answer.allHeaders())['content-security-policy']?.split(/,|\n/).at(-1)?.trim(), 'sandbox');
      await settle(page, url);
      t.strictSame(deeds(), []);
      t.equal(upstream.requests.length, 1);
      await page.close();
    });
  }

  for (const [what, lines] of Object.entries(REVISIONS)) {
    t.test(
      `a page that the browser kept stays in its sandbox when it is told that nothing changed: ${what}`,
      async (t) => {
        const upstream = await startRawUpstream(t, (socket, request) => {
          const policy = "Content-Security-Policy: script-src 'unsafe-inline'; connect-src *";
          const head = ['HTTP/1.1 304 Not Modified', 'ETag: "1"', policy, 'Cache-Control: max-age=3600', ...lines];
          if (/^if-none-match:/im.test(request)) socket.write(`${head.join('\r\n')}\r\n\r\n`);
          else socket.write(ok(HTML, ['Content-Type: text/html', 'ETag: "1"', 'Cache-Control: no-cache']));
        });
        const { url, log } = await startBeforeUpstream(t, upstream.origin);
        const context = await browser.newContext();
        const page = await context.newPage();
        for (let times = 0; times < 3; times += 1) await page.goto(`${url}/api/v2/kept`, { waitUntil: 'load' });
        await settle(page, url);
        t.ok(
          upstream.requests.some((request) => /^if-none-match:/im.test(request)),
          'the browser kept it, and asked',
        );
        t.strictSame(deedsIn(log), []);
        await context.close();
      },
    );
  }

  t.test('its forms post nothing, its links open no popup, and lead nowhere as us', async (t) => {
    const { url, deeds, log } = await start(t);
    const page = await browser.newPage();
    let popups = 0;
    page.on('popup', () => {
      popups += 1;
    });
    for (const part of ['post', 'popup']) {
      await page.goto(`${url}/api/v2/html`);
      await page.locator(`#${part}`).click({ noWaitAfter: true });
      await settle(page, url);
    }
    await page.goto(`${url}/api/v2/html`);
    const followed = page.waitForResponse(
      (answer) => answer.url() === `${url}/-/status` && answer.request().isNavigationRequest(),
    );
    await page.locator('#link').click({ noWaitAfter: true });
    t.equal((await followed).status(), 403, 'a link is followed as one of a page of no origin');
    await page.waitForURL(`${url}/-/status`);
    await settle(page, url);
    t.strictSame([popups, deeds()], [0, []]);
    t.equal(log.exchanges.filter(({ method }) => method === 'POST').length, 0);
    await page.close();
  });

  t.test('a page of our own can read what the API answers, and neither run nor frame it', async (t) => {
    const { url, upstream } = await start(t);
    const page = await browser.newPage();
    await page.goto(`${url}/control`);
    const before = upstream.requests.length;
    const outcome = await page.evaluate(`(async () => {
      const after = (element) => new Promise((resolve) => {
        element.onload = () => resolve('loaded');
        element.onerror = () => resolve('failed');
        document.body.append(element);
      });
      const make = (name, more) => Object.assign(document.createElement(name), more);
      const worker = (Kind) => new Promise((resolve) => {
        const made = new Kind('/api/v2/code');
        made.onerror = () => resolve('failed');
        (made.port ?? made).onmessage = () => resolve('ran');
      });
      return {
        script: await after(make('script', { src: '/api/v2/code' })),
        module: await after(make('script', { src: '/api/v2/code', type: 'module' })),
        imported: await import('/api/v2/code').then(() => 'loaded', () => 'failed'),
        worker: await worker(Worker),
        shared: await worker(SharedWorker),
        service: await navigator.serviceWorker.register('/api/v2/code', { scope: '/' })
          .then(() => 'registered', () => 'failed'),
        embed: await after(make('object', { data: '/api/v2/svg', type: 'image/svg+xml' })),
        ran: self.ran ?? false,
        read: await fetch('/api/v2/data').then((answer) => answer.json()),
      };
    })()`);
    t.strictSame(outcome, {
      script: 'failed',
      module: 'failed',
      imported: 'failed',
      worker: 'failed',
      shared: 'failed',
      service: 'failed',
      embed: 'failed',
      ran: false,
      read: { good: true },
    });
    const framed = page.waitForResponse((answer) => answer.url() === `${url}/api/v2/html`);
    await page.evaluate(
      `document.body.append(Object.assign(document.createElement('iframe'), { src: '/api/v2/html' }))`,
    );
    t.equal((await framed).status(), 403, 'a frame');
    t.equal(upstream.requests.length, before + 1, 'only what was read went up');
    await page.close();
  });

  t.test('a page of a listed origin reads the API, and reaches nothing else', async (t) => {
    const foreign = await startForeign(t);
    const { url, deeds, log } = await start(t, [foreign]);
    const page = await browser.newPage();
    await page.goto(foreign);
    const tryAll = (paths: readonly string[]) =>
      page.evaluate(`(async () => {
        const outcomes = [];
        for (const path of ${JSON.stringify(paths)}) {
          for (const init of [
            {},
            { mode: 'no-cors' },
            { method: 'POST' },
            { method: 'POST', mode: 'no-cors' },
            { method: 'POST', headers: { 'X-Gateway-Request': '1' } },
          ]) {
            outcomes.push(await fetch('${url}' + path, init).then(({ type }) => type, () => 'failed'));
          }
        }
        return outcomes;
      })()`) as Promise<string[]>;
    const paths = [
      '/',
      '/metrics',
      '/-/status',
      '/-/credentials/default/refresh',
      '/-/reload',
      '/-/quit',
      '/-/login/default',
      '/-/callback',
      '/readyz',
    ];
    const outcomes = await tryAll(paths);
    t.ok(
      outcomes.every((outcome) => outcome === 'failed' || outcome === 'opaque'),
      outcomes.join(),
    );
    t.strictSame(deeds(), []);
    t.strictSame([...new Set(log.exchanges.map(({ status }) => status))], [403]);
    t.equal(
      await page.evaluate(
        `fetch('${url}/api/v2/data', { method: 'DELETE' }).then((answer) => answer.json()).then(({ good }) => good)`,
      ),
      true,
      'control: the API, with a preflight',
    );
    const opened = page.context().waitForEvent('page');
    await page.evaluate(`void window.open('${url}/-/status')`);
    const popup = await opened;
    await popup.waitForLoadState();
    t.match(await popup.evaluate('document.body.innerText'), /gateway\.origin\.forbidden/, 'a popup');
    t.strictSame(deeds(), []);
    await page.context().close();
  });

  t.test('nobody is asked for a password, at the address bar or by a page', async (t) => {
    const { url } = await startAdminGateway(t, { overrides: { clients: [clientNamed('boss', { isAdmin: true })] } });
    const context = await browser.newContext({ httpCredentials: { username: 'boss', password: 'boss-secret' } });
    const page = await context.newPage();
    for (const path of ['/', '/-/status', '/api/v2/users']) {
      // A browser that holds the right answer gives it when it is asked for Basic, and not otherwise.
      t.equal((await page.goto(url + path))?.status(), 401, path);
    }
    await context.close();
  });
});
