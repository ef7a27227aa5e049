// A PAC script cannot end, freeze, fill or outlive the process: whatever it returns, throws or loops over is an error
// that names it.

import { execFile } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../src/clock.ts';
import { inlineSecret } from '../../src/secret.ts';
import { createTestEgress, startUpstream } from '../helpers/egress.ts';
import { configAt, credentialAt, startGatewayWith } from '../helpers/gateway.ts';
import { startConnectProxy } from '../helpers/proxies.ts';

const folder = mkdtempSync(join(tmpdir(), 'gcg-pac-'));
t.teardown(() => rmSync(folder, { recursive: true }));
let files = 0;

/** The script `function FindProxyForURL(url, host) { body }`, as a setting. */
function pacOf(body: string, before = ''): string {
  files += 1;
  const file = join(folder, `${files}.pac`);
  writeFileSync(file, `${before}\nfunction FindProxyForURL(url, host) { ${body} }`);
  return `pac+${pathToFileURL(file)}`;
}

/** The threads that are started while a test runs. */
function watchThreads(t: Test): Worker[] {
  const threads: Worker[] = [];
  const see = (message: unknown) => void threads.push((message as { worker: Worker }).worker);
  subscribe('worker_threads', see);
  t.teardown(() => unsubscribe('worker_threads', see));
  return threads;
}

async function ended(threads: readonly Worker[]): Promise<void> {
  await Promise.all(threads.map((thread) => thread.threadId === -1 || once(thread, 'exit')));
}

const NO_TEXT = /its answer is no text/;
const THROWS = /it throws: /;
const TOO_LONG = /it runs too long and was stopped/;
const hostile: [body: string, message: RegExp][] = [
  ['return { toString: 1 };', NO_TEXT],
  ['return { toString: null, valueOf: null };', NO_TEXT],
  ['return [{ toString: 1 }];', NO_TEXT],
  ['return { toString() { throw new Error("x"); } };', NO_TEXT],
  ['return { toString() { while (true); } };', NO_TEXT],
  ['return { get a() { throw 1; } };', /no text|throws/],
  ['return { get a() { while (true); } };', /no text|too long|throws/],
  ['var a = {}; a.a = a; return a;', /no text|throws/],
  ['var a = []; for (var i = 0; i < 100000; i++) a = [a]; return a;', /no text|throws|sandbox/],
  ['return new Proxy({}, { get() { throw 1; }, ownKeys() { return ["x"]; } });', /no text|throws/],
  ['return new String("PROXY a:1");', NO_TEXT],
  ['return BigInt(10);', NO_TEXT],
  ['return 5;', NO_TEXT],
  ['return true;', NO_TEXT],
  ['return new Map([["a", 1]]);', NO_TEXT],
  ['return new Uint8Array(1e6);', NO_TEXT],
  ['return Promise.reject({ toString: 1 });', THROWS],
  ['return "PROXY a:1;".repeat(4e6);', /longer than 64 KiB/],
  ['return "PROXY a:1;".repeat(7000);', /longer than 64 KiB/],
  ['return "\\ud800".repeat(2e7);', /longer than 64 KiB|throws|sandbox|names no route/],
  ['return "x".repeat(1e9);', THROWS],
  ['throw { toString: 1 };', THROWS],
  ['throw null;', THROWS],
  ['throw Symbol("x");', THROWS],
  ['var e = new Error("x"); e.message = { toString: 1 }; throw e;', THROWS],
  ['var e = new Error("x"); e.cause = { toString: 1, stack: "", name: "", message: {} }; throw e;', THROWS],
  ['var e = new Error("x"); Object.defineProperty(e, "message", { get() { throw e; } }); throw e;', THROWS],
  ['dnsResolve({ toString: 1 }); return {};', /no text|throws/],
  ['return shExpMatch({}, {});', /no text|throws/],
  ['alert({ toString: 1 }); return dateRange({}, [], Symbol());', /no text|throws/],
];
// One script does them all, by the name of the host: what one of them leaves behind is there when the next is asked.
const everything = createTestEgress(t, {
  proxy: { url: pacOf(hostile.map(([body], at) => `if (host === '${at}.test') { ${body} }`).join('\n')) },
});
for (const [at, [body, message]] of hostile.entries()) {
  t.test(`a script with ${body.slice(0, 100)}`, async (t) => {
    await t.rejects(everything.dial({ host: `${at}.test`, port: 1, secure: false }), {
      code: 'gateway.proxy.refused',
      message,
    });
  });
}
t.test('after all that it is still asked', async (t) => {
  t.strictSame(await everything.routes('http://good.test/'), ['direct']);
});

t.test('no answer at all means direct', async (t) => {
  const bodies = ['return;', 'return null;', 'return "";', 'return Symbol("x");', 'return FindProxyForURL;'];
  const url = pacOf(bodies.map((body, at) => `if (host === '${at}.test') { ${body} }`).join('\n'));
  const egress = createTestEgress(t, { proxy: { url } });
  for (const [at, body] of ['', ...bodies].entries())
    t.strictSame(await egress.routes(`http://${at - 1}.test/`), ['direct'], body);
});

// The interpreter counts its own steps, and none of those that its built-in functions take.
/** A thread that owes an answer is looked at every two seconds; here every half. */
const HURRIED: Clock = {
  ...systemClock,
  after: (delayMs, fn) => systemClock.after(delayMs === 2000 ? 500 : delayMs, fn),
};
const endless: [what: string, body: string, before?: string][] = [
  ['searches text', 'for (;;) text.indexOf("b");', 'var text = "a".repeat(2e6);'],
  ['matches a pattern', 'return /^(a+)+$/.test("a".repeat(40) + "b");'],
  ['matches a pattern with the help of the host', 'return shExpMatch("a".repeat(3e4) + "b", "*a".repeat(60) + "*c");'],
  ['sorts', 'for (;;) list.sort();', 'var list = Array.from({ length: 2e5 }, (_, i) => String(i * 7919 % 2e5));'],
  ['never answers', 'return new Promise(function () {});'],
];
for (const [what, body, before] of endless) {
  t.test(`a script that ${what} for ever holds up nothing but its own question`, async (t) => {
    const threads = watchThreads(t);
    const url = pacOf(`if (host === 'good.test') return 'PROXY a:1'; ${body}`, before);
    const egress = createTestEgress(t, {
      proxy: { url },
      timeouts: { connectMs: what === 'never answers' ? 1000 : 60_000 },
      clock: HURRIED,
    });
    await t.rejects(
      egress.dial({ host: 'bad.test', port: 1, secure: false }),
      what === 'never answers'
        ? { code: 'gateway.proxy.timeout' }
        : { code: 'gateway.proxy.refused', message: TOO_LONG },
    );
    t.strictSame(await egress.routes('http://good.test/'), ['http://a:1'], 'the next question has its answer');
    egress.close();
    await ended(threads);
  });
}

t.test(
  '/livez is answered while a script computes for ever, and the call that asked is refused in the end',
  async (t) => {
    const threads = watchThreads(t);
    const upstream = await startUpstream(t);
    const origin = `http://127.0.0.1:${upstream.port}`;
    const { clock, release } = heldClock();
    const config = configAt(origin, {
      credentials: [
        credentialAt(origin, { grantType: 'access_token', accessToken: inlineSecret('token-of-the-test', 'test') }),
      ],
      proxy: { url: pacOf('for (;;) text.indexOf("b");', 'var text = "a".repeat(2e6);'), off: false },
      retry: { max: 0 },
    });
    const { url } = await startGatewayWith(t, config, clock);
    let isAnswered = false;
    const call = fetch(`${url}/api/v2/users/me`).finally(() => {
      isAnswered = true;
    });
    const computedMs = () => threads[0]?.performance.eventLoopUtilization().active ?? 0;
    // No timer of the gateway runs meanwhile: nothing can have stopped the script.
    while (computedMs() < 500) t.equal((await fetch(`${url}/livez`)).status, 200);
    t.notOk(isAnswered);
    release();
    const answer = await call;
    t.equal(answer.headers.get('x-gateway-error'), 'gateway.proxy.refused');
    t.match(await answer.text(), TOO_LONG);
    t.equal((await fetch(`${url}/livez`)).status, 200);
  },
);

t.test('no thread runs where no script is asked', async (t) => {
  const threads = watchThreads(t);
  const upstream = await startUpstream(t);
  const proxy = await startConnectProxy();
  t.teardown(() => proxy.close());
  const target = { host: '127.0.0.1', port: upstream.port, secure: false };
  for (const url of [null, `http://127.0.0.1:${proxy.port}`])
    (await createTestEgress(t, { proxy: { url } }).dial(target)).destroy();
  createTestEgress(t, { proxy: { url: pacOf('return "DIRECT";') } });
  t.equal(threads.length, 0);
});

t.test('a thread ends with the configuration that asked it, in whatever state', async (t) => {
  const threads = watchThreads(t);
  const url = pacOf(
    'if (host === "slow.test") for (;;) text.indexOf("b"); return "DIRECT";',
    'var text = "a".repeat(2e6);',
  );
  for (let round = 0; round < 12; round += 1) {
    const egress = createTestEgress(t, { proxy: { url } });
    const asked = [egress.routes('http://a.test/'), egress.routes('http://slow.test/')].map((routes) =>
      routes.catch((error) => error),
    );
    // Before it has started, while it answers, while it computes.
    if (round % 3 > 0) await asked[0];
    egress.close();
    t.match((await asked[1]) as Error, { code: 'gateway.proxy.refused' });
    await t.rejects(egress.routes('http://b.test/'), { code: 'gateway.proxy.refused' });
  }
  t.ok(threads.length >= 8);
  await ended(threads);
});

t.test('a script that is replaced leaves no thread behind', async (t) => {
  const threads = watchThreads(t);
  let offsetMs = 0;
  const clock = { ...systemClock, monotonic: () => performance.now() + offsetMs };
  const url = pacOf('return "PROXY a:1";');
  const egress = createTestEgress(t, { proxy: { url }, clock });
  const routes = () => egress.routes('http://a.test/');
  t.strictSame(await routes(), ['http://a:1']);
  writeFileSync(new URL(url.slice('pac+'.length)), 'function FindProxyForURL() { return "PROXY b:22"; }');
  offsetMs += 61_000;
  while ((await routes())[0] !== 'http://b:22') await new Promise((resolve) => setImmediate(resolve));
  t.equal(threads.length, 2);
  await ended(threads.slice(0, 1));
});

t.test('a thread keeps no process alive, but for the answer that it owes', async (t) => {
  const script = `
    import { createTestEgress } from './test/helpers/egress.ts';
    const url = ${JSON.stringify(pacOf('return "PROXY a:1";'))};
    const egress = createTestEgress({ teardown() {} }, { proxy: { url } });
    process.stdout.write((await egress.routes('http://a.test/')).join());`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
  t.equal(stdout, 'http://a:1');
});

/** A clock whose timers run from `release` on. */
function heldClock(): { clock: Clock; release: () => void } {
  let held: (() => void)[] | null = [];
  return {
    clock: {
      ...systemClock,
      after(delayMs, fn) {
        if (held === null) return HURRIED.after(delayMs, fn);
        let cancel = () => {};
        let isCancelled = false;
        held.push(() => {
          if (!isCancelled) cancel = HURRIED.after(delayMs, fn).cancel;
        });
        return {
          cancel() {
            isCancelled = true;
            cancel();
          },
        };
      },
    },
    release() {
      const timers = held ?? [];
      held = null;
      for (const start of timers) start();
    },
  };
}
