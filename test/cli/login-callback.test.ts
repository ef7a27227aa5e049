// The listener of `gcg login` alone: only the answer to the login that is awaited ends it, whatever else pages and
// programs of this machine send.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import t, { type Test } from 'tap';
import { openCallbackListener } from '../../src/cli/commands/login.ts';
import { GatewayError } from '../../src/errors.ts';
import { openChromium, withoutBrowser } from '../helpers/chromium.ts';
import { exchangeRaw, parseAnswer } from '../helpers/raw-http.ts';

const STATE = 'the-state-of-this-login';

async function start(t: Test, complete: (fields: string) => Promise<void> = async () => undefined) {
  const completed: string[] = [];
  const listener = await openCallbackListener(
    { redirectUri: 'http://127.0.0.1:0/-/callback', name: 'crm', anyPort: true },
    (fields) => {
      completed.push(fields);
      return complete(fields);
    },
  );
  t.teardown(() => listener.close());
  const { port, origin } = new URL(listener.redirectUri);
  let outcome: unknown = 'open';
  const done = listener.awaitRedirect(STATE);
  void done.then(
    () => {
      outcome = 'done';
    },
    (error: unknown) => {
      outcome = error;
    },
  );
  const send = async (start: string, lines: readonly string[] = [], body = '') => {
    const head = [
      `${start} HTTP/1.1`,
      ...(lines.some((line) => /^host:/i.test(line)) ? [] : [`Host: 127.0.0.1:${port}`]),
      ...lines,
    ];
    const length = body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
    const text = `${[...head, ...length].join('\r\n')}\r\n\r\n${body}`;
    return parseAnswer(await exchangeRaw(Number(port), text, () => false));
  };
  return { listener, done, completed, origin, port: Number(port), send, outcome: () => outcome };
}

const NAVIGATION = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document'];
const GOOD = `/-/callback?code=c&state=${STATE}`;

t.test('what is not the answer to this login does not end it, nor the process', async (t) => {
  const { send, completed, outcome, done, origin } = await start(t);
  const foreign = ['Origin: https://evil.test', 'Sec-Fetch-Site: cross-site'];
  const form = ['X-Gateway-Request: 1', 'Content-Type: application/x-www-form-urlencoded'];
  const sent: [status: number, start: string, lines?: readonly string[], body?: string][] = [
    [400, 'GET /-/callback?error=x&state=y', NAVIGATION],
    [400, 'GET /-/callback?error=x&state=y'],
    [
      403,
      'GET /-/callback?error=x&state=y',
      ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image'],
    ],
    [403, `GET ${GOOD}`, ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image']],
    [403, `GET ${GOOD}`, ['Sec-Fetch-Site: same-site', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: iframe']],
    [403, `GET ${GOOD}`, foreign],
    [400, 'GET /-/callback?code=c', NAVIGATION],
    [400, 'GET /-/callback?code=c&state=', NAVIGATION],
    [400, `GET ${GOOD}&state=${STATE}`, NAVIGATION],
    [400, `GET /-/callback?code=c&code=d&state=${STATE}`, NAVIGATION],
    [400, `GET /-/callback?code=c&state=${STATE}x`, NAVIGATION],
    [200, `GET /-/callback?state=${STATE}`, NAVIGATION],
    [404, 'GET //'],
    [404, 'GET ///-/callback?code=c'],
    [404, 'GET /%2d/callback?code=c'],
    [404, 'GET /-/callback/?code=c'],
    [404, 'GET /'],
    [400, 'GET http://'],
    [400, 'GET http://[::1'],
    [400, 'GET http://evil.test/-/callback'],
    [400, 'GET \\\\'],
    [400, 'OPTIONS *x'],
    [404, `GET ${GOOD}`, ['Host: evil.test']],
    [404, `GET ${GOOD}`, ['Host: 127.0.0.1.evil.test']],
    [400, `GET ${GOOD}`, ['Host: localhost', 'Host: localhost']],
    [405, `PUT ${GOOD}`],
    [405, `HEAD ${GOOD}`],
    [405, `DELETE ${GOOD}`],
    [403, 'POST /-/callback', [], `code=c&state=${STATE}`],
    [403, 'POST /-/callback', [...form, ...foreign], `code=c&state=${STATE}`],
    [403, 'POST /-/callback', [...form, 'Origin: null'], `code=c&state=${STATE}`],
    [400, 'POST /-/callback', form, 'error=x&state=y'],
    [400, 'POST /-/callback', form, 'x'.repeat(65 * 1024)],
    [400, 'POST /-/callback', [...form, `Origin: ${origin}`, 'Sec-Fetch-Site: same-origin'], 'access_token=t'],
  ];
  for (const [status, start, lines, body] of sent)
    t.equal((await send(start, lines, body)).status, status, `${start} ${lines ?? ''}`);
  t.strictSame([outcome(), completed], ['open', []]);
  t.equal((await send(`GET ${GOOD}`, NAVIGATION)).status, 200, 'and then comes the right one');
  await done;
  t.strictSame(completed, [GOOD.slice('/-/callback'.length)]);
});

t.test('the answer may come by the page that reads a fragment, too', async (t) => {
  const { send, completed, done, origin } = await start(t);
  const lines = ['X-Gateway-Request: 1', `Origin: ${origin}`, 'Sec-Fetch-Site: same-origin'];
  t.equal((await send('POST /-/callback', lines, `access_token=t&state=${STATE}`)).status, 200);
  await done;
  t.strictSame(completed, [`access_token=t&state=${STATE}`]);
});

t.test('an answer that comes several times at once, and foreign ones between, is one login', async (t) => {
  let redeemed = () => {};
  const redeeming = new Promise<void>((resolve) => {
    redeemed = resolve;
  });
  const { send, completed, outcome, done } = await start(t, () => redeeming);
  const answers = Array.from({ length: 8 }, (_, n) =>
    send(n % 2 === 0 ? `GET ${GOOD}` : `GET /-/callback?error=x&state=${n}`, NAVIGATION),
  );
  const foreign = await Promise.all(answers.filter((_, n) => n % 2 === 1));
  t.ok(foreign.every(({ status }) => status === 400));
  t.equal(outcome(), 'open', 'while the code is being redeemed');
  redeemed();
  for (const { status, body } of await Promise.all(answers.filter((_, n) => n % 2 === 0))) {
    t.equal(status, 200);
    t.match(body, /You are logged in/);
  }
  await done;
  t.equal(completed.length, 1);
  t.equal((await send(`GET /-/callback?error=late&state=${STATE}`, NAVIGATION)).status, 200, 'what came first counts');
});

t.test('a login that is refused ends with that, once for all', async (t) => {
  const refusal = new GatewayError('gateway.login.required', 'the login was refused by the platform (access_denied)');
  const { send, done, completed } = await start(t, () => Promise.reject(refusal));
  const { status, body } = await send(`GET /-/callback?error=access_denied&state=${STATE}`, NAVIGATION);
  t.match([status, body], [400, /access_denied/]);
  await t.rejects(done, { message: refusal.message });
  t.equal((await send(`GET ${GOOD}`, NAVIGATION)).status, 400);
  t.equal(completed.length, 1);
});

t.test(
  'before a login is awaited, and after it is over, nothing is taken; a caller that only holds its connection is ' +
    'cut off',
  async (t) => {
    const listener = await openCallbackListener(
      { redirectUri: 'http://127.0.0.1:0/-/callback', name: 'crm', anyPort: true },
      async () => void t.fail('taken'),
    );
    const port = Number(new URL(listener.redirectUri).port);
    const early = await exchangeRaw(port, `GET ${GOOD} HTTP/1.1\r\nHost: localhost\r\n\r\n`, () => false);
    t.equal(parseAnswer(early).status, 400);
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('POST /-/callback HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Request: 1\r\nContent-Length: 99\r\n\r\nx');
    // The one before it was taken when this answer comes.
    await exchangeRaw(port, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', () => false);
    socket.on('error', () => undefined);
    const closed = once(socket.resume(), 'close');
    listener.close();
    await closed;
    t.equal(await exchangeRaw(port, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n').catch(() => 'refused'), 'refused');
  },
);

t.test('a page of another origin, in a browser, does not end a login', { skip: withoutBrowser }, async (t) => {
  const { listener, completed, outcome, done } = await start(t);
  const foreign = createServer((_request, response) =>
    response.setHeader('Content-Type', 'text/html').end('<!doctype html>'),
  );
  foreign.listen(0, '127.0.0.1');
  await once(foreign, 'listening');
  t.teardown(() => {
    foreign.closeAllConnections();
    foreign.close();
  });
  const browser = await openChromium(t);
  const page = await browser.newPage();
  const answers = new Set<string>();
  page.on('response', (answer) => void answers.add(`${answer.request().resourceType()} ${answer.status()}`));
  await page.goto(`http://127.0.0.1:${(foreign.address() as AddressInfo).port}/`);
  const uri = listener.redirectUri;
  for (const query of ['?error=x&state=y', `?code=c&state=${STATE}`]) {
    await page.setContent(
      `<img src="${uri}${query}"><script src="${uri}${query}"></script><iframe src="${uri}${query}"></iframe>`,
      {
        waitUntil: 'load',
      },
    );
    await page.evaluate(`fetch('${uri}${query}', { mode: 'no-cors' }).catch(() => null)`);
    await page.evaluate(
      `fetch('${uri}', { method: 'POST', mode: 'no-cors', body: '${query.slice(1)}' }).catch(() => null)`,
    );
  }
  t.strictSame([outcome(), completed], ['open', []]);
  t.strictSame(
    [...answers].filter((answer) => !answer.endsWith(' 403')).sort(),
    ['document 200'],
    'it did knock, in all these ways',
  );
  t.ok(
    answers.has('image 403') && answers.has('script 403') && answers.has('document 403') && answers.has('fetch 403'),
    [...answers].join(),
  );
  await page.goto(`${uri}?code=c&state=${STATE}`);
  await page.getByRole('heading', { name: 'You are logged in' }).waitFor();
  await done;
  t.equal(completed.length, 1);
});
