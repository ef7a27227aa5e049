// A real browser: a page of another origin can neither read nor change anything through the gateway, a page of our own
// origin can.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Browser, Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { openChromium, withoutBrowser } from '../helpers/chromium.ts';
import { startGateway } from '../helpers/gateway.ts';

t.test('in Chromium', { skip: withoutBrowser }, async (t) => {
  const pair = await startGateway(t);
  const foreign = await startPage(t);
  const { port, sandbox } = pair;
  const browser = await openChromium(t, [`--host-resolver-rules=MAP evil.test 127.0.0.1`]);
  const apiCalls = () =>
    sandbox.events.recent.filter(({ kind }) => kind === 'api').map(({ method, target }) => `${method} ${target}`);
  const users = `http://localhost:${port}/api/v2/users`;
  const sink = `http://localhost:${port}/api/v2/sandbox/sink`;

  for (const [name, address] of [
    ['another port of localhost', `http://localhost:${foreign}/`],
    ['another name', `http://evil.test:${foreign}/`],
    ['127.0.0.1, where the gateway is called localhost', `http://127.0.0.1:${foreign}/`],
  ] as const) {
    t.test(`a page of ${name}`, async (t) => {
      const page = await open(t, browser, address);
      const before = apiCalls().length;
      const run = (script: string) => page.evaluate<unknown>(`probe.${script}`);
      const reads = (init: object) => run(`read(${JSON.stringify(users)}, ${JSON.stringify(init)})`);
      t.equal(await reads({}), 'blocked', 'a simple fetch cannot be read');
      t.equal(await reads({ method: 'DELETE' }), 'blocked', 'a preflighted method');
      t.equal(
        await reads({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }),
        'blocked',
        'a preflighted body',
      );
      t.equal(await reads({ headers: { 'X-Gateway-Request': '1' } }), 'blocked', 'a preflighted header');
      t.match(await reads({ mode: 'no-cors' }), /^(opaque|blocked)$/, 'no-cors');
      t.match(
        await reads({ mode: 'no-cors', method: 'POST', body: 'x', headers: { 'Content-Type': 'text/plain' } }),
        /^(opaque|blocked)$/,
        'no-cors POST',
      );
      t.equal(await run(`beacon(${JSON.stringify(sink)})`), true);
      for (const tag of ['img', 'script', 'link', 'audio'])
        t.equal(await run(`load('${tag}', ${JSON.stringify(users)})`), 'failed', tag);
      const framed = page.waitForResponse((answer) => answer.url() === `${users}?frame`);
      await run(`frame(${JSON.stringify(`${users}?frame`)})`);
      t.equal((await framed).status(), 403, 'an iframe');
      t.equal(await run(`socket('ws://localhost:${port}/streaming/channels/abc')`), 'failed', 'a WebSocket');
      const answered = page.waitForResponse(
        (answer) => answer.url() === sink && answer.request().isNavigationRequest(),
      );
      await run(`submit(${JSON.stringify(sink)})`);
      t.equal((await answered).status(), 403, 'a form');
      t.strictSame(apiCalls().slice(before), [], 'and not one call was made upstream');
    });
  }

  t.test('a link from a page of another site is not followed to the API', async (t) => {
    const page = await open(t, browser, `http://evil.test:${foreign}/`);
    const answered = page.waitForResponse((answer) => answer.url() === users);
    await page.evaluate(`probe.go(${JSON.stringify(users)})`);
    t.equal((await answered).status(), 403);
  });

  t.test('a name that was rebound to the gateway is refused', async (t) => {
    const page = await open(t, browser, `http://evil.test:${foreign}/`);
    const answer = await page.goto(`http://evil.test:${port}/api/v2/users`);
    t.equal(answer?.status(), 403);
    t.match(await answer?.json(), { code: 'gateway.host.forbidden' });
    const read = await page.evaluate(`fetch('/api/v2/users').then((answer) => answer.status)`);
    t.equal(read, 403, 'same-origin for the browser, and refused all the same');
  });

  t.test('no page of another origin sees or changes what the inspector has, not even one that is listed', async (t) => {
    const APP = `http://evil.test:${foreign}`;
    const { port, url, gateway } = await startGateway(t, {
      config: { server: { adminListen: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }], corsOrigins: [APP] } },
    });
    await fetch(`${url}/api/v2/organizations/me`).then((answer) => answer.text());
    const headers = { 'X-Gateway-Request': '1', 'X-Gateway-Key': gateway.pageKey };
    for (const address of [`${APP}/`, `http://localhost:${foreign}/`]) {
      const page = await open(t, browser, address);
      const run = (script: string) => page.evaluate<unknown>(`probe.${script}`);
      for (const path of ['calls', 'calls/1', 'events', 'ui/session', 'ui/link', 'capture', 'export']) {
        const target = JSON.stringify(`http://localhost:${port}/-/${path}`);
        for (const init of [{ headers }, {}, { method: 'POST', body: '{}' }, { method: 'DELETE', headers }])
          t.equal(await run(`read(${target}, ${JSON.stringify(init)})`), 'blocked', `${path} ${JSON.stringify(init)}`);
        t.match(await run(`read(${target}, { mode: 'no-cors' })`), /^(opaque|blocked)$/, path);
        for (const tag of ['img', 'script', 'link'])
          t.equal(await run(`load('${tag}', ${target})`), 'failed', `${tag} ${path}`);
        await run(`beacon(${target})`);
        t.equal(await run(`socket('ws://localhost:${port}/-/${path}')`), 'failed', `a WebSocket to ${path}`);
      }
      const shell = `http://localhost:${port}/-/ui/`;
      const framed = page.waitForResponse((answer) => answer.url() === shell);
      await run(`frame('${shell}')`);
      t.equal((await framed).status(), 403, 'the page in a frame');
      const answered = page.waitForResponse(
        (answer) => answer.request().isNavigationRequest() && answer.url() !== shell,
      );
      await run(`submit('http://localhost:${port}/-/ui/session')`);
      t.equal((await answered).status(), 403, 'a form');
    }
    const page = await open(t, browser, `${APP}/`);
    for (const path of ['ui/', 'calls', 'events', 'status']) {
      const answer = await page.goto(`http://evil.test:${port}/-/${path}`);
      t.equal(answer?.status(), 403, `rebound: ${path}`);
    }
    const kept = await fetch(`${url}/-/calls/1`, { headers }).then((answer) => answer.json());
    t.match(kept, { call: { seq: 1, path: '/api/v2/organizations/me' } }, 'nothing was cleared');
  });

  t.test('a page of our own origin, and a person at the address bar, are let through', async (t) => {
    const page = await open(t, browser, users);
    t.match(JSON.parse(await page.evaluate<string>('document.body.innerText')), { pageSize: 25 });
    const before = apiCalls().length;
    const read = await page.evaluate(
      `fetch(${JSON.stringify(sink)}, { method: 'POST', body: 'hello' }).then((answer) => answer.json()).then(({ ` +
        'bytes }) => bytes)',
    );
    t.equal(read, 5);
    t.equal(apiCalls().length, before + 1);
  });
});

async function open(t: Test, browser: Browser, address: string): Promise<Page> {
  const page = await browser.newPage();
  t.teardown(() => page.close());
  await page.goto(address);
  return page;
}

/** What the foreign page can try; each resolves with how it went. */
const PROBE = `
const after = (element) => new Promise((resolve) => {
  element.addEventListener('load', () => resolve('loaded'));
  element.addEventListener('error', () => resolve('failed'));
  document.body.append(element);
});
window.probe = {
  read: (url, init) => fetch(url, init).then(
    async (answer) => (answer.type === 'opaque' ? 'opaque' : answer.status + await answer.text()),
    () => 'blocked',
  ),
  beacon: (url) => navigator.sendBeacon(url, 'x'),
  load: (name, url) => {
    const attributes = name === 'link' ? { rel: 'stylesheet', href: url } : { src: url };
    return after(Object.assign(document.createElement(name), attributes));
  },
  frame: (url) => void document.body.append(Object.assign(document.createElement('iframe'), { src: url })),
  socket: (url) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    Object.assign(socket, { onopen: () => resolve('open'), onerror: () => resolve('failed') });
  }),
  submit(url) {
    const form = Object.assign(document.createElement('form'), { method: 'POST', enctype: 'text/plain', action: url });
    document.body.append(form);
    form.submit();
  },
  go: (url) => void (location.href = url),
};`;

/** A page that tries things, on every name that leads here. */
async function startPage(t: Test): Promise<number> {
  const server = createServer((_request, response) =>
    response
      .setHeader('Content-Type', 'text/html')
      .end(`<!doctype html><title>page</title><body><script>${PROBE}</script></body>`),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as { port: number }).port;
}
