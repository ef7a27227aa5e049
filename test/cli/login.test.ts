// gcg login and logout: alone into the file store, and through the running gateway; with a browser, a pasted address, a
// code.

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import type { CommandLine } from '../../src/cli/args.ts';
import { type LoginEnvironment, login } from '../../src/cli/commands/login.ts';
import { logout } from '../../src/cli/commands/logout.ts';
import { token } from '../../src/cli/commands/token.ts';
import type { Io } from '../../src/cli/io.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox, type SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { createCookieJar, personAt, startAdminGateway, statusOf } from '../helpers/admin.ts';
import { createCommandFolder, gatewaySection } from '../helpers/commands.ts';
import { childEnvironment } from '../helpers/fast-start.ts';
import { exchangeRaw } from '../helpers/raw-http.ts';

const APPROVED = { login: { approve: 'ada.lindqvist@simulated-org.example' } };

const CREDENTIALS = {
  pkce: `grant_type = pkce\nclient_id = ${DEMO_CLIENTS.pkce.id}\n`,
  implicit: `grant_type = implicit\nclient_id = ${DEMO_CLIENTS.implicit.id}\n`,
  code:
    `grant_type = authorization_code\nclient_id = ${DEMO_CLIENTS.code.id}\nclient_secret = ` +
    `${DEMO_CLIENTS.code.secret}\n`,
};

async function startSimulation(t: Test, options: SandboxOptions = { switches: APPROVED }) {
  const sandbox = createSandbox(options);
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  return { sandbox, origin };
}

/** In the system's own temporary folder: a path below the test's could be longer than a socket may have. */
function unusedSocket(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'gcg-none-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return join(folder, 'none.sock');
}

/** A folder of its own for each test: nothing is running at its address. */
async function alone(t: Test, credential: string, options?: SandboxOptions) {
  const { sandbox, origin } = await startSimulation(t, options);
  const ini =
    `${gatewaySection(origin)}[server]\nlisten = unix:${unusedSocket(t)}\n[store]\ntype = file\npath = ` +
    `state\n[credential]\n${credential}`;
  return { sandbox, origin, folder: createCommandFolder(t, ini) };
}

const command =
  (outside: Partial<LoginEnvironment>) =>
  (args: CommandLine, io: Io): Promise<number> =>
    login(args, io, { open: async () => false, readLine: async () => null, ...outside });

/** Follows redirects as a browser does, and reads fragments as the callback page does. */
async function browse(url: string): Promise<string> {
  const jar = createCookieJar();
  let at = url;
  for (let hops = 0; hops < 5; hops += 1) {
    const [path = '', fragment] = at.split('#');
    if (fragment !== undefined) {
      return (await fetch(path, { method: 'POST', headers: { 'X-Gateway-Request': '1' }, body: fragment })).text();
    }
    const answer = await jar.get(at);
    if (answer.status !== 302) return answer.text();
    at = answer.location;
  }
  throw new Error('too many redirects');
}

/** A browser that nobody waits for. */
async function startBrowsing(url: string): Promise<boolean> {
  void browse(url);
  return true;
}

for (const grant of ['pkce', 'code', 'implicit'] as const) {
  t.test(`alone, with a browser: ${grant} ends in the file store, and gcg token prints what is there`, async (t) => {
    const { sandbox, folder } = await alone(t, CREDENTIALS[grant]);
    const pages: Promise<string>[] = [];
    const open = async (url: string) => {
      pages.push(browse(url));
      return true;
    };
    const { code, out, err } = await folder.run(command({ open }), ['login']);
    t.equal(code, 0, err);
    t.equal(out, '');
    t.match(err, /A browser opens:\n\n {2}http.*\/oauth\/authorize\?/);
    t.match(await pages[0], grant === 'implicit' ? /"credential":"default"/ : /You are logged in/);
    const printed = await folder.run(token, ['token']);
    t.equal(printed.code, 0, printed.err);
    t.match(printed.out, /^\S+\n$/);
    t.equal(sandbox.stats.tokensIssued, 1, 'the stored one, not another');
  });
}

t.test(
  'standalone, a page or program that calls the callback meanwhile neither ends the login nor the process',
  async (t) => {
    const { folder } = await alone(t, CREDENTIALS.pkce);
    const open = async (url: string) => {
      const callback = new URL(new URL(url).searchParams.get('redirect_uri') as string);
      const image = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image' };
      for (const lines of [image, {}] as const) {
        await knock(Number(callback.port), `${callback.pathname}?error=x&state=y`, lines);
        await knock(Number(callback.port), '//', lines);
      }
      void browse(url);
      return true;
    };
    const { code, err } = await folder.run(command({ open }), ['login']);
    t.equal(code, 0, err);
  },
);

function knock(port: number, target: string, lines: Record<string, string>): Promise<string> {
  const head = [
    `GET ${target} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    ...Object.entries(lines).map(([name, value]) => `${name}: ${value}`),
  ];
  return exchangeRaw(port, `${head.join('\r\n')}\r\n\r\n`, () => false);
}

t.test('without a browser the address is printed all the same, and the login ends when it is used', async (t) => {
  const { folder } = await alone(t, CREDENTIALS.pkce);
  const onErr = (text: string) => {
    const url = /^ {2}(http\S+)$/m.exec(text)?.[1];
    if (url) void browse(url);
  };
  const { code, err } = await folder.run(command({}), ['login'], { onErr });
  t.equal(code, 0, err);
  t.match(err, /Open this address and log in:/);
});

t.test('a login refused by the platform is 77, with its reason', async (t) => {
  const { folder } = await alone(t, CREDENTIALS.pkce, { switches: { login: { deny: 'no licence' } } });
  const { code, err } = await folder.run(command({ open: startBrowsing }), ['login']);
  t.equal(code, 77);
  t.match(err, /access_denied: no licence/);
});

t.test('--paste takes the last address, and refuses one of another login', async (t) => {
  const { sandbox, folder } = await alone(t, `${CREDENTIALS.pkce}redirect_uri = http://localhost/callback\n`);
  let shown = '';
  const onErr = (text: string) => {
    shown = /^ {2}(http\S+)$/m.exec(text)?.[1] ?? shown;
  };
  const readLine = async () => `${(await createCookieJar().get(shown)).location}\n`;
  const good = await folder.run(command({ readLine }), ['login', '--paste'], { onErr });
  t.equal(good.code, 0, good.err);
  t.match(shown, /redirect_uri=http%3A%2F%2Flocalhost%2Fcallback/);
  const stale = await folder.run(command({ readLine: async () => 'http://localhost/callback?code=x&state=y' }), [
    'login',
    '--paste',
  ]);
  t.equal(stale.code, 77);
  t.match(stale.err, /start it again/);
  t.match(await folder.run(command({ readLine: async () => null }), ['login', '--paste']), {
    code: 77,
    err: /nothing was pasted/,
  });
  t.equal(sandbox.stats.tokensIssued, 1);
});

t.test('--code redeems a code in hand, for a client with a secret', async (t) => {
  const { folder, sandbox, origin } = await alone(t, CREDENTIALS.code);
  const redirectUri = 'http://localhost/callback';
  const query = new URLSearchParams({
    client_id: DEMO_CLIENTS.code.id,
    response_type: 'code',
    redirect_uri: redirectUri,
  });
  const { location } = await createCookieJar().get(`${origin}/oauth/authorize?${query}`);
  const code = new URL(location).searchParams.get('code') as string;
  // Written with =, since one code in 64 begins with -.
  const redeem = () => folder.run(command({}), ['login', `--code=${code}`, '--redirect-uri', redirectUri]);
  const { code: exit, err } = await redeem();
  t.equal(exit, 0, err);
  t.equal(sandbox.stats.tokensIssued, 1);
  t.equal((await redeem()).code, 77, 'the same code again');
  t.equal((await folder.run(command({}), ['login', `--code=${code}`])).code, 2);
});

t.test(
  'a code for pkce is not ours to redeem, a grant without a login has none, and a wrong name is told the right ones',
  async (t) => {
    const { folder } = await alone(t, `${CREDENTIALS.pkce}[credential.svc]\nclient_id = x\nclient_secret = y\n`);
    t.match(await folder.run(command({}), ['login', '--code', 'c', '--redirect-uri', 'http://localhost/']), {
      code: 2,
      err: /use --paste/,
    });
    t.match(await folder.run(command({}), ['login', 'svc']), {
      code: 2,
      err: /svc \(client_credentials\) has no login/,
    });
    t.match(await folder.run(command({}), ['login', 'nobody']), { code: 2, err: /there are: default, svc/ });
  },
);

t.test('with a memory store and no gateway a login would be lost, and is not begun', async (t) => {
  const { folder, sandbox } = await alone(t, CREDENTIALS.pkce);
  const { code, err } = await folder.run(command({}), ['login', '--set', 'store.type=memory']);
  t.equal(code, 69);
  t.match(err, /start gcg serve first/);
  t.equal(sandbox.events.recent.length, 0);
});

t.test('through the running gateway: the token is in use when the command ends; logout takes it away', async (t) => {
  const gateway = await startAdminGateway(t, {
    sandbox: { switches: APPROVED },
    credentials: (origin) => [personAt(origin, 'pkce')],
  });
  const { port, url, sandbox } = gateway;
  const ini = `[server]\nlisten = 127.0.0.1:${port}\n[store]\ntype = memory\n[credential.crm]\n${CREDENTIALS.pkce}`;
  const folder = createCommandFolder(t, ini);
  const open = startBrowsing;
  const { code, err } = await folder.run(command({ open }), ['login', 'crm']);
  t.equal(code, 0, err);
  t.equal((await statusOf(url)).credentials[0]?.token, 'fresh');
  t.equal(sandbox.stats.tokensIssued, 1);

  const ended = await folder.run(logout, ['logout', 'crm']);
  t.equal(ended.code, 0, ended.err);
  t.match(ended.err, /Genesys Cloud was not told/);
  t.equal((await statusOf(url)).credentials[0]?.renewal, 'login_required');

  sandbox.set({ login: { deny: 'not today' } });
  t.match(await folder.run(command({ open }), ['login', 'crm']), { code: 77, err: /access_denied: not today/ });
});

t.test('logout without a gateway forgets what is stored', async (t) => {
  const { folder } = await alone(t, CREDENTIALS.pkce);
  await folder.run(command({ open: startBrowsing }), ['login']);
  t.equal((await folder.run(token, ['token'])).code, 0);
  t.equal((await folder.run(logout, ['logout'])).code, 0);
  t.match(await folder.run(token, ['token']), { code: 77, out: '', err: /gcg login default/ });
});

t.test(
  'the browser sees where to show itself, and no secret of the environment',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const folder = t.testdir();
    const told = join(folder, 'told');
    const browser = join(folder, 'browser');
    writeFileSync(browser, `#!/bin/sh\n{ echo "$1"; env; } > ${told}.part && mv ${told}.part ${told}\n`, {
      mode: 0o755,
    });
    const opener = new URL('../../src/cli/commands/login.ts', import.meta.url);
    const script = `
    import { existsSync } from 'node:fs';
    const { openBrowser } = await import(${JSON.stringify(opener.href)});
    const isOpened = await openBrowser('http://127.0.0.1:1/login', { env: { DISPLAY: ':9' }, platform: 'linux' });
    const endsAt = performance.now() + 20_000;
    while (!existsSync(${JSON.stringify(told)}) && performance.now() < endsAt)
      await new Promise((resolve) => setImmediate(resolve));
    process.stdout.write(JSON.stringify([isOpened, process.env.GCG_CREDENTIAL_CLIENT_SECRET]));`;
    const env = {
      ...childEnvironment,
      HOME: folder,
      DISPLAY: ':9',
      BROWSER: browser,
      XDG_DATA_DIRS: folder,
      XDG_DATA_HOME: folder,
      GCG_CREDENTIAL_CLIENT_SECRET: 'canary-of-gcg',
      AWS_SECRET_ACCESS_KEY: 'canary-of-others',
    };
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env });
    t.same(JSON.parse(stdout), [true, 'canary-of-gcg'], 'and our own environment stays');
    const seen = readFileSync(told, 'utf8');
    t.match(seen, /^http:\/\/127\.0\.0\.1:1\/login\n/);
    t.match(seen, /^DISPLAY=:9$/m, 'the control');
    t.notMatch(seen, /canary|GCG_|AWS_/);
  },
);
