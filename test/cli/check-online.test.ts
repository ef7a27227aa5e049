// gcg check --online: nothing is called good before every credential was tried, the exit code says what failed, and
// nothing is left behind.

import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { CommandLine } from '../../src/cli/args.ts';
import { checkOnline } from '../../src/cli/check-online.ts';
import { check } from '../../src/cli/commands/check.ts';
import { login } from '../../src/cli/commands/login.ts';
import type { Io } from '../../src/cli/io.ts';
import { DEMO_CLIENTS } from '../../src/sandbox/clients.ts';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { ASKED_ONCE, createCommandFolder, gatewaySection } from '../helpers/commands.ts';
import { listenFor } from '../helpers/egress.ts';

const { clientCredentials, pkce } = DEMO_CLIENTS;
const SERVICE = `[credential]\nclient_id = ${clientCredentials.id}\nclient_secret = ${clientCredentials.secret}\n`;
const online = (args: CommandLine, io: Io) => check(args, io, checkOnline);
const ARGV = ['check', '--online'];

async function folderFor(t: Test, credentials: string) {
  const sandbox = createSandbox({ switches: { login: { approve: 'ada.lindqvist@simulated-org.example' } } });
  const { origin } = await sandbox.listen({ port: 0 });
  t.teardown(() => sandbox.close());
  return { sandbox, folder: createCommandFolder(t, `${gatewaySection(origin)}${ASKED_ONCE}${credentials}`) };
}

t.test('when all is well the verdict is the last line', async (t) => {
  const { folder } = await folderFor(t, SERVICE);
  const { code, out, err } = await folder.run(online, ARGV);
  t.equal(code, 0, err);
  t.match(
    out,
    /^configuration: \S+gcg\.ini\n[\s\S]+\n {2}ok {6}default: token obtained.* 200: the OAuth client Demo service of Simulated Organization\nOK: [^\n]+\n$/,
  );
});

t.test('a refused credential is 77, is named, and no line begins with OK', async (t) => {
  const { folder } = await folderFor(
    t,
    `${SERVICE}[credential.crm]\nclient_id = ${clientCredentials.id}\nclient_secret = wrong\n`,
  );
  const { code, out, err } = await folder.run(online, ARGV);
  t.equal(code, 77);
  t.match(out, / {2}ok {6}default: [\s\S]+ {2}FAILED {2}crm: /);
  t.notMatch(out, /^OK/m);
  t.match(err, /no call succeeds with crm\n$/);
});

t.test('a platform that cannot be reached is 69', async (t) => {
  const { sandbox, folder } = await folderFor(t, SERVICE);
  await sandbox.close();
  const { code, out } = await folder.run(online, ARGV);
  t.equal(code, 69);
  t.match(out, /FAILED {2}default: /);
});

for (const [status, expected] of [
  [401, 77],
  [403, 77],
  [404, 69],
  [500, 69],
] as const) {
  t.test(`a token that is obtained and a call that is answered ${status} is ${expected}`, async (t) => {
    const upstream = createServer((request, response) => {
      const isToken = request.url === '/oauth/token';
      response.writeHead(isToken ? 200 : status, { 'content-type': 'application/json' });
      response.end(isToken ? '{"access_token":"a","token_type":"bearer","expires_in":86400}' : '{}');
    });
    const port = await listenFor(t, upstream);
    const folder = createCommandFolder(
      t,
      `${gatewaySection(`http://127.0.0.1:${port}`)}[retry]\nretry_max = 0\n${SERVICE}`,
    );
    const { code, out } = await folder.run(online, ARGV);
    t.equal(code, expected);
    t.match(out, `a token was obtained, but GET /api/v2/tokens/me answered ${status}`);
  });
}

t.test("a person's login is found in the store; other tokens are obtained anew and not kept there", async (t) => {
  const { sandbox, folder } = await folderFor(
    t,
    `${SERVICE}[credential.person]\ngrant_type = pkce\nclient_id = ${pkce.id}\n[store]\ntype = file\npath = state\n`,
  );
  const before = await folder.run(online, ARGV);
  t.match(before, { code: 77, out: /ok {6}default: [\s\S]+FAILED {2}person: .*gcg login person/ });
  const open = async (url: string) => {
    void fetch(url);
    return true;
  };
  const done = await folder.run(
    (args, io) => login(args, io, { open, readLine: async () => null }),
    ['login', 'person', '--listen', '127.0.0.1:0'],
  );
  t.equal(done.code, 0, done.err);
  const issued = sandbox.stats.tokensIssued;
  t.match(await folder.run(online, ARGV), { code: 0, out: /ok {6}default: [\s\S]+ok {6}person: / });
  t.equal(sandbox.stats.tokensIssued, issued + 1, 'one, for the default credential');
  t.ok(existsSync(join(folder.dir, 'state')));
});
